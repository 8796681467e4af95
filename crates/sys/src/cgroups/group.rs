//! One control group: its processes, its end, its figures.

use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use serde::{Deserialize, Serialize};

use super::Usage;
use super::layout::{read, write};

/// A controller that we use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Controller {
    Memory,
    Cpu,
    Cpuacct,
    Pids,
}

/// A group's directory in one hierarchy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Dir {
    pub(super) path: PathBuf,
    pub(super) controllers: Vec<Controller>,
}

/// A control group in every hierarchy. Other processes can be told of it (serde).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Group {
    /// Version 1.
    pub(super) dirs: Vec<Dir>,
    /// Version 2.
    pub(super) unified: Option<Dir>,
}

impl Group {
    pub(super) fn all(&self) -> impl Iterator<Item = &Dir> {
        self.dirs.iter().chain(&self.unified)
    }

    fn dir_of(&self, controller: Controller) -> Option<(&Path, bool)> {
        self.dirs
            .iter()
            .map(|dir| (dir, true))
            .chain(self.unified.iter().map(|dir| (dir, false)))
            .find(|(dir, _)| dir.controllers.contains(&controller))
            .map(|(dir, v1)| (dir.path.as_path(), v1))
    }

    /// Moves a process in.
    pub fn add(&self, pid: i32) -> io::Result<()> {
        let pid = pid.to_string();
        self.all().try_for_each(|dir| write(&dir.path.join("cgroup.procs"), &pid))
    }

    /// Moves the calling process in.
    pub fn join(&self) -> io::Result<()> {
        // 0 is the writer itself, whatever it is called in which namespace.
        self.add(0)
    }

    /// Whether the group is there in any hierarchy.
    pub fn exists(&self) -> bool {
        self.all().any(|dir| dir.path.exists())
    }

    /// Names of the groups directly below it.
    pub fn children(&self) -> BTreeSet<String> {
        let mut names = BTreeSet::new();
        for dir in self.all() {
            for child in subdirectories(&dir.path) {
                names.extend(child.file_name().map(|name| name.to_string_lossy().into_owned()));
            }
        }
        names
    }

    /// The group `name` below it.
    pub fn child(&self, name: &str) -> Self {
        let below = |dir: &Dir| Dir { path: dir.path.join(name), ..dir.clone() };
        Self {
            dirs: self.dirs.iter().map(below).collect(),
            unified: self.unified.as_ref().map(below),
        }
    }

    /// Every process in it and below.
    pub fn processes(&self) -> BTreeSet<i32> {
        let mut found = BTreeSet::new();
        for dir in self.all() {
            collect_processes(&dir.path, &mut found);
        }
        found
    }

    /// Kills every process in it and below. Returns when none is left, or fails with `TimedOut`.
    pub fn kill(&self, timeout: Duration) -> io::Result<()> {
        let end = Instant::now() + timeout;
        loop {
            // The version 2 tree kills at once what is in it; a process that is in a version 1
            // group only (moved there by hand) falls to the loop below.
            if let Some(dir) = &self.unified {
                match write(&dir.path.join("cgroup.kill"), "1") {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                    _ => {}
                }
            }
            let mut waiting = Vec::new();
            for pid in self.processes() {
                let Some(pid) = Pid::from_raw(pid) else { continue };
                let Ok(process) = pidfd_open(pid, PidfdFlags::empty()) else { continue };
                // Gone already: the pidfd says so at once.
                let _ = pidfd_send_signal(&process, Signal::KILL);
                waiting.push(process);
            }
            if waiting.is_empty() {
                return Ok(());
            }
            for process in &waiting {
                let left = end.saturating_duration_since(Instant::now());
                let mut fds = [PollFd::new(process, PollFlags::IN)];
                if poll(&mut fds, Some(&timespec(left)))? == 0 {
                    return Err(io::Error::from(io::ErrorKind::TimedOut));
                }
            }
        }
    }

    /// Removes it and all below. Processes in it must be dead; the kernel lets go of them a moment
    /// later than it reports them dead, for which we wait by its event.
    pub fn remove(&self, timeout: Duration) -> io::Result<()> {
        let end = Instant::now() + timeout;
        for dir in self.all() {
            loop {
                match remove_tree(&dir.path) {
                    Ok(()) => break,
                    Err(error) if error.kind() == io::ErrorKind::ResourceBusy => {
                        let left = end.saturating_duration_since(Instant::now());
                        if left.is_zero() {
                            return Err(error);
                        }
                        self.wait_empty(left)?;
                    }
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(())
    }

    /// Removes it unless something is in it.
    pub fn remove_if_empty(&self) -> io::Result<()> {
        for dir in self.all() {
            match rustix::fs::rmdir(&dir.path) {
                Ok(()) | Err(rustix::io::Errno::NOENT | rustix::io::Errno::BUSY) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Waits until `cgroup.events` says that the group is empty. Where nothing says it (version 1
    /// alone), a millisecond.
    fn wait_empty(&self, timeout: Duration) -> io::Result<()> {
        let events = self.unified.as_ref().map(|dir| dir.path.join("cgroup.events"));
        if let Some(file) = events.and_then(|path| File::open(path).ok())
            && !io::read_to_string(&file)?.contains("populated 0")
        {
            poll(&mut [PollFd::new(&file, PollFlags::PRI)], Some(&timespec(timeout)))?;
            return Ok(());
        }
        poll(&mut [], Some(&timespec(Duration::from_millis(1))))?;
        Ok(())
    }

    /// How many processes in it the kernel has killed for want of memory.
    pub fn oom_kills(&self) -> u64 {
        let Some((dir, v1)) = self.dir_of(Controller::Memory) else { return 0 };
        let file = if v1 { "memory.oom_control" } else { "memory.events" };
        read(&dir.join(file)).map(|text| field(&text, "oom_kill")).unwrap_or(0)
    }

    /// What it uses.
    pub fn usage(&self) -> io::Result<Usage> {
        let mut usage = Usage::default();
        if let Some((dir, v1)) = self.dir_of(Controller::Cpuacct) {
            usage.cpu_nanos = if v1 {
                number(&read(&dir.join("cpuacct.usage"))?)
            } else {
                field(&read(&dir.join("cpu.stat"))?, "usage_usec") * 1000
            };
        }
        if let Some((dir, v1)) = self.dir_of(Controller::Memory) {
            let (used, inactive) = if v1 {
                ("memory.usage_in_bytes", "total_inactive_file")
            } else {
                ("memory.current", "inactive_file")
            };
            let idle = field(&read(&dir.join("memory.stat"))?, inactive);
            usage.working_set_bytes = number(&read(&dir.join(used))?).saturating_sub(idle);
        }
        Ok(usage)
    }
}

fn number(text: &str) -> u64 {
    text.trim().parse().unwrap_or(0)
}

/// The number behind `name` in a file of `name number` lines.
fn field(text: &str, name: &str) -> u64 {
    text.lines()
        .filter_map(|line| line.split_once(' '))
        .find(|(key, _)| *key == name)
        .map_or(0, |(_, value)| number(value))
}

fn subdirectories(path: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(path) else { return Vec::new() };
    entries
        .flatten()
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .map(|entry| entry.path())
        .collect()
}

fn collect_processes(path: &Path, found: &mut BTreeSet<i32>) {
    // A missing group has no processes.
    if let Ok(text) = read(&path.join("cgroup.procs")) {
        found.extend(text.lines().filter_map(|line| line.parse::<i32>().ok()));
    }
    for child in subdirectories(path) {
        collect_processes(&child, found);
    }
}

fn remove_tree(path: &Path) -> io::Result<()> {
    match rustix::fs::rmdir(path) {
        Ok(()) | Err(rustix::io::Errno::NOENT) => return Ok(()),
        Err(rustix::io::Errno::BUSY) => {}
        Err(error) => return Err(error.into()),
    }
    for child in subdirectories(path) {
        remove_tree(&child)?;
    }
    match rustix::fs::rmdir(path) {
        Ok(()) | Err(rustix::io::Errno::NOENT) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

fn timespec(duration: Duration) -> Timespec {
    Timespec {
        tv_sec: i64::try_from(duration.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: duration.subsec_nanos().into(),
    }
}
