//! Revisioned key-value store with watch: the trait, the memory and the SQLite back end.
//!
//! The model is etcd's. Every write gets the next **revision** of the whole store; a write may
//! demand the revision at which its key was last changed (compare-and-set); a range can be read
//! as it was at a past revision; a watch continues from a revision with no gap and no repeat.
//!
//! ```text
//!  txn ──▶ queue ──▶ committer thread ──▶ Disk: one transaction, one sync
//!                        │ then
//!                        ▼
//!  get, range, watch ◀── Index (values, history window, watchers), in memory
//! ```
//!
//! Invariants:
//! - A write is answered, and visible to anyone, only after it is synced.
//! - Only the committer changes the index; revisions have no holes.
//! - Reads never touch the disk.
//! - Compaction removes **superseded** versions alone, never the live value of a key. Whoever
//!   needs old objects for longer than the watch window (undo, rollout history) writes them under
//!   keys of their own, `/history/…`: live values, which compaction does not touch.
//!
//! Values are opaque bytes: the revision of an object is known only when it is committed, so it
//! is not inside the value but beside it, in [`KeyValue::mod_revision`].

mod committer;
mod error;
mod index;
mod local;
pub mod memory;
mod seal;
pub mod sqlite;
mod types;
mod watch;

use std::pin::Pin;

use async_trait::async_trait;
use futures::Stream;

pub use error::Error;
pub use local::LocalStore;
pub use seal::Sealing;
pub use types::{
    Committed, Event, EventKind, Expect, History, KeyValue, Op, RangeRequest, RangeResult, Txn,
};

/// The revision of a store that was never written to; its first write gets the next one.
///
/// Not 0, because resourceVersion "0" means "any" in the Kubernetes API.
pub const INITIAL_REVISION: u64 = 1;

/// A revisioned key-value store. Used as `Arc<dyn Store>`.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// Changes one key if it is as `txn.expect` says, else answers [`Error::Conflict`] with what
    /// is there.
    ///
    /// The answer comes when the change is durable. A caller that goes away earlier does not take
    /// its write back. Deleting a key that is absent changes nothing and uses up no revision.
    async fn txn(&self, txn: Txn) -> Result<Committed, Error>;

    /// The newest value of `key`. Linearizable: sees every write answered before the call.
    async fn get(&self, key: &str) -> Result<Option<KeyValue>, Error>;

    /// The keys with a prefix, in byte order, all at one revision. Linearizable when no revision
    /// is asked for.
    async fn range(&self, request: RangeRequest) -> Result<RangeResult, Error>;

    /// All changes of keys that begin with `prefix` and have a revision above `from`
    /// (`None`: from now on), in order, each once.
    ///
    /// [`Error::Compacted`] when history does not reach back that far,
    /// [`Error::FutureRevision`] when `from` was not reached yet.
    async fn watch(&self, prefix: &str, from: Option<u64>) -> Result<WatchStream, Error>;

    /// The revision of the newest answered write.
    fn revision(&self) -> u64;

    /// The oldest revision that can be read at or watched from.
    fn oldest(&self) -> u64;

    /// Gives up the history before `revision`; reads *at* it stay possible.
    ///
    /// Answers when the old versions are gone, which happens in small steps between writes.
    /// Compacting again what is compacted already is no error.
    async fn compact(&self, revision: u64) -> Result<(), Error>;

    /// The error that made the store refuse all further writes, if there was one.
    fn health(&self) -> Result<(), Error>;

    /// Answers what is queued, then releases the disk. Later writes get [`Error::Closed`], and so
    /// do the watches.
    async fn close(&self);
}

/// What [`Store::watch`] answers. Ends after its first error: [`Error::Lagged`] when the reader
/// fell behind the history window, [`Error::Closed`] when the store was closed.
pub type WatchStream = Pin<Box<dyn Watch>>;

/// A stream of events that knows how far it has come.
pub trait Watch: Stream<Item = Result<std::sync::Arc<Event>, Error>> + Send {
    /// Every event up to this revision has been handed out: the revision of a bookmark.
    fn progress(&self) -> u64;
}
