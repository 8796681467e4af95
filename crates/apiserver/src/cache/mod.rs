//! The watch cache: every object of every kind, decoded once, fed by ONE watch of the store.
//!
//! The store numbers the changes of all keys without holes, and the pump below applies them in
//! that order; so one number, [`Cache::applied`], says how far all collections are, and it is the
//! revision of every list and bookmark.
//!
//! Collections of custom kinds come and go with their definitions, which pass through here too.
//! They hold objects in the version that each was stored in; readers convert what they need
//! ([`crate::custom`]).

mod collection;
mod selection;
mod watcher;
mod written;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;
use futures::{FutureExt, StreamExt};
use onggi_api::{Object, Status};
use onggi_machinery::resource::{self, Resource};
use onggi_store::{
    Error as StoreError, Event, EventKind, KeyValue, RangeRequest, Store, WatchStream,
};
use serde_json::Value;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::custom::{self, CustomKinds, Effect};

pub(crate) use collection::Collection;
pub(crate) use selection::Selection;
pub(crate) use watcher::{open as open_watch, shown as list_shown};
use written::{Announced, Heads};

/// Under this prefix lie the objects of the API.
pub(crate) const REGISTRY: &str = "/registry/";

/// How long a read waits for the cache to reach a revision.
const PATIENCE: Duration = Duration::from_secs(3);

/// How many changes at most are applied before they are made known.
const ROUND: usize = 256;

/// See the module.
pub(crate) struct Cache {
    store: Arc<dyn Store>,
    /// By prefix below [`REGISTRY`]: `apps/deployments`.
    collections: HashMap<String, Arc<Collection>>,
    /// Those of custom kinds, likewise.
    custom: ArcSwap<HashMap<String, Arc<Collection>>>,
    /// Those of built-in kinds by the place of their row in memory, which is asked for often.
    by_row: foldhash::HashMap<usize, Arc<Collection>>,
    kinds: Arc<CustomKinds>,
    heads: Heads,
    applied: watch::Sender<u64>,
    shutdown: CancellationToken,
}

/// `core/pods`, `apps/deployments`.
fn place(row: &Resource) -> String {
    let group = if row.group.is_empty() { "core" } else { row.group };
    format!("{group}/{}", row.plural)
}

fn address(row: &Resource) -> usize {
    std::ptr::from_ref(row).addr()
}

/// The key of an object; `namespace` is empty for cluster-scoped kinds.
pub(crate) fn key(row: &Resource, namespace: &str, name: &str) -> String {
    let group = if row.group.is_empty() { "core" } else { row.group };
    let namespaced = [REGISTRY, group, "/", row.plural, "/", namespace, "/", name];
    if row.namespaced() {
        namespaced.concat()
    } else {
        [REGISTRY, group, "/", row.plural, "/", name].concat()
    }
}

impl Cache {
    /// Reads everything, then follows the store until `shutdown`.
    pub(crate) async fn start(
        store: Arc<dyn Store>,
        kinds: Arc<CustomKinds>,
        shutdown: CancellationToken,
    ) -> Result<Arc<Self>, StoreError> {
        let new = |row: &&'static Resource| Arc::new(Collection::new(row, place(row)));
        let built_in: Vec<_> = resource::all().iter().map(new).collect();
        let by_row = built_in.iter().map(|one| (address(one.row), Arc::clone(one))).collect();
        let collections = built_in.into_iter().map(|one| (place(one.row), one)).collect();
        let cache = Arc::new(Self {
            store,
            collections,
            by_row,
            custom: ArcSwap::default(),
            kinds,
            heads: Heads::default(),
            applied: watch::Sender::new(0),
            shutdown,
        });
        let events = cache.load().await?;
        let following = Arc::clone(&cache);
        tokio::spawn(async move {
            following.follow(events).await;
            // Whoever watches finds out when woken, and waits for nothing else.
            following.shutdown.cancelled().await;
            let custom = following.custom.load();
            following.collections.values().chain(custom.values()).for_each(|all| all.wake());
        });
        Ok(cache)
    }

    /// The collection of a kind.
    pub(crate) fn of(&self, row: &Resource) -> Result<Arc<Collection>, Status> {
        let known = self.by_row.get(&address(row)).cloned();
        known.or_else(|| self.at(&place(row))).ok_or_else(Status::no_such_path)
    }

    fn at(&self, place: &str) -> Option<Arc<Collection>> {
        let built_in = self.collections.get(place).cloned();
        built_in.or_else(|| self.custom.load().get(place).cloned())
    }

    /// To be called before the bytes of an object go to the store, and held until it has answered.
    pub(crate) fn announce(&self, row: &Resource, object: &Value, bytes: &Bytes) -> Announced<'_> {
        self.heads.announce(row, object, bytes)
    }

    /// Every change up to this revision is in the collections.
    pub(crate) fn applied(&self) -> u64 {
        *self.applied.borrow()
    }

    pub(crate) fn subscribe(&self) -> watch::Receiver<u64> {
        self.applied.subscribe()
    }

    pub(crate) fn shutdown(&self) -> &CancellationToken {
        &self.shutdown
    }

    /// Waits until every write that was answered before the call is in the collections.
    pub(crate) async fn catch_up(&self) -> Result<(), Status> {
        self.wait_for(self.store.revision()).await
    }

    /// Waits until the collections have reached a revision.
    pub(crate) async fn wait_for(&self, revision: u64) -> Result<(), Status> {
        if self.applied() >= revision {
            return Ok(());
        }
        let mut applied = self.applied.subscribe();
        match tokio::time::timeout(PATIENCE, applied.wait_for(|now| *now >= revision)).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(_)) => Err(Status::unavailable("the API server is shutting down")),
            Err(_) => Err(too_large(revision, self.applied())),
        }
    }

    /// Reads everything. The watch is opened before, so that it cannot be refused for want of
    /// history; what it tells up to the revision answered is in what was read.
    async fn load(&self) -> Result<(WatchStream, u64), StoreError> {
        let events = self.store.watch("", None).await?;
        let all = self.store.range(RangeRequest::all(REGISTRY)).await?;
        self.open_custom(&all.items);
        let mut contents: HashMap<String, Vec<_>> = HashMap::new();
        for kv in &all.items {
            let Some(collection) = self.locate(&kv.key) else { continue };
            if let Some(object) = self.read(&collection, &kv.key, &kv.value, kv.mod_revision) {
                let place = collection.place().to_owned();
                contents.entry(place).or_default().push((Arc::clone(&kv.key), object));
            }
        }
        let custom = self.custom.load_full();
        for (place, collection) in self.collections.iter().chain(custom.iter()) {
            collection.replace(contents.remove(place.as_str()).unwrap_or_default(), all.revision);
        }
        self.applied.send_replace(all.revision);
        Ok((events, all.revision))
    }

    async fn follow(&self, (mut events, mut known): (WatchStream, u64)) {
        loop {
            let next = tokio::select! {
                () = self.shutdown.cancelled() => return,
                next = events.next() => next,
            };
            let mut next = Some(next);
            // What has come meanwhile goes in one round: watchers are woken once for all of it.
            let mut touched: Vec<Arc<Collection>> = Vec::new();
            let mut reached = None;
            let mut count = 0;
            let failed = loop {
                count += 1;
                if count > ROUND {
                    break None;
                }
                match next.take().or_else(|| events.next().now_or_never()) {
                    Some(Some(Ok(event))) if event.revision <= known => {}
                    Some(Some(Ok(event))) => {
                        reached = Some(event.revision);
                        if let Some(collection) = self.apply(event).await
                            && !touched.iter().any(|known| Arc::ptr_eq(known, &collection))
                        {
                            touched.push(collection);
                        }
                    }
                    Some(Some(Err(error))) => break Some(error),
                    Some(None) => break Some(StoreError::Closed),
                    None => break None,
                }
            };
            if let Some(revision) = reached {
                self.applied.send_replace(revision);
            }
            touched.iter().for_each(|collection| collection.wake());
            match failed {
                None => {}
                Some(StoreError::Closed) => return,
                Some(error) => {
                    tracing::warn!(%error, "the watch cache begins anew");
                    match self.load().await {
                        Ok(loaded) => (events, known) = loaded,
                        Err(StoreError::Closed) => return,
                        Err(error) => {
                            tracing::error!(%error, "the watch cache cannot be filled");
                            return self.shutdown.cancel();
                        }
                    }
                }
            }
        }
    }

    async fn apply(&self, event: Arc<Event>) -> Option<Arc<Collection>> {
        let collection = self.locate(&event.key)?;
        let bytes = match event.kind {
            EventKind::Put => &event.value,
            EventKind::Delete => &event.previous.as_ref()?.value,
        };
        let object = self.read(&collection, &event.key, bytes, event.revision)?;
        if custom::is_definition(collection.row) {
            let effect = match (event.kind, object.value()) {
                (EventKind::Put, Ok(definition)) => self.kinds.put(&definition),
                _ => self.kinds.remove(&object.head().name),
            };
            self.change_custom(effect, event.revision).await;
        }
        collection.apply(event, object);
        Some(collection)
    }

    /// A stored object as it is kept.
    fn read(
        &self,
        collection: &Collection,
        key: &str,
        bytes: &Bytes,
        revision: u64,
    ) -> Option<Arc<Object>> {
        let object = if collection.row.custom.is_some() {
            self.kinds.read(collection.row, bytes, revision)
        } else if let Some(head) = self.heads.take(bytes) {
            Object::from_written(bytes, revision, head)
        } else {
            Object::from_stored(bytes, revision, collection.row.fields)
        };
        match object {
            Ok(object) => Some(Arc::new(object)),
            Err(error) => {
                tracing::error!(%key, %error, "cannot read a stored object");
                None
            }
        }
    }

    fn locate(&self, key: &str) -> Option<Arc<Collection>> {
        let rest = key.strip_prefix(REGISTRY)?;
        let second = rest.find('/')? + 1;
        let end = second + rest[second..].find('/')?;
        self.at(&rest[..end])
    }

    /// Learns of the definitions that are stored, and makes room for their objects.
    fn open_custom(&self, items: &[KeyValue]) {
        let of_definitions = |kv: &&KeyValue| {
            self.locate(&kv.key).is_some_and(|found| custom::is_definition(found.row))
        };
        let definitions: Vec<_> = items
            .iter()
            .filter(of_definitions)
            .filter_map(|kv| Object::from_stored(&kv.value, kv.mod_revision, &[]).ok())
            .filter_map(|object| object.value().ok())
            .collect();
        let known = self.custom.load_full();
        let mut open = HashMap::new();
        for row in self.kinds.replace(&definitions) {
            let place = place(row);
            let kept = known.get(&place).filter(|old| std::ptr::eq(old.row, row)).cloned();
            let new = || Arc::new(Collection::new(row, place.clone()));
            open.insert(place.clone(), kept.unwrap_or_else(new));
        }
        known.values().filter(|old| !open.contains_key(old.place())).for_each(|old| old.close());
        self.custom.store(Arc::new(open));
    }

    /// Follows a change of a definition, made at that revision.
    async fn change_custom(&self, effect: Effect, revision: u64) {
        let mut custom = HashMap::clone(&self.custom.load());
        match effect {
            Effect::None => return,
            Effect::Close(row) => {
                if let Some(gone) = custom.remove(&place(row)) {
                    gone.close();
                }
            }
            Effect::Read(row) => {
                let place = place(row);
                let old = custom.remove(&place);
                let collection = match old {
                    Some(old) if std::ptr::eq(old.row, row) => old,
                    old => {
                        old.iter().for_each(|old| old.close());
                        Arc::new(Collection::new(row, place.clone()))
                    }
                };
                match self.contents(&collection, revision).await {
                    Ok((objects, read)) => collection.refill(objects, read),
                    Err(error) => tracing::error!(%place, %error, "cannot read custom objects"),
                }
                custom.insert(place, collection);
            }
        }
        self.custom.store(Arc::new(custom));
    }

    /// The objects of a collection as they were at a revision, or are now where that is too long
    /// ago.
    async fn contents(
        &self,
        collection: &Collection,
        revision: u64,
    ) -> Result<(Vec<(Arc<str>, Arc<Object>)>, u64), StoreError> {
        let mut request = RangeRequest::all(collection.prefix(""));
        request.revision = Some(revision);
        let (range, revision) = match self.store.range(request).await {
            Err(StoreError::Compacted { .. }) => {
                let range = self.store.range(RangeRequest::all(collection.prefix(""))).await?;
                let revision = range.revision;
                (range, revision)
            }
            range => (range?, revision),
        };
        let objects = range.items.iter().filter_map(|kv| {
            let object = self.read(collection, &kv.key, &kv.value, kv.mod_revision)?;
            Some((Arc::clone(&kv.key), object))
        });
        Ok((objects.collect(), revision))
    }
}

/// 504 of a revision that is not there yet.
pub(crate) fn too_large(asked: u64, current: u64) -> Status {
    use onggi_api::status::{Cause, Details};
    let text = format!("Too large resource version: {asked}, current: {current}");
    let mut status = Status::timeout(&text);
    status.details = Some(Details {
        causes: vec![Cause {
            reason: "ResourceVersionTooLarge".into(),
            message: "Too large resource version".into(),
            ..Cause::default()
        }],
        retry_after_seconds: 1,
        ..Details::default()
    });
    status
}

/// 410 of a watch that cannot go on from where it wants.
fn too_old(asked: u64, oldest: u64) -> Status {
    Status::expired(format!("too old resource version: {asked} ({oldest})"))
}
