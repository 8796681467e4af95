//! `coordination.k8s.io/v1 Lease`.

use serde_json::Value;

use crate::resource::{Column, Resource};
use crate::table;
use crate::validation::{At, Errors};
use crate::value::{is_set, remove, str_at};

/// The row.
pub const RESOURCE: Resource = Resource {
    group: "coordination.k8s.io",
    kind: "Lease",
    plural: "leases",
    singular: "lease",
    columns: &[Column::NAME, Column::text("Holder"), Column::AGE],
    row,
    prepare_create: |lease| drop_strategy(lease, &Value::Null),
    prepare_update: drop_strategy,
    validate,
    ..Resource::BASE
};

fn row(object: &Value, now: i64) -> Vec<Value> {
    let holder = str_at(object, "spec.holderIdentity");
    vec![table::name(object), holder.into(), table::age(object, now)]
}

/// Behind a feature gate that is off.
fn drop_strategy(lease: &mut Value, old: &Value) {
    for field in ["spec.strategy", "spec.preferredHolder"] {
        if !is_set(old, field) {
            remove(lease, field);
        }
    }
}

fn validate(object: &Value) -> Errors {
    let mut errors = Errors::new();
    let spec = At::root(object).child("spec");
    let duration = spec.child("leaseDurationSeconds");
    if duration.int().is_some_and(|seconds| seconds <= 0) {
        errors.push(duration.invalid("must be greater than 0"));
    }
    spec.child("leaseTransitions").not_negative(&mut errors);
    errors
}
