//! `subPath`: a part of a volume, resolved so that links inside the volume cannot lead out of it.

use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{
    FileType, Mode, OFlags, ResolveFlags, fchmod, fstat, mkdirat, open, openat, openat2,
};

use super::mounts::Mounts;

/// Binds `root/sub` to `place`; makes directories that are missing, with the mode of the root.
pub(super) fn bind(mounts: &dyn Mounts, root: &Path, sub: &str, place: &Path) -> io::Result<()> {
    let found = resolve(root, sub)?;
    let is_dir = FileType::from_raw_mode(fstat(&found)?.st_mode) == FileType::Directory;
    // Of the run before.
    mounts.unmount(place)?;
    if is_dir {
        fs::create_dir_all(place)?;
    } else if !place.exists() {
        if let Some(parent) = place.parent() {
            fs::create_dir_all(parent)?;
        }
        fs::write(place, b"")?;
    }
    mounts.bind(found.as_fd(), place)
}

fn resolve(root: &Path, sub: &str) -> io::Result<OwnedFd> {
    let root = open(root, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    match beneath(&root, sub) {
        Ok(found) => return Ok(found),
        Err(rustix::io::Errno::NOENT) => {}
        Err(error) => return Err(error.into()),
    }
    let mode = Mode::from_raw_mode(fstat(&root)?.st_mode & 0o7777);
    let mut so_far = String::new();
    for name in sub.split('/').filter(|name| !matches!(*name, "" | ".")) {
        let parent = if so_far.is_empty() { ".".to_owned() } else { so_far.clone() };
        let parent = beneath(&root, &parent)?;
        match mkdirat(&parent, name, Mode::from_raw_mode(0o750)) {
            // The umask is not to count. Whatever has taken the name since is left alone.
            Ok(()) => {
                let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                fchmod(openat(&parent, name, flags, Mode::empty())?, mode)?;
            }
            Err(rustix::io::Errno::EXIST) => {}
            Err(error) => return Err(error.into()),
        }
        so_far = if so_far.is_empty() { name.to_owned() } else { format!("{so_far}/{name}") };
    }
    Ok(beneath(&root, sub)?)
}

fn beneath(root: &OwnedFd, path: &str) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    openat2(root, path, flags, Mode::empty(), resolve)
}
