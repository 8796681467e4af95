//! Lists that are merged: finding items, and the order of what was merged.

use std::collections::HashMap;

use serde_json::{Map, Value};

use super::PatchError;

/// Where the items of a list are, by their merge key, or by their value where there is none.
pub(super) struct Places<'k> {
    key: Option<&'k str>,
    at: HashMap<String, usize>,
}

impl<'k> Places<'k> {
    /// Of items that are the same the first counts.
    pub(super) fn of(list: &[Value], key: Option<&'k str>) -> Self {
        let mut places = Self { key, at: HashMap::with_capacity(list.len()) };
        for (at, item) in list.iter().enumerate() {
            places.add(item, at);
        }
        places
    }

    /// One item more.
    pub(super) fn add(&mut self, item: &Value, at: usize) {
        if let Some(name) = name(item, self.key) {
            self.at.entry(name).or_insert(at);
        }
    }

    /// The place of the same item.
    pub(super) fn find(&self, item: &Value) -> Option<usize> {
        self.at.get(&name(item, self.key)?).copied()
    }
}

/// What tells an item from the others.
pub(super) fn name(item: &Value, key: Option<&str>) -> Option<String> {
    match key {
        Some(key) => item.get(key).map(ToString::to_string),
        None => Some(item.to_string()),
    }
}

/// The item as a map that has the merge key.
pub(super) fn keyed<'a>(
    item: &'a Value,
    merge_key: &str,
) -> Result<&'a Map<String, Value>, PatchError> {
    let Value::Object(map) = item else { return Err(mixed()) };
    if !map.contains_key(merge_key) {
        let item = crate::value::go_text(item);
        let text = format!("map: {item} does not contain declared merge key: {merge_key}");
        return Err(PatchError::Lists(text));
    }
    Ok(map)
}

/// A list whose items are not all of one type.
pub(super) fn mixed() -> PatchError {
    PatchError::Lists("list element types are not identical".to_owned())
}

/// A list in a list.
pub(super) fn list_of_lists() -> PatchError {
    PatchError::Unfit("lists of lists are not supported".to_owned())
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
    let (wanted, live) = (Places::of(wanted, merge_key), Places::of(live, merge_key));
    let (mut named, mut others): (Vec<Value>, Vec<Value>) =
        merged.into_iter().partition(|item| wanted.find(item).is_some());
    named.sort_by_cached_key(|item| wanted.find(item));
    others.sort_by_cached_key(|item| live.find(item).unwrap_or(usize::MAX));
    let mut all = Vec::with_capacity(named.len() + others.len());
    let (mut named, mut others) = (named.into_iter().peekable(), others.into_iter().peekable());
    while let (Some(new), Some(old)) = (named.peek(), others.peek()) {
        let old_first = matches!((live.find(old), live.find(new)), (Some(o), Some(n)) if o < n);
        all.extend(if old_first { others.next() } else { named.next() });
    }
    all.extend(named);
    all.extend(others);
    all
}
