//! `v1 ResourceQuota`: how much a namespace may hold.

use std::collections::{BTreeSet, HashSet};
use std::fmt::Write;

use onggi_api::{FieldError, FieldPath, Quantity};
use serde_json::{Value, json};

use super::status_of;
use crate::resource::{Column, Resource};
use crate::table;
use crate::validation::{At, Errors, NEGATIVE, names};
use crate::value::{at, entries_at, set};

/// The row.
pub const RESOURCE: Resource = Resource {
    kind: "ResourceQuota",
    plural: "resourcequotas",
    singular: "resourcequota",
    short_names: &["quota"],
    subresources: &[status_of("", "v1", "ResourceQuota")],
    has_status: true,
    columns: &[Column::NAME, Column::text("Request"), Column::text("Limit"), Column::AGE],
    row,
    prepare_create: |object| set(object, "status", json!({})),
    validate,
    validate_update,
    answers_deleted: true,
    ..Resource::BASE
};

fn row(quota: &Value, now: i64) -> Vec<Value> {
    let (mut requests, mut limits) = (String::new(), String::new());
    for (name, hard) in entries_at(quota, "status.hard") {
        let column = if name.starts_with("limits.") { &mut limits } else { &mut requests };
        let used = at(quota, "status.used").get(name).and_then(Value::as_str).unwrap_or("0");
        let comma = if column.is_empty() { "" } else { ", " };
        // Writing to a text cannot fail.
        let _ = write!(column, "{comma}{name}: {used}/{}", hard.as_str().unwrap_or("0"));
    }
    vec![table::name(quota), requests.into(), limits.into(), table::age(quota, now)]
}

// === Rules ===

const SCOPES: &[&str] = &[
    "BestEffort",
    "CrossNamespacePodAffinity",
    "NotBestEffort",
    "NotTerminating",
    "PriorityClass",
    "Terminating",
    "VolumeAttributesClass",
];
/// What stays without a domain, besides huge pages.
const COMPUTE: &[&str] = &["cpu", "ephemeral-storage", "memory"];
const COUNTED: &[&str] = &[
    "configmaps",
    "persistentvolumeclaims",
    "pods",
    "replicationcontrollers",
    "resourcequotas",
    "secrets",
    "services",
    "services.loadbalancers",
    "services.nodeports",
];
const SUMMED: &[&str] = &[
    "limits.cpu",
    "limits.ephemeral-storage",
    "limits.memory",
    "requests.cpu",
    "requests.ephemeral-storage",
    "requests.memory",
    "requests.storage",
];

fn is_huge_page(name: &str) -> bool {
    name.strip_prefix("requests.").unwrap_or(name).starts_with("hugepages-")
}

/// Whether quotas know a resource of this name.
fn is_standard(name: &str) -> bool {
    COMPUTE.contains(&name)
        || COUNTED.contains(&name)
        || SUMMED.contains(&name)
        || is_huge_page(name)
}

/// The name of a resource: qualified, or one of the standard ones.
pub(super) fn resource_name(name: &str, at: &At<'_>, errors: &mut Errors) {
    let wrong = names::qualified_name(name);
    errors.extend(wrong.into_iter().map(|e| FieldError::invalid(&at.path, name, e)));
    if !name.contains('/') && !is_standard(name) && name != "storage" {
        let detail = "must be a standard resource type or fully qualified";
        errors.push(FieldError::invalid(&at.path, name, detail));
    }
}

/// What a container may ask for.
pub(super) fn container_resource_name(name: &str, at: &At<'_>, errors: &mut Errors) {
    if !name.contains('/') && !COMPUTE.contains(&name) && !name.starts_with("hugepages-") {
        let detail = "must be a standard resource for containers";
        errors.push(FieldError::invalid(&at.path, name, detail));
    }
}

fn validate(quota: &Value) -> Errors {
    let mut errors = Errors::new();
    let root = At::root(quota);
    let spec = root.child("spec");
    amounts(&spec.child("hard"), &mut errors);
    scopes(&spec, &mut errors);
    scope_selector(&spec, &mut errors);
    for map in ["status.hard", "status.used"] {
        amounts(&root.child(map), &mut errors);
    }
    errors
}

fn amounts(map: &At<'_>, errors: &mut Errors) {
    for (name, amount) in map.entries() {
        resource_name(name, &amount, errors);
        if !name.contains('/') && !is_standard(name) {
            let detail = "must be a standard resource for quotas";
            errors.push(FieldError::invalid(&amount.path, name, detail));
        }
        let Ok(quantity) = amount.text().parse::<Quantity>() else { continue };
        if quantity.is_negative() {
            errors.push(amount.invalid(NEGATIVE));
        }
        let whole = COUNTED.contains(&name) || name.contains('/') && !name.contains(".storage");
        if whole && !quantity.is_whole() {
            errors.push(amount.invalid("must be an integer"));
        }
    }
}

/// Which are never asked for together.
const OPPOSED: [(&str, &str); 2] =
    [("BestEffort", "NotBestEffort"), ("Terminating", "NotTerminating")];
const CONFLICT: &str = "conflicting scopes";

fn scopes(spec: &At<'_>, errors: &mut Errors) {
    let list = spec.child("scopes");
    if list.items().next().is_none() {
        return;
    }
    let hard = standard_names(spec);
    let mut complaints = Complaints::about(&list.path, list.value);
    let mut named = HashSet::new();
    for scope in list.items().map(|scope| scope.text()) {
        if named.insert(scope) {
            if !SCOPES.contains(&scope) {
                complaints.add("unsupported scope", errors);
            }
            complaints.unfit(scope, &hard, errors);
        }
    }
    for (one, other) in OPPOSED {
        if named.contains(one) && named.contains(other) {
            errors.push(list.invalid(CONFLICT));
        }
    }
}

/// Kubernetes names the list, not the item.
fn scope_selector(spec: &At<'_>, errors: &mut Errors) {
    const EXISTS: &str = "must be 'Exists' when scope is any of ResourceQuotaScopeTerminating, \
        ResourceQuotaScopeNotTerminating, ResourceQuotaScopeBestEffort, \
        ResourceQuotaScopeNotBestEffort or ResourceQuotaScopeCrossNamespacePodAffinity";
    let selector = spec.child("scopeSelector");
    let list = selector.child("matchExpressions");
    if list.items().next().is_none() {
        return;
    }
    let hard = standard_names(spec);
    let mut complaints = Complaints::about(&list.path, selector.value);
    let mut named = HashSet::new();
    for expression in list.items() {
        let (scope, operator) =
            (expression.child("scopeName").text(), expression.child("operator").text());
        let invalid = |field: &str, value: Value, detail: &str| {
            FieldError::invalid(&list.path.child(field), value, detail)
        };
        let known = SCOPES.contains(&scope);
        if !known {
            errors.push(invalid("scopeName", scope.into(), "unsupported scope"));
        }
        if named.insert(scope) {
            complaints.unfit(scope, &hard, errors);
        }
        let has_values = matches!(scope, "PriorityClass" | "VolumeAttributesClass");
        if known && !has_values && operator != "Exists" {
            errors.push(invalid("operator", operator.into(), EXISTS));
        }
        let values = expression.child("values");
        let count = values.items().count();
        match operator {
            "In" | "NotIn" if count == 0 => errors.push(FieldError::required(
                &list.path.child("values"),
                "must be at least one value when `operator` is 'In' or 'NotIn' for scope selector",
            )),
            "Exists" | "DoesNotExist" if count > 0 => errors.push(invalid(
                "values",
                values.value.clone(),
                "must be no value when `operator` is 'Exist' or 'DoesNotExist' for scope selector",
            )),
            "In" | "NotIn" | "Exists" | "DoesNotExist" => {}
            _ => errors.push(invalid("operator", operator.into(), "not a valid selector operator")),
        }
    }
    for (one, other) in OPPOSED {
        if named.contains(one) && named.contains(other) {
            let scopes = spec.child("scopes").value.clone();
            errors.push(FieldError::invalid(&list.path, scopes, CONFLICT));
        }
    }
}

/// Those of `hard` that Kubernetes itself counts: scopes say nothing of the others.
fn standard_names<'a>(spec: &At<'a>) -> Vec<&'a str> {
    entries_at(spec.value, "hard").map(|(name, _)| name).filter(|name| is_standard(name)).collect()
}

/// Complaints that each show the whole of one value, and may be many.
struct Complaints<'a> {
    path: &'a FieldPath,
    value: &'a Value,
    /// How often each may still be repeated; known once there was one.
    left: Option<usize>,
    said: Vec<&'static str>,
}

impl<'a> Complaints<'a> {
    fn about(path: &'a FieldPath, value: &'a Value) -> Self {
        Self { path, value, left: None, said: Vec::new() }
    }

    /// One more. What was said before says nothing new: it is repeated as Kubernetes does while
    /// that does not come to more text than anybody reads.
    fn add(&mut self, detail: &'static str, errors: &mut Errors) {
        const ROOM: usize = 64 * 1024;
        let left = self.left.get_or_insert_with(|| ROOM / self.value.to_string().len().max(64));
        if self.said.contains(&detail) {
            let Some(rest) = left.checked_sub(1) else { return };
            *left = rest;
        } else {
            self.said.push(detail);
        }
        errors.push(FieldError::invalid(self.path, self.value.clone(), detail));
    }

    /// One for each of the names that cannot be counted within a scope.
    fn unfit(&mut self, scope: &str, names: &[&str], errors: &mut Errors) {
        if SCOPES.contains(&scope) {
            for _ in names.iter().filter(|name| !fits(scope, name)) {
                self.add("unsupported scope applied to resource", errors);
            }
        }
    }
}

/// Whether a resource can be counted within a scope
/// (`pkg/apis/core/helper`, IsResourceQuotaScopeValidForResource).
fn fits(scope: &str, resource: &str) -> bool {
    match scope {
        "BestEffort" => resource == "pods",
        "VolumeAttributesClass" => {
            matches!(resource, "persistentvolumeclaims" | "requests.storage")
        }
        _ => {
            let amount = resource
                .strip_prefix("requests.")
                .or_else(|| resource.strip_prefix("limits."))
                .unwrap_or(resource);
            resource == "pods" || matches!(amount, "cpu" | "memory")
        }
    }
}

fn validate_update(quota: &Value, old: &Value) -> Errors {
    let mut errors = Errors::new();
    let scopes = At::root(quota).child("spec.scopes");
    fn set(list: &Value) -> BTreeSet<&str> {
        list.as_array().into_iter().flatten().filter_map(Value::as_str).collect()
    }
    if set(scopes.value) != set(at(old, "spec.scopes")) {
        errors.push(scopes.invalid(crate::validation::IMMUTABLE));
    }
    errors
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kinds::testing::expect;

    const UNFIT: &str = "unsupported scope applied to resource";

    fn check(spec: Value, expected: &[&str]) {
        let quota = json!({ "spec": spec });
        expect(&validate(&quota), expected, &quota.to_string());
    }

    #[test]
    fn scopes_of_what_quotas_count() {
        let one = |names: &[&str], scope: &str, count: usize| {
            let hard: serde_json::Map<String, Value> =
                names.iter().map(|name| ((*name).to_owned(), "1".into())).collect();
            let list = format!("spec.scopes: Invalid value: [\"{scope}\"]: {UNFIT}");
            check(json!({"hard": &hard, "scopes": [scope]}), &vec![list.as_str(); count]);
            let operator = match scope {
                "PriorityClass" | "VolumeAttributesClass" => "In",
                _ => "Exists",
            };
            let mut expression = json!({"scopeName": scope, "operator": operator});
            if operator == "In" {
                expression["values"] = json!(["high"]);
            }
            let selector = json!({"matchExpressions": [expression]});
            let selected =
                format!("spec.scopeSelector.matchExpressions: Invalid value: {selector}: {UNFIT}");
            check(
                json!({"hard": &hard, "scopeSelector": selector}),
                &vec![selected.as_str(); count],
            );
        };
        // Of what is not Kubernetes' own scopes say nothing.
        one(&["count/deployments.apps", "pods", "requests.example.com/gpu"], "NotTerminating", 0);
        one(&["count/deployments.apps", "pods"], "BestEffort", 0);
        one(&["cpu", "limits.cpu", "memory", "pods", "requests.memory"], "PriorityClass", 0);
        one(&["cpu", "memory", "pods"], "CrossNamespacePodAffinity", 0);
        one(&["cpu", "memory", "pods"], "BestEffort", 2);
        one(&["requests.storage", "services"], "PriorityClass", 2);
        one(&["configmaps", "pods"], "CrossNamespacePodAffinity", 1);
        one(&["hugepages-2Mi", "requests.ephemeral-storage"], "Terminating", 2);
        one(&["persistentvolumeclaims", "requests.storage"], "VolumeAttributesClass", 0);
        one(&["pods"], "VolumeAttributesClass", 1);
    }

    #[test]
    fn each_scope_counts_once() {
        check(
            json!({"hard": {"pods": "1", "secrets": "1"}, "scopes": ["X", "Terminating", "X", "Terminating"]}),
            &[
                "spec.scopes: Invalid value: [\"X\",\"Terminating\",\"X\",\"Terminating\"]: unsupported scope",
                "spec.scopes: Invalid value: [\"X\",\"Terminating\",\"X\",\"Terminating\"]: unsupported scope applied",
            ],
        );
        // However much is wrong, what is said of it stays small beside what was sent.
        let hard: serde_json::Map<String, Value> =
            (0..5000).map(|n| (format!("hugepages-{n}"), "1".into())).collect();
        let unknown: Vec<String> = (0..5000).map(|n| format!("Scope{n}")).collect();
        let same = vec!["BestEffort"; 5000];
        for (scopes, count) in
            [(json!(["BestEffort"]), 1025), (json!(unknown), 2), (json!(same), 2)]
        {
            let quota = json!({"spec": {"hard": hard, "scopes": scopes}});
            assert_eq!(validate(&quota).len(), count, "{}", scopes.as_array().unwrap().len());
        }
    }

    #[test]
    fn selectors_of_scopes() {
        const AT: &str = "spec.scopeSelector.matchExpressions";
        let expected = [
            format!("{AT}.operator: Invalid value: \"In\": must be 'Exists' when scope is any of"),
            format!("{AT}.values: Required value: must be at least one value when"),
            format!("{AT}.scopeName: Invalid value: \"X\": unsupported scope"),
            format!("{AT}.values: Invalid value: [\"a\"]: must be no value when"),
            format!("{AT}.operator: Invalid value: \"Near\": must be 'Exists'"),
            format!("{AT}.operator: Invalid value: \"Near\": not a valid selector operator"),
            format!("{AT}: Invalid value: null: conflicting scopes"),
        ];
        let expected: Vec<&str> = expected.iter().map(String::as_str).collect();
        check(
            json!({"hard": {"pods": "1"}, "scopeSelector": {"matchExpressions": [
                {"scopeName": "BestEffort", "operator": "In"},
                {"scopeName": "X", "operator": "Exists", "values": ["a"]},
                {"scopeName": "NotBestEffort", "operator": "Near"},
            ]}}),
            &expected,
        );
    }

    #[test]
    fn scopes_stay() {
        let quota = |scopes: Value| json!({"spec": {"scopes": scopes}});
        let old = quota(json!(["Terminating", "BestEffort"]));
        let same = quota(json!(["BestEffort", "Terminating", "BestEffort"]));
        expect(&validate_update(&same, &old), &[], "another order");
        let less = quota(json!(["Terminating"]));
        let expected = "spec.scopes: Invalid value: [\"Terminating\"]: field is immutable";
        expect(&validate_update(&less, &old), &[expected], "one less");
    }
}
