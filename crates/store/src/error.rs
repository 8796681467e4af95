//! What can go wrong, and what to do about it.

use std::path::PathBuf;

use crate::KeyValue;

/// Why a store did not do as asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The condition of a write did not hold; nothing was changed.
    #[error("the key {}", match current {
        Some(kv) => format!("was changed at revision {}", kv.mod_revision),
        None => "does not exist".to_owned(),
    })]
    Conflict {
        /// What the key holds.
        current: Option<KeyValue>,
    },
    /// The history asked for is gone: list again and watch from there.
    #[error("the revision asked for has been compacted, the oldest one kept is {oldest}")]
    Compacted {
        /// See [`crate::Store::oldest`].
        oldest: u64,
    },
    /// The revision asked for has not been reached.
    #[error("revision {asked} is in the future, the newest one is {newest}")]
    FutureRevision {
        /// The revision asked for.
        asked: u64,
        /// The newest there is.
        newest: u64,
    },
    /// The reader of a watch was so slow that events it had not read were compacted.
    #[error("the watch was too slow: history before revision {oldest} is gone")]
    Lagged {
        /// See [`crate::Store::oldest`].
        oldest: u64,
    },
    /// A key is empty or too long.
    #[error("a key must have 1 to {} bytes, this one has {length}", crate::Txn::MAX_KEY)]
    InvalidKey {
        /// Bytes of the key.
        length: usize,
    },
    /// A value is too large.
    #[error(
        "the value of {key:?} has {length} bytes, at most {} are allowed",
        crate::Txn::MAX_VALUE
    )]
    TooLarge {
        /// Its key.
        key: String,
        /// Bytes of the value.
        length: usize,
    },
    /// There was no space left. Nothing was written; writing works again when there is space.
    #[error("the disk of {} is full ({reason}): nothing was written; free some space and try again", .dir.display())]
    DiskFull {
        /// The data directory.
        dir: PathBuf,
        /// What SQLite said.
        reason: String,
    },
    /// The disk failed. Whether the writes under way are on it is unknown until the store is
    /// opened again; each is there as a whole or not at all. No further write is taken.
    #[error("the disk of {} failed ({reason}): no more writes are taken; check the disk, then restart", .dir.display())]
    Broken {
        /// The data directory.
        dir: PathBuf,
        /// What SQLite said.
        reason: String,
    },
    /// Another process uses the directory.
    #[error("the data directory {} is in use by another process{}", .dir.display(), match holder {
        Some(pid) => format!(" (pid {pid})"),
        None => String::new(),
    })]
    InUse {
        /// The data directory.
        dir: PathBuf,
        /// The process that says it holds the lock.
        holder: Option<u32>,
    },
    /// The directory was written by a newer version of this program.
    #[error("the store in {} has format {found}, this program reads up to {known}: use the newer program that wrote it", .dir.display())]
    NewerFormat {
        /// The data directory.
        dir: PathBuf,
        /// Its format.
        found: i64,
        /// The newest format known here.
        known: i64,
    },
    /// The store could not be opened.
    #[error("cannot open the store in {}: {reason}", .dir.display())]
    Open {
        /// The data directory.
        dir: PathBuf,
        /// What failed.
        reason: String,
    },
    /// The store holds what this program would never have written.
    #[error("the store in {} is damaged: {reason}; restore it from a backup", .dir.display())]
    Corrupt {
        /// The data directory.
        dir: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The store was closed.
    #[error("the store is closed")]
    Closed,
}
