//! The merged view of unpacked layers, as overlayfs would show it, without a mount: needed to place
//! files of the next layer, to copy out of an image, and to read its `/etc/passwd`.
//!
//! Every step of a path is looked at by itself, links are followed by us inside the view: nothing
//! leads out of the layers.

use std::collections::{BTreeSet, VecDeque};
use std::ffi::{OsStr, OsString};
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Component, Path, PathBuf};

/// overlayfs' mark of a directory that hides those below.
pub(crate) const OPAQUE: &str = "trusted.overlay.opaque";

/// As many links as Linux follows.
const MAX_LINKS: u32 = 40;

/// Layers, uppermost first.
#[derive(Debug, Clone, Default)]
pub struct View {
    layers: Vec<PathBuf>,
}

/// Something in the view.
#[derive(Debug)]
pub struct Found {
    /// Where it really is. Its parents are directories; it may itself be a symbolic link.
    pub path: PathBuf,
    /// Of itself, not of what it points at.
    pub meta: Metadata,
}

impl View {
    /// Of layers, uppermost first.
    pub fn new(layers: Vec<PathBuf>) -> Self {
        Self { layers }
    }

    /// What is at a path without links in it.
    pub fn lookup(&self, path: &[OsString]) -> io::Result<Option<Found>> {
        for layer in &self.layers {
            match probe(layer, path)? {
                Probe::Found(found) => return Ok(Some(found)),
                Probe::Hidden => return Ok(None),
                Probe::Below => {}
            }
        }
        Ok(None)
    }

    /// Follows links (the last one too when `follow`). Answers the path without links, and what is
    /// there. What is missing may be made there.
    pub fn resolve(&self, path: &Path, follow: bool) -> io::Result<(Vec<OsString>, Option<Found>)> {
        let mut todo = steps(path);
        let mut at: Vec<OsString> = Vec::new();
        let mut found = None;
        let mut links = 0;
        while let Some(step) = todo.pop_front() {
            if step == ".." {
                at.pop();
                continue;
            }
            at.push(step);
            found = self.lookup(&at)?;
            if let Some(link) = &found
                && link.meta.is_symlink()
                && (follow || !todo.is_empty())
            {
                links += 1;
                if links > MAX_LINKS {
                    return Err(rustix::io::Errno::LOOP.into());
                }
                let target = fs::read_link(&link.path)?;
                at.pop();
                if target.has_root() {
                    at.clear();
                }
                for step in steps(&target).into_iter().rev() {
                    todo.push_front(step);
                }
                found = None;
            }
        }
        if found.is_none() {
            found = self.lookup(&at)?;
        }
        Ok((at, found))
    }

    /// Names in a directory, sorted.
    pub fn read_dir(&self, path: &[OsString]) -> io::Result<Vec<OsString>> {
        let mut names = BTreeSet::new();
        let mut hidden = BTreeSet::new();
        for layer in &self.layers {
            let found = match probe(layer, path)? {
                Probe::Found(found) => found,
                Probe::Hidden => break,
                Probe::Below => continue,
            };
            if !found.meta.is_dir() {
                break;
            }
            for entry in fs::read_dir(&found.path)? {
                let entry = entry?;
                let name = entry.file_name();
                if hidden.contains(&name) {
                    continue;
                }
                if is_whiteout(&entry.metadata()?) {
                    hidden.insert(name);
                } else {
                    hidden.insert(name.clone());
                    names.insert(name);
                }
            }
            if has_opaque(layer, path)? {
                break;
            }
        }
        Ok(names.into_iter().collect())
    }

    /// A small file, through links; none when it is not there.
    pub fn read_file(&self, path: &str) -> io::Result<Option<Vec<u8>>> {
        match self.resolve(Path::new(path), true)?.1 {
            Some(found) if found.meta.is_file() => Ok(Some(fs::read(&found.path)?)),
            _ => Ok(None),
        }
    }
}

enum Probe {
    /// This layer has it.
    Found(Found),
    /// This layer says that it is not there.
    Hidden,
    /// This layer says nothing.
    Below,
}

fn probe(layer: &Path, path: &[OsString]) -> io::Result<Probe> {
    let mut real = layer.to_owned();
    let mut cut = false;
    let mut meta = fs::symlink_metadata(&real)?;
    for step in path {
        if !meta.is_dir() {
            return Ok(Probe::Hidden);
        }
        real.push(step);
        meta = match fs::symlink_metadata(&real) {
            Ok(meta) => meta,
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                return Ok(if cut { Probe::Hidden } else { Probe::Below });
            }
            Err(e) => return Err(e),
        };
        if is_whiteout(&meta) {
            return Ok(Probe::Hidden);
        }
        cut |= meta.is_dir() && opaque(&real)?;
    }
    Ok(Probe::Found(Found { path: real, meta }))
}

fn has_opaque(layer: &Path, path: &[OsString]) -> io::Result<bool> {
    let mut real = layer.to_owned();
    for step in path {
        real.push(step);
        if opaque(&real)? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Whether a directory hides those below.
pub fn opaque(dir: &Path) -> io::Result<bool> {
    use rustix::io::Errno;
    let mut value = [0u8; 8];
    match rustix::fs::lgetxattr(dir, OPAQUE, &mut value[..]) {
        Ok(n) => Ok(value.get(..n) == Some(b"y")),
        // No attribute; none possible; nothing there; too long to be ours; not root, who cannot
        // have made one.
        Err(Errno::NODATA | Errno::NOTSUP | Errno::NOENT | Errno::RANGE | Errno::PERM) => Ok(false),
        Err(e) => Err(e.into()),
    }
}

/// overlayfs' form of "not there".
pub(crate) fn is_whiteout(meta: &Metadata) -> bool {
    meta.file_type().is_char_device() && meta.rdev() == 0
}

/// Steps of a path, `.` and the root left out.
pub(crate) fn steps(path: &Path) -> VecDeque<OsString> {
    path.components()
        .filter_map(|c| match c {
            Component::Normal(name) => Some(name.to_owned()),
            Component::ParentDir => Some(OsStr::new("..").to_owned()),
            Component::CurDir | Component::RootDir | Component::Prefix(_) => None,
        })
        .collect()
}
