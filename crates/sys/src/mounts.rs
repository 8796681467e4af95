//! Mounts by file descriptor (the kernel's `open_tree` family, Linux 5.12 and newer), and paths
//! that cannot leave a root.
#![allow(unsafe_code)] // mount_setattr has no safe wrapper.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags, OpenTreeFlags, fsconfig_create,
    fsconfig_set_flag, fsconfig_set_string, fsmount, fsopen, move_mount, open_tree,
};

/// Attributes of a mount, without the prefix `MOUNT_ATTR_`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Attributes(u32);

impl Attributes {
    /// Nothing can be written.
    pub const RDONLY: Self = Self(0x1);
    /// Setuid bits are ignored.
    pub const NOSUID: Self = Self(0x2);
    /// Device files are ignored.
    pub const NODEV: Self = Self(0x4);
    /// Programs cannot be run.
    pub const NOEXEC: Self = Self(0x8);

    /// Both.
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// How mount events travel between a mount and its copies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Propagation {
    /// Not at all.
    Private,
    /// From the original to the copy.
    Slave,
    /// Both ways.
    Shared,
}

/// A detached copy of the mount at `path` (a bind mount that is nowhere yet).
pub fn clone_tree(path: &Path, recursive: bool) -> io::Result<OwnedFd> {
    let mut flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    if recursive {
        flags |= OpenTreeFlags::AT_RECURSIVE;
    }
    Ok(open_tree(rustix::fs::CWD, path, flags)?)
}

/// As `clone_tree`, of a file descriptor.
pub fn clone_tree_at(at: impl AsFd) -> io::Result<OwnedFd> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_EMPTY_PATH
        | OpenTreeFlags::AT_RECURSIVE;
    Ok(open_tree(at, "", flags)?)
}

/// Adds attributes to a mount, and sets its propagation.
pub fn set_attributes(
    mount: impl AsFd,
    add: Attributes,
    propagation: Option<Propagation>,
    recursive: bool,
) -> io::Result<()> {
    set_attributes_at(mount.as_fd(), c"", add, propagation, recursive)
}

/// Sets the propagation of all that is mounted below `path`.
pub fn set_propagation(path: &Path, propagation: Propagation) -> io::Result<()> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    set_attributes_at(rustix::fs::CWD, &path, Attributes::default(), Some(propagation), true)
}

fn set_attributes_at(
    at: BorrowedFd<'_>,
    path: &std::ffi::CStr,
    add: Attributes,
    propagation: Option<Propagation>,
    recursive: bool,
) -> io::Result<()> {
    let attributes = libc::mount_attr {
        attr_set: u64::from(add.0),
        attr_clr: 0,
        propagation: match propagation {
            None => 0,
            Some(Propagation::Private) => libc::MS_PRIVATE,
            Some(Propagation::Slave) => libc::MS_SLAVE,
            Some(Propagation::Shared) => libc::MS_SHARED,
        },
        userns_fd: 0,
    };
    let mut flags = if path.is_empty() { libc::AT_EMPTY_PATH } else { 0 };
    if recursive {
        flags |= libc::AT_RECURSIVE;
    }
    // SAFETY: `path` and `attributes` live until the call returns and the kernel only reads them.
    let done = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            at.as_raw_fd(),
            path.as_ptr(),
            flags,
            &raw const attributes,
            size_of_val(&attributes),
        )
    };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// A new file system that is nowhere yet. Options without `=` are flags; `attributes` are those of
/// the mount.
pub fn new_filesystem(kind: &str, options: &[&str], attributes: Attributes) -> io::Result<OwnedFd> {
    let context = fsopen(kind, FsOpenFlags::FSOPEN_CLOEXEC)?;
    for option in options {
        match option.split_once('=') {
            Some((key, value)) => fsconfig_set_string(&context, key, value)?,
            None => fsconfig_set_flag(&context, *option)?,
        }
    }
    fsconfig_create(&context)?;
    let attributes = MountAttrFlags::from_bits_retain(attributes.0);
    Ok(fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, attributes)?)
}

/// Whether the kernel knows a kind of file system, or can load it.
pub fn has_filesystem(kind: &str) -> io::Result<()> {
    fsopen(kind, FsOpenFlags::FSOPEN_CLOEXEC)?;
    Ok(())
}

/// An overlay of `lower` (uppermost first) under `upper`, nowhere yet.
pub fn overlay(
    lower: &[PathBuf],
    upper: &Path,
    work: &Path,
    attributes: Attributes,
) -> io::Result<OwnedFd> {
    match overlay_by_keys(lower, upper, work) {
        Ok(context) => {
            let attributes = MountAttrFlags::from_bits_retain(attributes.0);
            Ok(fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, attributes)?)
        }
        // Older kernels take any key, and find out when they make the file system.
        Err(Errno::INVAL) => overlay_by_string(lower, upper, work, attributes),
        Err(error) => Err(error.into()),
    }
}

/// One key a layer since Linux 6.5: no limit on the length of all together.
fn overlay_by_keys(lower: &[PathBuf], upper: &Path, work: &Path) -> Result<OwnedFd, Errno> {
    let context = fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC)?;
    for layer in lower {
        fsconfig_set_string(&context, "lowerdir+", layer.as_path())?;
    }
    fsconfig_set_string(&context, "upperdir", upper)?;
    fsconfig_set_string(&context, "workdir", work)?;
    fsconfig_create(&context)?;
    Ok(context)
}

/// For kernels before 6.5: mount(2) takes a page of options. Mounts over `upper`'s parent, which
/// must be in a mount namespace of the caller's own, and detaches the mount from there.
fn overlay_by_string(
    lower: &[PathBuf],
    upper: &Path,
    work: &Path,
    attributes: Attributes,
) -> io::Result<OwnedFd> {
    let escape = |path: &Path| {
        let text = path.to_string_lossy();
        text.replace('\\', "\\\\").replace(':', "\\:").replace(',', "\\,")
    };
    // Short names below the directory of all layers (`layers/ID/fs`), so that more of them fit.
    let common = lower.first().and_then(|first| first.ancestors().nth(2)).unwrap_or(Path::new("/"));
    rustix::process::chdir(common)?;
    let names: Vec<_> =
        lower.iter().map(|dir| escape(dir.strip_prefix(common).unwrap_or(dir))).collect();
    let data =
        format!("lowerdir={},upperdir={},workdir={}", names.join(":"), escape(upper), escape(work));
    if data.len() >= 4096 {
        return Err(io::Error::other("too many image layers for this kernel (Linux 6.5 lifts it)"));
    }
    let target = upper.parent().unwrap_or(Path::new("/"));
    let data = CString::new(data)?;
    let flags = rustix::mount::MountFlags::empty();
    rustix::mount::mount("overlay", target, "overlay", flags, Some(data.as_c_str()))?;
    let tree = clone_tree(target, false)?;
    rustix::mount::unmount(target, rustix::mount::UnmountFlags::DETACH)?;
    rustix::process::chdir("/")?;
    set_attributes(&tree, attributes, None, false)?;
    Ok(tree)
}

/// Puts a detached mount over `target`.
pub fn attach(mount: impl AsFd, target: impl AsFd) -> io::Result<()> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    Ok(move_mount(mount, "", target, "", flags)?)
}

/// Opens `path` as a process whose root is `root` would: links and `..` cannot leave it.
pub fn open_in_root(
    root: impl AsFd,
    path: &Path,
    flags: OFlags,
    mode: Mode,
) -> io::Result<OwnedFd> {
    let path = relative(path);
    loop {
        let how = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        match rustix::fs::openat2(&root, &path, flags | OFlags::CLOEXEC, mode, how) {
            // A rename raced with the walk.
            Err(Errno::AGAIN | Errno::INTR) => {}
            result => return Ok(result?),
        }
    }
}

/// Opens `path` below `root` as a place to mount on, making what is missing of it: directories,
/// and at the end a file where `file` says so.
pub fn make_target(root: impl AsFd, path: &Path, file: bool) -> io::Result<OwnedFd> {
    let root = root.as_fd();
    match open_in_root(root, path, OFlags::PATH, Mode::empty()) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        result => return result,
    }
    let path = relative(path);
    let mut at = open_in_root(root, Path::new("."), OFlags::PATH, Mode::empty())?;
    let mut walked = PathBuf::new();
    let mut parts = path.components().peekable();
    while let Some(part) = parts.next() {
        walked.push(part);
        let is_file = file && parts.peek().is_none();
        match open_in_root(root, &walked, OFlags::PATH, Mode::empty()) {
            Ok(next) => at = next,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let Component::Normal(name) = part else { return Err(error) };
                if is_file {
                    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC | OFlags::WRONLY;
                    rustix::fs::openat(&at, name, flags, Mode::from_raw_mode(0o644))?;
                } else {
                    rustix::fs::mkdirat(&at, name, Mode::from_raw_mode(0o755))?;
                }
                at = open_in_root(root, &walked, OFlags::PATH, Mode::empty())?;
            }
            Err(error) => return Err(error),
        }
    }
    Ok(at)
}

/// Whether an open file is a directory.
pub fn is_directory(file: impl AsFd) -> io::Result<bool> {
    let stat = rustix::fs::statat(file, "", AtFlags::EMPTY_PATH)?;
    Ok(FileType::from_raw_mode(stat.st_mode) == FileType::Directory)
}

fn relative(path: &Path) -> PathBuf {
    let relative = path.strip_prefix("/").unwrap_or(path);
    if relative.as_os_str().is_empty() { PathBuf::from(".") } else { relative.to_path_buf() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_stay_below_the_root() {
        let outside = tempfile::tempdir().unwrap();
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        std::os::unix::fs::symlink(outside.path(), root.join("escape")).unwrap();
        std::os::unix::fs::symlink("../../../etc", root.join("up")).unwrap();
        std::fs::create_dir(root.join("etc")).unwrap();
        let fd = rustix::fs::open(root, OFlags::PATH, Mode::empty()).unwrap();

        make_target(&fd, Path::new("/a/b/c"), false).unwrap();
        assert!(root.join("a/b/c").is_dir());
        make_target(&fd, Path::new("/up/hosts"), true).unwrap();
        assert!(root.join("etc/hosts").is_file());
        // The link's target does not exist below the root, and it is not made outside of it.
        assert!(make_target(&fd, Path::new("/escape/x"), true).is_err());
        assert_eq!(std::fs::read_dir(outside.path()).unwrap().count(), 0);
    }
}
