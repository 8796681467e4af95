//! `CSIStorageCapacity`: how much room a class has for volumes at a place.

use serde_json::Value;

use super::BASE;
use crate::resource::{Column, Resource, Scope};
use crate::table::{self, text_or};
use crate::validation::{At, Errors, labels, names};
use crate::value::{at, str_at};

/// The row.
pub const CSI_STORAGE_CAPACITY: Resource = Resource {
    kind: "CSIStorageCapacity",
    plural: "csistoragecapacities",
    singular: "csistoragecapacity",
    scope: Scope::Namespaced,
    columns: &[Column::NAME, Column::text("StorageClassName"), Column::text("Capacity")],
    row: |capacity, _| {
        vec![
            table::name(capacity),
            str_at(capacity, "storageClassName").into(),
            text_or(str_at(capacity, "capacity"), "<unset>").into(),
        ]
    },
    validate,
    validate_update: |capacity, old| {
        let mut errors = Errors::new();
        for field in ["nodeTopology", "storageClassName"] {
            At::root(capacity).child(field).unchanged(at(old, field), &mut errors);
        }
        errors
    },
    ..BASE
};

fn validate(capacity: &Value) -> Errors {
    let mut errors = Errors::new();
    let root = At::root(capacity);
    root.child("storageClassName").must(names::dns1123_subdomain, &mut errors);
    for amount in root.present(&["capacity", "maximumVolumeSize"]) {
        amount.not_negative_quantity(&mut errors);
    }
    labels::selector(&root.child("nodeTopology"), &mut errors);
    errors
}
