//! `onggi down`: ends every process and removes every kernel object of an instance, found by its id
//! and not from memory, so that it also mends what a crash or a reboot left.

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

/// Deletes the data directory; only after [`down`].
pub fn purge(paths: &Paths) -> Result<(), Error> {
    remove_directory(&paths.data)
}

/// Removes all that an instance may have left. Its daemon must not run.
pub fn sweep(paths: &Paths) -> Result<(), Error> {
    let cgroups = |source| Error::Cgroups { instance: paths.instance.clone(), source };
    let group = Cgroups::detect().map_err(cgroups)?.group(&format!("onggi-{}", paths.instance));
    if group.exists() {
        group.kill(GROUP_GRACE).and_then(|()| group.remove(GROUP_GRACE)).map_err(cgroups)?;
    }
    NodeNetwork::purge(&Instance::new(&paths.instance)?)?;
    for root in [&paths.run, &paths.data] {
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

/// Lazily unmounts what is mounted below `root`, innermost first.
fn unmount_below(root: &Path) -> Result<(), Error> {
    let table = fs::read_to_string("/proc/self/mountinfo")
        .map_err(|source| Error::Path { path: "/proc/self/mountinfo".into(), source })?;
    let mut points: Vec<PathBuf> =
        mount_points(&table).filter(|point| point.starts_with(root)).collect();
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
    use super::*;

    #[test]
    fn mount_points_are_unescaped() {
        let table = "22 1 254:0 / / rw - ext4 /dev/vda rw\n30 22 0:5 / /a\\040b rw - tmpfs t rw\n";
        let points: Vec<_> = mount_points(table).collect();
        assert_eq!(points, [PathBuf::from("/"), PathBuf::from("/a b")]);
    }
}
