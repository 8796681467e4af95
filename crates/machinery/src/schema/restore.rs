//! What a strategic merge patch has made is no JSON text that is decoded but values that are taken
//! over into the kind's fields, and the real server has other words for what cannot be taken over:
//! `runtime.UnstructuredConverter`'s. People look these up, so they are kept.

use onggi_api::schema::{Schema, Shape};
use serde_json::Value;

/// Why a value cannot be taken over into a kind, where that is a matter of types alone.
pub fn unrestorable(schema: Schema<'_>, value: &Value) -> Option<String> {
    match (schema.shape(), value) {
        (_, Value::Null)
        | (Shape::String, Value::String(_))
        | (Shape::Bool, Value::Bool(_))
        | (Shape::Bytes, Value::String(_) | Value::Array(_)) => None,
        (Shape::Object(_), Value::Object(map)) => map
            .iter()
            .find_map(|(key, value)| unrestorable(schema.at(schema.field(key)?.schema), value)),
        (Shape::Map(of), Value::Object(map)) => {
            map.values().find_map(|value| unrestorable(schema.at(of.value), value))
        }
        (Shape::List(list), Value::Array(items)) => {
            items.iter().find_map(|value| unrestorable(schema.at(list.item), value))
        }
        (Shape::Object(_), _) => Some(format!("cannot restore struct from: {}", go_kind(value))),
        (Shape::Map(_), _) => Some(format!("cannot restore map from {}", go_kind(value))),
        (Shape::List(_) | Shape::Bytes, _) => {
            Some(format!("cannot restore slice from {}", go_kind(value)))
        }
        (Shape::String, _) => Some(scalar("string", value, value.is_i64())),
        (Shape::Bool, _) => Some(scalar("bool", value, false)),
        (Shape::Int32, _) => number("int32", value),
        (Shape::Int64, _) => number("int64", value),
        (Shape::Double, _) => (!value.is_number()).then(|| scalar("float64", value, false)),
        // These read their own JSON.
        (Shape::Any | Shape::IntOrString | Shape::Quantity | Shape::Time | Shape::MicroTime, _) => {
            None
        }
    }
}

fn number(wanted: &str, value: &Value) -> Option<String> {
    match value.as_f64() {
        Some(number) if number.fract() == 0.0 => None,
        found => Some(scalar(wanted, value, found.is_some())),
    }
}

/// `kin`: Go would convert the one into the other, and JSON does not.
fn scalar(wanted: &str, value: &Value, kin: bool) -> String {
    if kin {
        format!("cannot convert {} to {wanted}", go_kind(value))
    } else {
        format!("unrecognized type: {wanted}")
    }
}

fn go_kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "invalid",
        Value::Bool(_) => "bool",
        Value::Number(number) if number.is_i64() => "int64",
        Value::Number(_) => "float64",
        Value::String(_) => "string",
        Value::Array(_) => "slice",
        Value::Object(_) => "map",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn words() {
        let schema = onggi_api::schema::of("apps", "v1", "Deployment").unwrap();
        for (value, expected) in [
            (json!({"metadata": {"labels": "a"}}), Some("cannot restore map from string")),
            (json!({"metadata": {"labels": {"a": 1}}}), Some("cannot convert int64 to string")),
            (json!({"metadata": {"labels": {"a": true}}}), Some("unrecognized type: string")),
            (json!({"metadata": {"finalizers": {}}}), Some("cannot restore slice from map")),
            (json!({"spec": []}), Some("cannot restore struct from: slice")),
            (json!({"spec": {"replicas": "3"}}), Some("unrecognized type: int32")),
            (json!({"spec": {"replicas": 1.5}}), Some("cannot convert float64 to int32")),
            (json!({"spec": {"paused": 1}}), Some("unrecognized type: bool")),
            (json!({"spec": {"replicas": 3.0, "unknown": 1, "paused": null}}), None),
            (json!({"metadata": {"creationTimestamp": "yesterday"}}), None),
        ] {
            assert_eq!(unrestorable(schema, &value).as_deref(), expected, "{value}");
        }
    }
}
