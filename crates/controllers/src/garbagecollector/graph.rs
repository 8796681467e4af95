//! The graph of owners: the metadata of every object, by uid of its owners.

use std::sync::Arc;

use onggi_api::OwnerReference;
use onggi_client::{Cache, Index, ObjectKey, Source};
use onggi_machinery::resource::{self, Resource, Verb};

use crate::context::Context;
use crate::view::Dependent;

pub(super) const FOREGROUND: &str = "foregroundDeletion";
pub(super) const ORPHAN: &str = "orphan";

/// Names an object of any kind, and which one of that name.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Vertex {
    /// Its place in [`Graph::kinds`].
    pub(super) kind: usize,
    pub(super) key: ObjectKey,
    pub(super) uid: String,
}

/// The objects of a kind.
#[derive(Clone)]
pub(super) struct Kind {
    pub(super) row: &'static Resource,
    pub(super) objects: Cache<Dependent>,
    by_owner: Index<Dependent>,
}

/// A cheap handle.
#[derive(Clone)]
pub(super) struct Graph {
    pub(super) kinds: Arc<[Kind]>,
}

/// Where an owner is, as far as the caches know.
#[derive(Debug)]
pub(super) enum Owner {
    /// There.
    Known(Vertex, Arc<Dependent>),
    /// Of this kind, but not there: to be asked for.
    Unknown(usize),
    /// Of a kind that is not served: nothing can be said about it.
    Foreign,
}

impl Graph {
    /// Over all kinds but events, which own nothing and are owned by nobody.
    pub(super) fn new(context: &Context) -> Self {
        let deletable =
            |row: &&&'static Resource| row.plural != "events" && row.verbs.contains(&Verb::Delete);
        let kind = |row: &&'static Resource| {
            let objects: Cache<Dependent> = context.cache(Source::all(row.gvr()));
            let by_owner = objects.index("owner", |object| {
                object.owners.iter().map(|owner| owner.uid.clone()).collect()
            });
            Kind { row, objects, by_owner }
        };
        Self { kinds: resource::all().iter().filter(deletable).map(kind).collect() }
    }

    pub(super) fn get(&self, vertex: &Vertex) -> Option<Arc<Dependent>> {
        let object = self.kinds.get(vertex.kind)?.objects.get_key(&vertex.key)?;
        (object.uid == vertex.uid).then_some(object)
    }

    /// Those that name the uid among their owners.
    pub(super) fn dependents(&self, uid: &str) -> Vec<Vertex> {
        let mut found = Vec::new();
        for (place, kind) in self.kinds.iter().enumerate() {
            for key in kind.by_owner.keys(uid) {
                if let Some(object) = kind.objects.get_key(&key) {
                    found.push(Vertex { kind: place, key, uid: object.uid.clone() });
                }
            }
        }
        found
    }

    /// The owner that a reference in a namespace names. Versions do not matter: an owner of an old
    /// version is the same object.
    pub(super) fn owner(&self, namespace: &str, reference: &OwnerReference) -> Owner {
        let api = &reference.api_version;
        let group = api.split_once('/').map_or("", |(group, _)| group);
        // These were moved.
        let group = if group == "extensions" { "apps" } else { group };
        let same = |kind: &Kind| kind.row.group == group && kind.row.kind == reference.kind;
        let Some(place) = self.kinds.iter().position(same) else { return Owner::Foreign };
        let kind = &self.kinds[place];
        let namespace = if kind.row.namespaced() { namespace } else { "" };
        match kind.objects.get(namespace, &reference.name) {
            Some(object) if object.uid == reference.uid => {
                let key = ObjectKey::new(namespace, &reference.name);
                Owner::Known(Vertex { kind: place, key, uid: object.uid.clone() }, object)
            }
            _ => Owner::Unknown(place),
        }
    }

    /// What has to be looked at when an object changed: from, to.
    pub(super) fn concerned(
        &self,
        kind: usize,
        key: &ObjectKey,
        before: Option<&Dependent>,
        after: Option<&Dependent>,
    ) -> Vec<Vertex> {
        let mut found = Vec::new();
        let own = |object: &Dependent| Vertex { kind, key: key.clone(), uid: object.uid.clone() };
        match after {
            Some(object) if object.deleting => {
                let waits = object.has_finalizer(FOREGROUND) || object.has_finalizer(ORPHAN);
                found.extend(waits.then(|| own(object)));
            }
            Some(object) => {
                let lives = |owner: &OwnerReference| match self.owner(&key.namespace, owner) {
                    Owner::Known(_, owner) => !owner.deleting,
                    Owner::Foreign => true,
                    Owner::Unknown(_) => false,
                };
                found.extend((!object.owners.iter().all(lives)).then(|| own(object)));
            }
            None => {
                let gone = before.map(|object| self.dependents(&object.uid));
                found.extend(gone.into_iter().flatten());
            }
        }
        // An owner may wait for this one.
        for reference in before.into_iter().flat_map(|object| &object.owners) {
            if let Owner::Known(vertex, owner) = self.owner(&key.namespace, reference)
                && owner.deleting
            {
                found.push(vertex);
            }
        }
        found
    }
}
