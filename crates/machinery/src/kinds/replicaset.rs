//! `apps/v1 ReplicaSet`.

use serde_json::{Value, json};

use super::{status_of, workload};
use crate::resource::{Column, Resource};
use crate::table;
use crate::validation::{At, Errors};
use crate::value::{i64_at, set, set_default};

/// The row.
pub const RESOURCE: Resource = Resource {
    group: "apps",
    kind: "ReplicaSet",
    plural: "replicasets",
    singular: "replicaset",
    short_names: &["rs"],
    categories: &["all"],
    subresources: &[workload::SCALE, status_of("apps", "v1", "ReplicaSet")],
    fields: &["status.replicas"],
    has_generation: true,
    has_status: true,
    columns: &[
        Column::NAME,
        Column::integer("Desired"),
        Column::integer("Current"),
        Column::integer("Ready"),
        Column::AGE,
        Column::wide("Containers"),
        Column::wide("Images"),
        Column::wide("Selector"),
    ],
    row,
    default,
    prepare_create: |object| set(object, "status", json!({"replicas": 0})),
    validate,
    validate_update: workload::validate_update,
    warnings: workload::warnings,
    ..Resource::BASE
};

fn row(set: &Value, now: i64) -> Vec<Value> {
    let count = |path| Value::from(i64_at(set, path).unwrap_or(0));
    let mut cells = vec![
        table::name(set),
        count("spec.replicas"),
        count("status.replicas"),
        count("status.readyReplicas"),
        table::age(set, now),
    ];
    cells.extend(workload::wide_cells(set));
    cells
}

fn default(set: &mut Value) {
    set_default(set, "spec.replicas", 1);
    workload::default_template(set);
}

fn validate(set: &Value) -> Errors {
    let mut errors = Errors::new();
    workload::validate(&At::root(set).child("spec"), &mut errors);
    errors
}
