//! The cache: a collection by namespace and name, its indexes and subscribers.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Weak};

use onggi_api::Head;
use parking_lot::RwLock;
use tokio::sync::watch;

use super::subscribe::{Mailbox, Subscription};
use crate::ObjectKey;

/// What an informer knows. A cheap handle; lists are in the order of namespace and name.
///
/// Reads see the collection as it was a moment ago. Who has written and must see its own write
/// waits for its resource version with [`Cache::caught_up`].
pub struct Cache<T> {
    shared: Arc<Shared<T>>,
}

/// A secondary index of a [`Cache`].
pub struct Index<T> {
    shared: Arc<Shared<T>>,
    place: usize,
}

/// The informer was shut down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the informer was shut down")]
pub struct Stopped;

struct Shared<T> {
    state: RwLock<State<T>>,
    progress: watch::Sender<Progress>,
}

struct State<T> {
    objects: BTreeMap<String, BTreeMap<String, Entry<T>>>,
    count: usize,
    indexes: Vec<IndexState<T>>,
    subscribers: Vec<Weak<Mailbox<T>>>,
    stopped: bool,
}

struct Entry<T> {
    value: Arc<T>,
    uid: Arc<str>,
    resource_version: u64,
}

type KeysOf<T> = Box<dyn Fn(&T) -> Vec<String> + Send + Sync>;

struct IndexState<T> {
    name: &'static str,
    keys_of: KeysOf<T>,
    found: HashMap<String, BTreeMap<ObjectKey, Arc<T>>>,
}

/// How far the informer has come.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Progress {
    pub(super) synced: bool,
    pub(super) stopped: bool,
    pub(super) revision: u64,
}

impl<T> Clone for Cache<T> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }
}

impl<T> Clone for Index<T> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared), place: self.place }
    }
}

// === impl Cache: reading ===

impl<T: Send + Sync + 'static> Cache<T> {
    /// The object of a name; the namespace is empty for cluster-scoped kinds.
    pub fn get(&self, namespace: &str, name: &str) -> Option<Arc<T>> {
        let state = self.shared.state.read();
        state.entry(namespace, name).map(|entry| Arc::clone(&entry.value))
    }

    /// The object of a key.
    pub fn get_key(&self, key: &ObjectKey) -> Option<Arc<T>> {
        self.get(&key.namespace, &key.name)
    }

    /// The resource version of a cached object.
    pub fn resource_version(&self, namespace: &str, name: &str) -> Option<u64> {
        self.shared.state.read().entry(namespace, name).map(|entry| entry.resource_version)
    }

    /// Everything.
    pub fn list(&self) -> Vec<Arc<T>> {
        let state = self.shared.state.read();
        let all = state.objects.values().flat_map(BTreeMap::values);
        all.map(|entry| Arc::clone(&entry.value)).collect()
    }

    /// Everything in a namespace.
    pub fn list_in(&self, namespace: &str) -> Vec<Arc<T>> {
        let state = self.shared.state.read();
        let all = state.objects.get(namespace).into_iter().flat_map(BTreeMap::values);
        all.map(|entry| Arc::clone(&entry.value)).collect()
    }

    /// The key of everything.
    pub fn keys(&self) -> Vec<ObjectKey> {
        self.shared.state.read().keys()
    }

    /// How many objects.
    pub fn len(&self) -> usize {
        self.shared.state.read().count
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether the present state has been read once.
    pub fn is_synced(&self) -> bool {
        self.shared.progress.borrow().synced
    }

    /// The revision up to which every event has been taken in.
    pub fn revision(&self) -> u64 {
        self.shared.progress.borrow().revision
    }

    /// Waits until the present state has been read once.
    pub async fn synced(&self) -> Result<(), Stopped> {
        self.wait(|progress| progress.synced).await
    }

    /// Waits until an own write to this collection, answered with `revision`, is in the cache, so
    /// that a controller never acts twice on the same cause. What the informer's selectors leave
    /// out does not reach it, so wait only for objects that they select.
    pub async fn caught_up(&self, revision: u64) -> Result<(), Stopped> {
        self.wait(|progress| progress.synced && progress.revision >= revision).await
    }

    async fn wait(&self, reached: impl Fn(&Progress) -> bool) -> Result<(), Stopped> {
        let mut progress = self.shared.progress.subscribe();
        let seen = progress.wait_for(|now| now.stopped || reached(now)).await;
        seen.is_ok_and(|now| reached(&now)).then_some(()).ok_or(Stopped)
    }

    /// A secondary index under keys that the function reads off an object. Asked for again by the
    /// same name it is the one that is there.
    pub fn index(
        &self,
        name: &'static str,
        keys_of: impl Fn(&T) -> Vec<String> + Send + Sync + 'static,
    ) -> Index<T> {
        let mut state = self.shared.state.write();
        let place = state.indexes.iter().position(|index| index.name == name);
        let place = place.unwrap_or_else(|| {
            let keys_of = Box::new(keys_of);
            let mut index = IndexState { name, keys_of, found: HashMap::new() };
            for (namespace, objects) in &state.objects {
                for (name, entry) in objects {
                    index.insert(&ObjectKey::new(namespace, name), &entry.value);
                }
            }
            state.indexes.push(index);
            state.indexes.len() - 1
        });
        Index { shared: Arc::clone(&self.shared), place }
    }

    /// Changes from now on, beginning with everything present as added. No gap between the two.
    pub fn subscribe(&self) -> Subscription<T> {
        self.subscribe_to(Mailbox::new(false))
    }

    /// The same for who counts: the end of an object that came and went before the subscriber
    /// looked is told as well, as the deletion of its last state. Until it is taken, such an end
    /// holds a place.
    pub fn subscribe_to_all_ends(&self) -> Subscription<T> {
        self.subscribe_to(Mailbox::new(true))
    }

    fn subscribe_to(&self, mailbox: Mailbox<T>) -> Subscription<T> {
        let mailbox = Arc::new(mailbox);
        let mut state = self.shared.state.write();
        for (namespace, objects) in &state.objects {
            for (name, entry) in objects {
                let key = ObjectKey::new(namespace, name);
                mailbox.post(&key, &entry.uid, None, Some(&entry.value));
            }
        }
        if state.stopped {
            mailbox.close();
        } else {
            state.subscribers.push(Arc::downgrade(&mailbox));
        }
        drop(state);
        Subscription::new(mailbox)
    }
}

// === impl Cache: the informer's side ===

impl<T: Send + Sync + 'static> Cache<T> {
    pub(super) fn new() -> Self {
        let state = State {
            objects: BTreeMap::new(),
            count: 0,
            indexes: Vec::new(),
            subscribers: Vec::new(),
            stopped: false,
        };
        let progress = watch::Sender::new(Progress::default());
        Self { shared: Arc::new(Shared { state: RwLock::new(state), progress }) }
    }

    /// Whether this very state of an object is cached.
    pub(super) fn holds(&self, head: &Head) -> bool {
        let state = self.shared.state.read();
        state.entry(&head.namespace, &head.name).is_some_and(|entry| {
            entry.resource_version == head.resource_version && *entry.uid == *head.uid
        })
    }

    pub(super) fn upsert(&self, head: &Head, value: T) {
        self.shared.state.write().upsert(head, Arc::new(value));
    }

    pub(super) fn remove(&self, key: &ObjectKey) {
        self.shared.state.write().remove(key);
    }

    /// Removes what is not among the keys: it was deleted while nobody watched.
    pub(super) fn retain(&self, keys: &HashSet<ObjectKey>) {
        let mut state = self.shared.state.write();
        for key in state.keys() {
            if !keys.contains(&key) {
                state.remove(&key);
            }
        }
    }

    pub(super) fn advance(&self, change: impl FnOnce(&mut Progress)) {
        self.shared.progress.send_modify(change);
    }

    pub(super) fn progress(&self) -> watch::Receiver<Progress> {
        self.shared.progress.subscribe()
    }

    pub(super) fn stop(&self) {
        let mut state = self.shared.state.write();
        state.stopped = true;
        for mailbox in state.subscribers.drain(..).filter_map(|weak| weak.upgrade()) {
            mailbox.close();
        }
        drop(state);
        self.advance(|progress| progress.stopped = true);
    }
}

// === impl Index ===

impl<T> Index<T> {
    /// The objects under a key.
    pub fn get(&self, key: &str) -> Vec<Arc<T>> {
        let state = self.shared.state.read();
        let found = state.indexes.get(self.place).and_then(|index| index.found.get(key));
        found.into_iter().flat_map(BTreeMap::values).cloned().collect()
    }

    /// The names of the objects under a key.
    pub fn keys(&self, key: &str) -> Vec<ObjectKey> {
        let state = self.shared.state.read();
        let found = state.indexes.get(self.place).and_then(|index| index.found.get(key));
        found.into_iter().flat_map(BTreeMap::keys).cloned().collect()
    }

    /// How many objects are under a key.
    pub fn count(&self, key: &str) -> usize {
        let state = self.shared.state.read();
        let index = state.indexes.get(self.place);
        index.and_then(|index| index.found.get(key)).map_or(0, BTreeMap::len)
    }
}

// === impl State ===

impl<T> State<T> {
    fn entry(&self, namespace: &str, name: &str) -> Option<&Entry<T>> {
        self.objects.get(namespace)?.get(name)
    }

    fn keys(&self) -> Vec<ObjectKey> {
        let mut keys = Vec::with_capacity(self.count);
        for (namespace, objects) in &self.objects {
            keys.extend(objects.keys().map(|name| ObjectKey::new(namespace, name)));
        }
        keys
    }

    fn upsert(&mut self, head: &Head, value: Arc<T>) {
        let key = ObjectKey::of(head);
        if self.entry(&key.namespace, &key.name).is_some_and(|entry| *entry.uid != *head.uid) {
            // Another object of the same name: never shown as an update.
            self.remove(&key);
        }
        let objects = self.objects.entry(key.namespace.clone()).or_default();
        let resource_version = head.resource_version;
        let (uid, old) = match objects.get_mut(&key.name) {
            Some(entry) => {
                entry.resource_version = resource_version;
                let old = std::mem::replace(&mut entry.value, Arc::clone(&value));
                (Arc::clone(&entry.uid), Some(old))
            }
            None => {
                let uid: Arc<str> = head.uid.as_str().into();
                let entry =
                    Entry { value: Arc::clone(&value), uid: Arc::clone(&uid), resource_version };
                objects.insert(key.name.clone(), entry);
                self.count += 1;
                (uid, None)
            }
        };
        self.publish(&key, &uid, old.as_ref(), Some(&value));
    }

    fn remove(&mut self, key: &ObjectKey) {
        let Some(objects) = self.objects.get_mut(&key.namespace) else { return };
        let Some(entry) = objects.remove(&key.name) else { return };
        if objects.is_empty() {
            self.objects.remove(&key.namespace);
        }
        self.count -= 1;
        self.publish(key, &entry.uid, Some(&entry.value), None);
    }

    fn publish(
        &mut self,
        key: &ObjectKey,
        uid: &Arc<str>,
        old: Option<&Arc<T>>,
        new: Option<&Arc<T>>,
    ) {
        for index in &mut self.indexes {
            if let Some(old) = old {
                index.remove(key, old);
            }
            if let Some(new) = new {
                index.insert(key, new);
            }
        }
        self.subscribers.retain(|weak| match weak.upgrade() {
            Some(mailbox) => {
                mailbox.post(key, uid, old, new);
                true
            }
            None => false,
        });
    }
}

// === impl IndexState ===

impl<T> IndexState<T> {
    fn insert(&mut self, key: &ObjectKey, value: &Arc<T>) {
        for found in (self.keys_of)(value) {
            self.found.entry(found).or_default().insert(key.clone(), Arc::clone(value));
        }
    }

    fn remove(&mut self, key: &ObjectKey, value: &Arc<T>) {
        for found in (self.keys_of)(value) {
            if let Some(objects) = self.found.get_mut(&found) {
                objects.remove(key);
                if objects.is_empty() {
                    self.found.remove(&found);
                }
            }
        }
    }
}
