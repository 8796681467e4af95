//! `COPY` and `ADD`: which files, where to, and the layer that they make.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use super::context::Tree;
use super::glob::{is_pattern, matches};
use super::layer::{Attributes, LayerWriter};
use crate::error::Context;
use crate::unpack::{Found, View, is_tar};
use crate::{Digest, Error, Result};

/// What is to be copied, with everything expanded.
pub(super) struct Request {
    pub(super) add: bool,
    pub(super) sources: Vec<String>,
    pub(super) inline: Vec<(String, Vec<u8>)>,
    /// As written: a trailing slash says that it is a directory.
    pub(super) dest: String,
    pub(super) working_dir: String,
    pub(super) owner: Option<(u32, u32)>,
    pub(super) chmod: Option<u32>,
}

/// A list of entries, in the order of the layer.
pub(super) struct Plan {
    items: Vec<Item>,
}

struct Item {
    /// Where to, relative to the root, without links on the way.
    to: PathBuf,
    attributes: Attributes,
    what: What,
}

enum What {
    Dir,
    File(PathBuf),
    Inline(Vec<u8>),
    Symlink(PathBuf),
    Archive(PathBuf),
    Special(fs::Metadata),
}

/// Decides; `base` is the image so far.
pub(super) fn plan(request: &Request, from: &Tree, base: &View) -> Result<Plan> {
    let sources = find(request, from)?;
    let dest = Path::new(&request.working_dir).join(&request.dest);
    let many = sources.len() + request.inline.len() > 1;
    let slash = request.dest.ends_with('/') || request.dest.ends_with("/.") || request.dest == ".";
    if many && !slash {
        return Err(Error::invalid(format!(
            "with more than one source the destination is a directory: write {}/",
            request.dest
        )));
    }
    let (at, existing) = base.resolve(&dest, true).at(&dest)?;
    let existing_dir = existing.as_ref().is_some_and(|f| f.meta.is_dir());
    let mut builder = Builder { request, items: Vec::new(), newest: 0 };
    for (path, found) in &sources {
        let name = path.last().cloned().unwrap_or_default();
        let into: PathBuf = at.iter().collect();
        if found.meta.is_dir() {
            if existing.is_some() && !existing_dir {
                return Err(Error::invalid(format!(
                    "{} is a file in the image, not a directory",
                    dest.display()
                )));
            }
            // A source named by a pattern or by itself: its contents, not the directory.
            if !existing_dir && !into.as_os_str().is_empty() {
                builder.push(&into, found, from.keep_owner)?;
            }
            let mut children = Vec::new();
            from.walk(path, usize::MAX, &mut |path, found| {
                children.push((path.to_vec(), found.path.clone(), found.meta.clone()));
            })?;
            for (child, real, meta) in children {
                let rest: PathBuf = child.iter().skip(path.len()).collect();
                builder.push(&into.join(rest), &Found { path: real, meta }, from.keep_owner)?;
            }
        } else if request.add && found.meta.is_file() && is_archive(&found.path)? {
            builder.items.push(Item {
                to: into,
                attributes: Attributes::of(&found.meta),
                what: What::Archive(found.path.clone()),
            });
        } else {
            let to = if slash || existing_dir { into.join(&name) } else { into };
            builder.push(&to, found, from.keep_owner)?;
        }
    }
    for (name, text) in &request.inline {
        let into: PathBuf = at.iter().collect();
        let to = if slash || existing_dir { into.join(name) } else { into };
        let attributes =
            builder.attributes(Attributes { mode: 0o644, ..Attributes::default() }, false);
        builder.items.push(Item { to, attributes, what: What::Inline(text.clone()) });
    }
    let newest = builder.newest;
    let mut items = builder.items;
    items.sort_by(|a, b| a.to.cmp(&b.to));
    // The same directory from two sources.
    items.dedup_by(|b, a| a.to == b.to && matches!((&a.what, &b.what), (What::Dir, What::Dir)));
    let items = with_parents(items, base, newest)?;
    Ok(Plan { items })
}

struct Builder<'a> {
    request: &'a Request,
    items: Vec<Item>,
    newest: i64,
}

impl Builder<'_> {
    fn attributes(&self, own: Attributes, keep_owner: bool) -> Attributes {
        let (uid, gid) = match self.request.owner {
            Some(owner) => owner,
            None if keep_owner => (own.uid, own.gid),
            None => (0, 0),
        };
        Attributes { uid, gid, mode: self.request.chmod.unwrap_or(own.mode), ..own }
    }

    fn push(&mut self, to: &Path, found: &Found, keep_owner: bool) -> Result<()> {
        let meta = &found.meta;
        let mut attributes = self.attributes(Attributes::of(meta), keep_owner);
        let what = if meta.is_dir() {
            What::Dir
        } else if meta.is_symlink() {
            attributes.mode = 0o777;
            What::Symlink(fs::read_link(&found.path).at(&found.path)?)
        } else if meta.is_file() {
            What::File(found.path.clone())
        } else {
            What::Special(meta.clone())
        };
        self.newest = self.newest.max(attributes.mtime);
        self.items.push(Item { to: to.to_owned(), attributes, what });
        Ok(())
    }
}

/// Directories on the way that neither the image nor the copy has.
fn with_parents(items: Vec<Item>, base: &View, mtime: i64) -> Result<Vec<Item>> {
    let mut out: Vec<Item> = Vec::with_capacity(items.len() + 2);
    let mut made = std::collections::BTreeSet::new();
    for item in items {
        let parent = match item.what {
            What::Archive(_) => Some(item.to.as_path()),
            _ => item.to.parent(),
        };
        let mut missing = Vec::new();
        let mut at = parent;
        while let Some(dir) = at.filter(|d| !d.as_os_str().is_empty() && !made.contains(*d)) {
            let path: Vec<OsString> = dir.iter().map(Into::into).collect();
            if base.lookup(&path).at(dir)?.is_some_and(|f| f.meta.is_dir()) {
                break;
            }
            missing.push(dir.to_owned());
            at = dir.parent();
        }
        for dir in missing.into_iter().rev() {
            made.insert(dir.clone());
            let attributes = Attributes { mode: 0o755, mtime, ..Attributes::default() };
            out.push(Item { to: dir, attributes, what: What::Dir });
        }
        if matches!(item.what, What::Dir) {
            made.insert(item.to.clone());
        }
        out.push(item);
    }
    Ok(out)
}

/// The sources, patterns resolved.
fn find(request: &Request, from: &Tree) -> Result<Vec<(Vec<OsString>, Found)>> {
    let mut sources = Vec::new();
    for source in &request.sources {
        if request.add && is_remote(source) {
            return Err(Error::invalid(format!(
                "ADD from the network ({source}) is not supported: download it in a RUN, or put it into the context"
            )));
        }
        let steps: Vec<String> = Path::new(source)
            .components()
            .filter_map(|c| match c {
                std::path::Component::Normal(n) => Some(n.to_string_lossy().into_owned()),
                std::path::Component::ParentDir => Some("..".to_owned()),
                _ => None,
            })
            .collect();
        let normal = normalise(&steps)
            .ok_or_else(|| Error::invalid(format!("{source} is outside of the build context")))?;
        let before = sources.len();
        if is_pattern(source) {
            let pattern = normal.join("/");
            from.walk(&[], normal.len(), &mut |path, found| {
                let text: Vec<_> = path.iter().map(|p| p.to_string_lossy()).collect();
                if matches(&pattern, &text.join("/")) {
                    sources.push((
                        path.to_vec(),
                        Found { path: found.path.clone(), meta: found.meta.clone() },
                    ));
                }
            })?;
            // Links that a pattern names are followed like those named outright.
            for (path, found) in
                sources.iter_mut().skip(before).filter(|(_, f)| f.meta.is_symlink())
            {
                let whole: PathBuf = path.iter().collect();
                if let (_, Some(target)) = from.view.resolve(&whole, true).at(&whole)? {
                    *found = target;
                }
            }
        } else {
            let path: PathBuf = normal.iter().collect();
            let (at, found) = from.view.resolve(&path, true).at(&path)?;
            let name: Vec<OsString> = normal.iter().map(Into::into).collect();
            if let Some(found) = found.filter(|_| !from.ignore.ignores(&name) || normal.is_empty())
            {
                // A file keeps the name that it was called by.
                let path = if found.meta.is_dir() { at } else { name };
                sources.push((path, found));
            }
        }
        if sources.len() == before {
            let hint = if from.keep_owner {
                ""
            } else {
                " in the build context (or .dockerignore leaves it out)"
            };
            return Err(Error::invalid(format!("{source} is not there{hint}")));
        }
    }
    Ok(sources)
}

/// `a/../b` → `b`; none when it leaves the root.
fn normalise(steps: &[String]) -> Option<Vec<String>> {
    let mut out = Vec::new();
    for step in steps {
        if step == ".." {
            out.pop()?;
        } else {
            out.push(step.clone());
        }
    }
    Some(out)
}

fn is_remote(source: &str) -> bool {
    ["http://", "https://", "git@", "git://", "ssh://"].iter().any(|p| source.starts_with(p))
}

fn is_archive(path: &Path) -> Result<bool> {
    let mut head = [0u8; 6];
    let n = io::Read::read(&mut File::open(path).at(path)?, &mut head).at(path)?;
    let head = head.get(..n).unwrap_or_default();
    if head.starts_with(b"BZh") || head.starts_with(&[0xfd, b'7', b'z', b'X', b'Z', 0]) {
        return Err(Error::invalid(format!(
            "{}: bzip2 and xz archives are not unpacked: use gzip or zstd, or COPY",
            path.display()
        )));
    }
    is_tar(File::open(path).at(path)?).at(path)
}

impl Plan {
    /// Digest of all that decides the layer, times left out: a fresh checkout is no change.
    pub(super) fn digest(&self) -> Result<Digest> {
        let mut hash = Sha256::new();
        for item in &self.items {
            let a = item.attributes;
            hash.update(item.to.as_os_str().as_encoded_bytes());
            hash.update(format!("\0{}:{}:{:o}:", a.uid, a.gid, a.mode));
            match &item.what {
                What::Dir => hash.update("d"),
                What::File(path) => {
                    hash.update("f");
                    hash.update(content(path)?);
                }
                What::Archive(path) => {
                    hash.update("a");
                    hash.update(content(path)?);
                }
                What::Inline(text) => {
                    hash.update("f");
                    hash.update(Sha256::digest(text));
                }
                What::Symlink(to) => {
                    hash.update("l");
                    hash.update(to.as_os_str().as_encoded_bytes());
                }
                What::Special(meta) => hash.update(format!("s{:?}", meta.file_type())),
            }
            hash.update("\n");
        }
        Ok(Digest::from_hash(hash))
    }

    /// Whether there is nothing to do.
    pub(super) fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Writes the entries.
    pub(super) fn write(&self, layer: &mut LayerWriter) -> Result<()> {
        for item in &self.items {
            match &item.what {
                What::Dir => layer.dir(&item.to, item.attributes)?,
                What::File(path) => layer.file(&item.to, item.attributes, path)?,
                What::Inline(text) => layer.bytes(&item.to, item.attributes, text)?,
                What::Symlink(to) => layer.symlink(&item.to, item.attributes, to)?,
                What::Archive(path) => layer.archive(&item.to, path)?,
                What::Special(meta) => layer.special(&item.to, meta)?,
            }
        }
        Ok(())
    }
}

/// `WORKDIR`: the directories that are missing.
pub(super) fn directories(path: &str, base: &View) -> Result<Plan> {
    let (at, found) = base.resolve(Path::new(path), true).at(Path::new(path))?;
    if found.as_ref().is_some_and(|f| !f.meta.is_dir()) {
        return Err(Error::invalid(format!("{path} is a file in the image, not a directory")));
    }
    if found.is_some() || at.is_empty() {
        return Ok(Plan { items: Vec::new() });
    }
    let item = Item {
        to: at.iter().collect(),
        attributes: Attributes { mode: 0o755, ..Attributes::default() },
        what: What::Dir,
    };
    Ok(Plan { items: with_parents(vec![item], base, 0)? })
}

fn content(path: &Path) -> Result<[u8; 32]> {
    let mut hash = Sha256::new();
    let mut file = io::BufReader::with_capacity(1 << 20, File::open(path).at(path)?);
    loop {
        let chunk = io::BufRead::fill_buf(&mut file).at(path)?;
        if chunk.is_empty() {
            return Ok(hash.finalize().into());
        }
        hash.update(chunk);
        let n = chunk.len();
        io::BufRead::consume(&mut file, n);
    }
}
