//! What goes into a store and comes out of it.

use std::sync::Arc;

use bytes::Bytes;

/// The value of a key and when it was written. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyValue {
    /// For API objects `/registry/<group>/<resource>[/<namespace>]/<name>`.
    pub key: Arc<str>,
    /// Opaque to the store.
    pub value: Bytes,
    /// The revision at which the key came to be (anew, if it was deleted before).
    pub create_revision: u64,
    /// The revision of the last change.
    pub mod_revision: u64,
}

/// What a key must be like for a [`Txn`] to happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expect {
    /// Whatever it is like.
    Any,
    /// The key does not exist.
    Absent,
    /// The key exists and was last changed at this revision.
    Revision(u64),
}

/// The change of a [`Txn`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Op {
    /// Set the value.
    Put(Bytes),
    /// Remove the key.
    Delete,
}

/// A conditional change of one key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Txn {
    /// 1 to [`Txn::MAX_KEY`] bytes.
    pub key: String,
    /// The condition.
    pub expect: Expect,
    /// The change.
    pub op: Op,
}

impl Txn {
    /// The longest key, in bytes.
    pub const MAX_KEY: usize = 4096;
    /// The largest value, in bytes. A guard of the store itself; the API server has lower limits.
    pub const MAX_VALUE: usize = 16 << 20;

    /// Sets `key` to `value` if it is as `expect` says.
    pub fn put(key: impl Into<String>, expect: Expect, value: impl Into<Bytes>) -> Self {
        Self { key: key.into(), expect, op: Op::Put(value.into()) }
    }

    /// Removes `key` if it is as `expect` says.
    pub fn delete(key: impl Into<String>, expect: Expect) -> Self {
        Self { key: key.into(), expect, op: Op::Delete }
    }

    /// Bytes that this change brings along.
    pub(crate) fn size(&self) -> usize {
        self.key.len() + if let Op::Put(value) = &self.op { value.len() } else { 0 }
    }
}

/// The answer to a [`Txn`] that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Committed {
    /// The revision of the change; of the store, if there was nothing to delete.
    pub revision: u64,
    /// What the change replaced or removed.
    pub previous: Option<KeyValue>,
}

/// Which keys to read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RangeRequest {
    /// The keys that begin with this; all keys, if it is empty.
    pub prefix: String,
    /// Only keys after this one: the last key of the page before.
    pub start_after: Option<String>,
    /// As of this revision; the newest, if `None`.
    pub revision: Option<u64>,
    /// At most this many items; 0 is all.
    pub limit: usize,
}

impl RangeRequest {
    /// Everything under `prefix`, as it is now.
    pub fn all(prefix: impl Into<String>) -> Self {
        Self { prefix: prefix.into(), ..Self::default() }
    }
}

/// A page of a range.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RangeResult {
    /// In byte order of their keys.
    pub items: Vec<KeyValue>,
    /// The revision they were read at; ask for it again to read the next page.
    pub revision: u64,
    /// How many keys come after this page.
    pub remaining: u64,
}

impl RangeResult {
    /// Whether there is a next page.
    pub fn more(&self) -> bool {
        self.remaining > 0
    }
}

/// Whether an [`Event`] set or removed its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventKind {
    /// The key was created or changed.
    Put,
    /// The key was removed.
    Delete,
}

/// One change of one key. Each revision is exactly one event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// The revision of the change.
    pub revision: u64,
    /// What happened.
    pub kind: EventKind,
    /// The key changed.
    pub key: Arc<str>,
    /// The new value; empty for a deletion.
    pub value: Bytes,
    /// When the key came to be; for a deletion, when the removed one did.
    pub create_revision: u64,
    /// What was there before; `None` when the key was created.
    pub previous: Option<KeyValue>,
}

impl Event {
    /// What the key holds after this event.
    pub fn current(&self) -> Option<KeyValue> {
        (self.kind == EventKind::Put).then(|| KeyValue {
            key: self.key.clone(),
            value: self.value.clone(),
            create_revision: self.create_revision,
            mod_revision: self.revision,
        })
    }
}

/// How much history to keep for watches and paged reads. The oldest goes when either is exceeded
/// (by an eighth, so that it goes in steps worth their while).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct History {
    /// Number of revisions.
    pub revisions: usize,
    /// Bytes of memory: keys, values and an allowance for bookkeeping.
    pub bytes: usize,
}

impl Default for History {
    fn default() -> Self {
        Self { revisions: 100_000, bytes: 32 << 20 }
    }
}
