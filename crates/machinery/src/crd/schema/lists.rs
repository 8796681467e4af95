//! Lists that are sets or maps hold nothing twice (`…/schema/listtype`).

use std::collections::HashSet;

use onggi_api::{FieldError, FieldPath};
use serde_json::{Map, Value};

use super::{List, Schema};

/// The duplicates of one list.
pub(super) fn check(items: &[Value], schema: &Schema, path: &FieldPath) -> Vec<FieldError> {
    let mut errors = Vec::new();
    match &schema.list {
        List::Atomic => {}
        List::Set => {
            let mut seen = HashSet::new();
            for (at, item) in items.iter().enumerate() {
                if !seen.insert(item.to_string()) {
                    errors.push(FieldError::duplicate(&path.index(at), item.clone()));
                }
            }
        }
        List::Map(keys) => {
            let mut seen = HashSet::new();
            for (at, item) in items.iter().enumerate() {
                let Some(item) = item.as_object() else { continue };
                let key = key_of(item, keys, schema);
                if !seen.insert(Value::Object(key.clone()).to_string()) {
                    errors.push(FieldError::duplicate(&path.index(at), Value::Object(key)));
                }
            }
        }
    }
    errors
}

/// The values of the keys of an item, defaults for those that are missing.
fn key_of(item: &Map<String, Value>, keys: &[String], schema: &Schema) -> Map<String, Value> {
    let properties = schema.items.as_ref().map(|items| &items.properties);
    let value = |key: &String| {
        let default = || properties?.get(key)?.default.clone();
        item.get(key).cloned().or_else(default).map(|value| (key.clone(), value))
    };
    keys.iter().filter_map(value).collect()
}

/// The item of another list with the same values of the keys.
pub(super) fn same<'a>(
    item: &Value,
    others: Option<&'a Vec<Value>>,
    schema: &Schema,
) -> Option<&'a Value> {
    let List::Map(keys) = &schema.list else { return None };
    let key = key_of(item.as_object()?, keys, schema);
    others?
        .iter()
        .find(|other| other.as_object().is_some_and(|other| key_of(other, keys, schema) == key))
}
