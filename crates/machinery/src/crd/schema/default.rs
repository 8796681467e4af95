//! Puts in what was left out and has a default (`…/schema/defaulting`).

use serde_json::Value;

use super::{Additional, Schema};

fn is_unwanted_null(value: &Value, schema: &Schema) -> bool {
    value.is_null() && !schema.nullable
}

/// Sets defaults in an object.
pub fn default(value: &mut Value, schema: &Schema) {
    if !schema.has_defaults {
        return;
    }
    match value {
        Value::Object(map) => {
            for (name, property) in &schema.properties {
                let Some(default) = &property.default else { continue };
                if map.get(name).is_none_or(|value| is_unwanted_null(value, property)) {
                    map.insert(name.clone(), default.clone());
                }
            }
            for (key, value) in map.iter_mut() {
                let below = match (schema.properties.get(key), &schema.additional) {
                    (Some(schema), _) => schema,
                    (None, Some(Additional::Of(schema))) => schema,
                    _ => continue,
                };
                fill(value, below);
            }
        }
        Value::Array(items) => {
            if let Some(schema) = &schema.items {
                items.iter_mut().for_each(|item| fill(item, schema));
            }
        }
        _ => {}
    }
}

fn fill(value: &mut Value, schema: &Schema) {
    if is_unwanted_null(value, schema)
        && let Some(default) = &schema.default
    {
        *value = default.clone();
    }
    default(value, schema);
}

/// Takes away nulls that may not be there and that no default replaces.
pub fn drop_nulls(value: &mut Value, schema: &Schema) {
    match value {
        Value::Object(map) => {
            map.retain(|key, value| {
                schema.child(key).is_none_or(|property| {
                    !is_unwanted_null(value, property) || property.default.is_some()
                })
            });
            for (key, value) in map.iter_mut() {
                if let Some(schema) = schema.child(key) {
                    drop_nulls(value, schema);
                }
            }
        }
        Value::Array(items) => {
            if let Some(schema) = &schema.items {
                items.iter_mut().for_each(|item| drop_nulls(item, schema));
            }
        }
        _ => {}
    }
}
