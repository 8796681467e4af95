//! Putting a configuration into an object, and taking out what nobody wants any more.

use std::collections::{BTreeMap, HashSet, VecDeque};

use serde_json::{Map, Value};

use super::element::{Element, SELF};
use super::fields::{is_empty, item_element};
use super::set::{FieldSet, Nodes, below, is_member};
use super::types::{Class, Type};

/// The live value with what the configuration says. Nothing is removed; a null of the
/// configuration takes the place of a leaf.
pub(super) fn merge(ty: Type<'_>, live: &Value, config: &Value) -> Value {
    let (before, after) = (ty.class(live), ty.class(config));
    let class = match (live.is_null(), config.is_null()) {
        (false, true) => before,
        (true, false) => after,
        _ if before == after => after,
        _ => return config.clone(),
    };
    if class == Class::Leaf || (is_empty(live) && is_empty(config)) {
        return config.clone();
    }
    match class {
        Class::Map => {
            let mut out = live.as_object().cloned().unwrap_or_default();
            for (key, new) in config.as_object().into_iter().flatten() {
                let merged = match out.get(key) {
                    Some(old) => merge(ty.child(key).ty, old, new),
                    None => new.clone(),
                };
                out.insert(key.clone(), merged);
            }
            Value::Object(out)
        }
        _ => merge_lists(ty, items(live), items(config)).into(),
    }
}

fn items(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

/// Items that only the object has keep their places between those of both; these stand in the
/// order of the configuration, and what only it has follows what stands before it there.
fn merge_lists(ty: Type<'_>, live: &[Value], config: &[Value]) -> Vec<Value> {
    let item = ty.item();
    let elements = |list: &[Value]| -> Vec<String> {
        list.iter().map(|item| item_element(ty, item).unwrap_or_default()).collect()
    };
    let (ours, theirs) = (elements(live), elements(config));
    // Items of the object that are the same are not merged: the configuration's takes their place.
    let mut old: BTreeMap<&str, &Value> = BTreeMap::new();
    for (element, value) in ours.iter().zip(live) {
        old.entry(element).and_modify(|seen| *seen = &Value::Null).or_insert(value);
    }
    let new: BTreeMap<&str, &Value> = theirs.iter().map(String::as_str).zip(config).collect();
    let mut shared: VecDeque<&str> =
        theirs.iter().map(String::as_str).filter(|e| old.contains_key(e)).collect();
    let mut next = shared.pop_front();
    let mut done: HashSet<&str> = HashSet::new();
    let mut out = Vec::with_capacity(live.len().max(config.len()));
    let both = |element: &str| match (old.get(element), new.get(element)) {
        (Some(old), Some(new)) => merge(item, old, new),
        (None, Some(new)) => (*new).clone(),
        _ => Value::Null,
    };
    let (mut l, mut r) = (0, 0);
    while l < ours.len() || r < theirs.len() {
        if let (Some(our), Some(their)) = (ours.get(l), theirs.get(r)) {
            if our == their {
                done.insert(our);
                out.push(both(our));
                l += 1;
                r += 1;
                next = shared.pop_front();
                continue;
            }
            // In both, and not the one whose turn it is.
            if new.contains_key(our.as_str()) && next.is_some_and(|next| next != our) {
                l += 1;
                continue;
            }
        }
        if let Some(our) = ours.get(l) {
            if !new.contains_key(our.as_str()) {
                out.push(live[l].clone());
                l += 1;
                continue;
            } else if done.contains(our.as_str()) {
                l += 1;
            }
        }
        if let Some(their) = theirs.get(r) {
            done.insert(their);
            out.push(both(their));
            r += 1;
            if next == Some(their.as_str()) {
                next = shared.pop_front();
            }
        }
    }
    out
}

/// Takes fields and items out of a value; says whether anything is left of it.
pub(super) fn remove(ty: Type<'_>, value: &mut Value, gone: &FieldSet) -> bool {
    remove_below(ty, value, &gone.0)
}

fn remove_below(ty: Type<'_>, value: &mut Value, gone: &Nodes) -> bool {
    let class = ty.class(value);
    match value {
        Value::Object(_) | Value::Array(_) if class == Class::Leaf => return false,
        Value::Object(map) => {
            for (element, found) in gone.iter().filter(|(element, _)| *element != SELF) {
                let Ok(Some(Element::Field(name))) = Element::parse(element) else { continue };
                if is_member(found) {
                    map.remove(name);
                } else if let (Some(inner), Some(child)) = (below(found), map.get_mut(name))
                    && !remove_below(ty.child(name).ty, child, inner)
                {
                    map.remove(name);
                }
            }
            return !map.is_empty();
        }
        Value::Array(items) => {
            items.retain_mut(|item| {
                let Some(found) = item_element(ty, item).ok().and_then(|e| gone.get(&e)) else {
                    return true;
                };
                if is_member(found) {
                    return false;
                }
                if let Some(inner) = below(found) {
                    remove_below(ty.item(), item, inner);
                }
                true
            });
            return !items.is_empty();
        }
        _ => {}
    }
    true
}

/// Nulls of a configuration say that a field is empty; in an object they are nothing, but in what a
/// built-in kind keeps as it came.
pub(super) fn drop_nulls(ty: Type<'_>, value: &mut Value) {
    match value {
        _ if ty.is_raw() => {}
        Value::Object(map) => {
            map.retain(|_, value| !value.is_null());
            map.iter_mut().for_each(|(key, value)| drop_nulls(ty.child(key).ty, value));
        }
        Value::Array(items) => items.iter_mut().for_each(|item| drop_nulls(ty.item(), item)),
        _ => {}
    }
}

/// `metadata` of a value as a map, where it has one.
pub(super) fn metadata(value: &Value) -> Option<&Map<String, Value>> {
    value.get("metadata").and_then(Value::as_object)
}
