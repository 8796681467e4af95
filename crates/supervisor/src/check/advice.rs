//! What does not keep a cluster from starting, and is missed later.

use std::path::Path;

use super::Finding;

/// The oldest kernel that is tried.
const KERNEL: (u32, u32) = (5, 10);
const GIB: u64 = 1 << 30;
/// Room for images and logs.
const DISK: u64 = 5 * GIB;
const MEMORY: u64 = GIB;
/// Watches on files, of which each log and volume needs some.
const INSTANCES: u64 = 128;

/// The kernel's version.
pub(super) fn kernel() -> Finding {
    let (check, why) = ("kernel", "pidfd, clone3 and time of nftables maps came with 5.10");
    let name = rustix::system::uname().release().to_string_lossy().into_owned();
    let mut numbers = name.split(['.', '-']).map_while(|part| part.parse::<u32>().ok());
    let version = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    if version >= KERNEL {
        return Finding::ok(check, name, why);
    }
    let fix = format!("use Linux {}.{} or newer", KERNEL.0, KERNEL.1);
    Finding::warning(check, name, why, fix)
}

/// Whether the controllers of cgroups are there.
pub(super) fn controllers() -> Finding {
    let (check, why) = ("cgroup controllers", "limits of CPU, memory and processes need them");
    let v2 = std::fs::read_to_string("/sys/fs/cgroup/cgroup.controllers").unwrap_or_default();
    let v1 = std::fs::read_to_string("/proc/cgroups").unwrap_or_default();
    let enabled = |line: &str| {
        let mut words = line.split_whitespace();
        let name = words.next().map(str::to_owned);
        name.filter(|_| words.nth(2) == Some("1"))
    };
    let mut known: Vec<String> = v2.split_whitespace().map(str::to_owned).collect();
    known.extend(v1.lines().filter_map(enabled));
    let missing: Vec<&str> = ["cpu", "memory", "pids"]
        .into_iter()
        .filter(|wanted| !known.iter().any(|name| name == wanted))
        .collect();
    if missing.is_empty() {
        return Finding::ok(check, "cpu, memory, pids", why);
    }
    let found = format!("the kernel lacks {}", missing.join(", "));
    let fix = "boot with cgroup_enable=memory, or delegate the controllers to this container";
    Finding::warning(check, found, why, fix)
}

/// Room on the disk of the data directory, or of the nearest folder that is there.
pub(super) fn disk(data: &Path) -> Finding {
    let (check, why) = ("disk", "images, logs and the store lie in the data directory");
    let place = data.ancestors().find(|path| path.exists()).unwrap_or(Path::new("/"));
    let space = match rustix::fs::statvfs(place) {
        Ok(space) => space,
        Err(error) => {
            let found = format!("{}: {error}", place.display());
            return Finding::warning(check, found, why, "choose another --data-dir");
        }
    };
    let free = space.f_bavail.saturating_mul(space.f_frsize);
    let found = format!("{} free in {}", size(free), data.display());
    if free >= DISK {
        return Finding::ok(check, found, why);
    }
    Finding::warning(check, found, why, "make room, or choose another place with --data-dir")
}

/// Memory that is there.
pub(super) fn memory() -> Finding {
    let (check, why) = ("memory", "the cluster takes about 80 MB, and each pod what it asks for");
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"));
    let kilobytes = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    let bytes = kilobytes.unwrap_or(0) * 1024;
    let found = format!("{} available", size(bytes));
    if bytes >= MEMORY {
        return Finding::ok(check, found, why);
    }
    Finding::warning(check, found, why, "end other programs, or add memory")
}

/// Where names outside of the cluster are asked for.
pub(super) fn name_servers() -> Finding {
    let (check, why) = ("name servers", "pods ask them for names outside of the cluster");
    let text = std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
    let servers: Vec<&str> = text
        .lines()
        .filter_map(|line| line.trim().strip_prefix("nameserver")?.split_whitespace().next())
        .collect();
    if servers.is_empty() {
        let found = "/etc/resolv.conf names none";
        let fix = "add a line `nameserver ADDRESS` where pods need names of the internet";
        return Finding::warning(check, found, why, fix);
    }
    Finding::ok(check, servers.join(", "), why)
}

/// How many programs may watch files.
pub(super) fn watches() -> Finding {
    let (check, why) = ("inotify", "logs that are followed and volumes that change are watched");
    let path = "/proc/sys/fs/inotify/max_user_instances";
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let count = text.trim().parse::<u64>().unwrap_or(0);
    let found = format!("max_user_instances is {count}");
    if count >= INSTANCES {
        return Finding::ok(check, found, why);
    }
    let fix = format!("sysctl fs.inotify.max_user_instances={}", INSTANCES * 4);
    Finding::warning(check, found, why, fix)
}

fn size(bytes: u64) -> String {
    const MIB: u64 = 1 << 20;
    if bytes >= GIB {
        let tenths = bytes / (GIB / 10);
        return format!("{}.{} GiB", tenths / 10, tenths % 10);
    }
    format!("{} MiB", bytes / MIB)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        assert_eq!(size(3 * GIB / 2), "1.5 GiB");
        assert_eq!(size(7 << 20), "7 MiB");
    }
}
