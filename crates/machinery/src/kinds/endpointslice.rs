//! `discovery.k8s.io/v1 EndpointSlice`.

use std::borrow::Cow;

use serde_json::Value;

use crate::resource::{Column, Resource};
use crate::table;
use crate::value::{i64_at, items_mut, list_at, set_default, set_default_text, str_at};

/// Names the Service that a slice belongs to.
pub const SERVICE_NAME_LABEL: &str = "kubernetes.io/service-name";

/// The row.
pub const RESOURCE: Resource = Resource {
    group: "discovery.k8s.io",
    kind: "EndpointSlice",
    plural: "endpointslices",
    singular: "endpointslice",
    has_generation: true,
    columns: &[
        Column::NAME,
        Column::text("AddressType"),
        Column::text("Ports"),
        Column::text("Endpoints"),
        Column::AGE,
    ],
    row,
    default,
    ..Resource::BASE
};

fn row(object: &Value, now: i64) -> Vec<Value> {
    let ports: Vec<Cow<'_, str>> = list_at(object, "ports").iter().map(port_text).collect();
    let addresses: Vec<Cow<'_, str>> = list_at(object, "endpoints")
        .iter()
        .flat_map(|endpoint| list_at(endpoint, "addresses"))
        .map(|address| address.as_str().unwrap_or("").into())
        .collect();
    vec![
        table::name(object),
        str_at(object, "addressType").into(),
        table::first_three(&ports, "<unset>").into(),
        table::first_three(&addresses, "<unset>").into(),
        table::age(object, now),
    ]
}

fn port_text(port: &Value) -> Cow<'_, str> {
    match (i64_at(port, "port"), port.get("name").and_then(Value::as_str)) {
        (Some(number), _) => number.to_string().into(),
        (None, Some(name)) => name.into(),
        (None, None) => "*".into(),
    }
}

fn default(object: &mut Value) {
    for port in items_mut(object, "ports") {
        set_default(port, "name", "");
        set_default_text(port, "protocol", "TCP");
    }
}
