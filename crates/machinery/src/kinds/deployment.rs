//! `apps/v1 Deployment`.

use serde_json::{Value, json};

use super::{podspec, status_of, workload};
use crate::resource::{Column, Resource};
use crate::table;
use crate::value::{at_mut, i64_at, set, set_default, set_default_text, str_at};

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
    if let Some(spec) = at_mut(deployment, "spec.template.spec") {
        podspec::default(spec);
    }
}
