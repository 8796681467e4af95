//! What is the same as nothing, and what is written of nothing. Go's types leave zeros out or write
//! them, and write `null` for lists that nobody made; each field says which
//! ([`Empty`]). Without this, `periodSeconds: 0` (and every protobuf body, which always carries the
//! zeros of plain fields) would not get its default, and clients that count on a field that Go
//! always writes would not find it.

use onggi_api::schema::{Empty, Field, Schema, Shape};
use serde_json::{Map, Value};

/// Whether a field with this value is left out.
pub(super) fn is_nothing(owner: Schema<'_>, field: &Field, value: &Value) -> bool {
    if value.is_null() {
        return true;
    }
    match field.empty {
        Empty::Counts | Empty::Zero => false,
        Empty::LeftOut => is_zero(value),
        // An empty list comes back as `null` from where it was stored; an empty struct is one.
        Empty::Null => match owner.at(field.schema).shape() {
            Shape::List(_) | Shape::Map(_) | Shape::Bytes => is_zero(value),
            _ => false,
        },
    }
}

fn is_zero(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Bool(true) => false,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(map) => map.is_empty(),
    }
}

/// Sets the fields that Go writes whatever they hold, down to the last struct.
pub(super) fn fill(schema: Schema<'_>, map: &mut Map<String, Value>) {
    for field in schema.written() {
        let (name, of) = (&*field.name, schema.at(field.schema));
        if map.contains_key(name) {
            continue;
        }
        let mut value = if field.empty == Empty::Null { Value::Null } else { zero(of) };
        if let Value::Object(map) = &mut value {
            fill(of, map);
        }
        map.insert(name.to_owned(), value);
    }
}

/// Sets the fields of an object's status that Go writes whatever they hold, after it was emptied.
pub fn complete_status(schema: Schema<'_>, object: &mut Value) {
    let Some(field) = schema.field("status") else { return };
    let Value::Object(map) = object else { return };
    match map.get_mut("status") {
        Some(status) => complete(schema.at(field.schema), status),
        None => fill(schema, map),
    }
}

/// Sets all that Go writes whatever it holds, in a value that was made without it.
pub fn complete(schema: Schema<'_>, value: &mut Value) {
    match (schema.shape(), value) {
        (Shape::Object(_), Value::Object(map)) => {
            for (key, value) in map.iter_mut() {
                if let Some(field) = schema.field(key) {
                    complete(schema.at(field.schema), value);
                }
            }
            fill(schema, map);
        }
        (Shape::Map(of), Value::Object(map)) => {
            map.values_mut().for_each(|value| complete(schema.at(of.value), value));
        }
        (Shape::List(list), Value::Array(items)) => {
            items.iter_mut().for_each(|value| complete(schema.at(list.item), value));
        }
        _ => {}
    }
}

/// What Go's `null` becomes in a list or map: the zero of the type.
pub(super) fn zero(schema: Schema<'_>) -> Value {
    match schema.shape() {
        Shape::String | Shape::Bytes => Value::String(String::new()),
        Shape::Quantity => Value::String("0".to_owned()),
        Shape::Int32 | Shape::Int64 | Shape::Double | Shape::IntOrString => 0.into(),
        Shape::Bool => false.into(),
        Shape::Object(_) | Shape::Map(_) => Value::Object(Map::new()),
        Shape::List(_) => Value::Array(Vec::new()),
        Shape::Any | Shape::Time | Shape::MicroTime => Value::Null,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_go_always_writes() {
        for (kind, object, expected) in [
            (
                ("rbac.authorization.k8s.io", "v1", "Role"),
                json!({"metadata": {}}),
                json!({"metadata": {}, "rules": null}),
            ),
            (
                ("storage.k8s.io", "v1", "CSINode"),
                json!({"metadata": {}, "spec": {"drivers": [{"name": "a"}]}}),
                json!({"metadata": {}, "spec": {"drivers": [
                    {"name": "a", "nodeID": "", "topologyKeys": null}
                ]}}),
            ),
            (
                ("autoscaling", "v2", "HorizontalPodAutoscaler"),
                json!({"metadata": {}, "spec": {"scaleTargetRef": {}, "maxReplicas": 1}}),
                json!({
                    "metadata": {},
                    "spec": {"scaleTargetRef": {"kind": "", "name": ""}, "maxReplicas": 1},
                    "status": {"currentMetrics": null, "desiredReplicas": 0},
                }),
            ),
        ] {
            let schema = onggi_api::schema::of(kind.0, kind.1, kind.2).unwrap();
            let mut made = object.clone();
            complete(schema, &mut made);
            assert_eq!(made, expected, "{kind:?}");
        }
        let deployment = onggi_api::schema::of("apps", "v1", "Deployment").unwrap();
        let mut object = json!({"metadata": {}, "spec": {}});
        complete_status(deployment, &mut object);
        assert_eq!(object, json!({"metadata": {}, "spec": {}, "status": {}}));
    }
}
