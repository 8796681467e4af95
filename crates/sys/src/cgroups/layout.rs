//! Which hierarchies this machine has, and making groups in them.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use super::group::{Controller, Dir, Group};
use super::{Limits, PERIOD_MICROS, quota, shares, weight};

/// Controllers that we use.
const WANTED: [(&str, Controller); 4] = [
    ("memory", Controller::Memory),
    ("cpu", Controller::Cpu),
    ("cpuacct", Controller::Cpuacct),
    ("pids", Controller::Pids),
];

/// The control group hierarchies of this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cgroups {
    /// Version 1 hierarchies with the controllers that we use, by mount point. Empty: version 2.
    v1: BTreeMap<PathBuf, Vec<Controller>>,
    /// The version 2 tree.
    v2: Option<PathBuf>,
}

impl Cgroups {
    /// Looks at what is mounted.
    pub fn detect() -> io::Result<Self> {
        let found = Self::parse(&std::fs::read_to_string("/proc/self/mountinfo")?);
        if found.v1.is_empty() && found.v2.is_none() {
            let text = "no cgroup hierarchy is mounted below /sys/fs/cgroup: mount cgroup2 there";
            return Err(io::Error::new(io::ErrorKind::NotFound, text));
        }
        Ok(found)
    }

    fn parse(mountinfo: &str) -> Self {
        let mut found = Self { v1: BTreeMap::new(), v2: None };
        for line in mountinfo.lines() {
            let Some((place, kind)) = line.split_once(" - ") else { continue };
            let Some(point) = place.split(' ').nth(4) else { continue };
            let mut kind = kind.split(' ');
            match (kind.next(), kind.nth(1)) {
                (Some("cgroup2"), _) => {
                    found.v2.get_or_insert_with(|| PathBuf::from(point));
                }
                (Some("cgroup"), Some(options)) => {
                    let has: Vec<_> = WANTED
                        .iter()
                        .filter(|(name, _)| options.split(',').any(|option| option == *name))
                        .map(|(_, controller)| *controller)
                        .collect();
                    let known = found.v1.values().flatten().any(|c| has.contains(c));
                    if !has.is_empty() && !known {
                        found.v1.insert(PathBuf::from(point), has);
                    }
                }
                _ => {}
            }
        }
        found
    }

    /// Whether the controllers are of version 2.
    pub fn is_v2(&self) -> bool {
        self.v1.is_empty()
    }

    /// Version 1 hierarchies to show in a container: mount options, such as `cpu,cpuacct`.
    pub fn v1_mounts(&self) -> Vec<String> {
        let name = |controller: &Controller| {
            WANTED.iter().find(|(_, c)| c == controller).map(|(name, _)| *name)
        };
        self.v1
            .values()
            .map(|list| list.iter().filter_map(name).collect::<Vec<_>>().join(","))
            .collect()
    }

    /// The group at `path` (such as `onggi-1a2b/burstable/pod1`), which may not exist.
    pub fn group(&self, path: &str) -> Group {
        let path = path.trim_start_matches('/');
        let v1 = self.v1.iter().map(|(mount, controllers)| Dir {
            path: mount.join(path),
            controllers: controllers.clone(),
        });
        let v2_controllers = || WANTED.iter().map(|(_, controller)| *controller).collect();
        let v2 = self.v2.iter().map(|mount| Dir {
            path: mount.join(path),
            controllers: if self.is_v2() { v2_controllers() } else { Vec::new() },
        });
        Group { dirs: v1.collect(), unified: v2.into_iter().next() }
    }

    /// Makes the group at `path`, its parents where missing, and sets its limits.
    pub fn create(&self, path: &str, limits: &Limits) -> io::Result<Group> {
        let group = self.group(path);
        for dir in group.all() {
            make(&dir.path)?;
        }
        if self.is_v2() {
            self.enable_controllers(path)?;
        }
        for dir in &group.dirs {
            for controller in &dir.controllers {
                limit_v1(&dir.path, *controller, limits)?;
            }
        }
        if let (true, Some(dir)) = (self.is_v2(), &group.unified) {
            limit_v2(&dir.path, limits)?;
        }
        Ok(group)
    }

    /// Version 2: a controller works in a group only when its parent hands it on.
    fn enable_controllers(&self, path: &str) -> io::Result<()> {
        let Some(root) = &self.v2 else { return Ok(()) };
        let mut at = root.clone();
        let mut parts: Vec<_> = Path::new(path).components().collect();
        parts.pop();
        for part in std::iter::once(None).chain(parts.into_iter().map(Some)) {
            if let Some(part) = part {
                at.push(part);
            }
            let file = at.join("cgroup.subtree_control");
            let have = read(&file)?;
            for name in ["cpu", "memory", "pids"] {
                if !have.split_whitespace().any(|on| on == name) {
                    write(&file, &format!("+{name}"))?;
                }
            }
        }
        Ok(())
    }
}

fn make(path: &Path) -> io::Result<()> {
    match std::fs::create_dir(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => std::fs::create_dir_all(path),
        result => result,
    }
    .map_err(|error| named(path, &error))
}

fn limit_v1(dir: &Path, controller: Controller, limits: &Limits) -> io::Result<()> {
    let set = |file: &str, value: Option<u64>| match value {
        Some(value) => write(&dir.join(file), &value.to_string()),
        None => Ok(()),
    };
    match controller {
        Controller::Memory => set("memory.limit_in_bytes", limits.memory_bytes),
        Controller::Pids => set("pids.max", limits.pids),
        Controller::Cpu => {
            set("cpu.shares", limits.cpu_request_millis.map(shares))?;
            if limits.cpu_limit_millis.is_some() {
                set("cpu.cfs_period_us", Some(PERIOD_MICROS))?;
            }
            set("cpu.cfs_quota_us", limits.cpu_limit_millis.map(quota))
        }
        Controller::Cpuacct => Ok(()),
    }
}

fn limit_v2(dir: &Path, limits: &Limits) -> io::Result<()> {
    let set = |file: &str, value: Option<String>| match value {
        Some(value) => write(&dir.join(file), &value),
        None => Ok(()),
    };
    set("memory.max", limits.memory_bytes.map(|bytes| bytes.to_string()))?;
    set("pids.max", limits.pids.map(|count| count.to_string()))?;
    set("cpu.weight", limits.cpu_request_millis.map(|millis| weight(millis).to_string()))?;
    let max = limits.cpu_limit_millis.map(|millis| format!("{} {PERIOD_MICROS}", quota(millis)));
    set("cpu.max", max)
}

pub(super) fn read(path: &Path) -> io::Result<String> {
    std::fs::read_to_string(path).map_err(|error| named(path, &error))
}

pub(super) fn write(path: &Path, value: &str) -> io::Result<()> {
    // Opened without O_CREAT: such files exist or the controller is not there.
    std::fs::OpenOptions::new()
        .write(true)
        .open(path)
        .and_then(|mut file| io::Write::write_all(&mut file, value.as_bytes()))
        .map_err(|error| named(path, &error))
}

fn named(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HYBRID: &str = "\
32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime - cgroup cgroup rw,cpu,cpuacct
35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
37 31 0:34 / /sys/fs/cgroup/freezer rw,relatime - cgroup cgroup rw,freezer
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime shared:4 - cgroup2 cgroup2 rw";

    #[test]
    fn layouts() {
        let hybrid = Cgroups::parse(HYBRID);
        assert!(!hybrid.is_v2());
        assert_eq!(hybrid.v1_mounts(), ["cpu,cpuacct", "memory"]);
        let paths: Vec<_> = hybrid.group("a/b").all().map(|d| d.path.clone()).collect();
        let expected = ["cpu,cpuacct/a/b", "memory/a/b", "unified/a/b"];
        assert_eq!(paths, expected.map(|p| Path::new("/sys/fs/cgroup").join(p)));

        let pure = Cgroups::parse("30 23 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw,nsdelegate");
        assert!(pure.is_v2());
        assert_eq!(pure.group("/a").all().count(), 1);
    }
}
