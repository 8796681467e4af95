//! `v1 ConfigMap`.

use serde_json::Value;

use crate::resource::{Column, Resource};
use crate::table;
use crate::value::entries_at;

/// The row.
pub const RESOURCE: Resource = Resource {
    kind: "ConfigMap",
    plural: "configmaps",
    singular: "configmap",
    short_names: &["cm"],
    columns: &[Column::NAME, Column::text("Data"), Column::AGE],
    row,
    ..Resource::BASE
};

fn row(object: &Value, now: i64) -> Vec<Value> {
    let count = entries_at(object, "data").count() + entries_at(object, "binaryData").count();
    vec![table::name(object), count.into(), table::age(object, now)]
}
