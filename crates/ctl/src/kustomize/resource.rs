//! An object on its way through the layers, and what Kustomize remembers of it.

use onggi_machinery::value::{map_mut, set, str_at};
use serde_json::Value;

use super::id::{Gvk, Id};

/// An object, and its history.
#[derive(Debug, Clone)]
pub(super) struct Resource {
    pub(super) value: Value,
    /// What it was called before each change of its name, namespace or kind: references may still
    /// say so.
    pub(super) before: Vec<Id>,
    /// Prefixes and suffixes that it got: two of one name are told apart by them.
    pub(super) prefixes: Vec<String>,
    pub(super) suffixes: Vec<String>,
    /// Whether a hash of what it holds goes behind its name.
    pub(super) hashed: bool,
    /// Variables whose values stand in it.
    pub(super) vars: Vec<String>,
    /// Where it comes from, where that is wanted.
    pub(super) origin: Option<String>,
    /// What changed it, where that is wanted.
    pub(super) transformations: String,
}

impl Resource {
    pub(super) fn new(value: Value) -> Self {
        Self {
            value,
            before: Vec::new(),
            prefixes: Vec::new(),
            suffixes: Vec::new(),
            hashed: false,
            vars: Vec::new(),
            origin: None,
            transformations: String::new(),
        }
    }

    pub(super) fn gvk(&self) -> Gvk {
        Gvk::of(&self.value)
    }

    pub(super) fn kind(&self) -> &str {
        str_at(&self.value, "kind")
    }

    pub(super) fn name(&self) -> &str {
        str_at(&self.value, "metadata.name")
    }

    pub(super) fn namespace(&self) -> &str {
        str_at(&self.value, "metadata.namespace")
    }

    /// What it is called now.
    pub(super) fn id(&self) -> Id {
        Id::of(&self.value)
    }

    /// What it was called in its file.
    pub(super) fn first_id(&self) -> Id {
        self.before.first().cloned().unwrap_or_else(|| self.id())
    }

    /// What it is and was called.
    pub(super) fn ids(&self) -> Vec<Id> {
        let mut ids = vec![self.id()];
        ids.extend(self.before.iter().cloned());
        ids
    }

    pub(super) fn is_called(&self, id: &Id) -> bool {
        self.ids().iter().any(|own| own.equals(id))
    }

    /// Remembers what it is called, before that changes.
    pub(super) fn remember(&mut self) {
        self.before.push(self.id());
    }

    pub(super) fn rename(&mut self, name: String) {
        self.remember();
        set(&mut self.value, "metadata.name", name);
    }

    /// Whether one's prefixes and suffixes are the end of the other's. None at all are the end of
    /// none only, and of everything with `allow_none`.
    pub(super) fn is_of_same_layer(&self, other: &Self, allow_none: bool) -> bool {
        let ends = |a: &[String], b: &[String]| match (a.is_empty(), b.is_empty()) {
            (false, false) => a.ends_with(b) || b.ends_with(a),
            (true, true) => true,
            _ => allow_none,
        };
        ends(&self.prefixes, &other.prefixes) && ends(&self.suffixes, &other.suffixes)
    }

    /// Takes name, history, labels and annotations of one that it stands for; its own labels and
    /// annotations win.
    pub(super) fn take_place_of(&mut self, old: &Self) {
        for field in ["labels", "annotations"] {
            let mut merged = match old.value["metadata"].get(field) {
                Some(Value::Object(map)) => map.clone(),
                _ => Default::default(),
            };
            if let Some(Value::Object(own)) = self.value["metadata"].get(field) {
                merged.extend(own.clone());
            }
            if !merged.is_empty() {
                *map_mut(&mut self.value, &format!("metadata.{field}")) = merged;
            }
        }
        set(&mut self.value, "metadata.name", old.name());
        match old.namespace() {
            "" => {
                if let Some(metadata) = self.value["metadata"].as_object_mut() {
                    metadata.remove("namespace");
                }
            }
            namespace => set(&mut self.value, "metadata.namespace", namespace),
        }
        self.before.clone_from(&old.before);
        self.prefixes.clone_from(&old.prefixes);
        self.suffixes.clone_from(&old.suffixes);
        self.vars.clone_from(&old.vars);
        self.transformations.clone_from(&old.transformations);
        // Either may say that there is to be no hash.
        self.hashed &= old.hashed;
    }
}
