//! The fields of a value: those of something new ([`of_new`]) and those that a configuration names
//! ([`mentioned`]). Both build `fieldsV1` in one walk.

use serde_json::{Map, Value};

use super::element::{SELF, field, of_item, of_member};
use super::set::{FieldSet, Nodes, add, node, unite};
use super::types::{Class, Type};

/// Whether a map or list holds nothing; a null is an empty one.
pub(super) fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(items) => items.is_empty(),
        Value::Object(map) => map.is_empty(),
        _ => false,
    }
}

/// The fields of a whole object that was not there before.
pub(super) fn of_object(ty: Type<'_>, object: &Value) -> FieldSet {
    FieldSet(below(ty, object, true))
}

/// The node of a value where there was none. `there`: Go's type has the value in every object, so
/// that only its parts are new.
pub(super) fn of_new(ty: Type<'_>, value: &Value, there: bool) -> Option<Value> {
    if is_empty(value) || ty.class(value) == Class::Leaf {
        // Empty before and after.
        return node(!(there && is_empty(value)), Map::new());
    }
    node(!there, below(ty, value, there))
}

fn below(ty: Type<'_>, value: &Value, there: bool) -> Nodes {
    let mut nodes = Map::new();
    match (ty.class(value), value) {
        (Class::Map, Value::Object(map)) => {
            for (key, value) in map {
                let child = ty.child(key);
                if there && child.is_zero(value) {
                    continue;
                }
                if let Some(found) = of_new(child.ty, value, there && child.is_always()) {
                    nodes.insert(field(key), found);
                }
            }
        }
        (Class::List(_) | Class::Set, Value::Array(items)) => {
            let mut twice: Vec<String> = Vec::new();
            for item in items {
                let Ok(element) = item_element(ty, item) else { continue };
                if nodes.contains_key(&element) {
                    twice.push(element);
                } else if let Some(found) = of_new(ty.item(), item, false) {
                    nodes.insert(element, found);
                }
            }
            // Items that are the same are owned together.
            for element in twice {
                nodes.insert(element, Value::Object(Map::new()));
            }
        }
        _ => {}
    }
    nodes
}

/// The element of an item of a list that is not owned as a whole.
pub(super) fn item_element(list: Type<'_>, item: &Value) -> Result<String, String> {
    match list.class(&Value::Array(Vec::new())) {
        Class::List(keys) => of_item(keys, item, list.item()),
        _ => of_member(item),
    }
}

/// The fields that a configuration gives: its leaves, its items, and the maps that it gives empty.
pub(super) fn mentioned(ty: Type<'_>, config: &Value) -> FieldSet {
    let mut nodes = Map::new();
    mention(ty, config, &mut nodes);
    FieldSet(nodes)
}

/// Adds what lies below a value; says whether the value itself is a leaf.
fn mention(ty: Type<'_>, value: &Value, nodes: &mut Nodes) -> bool {
    match (ty.class(value), value) {
        (Class::Leaf, _) => return true,
        (Class::Map, Value::Object(map)) => {
            for (key, value) in map {
                let child = ty.child(key);
                let mut inner = Map::new();
                let leaf = mention(child.ty, value, &mut inner);
                let hollow = value.is_null() || value.as_object().is_some_and(Map::is_empty);
                if let Some(found) = node(leaf || hollow || !child.named, inner) {
                    nodes.insert(field(key), found);
                }
            }
        }
        (Class::List(_) | Class::Set, Value::Array(items)) => {
            let elements: Vec<_> = items.iter().map(|item| item_element(ty, item).ok()).collect();
            for (element, item) in elements.iter().zip(items) {
                let Some(element) = element else { continue };
                if elements.iter().filter(|other| other.as_ref() == Some(element)).count() > 1 {
                    add(nodes, element);
                    continue;
                }
                let mut inner = Map::new();
                mention(ty.item(), item, &mut inner);
                nodes.extend(node(true, inner).map(|found| (element.clone(), found)));
            }
        }
        _ => {}
    }
    false
}

/// The set with the named fields as members above what it has: `a.b.c` owns `a` too where that is
/// the field of an object. Removal works on these.
pub(super) fn with_named_fields(ty: Type<'_>, set: &FieldSet) -> FieldSet {
    FieldSet(named(ty, &set.0))
}

fn named(ty: Type<'_>, nodes: &Nodes) -> Nodes {
    let mut out = Map::new();
    for (element, found) in nodes.iter().filter(|(element, _)| *element != SELF) {
        let inner = super::set::below(found);
        let (child, is_named) = match element.strip_prefix("f:") {
            Some(name) => {
                let child = ty.child(name);
                (child.ty, child.named && ty.knows(name))
            }
            None if element.starts_with("k:") => (ty.item(), false),
            None => (Type::Whole, false),
        };
        let inner = inner.map(|nodes| named(child, nodes)).unwrap_or_default();
        let member = super::set::is_member(found) || (is_named && !inner.is_empty());
        out.extend(node(member, inner).map(|found| (element.clone(), found)));
    }
    out
}

/// Adds a node at an element.
pub(super) fn graft(nodes: &mut Nodes, element: String, found: Value) {
    let mut one = Map::new();
    one.insert(element, found);
    unite(nodes, one);
}
