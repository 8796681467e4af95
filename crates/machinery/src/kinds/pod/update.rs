//! What may change in a pod once it is made.
//!
//! Binding a pod to a node is a subresource with rules of its own and does not come through here.

use std::collections::HashSet;

use serde_json::Value;

use crate::validation::{At, Errors};
use crate::value::{at, list_at, remove, set, str_at};

const ALLOWED: &str = "pod updates may not change fields other than \
    `spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,\
    `spec.tolerations` (only additions to existing tolerations),\
    `spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)";

pub(super) fn validate_update(pod: &Value, old: &Value) -> Errors {
    let mut errors = Errors::new();
    let (spec, before) = (At::root(pod).child("spec"), at(old, "spec"));
    if spec.value == before {
        return errors;
    }
    for list in ["containers", "initContainers"] {
        if spec.each(list).count() != list_at(before, list).len() {
            let detail = "pod updates may not add or remove containers";
            errors.push(spec.child(list).forbidden(detail));
        }
    }
    if !errors.is_empty() {
        return errors;
    }
    deadline(&spec.child("activeDeadlineSeconds"), before, &mut errors);
    tolerations(&spec.child("tolerations"), before, &mut errors);
    scheduling_gates(&spec.child("schedulingGates"), before, &mut errors);
    let changed = changed_fields(&with_allowed(spec.value, before), before);
    if !changed.is_empty() {
        errors.push(spec.forbidden(format!("{ALLOWED}\nchanged: {}", changed.join(", "))));
    }
    errors
}

/// It may be set once and come nearer.
fn deadline(deadline: &At<'_>, before: &Value, errors: &mut Errors) {
    let Some(old) = at(before, "activeDeadlineSeconds").as_i64() else { return };
    match deadline.int() {
        None => {
            errors.push(deadline.invalid("must not update from a positive integer to nil value"));
        }
        Some(new) if new > old => {
            errors.push(deadline.invalid("must be less than or equal to previous value"));
        }
        Some(_) => {}
    }
}

/// Those that were there stay, save for how long they last.
fn tolerations(tolerations: &At<'_>, before: &Value, errors: &mut Errors) {
    let lasting = |toleration: &Value| {
        let mut toleration = toleration.clone();
        remove(&mut toleration, "tolerationSeconds");
        toleration
    };
    if tolerations.value == at(before, "tolerations") {
        return;
    }
    let new: HashSet<Value> = tolerations.items().map(|item| lasting(item.value)).collect();
    if !list_at(before, "tolerations").iter().all(|old| new.contains(&lasting(old))) {
        errors.push(
            tolerations
                .forbidden("existing toleration can not be modified except its tolerationSeconds"),
        );
    }
}

/// They are taken away until there are none.
fn scheduling_gates(gates: &At<'_>, before: &Value, errors: &mut Errors) {
    let old: HashSet<&Value> = list_at(before, "schedulingGates").iter().collect();
    for gate in gates.items().filter(|gate| !old.contains(gate.value)) {
        let name = str_at(gate.value, "name");
        errors.push(gates.forbidden(format!(
            "only deletion is allowed, but found new scheduling gate '{name}'"
        )));
    }
}

/// The new specification with everything that may change put back.
fn with_allowed(spec: &Value, before: &Value) -> Value {
    let mut masked = spec.clone();
    for list in ["containers", "initContainers"] {
        let images = list_at(before, list).iter().map(|c| at(c, "image"));
        for (container, image) in crate::value::items_mut(&mut masked, list).zip(images) {
            set(container, "image", image.clone());
        }
    }
    let mut fields = vec!["activeDeadlineSeconds", "tolerations", "schedulingGates"];
    let grace = "terminationGracePeriodSeconds";
    if at(before, grace).as_i64().is_some_and(|old| old < 0) && at(spec, grace) == 1 {
        fields.push(grace);
    }
    for field in fields {
        match before.get(field) {
            Some(old) => set(&mut masked, field, old.clone()),
            None => remove(&mut masked, field),
        }
    }
    masked
}

fn changed_fields(new: &Value, old: &Value) -> Vec<String> {
    let keys = |value: &Value| -> Vec<String> {
        value.as_object().into_iter().flatten().map(|(key, _)| key.clone()).collect()
    };
    let mut all = keys(new);
    all.extend(keys(old));
    all.sort_unstable();
    all.dedup();
    all.retain(|key| at(new, key) != at(old, key));
    all.iter().map(|key| format!("spec.{key}")).collect()
}
