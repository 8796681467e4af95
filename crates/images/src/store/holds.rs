//! Holds: which container uses which image. A file each, so that a restart knows them too.

use std::fs;
use std::io::ErrorKind;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::Store;
use crate::error::Context;
use crate::spec::{parse_json, to_json};
use crate::{Digest, Error, Result};

/// What a container holds.
#[derive(Serialize, Deserialize)]
pub(super) struct Hold {
    /// The image's manifest.
    pub(super) manifest: Digest,
    /// Chain ids of its layers.
    pub(super) layers: Vec<Digest>,
}

impl Store {
    /// Keeps a container's image until `release`.
    pub(super) fn hold(&self, container: &str, hold: &Hold) -> Result<()> {
        self.write_atomic(&self.hold_path(container)?, &to_json("a hold", hold)?)
    }

    /// The container no longer needs its image; again succeeds.
    pub fn release(&self, container: &str) -> Result<()> {
        let path = self.hold_path(container)?;
        match fs::remove_file(&path) {
            Err(e) if e.kind() != ErrorKind::NotFound => Err(e).at(&path),
            _ => Ok(()),
        }
    }

    /// Containers that hold something.
    pub fn holders(&self) -> Result<Vec<String>> {
        Ok(self.holds()?.into_iter().map(|(name, _)| name).collect())
    }

    pub(super) fn holds(&self) -> Result<Vec<(String, Hold)>> {
        let dir = self.root.join("holds");
        let mut holds = Vec::new();
        for entry in fs::read_dir(&dir).at(&dir)? {
            let path = entry.at(&dir)?.path();
            match fs::read(&path) {
                Ok(bytes) => {
                    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
                    holds.push((name, parse_json(&path.display().to_string(), &bytes)?));
                }
                // Released in the meantime.
                Err(e) if e.kind() == ErrorKind::NotFound => {}
                Err(e) => return Err(e).at(&path),
            }
        }
        Ok(holds)
    }

    fn hold_path(&self, container: &str) -> Result<PathBuf> {
        let plain = !container.is_empty()
            && container.len() <= 200
            && !container.starts_with('.')
            && container.bytes().all(|b| b.is_ascii_alphanumeric() || b"_.-".contains(&b));
        if !plain {
            return Err(Error::invalid(format!("container id {container:?} is no plain name")));
        }
        Ok(self.root.join("holds").join(container))
    }
}
