//! `apps/v1 DaemonSet`.

use onggi_api::FieldError;
use serde_json::{Value, json};

use super::{deployment, status_of, workload};
use crate::resource::{Column, Resource};
use crate::table;
use crate::validation::{At, Errors, labels};
use crate::value::{at, i64_at, map_mut, set, set_default, set_default_text, str_at};

/// Counts the changes of the template, since clients of older versions look for it.
const TEMPLATE_GENERATION: &str = "deprecated.daemonset.template.generation";

/// The row.
pub const RESOURCE: Resource = Resource {
    group: "apps",
    kind: "DaemonSet",
    plural: "daemonsets",
    singular: "daemonset",
    short_names: &["ds"],
    categories: &["all"],
    subresources: &[status_of("apps", "v1", "DaemonSet")],
    has_generation: true,
    has_status: true,
    columns: &[
        Column::NAME,
        Column::integer("Desired"),
        Column::integer("Current"),
        Column::integer("Ready"),
        Column::integer("Up-to-date"),
        Column::integer("Available"),
        Column::text("Node Selector"),
        Column::AGE,
        Column::wide("Containers"),
        Column::wide("Images"),
        Column::wide("Selector"),
    ],
    row,
    default,
    prepare_create,
    prepare_update,
    validate,
    validate_update,
    warnings: workload::warnings,
    ..Resource::BASE
};

fn row(set: &Value, now: i64) -> Vec<Value> {
    let count = |field| Value::from(i64_at(at(set, "status"), field).unwrap_or(0));
    let mut cells = vec![
        table::name(set),
        count("desiredNumberScheduled"),
        count("currentNumberScheduled"),
        count("numberReady"),
        count("updatedNumberScheduled"),
        count("numberAvailable"),
        table::labels_text(at(set, "spec.template.spec.nodeSelector")).into(),
        table::age(set, now),
    ];
    cells.extend(workload::wide_cells(set));
    cells
}

fn default(set: &mut Value) {
    set_default_text(set, "spec.updateStrategy.type", "RollingUpdate");
    if str_at(set, "spec.updateStrategy.type") == "RollingUpdate" {
        set_default(set, "spec.updateStrategy.rollingUpdate.maxUnavailable", 1);
        set_default(set, "spec.updateStrategy.rollingUpdate.maxSurge", 0);
    }
    set_default(set, "spec.revisionHistoryLimit", 10);
    workload::default_template(set);
}

fn prepare_create(object: &mut Value) {
    let status = json!({
        "currentNumberScheduled": 0, "desiredNumberScheduled": 0, "numberMisscheduled": 0,
        "numberReady": 0,
    });
    set(object, "status", status);
    let generation = template_generation(object).max(1);
    set_template_generation(object, generation);
}

fn prepare_update(object: &mut Value, old: &Value) {
    // Defaults first, or what they fill in would count as a change.
    default(object);
    let changed = at(object, "spec.template") != at(old, "spec.template");
    set_template_generation(object, template_generation(old).max(1) + i64::from(changed));
}

fn template_generation(object: &Value) -> i64 {
    let found = at(object, "metadata.annotations").get(TEMPLATE_GENERATION);
    found.and_then(Value::as_str).and_then(|text| text.parse().ok()).unwrap_or(0)
}

fn set_template_generation(object: &mut Value, generation: i64) {
    let text = generation.to_string();
    map_mut(object, "metadata.annotations").insert(TEMPLATE_GENERATION.to_owned(), text.into());
}

// === Rules ===

fn validate(set: &Value) -> Errors {
    let mut errors = Errors::new();
    let spec = At::root(set).child("spec");
    let selector = spec.child("selector");
    labels::selector(&selector, &mut errors);
    workload::selected(&spec, &mut errors);
    // That one must be there is said by the rule above.
    if selector.is_set() && labels::selects_everything(selector.value) {
        errors.push(selector.invalid("empty selector is invalid for daemonset"));
    }
    let pod = workload::template(&spec.child("template"), &mut errors);
    workload::always_restarts(&pod, &mut errors);
    let deadline = pod.child("activeDeadlineSeconds");
    if deadline.is_set() {
        let detail = "activeDeadlineSeconds in DaemonSet is not Supported";
        errors.push(deadline.forbidden(detail));
    }
    spec.child("minReadySeconds").not_negative(&mut errors);
    strategy(&spec.child("updateStrategy"), &mut errors);
    spec.child("revisionHistoryLimit").not_negative(&mut errors);
    errors
}

fn strategy(strategy: &At<'_>, errors: &mut Errors) {
    let known = &["RollingUpdate", "OnDelete"];
    match strategy.child("type").text() {
        "RollingUpdate" => {}
        "OnDelete" => return,
        _ => {
            let value = strategy.value.clone();
            return errors.push(FieldError::not_supported(&strategy.path, value, known));
        }
    }
    let rolling = strategy.child("rollingUpdate");
    let (missing, extra) = (rolling.child("maxUnavailable"), rolling.child("maxSurge"));
    let counts =
        [deployment::share(&missing, true, errors), deployment::share(&extra, true, errors)];
    match counts {
        [Some(0), Some(0)] => {
            errors.push(missing.required("cannot be 0 when maxSurge is 0"));
        }
        [Some(1..), Some(1..)] => {
            errors.push(extra.invalid("may not be set when maxUnavailable is non-zero"));
        }
        _ => {}
    }
}

fn validate_update(set: &Value, old: &Value) -> Errors {
    let mut errors = workload::validate_update(set, old);
    let status = At::root(set).child("status");
    if status.value != at(old, "status") {
        for field in [
            "currentNumberScheduled",
            "numberMisscheduled",
            "desiredNumberScheduled",
            "numberReady",
            "observedGeneration",
            "updatedNumberScheduled",
            "numberAvailable",
            "numberUnavailable",
            "collisionCount",
        ] {
            status.child(field).not_negative(&mut errors);
        }
    }
    errors
}
