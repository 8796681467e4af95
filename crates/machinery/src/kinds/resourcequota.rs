//! `v1 ResourceQuota`: how much a namespace may hold.

use std::fmt::Write;

use onggi_api::{FieldError, Quantity};
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

/// The name of a resource: qualified, or one of the standard ones.
pub(super) fn resource_name(name: &str, at: &At<'_>, errors: &mut Errors) {
    let wrong = names::qualified_name(name);
    errors.extend(wrong.into_iter().map(|e| FieldError::invalid(&at.path, name, e)));
    let standard = COMPUTE.contains(&name)
        || COUNTED.contains(&name)
        || SUMMED.contains(&name)
        || name == "storage"
        || is_huge_page(name);
    if !name.contains('/') && !standard {
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
    for map in ["status.hard", "status.used"] {
        amounts(&root.child(map), &mut errors);
    }
    errors
}

fn amounts(map: &At<'_>, errors: &mut Errors) {
    for (name, amount) in map.entries() {
        resource_name(name, &amount, errors);
        let known = COMPUTE.contains(&name)
            || COUNTED.contains(&name)
            || SUMMED.contains(&name)
            || is_huge_page(name);
        if !name.contains('/') && !known {
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

fn scopes(spec: &At<'_>, errors: &mut Errors) {
    let scopes = spec.child("scopes");
    let named: Vec<&str> = scopes.items().map(|scope| scope.text()).collect();
    let hard: Vec<&str> = spec.child("hard").entries().map(|(name, _)| name).collect();
    for scope in &named {
        if !SCOPES.contains(scope) {
            errors.push(scopes.invalid("unsupported scope"));
        }
        for name in hard.iter().filter(|name| !fits(scope, name)) {
            let detail = "unsupported scope applied to resource";
            errors.push(FieldError::invalid(&scopes.path, *name, detail));
        }
    }
    for (one, other) in [("BestEffort", "NotBestEffort"), ("Terminating", "NotTerminating")] {
        if named.contains(&one) && named.contains(&other) {
            errors.push(scopes.invalid("conflicting scopes"));
        }
    }
    for expression in spec.each("scopeSelector.matchExpressions") {
        let (scope, operator, values) = (
            expression.child("scopeName"),
            expression.child("operator"),
            expression.child("values"),
        );
        if !SCOPES.contains(&scope.text()) {
            errors.push(scope.invalid("unsupported scope"));
        }
        let count = values.items().count();
        match operator.text() {
            "In" | "NotIn" if count == 0 => errors.push(values.required(
                "must be at least one value when `operator` is 'In' or 'NotIn' for scope selector",
            )),
            "Exists" | "DoesNotExist" if count > 0 => errors.push(values.invalid(
                "must be no value when `operator` is 'Exist' or 'DoesNotExist' for scope selector",
            )),
            "In" | "NotIn" | "Exists" | "DoesNotExist" => {}
            _ => errors.push(operator.invalid("not a valid selector operator")),
        }
        let exists_alone = !["PriorityClass", "VolumeAttributesClass"].contains(&scope.text());
        if exists_alone && SCOPES.contains(&scope.text()) && operator.text() != "Exists" {
            let detail = "must be 'Exist' when scope is any of ResourceQuotaScopeTerminating, \
                ResourceQuotaScopeNotTerminating, ResourceQuotaScopeBestEffort, \
                ResourceQuotaScopeNotBestEffort or ResourceQuotaScopeCrossNamespacePodAffinity";
            errors.push(operator.invalid(detail));
        }
    }
}

/// Whether a resource can be counted within a scope.
fn fits(scope: &str, resource: &str) -> bool {
    match scope {
        "BestEffort" => resource == "pods",
        "NotBestEffort" | "Terminating" | "NotTerminating" | "PriorityClass" => {
            resource == "pods"
                || COMPUTE.contains(&resource)
                || SUMMED.contains(&resource) && resource != "requests.storage"
                || is_huge_page(resource)
        }
        _ => true,
    }
}

fn validate_update(quota: &Value, old: &Value) -> Errors {
    let mut errors = Errors::new();
    let scopes = At::root(quota).child("spec.scopes");
    let sorted = |list: &Value| {
        let mut all: Vec<String> =
            list.as_array().into_iter().flatten().map(ToString::to_string).collect();
        all.sort_unstable();
        all
    };
    if sorted(scopes.value) != sorted(at(old, "spec.scopes")) {
        errors.push(scopes.invalid(crate::validation::IMMUTABLE));
    }
    errors
}
