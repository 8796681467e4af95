//! Collection: removes what no name, no container, no fresh step of a build and no running
//! operation needs.

use std::collections::HashSet;
use std::fs;
use std::time::{Duration, SystemTime};

use super::Store;
use crate::build::cache;
use crate::error::Context;
use crate::{Digest, Result};

/// How long a build step's result is kept after its last use.
const CACHE_AGE: Duration = Duration::from_secs(14 * 24 * 3600);

/// What a collection removed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Collected {
    /// Blobs.
    pub blobs: usize,
    /// Unpacked layers.
    pub layers: usize,
    /// Bytes of the blobs.
    pub bytes: u64,
}

impl Store {
    /// Collects. `now` decides which build results are old.
    pub fn collect(&self, now: SystemTime) -> Result<Collected> {
        let mut collected = Collected::default();
        let mut gone = Vec::new();
        {
            let state = self.state.lock();
            let mut live: HashSet<Digest> = state.pins.keys().cloned().collect();
            for manifest in state.refs.values() {
                live.insert(manifest.clone());
                // An image that cannot be read keeps its name and its manifest: a pull mends it.
                if let Ok(image) = self.image(manifest) {
                    live.extend(image.parts());
                }
            }
            for (_, hold) in self.holds()? {
                live.extend(hold.layers);
                if let Ok(image) = self.image(&hold.manifest) {
                    live.extend(image.parts());
                }
            }
            live.extend(cache::sweep(&self.root().join("cache"), now, CACHE_AGE)?);

            let blobs = self.root().join("blobs/sha256");
            for entry in fs::read_dir(&blobs).at(&blobs)? {
                let entry = entry.at(&blobs)?;
                let digest = format!("sha256:{}", entry.file_name().to_string_lossy()).parse();
                if digest.is_ok_and(|digest| !live.contains(&digest)) {
                    collected.bytes += entry.metadata().map(|m| m.len()).unwrap_or_default();
                    fs::remove_file(entry.path()).at(&entry.path())?;
                    collected.blobs += 1;
                }
            }
            let dirs: HashSet<_> = live.iter().map(|digest| self.layer_dir(digest)).collect();
            for dir in self.layer_dirs()?.into_iter().filter(|dir| !dirs.contains(dir)) {
                let temp = self.temp_path();
                fs::rename(&dir, &temp).at(&dir)?;
                gone.push(temp);
            }
        }
        collected.layers = gone.len();
        for dir in gone {
            fs::remove_dir_all(&dir).at(&dir)?;
        }
        Ok(collected)
    }
}
