//! Strategic merge patch (`k8s.io/apimachinery/pkg/util/strategicpatch`).

use std::collections::HashSet;

use onggi_api::schema::Schema;
use serde_json::{Map, Value};

use super::PatchError;
use super::directive::{
    DELETE_FROM_LIST, Directive, RETAIN_KEYS, Rule, SET_ELEMENT_ORDER, drop_all, take,
};
use super::lists::{Places, in_order, keyed, list_of_lists, mixed, name};
use crate::value::go_text;

type Result<T> = std::result::Result<T, PatchError>;

/// Applies a strategic merge patch. Without a schema every list is replaced.
pub fn strategic_merge(schema: Option<Schema<'_>>, object: &mut Value, patch: Value) -> Result<()> {
    let (Value::Object(object), Value::Object(patch)) = (object, patch) else {
        return Err(PatchError::Format("invalid JSON document".to_owned()));
    };
    merge_map(schema, object, patch)
}

fn merge_map(
    schema: Option<Schema<'_>>,
    object: &mut Map<String, Value>,
    mut patch: Map<String, Value>,
) -> Result<()> {
    match take(&mut patch)? {
        Some(Directive::Replace) => {
            let mut patch = Value::Object(patch);
            drop_all(&mut patch);
            if let Value::Object(patch) = patch {
                *object = patch;
            }
            return Ok(());
        }
        Some(Directive::Delete) => {
            object.clear();
            return Ok(());
        }
        Some(Directive::Merge) | None => {}
    }
    retain_keys(object, &mut patch)?;
    ordered_lists(schema, object, &mut patch)?;
    delete_from_lists(object, &mut patch)?;
    for (key, value) in patch {
        merge_field(Rule::of(schema, &key), object, key, value)?;
    }
    Ok(())
}

fn merge_field(
    rule: Rule<'_>,
    object: &mut Map<String, Value>,
    key: String,
    mut patch: Value,
) -> Result<()> {
    if patch.is_null() {
        object.remove(&key);
        return Ok(());
    }
    match (object.get_mut(&key), patch) {
        (Some(Value::Object(old)), Value::Object(new)) if !rule.patch.replace => {
            merge_map(rule.schema, old, new)
        }
        (Some(Value::Array(old)), Value::Array(new)) if rule.patch.merge => {
            let merged = merge_list(rule, std::mem::take(old), new)?;
            *old = merged;
            Ok(())
        }
        (_, new) => {
            patch = new;
            drop_all(&mut patch);
            object.insert(key, patch);
            Ok(())
        }
    }
}

fn merge_list(rule: Rule<'_>, live: Vec<Value>, patch: Vec<Value>) -> Result<Vec<Value>> {
    if live.iter().chain(&patch).any(Value::is_array) {
        return Err(list_of_lists());
    }
    if !live.iter().chain(&patch).any(Value::is_object) {
        let known = Places::of(&live, None);
        let mut merged = live.clone();
        let mut seen = HashSet::new();
        for item in &patch {
            if known.find(item).is_none() && seen.insert(item.to_string()) {
                merged.push(item.clone());
            }
        }
        return Ok(in_order(merged, &patch, &live, None));
    }
    let Some(key) = rule.merge_key() else {
        return Err(PatchError::Lists("cannot merge lists without merge key for ".to_owned()));
    };
    let mut wanted = Vec::with_capacity(patch.len());
    let mut gone = HashSet::new();
    let mut replaces = false;
    for item in patch {
        let Value::Object(mut map) = item else { return Err(mixed()) };
        let directive = take(&mut map)?;
        let item = Value::Object(map);
        match directive {
            // It stands alone in its item and is meant for the whole list.
            Some(Directive::Replace) => replaces = true,
            Some(Directive::Delete) => {
                keyed(&item, key)?;
                gone.extend(name(&item, Some(key)));
            }
            Some(Directive::Merge) | None => {
                keyed(&item, key)?;
                wanted.push(item);
            }
        }
    }
    if replaces {
        wanted.iter_mut().for_each(drop_all);
        return Ok(wanted);
    }
    let stays = |item: &Value| name(item, Some(key)).is_none_or(|name| !gone.contains(&name));
    let mut merged: Vec<Value> = live.iter().filter(|item| stays(item)).cloned().collect();
    let mut places = Places::of(&merged, Some(key));
    for item in &wanted {
        match places.find(item).and_then(|at| merged.get_mut(at)) {
            Some(Value::Object(old)) => {
                let Value::Object(new) = item.clone() else { return Err(mixed()) };
                merge_map(rule.item(), old, new)?;
            }
            Some(_) => return Err(mixed()),
            None => {
                let mut item = item.clone();
                drop_all(&mut item);
                places.add(&item, merged.len());
                merged.push(item);
            }
        }
    }
    Ok(in_order(merged, &wanted, &live, Some(key)))
}

/// `$retainKeys`: of the object's fields only those named stay, and the patch may set no other.
fn retain_keys(object: &mut Map<String, Value>, patch: &mut Map<String, Value>) -> Result<()> {
    let Some(keys) = patch.remove(RETAIN_KEYS) else { return Ok(()) };
    let bad = || PatchError::Format("invalid patch format of retainKeys".to_owned());
    let Value::Array(keys) = keys else { return Err(bad()) };
    let names = |key: &str| keys.iter().any(|name| name.as_str() == Some(key));
    let foreign =
        |(key, value): (&String, &Value)| !key.starts_with('$') && !value.is_null() && !names(key);
    if patch.iter().any(foreign) {
        return Err(bad());
    }
    object.retain(|key, _| names(key));
    Ok(())
}

/// `$setElementOrder/field`: merges the list of that name, then puts it in this order.
fn ordered_lists(
    schema: Option<Schema<'_>>,
    object: &mut Map<String, Value>,
    patch: &mut Map<String, Value>,
) -> Result<()> {
    let bad = || PatchError::Format("invalid patch format of setElementOrder list".to_owned());
    let words: Vec<String> =
        patch.keys().filter(|key| key.starts_with(SET_ELEMENT_ORDER)).cloned().collect();
    for word in words {
        let name = word[SET_ELEMENT_ORDER.len()..].to_owned();
        let Some(Value::Array(order)) = patch.remove(&word) else { return Err(bad()) };
        let rule = Rule::of(schema, &name);
        if !rule.patch.merge {
            return Err(bad());
        }
        let key = rule.merge_key();
        let changes = match patch.remove(&name) {
            Some(Value::Array(changes)) => Some(changes),
            None => None,
            // A null deletes the list, whatever its order.
            Some(other) => {
                patch.insert(name, other);
                continue;
            }
        };
        let named = changes.as_deref().unwrap_or_default();
        if !order.is_empty() && !agree(named, &order, key) {
            return Err(PatchError::Lists(format!(
                "The order in patch list:\n{}\n doesn't match $setElementOrder list:\n{}\n",
                go_text(&named.into()),
                go_text(&order.into())
            )));
        }
        // The deletions apply to the list before it is ordered.
        delete_from_list(object, patch, &name)?;
        let live = match object.get(&name) {
            Some(Value::Array(live)) => live.clone(),
            _ => Vec::new(),
        };
        let is_new = !object.contains_key(&name);
        if is_new && changes.is_none() {
            continue;
        }
        let merged = merge_list(rule, live.clone(), changes.unwrap_or_default())?;
        object.insert(name, Value::Array(in_order(merged, &order, &live, key)));
    }
    Ok(())
}

/// Whether the order names every item that the list in the patch sets, in the same sequence.
fn agree(changes: &[Value], order: &[Value], key: Option<&str>) -> bool {
    let places = Places::of(order, key);
    let mut last = None;
    changes.iter().filter(|item| item.get("$patch").is_none()).all(|item| {
        let at = places.find(item);
        let follows = at.is_some() && at > last;
        last = at;
        follows
    })
}

/// `$deleteFromPrimitiveList/field`.
fn delete_from_lists(
    object: &mut Map<String, Value>,
    patch: &mut Map<String, Value>,
) -> Result<()> {
    let names: Vec<String> =
        patch.keys().filter_map(|key| key.strip_prefix(DELETE_FROM_LIST)).map(Into::into).collect();
    names.iter().try_for_each(|name| delete_from_list(object, patch, name))
}

fn delete_from_list(
    object: &mut Map<String, Value>,
    patch: &mut Map<String, Value>,
    name: &str,
) -> Result<()> {
    let Some(gone) = patch.remove(&format!("{DELETE_FROM_LIST}{name}")) else { return Ok(()) };
    let Value::Array(gone) = gone else {
        return Err(PatchError::Format("invalid patch format of primitive list".to_owned()));
    };
    if let Some(Value::Array(items)) = object.get_mut(name) {
        let gone = Places::of(&gone, None);
        items.retain(|item| gone.find(item).is_none());
    }
    Ok(())
}
