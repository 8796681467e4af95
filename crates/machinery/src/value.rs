//! Walking and changing a dynamic object without panics: a path that is not there reads as
//! nothing, and JSON `null` is the same as absent.
//!
//! Paths are dotted (`spec.template.metadata`); keys that may hold dots, such as those of labels,
//! are looked up in the map itself.

use onggi_api::json;
use serde_json::{Map, Number, Value};

pub(crate) static NULL: Value = Value::Null;

/// What stands at the path; `Null` where there is nothing.
pub fn at<'a>(value: &'a Value, path: &str) -> &'a Value {
    json::at(value, path).unwrap_or(&NULL)
}

/// Whether something stands there.
pub fn is_set(value: &Value, path: &str) -> bool {
    !at(value, path).is_null()
}

/// A text; empty where there is none.
pub fn str_at<'a>(value: &'a Value, path: &str) -> &'a str {
    at(value, path).as_str().unwrap_or("")
}

/// A whole number.
pub fn i64_at(value: &Value, path: &str) -> Option<i64> {
    at(value, path).as_i64()
}

/// A truth value; false where there is none.
pub fn bool_at(value: &Value, path: &str) -> bool {
    at(value, path).as_bool().unwrap_or(false)
}

/// A list; empty where there is none.
pub fn list_at<'a>(value: &'a Value, path: &str) -> &'a [Value] {
    at(value, path).as_array().map_or(&[], Vec::as_slice)
}

/// The entries of a map, in the order of their keys; none where there is no map.
pub fn entries_at<'a>(
    value: &'a Value,
    path: &str,
) -> impl Iterator<Item = (&'a str, &'a Value)> + use<'a> {
    let map = at(value, path).as_object();
    map.into_iter().flatten().map(|(key, value)| (key.as_str(), value))
}

/// A time (RFC 3339, any precision) in seconds since 1970.
pub fn time_at(value: &Value, path: &str) -> Option<i64> {
    str_at(value, path).parse::<jiff::Timestamp>().ok().map(jiff::Timestamp::as_second)
}

/// The item of a list whose `field` is `wanted`: a condition by type, a container by name.
pub fn find<'a>(list: &'a [Value], field: &str, wanted: &str) -> Option<&'a Value> {
    list.iter().find(|item| str_at(item, field) == wanted)
}

/// A `double` as Go's `encoding/json` writes a float64: whole ones without a fraction. `None` for
/// what JSON cannot say.
pub fn double(number: f64) -> Option<Number> {
    let is_whole = number.fract() == 0.0 && number.abs() < i64::MAX as f64;
    if is_whole { Some((number as i64).into()) } else { Number::from_f64(number) }
}

/// The numbers of a value that no schema describes, as Go writes what it has read: `2.0` and `2e0`
/// become `2`.
pub fn settle_numbers(value: &mut Value) {
    match value {
        Value::Number(number) if number.is_f64() => {
            if let Some(same) = number.as_f64().and_then(double) {
                *number = same;
            }
        }
        Value::Array(items) => items.iter_mut().for_each(settle_numbers),
        Value::Object(map) => map.values_mut().for_each(settle_numbers),
        _ => {}
    }
}

/// A value as Go's `%v` prints what `encoding/json` made of it; messages of the API hold such texts.
pub fn go_text(value: &Value) -> String {
    match value {
        Value::Null => "<nil>".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(items) => {
            format!("[{}]", items.iter().map(go_text).collect::<Vec<_>>().join(" "))
        }
        Value::Object(map) => {
            let pairs: Vec<_> = map.iter().map(|(k, v)| format!("{k}:{}", go_text(v))).collect();
            format!("map[{}]", pairs.join(" "))
        }
        other => other.to_string(),
    }
}

/// The map at the path, made where it is missing; the empty path is the value itself.
pub fn map_mut<'a>(value: &'a mut Value, path: &str) -> &'a mut Map<String, Value> {
    let mut map = as_map(value);
    if path.is_empty() {
        return map;
    }
    for key in path.split('.') {
        map = as_map(map.entry(key).or_insert(Value::Null));
    }
    map
}

fn as_map(value: &mut Value) -> &mut Map<String, Value> {
    if !value.is_object() {
        *value = Value::Object(Map::new());
    }
    match value {
        Value::Object(map) => map,
        _ => unreachable!("made a map above"),
    }
}

/// What stands at the path, to be changed; nothing is made.
pub fn at_mut<'a>(value: &'a mut Value, path: &str) -> Option<&'a mut Value> {
    let (mut here, mut rest) = (value, path);
    while let Some(dot) = json::dot(rest.as_bytes()) {
        here = here.get_mut(&rest[..dot])?;
        rest = &rest[dot + 1..];
    }
    here.get_mut(rest).filter(|found| !found.is_null())
}

/// The items of a list, to be changed; none where there is no list.
pub fn items_mut<'a>(
    value: &'a mut Value,
    path: &str,
) -> impl Iterator<Item = &'a mut Value> + use<'a> {
    at_mut(value, path).and_then(Value::as_array_mut).into_iter().flatten()
}

/// Puts a value at the path, making the maps above it.
pub fn set(value: &mut Value, path: &str, new: impl Into<Value>) {
    if json::dot(path.as_bytes()).is_none() {
        as_map(value).insert(path.to_owned(), new.into());
        return;
    }
    let (above, key) = path.rsplit_once('.').unwrap_or(("", path));
    map_mut(value, above).insert(key.to_owned(), new.into());
}

/// Puts a value where nothing stands.
pub fn set_default(value: &mut Value, path: &str, default: impl Into<Value>) {
    if !is_set(value, path) {
        set(value, path, default);
    }
}

/// As [`set_default`], where an empty text counts as nothing too.
pub fn set_default_text(value: &mut Value, path: &str, default: &str) {
    if str_at(value, path).is_empty() {
        set(value, path, default);
    }
}

/// Takes away what stands at the path.
pub fn remove(value: &mut Value, path: &str) {
    let (above, key) = match path.rsplit_once('.') {
        Some((above, key)) => (at_mut(value, above), key),
        None => (Some(value), path),
    };
    if let Some(map) = above.and_then(Value::as_object_mut) {
        map.remove(key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn reading_what_is_not_there() {
        let value = json!({"a": {"b": [1, 2], "n": null}, "t": "2026-01-01T00:00:00.5Z"});
        assert_eq!(list_at(&value, "a.b").len(), 2);
        assert_eq!(
            (str_at(&value, "a.b.c"), i64_at(&value, "x.y"), is_set(&value, "a.n")),
            ("", None, false)
        );
        assert_eq!(time_at(&value, "t"), Some(1_767_225_600));
        assert_eq!(entries_at(&value, "t").count(), 0);
    }

    #[test]
    fn changing() {
        let mut value = json!({"a": null});
        set_default(&mut value, "a.b.c", 1);
        set_default(&mut value, "a.b.c", 2);
        set_default_text(&mut value, "s", "x");
        remove(&mut value, "a.b.d");
        remove(&mut value, "nothing.at.all");
        assert_eq!(value, json!({"a": {"b": {"c": 1}}, "s": "x"}));
    }
}
