//! Blobs: files named by their digest, hashed while they are written.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::PathBuf;
use std::sync::Arc;

use sha2::{Digest as _, Sha256};

use super::{Pins, Store, sync_parent};
use crate::error::Context;
use crate::spec::{Descriptor, MAX_DOCUMENT};
use crate::{Digest, Error, Result};

impl Store {
    /// Where a blob is, when it is.
    pub fn blob_path(&self, digest: &Digest) -> PathBuf {
        self.root.join("blobs/sha256").join(digest.hex())
    }

    /// Whether it is here. Pin it first.
    pub fn has_blob(&self, digest: &Digest) -> bool {
        self.blob_path(digest).exists()
    }

    /// Opens it.
    pub fn open_blob(&self, digest: &Digest) -> Result<File> {
        let path = self.blob_path(digest);
        File::open(&path).at(&path)
    }

    /// A manifest or configuration, whole, checked against its digest.
    pub fn read_document(&self, digest: &Digest) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let file = self.open_blob(digest)?;
        file.take(MAX_DOCUMENT + 1).read_to_end(&mut bytes).context(|| format!("blob {digest}"))?;
        if bytes.len() as u64 > MAX_DOCUMENT {
            return Err(Error::invalid(format!(
                "document {digest} is larger than {MAX_DOCUMENT} bytes"
            )));
        }
        if &Digest::of(&bytes) != digest {
            self.drop_damaged(digest)?;
            return Err(Error::invalid(format!(
                "blob {digest} was damaged on disk: pull the image again"
            )));
        }
        Ok(bytes)
    }

    /// Removes a blob whose content is not what its name says, so that the next pull brings it
    /// again. Answers whether it was so.
    pub(super) fn drop_damaged(&self, digest: &Digest) -> Result<bool> {
        let mut hash = Sha256::new();
        let mut file = self.open_blob(digest)?;
        io::copy(&mut file, &mut hash).context(|| format!("blob {digest}"))?;
        let damaged = &Digest::from_hash(hash) != digest;
        if damaged {
            tracing::error!(%digest, "blob was damaged on disk and is removed");
            let path = self.blob_path(digest);
            fs::remove_file(&path).at(&path)?;
        }
        Ok(damaged)
    }

    /// Begins a blob.
    pub fn writer(self: &Arc<Self>) -> Result<BlobWriter> {
        let path = self.temp_path();
        let file = File::create_new(&path).at(&path)?;
        Ok(BlobWriter { store: Arc::clone(self), path, file, hash: Sha256::new(), size: 0 })
    }

    /// Writes a small blob.
    pub fn put(
        self: &Arc<Self>,
        bytes: &[u8],
        media_type: &str,
        pins: &Pins,
    ) -> Result<Descriptor> {
        let mut writer = self.writer()?;
        writer.write_all(bytes).context(|| "writing a blob".to_owned())?;
        let (digest, size) = writer.commit(None, pins)?;
        Ok(Descriptor::new(media_type, digest, size))
    }
}

/// A blob in the making. Dropped before `commit`, it leaves nothing.
pub struct BlobWriter {
    store: Arc<Store>,
    path: PathBuf,
    file: File,
    hash: Sha256,
    size: u64,
}

impl BlobWriter {
    /// Bytes so far.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Syncs it and gives it its name. With `expected`, a blob with another digest is refused.
    pub fn commit(mut self, expected: Option<&Digest>, pins: &Pins) -> Result<(Digest, u64)> {
        let digest = Digest::from_hash(std::mem::take(&mut self.hash));
        if let Some(expected) = expected
            && expected != &digest
        {
            return Err(Error::invalid(format!(
                "content has digest {digest}, not {expected} as announced: it was changed or damaged on the way"
            )));
        }
        pins.add(&digest);
        let target = self.store.blob_path(&digest);
        if !target.exists() {
            self.file.sync_all().at(&target)?;
            fs::rename(&self.path, &target).at(&target)?;
            sync_parent(&target).at(&target)?;
        }
        Ok((digest, self.size))
    }
}

impl Write for BlobWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let n = self.file.write(bytes)?;
        self.hash.update(&bytes[..n]);
        self.size += n as u64;
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Drop for BlobWriter {
    fn drop(&mut self) {
        // Gone already after a commit.
        let _ = fs::remove_file(&self.path);
    }
}
