//! `apps/v1 Deployment`.

use onggi_api::FieldError;
use serde_json::{Value, json};

use super::{status_of, workload};
use crate::resource::{Column, Resource};
use crate::table;
use crate::validation::{At, Errors, NEGATIVE};
use crate::value::{i64_at, set, set_default, set_default_text, str_at};

/// The row.
pub const RESOURCE: Resource = Resource {
    group: "apps",
    kind: "Deployment",
    plural: "deployments",
    singular: "deployment",
    short_names: &["deploy"],
    categories: &["all"],
    subresources: &[workload::SCALE, status_of("apps", "v1", "Deployment")],
    has_generation: true,
    has_status: true,
    columns: &[
        Column::NAME,
        Column::text("Ready"),
        Column::text("Up-to-date"),
        Column::text("Available"),
        Column::AGE,
        Column::wide("Containers"),
        Column::wide("Images"),
        Column::wide("Selector"),
    ],
    row,
    default,
    prepare_create: |object| set(object, "status", json!({})),
    validate,
    validate_update: workload::validate_update,
    warnings: workload::warnings,
    ..Resource::BASE
};

fn row(deployment: &Value, now: i64) -> Vec<Value> {
    let count = |path| i64_at(deployment, path).unwrap_or(0);
    let ready = format!("{}/{}", count("status.readyReplicas"), count("spec.replicas"));
    let mut cells = vec![
        table::name(deployment),
        ready.into(),
        count("status.updatedReplicas").into(),
        count("status.availableReplicas").into(),
        table::age(deployment, now),
    ];
    cells.extend(workload::wide_cells(deployment));
    cells
}

fn default(deployment: &mut Value) {
    set_default(deployment, "spec.replicas", 1);
    set_default_text(deployment, "spec.strategy.type", "RollingUpdate");
    if str_at(deployment, "spec.strategy.type") == "RollingUpdate" {
        set_default(deployment, "spec.strategy.rollingUpdate.maxUnavailable", "25%");
        set_default(deployment, "spec.strategy.rollingUpdate.maxSurge", "25%");
    }
    set_default(deployment, "spec.revisionHistoryLimit", 10);
    set_default(deployment, "spec.progressDeadlineSeconds", 600);
    workload::default_template(deployment);
}

// === Rules ===

fn validate(deployment: &Value) -> Errors {
    let mut errors = Errors::new();
    let spec = At::root(deployment).child("spec");
    workload::validate(&spec, &mut errors);
    strategy(&spec.child("strategy"), &mut errors);
    spec.child("minReadySeconds").not_negative(&mut errors);
    spec.child("revisionHistoryLimit").not_negative(&mut errors);
    let deadline = spec.child("progressDeadlineSeconds");
    deadline.not_negative(&mut errors);
    let settle = spec.child("minReadySeconds").int().unwrap_or(0);
    if deadline.int().is_some_and(|seconds| seconds <= settle) {
        errors.push(deadline.invalid("must be greater than minReadySeconds"));
    }
    errors
}

fn strategy(strategy: &At<'_>, errors: &mut Errors) {
    let kind = strategy.child("type");
    let known = &["Recreate", "RollingUpdate"];
    if !known.contains(&kind.text()) {
        return errors.push(FieldError::not_supported(
            &strategy.path,
            strategy.value.clone(),
            known,
        ));
    }
    let rolling = strategy.child("rollingUpdate");
    match kind.text() {
        "Recreate" if rolling.is_set() => errors
            .push(rolling.forbidden("may not be specified when strategy `type` is 'Recreate'")),
        "RollingUpdate" => {
            let (missing, extra) = (rolling.child("maxUnavailable"), rolling.child("maxSurge"));
            let none = [share(&missing, true, errors), share(&extra, false, errors)];
            if none == [Some(0), Some(0)] {
                errors.push(missing.invalid("may not be 0 when `maxSurge` is 0"));
            }
        }
        _ => {}
    }
}

/// The number in a count or a percentage; nothing where it is neither.
pub(super) fn share(share: &At<'_>, at_most_all: bool, errors: &mut Errors) -> Option<i64> {
    const PERCENT: &str = "a valid percent string must be a numeric string followed by an ending \
        '%' (e.g. '1%',  or '93%', regex used for validation is '[0-9]+%')";
    let Some(text) = share.value.as_str() else {
        if share.int().is_some_and(|count| count < 0) {
            errors.push(share.invalid(NEGATIVE));
        }
        return share.int();
    };
    let digits = text.strip_suffix('%').filter(|d| d.chars().all(|c| c.is_ascii_digit()));
    let Some(percent) = digits.and_then(|digits| digits.parse::<i64>().ok()) else {
        errors.push(share.invalid(PERCENT));
        return None;
    };
    if at_most_all && percent > 100 {
        errors.push(share.invalid("must not be greater than 100%"));
    }
    Some(percent)
}
