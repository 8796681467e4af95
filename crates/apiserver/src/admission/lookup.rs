//! Other objects that a decision needs: from the watch cache, which is as new as the last write
//! that was answered.

use std::sync::{Arc, OnceLock};

use onggi_api::{Object, Status};
use onggi_machinery::resource::{self, Resource};
use parking_lot::RwLock;
use serde_json::Value;

use crate::cache::{self, Collection, Selection};
use crate::registry::Registry;

/// The row of a kind that is always served; `None` where this build does not have it.
pub(super) fn row(group: &str, plural: &str) -> Option<&'static Resource> {
    resource::all().iter().copied().find(|row| (row.group, row.plural) == (group, plural))
}

/// Every object of a kind, in a namespace or in all.
pub(super) fn list(
    registry: &Registry,
    group: &str,
    plural: &str,
    namespace: &str,
) -> Vec<Arc<Object>> {
    let Some(collection) = row(group, plural).and_then(|row| registry.cache.of(row).ok()) else {
        return Vec::new();
    };
    collection.list(&Selection::in_namespace(namespace), registry.cache.applied(), 0).items
}

/// An object by its name; from the store where the cache does not have it (yet).
pub(super) async fn find(
    registry: &Registry,
    group: &str,
    plural: &str,
    namespace: &str,
    name: &str,
) -> Result<Option<Arc<Object>>, Status> {
    let Some(row) = row(group, plural) else { return Ok(None) };
    if let Some(object) = registry.cache.of(row)?.get(&cache::key(row, namespace, name)) {
        return Ok(Some(object));
    }
    match registry.current(row, namespace, name).await {
        Ok(object) => Ok(Some(object)),
        Err(status) if status.is_not_found() => Ok(None),
        Err(status) => Err(status),
    }
}

/// A kind that every write asks about: looked up once.
pub(super) struct Known {
    group: &'static str,
    plural: &'static str,
    collection: OnceLock<Option<(&'static Resource, Arc<Collection>)>>,
}

impl Known {
    pub(super) const fn new(group: &'static str, plural: &'static str) -> Self {
        Self { group, plural, collection: OnceLock::new() }
    }

    pub(super) fn collection(&self, registry: &Registry) -> Option<&Arc<Collection>> {
        let find = || {
            let row = row(self.group, self.plural)?;
            Some((row, registry.cache.of(row).ok()?.clone()))
        };
        self.collection.get_or_init(find).as_ref().map(|(_, collection)| collection)
    }

    pub(super) fn row(&self) -> Option<&'static Resource> {
        row(self.group, self.plural)
    }

    /// The objects of a namespace, of all where it is empty; quick where there is none at all.
    pub(super) fn list(&self, registry: &Registry, namespace: &str) -> Vec<Arc<Object>> {
        match self.collection(registry) {
            Some(collection) if !collection.is_empty() => {
                let selection = Selection::in_namespace(namespace);
                collection.list(&selection, registry.cache.applied(), 0).items
            }
            _ => Vec::new(),
        }
    }
}

/// Something made of all objects of a kind, made anew after each change of one of them.
pub(super) struct Watched<T> {
    known: Known,
    made: RwLock<Option<(u64, Arc<T>)>>,
}

impl<T: Default> Watched<T> {
    pub(super) const fn new(group: &'static str, plural: &'static str) -> Self {
        Self { known: Known::new(group, plural), made: RwLock::new(None) }
    }

    /// What was made of the present objects, in the order of their names.
    pub(super) fn get(
        &self,
        registry: &Registry,
        make: impl FnOnce(&[Value]) -> T,
    ) -> Result<Arc<T>, Status> {
        let revision = self.known.collection(registry).map_or(0, |found| found.revision());
        if let Some((at, made)) = &*self.made.read()
            && *at == revision
        {
            return Ok(Arc::clone(made));
        }
        // Made outside of the lock; when two do it at once, both have the same.
        let objects = self.known.list(registry, "");
        let values: Result<Vec<Value>, _> = objects.iter().map(|object| object.value()).collect();
        let made = Arc::new(make(&values.map_err(Status::internal)?));
        *self.made.write() = Some((revision, Arc::clone(&made)));
        Ok(made)
    }
}
