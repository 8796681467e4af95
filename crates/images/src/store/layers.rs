//! Unpacked layers, for overlayfs. A layer is named by its chain id: what it looks like unpacked
//! can depend on the layers below (a parent directory that it does not carry itself, a path that
//! leads through a symbolic link).
//!
//! Layers are not synced when they appear: they can be made again from the blob. Instead each
//! carries the boot in which it was made; one that no `sync_layers` followed and that comes from an
//! earlier boot (a power cut) is dropped when the store opens.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::holds::Hold;
use super::{Pins, Store, StoredImage, sync_parent};
use crate::error::Context;
use crate::spec::{Descriptor, chain_ids, parse_json, to_json};
use crate::unpack::{self, View};
use crate::{Digest, Error, Result};

#[derive(Serialize, Deserialize)]
struct Marker {
    chain_id: Digest,
    diff_id: Digest,
    boot_id: String,
    synced: bool,
}

impl Store {
    /// Unpacks an image's layers where needed. Answers their directories, uppermost first; never
    /// none, since overlayfs wants one.
    pub fn unpack_image(
        self: &Arc<Self>,
        image: &StoredImage,
        pins: &Pins,
    ) -> Result<Vec<PathBuf>> {
        self.unpack_layers(&image.manifest.layers, &image.config.rootfs.diff_ids, pins)
    }

    /// The same for layers that are no image yet; lowest first, with their diff ids.
    pub fn unpack_layers(
        self: &Arc<Self>,
        layers: &[Descriptor],
        diff_ids: &[Digest],
        pins: &Pins,
    ) -> Result<Vec<PathBuf>> {
        if layers.len() != diff_ids.len() {
            return Err(Error::invalid(format!(
                "the manifest has {} layers, the configuration {}",
                layers.len(),
                diff_ids.len()
            )));
        }
        let mut dirs: Vec<PathBuf> = Vec::with_capacity(layers.len());
        for ((layer, diff_id), chain_id) in layers.iter().zip(diff_ids).zip(chain_ids(diff_ids)) {
            let dir = self.unpack_layer(&chain_id, layer, diff_id, &dirs, pins)?;
            dirs.insert(0, dir);
        }
        if dirs.is_empty() {
            let empty = self.root.join("layers/empty/fs");
            fs::create_dir_all(&empty).at(&empty)?;
            dirs.push(empty);
        }
        Ok(dirs)
    }

    /// Layers of an image for a container, held until `release`.
    pub fn layers_for(
        self: &Arc<Self>,
        image: &StoredImage,
        container: &str,
    ) -> Result<Vec<PathBuf>> {
        // The pins last until the hold stands.
        let pins = self.pin_image(image);
        let dirs = self.unpack_image(image, &pins)?;
        let layers = chain_ids(&image.config.rootfs.diff_ids);
        self.hold(container, &Hold { manifest: image.digest.clone(), layers })?;
        Ok(dirs)
    }

    fn unpack_layer(
        &self,
        chain_id: &Digest,
        layer: &Descriptor,
        diff_id: &Digest,
        below: &[PathBuf],
        pins: &Pins,
    ) -> Result<PathBuf> {
        pins.add(chain_id);
        let dir = self.layer_dir(chain_id);
        let _unpacking = self.unpacking.lock(chain_id);
        if let Some(marker) = read_marker(&dir)? {
            if &marker.chain_id != chain_id {
                return Err(Error::invalid(format!("{} belongs to another layer", dir.display())));
            }
            return Ok(dir.join("fs"));
        }
        let temp = self.temp_dir()?;
        let root = temp.path().join("fs");
        fs::create_dir(&root).at(&root)?;
        let blob = self.open_blob(&layer.digest)?;
        let unpacked = unpack::layer(blob, &root, &View::new(below.to_vec()))
            .map_err(|e| e.to_string())
            .and_then(|unpacked| match &unpacked.diff_id == diff_id {
                true => Ok(unpacked),
                false => Err(format!(
                    "it unpacks to {}, not to {diff_id} as the configuration says",
                    unpacked.diff_id
                )),
            });
        let unpacked = match unpacked {
            Ok(unpacked) => unpacked,
            Err(e) if self.drop_damaged(&layer.digest)? => {
                return Err(Error::invalid(format!(
                    "layer {} was damaged on disk: pull the image again ({e})",
                    layer.digest
                )));
            }
            Err(e) => return Err(Error::invalid(format!("layer {}: {e}", layer.digest))),
        };
        let marker = Marker {
            chain_id: chain_id.clone(),
            diff_id: diff_id.clone(),
            boot_id: self.boot_id.clone(),
            synced: false,
        };
        let path = temp.path().join("layer.json");
        fs::write(&path, to_json("a layer's marker", &marker)?).at(&path)?;
        fs::rename(temp.path(), &dir).at(&dir)?;
        tracing::debug!(layer = %layer.digest, entries = unpacked.entries, "unpacked");
        Ok(dir.join("fs"))
    }

    /// Half of the chain id's digits: overlayfs' options must fit into a page, and 128 bits are
    /// enough where the marker has the rest.
    pub(super) fn layer_dir(&self, chain_id: &Digest) -> PathBuf {
        self.root.join("layers").join(chain_id.hex().get(..32).unwrap_or_default())
    }

    /// Syncs the file system and notes it in every layer that was not. Slow on a busy disk: call it
    /// behind the answer.
    pub fn sync_layers(&self) -> Result<()> {
        let mut unsynced = Vec::new();
        for dir in self.layer_dirs()? {
            if let Some(marker) = read_marker(&dir)?
                && !marker.synced
            {
                unsynced.push((dir, marker));
            }
        }
        if unsynced.is_empty() {
            return Ok(());
        }
        let root = fs::File::open(&self.root).at(&self.root)?;
        rustix::fs::syncfs(&root).at(&self.root)?;
        for (dir, marker) in unsynced {
            let _unpacking = self.unpacking.lock(&marker.chain_id);
            // Collected in the meantime.
            if !dir.exists() {
                continue;
            }
            let marker = Marker { synced: true, ..marker };
            self.write_atomic(&dir.join("layer.json"), &to_json("a layer's marker", &marker)?)?;
        }
        Ok(())
    }

    /// Drops what a power cut may have left half written.
    pub(super) fn drop_unsynced_layers(&self) -> Result<()> {
        for dir in self.layer_dirs()? {
            let keep = match read_marker(&dir) {
                Ok(Some(marker)) => {
                    marker.synced || (!self.boot_id.is_empty() && marker.boot_id == self.boot_id)
                }
                // A marker cut short is itself the sign.
                Ok(None) | Err(_) => false,
            };
            if !keep {
                self.remove_layer(&dir)?;
            }
        }
        Ok(())
    }

    /// Directories of layers, `empty` left out.
    pub(super) fn layer_dirs(&self) -> Result<Vec<PathBuf>> {
        let root = self.root.join("layers");
        let mut dirs = Vec::new();
        for entry in fs::read_dir(&root).at(&root)? {
            let entry = entry.at(&root)?;
            if entry.file_name() != "empty" {
                dirs.push(entry.path());
            }
        }
        Ok(dirs)
    }

    /// Out of sight at once, then away.
    pub(super) fn remove_layer(&self, dir: &Path) -> Result<()> {
        let temp = self.temp_path();
        fs::rename(dir, &temp).at(dir)?;
        sync_parent(dir).at(dir)?;
        fs::remove_dir_all(&temp).at(&temp)
    }
}

fn read_marker(dir: &Path) -> Result<Option<Marker>> {
    let path = dir.join("layer.json");
    match fs::read(&path) {
        Ok(bytes) => Ok(Some(parse_json(&path.display().to_string(), &bytes)?)),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e).at(&path),
    }
}
