//! JSON patch with bounds: ten thousand operations, and no copying until memory is full.

use json_patch::{Patch, PatchOperation};
use serde_json::Value;

use super::PatchError;

/// As kube-apiserver bounds it.
const MAX_OPERATIONS: usize = 10_000;
/// Values that all `copy` operations of a patch may make together.
const MAX_COPIED: usize = 300_000;

pub(super) fn apply(object: &mut Value, patch: Value) -> Result<(), PatchError> {
    let Patch(operations) =
        serde_json::from_value(patch).map_err(|error| PatchError::Decode(error.to_string()))?;
    if operations.len() > MAX_OPERATIONS {
        let found = operations.len();
        return Err(PatchError::TooLarge(format!(
            "The allowed maximum operations in a JSON patch is {MAX_OPERATIONS}, got {found}"
        )));
    }
    let mut copied = 0;
    for operation in operations {
        if let PatchOperation::Copy(copy) = &operation {
            copied += copy.from.resolve(object).map_or(0, size);
            if copied > MAX_COPIED {
                return Err(PatchError::TooLarge("the JSON patch copies too much".to_owned()));
            }
        }
        if let Err(error) = json_patch::patch_unsafe(object, std::slice::from_ref(&operation)) {
            return Err(match (&operation, why(object, &operation)) {
                (PatchOperation::Test(_), None) => PatchError::Test(format!(
                    "testing value {} failed: test failed",
                    operation.path()
                )),
                (_, Some(why)) => PatchError::Unfit(why),
                (_, None) => PatchError::Unfit(error.to_string()),
            });
        }
    }
    if crate::schema::is_too_deep(object) {
        return Err(PatchError::Unfit("the object would be nested too deeply".to_owned()));
    }
    Ok(())
}

// === Why an operation does not fit, in the words of the library that kube-apiserver uses ===

const MISSING: &str = "missing value";

/// Of an operation that has failed. Nothing: all it names is there.
fn why(object: &Value, operation: &PatchOperation) -> Option<String> {
    use PatchOperation::{Add, Copy, Move, Remove, Replace, Test};
    let path = operation.path().as_str();
    let gone = |what: &str| Some(format!("{what}: {MISSING}"));
    let target = parent(object, path);
    match (operation, target) {
        (Add(_), None) => {
            gone(&format!("add operation does not apply: doc is missing path: {path:?}"))
        }
        (Add(_), Some((holder, key))) => {
            Some(format!("error in add for path: '{path}': {}", not_added(holder, &key)?))
        }
        (Remove(_), None) => {
            gone(&format!("remove operation does not apply: doc is missing path: {path:?}"))
        }
        (Remove(_), Some((holder, key))) => {
            let why = not_there(holder, &key, "Unable to remove nonexistent key")?;
            Some(format!("error in remove for path: '{path}': {why}"))
        }
        (Replace(_), None) => {
            gone(&format!("replace operation does not apply: doc is missing path: {path}"))
        }
        (Replace(_), Some((holder, key))) => {
            not_there(holder, &key, "")?;
            gone(&format!("replace operation does not apply: doc is missing key: {path}"))
        }
        (Test(_), None) => gone(&format!("test operation does not apply: is missing path: {path}")),
        // A missing key is a value that is not the wanted one.
        (Test(_), Some((Value::Object(_), _))) => None,
        (Test(_), Some((holder, key))) => {
            Some(format!("error in test for path: '{path}': {}", not_there(holder, &key, "")?))
        }
        (Move(moved), _) => from(object, moved.from.as_str(), path, "move", "in move for path"),
        (Copy(copied), _) => from(object, copied.from.as_str(), path, "copy", "in copy for from"),
    }
}

fn from(object: &Value, from: &str, path: &str, name: &str, failed: &str) -> Option<String> {
    let Some((holder, key)) = parent(object, from) else {
        let why = format!("{name} operation does not apply: doc is missing from path: {from}");
        return Some(format!("{why}: {MISSING}"));
    };
    if let Some(why) = not_there(holder, &key, "unable to get nonexistent key") {
        let place = if name == "move" { key.as_str() } else { from };
        return Some(format!("error {failed}: '{place}': {why}"));
    }
    let Some((holder, key)) = parent(object, path) else {
        let why =
            format!("{name} operation does not apply: doc is missing destination path: {path}");
        return Some(format!("{why}: {MISSING}"));
    };
    let why = not_added(holder, &key)?;
    Some(match name {
        "move" => format!("error in move for path: '{path}': {why}"),
        _ => format!("error while adding value during copy: {why}"),
    })
}

/// What the last part of a pointer is in, and that part.
fn parent<'v>(object: &'v Value, pointer: &str) -> Option<(&'v Value, String)> {
    let (above, key) = pointer.rsplit_once('/')?;
    let holder = object.pointer(above).filter(|holder| holder.is_object() || holder.is_array())?;
    Some((holder, key.replace("~1", "/").replace("~0", "~")))
}

fn not_there(holder: &Value, key: &str, missing: &str) -> Option<String> {
    match holder {
        Value::Object(map) if map.contains_key(key) => None,
        Value::Object(_) => Some(format!("{missing}: {key}: {MISSING}")),
        _ => outside(holder, key, 0),
    }
}

fn not_added(holder: &Value, key: &str) -> Option<String> {
    if holder.is_object() || key == "-" {
        return None;
    }
    outside(holder, key, 1).map(|why| match key.parse::<i64>() {
        Ok(_) => why,
        Err(_) => format!("value was not a proper array index: '{key}': {why}"),
    })
}

fn outside(holder: &Value, key: &str, more: usize) -> Option<String> {
    let Ok(at) = key.parse::<i64>() else {
        return Some(format!("strconv.Atoi: parsing {key:?}: invalid syntax"));
    };
    let length = holder.as_array().map_or(0, Vec::len) + more;
    let inside = usize::try_from(at).is_ok_and(|at| at < length);
    (!inside).then(|| format!("Unable to access invalid index: {at}: invalid index referenced"))
}

/// How many values there are in a value, itself included; a text counts by its length too.
fn size(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(size).sum::<usize>(),
        Value::Object(map) => 1 + map.iter().map(|(_, value)| 1 + size(value)).sum::<usize>(),
        Value::String(text) => 1 + text.len() / 32,
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn why_a_patch_does_not_fit() {
        let cases = [
            (
                json!({"op": "add", "path": "/a/b/c", "value": 1}),
                "add operation does not apply: doc is missing path: \"/a/b/c\": missing value",
            ),
            (
                json!({"op": "add", "path": "/list/5", "value": 1}),
                "error in add for path: '/list/5': Unable to access invalid index: 5: invalid \
                 index referenced",
            ),
            (
                json!({"op": "add", "path": "/list/x", "value": 1}),
                "error in add for path: '/list/x': value was not a proper array index: 'x': \
                 strconv.Atoi: parsing \"x\": invalid syntax",
            ),
            (
                json!({"op": "remove", "path": "/a~1b"}),
                "error in remove for path: '/a~1b': Unable to remove nonexistent key: a/b: missing \
                 value",
            ),
            (
                json!({"op": "replace", "path": "/spec", "value": 1}),
                "replace operation does not apply: doc is missing key: /spec: missing value",
            ),
            (
                json!({"op": "replace", "path": "/x/y", "value": 1}),
                "replace operation does not apply: doc is missing path: /x/y: missing value",
            ),
            (
                json!({"op": "move", "from": "/x", "path": "/y"}),
                "error in move for path: 'x': unable to get nonexistent key: x: missing value",
            ),
            (
                json!({"op": "copy", "from": "/list", "path": "/x/y"}),
                "copy operation does not apply: doc is missing destination path: /x/y: missing value",
            ),
            (
                json!({"op": "test", "path": "/x/y", "value": 1}),
                "test operation does not apply: is missing path: /x/y: missing value",
            ),
        ];
        for (operation, expected) in cases {
            let error = apply(&mut json!({"a": {}, "list": [1]}), json!([operation])).unwrap_err();
            assert_eq!(error, PatchError::Unfit(expected.to_owned()));
        }
        for test in ["/a", "/nowhere"] {
            let patch = json!([{"op": "test", "path": test, "value": 1}]);
            let error = apply(&mut json!({"a": {}}), patch).unwrap_err();
            let expected = format!("testing value {test} failed: test failed");
            assert_eq!((error.code(), error.reason()), (422, expected));
        }
    }
}
