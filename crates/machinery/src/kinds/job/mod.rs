//! `batch/v1 Job`.

use serde_json::{Value, json};

use super::{status_of, workload};
use crate::resource::{Column, Resource};
use crate::table::{self, human_duration};
use crate::value::{
    at, bool_at, entries_at, find, i64_at, is_set, items_mut, list_at, map_mut, set, set_default,
    set_default_text, str_at, time_at,
};

mod status;
#[cfg(test)]
mod tests;
mod update;
mod validate;

pub(super) use validate::template as validate_template;

/// Labels of the pods of a job, the older names second.
const CONTROLLER_UID: [&str; 2] = ["batch.kubernetes.io/controller-uid", "controller-uid"];
const JOB_NAME: [&str; 2] = ["batch.kubernetes.io/job-name", "job-name"];

/// The row.
pub const RESOURCE: Resource = Resource {
    group: "batch",
    kind: "Job",
    plural: "jobs",
    singular: "job",
    categories: &["all"],
    subresources: &[status_of("batch", "v1", "Job")],
    fields: &["status.successful=status.succeeded"],
    has_generation: true,
    has_status: true,
    columns: &[
        Column::NAME,
        Column::text("Status"),
        Column::text("Completions"),
        Column::text("Duration"),
        Column::AGE,
        Column::wide("Containers"),
        Column::wide("Images"),
        Column::wide("Selector"),
    ],
    row,
    default,
    prepare_create: |object| set(object, "status", json!({})),
    finish_create: Some(|job| {
        generate_selector(job);
        default_labels(job);
    }),
    validate: validate::validate,
    validate_update: update::validate_update,
    orphans: true,
    warnings: workload::warnings,
    ..Resource::BASE
};

// === Row ===

fn row(job: &Value, now: i64) -> Vec<Value> {
    let mut cells = vec![
        table::name(job),
        status(job).into(),
        completions(job).into(),
        duration(job, now).into(),
        table::age(job, now),
    ];
    cells.extend(workload::wide_cells(job));
    cells
}

/// Whether a condition is `True`.
fn has_condition(status: &Value, kind: &str) -> bool {
    find(list_at(status, "conditions"), "type", kind)
        .is_some_and(|condition| str_at(condition, "status") == "True")
}

fn status(job: &Value) -> &'static str {
    let has = |kind| has_condition(at(job, "status"), kind);
    if has("Complete") {
        "Complete"
    } else if has("Failed") {
        "Failed"
    } else if is_set(job, "metadata.deletionTimestamp") {
        "Terminating"
    } else if has("Suspended") {
        "Suspended"
    } else if has("FailureTarget") {
        "FailureTarget"
    } else if has("SuccessCriteriaMet") {
        "SuccessCriteriaMet"
    } else {
        "Running"
    }
}

fn completions(job: &Value) -> String {
    let succeeded = i64_at(job, "status.succeeded").unwrap_or(0);
    match (i64_at(job, "spec.completions"), i64_at(job, "spec.parallelism").unwrap_or(0)) {
        (Some(wanted), _) => format!("{succeeded}/{wanted}"),
        (None, workers @ 2..) => format!("{succeeded}/1 of {workers}"),
        (None, _) => format!("{succeeded}/1"),
    }
}

fn duration(job: &Value, now: i64) -> String {
    let Some(begun) = time_at(job, "status.startTime") else { return String::new() };
    let ended = time_at(job, "status.completionTime").unwrap_or(now);
    human_duration(ended.saturating_sub(begun))
}

// === Defaults ===

fn default(job: &mut Value) {
    const WITHOUT_END: i32 = i32::MAX;
    map_mut(job, "spec");
    if let Some(spec) = crate::value::at_mut(job, "spec") {
        if !is_set(spec, "completions") && !is_set(spec, "parallelism") {
            set(spec, "completions", 1);
            set(spec, "parallelism", 1);
        }
        set_default(spec, "parallelism", 1);
        let limit = if is_set(spec, "backoffLimitPerIndex") { WITHOUT_END } else { 6 };
        set_default(spec, "backoffLimit", limit);
        set_default(spec, "completionMode", "NonIndexed");
        set_default(spec, "suspend", false);
        set_default(spec, "manualSelector", false);
        let failures = is_set(spec, "podFailurePolicy");
        let replace = if failures { "Failed" } else { "TerminatingOrFailed" };
        set_default(spec, "podReplacementPolicy", replace);
    }
    default_parts(job, "spec");
    if is_set(job, "spec.selector") {
        default_labels(job);
    }
}

/// A job without labels has those of its pods, with what is added to them.
fn default_labels(job: &mut Value) {
    if entries_at(job, "metadata.labels").next().is_some() {
        return;
    }
    let labels = at(job, "spec.template.metadata.labels");
    if labels.as_object().is_some_and(|labels| !labels.is_empty()) {
        let labels = labels.clone();
        set(job, "metadata.labels", labels);
    }
}

/// What is set in the template of a CronJob too: the rest comes when the job is made.
pub(super) fn default_parts(object: &mut Value, spec: &str) {
    map_mut(object, spec);
    let Some(spec) = crate::value::at_mut(object, spec) else { return };
    for rule in items_mut(spec, "podFailurePolicy.rules") {
        for condition in items_mut(rule, "onPodConditions") {
            set_default_text(condition, "status", "True");
        }
    }
    workload::default_template_at(spec, "template");
}

/// A job selects its pods by its uid, unless its author wants to do that.
fn generate_selector(job: &mut Value) {
    if bool_at(job, "spec.manualSelector") {
        return;
    }
    let (uid, name) =
        (str_at(job, "metadata.uid").to_owned(), str_at(job, "metadata.name").to_owned());
    let labels = map_mut(job, "spec.template.metadata.labels");
    for (names, value) in [(JOB_NAME, &name), (CONTROLLER_UID, &uid)] {
        for label in names {
            // One that is there already and says something else is refused by the rules.
            labels.entry(label).or_insert_with(|| value.as_str().into());
        }
    }
    let selected = map_mut(job, "spec.selector.matchLabels");
    selected.entry(CONTROLLER_UID[0]).or_insert_with(|| uid.into());
}
