//! Other objects that a decision needs: from the watch cache, which is as new as the last write
//! that was answered.

use std::sync::Arc;

use onggi_api::{Object, Status};
use onggi_machinery::resource::{self, Resource};

use crate::cache::{self, Selection};
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
    let selection = Selection::in_namespace(namespace);
    collection.list(&selection, registry.cache.applied(), 0).items
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
