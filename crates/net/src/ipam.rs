//! Addresses of pods: a ring, so that a freed address is used again last.
//!
//! Which addresses are in use is read from the kernel at every start (`node`); the file holds only
//! where the ring stands. Losing it costs nothing but the order.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::{Cidr, Error};

/// The addresses of a node. Never given to a pod: the network's own, the node's (the first after
/// it) and the last.
#[derive(Debug)]
pub struct Pool {
    range: Cidr,
    used: BTreeSet<u32>,
    last: u32,
}

impl Pool {
    /// A pool in which nothing is used.
    pub fn new(range: Cidr, last: Option<Ipv4Addr>) -> Self {
        let last = last.and_then(|address| range.index(address)).unwrap_or(0);
        Self { range, used: BTreeSet::new(), last }
    }

    /// Takes the next free address after the one given last.
    pub fn allocate(&mut self) -> Result<Ipv4Addr, Error> {
        let end = u32::try_from(self.range.size() - 1).unwrap_or(u32::MAX);
        let free = |place: &u32| !self.used.contains(place);
        let next = (self.last.saturating_add(1).max(2)..end)
            .find(free)
            .or_else(|| (2..end.min(self.last.saturating_add(1))).find(free));
        let exhausted = || Error::Exhausted { range: self.range, used: self.used.len() };
        let place = next.ok_or_else(exhausted)?;
        let address = self.range.nth(place).ok_or_else(exhausted)?;
        self.used.insert(place);
        self.last = place;
        Ok(address)
    }

    /// Marks an address as used; one outside the range (of an earlier configuration) is not ours to
    /// give.
    pub fn take(&mut self, address: Ipv4Addr) {
        self.used.extend(self.range.index(address));
    }

    /// Gives it back.
    pub fn release(&mut self, address: Ipv4Addr) {
        if let Some(place) = self.range.index(address) {
            self.used.remove(&place);
        }
    }
}

/// Where the ring stands, on disk.
#[derive(Debug)]
pub struct Cursor {
    path: PathBuf,
}

#[derive(Serialize, Deserialize)]
struct Document {
    version: u32,
    last: Ipv4Addr,
}

impl Cursor {
    /// The file in a directory.
    pub fn new(state_dir: &Path) -> Self {
        Self { path: state_dir.join("ipam.json") }
    }

    /// The address given last; `None` where nothing readable tells.
    pub fn load(&self) -> Option<Ipv4Addr> {
        let bytes = std::fs::read(&self.path).ok()?;
        match serde_json::from_slice::<Document>(&bytes) {
            Ok(document) => Some(document.last),
            Err(error) => {
                tracing::warn!(path = %self.path.display(), %error, "unreadable; begins anew");
                None
            }
        }
    }

    /// Writes it; a reader sees the old or the new. Not synced: after a power cut no pod lives.
    pub fn store(&self, last: Ipv4Addr) -> Result<(), Error> {
        let failed = |source| Error::File { path: self.path.clone(), source };
        let bytes = serde_json::to_vec(&Document { version: 1, last })
            .map_err(|error| failed(error.into()))?;
        let new = self.path.with_extension("new");
        std::fs::write(&new, bytes).and_then(|()| std::fs::rename(&new, &self.path)).map_err(failed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn freed_addresses_are_used_last() {
        let range: Cidr = "10.0.0.0/29".parse().unwrap();
        let mut pool = Pool::new(range, None);
        let host = |n: u8| Ipv4Addr::new(10, 0, 0, n);
        assert_eq!(pool.allocate().unwrap(), host(2));
        pool.release(host(2));
        assert_eq!(pool.allocate().unwrap(), host(3));
        pool.take(host(4));
        assert_eq!(pool.allocate().unwrap(), host(5));
        assert_eq!(pool.allocate().unwrap(), host(6));
        assert_eq!(pool.allocate().unwrap(), host(2));
        let error = pool.allocate().unwrap_err();
        assert_eq!(error.to_string(), "no free address in 10.0.0.0/29: 5 pods use all of them");
        pool.release(host(4));
        assert_eq!(pool.allocate().unwrap(), host(4));
    }

    #[test]
    fn the_ring_goes_on_after_a_restart() {
        let directory = tempfile::tempdir().unwrap();
        let cursor = Cursor::new(directory.path());
        assert_eq!(cursor.load(), None);
        cursor.store(Ipv4Addr::new(10, 0, 0, 9)).unwrap();
        let mut pool = Pool::new("10.0.0.0/24".parse().unwrap(), cursor.load());
        assert_eq!(pool.allocate().unwrap(), Ipv4Addr::new(10, 0, 0, 10));
        std::fs::write(directory.path().join("ipam.json"), "{").unwrap();
        assert_eq!(cursor.load(), None);
    }
}
