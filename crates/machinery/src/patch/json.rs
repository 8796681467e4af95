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
        json_patch::patch_unsafe(object, &[operation])
            .map_err(|error| PatchError::Unfit(error.to_string()))?;
    }
    if crate::schema::is_too_deep(object) {
        return Err(PatchError::Unfit("the object would be nested too deeply".to_owned()));
    }
    Ok(())
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
