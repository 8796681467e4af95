//! `apiregistration.k8s.io/v1 APIService`: who serves a group and version.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use onggi_api::FieldError;
use serde_json::{Value, json};

use super::status_of;
use crate::resource::{Column, NameRule, Resource, Scope};
use crate::table;
use crate::validation::{At, Errors, names};
use crate::value::{find, is_set, list_at, set, set_default, str_at};

const GROUP: &str = "apiregistration.k8s.io";

/// The row.
pub const RESOURCE: Resource = Resource {
    group: GROUP,
    kind: "APIService",
    plural: "apiservices",
    singular: "apiservice",
    categories: &["api-extensions"],
    scope: Scope::Cluster,
    subresources: &[status_of(GROUP, "v1", "APIService")],
    has_status: true,
    name: NameRule::PathSegment,
    columns: &[Column::NAME, Column::text("Service"), Column::text("Available"), Column::AGE],
    row,
    default: |service| {
        if is_set(service, "spec.service") {
            set_default(service, "spec.service.port", 443);
        }
    },
    prepare_create: |service| set(service, "status", json!({})),
    validate,
    ..Resource::BASE
};

fn row(service: &Value, now: i64) -> Vec<Value> {
    let backend = match is_set(service, "spec.service") {
        true => format!(
            "{}/{}",
            str_at(service, "spec.service.namespace"),
            str_at(service, "spec.service.name")
        ),
        false => "Local".to_owned(),
    };
    let available = match find(list_at(service, "status.conditions"), "type", "Available") {
        None => "Unknown".to_owned(),
        Some(condition) => match str_at(condition, "status") {
            "True" => "True".to_owned(),
            status => format!("{status} ({})", str_at(condition, "reason")),
        },
    };
    vec![table::name(service), backend.into(), available.into(), table::age(service, now)]
}

/// What a group and version that the server has itself says of itself from the start. `now` is
/// RFC 3339.
pub fn local_condition(now: &str) -> Value {
    json!({
        "type": "Available",
        "status": "True",
        "lastTransitionTime": now,
        "reason": "Local",
        "message": "Local APIServices are always available",
    })
}

/// The object for a group and version that the server has itself.
pub fn local(group: &str, version: &str) -> Value {
    json!({
        "apiVersion": "apiregistration.k8s.io/v1",
        "kind": "APIService",
        "metadata": {
            "name": format!("{version}.{group}"),
            "labels": {"kube-aggregator.kubernetes.io/automanaged": "onstart"},
        },
        "spec": {
            "group": group,
            "version": version,
            "groupPriorityMinimum": group_priority(group),
            "versionPriority": version_priority(group, version),
        },
    })
}

/// The object for a group and version of custom kinds.
pub fn custom(group: &str, version: &str) -> Value {
    let mut object = local(group, version);
    set(
        &mut object,
        "metadata.labels",
        json!({"kube-aggregator.kubernetes.io/automanaged": "true"}),
    );
    set(&mut object, "spec.groupPriorityMinimum", 1000);
    set(&mut object, "spec.versionPriority", 100);
    object
}

/// Where a group stands in discovery, the highest first (`pkg/controlplane/apiserver`); custom
/// groups come last.
pub fn group_priority(group: &str) -> i64 {
    match group {
        "" => 18_000,
        "apps" => 17_800,
        "events.k8s.io" => 17_750,
        "authentication.k8s.io" => 17_700,
        "authorization.k8s.io" => 17_600,
        "autoscaling" => 17_500,
        "batch" => 17_400,
        "certificates.k8s.io" => 17_300,
        "networking.k8s.io" => 17_200,
        "policy" => 17_100,
        "rbac.authorization.k8s.io" => 17_000,
        "storage.k8s.io" => 16_800,
        "apiextensions.k8s.io" | "admissionregistration.k8s.io" => 16_700,
        "scheduling.k8s.io" => 16_600,
        "coordination.k8s.io" => 16_500,
        "node.k8s.io" => 16_300,
        "discovery.k8s.io" => 16_200,
        "resource.k8s.io" => 16_150,
        "flowcontrol.apiserver.k8s.io" => 16_100,
        _ => 1000,
    }
}

/// Where a version of ours stands in its group, the highest first; of custom groups all alike.
pub fn priority_of(group: &str, version: &str) -> i64 {
    if group_priority(group) == 1000 { 100 } else { version_priority(group, version) }
}

/// Where a version stands in its group, the highest first.
fn version_priority(group: &str, version: &str) -> i64 {
    match (group, version) {
        ("", "v1") => 1,
        ("autoscaling", "v2") => 30,
        ("flowcontrol.apiserver.k8s.io", "v1") => 21,
        (_, "v1") => 15,
        _ => 9,
    }
}

fn validate(service: &Value) -> Errors {
    let mut errors = Errors::new();
    let root = At::root(service);
    let (spec, name) = (root.child("spec"), root.child("metadata.name"));
    let (group, version) = (spec.child("group"), spec.child("version"));
    let wanted = format!("{}.{}", version.text(), group.text());
    if name.text() != wanted {
        errors.push(name.invalid(format!("must be `spec.version+\".\"+spec.group`: {wanted:?}")));
    }
    if group.text().is_empty() && version.text() != "v1" {
        let detail = "only v1 may have an empty group and it better be legacy kube";
        errors.push(group.required(detail));
    }
    group.may(names::dns1123_subdomain, &mut errors);
    version.must(names::dns1035_label, &mut errors);
    for (field, most) in [("groupPriorityMinimum", 20_000), ("versionPriority", 1000)] {
        let priority = spec.child(field);
        if !(1..=most).contains(&priority.int().unwrap_or(0)) {
            let detail = format!("must be positive and less than {most}");
            let found = priority.int().unwrap_or(0);
            errors.push(FieldError::invalid(&priority.path, found, detail));
        }
    }
    backend(&spec, &mut errors);
    errors
}

fn backend(spec: &At<'_>, errors: &mut Errors) {
    let (service, bundle) = (spec.child("service"), spec.child("caBundle"));
    let insecure = spec.child("insecureSkipTLSVerify");
    if !service.is_set() {
        if bundle.is_set() {
            let size = STANDARD.decode(bundle.text()).map_or(0, |bytes| bytes.len());
            errors.push(FieldError::invalid(
                &bundle.path,
                format!("{size} bytes"),
                "local APIServices may not have a caBundle",
            ));
        }
        if insecure.flag() {
            let detail = "local APIServices may not have insecureSkipTLSVerify";
            errors.push(insecure.invalid(detail));
        }
        return;
    }
    service.child("namespace").must_be_set(errors);
    service.child("name").must_be_set(errors);
    let port = service.child("port");
    let odd = names::port_number(port.int());
    errors.extend(odd.map(|detail| port.invalid(format!("port is not valid: {detail}"))));
    if insecure.flag() && bundle.is_set() {
        errors.push(insecure.invalid("may not be true if caBundle is present"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kinds::testing::{created, expect};

    #[test]
    fn local_ones() {
        for (group, version) in [("", "v1"), ("apps", "v1"), ("a.b", "v1alpha1")] {
            let mut object = created(&RESOURCE, &local(group, version).to_string());
            expect(&validate(&object), &[], version);
            object["status"] = json!({"conditions": [local_condition("2026-01-01T00:00:00Z")]});
            assert_eq!(row(&object, 0)[1..3], [Value::from("Local"), "True".into()]);
        }
    }

    #[test]
    fn rules() {
        for (object, expected) in [
            (
                "{metadata: {name: v1.a}, spec: {version: v1, group: a.b, groupPriorityMinimum: 0, versionPriority: 1001, caBundle: eA==, insecureSkipTLSVerify: true}}",
                &[
                    "metadata.name: Invalid value: \"v1.a\": must be `spec.version+\".\"+spec.group`: \"v1.a.b\"",
                    "spec.groupPriorityMinimum: Invalid value: 0: must be positive and less than 20000",
                    "spec.versionPriority: Invalid value: 1001: must be positive and less than 1000",
                    "spec.caBundle: Invalid value: \"1 bytes\": local APIServices may not have a caBundle",
                    "spec.insecureSkipTLSVerify: Invalid value: true: local APIServices may not have",
                ][..],
            ),
            (
                "{metadata: {name: v1.a.b}, spec: {version: v1, group: a.b, groupPriorityMinimum: 1, versionPriority: 1, caBundle: eA==, insecureSkipTLSVerify: true, service: {name: s}}}",
                &[
                    "spec.service.namespace: Required value",
                    "spec.insecureSkipTLSVerify: Invalid value: true: may not be true if caBundle is present",
                ],
            ),
        ] {
            let object = created(&RESOURCE, object);
            expect(&validate(&object), expected, "odd");
        }
    }
}
