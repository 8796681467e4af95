//! Which keys a map may have.

use std::cell::Cell;

use serde_json::Value;

use crate::value;

/// A mark for each key of a map, made when it is first asked. Of all fields that rules ask for most
/// are not there: their marks say so, and no key is compared with another.
#[derive(Debug, Clone, Default)]
pub(super) struct Keys(Cell<u64>);

/// Says that the marks were made.
const MADE: u64 = 1 << 63;

impl Keys {
    /// What stands at a dotted path below the value whose keys these are.
    pub(super) fn find<'a>(&self, value: &'a Value, path: &str) -> &'a Value {
        let Some(map) = value.as_object() else { return &value::NULL };
        // One key is found at once.
        if map.len() < 2 {
            return value::at(value, path);
        }
        if self.0.get() == 0 {
            self.0.set(map.keys().fold(MADE, |marks, key| marks | mark(key.as_bytes())));
        }
        if self.0.get() & mark(path.as_bytes()) == 0 {
            &value::NULL
        } else {
            value::at(value, path)
        }
    }
}

/// By the first two letters of the key, or of a path that begins with it.
fn mark(path: &[u8]) -> u64 {
    let (first, second) = match path {
        [] => (0, 0),
        [first] | [first, b'.', ..] => (*first, 0),
        [first, second, ..] => (*first, *second),
    };
    1 << ((u64::from(first) * 5 + u64::from(second)) & 63)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn finds_what_is_there_and_nothing_else() {
        let names = ["a", "name", "namf", "image", "volumes", "", "securityContext", "a.b", "b.c"];
        let map = json!({"a": {"b": 1}, "name": null, "image": "x", "": 2, "env": []});
        for value in [&map, &json!({}), &Value::Null, &json!("a"), &json!([{"a": 1}])] {
            let keys = Keys::default();
            for path in names {
                assert_eq!(keys.find(value, path), value::at(value, path), "{path} in {value}");
            }
        }
    }
}
