//! Images: manifests with a name, and how they are found.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use onggi_node_api::{Image, ImageConfig};

use super::{Pins, Store};
use crate::spec::{Config, Manifest, chain_ids, parse_json};
use crate::{Digest, Error, Reference, Result};

/// An image that is here.
#[derive(Debug, Clone)]
pub struct StoredImage {
    /// Of the manifest.
    pub digest: Digest,
    /// The manifest.
    pub manifest: Manifest,
    /// The configuration.
    pub config: Config,
}

impl StoredImage {
    /// The image's id: its configuration's digest.
    pub fn id(&self) -> &Digest {
        &self.manifest.config.digest
    }

    /// Everything that makes it up: blobs, and chain ids of layers.
    pub(super) fn parts(&self) -> impl Iterator<Item = Digest> + '_ {
        [self.digest.clone(), self.manifest.config.digest.clone()]
            .into_iter()
            .chain(self.manifest.layers.iter().map(|l| l.digest.clone()))
            .chain(chain_ids(&self.config.rootfs.diff_ids))
    }

    fn summary(&self, names: &BTreeSet<String>) -> Image {
        let (repo_digests, repo_tags) = names.iter().cloned().partition(|name| name.contains('@'));
        Image {
            id: self.id().to_string(),
            repo_tags,
            repo_digests,
            size: self.manifest.config.size
                + self.manifest.layers.iter().map(|l| l.size).sum::<u64>(),
            created_at: self
                .config
                .created
                .as_deref()
                .and_then(|t| t.parse::<jiff::Timestamp>().ok())
                .map_or(0, |t| t.as_nanosecond()),
        }
    }
}

/// What the image says about its process.
pub fn image_config(config: &Config) -> ImageConfig {
    let c = &config.config;
    ImageConfig {
        entrypoint: c.entrypoint.clone(),
        cmd: c.cmd.clone(),
        env: c.env.clone(),
        working_dir: c.working_dir.clone(),
        user: c.user.clone(),
        stop_signal: c.stop_signal.clone(),
        exposed_ports: c.exposed_ports.keys().cloned().collect(),
        volumes: c.volumes.keys().cloned().collect(),
    }
}

impl Store {
    /// Reads an image by its manifest's digest.
    pub fn image(&self, manifest: &Digest) -> Result<StoredImage> {
        let parsed: Manifest =
            parse_json(&format!("manifest {manifest}"), &self.read_document(manifest)?)?;
        let config: Config = parse_json(
            &format!("image configuration {}", parsed.config.digest),
            &self.read_document(&parsed.config.digest)?,
        )?;
        Ok(StoredImage { digest: manifest.clone(), manifest: parsed, config })
    }

    /// An image by reference, id or the beginning of an id; none when it is not here, or not whole.
    pub fn find(&self, text: &str) -> Result<Option<StoredImage>> {
        let refs = self.refs();
        if let Some(digest) = as_id(text) {
            return self.by_id(&digest, &refs);
        }
        let reference: Reference = match text.parse() {
            Ok(reference) => reference,
            Err(e) => {
                return self
                    .by_id(text, &refs)
                    .and_then(|found| found.map_or(Err(e), |i| Ok(Some(i))));
            }
        };
        match refs.get(&reference.key()) {
            Some(manifest) => self.whole(manifest),
            None => self.by_id(text, &refs),
        }
    }

    /// The same; an error when it is not here.
    pub fn get(&self, text: &str) -> Result<StoredImage> {
        self.find(text)?.ok_or_else(|| Error::NotFound(text.to_owned()))
    }

    /// An image with all its blobs; one that lacks any, or whose documents are damaged, is not here.
    fn whole(&self, manifest: &Digest) -> Result<Option<StoredImage>> {
        if !self.has_blob(manifest) {
            return Ok(None);
        }
        match self.image(manifest) {
            Ok(image) => {
                let whole = image.manifest.layers.iter().all(|l| self.has_blob(&l.digest));
                Ok(whole.then_some(image))
            }
            Err(e) => {
                tracing::warn!(%manifest, error = %e, "image is not usable");
                Ok(None)
            }
        }
    }

    /// By the beginning of an id (of the configuration or the manifest), when only one fits.
    fn by_id(&self, text: &str, refs: &BTreeMap<String, Digest>) -> Result<Option<StoredImage>> {
        let hex = text.strip_prefix("sha256:").unwrap_or(text);
        if hex.len() < 4 || hex.len() > 64 || !hex.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Ok(None);
        }
        // Containers may run an image that has lost its name.
        let held = self.holds()?.into_iter().map(|(_, hold)| hold.manifest);
        let manifests: BTreeSet<Digest> = refs.values().cloned().chain(held).collect();
        let mut found: Option<StoredImage> = None;
        for manifest in manifests {
            let Some(image) = self.whole(&manifest)? else { continue };
            if !image.id().hex().starts_with(hex) && !manifest.hex().starts_with(hex) {
                continue;
            }
            if found.as_ref().is_some_and(|other| other.id() != image.id()) {
                return Err(Error::invalid(format!(
                    "image id {text} is ambiguous: give more digits"
                )));
            }
            found = Some(image);
        }
        Ok(found)
    }

    /// Every image with a name. One that cannot be read is left out, and logged.
    pub fn images(&self) -> Vec<Image> {
        let mut names: BTreeMap<Digest, BTreeSet<String>> = BTreeMap::new();
        for (name, manifest) in self.refs() {
            names.entry(manifest).or_default().insert(name);
        }
        let mut images: BTreeMap<Digest, (StoredImage, BTreeSet<String>)> = BTreeMap::new();
        for (manifest, names) in names {
            match self.whole(&manifest) {
                Ok(Some(image)) => {
                    images
                        .entry(image.id().clone())
                        .or_insert_with(|| (image, BTreeSet::new()))
                        .1
                        .extend(names);
                }
                Ok(None) => {}
                Err(e) => tracing::warn!(%manifest, error = %e, "image left out"),
            }
        }
        images.values().map(|(image, names)| image.summary(names)).collect()
    }

    /// One image with all its names.
    pub fn summary(&self, image: &StoredImage) -> Image {
        let names = self.names_of(image);
        image.summary(&names)
    }

    /// Names of every manifest with the image's configuration.
    fn names_of(&self, image: &StoredImage) -> BTreeSet<String> {
        self.refs()
            .into_iter()
            .filter(|(_, manifest)| {
                manifest == &image.digest
                    || self.image(manifest).is_ok_and(|other| other.id() == image.id())
            })
            .map(|(name, _)| name)
            .collect()
    }

    /// Makes an image appear under `names`. Every part must be here (and pinned).
    pub fn publish(&self, manifest: &Digest, names: &[Reference]) -> Result<StoredImage> {
        let image = self
            .whole(manifest)?
            .ok_or_else(|| Error::invalid(format!("image {manifest} is not complete")))?;
        if image.manifest.layers.len() != image.config.rootfs.diff_ids.len() {
            return Err(Error::invalid(format!(
                "the manifest of {manifest} has {} layers, its configuration {}",
                image.manifest.layers.len(),
                image.config.rootfs.diff_ids.len()
            )));
        }
        self.set_refs(names, manifest)?;
        Ok(image)
    }

    /// Gives an image another name.
    pub fn tag(self: &Arc<Self>, source: &str, target: &Reference) -> Result<()> {
        let image = self.get(source)?;
        let _pins = self.pin_image(&image);
        if target.digest().is_some() {
            return Err(Error::InvalidReference {
                reference: target.to_string(),
                message: "a new name must not carry a digest".to_owned(),
            });
        }
        self.publish(&image.digest, std::slice::from_ref(target)).map(drop)
    }

    /// Keeps an image's parts for an operation.
    pub fn pin_image(self: &Arc<Self>, image: &StoredImage) -> Pins {
        let pins = self.pins();
        for part in image.parts() {
            pins.add(&part);
        }
        pins
    }

    /// Removes a name; by id, all names. The digests that came with a tag of the same repository go
    /// with its last tag. Answers the names that went.
    pub fn untag(&self, text: &str) -> Result<Vec<String>> {
        let refs = self.refs();
        let named = match as_id(text) {
            Some(_) => None,
            None => text.parse::<Reference>().ok().filter(|r| refs.contains_key(&r.key())),
        };
        let gone: Vec<String> = match named {
            Some(reference) => {
                let key = reference.key();
                let manifest = refs.get(&key);
                let name = reference.name();
                let same = |k: &&String| {
                    refs.get(*k) == manifest
                        && (k.starts_with(&format!("{name}@"))
                            || k.starts_with(&format!("{name}:")))
                };
                let other_tags = refs.keys().filter(same).any(|k| !k.contains('@') && *k != key);
                let digests = refs
                    .keys()
                    .filter(same)
                    .filter(|k| k.contains('@') && !other_tags && reference.digest().is_none());
                digests.cloned().chain([key.clone()]).collect()
            }
            None => match self.by_id(as_id(text).as_deref().unwrap_or(text), &refs)? {
                Some(image) => self.names_of(&image).into_iter().collect(),
                None => Vec::new(),
            },
        };
        self.remove_refs(&gone)?;
        Ok(gone)
    }
}

/// `sha256:HEX` and 64 digits are ids, never names.
fn as_id(text: &str) -> Option<String> {
    let full = |hex: &str| hex.len() == 64 && hex.bytes().all(|b| b.is_ascii_hexdigit());
    if let Some(hex) = text.strip_prefix("sha256:") {
        return Some(hex.to_owned());
    }
    full(text).then(|| text.to_owned())
}
