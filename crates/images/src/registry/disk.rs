//! The registry's directory: `blobs/sha256/HEX`, `uploads/ID`, and for each repository
//! `repositories/NAME/_manifests/HEX` (the media type; the text is a blob) and `_tags/TAG` (a digest).
//! Names of repositories cannot begin with `_`.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use http_body_util::BodyExt;
use sha2::{Digest as _, Sha256};
use tokio::fs;
use tokio::io::AsyncWriteExt;

use super::{Refusal, refuse};
use crate::body::{self, Body};
use crate::error::Context;
use crate::{Digest, Result};

#[derive(Clone)]
pub(super) struct Disk {
    root: Arc<PathBuf>,
    sequence: Arc<AtomicU64>,
}

fn missing<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e),
    }
}

impl Disk {
    pub(super) fn open(root: &Path) -> Result<Self> {
        for dir in ["blobs/sha256", "repositories", "uploads"] {
            let dir = root.join(dir);
            std::fs::create_dir_all(&dir).at(&dir)?;
        }
        Ok(Self { root: Arc::new(root.to_owned()), sequence: Arc::default() })
    }

    fn blob_path(&self, digest: &Digest) -> PathBuf {
        self.root.join("blobs/sha256").join(digest.hex())
    }

    fn repository(&self, name: &str) -> PathBuf {
        self.root.join("repositories").join(name)
    }

    pub(super) async fn blob(&self, digest: &Digest) -> io::Result<Option<(Body, u64)>> {
        missing(body::file(&self.blob_path(digest)).await)
    }

    /// Names that no process used before: the clock is not asked, so what exists is skipped.
    pub(super) async fn begin_upload(&self) -> io::Result<String> {
        loop {
            let id =
                format!("{}-{}", std::process::id(), self.sequence.fetch_add(1, Ordering::Relaxed));
            match fs::File::create_new(self.root.join("uploads").join(&id)).await {
                Ok(_) => return Ok(id),
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
                Err(e) => return Err(e),
            }
        }
    }

    fn upload(&self, id: &str) -> Result<PathBuf, Refusal> {
        if id.bytes().all(|b| b.is_ascii_digit() || b == b'-') {
            Ok(self.root.join("uploads").join(id))
        } else {
            Err(unknown_upload(id))
        }
    }

    pub(super) async fn upload_size(&self, id: &str) -> Result<u64, Refusal> {
        match missing(fs::metadata(self.upload(id)?).await)? {
            Some(meta) => Ok(meta.len()),
            None => Err(unknown_upload(id)),
        }
    }

    pub(super) async fn append<B>(&self, id: &str, mut content: B) -> Result<u64, Refusal>
    where
        B: hyper::body::Body<Data = Bytes> + Send + Unpin,
        B::Error: std::fmt::Display,
    {
        let file = missing(fs::OpenOptions::new().append(true).open(self.upload(id)?).await)?;
        let mut file = file.ok_or_else(|| unknown_upload(id))?;
        while let Some(frame) = content.frame().await {
            let frame = frame.map_err(|e| {
                refuse(http::StatusCode::BAD_REQUEST, "BLOB_UPLOAD_INVALID", e.to_string())
            })?;
            if let Ok(bytes) = frame.into_data() {
                file.write_all(&bytes).await?;
            }
        }
        file.flush().await?;
        Ok(file.metadata().await?.len())
    }

    pub(super) async fn cancel(&self, id: &str) -> Result<(), Refusal> {
        missing(fs::remove_file(self.upload(id)?).await)?;
        Ok(())
    }

    /// Gives an upload its name; no when its digest is another.
    pub(super) async fn finish(&self, id: &str, digest: &Digest) -> Result<bool, Refusal> {
        let (from, to, expected) = (self.upload(id)?, self.blob_path(digest), digest.clone());
        let done = tokio::task::spawn_blocking(move || -> io::Result<bool> {
            let mut hash = Sha256::new();
            let mut file = std::fs::File::open(&from)?;
            io::copy(&mut file, &mut hash)?;
            if Digest::from_hash(hash) != expected {
                std::fs::remove_file(&from)?;
                return Ok(false);
            }
            file.sync_all()?;
            std::fs::rename(&from, &to)?;
            Ok(true)
        });
        Ok(done.await.map_err(io::Error::other)??)
    }

    async fn write(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let id = self.begin_upload().await?;
        let temp = self.root.join("uploads").join(id);
        let mut file = fs::File::create(&temp).await?;
        file.write_all(bytes).await?;
        file.sync_all().await?;
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).await?;
        }
        fs::rename(&temp, path).await
    }

    pub(super) async fn put_manifest(
        &self,
        name: &str,
        reference: &str,
        digest: &Digest,
        kind: &str,
        bytes: Bytes,
    ) -> io::Result<()> {
        let repository = self.repository(name);
        self.write(&self.blob_path(digest), &bytes).await?;
        self.write(&repository.join("_manifests").join(digest.hex()), kind.as_bytes()).await?;
        if !reference.contains(':') {
            self.write(&repository.join("_tags").join(reference), digest.as_str().as_bytes())
                .await?;
        }
        Ok(())
    }

    async fn digest_of(&self, name: &str, reference: &str) -> io::Result<Option<Digest>> {
        if reference.contains(':') {
            return Ok(reference.parse().ok());
        }
        if !crate::reference::is_tag(reference) {
            return Ok(None);
        }
        let text =
            missing(fs::read_to_string(self.repository(name).join("_tags").join(reference)).await)?;
        Ok(text.and_then(|text| text.parse().ok()))
    }

    /// A manifest with its digest and media type.
    pub(super) async fn manifest(
        &self,
        name: &str,
        reference: &str,
    ) -> io::Result<Option<(Digest, String, Vec<u8>)>> {
        let Some(digest) = self.digest_of(name, reference).await? else { return Ok(None) };
        let kind = self.repository(name).join("_manifests").join(digest.hex());
        let Some(kind) = missing(fs::read_to_string(kind).await)? else { return Ok(None) };
        let bytes = missing(fs::read(self.blob_path(&digest)).await)?;
        Ok(bytes.map(|bytes| (digest, kind, bytes)))
    }

    /// Removes a tag, or a manifest by digest.
    pub(super) async fn delete_manifest(&self, name: &str, reference: &str) -> io::Result<bool> {
        let repository = self.repository(name);
        let path = match reference.parse::<Digest>() {
            Ok(digest) => repository.join("_manifests").join(digest.hex()),
            Err(_) if crate::reference::is_tag(reference) => {
                repository.join("_tags").join(reference)
            }
            Err(_) => return Ok(false),
        };
        Ok(missing(fs::remove_file(path).await)?.is_some())
    }

    pub(super) async fn tags(&self, name: &str) -> io::Result<Option<Vec<String>>> {
        let dir = self.repository(name);
        if missing(fs::metadata(dir.join("_manifests")).await)?.is_none() {
            return Ok(None);
        }
        Ok(Some(names(&dir.join("_tags")).await?))
    }

    pub(super) async fn catalog(&self) -> io::Result<Vec<String>> {
        let root = self.root.join("repositories");
        let mut found = Vec::new();
        let mut todo = vec![String::new()];
        while let Some(name) = todo.pop() {
            for child in names(&root.join(&name)).await? {
                if child == "_manifests" {
                    found.push(name.clone());
                } else if !child.starts_with('_') {
                    todo.push(if name.is_empty() { child } else { format!("{name}/{child}") });
                }
            }
        }
        found.sort();
        Ok(found)
    }
}

async fn names(dir: &Path) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    if let Some(mut entries) = missing(fs::read_dir(dir).await)? {
        while let Some(entry) = entries.next_entry().await? {
            names.push(entry.file_name().to_string_lossy().into_owned());
        }
    }
    names.sort();
    Ok(names)
}

fn unknown_upload(id: &str) -> Refusal {
    refuse(http::StatusCode::NOT_FOUND, "BLOB_UPLOAD_UNKNOWN", format!("no upload {id}"))
}
