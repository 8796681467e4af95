//! `onggi down`: ends every process and removes every kernel object of an instance, found by its id
//! and not from memory, so that it also mends what a crash or a reboot left.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use onggi_net::{Instance, NodeNetwork};
use onggi_sys::cgroups::Cgroups;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::mount::{UnmountFlags, unmount};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use crate::lock;
use crate::paths::Paths;

/// The daemon ends its pods before itself on this signal; on SIGTERM it leaves them running.
pub const END_PODS: Signal = Signal::USR2;

/// The daemon ends pods within their grace periods, cut at [`crate::node::DOWN_GRACE_SECONDS`].
const DAEMON_GRACE: Duration = Duration::from_secs(60);
const GROUP_GRACE: Duration = Duration::from_secs(10);

/// What we make in a data directory.
const DATA: [&str; 13] = [
    "VERSION",
    "bin",
    "containers",
    "demo",
    "images",
    "keys",
    "kubeconfig",
    "lock",
    "log",
    "pki",
    "pods",
    "run",
    "store",
];

/// What could not be removed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The lock file.
    #[error(transparent)]
    Lock(#[from] lock::Error),
    /// A process that does not end.
    #[error("process {pid} does not end: {source}")]
    Process {
        /// Which.
        pid: i32,
        /// Why.
        source: io::Error,
    },
    /// Control groups.
    #[error("control groups of instance {instance}: {source}")]
    Cgroups {
        /// Whose.
        instance: String,
        /// Why.
        source: io::Error,
    },
    /// Interfaces, routes, rules.
    #[error(transparent)]
    Network(#[from] onggi_net::Error),
    /// A mount or directory.
    #[error("{path}: {source}")]
    Path {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// `--data-dir` leads elsewhere.
    #[error("{0} is no data directory of onggi: nothing in it is deleted")]
    Foreign(PathBuf),
    /// What is not ours would be deleted with the data.
    #[error("another file system is mounted on {0}: unmount it first; nothing is deleted")]
    Mounted(PathBuf),
}

/// Ends the daemon with its pods, then sweeps. Answers whether a daemon ran.
pub fn down(paths: &Paths) -> Result<bool, Error> {
    let holder = lock::holder(&paths.lock())?;
    if let Some(pid) = holder {
        end(pid).map_err(|source| Error::Process { pid, source })?;
    }
    sweep(paths)?;
    Ok(holder.is_some())
}

/// Deletes the data directory; only after [`down`]. Where it or a directory of ours in it is a file
/// system of its own, that stays, and is empty.
pub fn purge(paths: &Paths) -> Result<(), Error> {
    purge_around(&paths.data, &mounted_below(&paths.data)?)
}

fn purge_around(data: &Path, mounts: &[PathBuf]) -> Result<(), Error> {
    let failed = |source| Error::Path { path: data.to_owned(), source };
    let names = match fs::read_dir(data) {
        Ok(entries) => entries
            .map(|entry| entry.map(|entry| entry.file_name()))
            .collect::<io::Result<Vec<_>>>()
            .map_err(failed)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed(error)),
    };
    let is_ours = |name: &OsString| DATA.iter().any(|ours| name == ours);
    // A VERSION alone is found in many a directory.
    let is_whole = ["VERSION", "pki", "store"].iter().all(|name| data.join(name).exists());
    if !is_whole && !names.iter().all(is_ours) {
        return Err(Error::Foreign(data.to_owned()));
    }
    let is_own_disk = |point: &PathBuf| {
        point == data || names.iter().any(|name| is_ours(name) && *point == data.join(name))
    };
    if let Some(point) = mounts.iter().find(|point| !is_own_disk(point)) {
        return Err(Error::Mounted(point.clone()));
    }
    if mounts.is_empty() {
        return remove_directory(data);
    }
    for name in names {
        let path = data.join(name);
        if mounts.contains(&path) {
            empty_directory(&path)?;
        } else {
            remove(&path)?;
        }
    }
    Ok(())
}

fn empty_directory(path: &Path) -> Result<(), Error> {
    let failed = |source| Error::Path { path: path.to_owned(), source };
    for entry in fs::read_dir(path).map_err(failed)? {
        remove(&entry.map_err(failed)?.path())?;
    }
    Ok(())
}

fn remove(path: &Path) -> Result<(), Error> {
    if path.is_dir() && !path.is_symlink() {
        return remove_directory(path);
    }
    fs::remove_file(path).map_err(|source| Error::Path { path: path.to_owned(), source })
}

/// Removes all that an instance may have left. Its daemon must not run.
pub fn sweep(paths: &Paths) -> Result<(), Error> {
    let cgroups = |source| Error::Cgroups { instance: paths.instance.clone(), source };
    let group = Cgroups::detect().map_err(cgroups)?.group(&format!("onggi-{}", paths.instance));
    if group.exists() {
        group.kill(GROUP_GRACE).and_then(|()| group.remove(GROUP_GRACE)).map_err(cgroups)?;
    }
    NodeNetwork::purge(&Instance::new(&paths.instance)?)?;
    // Only where we mount: the data directory, or one in it, may be a disk of its own.
    for root in [&paths.run, &paths.pods(), &paths.images().join("tmp")] {
        unmount_below(root)?;
    }
    remove_directory(&paths.run)
}

fn end(pid: i32) -> io::Result<()> {
    let Some(pid) = Pid::from_raw(pid) else { return Ok(()) };
    let process = match pidfd_open(pid, PidfdFlags::empty()) {
        Ok(process) => process,
        Err(rustix::io::Errno::SRCH) => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    for (signal, grace) in [(END_PODS, DAEMON_GRACE), (Signal::KILL, GROUP_GRACE)] {
        match pidfd_send_signal(&process, signal) {
            Ok(()) => {}
            Err(rustix::io::Errno::SRCH) => return Ok(()),
            Err(error) => return Err(error.into()),
        }
        let mut ended = [PollFd::new(&process, PollFlags::IN)];
        let timeout = Timespec { tv_sec: grace.as_secs().cast_signed(), tv_nsec: 0 };
        if poll(&mut ended, Some(&timeout))? > 0 {
            return Ok(());
        }
    }
    Err(io::Error::new(io::ErrorKind::TimedOut, "still there after SIGKILL"))
}

/// Lazily unmounts what is mounted below `root`, innermost first; not what is mounted on it.
fn unmount_below(root: &Path) -> Result<(), Error> {
    let mut points = mounted_below(root)?;
    points.retain(|point| point != root);
    points.sort_by_key(|point| std::cmp::Reverse(point.components().count()));
    for path in points {
        match unmount(&path, UnmountFlags::DETACH) {
            // Gone with its parent.
            Ok(()) | Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOENT) => {}
            Err(error) => return Err(Error::Path { path, source: error.into() }),
        }
    }
    Ok(())
}

/// The mount points at and below `root`.
fn mounted_below(root: &Path) -> Result<Vec<PathBuf>, Error> {
    let table = fs::read_to_string("/proc/self/mountinfo")
        .map_err(|source| Error::Path { path: "/proc/self/mountinfo".into(), source })?;
    Ok(mount_points(&table).filter(|point| point.starts_with(root)).collect())
}

/// The fifth field of each line, with its octal escapes (proc_pid_mountinfo(5)).
fn mount_points(table: &str) -> impl Iterator<Item = PathBuf> + '_ {
    table.lines().filter_map(|line| line.split(' ').nth(4)).map(|field| {
        let text = [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")]
            .iter()
            .fold(field.to_owned(), |text, (code, char)| text.replace(code, char));
        PathBuf::from(text)
    })
}

fn remove_directory(path: &Path) -> Result<(), Error> {
    match fs::remove_dir_all(path) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => {
            Err(Error::Path { path: path.to_owned(), source })
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use rustix::mount::MountFlags;

    use super::*;

    #[test]
    fn mount_points_are_unescaped() {
        let table = "22 1 254:0 / / rw - ext4 /dev/vda rw\n30 22 0:5 / /a\\040b rw - tmpfs t rw\n";
        let points: Vec<_> = mount_points(table).collect();
        assert_eq!(points, [PathBuf::from("/"), PathBuf::from("/a b")]);
    }

    /// A data directory, and what is left in it after a purge with these mounts.
    fn purged(files: &[&str], mounts: &[&str]) -> Result<Vec<String>, String> {
        let directory = tempfile::tempdir().unwrap();
        let data = directory.path().join("data");
        for file in files {
            let path = data.join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        let mounts: Vec<PathBuf> = mounts.iter().map(|mount| data.join(mount)).collect();
        let result = purge_around(&data, &mounts).map_err(|error| error.to_string());
        let entries = fs::read_dir(&data).map(|entries| entries.flatten().collect::<Vec<_>>());
        let mut left: Vec<String> = match entries {
            Ok(entries) => entries
                .iter()
                .map(|entry| entry.file_name().to_string_lossy().into_owned())
                .collect(),
            Err(_) => vec!["no directory".into()],
        };
        left.sort();
        result.map(|()| left).map_err(|error| error.replace(&data.display().to_string(), "DATA"))
    }

    #[test]
    fn a_purge_deletes_what_is_ours() {
        let ours = ["VERSION", "images/blobs/a", "pki/ca", "store/db", "lost+found/x"];
        assert_eq!(purged(&ours, &[]).unwrap(), ["no directory"]);
        // Begun, and stopped by a full disk before the version was written.
        assert_eq!(purged(&["log/onggi.log", "pki/ca"], &[]).unwrap(), ["no directory"]);
        // Disks of their own stay mounted.
        assert!(purged(&ours, &[""]).unwrap().is_empty());
        assert_eq!(purged(&ours, &["images"]).unwrap(), ["images"]);
    }

    #[test]
    fn a_purge_deletes_nothing_else() {
        for foreign in [["thesis.txt", "pki/ca"], ["VERSION", "src/main.c"]] {
            let error = purged(&foreign, &[]).unwrap_err();
            assert_eq!(error, "DATA is no data directory of onggi: nothing in it is deleted");
        }
        for point in ["images/layers", "backup"] {
            let files = ["VERSION", "pki/ca", "store/db", "backup/a", "images/layers/a"];
            let error = purged(&files, &[point]).unwrap_err();
            let expected = "unmount it first; nothing is deleted";
            assert!(error.contains(&format!("DATA/{point}: {expected}")), "{error}");
        }
    }

    #[test]
    fn a_disk_below_which_we_mount_stays() {
        if !rustix::process::geteuid().is_root() {
            eprintln!("skipped: mounts need root");
            return;
        }
        let root = tempfile::tempdir().unwrap();
        let disk = root.path().canonicalize().unwrap();
        let volume = disk.join("a/volume");
        let mount = |path: &Path| {
            fs::create_dir_all(path).unwrap();
            rustix::mount::mount("t", path, "tmpfs", MountFlags::empty(), None).unwrap();
        };
        mount(&disk);
        mount(&volume);
        assert_eq!(mounted_below(&disk).unwrap(), [disk.clone(), volume]);
        unmount_below(&disk).unwrap();
        let left = mounted_below(&disk).unwrap();
        unmount(&disk, UnmountFlags::DETACH).unwrap();
        assert_eq!(left, [disk]);
    }
}
