//! Tables as `kubectl get` prints them (`meta.k8s.io/v1 Table`), and metadata alone.

use onggi_api::Status;
use onggi_machinery::resource::Resource;
use serde_json::{Value, json};

use super::query::Query;

/// What of the object a row carries (`includeObject`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Include {
    None,
    Metadata,
    Object,
}

impl Include {
    pub(super) fn parse(query: &Query) -> Result<Self, Status> {
        match query.get("includeObject") {
            "" | "Metadata" => Ok(Self::Metadata),
            "None" => Ok(Self::None),
            "Object" => Ok(Self::Object),
            other => {
                Err(Status::bad_request(format!("unrecognized includeObject value: {other:?}")))
            }
        }
    }
}

/// A table of these objects; `metadata` is that of the list, or of the only object.
pub(super) fn table(
    row: &Resource,
    objects: Vec<Value>,
    metadata: Value,
    include: Include,
    now: i64,
) -> Value {
    let columns: Vec<Value> = row
        .columns
        .iter()
        .map(|column| {
            json!({
                "name": column.name,
                "type": column.kind,
                "format": column.format,
                "description": "",
                "priority": column.priority,
            })
        })
        .collect();
    let rows: Vec<Value> = objects
        .into_iter()
        .map(|object| {
            let cells = (row.row)(&object, now);
            let object = match include {
                Include::None => Value::Null,
                Include::Metadata => partial(&object),
                Include::Object => object,
            };
            json!({"cells": cells, "object": object})
        })
        .collect();
    json!({
        "kind": "Table",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": metadata,
        "columnDefinitions": columns,
        "rows": rows,
    })
}

/// `PartialObjectMetadata` of an object.
pub(super) fn partial(object: &Value) -> Value {
    json!({
        "kind": "PartialObjectMetadata",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": object["metadata"],
    })
}
