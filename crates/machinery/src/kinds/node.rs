//! `v1 Node`.

use std::collections::{BTreeSet, HashSet};

use serde_json::Value;

use super::podspec::TAINT_EFFECTS;
use super::{proxy_of, status_of};
use crate::resource::{Column, Resource, Scope};
use crate::table::{self, text_or};
use crate::validation::{At, Errors, names};
use crate::value::{at, bool_at, entries_at, find, is_set, list_at, set, str_at};

const ROLE_LABEL_PREFIX: &str = "node-role.kubernetes.io/";
const ROLE_LABEL: &str = "kubernetes.io/role";

/// The row.
pub const RESOURCE: Resource = Resource {
    kind: "Node",
    plural: "nodes",
    singular: "node",
    short_names: &["no"],
    scope: Scope::Cluster,
    subresources: &[proxy_of("NodeProxyOptions"), status_of("", "v1", "Node")],
    fields: &["spec.unschedulable"],
    has_status: true,
    columns: &[
        Column::NAME,
        Column::text("Status"),
        Column::text("Roles"),
        Column::AGE,
        Column::text("Version"),
        Column::wide("Internal-IP"),
        Column::wide("External-IP"),
        Column::wide("OS-Image"),
        Column::wide("Kernel-Version"),
        Column::wide("Container-Runtime"),
    ],
    row,
    default,
    validate,
    validate_update,
    ..Resource::BASE
};

fn row(node: &Value, now: i64) -> Vec<Value> {
    let info = |field| {
        let text = str_at(at(node, "status.nodeInfo"), field);
        Value::from(text_or(text, "<unknown>"))
    };
    vec![
        table::name(node),
        status(node).into(),
        roles(node).into(),
        table::age(node, now),
        str_at(node, "status.nodeInfo.kubeletVersion").into(),
        address(node, "InternalIP").into(),
        address(node, "ExternalIP").into(),
        info("osImage"),
        info("kernelVersion"),
        info("containerRuntimeVersion"),
    ]
}

fn status(node: &Value) -> String {
    let ready = find(list_at(node, "status.conditions"), "type", "Ready");
    let ready = match ready.map(|condition| str_at(condition, "status")) {
        Some("True") => "Ready",
        Some(_) => "NotReady",
        None => "Unknown",
    };
    let cordoned = if bool_at(node, "spec.unschedulable") { ",SchedulingDisabled" } else { "" };
    format!("{ready}{cordoned}")
}

fn roles(node: &Value) -> String {
    let roles: BTreeSet<&str> = entries_at(node, "metadata.labels")
        .filter_map(|(key, value)| match key.strip_prefix(ROLE_LABEL_PREFIX) {
            Some(role) => Some(role),
            None if key == ROLE_LABEL => value.as_str(),
            None => None,
        })
        .filter(|role| !role.is_empty())
        .collect();
    let roles: Vec<&str> = roles.into_iter().collect();
    text_or(&roles.join(","), "<none>").to_owned()
}

fn address<'a>(node: &'a Value, kind: &str) -> &'a str {
    find(list_at(node, "status.addresses"), "type", kind).map_or("<none>", |a| str_at(a, "address"))
}

/// What can be used is what there is, until the kubelet says less.
fn default(node: &mut Value) {
    if is_set(node, "status.capacity") && !is_set(node, "status.allocatable") {
        set(node, "status.allocatable", at(node, "status.capacity").clone());
    }
    // The older field says the same as the first of the newer one, and is right where they differ.
    let first = list_at(node, "spec.podCIDRs").first().cloned().unwrap_or(Value::Null);
    let one = at(node, "spec.podCIDR").clone();
    match (one.is_null(), first.is_null()) {
        (true, false) => set(node, "spec.podCIDR", first),
        (false, _) if one != first => set(node, "spec.podCIDRs", Value::Array(vec![one])),
        _ => {}
    }
}

fn validate(node: &Value) -> Errors {
    let mut errors = Errors::new();
    let taints = At::root(node).child("spec.taints");
    let mut seen = HashSet::new();
    // Kubernetes takes them for a part of the metadata.
    let place = onggi_api::FieldPath::new("metadata.taints");
    for taint in At::new(taints.value, place).items() {
        let (key, effect) = (taint.child("key"), taint.child("effect"));
        key.must(names::qualified_name, &mut errors);
        taint.child("value").may(names::label_value, &mut errors);
        effect.required_one_of(TAINT_EFFECTS, &mut errors);
        if !seen.insert((key.text(), effect.text())) {
            errors.push(taint.duplicate());
        }
    }
    errors
}

/// What a node is stays; its labels, taints and whether it takes pods may change.
fn validate_update(node: &Value, old: &Value) -> Errors {
    let mut errors = Errors::new();
    let spec = At::root(node).child("spec");
    for field in ["podCIDR", "podCIDRs", "providerID"] {
        let (new, old) = (spec.child(field), at(old, "spec").get(field));
        if old.is_some_and(|old| old != new.value) {
            errors.push(new.forbidden(format!(
                "node updates may not change {field} except from \"\" to valid"
            )));
        }
    }
    errors
}
