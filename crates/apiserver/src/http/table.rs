//! Tables as `kubectl get` prints them (`meta.k8s.io Table`), and metadata alone.

use std::borrow::Cow;

use onggi_api::{GroupVersion, Status};
use onggi_machinery::conversion;
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
            other => Err(Status::bad_request(format!(
                "Unable to convert to Table as requested: includeObject: Invalid value: {other:?}: \
                 must be 'Metadata', 'Object', 'None', or empty"
            ))),
        }
    }
}

/// A table of these objects; `metadata` is that of the list, or of the only object. Later events
/// of a watch leave the columns out.
pub(super) fn table(
    row: &Resource,
    objects: Vec<Value>,
    metadata: Value,
    include: Include,
    now: i64,
    (version, with_columns): (&str, bool),
) -> Value {
    let columns: Vec<Value> = row
        .columns
        .iter()
        .filter(|_| with_columns)
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
            let cells = row.cells(&stored(row, &object), now);
            let object = match include {
                Include::None => Value::Null,
                Include::Metadata => partial(&object, version),
                Include::Object => object,
            };
            json!({"cells": cells, "object": object})
        })
        .collect();
    json!({
        "kind": "Table",
        "apiVersion": format!("meta.k8s.io/{version}"),
        "metadata": metadata,
        "columnDefinitions": columns,
        "rows": rows,
    })
}

/// The object in the version that is stored: cells are made of that one.
fn stored<'v>(row: &Resource, object: &'v Value) -> Cow<'v, Value> {
    let said = object["apiVersion"].as_str().unwrap_or_default();
    if said == row.api_version() {
        return Cow::Borrowed(object);
    }
    let version = GroupVersion::parse(said)
        .and_then(|said| conversion::version_of(&said.group, &said.version, row.kind));
    let Some(version) = version else { return Cow::Borrowed(object) };
    let mut object = object.clone();
    version.to_current(&mut object);
    Cow::Owned(object)
}

/// `PartialObjectMetadata` of an object.
pub(super) fn partial(object: &Value, version: &str) -> Value {
    json!({
        "kind": "PartialObjectMetadata",
        "apiVersion": format!("meta.k8s.io/{version}"),
        "metadata": object["metadata"],
    })
}
