//! Lists that are merged: finding items, and the order of what was merged.

use serde_json::{Map, Value};

use super::PatchError;

/// The place of an item that is the same as `item`: by its merge key, or by its value.
pub(super) fn position(list: &[Value], item: &Value, merge_key: Option<&str>) -> Option<usize> {
    match merge_key {
        Some(key) => {
            let wanted = item.get(key)?;
            list.iter().position(|found| found.get(key) == Some(wanted))
        }
        None => list.iter().position(|found| found == item),
    }
}

/// The item as a map that has the merge key.
pub(super) fn keyed<'a>(
    item: &'a Value,
    merge_key: &str,
) -> Result<&'a Map<String, Value>, PatchError> {
    let Value::Object(map) = item else { return Err(mixed()) };
    if !map.contains_key(merge_key) {
        return Err(PatchError::Format(format!(
            "map: {item} does not contain declared merge key: {merge_key}"
        )));
    }
    Ok(map)
}

/// A list whose items are not all of one type.
pub(super) fn mixed() -> PatchError {
    PatchError::Format("list element types are not identical".to_owned())
}

/// A list in a list.
pub(super) fn list_of_lists() -> PatchError {
    PatchError::Format("lists of lists are not supported".to_owned())
}

/// Orders what was merged: the items that `wanted` names stand in its order; the others keep the
/// order that they have in `live`, and each goes in front of the first item of `wanted` that is
/// behind it in `live`. What is new comes before what only the server has, as in Kubernetes.
pub(super) fn in_order(
    merged: Vec<Value>,
    wanted: &[Value],
    live: &[Value],
    merge_key: Option<&str>,
) -> Vec<Value> {
    let place = |list: &[Value], item: &Value| position(list, item, merge_key);
    let (mut named, mut others): (Vec<Value>, Vec<Value>) =
        merged.into_iter().partition(|item| place(wanted, item).is_some());
    named.sort_by_key(|item| place(wanted, item));
    others.sort_by_key(|item| place(live, item).unwrap_or(usize::MAX));
    let mut all = Vec::with_capacity(named.len() + others.len());
    let (mut named, mut others) = (named.into_iter().peekable(), others.into_iter().peekable());
    while let (Some(new), Some(old)) = (named.peek(), others.peek()) {
        let old_first = matches!((place(live, old), place(live, new)), (Some(o), Some(n)) if o < n);
        all.extend(if old_first { others.next() } else { named.next() });
    }
    all.extend(named);
    all.extend(others);
    all
}
