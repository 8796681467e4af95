//! `v1 ServiceAccount`.

use serde_json::Value;

use crate::resource::{Column, Resource, Subresource, Verb};
use crate::table;
use crate::value::list_at;

/// The row.
pub const RESOURCE: Resource = Resource {
    kind: "ServiceAccount",
    plural: "serviceaccounts",
    singular: "serviceaccount",
    short_names: &["sa"],
    subresources: &[Subresource {
        name: "token",
        kind: ("authentication.k8s.io", "v1", "TokenRequest"),
        verbs: &[Verb::Create],
    }],
    columns: &[Column::NAME, Column::text("Secrets"), Column::AGE],
    row,
    ..Resource::BASE
};

fn row(object: &Value, now: i64) -> Vec<Value> {
    vec![table::name(object), list_at(object, "secrets").len().into(), table::age(object, now)]
}
