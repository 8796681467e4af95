//! The few mounts that volumes need, behind a trait so that tests need no privileges.

use std::fs;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::mount::{MountFlags, UnmountFlags, mount, mount_bind_recursive, unmount};

/// Mounts below the directory of a pod.
pub(crate) trait Mounts: Send + Sync + 'static {
    /// A file system in memory.
    fn tmpfs(&self, path: &Path, size: Option<u64>) -> io::Result<()>;
    /// Shows an open file or directory at a path.
    fn bind(&self, source: BorrowedFd<'_>, path: &Path) -> io::Result<()>;
    /// Unmounts what is mounted at this very path; succeeds when nothing is.
    fn unmount(&self, path: &Path) -> io::Result<()>;
    /// Unmounts all that is mounted at or below a path.
    fn unmount_below(&self, path: &Path) -> io::Result<()>;
}

/// The kernel's.
pub(crate) struct KernelMounts;

impl Mounts for KernelMounts {
    fn tmpfs(&self, path: &Path, size: Option<u64>) -> io::Result<()> {
        let data = size.map_or_else(|| "mode=0777".to_owned(), |s| format!("mode=0777,size={s}"));
        let data = std::ffi::CString::new(data)?;
        let flags = MountFlags::NOSUID | MountFlags::NODEV;
        Ok(mount("tmpfs", path, "tmpfs", flags, data.as_c_str())?)
    }

    fn bind(&self, source: BorrowedFd<'_>, path: &Path) -> io::Result<()> {
        // By descriptor: the path was resolved once and cannot be exchanged any more.
        let source = format!("/proc/self/fd/{}", source.as_raw_fd());
        Ok(mount_bind_recursive(source, path)?)
    }

    fn unmount(&self, path: &Path) -> io::Result<()> {
        match unmount(path, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW) {
            Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOENT) => Ok(()),
            result => Ok(result?),
        }
    }

    fn unmount_below(&self, path: &Path) -> io::Result<()> {
        // The last mounted first.
        for place in mounted_below(path)?.into_iter().rev() {
            self.unmount(&place)?;
        }
        match mounted_below(path)?.first() {
            None => Ok(()),
            // To remove files now would remove those of the node.
            Some(place) => Err(io::Error::other(format!("{} is still mounted", place.display()))),
        }
    }
}

/// Whether another file system begins here.
pub(super) fn is_mount_point(path: &Path) -> io::Result<bool> {
    let own = fs::symlink_metadata(path)?.dev();
    let parent = path.parent().map(fs::symlink_metadata).transpose()?;
    Ok(parent.is_some_and(|parent| parent.dev() != own))
}

fn mounted_below(path: &Path) -> io::Result<Vec<PathBuf>> {
    // The table has real paths. A mount that is overlooked here is a directory of the node that is
    // emptied.
    let path = match path.canonicalize() {
        Ok(path) => path,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let table = fs::read_to_string("/proc/self/mountinfo")?;
    let points = table.lines().filter_map(|line| line.split(' ').nth(4)).map(unescape);
    Ok(points.filter(|point| point.starts_with(&path)).collect())
}

/// `\040` and the like, as the kernel writes blanks and backslashes.
fn unescape(text: &str) -> PathBuf {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        out.push_str(&rest[..at]);
        let code = rest.get(at + 1..at + 4).and_then(|code| u8::from_str_radix(code, 8).ok());
        match code {
            Some(code) => {
                out.push(char::from(code));
                rest = &rest[at + 4..];
            }
            None => {
                out.push('\\');
                rest = &rest[at + 1..];
            }
        }
    }
    out.push_str(rest);
    PathBuf::from(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mount_points_are_unescaped() {
        assert_eq!(unescape(r"/a\040b\134c"), PathBuf::from(r"/a b\c"));
        assert_eq!(unescape(r"/plain\"), PathBuf::from(r"/plain\"));
    }

    #[test]
    fn mounts_are_found_through_a_link() {
        if !rustix::process::geteuid().is_root() {
            eprintln!("skipped: mounts need root");
            return;
        }
        let directory = tempfile::tempdir().unwrap();
        let (real, link) = (directory.path().join("real"), directory.path().join("link"));
        fs::create_dir_all(real.join("volume")).unwrap();
        std::os::unix::fs::symlink(&real, &link).unwrap();
        mount("t", real.join("volume"), "tmpfs", MountFlags::empty(), None).unwrap();
        assert_eq!(mounted_below(&link).unwrap().len(), 1);
        KernelMounts.unmount_below(&link).unwrap();
        assert!(mounted_below(&real).unwrap().is_empty());
    }
}
