//! The content store: what of images is on this disk. Everything appears by rename, so that a
//! crash leaves whole things and a `tmp/` that the next start empties. Blocking: call it from
//! blocking threads.
//!
//! One lock guards names, pins and collection. Whoever makes or uses content pins it first
//! ([`Store::pins`]), under that lock; the collector works under it too and spares what is pinned,
//! named or held. So nothing vanishes between "it is here" and its use.

mod blobs;
mod gc;
mod holds;
mod image;
mod layers;
mod refs;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::{Condvar, Mutex};

pub use blobs::BlobWriter;
pub use gc::Collected;
pub use image::{StoredImage, image_config};

use crate::error::Context;
use crate::{Digest, Result};

/// The store of a node. One process at a time (the data directory's lock sees to it).
pub struct Store {
    root: PathBuf,
    state: Mutex<State>,
    unpacking: KeyedLocks,
    boot_id: String,
    sequence: AtomicU64,
}

struct State {
    /// Reference key (see `Reference::key`) → manifest.
    refs: BTreeMap<String, Digest>,
    /// Digests of blobs and chain ids of layers that some operation relies on → how often.
    pins: HashMap<Digest, usize>,
}

impl Store {
    /// Opens the store in `root` (`…/images`), making it where needed, and removes what an earlier
    /// process left unfinished.
    pub fn open(root: &Path) -> Result<Arc<Self>> {
        for dir in ["blobs/sha256", "layers", "holds", "cache"] {
            let dir = root.join(dir);
            fs::create_dir_all(&dir).at(&dir)?;
        }
        let tmp = root.join("tmp");
        if tmp.exists() {
            // Root file systems of build steps that a crash left mounted.
            for entry in fs::read_dir(&tmp).at(&tmp)?.flatten() {
                let merged = entry.path().join(crate::build::MERGED);
                let _ = rustix::mount::unmount(merged, rustix::mount::UnmountFlags::DETACH);
            }
            fs::remove_dir_all(&tmp).at(&tmp)?;
        }
        fs::create_dir(&tmp).at(&tmp)?;
        // Layers hold other people's setuid programs: nobody but root walks in.
        use std::os::unix::fs::PermissionsExt;
        fs::set_permissions(root, fs::Permissions::from_mode(0o700)).at(root)?;
        let boot_id = fs::read_to_string("/proc/sys/kernel/random/boot_id")
            .map(|id| id.trim().to_owned())
            .unwrap_or_default();
        let store = Self {
            root: root.to_owned(),
            state: Mutex::new(State { refs: refs::load(root)?, pins: HashMap::new() }),
            unpacking: KeyedLocks::default(),
            boot_id,
            sequence: AtomicU64::new(0),
        };
        store.drop_unsynced_layers()?;
        Ok(Arc::new(store))
    }

    /// Where it is.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// A path in `tmp/` that nobody else uses; nothing is there yet.
    pub fn temp_path(&self) -> PathBuf {
        let n = self.sequence.fetch_add(1, Ordering::Relaxed);
        self.root.join(format!("tmp/{}-{n}", std::process::id()))
    }

    /// A directory in `tmp/` that goes away with the guard.
    pub fn temp_dir(&self) -> Result<TempDir> {
        let path = self.temp_path();
        fs::create_dir(&path).at(&path)?;
        Ok(TempDir(path))
    }

    /// A file that is there whole and synced, or not at all.
    pub(crate) fn write_atomic(&self, path: &Path, bytes: &[u8]) -> Result<()> {
        let temp = self.temp_path();
        let written = (|| {
            use std::io::Write;
            let mut file = fs::File::create_new(&temp)?;
            file.write_all(bytes)?;
            file.sync_all()?;
            fs::rename(&temp, path)?;
            sync_parent(path)
        })();
        if written.is_err() {
            let _ = fs::remove_file(&temp);
        }
        written.at(path)
    }

    /// A set of pins, empty; dropping it unpins.
    pub fn pins(self: &Arc<Self>) -> Pins {
        Pins { store: Arc::clone(self), pinned: Mutex::new(Vec::new()) }
    }
}

/// Makes a rename in its directory last.
fn sync_parent(path: &Path) -> std::io::Result<()> {
    match path.parent() {
        Some(parent) => fs::File::open(parent)?.sync_all(),
        None => Ok(()),
    }
}

/// Content that an operation relies on; the collector spares it.
pub struct Pins {
    store: Arc<Store>,
    pinned: Mutex<Vec<Digest>>,
}

impl Pins {
    /// Pins a blob (its digest) or a layer (its chain id), there or not yet.
    pub fn add(&self, digest: &Digest) {
        *self.store.state.lock().pins.entry(digest.clone()).or_default() += 1;
        self.pinned.lock().push(digest.clone());
    }
}

impl Drop for Pins {
    fn drop(&mut self) {
        let mut state = self.store.state.lock();
        for digest in self.pinned.get_mut().drain(..) {
            if let Some(count) = state.pins.get_mut(&digest) {
                *count -= 1;
                if *count == 0 {
                    state.pins.remove(&digest);
                }
            }
        }
    }
}

/// A directory that goes away with this.
pub struct TempDir(PathBuf);

impl TempDir {
    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        if let Err(e) = fs::remove_dir_all(&self.0)
            && e.kind() != std::io::ErrorKind::NotFound
        {
            tracing::warn!(path = %self.0.display(), error = %e, "temporary directory stays until the next start");
        }
    }
}

/// Mutual exclusion by name, for blocking code.
#[derive(Default)]
struct KeyedLocks {
    taken: Mutex<HashSet<Digest>>,
    freed: Condvar,
}

impl KeyedLocks {
    fn lock(&self, key: &Digest) -> KeyGuard<'_> {
        let mut taken = self.taken.lock();
        while !taken.insert(key.clone()) {
            self.freed.wait(&mut taken);
        }
        KeyGuard { locks: self, key: key.clone() }
    }
}

struct KeyGuard<'a> {
    locks: &'a KeyedLocks,
    key: Digest,
}

impl Drop for KeyGuard<'_> {
    fn drop(&mut self) {
        self.locks.taken.lock().remove(&self.key);
        self.locks.freed.notify_all();
    }
}
