//! Writes the entries of a tar into a directory, believing none of them.
//!
//! - Every directory on the way is opened by itself with `O_NOFOLLOW`, relative to its parent's file
//!   descriptor; links on the way are followed by us, inside the root. So no name, planted link or
//!   race leads out.
//! - `..` in a name is refused. Targets of symbolic links are text. Targets of hard links are found
//!   like any other path, the last step not followed.
//! - Order of attributes: owner, mode (a change of owner clears setuid), extended attributes (a
//!   change of owner clears file capabilities), times; directories' times last of all.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{
    AtFlags, Dir, FileType, Gid, Mode, OFlags, Timespec, Timestamps, Uid, XattrFlags, chmodat,
    chownat, fchmod, fchown, fsetxattr, futimens, linkat, makedev, mkdirat, mknodat, open, openat,
    readlinkat, statat, symlinkat, unlinkat, utimensat,
};
use rustix::io::Errno;
use tar::EntryType;

use super::view::{OPAQUE, View, is_whiteout, steps};
use crate::error::Context;
use crate::{Error, Result};

/// What names that begin with `.wh.` mean.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Whiteouts {
    /// OCI layers: something below is gone.
    Convert,
    /// Nothing.
    Keep,
}

const MAX_LINKS: u32 = 40;
const DIR: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// Unpacks; answers the number of entries.
pub(super) fn unpack(
    tar: &mut impl Read,
    root: &Path,
    below: &View,
    whiteouts: Whiteouts,
) -> Result<u64> {
    let fd = open(root, DIR, Mode::empty()).at(root)?;
    // Who unpacks without root (a build context, a test) keeps what it makes.
    let mut tree = Tree {
        root: fd,
        below,
        own: rustix::process::geteuid().is_root(),
        parents: HashMap::new(),
        dir_times: Vec::new(),
        buffer: vec![0; 256 << 10],
    };
    if below.lookup(&[]).at(root)?.is_none() {
        fchmod(&tree.root, Mode::from_raw_mode(0o755)).at(root)?;
    } else {
        tree.inherit(&[], tree.root.as_fd())?;
    }
    let mut archive = tar::Archive::new(tar);
    let mut entries = 0;
    for entry in archive.entries().context(|| "archive".to_owned())? {
        let mut entry = entry.context(|| "archive".to_owned())?;
        let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        tree.entry(&mut entry, whiteouts).map_err(|e| match e {
            Error::Io { context, source } if context.is_empty() => {
                Error::Io { context: format!("entry {name:?}"), source }
            }
            Error::Io { .. } => e,
            other => Error::invalid(format!("entry {name:?}: {other}")),
        })?;
        entries += 1;
    }
    tree.finish()?;
    Ok(entries)
}

struct Tree<'a> {
    root: OwnedFd,
    below: &'a View,
    own: bool,
    /// Directories that were found lately, by the name as the archive has it; forgotten when a link
    /// or a directory goes.
    parents: HashMap<PathBuf, (Vec<OsString>, OwnedFd)>,
    dir_times: Vec<(Vec<OsString>, Timestamps)>,
    buffer: Vec<u8>,
}

struct Attributes {
    uid: Uid,
    gid: Gid,
    mode: Mode,
    times: Timestamps,
    xattrs: Vec<(String, Vec<u8>)>,
}

impl Tree<'_> {
    fn entry(&mut self, entry: &mut tar::Entry<'_, impl Read>, whiteouts: Whiteouts) -> Result<()> {
        let kind = entry.header().entry_type();
        if matches!(kind, EntryType::XGlobalHeader) {
            return Ok(());
        }
        let path = entry.path().raw()?.into_owned();
        let attributes = attributes(entry)?;
        let mut names = plain(&path)?;
        let Some(name) = names.pop() else {
            // The root itself.
            if kind == EntryType::Directory {
                let fd = openat(&self.root, ".", DIR, Mode::empty()).raw()?;
                self.set(fd.as_fd(), &attributes)?;
                self.dir_times.push((Vec::new(), attributes.times));
            }
            return Ok(());
        };
        let parent: PathBuf = names.iter().collect();
        let (at, dir) = self.parent(&parent)?;
        if whiteouts == Whiteouts::Convert {
            if name == ".wh..wh..opq" {
                return self.make_opaque(&dir);
            }
            if let Some(hidden) = name.as_bytes().strip_prefix(b".wh.") {
                let hidden = OsStr::from_bytes(hidden);
                if hidden.is_empty() || hidden == "." || hidden == ".." {
                    return Err(Error::invalid("it hides no name"));
                }
                // aufs' own book-keeping.
                if hidden.as_bytes().starts_with(b".wh.") {
                    return Ok(());
                }
                // What this layer has itself is not meant (OCI layer specification, "Whiteouts").
                return match mknodat(&dir, hidden, FileType::CharacterDevice, Mode::empty(), 0) {
                    Err(Errno::EXIST) => match openat(&dir, hidden, DIR, Mode::empty()) {
                        Ok(fd) => self.make_opaque(&fd),
                        Err(_) => Ok(()),
                    },
                    other => other.raw(),
                };
            }
        }
        if kind == EntryType::Directory {
            return self.directory(&at, &dir, &name, &attributes);
        }
        self.clear(&dir, &name)?;
        match kind {
            EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => {
                return self.file(&dir, &name, &attributes, entry);
            }
            EntryType::Link => {
                let target = entry
                    .link_name()
                    .raw()?
                    .ok_or_else(|| Error::invalid("the link has no target"))?;
                return self.hard_link(&dir, &name, &target);
            }
            EntryType::Symlink => {
                let target = entry
                    .link_name()
                    .raw()?
                    .ok_or_else(|| Error::invalid("the link has no target"))?;
                symlinkat(&*target, &dir, &name).raw()?;
                self.parents.clear();
            }
            EntryType::Char | EntryType::Block | EntryType::Fifo => {
                let device = makedev(
                    entry.header().device_major().raw()?.unwrap_or(0),
                    entry.header().device_minor().raw()?.unwrap_or(0),
                );
                let kind = match kind {
                    EntryType::Char => FileType::CharacterDevice,
                    EntryType::Block => FileType::BlockDevice,
                    _ => FileType::Fifo,
                };
                if kind == FileType::CharacterDevice && device == 0 {
                    return Err(Error::invalid(
                        "a character device 0/0 is overlayfs' whiteout, not a device",
                    ));
                }
                mknodat(&dir, &name, kind, Mode::from_raw_mode(0o600), device).raw()?;
            }
            other => {
                return Err(Error::invalid(format!("entries of type {other:?} are not known")));
            }
        }
        if self.own {
            chownat(
                &dir,
                &name,
                Some(attributes.uid),
                Some(attributes.gid),
                AtFlags::SYMLINK_NOFOLLOW,
            )
            .raw()?;
        }
        if kind != EntryType::Symlink {
            // Just made by us in a directory that nobody else writes: no link.
            chmodat(&dir, &name, attributes.mode, AtFlags::empty()).raw()?;
        }
        utimensat(&dir, &name, &attributes.times, AtFlags::SYMLINK_NOFOLLOW).raw()
    }

    fn file(
        &mut self,
        dir: &OwnedFd,
        name: &OsStr,
        attributes: &Attributes,
        from: &mut impl Read,
    ) -> Result<()> {
        let flags =
            OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut file = File::from(openat(dir, name, flags, Mode::from_raw_mode(0o600)).raw()?);
        loop {
            match from.read(&mut self.buffer) {
                Ok(0) => break,
                Ok(n) => file.write_all(&self.buffer[..n]).raw()?,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e).raw(),
            }
        }
        self.set(file.as_fd(), attributes)?;
        futimens(&file, &attributes.times).raw()
    }

    fn directory(
        &mut self,
        at: &[OsString],
        dir: &OwnedFd,
        name: &OsStr,
        attributes: &Attributes,
    ) -> Result<()> {
        let fd = match openat(dir, name, DIR, Mode::empty()) {
            Ok(fd) => fd,
            Err(_) => {
                let hidden = self.clear(dir, name)?;
                mkdirat(dir, name, Mode::from_raw_mode(0o700)).raw()?;
                let fd = openat(dir, name, DIR, Mode::empty()).raw()?;
                if hidden {
                    self.make_opaque(&fd)?;
                }
                fd
            }
        };
        self.set(fd.as_fd(), attributes)?;
        let path = at.iter().cloned().chain([name.to_owned()]).collect();
        self.dir_times.push((path, attributes.times.clone()));
        Ok(())
    }

    fn hard_link(&mut self, dir: &OwnedFd, name: &OsStr, target: &Path) -> Result<()> {
        let mut names = plain(target)?;
        let last = names.pop().ok_or_else(|| Error::invalid("it links to the root"))?;
        let parent: PathBuf = names.iter().collect();
        let (at, target_dir) = self.parent(&parent)?;
        match linkat(&target_dir, &last, dir, name, AtFlags::empty()) {
            Err(Errno::NOENT) => {}
            other => return other.raw(),
        }
        // The target lies in a layer below: overlayfs would copy it up.
        let path: Vec<OsString> = at.into_iter().chain([last.clone()]).collect();
        let found =
            self.below.lookup(&path).raw()?.filter(|f| f.meta.is_file()).ok_or_else(|| {
                Error::invalid(format!("its target {} is not there", target.display()))
            })?;
        let attributes = of_meta(&found.meta);
        let mut from = File::open(&found.path).raw()?;
        self.file(&target_dir, &last, &attributes, &mut from)?;
        linkat(&target_dir, &last, dir, name, AtFlags::empty()).raw()
    }

    /// Opens a directory, making what is missing as the layers below have it. Answers its path
    /// without links too.
    fn parent(&mut self, path: &Path) -> Result<(Vec<OsString>, OwnedFd)> {
        if let Some((at, fd)) = self.parents.get(path) {
            return Ok((at.clone(), fd.try_clone().raw()?));
        }
        let mut todo = steps(path);
        let mut at: Vec<OsString> = Vec::new();
        let mut dirs = vec![openat(&self.root, ".", DIR, Mode::empty()).raw()?];
        let mut links = 0;
        while let Some(step) = todo.pop_front() {
            let Some(dir) = dirs.last() else { break };
            if step == ".." {
                // Only from a link's target; never above the root.
                if dirs.len() > 1 {
                    dirs.pop();
                    at.pop();
                }
                continue;
            }
            let target = match openat(dir, &step, DIR, Mode::empty()) {
                Ok(fd) => {
                    dirs.push(fd);
                    at.push(step);
                    continue;
                }
                Err(Errno::NOENT) => {
                    let path: Vec<OsString> = at.iter().cloned().chain([step.clone()]).collect();
                    match self.below.lookup(&path).raw()? {
                        Some(found) if found.meta.is_symlink() => {
                            std::fs::read_link(&found.path).raw()?
                        }
                        found => {
                            mkdirat(dir, &step, Mode::from_raw_mode(0o755)).raw()?;
                            let fd = openat(dir, &step, DIR, Mode::empty()).raw()?;
                            if found.is_some_and(|f| f.meta.is_dir()) {
                                self.inherit(&path, fd.as_fd())?;
                            } else {
                                fchmod(&fd, Mode::from_raw_mode(0o755)).raw()?;
                            }
                            dirs.push(fd);
                            at.push(step);
                            continue;
                        }
                    }
                }
                Err(Errno::NOTDIR | Errno::LOOP) => match readlinkat(dir, &step, Vec::new()) {
                    Ok(target) => PathBuf::from(OsStr::from_bytes(target.as_bytes())),
                    Err(Errno::INVAL) => {
                        let shown: PathBuf = at.iter().chain([&step]).collect();
                        // A whiteout before the new directory of the same name.
                        let meta = statat(dir, &step, AtFlags::SYMLINK_NOFOLLOW).raw()?;
                        if FileType::from_raw_mode(meta.st_mode) == FileType::CharacterDevice
                            && meta.st_rdev == 0
                        {
                            unlinkat(dir, &step, AtFlags::empty()).raw()?;
                            mkdirat(dir, &step, Mode::from_raw_mode(0o755)).raw()?;
                            let fd = openat(dir, &step, DIR, Mode::empty()).raw()?;
                            self.make_opaque(&fd)?;
                            dirs.push(fd);
                            at.push(step);
                            continue;
                        }
                        return Err(Error::invalid(format!("{} is no directory", shown.display())));
                    }
                    Err(e) => return Err(e).raw(),
                },
                Err(e) => return Err(e).raw(),
            };
            links += 1;
            if links > MAX_LINKS {
                return Err(Errno::LOOP).raw();
            }
            if target.has_root() {
                dirs.truncate(1);
                at.clear();
            }
            for step in steps(&target).into_iter().rev() {
                todo.push_front(step);
            }
        }
        let fd = dirs.pop().ok_or_else(|| Error::invalid("no root"))?;
        if self.parents.len() > 64 {
            self.parents.clear();
        }
        self.parents.insert(path.to_owned(), (at.clone(), fd.try_clone().raw()?));
        Ok((at, fd))
    }

    /// Gives a directory that the layer does not carry itself what the layers below give it.
    fn inherit(&self, path: &[OsString], fd: std::os::fd::BorrowedFd<'_>) -> Result<()> {
        if let Some(found) = self.below.lookup(path).raw()?
            && found.meta.is_dir()
        {
            let attributes = of_meta(&found.meta);
            self.set(fd, &attributes)?;
            futimens(fd, &attributes.times).raw()?;
        }
        Ok(())
    }

    fn set(&self, fd: std::os::fd::BorrowedFd<'_>, attributes: &Attributes) -> Result<()> {
        if self.own {
            fchown(fd, Some(attributes.uid), Some(attributes.gid)).raw()?;
        }
        fchmod(fd, attributes.mode).raw()?;
        for (name, value) in &attributes.xattrs {
            match fsetxattr(fd, name.as_str(), value, XattrFlags::empty()) {
                // A label that this kernel or file system does not know is not worth the image;
                // capabilities of a program are.
                Err(Errno::NOTSUP | Errno::PERM) if name != "security.capability" => {}
                other => other.context(|| format!("attribute {name}"))?,
            }
        }
        Ok(())
    }

    fn make_opaque(&self, dir: &OwnedFd) -> Result<()> {
        fsetxattr(dir, OPAQUE, b"y", XattrFlags::empty())
            .context(|| format!("{OPAQUE} (needs root and a file system with trusted attributes)"))
    }

    /// Removes what has the name. Answers whether it was a whiteout.
    fn clear(&mut self, dir: &OwnedFd, name: &OsStr) -> Result<bool> {
        let meta = match statat(dir, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(meta) => meta,
            Err(Errno::NOENT) => return Ok(false),
            Err(e) => return Err(e).raw(),
        };
        let kind = FileType::from_raw_mode(meta.st_mode);
        if kind == FileType::Directory || kind == FileType::Symlink {
            self.parents.clear();
        }
        remove(dir, name, kind).raw()?;
        Ok(kind == FileType::CharacterDevice && meta.st_rdev == 0)
    }

    /// Directories' times, children first.
    fn finish(self) -> Result<()> {
        for (path, times) in self.dir_times.iter().rev() {
            let mut fd = openat(&self.root, ".", DIR, Mode::empty()).raw()?;
            let mut there = true;
            for step in path {
                match openat(&fd, step, DIR, Mode::empty()) {
                    Ok(next) => fd = next,
                    // A later entry took its place.
                    Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => {
                        there = false;
                        break;
                    }
                    Err(e) => return Err(e).raw(),
                }
            }
            if there {
                futimens(&fd, times).raw()?;
            }
        }
        Ok(())
    }
}

fn remove(dir: impl AsFd, name: &OsStr, kind: FileType) -> io::Result<()> {
    if kind != FileType::Directory {
        return Ok(unlinkat(dir, name, AtFlags::empty())?);
    }
    let fd = openat(&dir, name, DIR, Mode::empty())?;
    for entry in Dir::read_from(&fd)? {
        let entry = entry?;
        let child = OsStr::from_bytes(entry.file_name().to_bytes());
        if child == "." || child == ".." {
            continue;
        }
        let meta = statat(&fd, child, AtFlags::SYMLINK_NOFOLLOW)?;
        remove(&fd, child, FileType::from_raw_mode(meta.st_mode))?;
    }
    Ok(unlinkat(dir, name, AtFlags::REMOVEDIR)?)
}

/// Steps of a name in an archive. A leading `/` or `./` is common and harmless; `..` is not.
fn plain(path: &Path) -> Result<Vec<OsString>> {
    path.components()
        .filter_map(|c| match c {
            Component::Normal(name) => Some(Ok(name.to_owned())),
            Component::ParentDir => Some(Err(Error::invalid("the path leaves the root (\"..\")"))),
            Component::CurDir | Component::RootDir | Component::Prefix(_) => None,
        })
        .collect()
}

fn attributes(entry: &mut tar::Entry<'_, impl Read>) -> Result<Attributes> {
    let mut xattrs = Vec::new();
    if let Some(extensions) = entry.pax_extensions().raw()? {
        for extension in extensions {
            let extension = extension.raw()?;
            let key = String::from_utf8_lossy(extension.key_bytes()).into_owned();
            if let Some(name) = key.strip_prefix("SCHILY.xattr.") {
                // Only we speak to overlayfs: a redirect from an image would show other directories.
                if !name.starts_with("trusted.overlay.") && !name.starts_with("user.overlay.") {
                    xattrs.push((name.to_owned(), extension.value_bytes().to_vec()));
                }
            }
        }
    }
    let header = entry.header();
    let id = |id: u64| {
        u32::try_from(id).map_err(|_| Error::invalid(format!("owner {id} is out of range")))
    };
    let seconds = i64::try_from(header.mtime().raw()?).unwrap_or(0);
    Ok(Attributes {
        uid: Uid::from_raw(id(header.uid().raw()?)?),
        gid: Gid::from_raw(id(header.gid().raw()?)?),
        mode: Mode::from_raw_mode(header.mode().raw()? & 0o7777),
        times: times(seconds),
        xattrs,
    })
}

fn of_meta(meta: &std::fs::Metadata) -> Attributes {
    debug_assert!(!is_whiteout(meta));
    Attributes {
        uid: Uid::from_raw(meta.uid()),
        gid: Gid::from_raw(meta.gid()),
        mode: Mode::from_raw_mode(meta.mode() & 0o7777),
        times: times(meta.mtime()),
        xattrs: Vec::new(),
    }
}

fn times(seconds: i64) -> Timestamps {
    let time = Timespec { tv_sec: seconds, tv_nsec: 0 };
    Timestamps { last_access: time, last_modification: time }
}

/// Errors whose context is the entry's name, added by the loop.
trait Raw<T> {
    fn raw(self) -> Result<T>;
}

impl<T, E: Into<io::Error>> Raw<T> for std::result::Result<T, E> {
    fn raw(self) -> Result<T> {
        self.context(String::new)
    }
}
