//! The graph of owners: the metadata of every object, by uid of its owners.

use std::sync::Arc;

use onggi_api::OwnerReference;
use onggi_client::{Cache, Index, ObjectKey, Source};
use onggi_machinery::resource::{self, Resource, Verb};
use parking_lot::RwLock;

use crate::context::Context;
use crate::kinds::Kind;
use crate::view::Dependent;

pub(super) const FOREGROUND: &str = "foregroundDeletion";
pub(super) const ORPHAN: &str = "orphan";

/// Names an object of any kind, and which one of that name.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Vertex {
    /// Its place in the [`Graph`].
    pub(super) kind: usize,
    pub(super) key: ObjectKey,
    pub(super) uid: String,
}

impl Dependent {
    /// Whether it is being deleted and waits for what it owns.
    pub(super) fn waits(&self) -> bool {
        self.deleting && self.has_finalizer(FOREGROUND)
    }
}

/// The objects of a kind.
#[derive(Clone)]
struct Followed {
    kind: Arc<Kind>,
    objects: Cache<Dependent>,
    by_owner: Index<Dependent>,
    gone: bool,
}

impl Followed {
    fn new(context: &Context, kind: Kind) -> Self {
        let objects: Cache<Dependent> = context.cache(Source::all(kind.resource.clone()));
        let by_owner = objects
            .index("owner", |object| object.owners.iter().map(|owner| owner.uid.clone()).collect());
        Self { kind: Arc::new(kind), objects, by_owner, gone: false }
    }
}

/// A cheap handle. Kinds are only added, so that places stay; one that is gone has an empty cache.
#[derive(Clone)]
pub(super) struct Graph {
    kinds: Arc<RwLock<Vec<Followed>>>,
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
        let all = resource::all().iter().filter(deletable);
        let all = all.map(|row| Followed::new(context, Kind::of(row)));
        Self { kinds: Arc::new(RwLock::new(all.collect())) }
    }

    /// The caches of all kinds, by place.
    pub(super) fn caches(&self) -> Vec<Cache<Dependent>> {
        self.kinds.read().iter().map(|kind| kind.objects.clone()).collect()
    }

    /// One more kind; gives its place and its cache.
    pub(super) fn add(&self, context: &Context, kind: Kind) -> (usize, Cache<Dependent>) {
        let followed = Followed::new(context, kind);
        let objects = followed.objects.clone();
        let mut kinds = self.kinds.write();
        kinds.push(followed);
        (kinds.len() - 1, objects)
    }

    /// A kind is no longer served: what names it as its owner is let be. Says whether its resource
    /// is served in another way.
    pub(super) fn remove(&self, kind: &Kind) -> bool {
        let mut kinds = self.kinds.write();
        kinds.iter_mut().filter(|one| *one.kind == *kind).for_each(|one| one.gone = true);
        kinds.iter().any(|one| !one.gone && one.kind.resource == kind.resource)
    }

    /// The kind at a place.
    pub(super) fn kind(&self, place: usize) -> Option<Arc<Kind>> {
        self.kinds.read().get(place).map(|followed| Arc::clone(&followed.kind))
    }

    /// The kinds that can be listed, each with its place.
    pub(super) fn listable(&self) -> Vec<(usize, Arc<Kind>)> {
        let kinds = self.kinds.read();
        let all = kinds.iter().enumerate().filter(|(_, one)| !one.gone && one.kind.can("list"));
        all.map(|(place, one)| (place, Arc::clone(&one.kind))).collect()
    }

    pub(super) fn get(&self, vertex: &Vertex) -> Option<Arc<Dependent>> {
        let kinds = self.kinds.read();
        let object =
            kinds.get(vertex.kind).filter(|kind| !kind.gone)?.objects.get_key(&vertex.key)?;
        (object.uid == vertex.uid).then_some(object)
    }

    /// Those that name the uid among their owners.
    pub(super) fn dependents(&self, uid: &str) -> Vec<Vertex> {
        let mut found = Vec::new();
        for (place, kind) in self.kinds.read().iter().enumerate().filter(|(_, k)| !k.gone) {
            for key in kind.by_owner.keys(uid) {
                if let Some(object) = kind.objects.get_key(&key) {
                    found.push(Vertex { kind: place, key, uid: object.uid.clone() });
                }
            }
        }
        found
    }

    /// Those whose owner would be of this kind and is not there: it may have gone before the kind was
    /// followed. Goes through all objects.
    pub(super) fn bereft(&self, place: usize) -> Vec<Vertex> {
        // A copy: looking for an owner takes the lock again.
        let kinds = self.kinds.read().clone();
        let mut found = Vec::new();
        for (at, kind) in kinds.iter().enumerate().filter(|(_, kind)| !kind.gone) {
            for key in kind.objects.keys() {
                let Some(object) = kind.objects.get_key(&key) else { continue };
                let lacks = |owner: &OwnerReference| matches!(self.owner(&key.namespace, owner), Owner::Unknown(of) if of == place);
                if object.owners.iter().any(lacks) {
                    found.push(Vertex { kind: at, key, uid: object.uid.clone() });
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
        let same = |one: &Followed| {
            !one.gone && one.kind.group == group && one.kind.name == reference.kind
        };
        let kinds = self.kinds.read();
        let Some((place, kind)) = kinds.iter().enumerate().find(|(_, kind)| same(kind)) else {
            return Owner::Foreign;
        };
        let namespace = if kind.kind.namespaced { namespace } else { "" };
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
