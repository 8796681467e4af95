//! Subscriptions: what changed in a cache, coalesced for each subscriber.
//!
//! A mailbox holds at most one change an object, from what the subscriber saw last to what is now.
//! So it is bounded by the size of the collection, a slow subscriber never holds up the informer,
//! and it never misses a state, only the steps between.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use futures::Stream;
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::ObjectKey;

/// What happened to an object since the subscriber was last told of it.
#[derive(Debug)]
pub enum Change<T> {
    /// It is new, or was there when the subscription began.
    Added {
        /// Which.
        key: ObjectKey,
        /// As it is.
        new: Arc<T>,
    },
    /// It changed; the uid is the same.
    Updated {
        /// Which.
        key: ObjectKey,
        /// As the subscriber last saw it.
        old: Arc<T>,
        /// As it is.
        new: Arc<T>,
    },
    /// It is gone, or left the selection. A successor of the same name comes as `Added` after it.
    Deleted {
        /// Which.
        key: ObjectKey,
        /// As the subscriber last saw it.
        old: Arc<T>,
    },
}

/// Changes of one cache for one subscriber. Begins with everything present as [`Change::Added`].
pub struct Subscription<T> {
    mailbox: Arc<Mailbox<T>>,
}

pub(super) struct Mailbox<T> {
    pending: Mutex<Pending<T>>,
    wake: Notify,
}

struct Pending<T> {
    changes: BTreeMap<u64, Step<T>>,
    places: HashMap<(ObjectKey, Arc<str>), u64>,
    next_place: u64,
    /// Whether the end of what came and went unseen is told too.
    all_ends: bool,
    closed: bool,
}

/// From what to what; both absent is never stored.
struct Step<T> {
    key: ObjectKey,
    uid: Arc<str>,
    old: Option<Arc<T>>,
    new: Option<Arc<T>>,
}

// === impl Change ===

impl<T> Change<T> {
    /// Which object.
    pub fn key(&self) -> &ObjectKey {
        match self {
            Self::Added { key, .. } | Self::Updated { key, .. } | Self::Deleted { key, .. } => key,
        }
    }

    /// As the subscriber last saw it.
    pub fn before(&self) -> Option<&Arc<T>> {
        match self {
            Self::Added { .. } => None,
            Self::Updated { old, .. } | Self::Deleted { old, .. } => Some(old),
        }
    }

    /// As it is now.
    pub fn after(&self) -> Option<&Arc<T>> {
        match self {
            Self::Added { new, .. } | Self::Updated { new, .. } => Some(new),
            Self::Deleted { .. } => None,
        }
    }

    /// The present state, or the last one of what is gone.
    pub fn latest(&self) -> &Arc<T> {
        match self {
            Self::Added { new, .. } | Self::Updated { new, .. } => new,
            Self::Deleted { old, .. } => old,
        }
    }
}

// === impl Subscription ===

impl<T: Send + Sync + 'static> Subscription<T> {
    pub(super) fn new(mailbox: Arc<Mailbox<T>>) -> Self {
        Self { mailbox }
    }

    /// The next change; `None` when the informer has stopped. Nothing is lost when the future is
    /// dropped, so it may stand in a `select!`.
    pub async fn recv(&mut self) -> Option<Change<T>> {
        loop {
            {
                let mut pending = self.mailbox.pending.lock();
                if let Some(change) = pending.pop() {
                    return Some(change);
                }
                if pending.closed {
                    return None;
                }
            }
            self.mailbox.wake.notified().await;
        }
    }

    /// The next change, if one waits.
    pub fn try_recv(&mut self) -> Option<Change<T>> {
        self.mailbox.pending.lock().pop()
    }

    /// As a stream.
    pub fn into_stream(self) -> impl Stream<Item = Change<T>> + Send {
        futures::stream::unfold(self, |mut subscription| async {
            subscription.recv().await.map(|change| (change, subscription))
        })
    }
}

// === impl Mailbox ===

impl<T> Mailbox<T> {
    pub(super) fn new(all_ends: bool) -> Self {
        let pending = Pending {
            changes: BTreeMap::new(),
            places: HashMap::new(),
            next_place: 0,
            all_ends,
            closed: false,
        };
        Self { pending: Mutex::new(pending), wake: Notify::new() }
    }

    pub(super) fn post(
        &self,
        key: &ObjectKey,
        uid: &Arc<str>,
        old: Option<&Arc<T>>,
        new: Option<&Arc<T>>,
    ) {
        self.pending.lock().add(key, uid, old, new);
        self.wake.notify_one();
    }

    pub(super) fn close(&self) {
        self.pending.lock().closed = true;
        self.wake.notify_one();
    }
}

// === impl Pending ===

impl<T> Pending<T> {
    fn add(&mut self, key: &ObjectKey, uid: &Arc<str>, old: Option<&Arc<T>>, new: Option<&Arc<T>>) {
        let id = (key.clone(), Arc::clone(uid));
        if let Some(&place) = self.places.get(&id) {
            let Some(step) = self.changes.get_mut(&place) else { return };
            let before = std::mem::replace(&mut step.new, new.cloned());
            if self.all_ends && step.old.is_none() && step.new.is_none() {
                step.old = before;
            }
            if step.old.is_none() && step.new.is_none() {
                // Came and went unseen.
                self.changes.remove(&place);
                self.places.remove(&id);
            }
            return;
        }
        let place = self.next_place;
        self.next_place += 1;
        let step =
            Step { key: key.clone(), uid: Arc::clone(uid), old: old.cloned(), new: new.cloned() };
        self.changes.insert(place, step);
        self.places.insert(id, place);
    }

    fn pop(&mut self) -> Option<Change<T>> {
        while let Some((_, Step { key, uid, old, new })) = self.changes.pop_first() {
            let id = (key, uid);
            self.places.remove(&id);
            let key = id.0;
            match (old, new) {
                (None, Some(new)) => return Some(Change::Added { key, new }),
                (Some(old), Some(new)) => return Some(Change::Updated { key, old, new }),
                (Some(old), None) => return Some(Change::Deleted { key, old }),
                (None, None) => {}
            }
        }
        None
    }
}
