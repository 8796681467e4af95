//! What the machine has, from `/proc`, `/sys` and `/etc`.

use std::fs;
use std::path::Path;

/// `memory.available` and `nodefs.available` below which the node is under pressure, as the
/// kubelet's defaults for eviction.
const LEAST_MEMORY: u64 = 100 << 20;
const LEAST_DISK_PERCENT: u64 = 10;
const LEAST_PID_PERCENT: u64 = 5;

/// What does not change while we run.
#[derive(Debug, Clone, Default)]
pub(crate) struct Machine {
    /// Thousandths of a core.
    pub(crate) cpu_millis: i64,
    pub(crate) memory_bytes: i64,
    /// Size of the file system of the data directory.
    pub(crate) disk_bytes: u64,
    /// As Go names it.
    pub(crate) architecture: &'static str,
    pub(crate) kernel: String,
    pub(crate) os_image: String,
    pub(crate) machine_id: String,
    pub(crate) boot_id: String,
    pub(crate) system_uuid: String,
}

/// A tick of `/proc/stat` (`USER_HZ` is 100 on every architecture that we know).
const NANOS_PER_TICK: u64 = 10_000_000;

/// What all that runs on the node uses.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct NodeUsage {
    /// CPU time since the machine began.
    pub(crate) cpu_nanos: u64,
    /// Memory that cannot be taken back at once.
    pub(crate) used_bytes: u64,
    pub(crate) available_bytes: u64,
}

/// What runs short.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Pressure {
    pub(super) memory: bool,
    pub(super) disk: bool,
    pub(super) pids: bool,
}

impl Machine {
    pub(crate) fn read(data_dir: &Path) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let architecture = match std::env::consts::ARCH {
            "x86_64" => "amd64",
            "aarch64" => "arm64",
            other => other,
        };
        let line = |path: &str| fs::read_to_string(path).unwrap_or_default().trim().to_owned();
        let machine_id = line("/etc/machine-id");
        let uuid = line("/sys/class/dmi/id/product_uuid");
        Self {
            cpu_millis: i64::try_from(cores).unwrap_or(1) * 1000,
            memory_bytes: i64::try_from(memory("MemTotal").unwrap_or(0)).unwrap_or(i64::MAX),
            disk_bytes: disk(data_dir).map_or(0, |(total, _)| total),
            architecture,
            kernel: line("/proc/sys/kernel/osrelease"),
            os_image: os_image(&line("/etc/os-release")),
            boot_id: line("/proc/sys/kernel/random/boot_id"),
            system_uuid: if uuid.is_empty() { machine_id.clone() } else { uuid },
            machine_id,
        }
    }
}

impl Pressure {
    /// What cannot be read is taken as plenty: a guess must not evict anybody.
    pub(super) fn sample(data_dir: &Path) -> Self {
        let number = |path: &str| fs::read_to_string(path).ok()?.trim().parse::<u64>().ok();
        let tasks = fs::read_to_string("/proc/loadavg").ok().and_then(|text| {
            text.split_whitespace().nth(3)?.split_once('/')?.1.parse::<u64>().ok()
        });
        let pids = tasks.zip(number("/proc/sys/kernel/pid_max"));
        Self {
            memory: memory("MemAvailable").is_some_and(|free| free < LEAST_MEMORY),
            disk: disk(data_dir)
                .is_some_and(|(total, free)| free < total / 100 * LEAST_DISK_PERCENT),
            pids: pids.is_some_and(|(used, most)| {
                most.saturating_sub(used) < most / 100 * LEAST_PID_PERCENT
            }),
        }
    }
}

impl NodeUsage {
    /// As the kernel counts it now; what cannot be read is 0.
    pub(crate) fn read() -> Self {
        let text = fs::read_to_string("/proc/stat").unwrap_or_default();
        let ticks = cpu_ticks(&text);
        let (total, available) =
            (memory("MemTotal").unwrap_or(0), memory("MemAvailable").unwrap_or(0));
        Self {
            cpu_nanos: ticks.saturating_mul(NANOS_PER_TICK),
            used_bytes: total.saturating_sub(available),
            available_bytes: available,
        }
    }
}

/// User, nice, system, interrupts and what was stolen, of all processors: all but waiting.
fn cpu_ticks(stat: &str) -> u64 {
    let mut fields = stat.lines().next().unwrap_or_default().split_whitespace().skip(1);
    let mut next = || fields.next().and_then(|field| field.parse::<u64>().ok()).unwrap_or(0);
    let busy = next() + next() + next();
    let _idle = (next(), next());
    busy + next() + next() + next()
}

/// A line of `/proc/meminfo` in bytes.
fn memory(name: &str) -> Option<u64> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    let kilobytes: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kilobytes * 1024)
}

/// Size and free bytes of a file system.
fn disk(path: &Path) -> Option<(u64, u64)> {
    let found = rustix::fs::statvfs(path).ok()?;
    Some((found.f_blocks * found.f_frsize, found.f_bavail * found.f_frsize))
}

fn os_image(os_release: &str) -> String {
    let name = os_release.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="));
    name.map_or_else(|| "Linux".to_owned(), |name| name.trim_matches('"').to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine() {
        let machine = Machine::read(Path::new("/"));
        assert!(machine.cpu_millis >= 1000 && machine.memory_bytes > 0 && machine.disk_bytes > 0);
        assert_eq!(cpu_ticks("cpu  1 2 4 8 16 32 64 128 0 0\ncpu0 1\n"), 231);
        let usage = NodeUsage::read();
        assert!(usage.cpu_nanos > 0 && usage.used_bytes > 0 && usage.available_bytes > 0);
        assert_eq!(os_image("ID=debian\nPRETTY_NAME=\"Debian 12\"\n"), "Debian 12");
    }
}
