//! `v1 LimitRange`: what a container, pod or claim in a namespace may ask for.

use std::collections::BTreeSet;

use onggi_api::{FieldError, Quantity};
use serde_json::Value;

use super::resourcequota;
use crate::resource::{Column, Resource};
use crate::table;
use crate::validation::{At, Errors, names};
use crate::value::{entries_at, items_mut, map_mut, str_at};

/// The row. It has no printer of its own in Kubernetes.
pub const RESOURCE: Resource = Resource {
    kind: "LimitRange",
    plural: "limitranges",
    singular: "limitrange",
    short_names: &["limits"],
    columns: &[Column::NAME, Column { name: "Created At", kind: "date", format: "", priority: 0 }],
    row: |object, _| vec![table::name(object), str_at(object, "metadata.creationTimestamp").into()],
    default,
    validate,
    ..Resource::BASE
};

/// For containers: the most is the default limit, the default limit or the least the default
/// request.
fn default(object: &mut Value) {
    for limit in items_mut(object, "spec.limits") {
        if str_at(limit, "type") == "Container" {
            fill(limit, "max", "default");
            fill(limit, "default", "defaultRequest");
            fill(limit, "min", "defaultRequest");
        }
    }
}

fn fill(limit: &mut Value, from: &str, to: &str) {
    let amounts: Vec<(String, Value)> =
        entries_at(limit, from).map(|(name, amount)| (name.to_owned(), amount.clone())).collect();
    if amounts.is_empty() {
        return;
    }
    let filled = map_mut(limit, to);
    for (name, amount) in amounts {
        filled.entry(name).or_insert(amount);
    }
}

// === Rules ===

const MAPS: [&str; 5] = ["max", "min", "default", "defaultRequest", "maxLimitRequestRatio"];

fn validate(object: &Value) -> Errors {
    let mut errors = Errors::new();
    let mut seen = BTreeSet::new();
    for limit in At::root(object).each("spec.limits") {
        let kind = limit.child("type");
        kind_of_limit(&kind, &mut errors);
        if !seen.insert(kind.text()) {
            errors.push(kind.duplicate());
        }
        one(&limit, &mut errors);
    }
    errors
}

fn kind_of_limit(kind: &At<'_>, errors: &mut Errors) {
    kind.must(names::qualified_name, errors);
    let standard = ["Pod", "Container", "PersistentVolumeClaim"];
    let named = names::qualified_name(kind.text()).is_empty();
    if named && !kind.text().contains('/') && !standard.contains(&kind.text()) {
        errors.push(kind.invalid("must be a standard limit type or fully qualified"));
    }
}

fn one(limit: &At<'_>, errors: &mut Errors) {
    let kind = limit.child("type").text();
    let mut keys = BTreeSet::new();
    for map in MAPS {
        let at = limit.child(map);
        for (name, amount) in at.entries() {
            resourcequota::resource_name(name, &amount, errors);
            if kind == "Container" {
                resourcequota::container_resource_name(name, &amount, errors);
            }
            keys.insert(name);
        }
        if kind == "Pod" && map.starts_with("default") && at.is_set() {
            errors.push(at.forbidden("may not be specified when `type` is 'Pod'"));
        }
    }
    let has = |map: &str| limit.child(map).value.get("storage").is_some();
    if kind == "PersistentVolumeClaim" && !has("min") && !has("max") {
        let detail =
            "either minimum or maximum storage value is required, but neither was provided";
        errors.push(limit.child("limits").required(detail));
    }
    for key in keys {
        amounts(limit, key, errors);
    }
}

fn amounts(limit: &At<'_>, key: &str, errors: &mut Errors) {
    let text = |map: &str| limit.value.get(map)?.get(key)?.as_str();
    let amount = |map: &str| text(map)?.parse::<Quantity>().ok();
    let mut ordered = |low: &str, high: &str, at: &str, shown: &str, what: &str| {
        let (Some(small), Some(large)) = (amount(low), amount(high)) else { return };
        if small > large {
            let [small, large] = [text(low).unwrap_or(""), text(high).unwrap_or("")];
            let detail = what.replace("{low}", small).replace("{high}", large);
            let path = limit.child(at).path.key(key);
            errors.push(FieldError::invalid(&path, text(shown).unwrap_or(""), detail));
        }
    };
    for (low, high, at, shown, what) in [
        ("min", "max", "min", "min", "min value {low} is greater than max value {high}"),
        (
            "min",
            "defaultRequest",
            "defaultRequest",
            "defaultRequest",
            "min value {low} is greater than default request value {high}",
        ),
        (
            "defaultRequest",
            "max",
            "defaultRequest",
            "defaultRequest",
            "default request value {low} is greater than max value {high}",
        ),
        (
            "defaultRequest",
            "default",
            "defaultRequest",
            "defaultRequest",
            "default request value {low} is greater than default limit value {high}",
        ),
        (
            "min",
            "default",
            "default",
            "min",
            "min value {low} is greater than default value {high}",
        ),
        (
            "default",
            "max",
            "default",
            "max",
            "default value {low} is greater than max value {high}",
        ),
    ] {
        ordered(low, high, at, shown, what);
    }
    let path = limit.child("maxLimitRequestRatio").path.key(key);
    let Some(ratio) = amount("maxLimitRequestRatio") else { return };
    let shown = text("maxLimitRequestRatio").unwrap_or("");
    if ratio < Quantity::from_units(1) {
        errors.push(FieldError::invalid(&path, shown, format!("ratio {shown} is less than 1")));
    }
    let (Some(least), Some(most)) = (amount("min"), amount("max")) else { return };
    let (least, most) = (least.millis() as f64, most.millis() as f64);
    let possible = most / least;
    if least > 0.0 && ratio.millis() as f64 / 1000.0 > possible {
        let detail = format!("ratio {shown} is greater than max/min = {possible:.6}");
        errors.push(FieldError::invalid(&path, shown, detail));
    }
}
