//! `batch/v1 CronJob`.

use onggi_api::FieldError;
use serde_json::{Value, json};

use super::{job, podspec, status_of};
use crate::cron;
use crate::resource::{Column, Resource};
use crate::table::{self, text_or};
use crate::validation::{At, Errors};
use crate::value::{
    at, bool_at, is_set, list_at, set, set_default, set_default_text, str_at, time_at,
};

/// The controller puts eleven letters behind the name, and the name of a job has at most 63.
const NAME_MAX: usize = 52;

/// The row.
pub const RESOURCE: Resource = Resource {
    group: "batch",
    kind: "CronJob",
    plural: "cronjobs",
    singular: "cronjob",
    short_names: &["cj"],
    categories: &["all"],
    subresources: &[status_of("batch", "v1", "CronJob")],
    has_generation: true,
    has_status: true,
    columns: &[
        Column::NAME,
        Column::text("Schedule"),
        Column::text("Timezone"),
        Column { name: "Suspend", kind: "boolean", format: "", priority: 0 },
        Column::integer("Active"),
        Column::text("Last Schedule"),
        Column::AGE,
        Column::wide("Containers"),
        Column::wide("Images"),
        Column::wide("Selector"),
    ],
    row,
    default,
    prepare_create: |object| set(object, "status", json!({})),
    validate,
    validate_create,
    validate_update,
    warnings: |object| {
        podspec::warnings(&At::root(object).child("spec.jobTemplate.spec.template.spec"))
    },
    ..Resource::BASE
};

fn row(cron_job: &Value, now: i64) -> Vec<Value> {
    let last = match time_at(cron_job, "status.lastScheduleTime") {
        Some(moment) => table::since(Some(moment), now),
        None => "<none>".to_owned(),
    };
    let spec = at(cron_job, "spec.jobTemplate.spec");
    let [names, images] = table::containers_and_images(at(spec, "template.spec"));
    let selector = table::selector_text(at(spec, "selector"));
    let suspended = bool_at(cron_job, "spec.suspend");
    vec![
        table::name(cron_job),
        str_at(cron_job, "spec.schedule").into(),
        text_or(str_at(cron_job, "spec.timeZone"), "<none>").into(),
        if suspended { "True" } else { "False" }.into(),
        list_at(cron_job, "status.active").len().into(),
        last.into(),
        table::age(cron_job, now),
        names,
        images,
        text_or(&selector, "<none>").into(),
    ]
}

fn default(cron_job: &mut Value) {
    set_default_text(cron_job, "spec.concurrencyPolicy", "Allow");
    set_default(cron_job, "spec.suspend", false);
    set_default(cron_job, "spec.successfulJobsHistoryLimit", 3);
    set_default(cron_job, "spec.failedJobsHistoryLimit", 1);
    job::default_parts(cron_job, "spec.jobTemplate.spec");
}

// === Rules ===

fn validate(cron_job: &Value) -> Errors {
    let mut errors = Errors::new();
    let spec = At::root(cron_job).child("spec");
    let schedule = spec.child("schedule");
    if schedule.must_be_set(&mut errors)
        && let Err(why) = cron::parse(without_zone(schedule.text()))
    {
        errors.push(schedule.invalid(why));
    }
    spec.child("startingDeadlineSeconds").not_negative(&mut errors);
    let policy = spec.child("concurrencyPolicy");
    policy.required_one_of(&["Allow", "Forbid", "Replace"], &mut errors);
    job::validate_template(&spec.child("jobTemplate"), &mut errors);
    spec.child("successfulJobsHistoryLimit").not_negative(&mut errors);
    spec.child("failedJobsHistoryLimit").not_negative(&mut errors);
    errors
}

/// Old objects may have the zone in the schedule: `TZ=UTC 0 0 * * *`.
fn without_zone(schedule: &str) -> &str {
    let zoned = schedule.starts_with("TZ=") || schedule.starts_with("CRON_TZ=");
    match schedule.split_once(' ') {
        Some((_, rest)) if zoned => rest.trim(),
        _ => schedule,
    }
}

fn validate_create(cron_job: &Value) -> Errors {
    let mut errors = Errors::new();
    let root = At::root(cron_job);
    let (schedule, name) = (root.child("spec.schedule"), root.child("metadata.name"));
    if schedule.text().contains("TZ") {
        let detail = "cannot use TZ or CRON_TZ in schedule, use timeZone field instead";
        errors.push(schedule.invalid(detail));
    }
    time_zone(&root.child("spec.timeZone"), &mut errors);
    if name.text().len() > NAME_MAX {
        errors.push(name.invalid("must be no more than 52 characters"));
    }
    errors
}

fn validate_update(cron_job: &Value, old: &Value) -> Errors {
    let mut errors = Errors::new();
    let spec = At::root(cron_job).child("spec");
    let (schedule, zone) = (spec.child("schedule"), spec.child("timeZone"));
    if schedule.text().contains("TZ") {
        if !str_at(old, "spec.schedule").contains("TZ") {
            let detail = "cannot use TZ or CRON_TZ in schedule, use timeZone field instead";
            errors.push(schedule.invalid(detail));
        } else if is_set(cron_job, "spec.timeZone") {
            let detail = "cannot use both timeZone field and TZ or CRON_TZ in schedule";
            errors.push(schedule.invalid(detail));
        }
    }
    if zone.value != at(old, "spec.timeZone") {
        time_zone(&zone, &mut errors);
    }
    errors
}

/// The name of a zone of the IANA database, which is part of the program.
fn time_zone(zone: &At<'_>, errors: &mut Errors) {
    if !zone.is_set() {
        return;
    }
    let name = zone.text();
    let mut wrong = |detail: String| errors.push(FieldError::invalid(&zone.path, name, detail));
    if name.is_empty() {
        return wrong("timeZone must be nil or non-empty string".to_owned());
    }
    let part_fits = |part: &str| {
        !matches!(part, "." | "..")
            && !part.starts_with('-')
            && (1..=14).contains(&part.len())
            && part.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | '+'))
    };
    if !name.split('/').all(part_fits) {
        return wrong(format!("unknown time zone {name}"));
    }
    if name.eq_ignore_ascii_case("Local") {
        wrong(
            "timeZone must be an explicit time zone as defined in https://www.iana.org/time-zones"
                .to_owned(),
        );
    } else if !cron::is_time_zone(name) {
        wrong(format!("unknown time zone {name}"));
    }
}
