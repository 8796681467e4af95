//! Kinds whose objects controllers follow; and the custom ones as they come and go: what
//! CustomResourceDefinitions say.

use std::sync::Arc;

use onggi_api::{DecodeError, GroupVersionResource, Object};
use onggi_client::{Cache, Change, Project, Source};
use onggi_machinery::crd::{self, Definition};
use onggi_machinery::resource::Resource;

use crate::context::Context;

/// A kind, whoever serves it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Kind {
    pub(crate) resource: GroupVersionResource,
    /// The group of the kind, which of aggregated servers need not be that of the resource.
    pub(crate) group: String,
    /// `Deployment`.
    pub(crate) name: String,
    pub(crate) namespaced: bool,
    /// `deletecollection` …
    pub(crate) verbs: Vec<String>,
    /// Of the table: no custom kind, none of another server.
    pub(crate) built_in: bool,
    /// Of another server.
    pub(crate) elsewhere: bool,
}

impl Kind {
    pub(crate) fn of(row: &Resource) -> Self {
        Self {
            resource: row.gvr(),
            group: row.group.to_owned(),
            name: row.kind.to_owned(),
            namespaced: row.namespaced(),
            verbs: row.verbs.iter().map(|verb| verb.as_str().to_owned()).collect(),
            built_in: row.custom.is_none(),
            elsewhere: false,
        }
    }

    pub(crate) fn can(&self, verb: &str) -> bool {
        self.verbs.iter().any(|known| known == verb)
    }
}

/// Of a definition: the row of its kind, while that is served.
#[derive(Debug, Clone)]
pub(crate) struct CustomKind {
    row: Option<&'static Resource>,
}

/// A custom kind is served from now on, or no longer.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Turn {
    Come(&'static Resource),
    Gone(&'static Resource),
}

impl Project for CustomKind {
    fn project(object: &Arc<Object>) -> Result<Self, DecodeError> {
        let definition = Definition::read(&object.value()?);
        if !definition.established {
            return Ok(Self { row: None });
        }
        let stored = definition.storage().filter(|version| version.served);
        let version = stored.or_else(|| definition.served().first().copied());
        Ok(Self { row: version.map(|version| crd::row(&definition, version)) })
    }
}

/// The definitions.
pub(crate) fn definitions(context: &Context) -> Cache<CustomKind> {
    let resource = GroupVersionResource::new(crd::GROUP, "v1", "customresourcedefinitions");
    context.cache(Source::all(resource))
}

/// Tells of each kind that comes or goes, those that are there first, until the shutdown.
pub(crate) async fn follow(definitions: Cache<CustomKind>, mut told: impl FnMut(Turn)) {
    let mut changes = definitions.subscribe();
    while let Some(change) = changes.recv().await {
        let (before, after) = match &change {
            Change::Added { new, .. } => (None, new.row),
            Change::Updated { old, new, .. } => (old.row, new.row),
            Change::Deleted { old, .. } => (old.row, None),
        };
        let same = |a: &'static Resource, b: &'static Resource| std::ptr::eq(a, b);
        if let Some(row) = before.filter(|row| !after.is_some_and(|after| same(row, after))) {
            told(Turn::Gone(row));
        }
        if let Some(row) = after.filter(|row| !before.is_some_and(|before| same(row, before))) {
            told(Turn::Come(row));
        }
    }
}
