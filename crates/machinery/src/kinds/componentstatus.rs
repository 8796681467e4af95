//! `v1 ComponentStatus`: how the parts of the control plane are; computed when it is asked for.

use serde_json::Value;

use crate::resource::{Column, Resource, Scope, Verb};
use crate::table;
use crate::value::{list_at, str_at};

/// The row.
pub const RESOURCE: Resource = Resource {
    kind: "ComponentStatus",
    plural: "componentstatuses",
    singular: "componentstatus",
    short_names: &["cs"],
    scope: Scope::Cluster,
    verbs: &[Verb::Get, Verb::List],
    columns: &[
        Column::NAME,
        Column::text("Status"),
        Column::text("Message"),
        Column::text("Error"),
    ],
    row,
    deprecated: "v1 ComponentStatus is deprecated in v1.19+",
    ..Resource::BASE
};

fn row(object: &Value, _: i64) -> Vec<Value> {
    let mut cells = ["Unknown", "", ""];
    for condition in list_at(object, "conditions") {
        if str_at(condition, "type") == "Healthy" {
            let healthy = str_at(condition, "status") == "True";
            let status = if healthy { "Healthy" } else { "Unhealthy" };
            cells = [status, str_at(condition, "message"), str_at(condition, "error")];
        }
    }
    std::iter::once(table::name(object)).chain(cells.map(Value::from)).collect()
}
