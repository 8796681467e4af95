//! What may change in a job once it is made.

use serde_json::Value;

use super::status;
use crate::validation::{At, Errors, IMMUTABLE};
use crate::value::{at, bool_at, is_set, items_mut, list_at, remove, set};

pub(super) fn validate_update(job: &Value, old: &Value) -> Errors {
    let mut errors = Errors::new();
    let (spec, before) = (At::root(job).child("spec"), at(old, "spec"));
    if spec.value != before {
        completions(&spec, before, &mut errors);
        spec.child("selector").unchanged(at(before, "selector"), &mut errors);
        template(&spec.child("template"), old, &mut errors);
        for field in [
            "completionMode",
            "podFailurePolicy",
            "backoffLimitPerIndex",
            "managedBy",
            "successPolicy",
        ] {
            spec.child(field).unchanged(at(before, field), &mut errors);
        }
    }
    if at(job, "status") != at(old, "status") {
        status::validate_update(job, old, &mut errors);
    }
    errors
}

/// An indexed job may grow and shrink, with its parallelism.
fn completions(spec: &At<'_>, before: &Value, errors: &mut Errors) {
    let completions = spec.child("completions");
    if completions.value == at(before, "completions") {
        return;
    }
    if spec.child("completionMode").text() != "Indexed" {
        errors.push(completions.invalid(IMMUTABLE));
    } else if completions.is_set() && completions.int() != spec.child("parallelism").int() {
        errors.push(completions.invalid("can only be modified in tandem with spec.parallelism"));
    }
}

/// The template stays; while the job is suspended and has not begun, where its pods go and what
/// they ask for may change.
fn template(template: &At<'_>, old: &Value, errors: &mut Errors) {
    let before = at(old, "spec.template");
    let waiting = bool_at(old, "spec.suspend") && !is_set(old, "status.startTime");
    let same =
        if waiting { &masked(template.value, before) == before } else { template.value == before };
    if !same {
        errors.push(template.invalid(IMMUTABLE));
    }
}

fn masked(template: &Value, before: &Value) -> Value {
    let mut masked = template.clone();
    for path in [
        "spec.affinity.nodeAffinity",
        "spec.nodeSelector",
        "spec.tolerations",
        "spec.schedulingGates",
        "metadata.annotations",
        "metadata.labels",
    ] {
        match at(before, path) {
            Value::Null => remove(&mut masked, path),
            value => set(&mut masked, path, value.clone()),
        }
    }
    if !is_set(before, "spec.affinity") && masked["spec"]["affinity"] == serde_json::json!({}) {
        remove(&mut masked, "spec.affinity");
    }
    for list in ["spec.containers", "spec.initContainers"] {
        let resources: Vec<Value> =
            list_at(before, list).iter().map(|c| at(c, "resources").clone()).collect();
        for (container, resources) in items_mut(&mut masked, list).zip(resources) {
            set(container, "resources", resources);
        }
    }
    masked
}
