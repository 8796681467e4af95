//! What differs between two values of a type.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::element::field;
use super::fields::{graft, is_empty, item_element, of_new};
use super::set::{FieldSet, Nodes, add, descend};
use super::types::{Class, Type};

/// The fields that differ. None is in two of the sets.
#[derive(Debug, Default, Clone, PartialEq)]
pub(super) struct Comparison {
    pub(super) added: FieldSet,
    pub(super) modified: FieldSet,
    pub(super) removed: FieldSet,
}

/// Where the walk is: written out only where something differs.
#[derive(Clone, Copy)]
enum Path<'a> {
    Root,
    Field(&'a Path<'a>, &'a str),
    Item(&'a Path<'a>, &'a str),
}

impl Path<'_> {
    /// The nodes of the set below this place.
    fn nodes<'n>(&self, set: &'n mut Nodes) -> &'n mut Nodes {
        match self {
            Self::Root => set,
            Self::Field(parent, name) => descend(parent.nodes(set), &field(name)),
            Self::Item(parent, element) => descend(parent.nodes(set), element),
        }
    }

    fn add(&self, set: &mut FieldSet) {
        match self {
            Self::Root => {}
            Self::Field(parent, name) => add(parent.nodes(&mut set.0), &field(name)),
            Self::Item(parent, element) => add(parent.nodes(&mut set.0), element),
        }
    }

    fn graft(&self, set: &mut FieldSet, found: Option<Value>) {
        let Some(found) = found else { return };
        match self {
            Self::Root => {}
            Self::Field(parent, name) => graft(parent.nodes(&mut set.0), field(name), found),
            Self::Item(parent, element) => {
                graft(parent.nodes(&mut set.0), (*element).to_owned(), found);
            }
        }
    }
}

/// Compares two objects.
pub(super) fn compare(ty: Type<'_>, old: &Value, new: &Value) -> Comparison {
    let mut comparison = Comparison::default();
    comparison.both(ty, old, new, &Path::Root);
    comparison
}

impl Comparison {
    pub(super) fn is_same(&self) -> bool {
        self.added.is_empty() && self.modified.is_empty() && self.removed.is_empty()
    }

    /// Leaves out what is below these fields.
    pub(super) fn without(mut self, fields: &FieldSet) -> Self {
        if !fields.is_empty() {
            self.added.subtract_all(fields);
            self.modified.subtract_all(fields);
            self.removed.subtract_all(fields);
        }
        self
    }

    /// What was set anew.
    pub(super) fn into_set(self) -> FieldSet {
        let mut set = self.modified;
        set.unite(self.added);
        set
    }

    fn both(&mut self, ty: Type<'_>, old: &Value, new: &Value, path: &Path<'_>) {
        let (before, after) = (ty.class(old), ty.class(new));
        let class = match (old.is_null(), new.is_null()) {
            (true, false) => after,
            (false, true) => before,
            _ if before == after => after,
            // A map became a scalar, or the other way round.
            _ => {
                path.add(&mut self.modified);
                return;
            }
        };
        if class == Class::Leaf || (is_empty(old) && is_empty(new)) {
            if old != new {
                path.add(&mut self.modified);
            }
            return;
        }
        match class {
            Class::Map => self.maps(ty, old.as_object(), new.as_object(), path),
            _ => self.lists(ty, list(old), list(new), path),
        }
    }

    fn maps(
        &mut self,
        ty: Type<'_>,
        old: Option<&Map<String, Value>>,
        new: Option<&Map<String, Value>>,
        path: &Path<'_>,
    ) {
        for (key, before) in old.into_iter().flatten() {
            let here = Path::Field(path, key);
            match new.and_then(|new| new.get(key)) {
                Some(after) => {
                    let child = ty.child(key);
                    self.both(child.ty, before, after, &here);
                }
                None => {
                    let child = ty.child(key);
                    here.graft(&mut self.removed, of_new(child.ty, before, child.is_always()));
                }
            }
        }
        for (key, after) in new.into_iter().flatten() {
            if old.is_some_and(|old| old.contains_key(key)) {
                continue;
            }
            let child = ty.child(key);
            let here = Path::Field(path, key);
            here.graft(&mut self.added, of_new(child.ty, after, child.is_always()));
        }
    }

    fn lists(&mut self, ty: Type<'_>, old: &[Value], new: &[Value], path: &Path<'_>) {
        if old == new {
            return;
        }
        let (before, after) = (index(ty, old), index(ty, new));
        let item = ty.item();
        for (element, was) in &before {
            let here = Path::Item(path, element);
            let is = after.get(element).map_or(&[][..], Vec::as_slice);
            match (was.as_slice(), is) {
                ([was], [is]) => self.both(item, was, is, &here),
                ([was], []) => here.graft(&mut self.removed, of_new(item, was, false)),
                // Items that are the same are owned together, as one leaf.
                (many, []) if many.len() > 1 => here.add(&mut self.removed),
                (many, [is]) if many.len() > 1 => {
                    here.add(&mut self.removed);
                    here.graft(&mut self.added, of_new(item, is, false));
                }
                ([was], _) => {
                    here.graft(&mut self.removed, of_new(item, was, false));
                    here.add(&mut self.added);
                }
                (many, others) if many != others => here.add(&mut self.modified),
                _ => {}
            }
        }
        for (element, is) in &after {
            if before.contains_key(element) {
                continue;
            }
            let here = Path::Item(path, element);
            match is.as_slice() {
                [is] => here.graft(&mut self.added, of_new(item, is, false)),
                _ => here.add(&mut self.added),
            }
        }
    }
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

/// The items by their elements; those that have none are left out.
pub(super) fn index<'v>(ty: Type<'_>, items: &'v [Value]) -> BTreeMap<String, Vec<&'v Value>> {
    let mut found: BTreeMap<String, Vec<&Value>> = BTreeMap::new();
    for item in items {
        if let Ok(element) = item_element(ty, item) {
            found.entry(element).or_default().push(item);
        }
    }
    found
}
