//! Custom kinds: what CustomResourceDefinitions declare, as the rest of the server sees it.
//!
//! The watch cache tells [`CustomKinds`] of every definition as it reads it, at the start and at
//! each change, before it says that it has come so far; so whoever has written a definition finds
//! its kinds served when the answer comes. Readers take a [`Snapshot`], which never changes.

mod convert;
mod lifecycle;
mod version;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, OnceLock};

use arc_swap::ArcSwap;
use bytes::Bytes;
use onggi_api::{DecodeError, GroupVersionResource, Object};
use onggi_machinery::crd::{self, Definition, Names};
use onggi_machinery::resource::{self, Resource};
use serde_json::Value;
use tokio::sync::{Mutex, OwnedMutexGuard};

pub(crate) use convert::Converter;
pub(crate) use lifecycle::{run as run_lifecycle, settled};
pub(crate) use version::Version;

use crate::served::Catalog;

/// See the module.
#[derive(Default)]
pub(crate) struct CustomKinds {
    snapshot: ArcSwap<Snapshot>,
    naming: Arc<Mutex<()>>,
}

/// The custom kinds at a moment.
#[derive(Default)]
pub(crate) struct Snapshot {
    /// By name, those that are not served included.
    definitions: BTreeMap<String, Arc<Served>>,
    by_resource: HashMap<GroupVersionResource, Arc<Version>>,
    /// By the address of the row, which is the same for the same shape.
    by_row: HashMap<usize, Arc<Version>>,
    catalog: OnceLock<Arc<Catalog>>,
}

/// A definition and its versions.
pub(crate) struct Served {
    pub(crate) definition: Arc<Definition>,
    /// All of them, in the order of the definition; only those served are in the maps.
    pub(crate) versions: Vec<Arc<Version>>,
}

/// What a change of a definition means for the objects of its kind.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Effect {
    /// Nothing.
    None,
    /// They are to be read: the kind is new, or what is stored reads otherwise now.
    Read(&'static Resource),
    /// The kind is gone.
    Close(&'static Resource),
}

fn address(row: &Resource) -> usize {
    std::ptr::from_ref(row) as usize
}

/// The version of an `apiVersion`.
pub(crate) fn version_of(api_version: &str) -> &str {
    api_version.rsplit('/').next().unwrap_or_default()
}

/// Whether the row is that of the definitions.
pub(crate) fn is_definition(row: &Resource) -> bool {
    row.group == crd::GROUP && row.plural == "customresourcedefinitions"
}

impl Served {
    fn new(definition: Definition) -> Self {
        let definition = Arc::new(definition);
        let version = |at| Arc::new(Version::new(Arc::clone(&definition), at));
        let versions = (0..definition.versions.len()).map(version).collect();
        Self { definition, versions }
    }

    fn storage(&self) -> Option<&Arc<Version>> {
        self.versions.iter().find(|version| version.spec().storage)
    }

    /// Whether requests for it are answered. A group or path of ours cannot be taken.
    fn is_active(&self) -> bool {
        let Definition { established, group, names, .. } = &*self.definition;
        let ours = |row: &&Resource| row.group == group && row.plural == names.plural;
        *established
            && !names.plural.is_empty()
            && !resource::all().iter().copied().any(|r| ours(&r))
    }
}

impl Snapshot {
    /// The row of a path.
    pub(crate) fn row(&self, resource: &GroupVersionResource) -> Option<&'static Resource> {
        self.by_resource.get(resource).map(|version| version.row)
    }

    /// What stands behind a row; `None` when the definition has gone meanwhile.
    pub(crate) fn version(&self, row: &Resource) -> Option<&Arc<Version>> {
        self.by_row.get(&address(row)).or_else(|| self.by_resource.get(&row.gvr()))
    }

    /// A version of the kind of a row, served or not.
    pub(crate) fn sibling(&self, row: &Resource, version: &str) -> Option<&Arc<Version>> {
        let served = self.definitions.get(&row.group_resource())?;
        served.versions.iter().find(|known| known.spec().name == version)
    }

    /// The version that objects of the kind are stored in.
    pub(crate) fn storage(&self, row: &Resource) -> Option<&Arc<Version>> {
        self.definitions.get(&row.group_resource())?.storage()
    }

    /// What the others of a group are called.
    pub(crate) fn names_beside(&self, group: &str, definition: &str) -> Vec<&Names> {
        let all = self.definitions.values().map(|served| &served.definition);
        all.filter(|d| d.group == group && d.name != definition).map(|d| &d.names).collect()
    }

    /// The definitions that are not where they should be: without their names, or being deleted.
    pub(crate) fn unsettled(&self) -> impl Iterator<Item = &Definition> {
        let all = self.definitions.values().map(|served| &*served.definition);
        all.filter(|d| d.deleting || !d.established || !d.accepted)
    }

    /// The version that objects of a definition are stored in, where it is served at all.
    pub(crate) fn storage_of(&self, definition: &str) -> Option<&Arc<Version>> {
        self.definitions.get(definition).filter(|served| served.is_active())?.storage()
    }

    /// What is served at this moment, with its documents; made when first asked for.
    pub(crate) fn catalog(&self) -> Arc<Catalog> {
        let custom = || self.served().map(|version| version.listed()).collect();
        Arc::clone(self.catalog.get_or_init(|| Arc::new(Catalog::new(custom()))))
    }

    /// Every version that is served: by definition, the preferred version first.
    pub(crate) fn served(&self) -> impl Iterator<Item = &Arc<Version>> {
        self.definitions.values().filter(|served| served.is_active()).flat_map(|served| {
            let mut versions: Vec<_> =
                served.versions.iter().filter(|version| version.spec().served).collect();
            versions.sort_by(|a, b| crd::by_priority(&a.spec().name, &b.spec().name));
            versions
        })
    }
}

impl CustomKinds {
    /// Held by whoever gives out names.
    pub(crate) async fn naming(&self) -> OwnedMutexGuard<()> {
        Arc::clone(&self.naming).lock_owned().await
    }

    /// The kinds of this moment.
    pub(crate) fn snapshot(&self) -> Arc<Snapshot> {
        self.snapshot.load_full()
    }

    /// Whether the kind has several versions, of which objects may be stored.
    pub(crate) fn has_versions(&self, row: &Resource) -> bool {
        row.custom.is_some()
            && self.snapshot.load().version(row).is_some_and(|v| v.definition.versions.len() > 1)
    }

    /// Takes in the definitions of a start.
    pub(crate) fn replace(&self, definitions: &[Value]) -> Vec<&'static Resource> {
        let served = definitions.iter().map(|object| {
            let definition = Definition::read(object);
            (definition.name.clone(), Arc::new(Served::new(definition)))
        });
        let definitions: BTreeMap<_, _> = served.collect();
        let active = definitions.values().filter(|served| served.is_active());
        let rows = active.filter_map(|s| Some(s.storage()?.row)).collect();
        self.publish(definitions);
        rows
    }

    /// Takes in a definition that was written. Only the cache calls this, one after the other.
    pub(crate) fn put(&self, object: &Value) -> Effect {
        let new = Definition::read(object);
        let mut definitions = self.snapshot.load().definitions.clone();
        let old = definitions.get(&new.name).cloned();
        if old.as_ref().is_some_and(|old| *old.definition == new) {
            return Effect::None;
        }
        let served = Arc::new(Served::new(new));
        definitions.insert(served.definition.name.clone(), Arc::clone(&served));
        self.publish(definitions);
        let before = old.filter(|old| old.is_active());
        let now = Some(served).filter(|now| now.is_active());
        match (before, now) {
            (None, None) => Effect::None,
            (Some(old), None) => old.storage().map_or(Effect::None, |v| Effect::Close(v.row)),
            (old, Some(new)) => {
                let same = old.is_some_and(|old| {
                    let (a, b) = (&old.definition, &new.definition);
                    let storage = |served: &Served| served.storage().map(|v| address(v.row));
                    let schemas = a.versions.iter().zip(&b.versions);
                    a.uid == b.uid
                        && storage(&old) == storage(&new)
                        && a.versions.len() == b.versions.len()
                        && schemas
                            .into_iter()
                            .all(|(a, b)| (&a.name, &a.schema) == (&b.name, &b.schema))
                });
                match new.storage() {
                    Some(storage) if !same => Effect::Read(storage.row),
                    _ => Effect::None,
                }
            }
        }
    }

    /// A definition is gone.
    pub(crate) fn remove(&self, name: &str) -> Effect {
        let mut definitions = self.snapshot.load().definitions.clone();
        let Some(old) = definitions.remove(name) else { return Effect::None };
        self.publish(definitions);
        match old.storage() {
            Some(storage) if old.is_active() => Effect::Close(storage.row),
            _ => Effect::None,
        }
    }

    /// A stored object of the kind of a row, in the version it was stored in.
    pub(crate) fn read(
        &self,
        row: &Resource,
        bytes: &Bytes,
        revision: u64,
    ) -> Result<Object, DecodeError> {
        let object = Object::from_stored(bytes, revision, &[])?;
        let snapshot = self.snapshot.load();
        let name = version_of(&object.head().api_version);
        match snapshot.sibling(row, name) {
            Some(version) => version.shown(object),
            None => Ok(object),
        }
    }

    fn publish(&self, definitions: BTreeMap<String, Arc<Served>>) {
        let mut by_resource = HashMap::new();
        let mut by_row = HashMap::new();
        for served in definitions.values().filter(|served| served.is_active()) {
            for version in served.versions.iter().filter(|version| version.spec().served) {
                by_resource.insert(version.row.gvr(), Arc::clone(version));
                by_row.insert(address(version.row), Arc::clone(version));
            }
        }
        let catalog = OnceLock::new();
        self.snapshot.store(Arc::new(Snapshot { definitions, by_resource, by_row, catalog }));
    }
}
