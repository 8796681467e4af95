//! Results of build steps, by content: key → layer. A file each; its time of change says when it
//! was used last.

use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use crate::error::Context;
use crate::spec::{Descriptor, parse_json, to_json};
use crate::store::{Pins, Store};
use crate::{Digest, Result};

/// What a step made.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Entry {
    /// The layer; none for a step that only stamps a time.
    pub layer: Option<(Descriptor, Digest)>,
    /// When, RFC 3339: a cached build has the id of the first.
    pub created: String,
}

/// What a step made earlier, pinned; none when it is not known or no longer here.
pub fn get(store: &Store, key: &Digest, pins: &Pins, now: SystemTime) -> Result<Option<Entry>> {
    let path = store.root().join("cache").join(key.hex());
    let Ok(bytes) = fs::read(&path) else { return Ok(None) };
    // A damaged entry is one that we do not have.
    let Ok(entry) = parse_json::<Entry>("a build step's result", &bytes) else { return Ok(None) };
    if let Some((layer, _)) = &entry.layer {
        pins.add(&layer.digest);
        if !store.has_blob(&layer.digest) {
            return Ok(None);
        }
    }
    let file = fs::File::options().write(true).open(&path).at(&path)?;
    file.set_modified(now).at(&path)?;
    Ok(Some(entry))
}

/// Remembers what a step made.
pub fn put(store: &Store, key: &Digest, entry: &Entry) -> Result<()> {
    let path = store.root().join("cache").join(key.hex());
    store.write_atomic(&path, &to_json("a build step's result", entry)?)
}

/// Forgets what was not used for `age`. Answers the blobs of the rest.
pub(crate) fn sweep(dir: &Path, now: SystemTime, age: Duration) -> Result<Vec<Digest>> {
    let mut live = Vec::new();
    for entry in fs::read_dir(dir).at(dir)? {
        let path = entry.at(dir)?.path();
        let used = fs::metadata(&path).and_then(|m| m.modified()).at(&path)?;
        let parsed =
            fs::read(&path).ok().and_then(|bytes| serde_json::from_slice::<Entry>(&bytes).ok());
        match parsed {
            Some(entry) if now.duration_since(used).unwrap_or_default() < age => {
                live.extend(entry.layer.map(|(layer, _)| layer.digest));
            }
            _ => fs::remove_file(&path).at(&path)?,
        }
    }
    Ok(live)
}
