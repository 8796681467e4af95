//! The making of strategic merge patches: what changed between two objects, and the three-way
//! merge of `kubectl apply`.

use onggi_api::schema::Schema;
use serde_json::{Map, Value, json};

use super::PatchError;
use super::directive::{DELETE_FROM_LIST, PATCH, RETAIN_KEYS, Rule, SET_ELEMENT_ORDER};
use super::lists::{Places, keyed, list_of_lists};

type Result<T> = std::result::Result<T, PatchError>;

/// Which halves of a difference are wanted.
#[derive(Clone, Copy)]
struct Halves {
    changes: bool,
    deletions: bool,
}

/// The patch that makes `modified` of `original`. Without a schema it is a JSON merge patch.
pub fn two_way_merge(
    schema: Option<Schema<'_>>,
    original: &Value,
    modified: &Value,
) -> Result<Value> {
    let halves = Halves { changes: true, deletions: true };
    Ok(Value::Object(diff(schema, halves, false, map_of(original)?, map_of(modified)?)?))
}

/// The patch that `kubectl apply` sends: what `modified` (the manifest) sets and `current` (the
/// live object) has otherwise, and deletions of what `original` (the annotation
/// `last-applied-configuration`; an empty object where there is none) had and `modified` has not.
/// What others added to the live object stays. Without a schema it is a JSON merge patch.
pub fn three_way_merge(
    schema: Option<Schema<'_>>,
    original: &Value,
    modified: &Value,
    current: &Value,
) -> Result<Value> {
    let modified = map_of(modified)?;
    let changes = Halves { changes: true, deletions: false };
    let deletions = Halves { changes: false, deletions: true };
    let changed = diff(schema, changes, false, map_of(current)?, modified)?;
    let mut patch = diff(schema, deletions, false, map_of(original)?, modified)?;
    combine(schema, &mut patch, changed);
    Ok(Value::Object(patch))
}

fn map_of(value: &Value) -> Result<&Map<String, Value>> {
    value.as_object().ok_or_else(|| PatchError::Format("invalid JSON document".to_owned()))
}

fn diff(
    schema: Option<Schema<'_>>,
    halves: Halves,
    retain: bool,
    old: &Map<String, Value>,
    new: &Map<String, Value>,
) -> Result<Map<String, Value>> {
    let mut patch = Map::new();
    for (key, before) in old {
        let Some(after) = new.get(key) else {
            if halves.deletions {
                patch.insert(key.clone(), Value::Null);
            }
            continue;
        };
        if before == after {
            continue;
        }
        let rule = Rule::of(schema, key);
        match (before, after) {
            (Value::Object(before), Value::Object(after)) if !rule.patch.replace => {
                let inner = diff(rule.schema, halves, rule.patch.retain_keys, before, after)?;
                if !inner.is_empty() {
                    patch.insert(key.clone(), Value::Object(inner));
                }
            }
            (Value::Array(before), Value::Array(after)) if rule.patch.merge => {
                diff_lists(rule, halves, key, before, after, &mut patch)?;
            }
            _ if halves.changes => {
                patch.insert(key.clone(), after.clone());
            }
            _ => {}
        }
    }
    let added = || new.iter().filter(|(key, value)| !old.contains_key(*key) && !value.is_null());
    if halves.changes {
        for (key, value) in added() {
            patch.insert(key.clone(), value.clone());
        }
    }
    if retain && (!patch.is_empty() || added().next().is_some()) {
        let keys = new.iter().filter(|(_, value)| !value.is_null()).map(|(key, _)| key.clone());
        patch.insert(RETAIN_KEYS.to_owned(), keys.collect());
    }
    Ok(patch)
}

fn diff_lists(
    rule: Rule<'_>,
    halves: Halves,
    name: &str,
    old: &[Value],
    new: &[Value],
    patch: &mut Map<String, Value>,
) -> Result<()> {
    if old.iter().chain(new).any(Value::is_array) {
        return Err(list_of_lists());
    }
    let mut changed = Vec::new();
    let mut gone = Vec::new();
    let key = rule.merge_key().filter(|_| old.iter().chain(new).any(Value::is_object));
    let (in_old, in_new) = (Places::of(old, key), Places::of(new, key));
    for item in new {
        match (key, in_old.find(item).map(|at| &old[at])) {
            (Some(key), Some(before)) => {
                let (before, after) = (keyed(before, key)?, keyed(item, key)?);
                let mut inner = diff(rule.item(), halves, rule.patch.retain_keys, before, after)?;
                if !inner.is_empty() {
                    inner.insert(key.to_owned(), after[key].clone());
                    changed.push(Value::Object(inner));
                }
            }
            (Some(key), None) => {
                keyed(item, key)?;
                if halves.changes {
                    changed.push(item.clone());
                }
            }
            (None, None) if halves.changes => changed.push(item.clone()),
            (None, _) => {}
        }
    }
    if halves.deletions {
        gone.extend(old.iter().filter(|item| in_new.find(item).is_none()).cloned());
    }
    // Of the items that both lists have.
    let same_order = new.iter().filter_map(|item| in_old.find(item)).is_sorted();
    let order: Vec<Value> = match key {
        Some(key) => new.iter().map(|item| json!({ key: item[key] })).collect(),
        None => new.to_vec(),
    };
    let needs_order = !changed.is_empty() || !gone.is_empty() || !same_order;
    match key {
        Some(key) => {
            changed.extend(gone.iter().map(|item| json!({ key: item[key], PATCH: "delete" })));
        }
        None if !gone.is_empty() => {
            patch.insert(format!("{DELETE_FROM_LIST}{name}"), Value::Array(gone));
        }
        None => {}
    }
    if !changed.is_empty() {
        patch.insert(name.to_owned(), Value::Array(changed));
    }
    if needs_order && !order.is_empty() {
        patch.insert(format!("{SET_ELEMENT_ORDER}{name}"), Value::Array(order));
    }
    Ok(())
}

/// Puts the changes into the deletions; both are patches, so nothing is deleted here.
fn combine(
    schema: Option<Schema<'_>>,
    patch: &mut Map<String, Value>,
    changes: Map<String, Value>,
) {
    for (name, change) in changes {
        let rule = Rule::of(schema, &name);
        match (patch.get_mut(&name), change) {
            (Some(Value::Object(into)), Value::Object(change)) => {
                combine(rule.schema, into, change);
            }
            (Some(Value::Array(into)), Value::Array(change)) if rule.patch.merge => {
                let key = rule.merge_key();
                let deletions = std::mem::replace(into, change);
                let places = Places::of(into, key);
                for item in deletions {
                    let twin = places.find(&item).and_then(|at| into.get_mut(at));
                    match (twin, item) {
                        (Some(Value::Object(twin)), Value::Object(mut item)) => {
                            combine(rule.item(), &mut item, std::mem::take(twin));
                            *twin = item;
                        }
                        (Some(_), _) => {}
                        (None, item) => into.push(item),
                    }
                }
            }
            (_, change) => {
                patch.insert(name, change);
            }
        }
    }
}
