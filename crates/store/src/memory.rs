//! The back end that keeps nothing: for tests and for clusters made to be thrown away.

use std::sync::Arc;

use crate::{Error, Event, History, LocalStore, committer::Disk, index::Index};

struct NoDisk;

impl Disk for NoDisk {
    fn append(&mut self, _events: &[Arc<Event>]) -> Result<(), Error> {
        Ok(())
    }

    fn forget(&mut self, _compacted: u64, _revisions: &[u64]) -> Result<(), Error> {
        Ok(())
    }

    fn tidy(&mut self) -> Result<(), Error> {
        Ok(())
    }
}

/// An empty store. Fails only when no thread can be started.
pub fn open(history: History) -> std::io::Result<LocalStore> {
    LocalStore::start(Index::default(), Box::new(NoDisk), history)
}
