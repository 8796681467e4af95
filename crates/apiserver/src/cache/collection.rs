//! The objects of one kind and its latest changes.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use onggi_api::{Object, Status};
use onggi_machinery::resource::Resource;
use onggi_store::{Event, EventKind};
use parking_lot::RwLock;
use tokio::sync::watch;

use super::{REGISTRY, Selection, too_old};

/// How many changes of a kind are kept for watchers to catch up: at least these, and as many as
/// there are objects, so that one round over all of them does not send everybody back to a list.
const MIN_CHANGES: usize = 1024;
/// How many bytes of objects these may hold.
const MAX_BYTES: usize = 16 << 20;

/// One kind.
pub(crate) struct Collection {
    pub(crate) row: &'static Resource,
    place: String,
    prefix: String,
    state: RwLock<State>,
    changed: watch::Sender<u64>,
    /// The kind is no longer served.
    closed: AtomicBool,
}

#[derive(Default)]
struct State {
    objects: BTreeMap<Arc<str>, Arc<Object>>,
    changes: VecDeque<Arc<Change>>,
    bytes: usize,
    /// Every change after this revision is in `changes`.
    oldest: u64,
    /// The last change of this kind.
    revision: u64,
}

/// A change, shared by all watchers.
pub(crate) struct Change {
    event: Arc<Event>,
    /// After the change; the last state, with the revision of the deletion, when it is gone.
    pub(crate) object: Arc<Object>,
    pub(crate) previous: Option<Arc<Object>>,
    left: OnceLock<Option<Arc<Object>>>,
}

/// What a list answers.
pub(crate) struct Snapshot {
    pub(crate) revision: u64,
    pub(crate) items: Vec<Arc<Object>>,
    /// How many were left out because of the limit; what is left may not be selected.
    pub(crate) remaining: u64,
    /// The key of the last item.
    pub(crate) last_key: Option<Arc<str>>,
}

// === impl Change ===

impl Change {
    pub(crate) fn revision(&self) -> u64 {
        self.event.revision
    }

    pub(crate) fn deleted(&self) -> bool {
        self.event.kind == EventKind::Delete
    }

    /// The object as it was, with the revision of this change: what a watcher is told whose
    /// selection the object has left.
    pub(crate) fn left(&self, fields: &[&str]) -> Option<Arc<Object>> {
        self.left
            .get_or_init(|| {
                let previous = self.event.previous.as_ref()?;
                Object::from_stored(&previous.value, self.event.revision, fields).ok().map(Arc::new)
            })
            .clone()
    }

    fn size(&self) -> usize {
        self.object.size() + 256
    }
}

// === impl Collection ===

impl Collection {
    pub(super) fn new(row: &'static Resource, place: String) -> Self {
        Self {
            row,
            prefix: format!("{REGISTRY}{place}/"),
            place,
            state: RwLock::default(),
            changed: watch::Sender::new(0),
            closed: AtomicBool::new(false),
        }
    }

    pub(super) fn place(&self) -> &str {
        &self.place
    }

    /// Woken after each round of changes.
    pub(crate) fn subscribe(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    pub(super) fn wake(&self) {
        let revision = self.state.read().revision;
        self.changed.send_replace(revision);
    }

    pub(super) fn replace(&self, objects: Vec<(Arc<str>, Arc<Object>)>, revision: u64) {
        *self.state.write() = State {
            objects: objects.into_iter().collect(),
            oldest: revision,
            revision,
            ..State::default()
        };
        self.changed.send_replace(revision);
    }

    /// Puts objects in the place of those that were there, which were the same ones read otherwise:
    /// watchers go on.
    pub(super) fn refill(&self, objects: Vec<(Arc<str>, Arc<Object>)>, revision: u64) {
        let mut state = self.state.write();
        if state.changes.is_empty() && state.oldest == 0 {
            state.oldest = revision;
        }
        state.objects = objects.into_iter().collect();
        state.revision = state.revision.max(revision);
    }

    /// Ends its watches.
    pub(super) fn close(&self) {
        self.closed.store(true, Ordering::Release);
        self.wake();
    }

    pub(super) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    pub(super) fn apply(&self, event: Arc<Event>, object: Arc<Object>) {
        let mut state = self.state.write();
        if event.revision <= state.revision {
            return;
        }
        let key = Arc::clone(&event.key);
        let previous = match event.kind {
            EventKind::Put => state.objects.insert(key, Arc::clone(&object)),
            EventKind::Delete => state.objects.remove(&key),
        };
        state.revision = event.revision;
        let change = Arc::new(Change { event, object, previous, left: OnceLock::new() });
        state.bytes += change.size();
        state.changes.push_back(change);
        let most = state.objects.len().max(MIN_CHANGES);
        while state.changes.len() > most || state.bytes > MAX_BYTES {
            let Some(gone) = state.changes.pop_front() else { break };
            state.bytes -= gone.size();
            state.oldest = gone.revision();
        }
    }

    /// Whether there is no object.
    pub(crate) fn is_empty(&self) -> bool {
        self.state.read().objects.is_empty()
    }

    /// The last change.
    pub(crate) fn revision(&self) -> u64 {
        self.state.read().revision
    }

    /// How many objects there are.
    pub(crate) fn len(&self) -> usize {
        self.state.read().objects.len()
    }

    /// The object of a key, as far as the cache has come.
    pub(crate) fn get(&self, key: &str) -> Option<Arc<Object>> {
        self.state.read().objects.get(key).cloned()
    }

    /// The prefix of what may be selected.
    pub(crate) fn prefix(&self, namespace: &str) -> String {
        if namespace.is_empty() {
            self.prefix.clone()
        } else {
            format!("{}{namespace}/", self.prefix)
        }
    }

    /// Up to `limit` selected objects (0: all). `applied` was read before the call.
    pub(crate) fn list(&self, selection: &Selection, applied: u64, limit: usize) -> Snapshot {
        let prefix = self.prefix(&selection.namespace);
        let state = self.state.read();
        // Changes come in order over all kinds: what was applied before is in, and what is in has
        // nothing missing before it.
        let revision = applied.max(state.revision);
        let mut snapshot = Snapshot { revision, items: Vec::new(), remaining: 0, last_key: None };
        let one_place = !self.row.namespaced() || !selection.namespace.is_empty();
        if let Some(name) = selection.name().filter(|_| one_place) {
            let found = state.objects.get(format!("{prefix}{name}").as_str());
            snapshot.items.extend(found.filter(|o| selection.matches(o.head())).cloned());
            return snapshot;
        }
        let from = (Bound::Included(prefix.as_str()), Bound::Unbounded);
        let mut range = state.objects.range::<str, _>(from);
        for (key, object) in range.by_ref().take_while(|(key, _)| key.starts_with(&prefix)) {
            if !selection.matches(object.head()) {
                continue;
            }
            if limit > 0 && snapshot.items.len() == limit {
                snapshot.remaining = 1;
                break;
            }
            snapshot.items.push(Arc::clone(object));
            snapshot.last_key = Some(Arc::clone(key));
        }
        if snapshot.remaining > 0 {
            let rest = range.take_while(|(key, _)| key.starts_with(&prefix));
            snapshot.remaining += rest.count() as u64;
        }
        snapshot
    }

    /// The next changes after a revision; 410 when some of them are gone.
    pub(crate) fn changes_after(&self, revision: u64) -> Result<Vec<Arc<Change>>, Status> {
        const ROUND: usize = 256;
        let state = self.state.read();
        if revision < state.oldest {
            return Err(too_old(revision, state.oldest));
        }
        let from = state.changes.partition_point(|change| change.revision() <= revision);
        Ok(state.changes.iter().skip(from).take(ROUND).cloned().collect())
    }
}
