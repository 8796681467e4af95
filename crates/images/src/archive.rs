//! Images as files: what `docker save` and `skopeo copy … oci-archive:` make, in; an OCI layout that
//! both of them read, out. Blocking.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::path::{Component, Path};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::error::Context;
use crate::spec::{
    Descriptor, Index, MAX_DOCUMENT, Manifest, OCI_CONFIG, OCI_INDEX, OCI_LAYER, OCI_MANIFEST,
    host_architecture, parse_json, to_json,
};
use crate::store::{Pins, Store, StoredImage};
use crate::unpack::{GZIP, ZSTD, decompress};
use crate::{Digest, Error, Reference, Result};

const REF_NAME: &str = "org.opencontainers.image.ref.name";
const CONTAINERD_NAME: &str = "io.containerd.image.name";

/// An element of `manifest.json`.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct DockerImage {
    config: String,
    #[serde(default)]
    repo_tags: Option<Vec<String>>,
    layers: Vec<String>,
}

/// Takes in every image of an archive. `name` is for archives that name none.
pub fn load(
    store: &Arc<Store>,
    archive: impl Read + Send,
    name: Option<&Reference>,
) -> Result<Vec<StoredImage>> {
    let pins = store.pins();
    let contents = Contents::read(store, archive, &pins)?;
    let docker: Vec<DockerImage> = match contents.documents.get("manifest.json") {
        Some(bytes) => parse_json("manifest.json", bytes)?,
        None => Vec::new(),
    };
    // An OCI layout has the manifests with their digests; manifest.json only what they are made of.
    let found = match contents.documents.get("index.json") {
        Some(bytes) => from_layout(store, &parse_json("index.json", bytes)?, &docker)?,
        None if !docker.is_empty() => from_docker(store, &contents, &docker, &pins)?,
        None => {
            return Err(Error::invalid(
                "this is no image archive: it has neither manifest.json nor index.json (use `docker save`, \
                 or `skopeo copy … oci-archive:FILE`)",
            ));
        }
    };
    if found.is_empty() {
        return Err(Error::invalid(format!(
            "the archive has no image for linux/{}",
            host_architecture()
        )));
    }
    let single = found.len() == 1;
    let mut images = Vec::new();
    for (manifest, mut names) in found {
        if let Some(name) = name.filter(|_| single) {
            names = vec![name.clone()];
        }
        if names.is_empty() {
            return Err(Error::invalid(
                "the archive does not name its image: give it a name with --tag",
            ));
        }
        let image = store.image(&manifest)?;
        store.unpack_image(&image, &pins)?;
        images.push(store.publish(&manifest, &names)?);
    }
    Ok(images)
}

/// What an archive has: blobs went into the store, small files are here.
struct Contents {
    documents: BTreeMap<String, Vec<u8>>,
    blobs: BTreeMap<String, (Digest, u64)>,
    links: BTreeMap<String, String>,
}

impl Contents {
    fn read(store: &Arc<Store>, archive: impl Read + Send, pins: &Pins) -> Result<Self> {
        let mut contents =
            Self { documents: BTreeMap::new(), blobs: BTreeMap::new(), links: BTreeMap::new() };
        let what = || "archive".to_owned();
        let mut tar = tar::Archive::new(decompress(archive).context(what)?);
        for entry in tar.entries().context(what)? {
            let mut entry = entry.context(what)?;
            let name = plain(&entry.path().context(what)?)?;
            let kind = entry.header().entry_type();
            if kind.is_symlink() || kind.is_hard_link() {
                let target = entry.link_name().context(what)?.unwrap_or_default().into_owned();
                let base = match kind.is_symlink() {
                    true => Path::new(&name).parent().unwrap_or(Path::new("")),
                    false => Path::new(""),
                };
                contents.links.insert(name.clone(), join(base, &target));
            } else if kind.is_file() {
                let blob = name.strip_prefix("blobs/sha256/");
                if blob.is_none() && !name.ends_with(".tar") && entry.size() <= MAX_DOCUMENT {
                    let mut bytes = Vec::new();
                    entry.read_to_end(&mut bytes).context(what)?;
                    contents.documents.insert(name, bytes);
                    continue;
                }
                let expected = match blob {
                    Some(hex) => Some(format!("sha256:{hex}").parse()?),
                    None => None,
                };
                let mut writer = store.writer()?;
                io::copy(&mut entry, &mut writer).context(|| format!("archive: {name}"))?;
                let stored = writer
                    .commit(expected.as_ref(), pins)
                    .map_err(|e| Error::invalid(format!("archive: {name}: {e}")))?;
                contents.blobs.insert(name, stored);
            }
        }
        Ok(contents)
    }

    /// Follows links between entries; older `docker save` shares layers so.
    fn target<'a>(&'a self, name: &'a str) -> &'a str {
        let mut name = name;
        for _ in 0..8 {
            match self.links.get(name) {
                Some(target) => name = target,
                None => break,
            }
        }
        name
    }

    fn blob(&self, store: &Arc<Store>, name: &str, pins: &Pins) -> Result<(Digest, u64)> {
        let name = self.target(name);
        if let Some(blob) = self.blobs.get(name) {
            return Ok(blob.clone());
        }
        let bytes = self.documents.get(name).ok_or_else(|| {
            Error::invalid(format!("manifest.json names {name}, which the archive does not have"))
        })?;
        let stored = store.put(bytes, "", pins)?;
        Ok((stored.digest, stored.size))
    }
}

fn from_docker(
    store: &Arc<Store>,
    contents: &Contents,
    images: &[DockerImage],
    pins: &Pins,
) -> Result<Vec<(Digest, Vec<Reference>)>> {
    let mut found = Vec::new();
    for image in images {
        let (config, size) = contents.blob(store, &image.config, pins)?;
        let config = Descriptor::new(OCI_CONFIG, config, size);
        let mut layers = Vec::new();
        for layer in &image.layers {
            let (digest, size) = contents.blob(store, layer, pins)?;
            let media_type = layer_type(store, &digest)?;
            layers.push(Descriptor::new(media_type, digest, size));
        }
        let manifest = Manifest {
            schema_version: 2,
            media_type: Some(OCI_MANIFEST.to_owned()),
            config,
            layers,
        };
        let manifest = store.put(&to_json("the manifest", &manifest)?, OCI_MANIFEST, pins)?;
        found.push((manifest.digest, tags(image)?));
    }
    Ok(found)
}

fn from_layout(
    store: &Store,
    index: &Index,
    docker: &[DockerImage],
) -> Result<Vec<(Digest, Vec<Reference>)>> {
    let mut found: Vec<(Digest, Vec<Reference>)> = Vec::new();
    for entry in &index.manifests {
        let ours = entry
            .platform
            .as_ref()
            .is_none_or(|p| p.os == "linux" && p.architecture == host_architecture());
        if !ours {
            continue;
        }
        let bytes = store.read_document(&entry.digest)?;
        let manifest = match is_index(&bytes) {
            false => entry.digest.clone(),
            true => {
                let index: Index = parse_json(&format!("index {}", entry.digest), &bytes)?;
                match index.for_host() {
                    Some(manifest) => manifest.digest.clone(),
                    None => continue,
                }
            }
        };
        let parsed: Manifest =
            parse_json(&format!("manifest {manifest}"), &store.read_document(&manifest)?)?;
        let mut names = Vec::new();
        if let Some(name) = entry.annotations.get(CONTAINERD_NAME) {
            names.push(name.parse()?);
        } else if let Some(name) = entry.annotations.get(REF_NAME)
            // A bare word is a tag of a name that the archive does not tell.
            && name.contains(['/', ':'])
        {
            names.push(name.parse()?);
        }
        let config = format!("blobs/sha256/{}", parsed.config.digest.hex());
        for image in docker.iter().filter(|image| image.config == config) {
            names.extend(tags(image)?);
        }
        names.sort();
        names.dedup();
        match found.iter_mut().find(|(digest, _)| digest == &manifest) {
            Some((_, known)) => known.extend(names),
            None => found.push((manifest, names)),
        }
    }
    Ok(found)
}

/// An index has `manifests`, whatever it calls itself.
pub(crate) fn is_index(bytes: &[u8]) -> bool {
    #[derive(Deserialize)]
    struct Head {
        #[serde(default)]
        manifests: Option<serde::de::IgnoredAny>,
    }
    serde_json::from_slice::<Head>(bytes).is_ok_and(|head| head.manifests.is_some())
}

fn tags(image: &DockerImage) -> Result<Vec<Reference>> {
    image.repo_tags.iter().flatten().map(|tag| tag.parse()).collect()
}

fn layer_type(store: &Store, digest: &Digest) -> Result<&'static str> {
    let mut head = Vec::new();
    store.open_blob(digest)?.take(4).read_to_end(&mut head).context(|| digest.to_string())?;
    Ok(match head {
        head if head.starts_with(&GZIP) => "application/vnd.oci.image.layer.v1.tar+gzip",
        head if head.starts_with(&ZSTD) => "application/vnd.oci.image.layer.v1.tar+zstd",
        _ => OCI_LAYER,
    })
}

fn plain(path: &Path) -> Result<String> {
    if path.components().any(|c| matches!(c, Component::ParentDir)) {
        return Err(Error::invalid(format!("archive: {} leaves it (\"..\")", path.display())));
    }
    Ok(join(Path::new(""), path))
}

/// A path in the archive, without `.` and `..`.
fn join(base: &Path, path: &Path) -> String {
    let mut parts: Vec<String> = Vec::new();
    for component in base.components().chain(path.components()) {
        match component {
            Component::Normal(name) => parts.push(name.to_string_lossy().into_owned()),
            Component::ParentDir => {
                parts.pop();
            }
            _ => {}
        }
    }
    parts.join("/")
}

/// Writes images as an OCI layout with Docker's `manifest.json`.
pub fn save(store: &Arc<Store>, names: &[String], out: impl Write) -> Result<()> {
    let mut tar = tar::Builder::new(out);
    let mut index =
        Index { schema_version: 2, media_type: Some(OCI_INDEX.to_owned()), manifests: Vec::new() };
    let mut docker: BTreeMap<Digest, DockerImage> = BTreeMap::new();
    let mut written = std::collections::BTreeSet::new();
    // An error before the first byte can still be told by itself.
    let images = names
        .iter()
        .map(|name| {
            let image = store.get(name)?;
            Ok((name, store.pin_image(&image), image))
        })
        .collect::<Result<Vec<_>>>()?;
    append(&mut tar, "oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#)?;
    for (name, _pins, image) in &images {
        let manifest = store.read_document(&image.digest)?;
        let mut entry = Descriptor::new(
            image.manifest.media_type(),
            image.digest.clone(),
            manifest.len() as u64,
        );
        let path = |digest: &Digest| format!("blobs/sha256/{}", digest.hex());
        let shown = docker.entry(image.digest.clone()).or_insert_with(|| DockerImage {
            config: path(image.id()),
            repo_tags: Some(Vec::new()),
            layers: image.manifest.layers.iter().map(|l| path(&l.digest)).collect(),
        });
        // By id: all that is known.
        let references: Vec<Reference> = match name.parse::<Reference>() {
            Ok(reference) if store.refs().contains_key(&reference.key()) => vec![reference],
            _ => store.summary(image).repo_tags.iter().filter_map(|t| t.parse().ok()).collect(),
        };
        for reference in references.iter().filter(|r| r.tag().is_some()) {
            entry.annotations = BTreeMap::from([
                (CONTAINERD_NAME.to_owned(), reference.to_string()),
                (REF_NAME.to_owned(), reference.to_string()),
            ]);
            index.manifests.push(entry.clone());
            if let Some(tags) = &mut shown.repo_tags {
                tags.push(reference.familiar());
            }
        }
        if references.is_empty() {
            index.manifests.push(entry);
        }
        let parts = [&image.digest, image.id()]
            .into_iter()
            .chain(image.manifest.layers.iter().map(|l| &l.digest));
        for digest in parts {
            if written.insert(digest.clone()) {
                let mut blob = store.open_blob(digest)?;
                let size = blob.metadata().context(|| digest.to_string())?.len();
                let mut header = header(size);
                tar.append_data(&mut header, path(digest), &mut blob)
                    .context(|| format!("writing blob {digest}"))?;
            }
        }
    }
    append(&mut tar, "index.json", &to_json("index.json", &index)?)?;
    append(
        &mut tar,
        "manifest.json",
        &to_json("manifest.json", &docker.into_values().collect::<Vec<_>>())?,
    )?;
    tar.into_inner().and_then(|mut out| out.flush()).context(|| "writing the archive".to_owned())
}

fn append(tar: &mut tar::Builder<impl Write>, name: &str, bytes: &[u8]) -> Result<()> {
    tar.append_data(&mut header(bytes.len() as u64), name, bytes)
        .context(|| format!("writing {name}"))
}

fn header(size: u64) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_size(size);
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header
}
