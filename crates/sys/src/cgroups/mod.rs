//! Control groups, version 1, version 2 and both at once, behind one small interface.
//!
//! In the hybrid layout the controllers are of version 1 and the version 2 tree has none, but it
//! still tells when a group is empty and kills a whole group at once, so we use it as well.

mod group;
mod layout;

pub use group::Group;
pub use layout::Cgroups;

/// Limits and weights of a group; none: not set.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Limits {
    /// Thousandths of a core that the group gets under contention.
    pub cpu_request_millis: Option<u64>,
    /// Thousandths of a core that it can use.
    pub cpu_limit_millis: Option<u64>,
    /// Bytes.
    pub memory_bytes: Option<u64>,
    /// Processes.
    pub pids: Option<u64>,
}

/// What a group uses.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// CPU time since the group was made.
    pub cpu_nanos: u64,
    /// Memory less what the kernel can take back at once.
    pub working_set_bytes: u64,
}

/// Linux' CPU period that Kubernetes uses, in microseconds.
const PERIOD_MICROS: u64 = 100_000;

/// `cpu.shares` (version 1) as Kubernetes computes them.
fn shares(millis: u64) -> u64 {
    (millis * 1024 / 1000).clamp(2, 262_144)
}

/// `cpu.weight` (version 2) for the same (KEP-2254).
fn weight(millis: u64) -> u64 {
    1 + (shares(millis) - 2) * 9999 / 262_142
}

/// Microseconds of CPU in a period; the kernel takes no less than 1 ms.
fn quota(millis: u64) -> u64 {
    (millis * PERIOD_MICROS / 1000).max(1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_values() {
        for (millis, expected) in [
            (0, (2, 1, 1000)),
            (100, (102, 4, 10_000)),
            (1000, (1024, 39, 100_000)),
            (1_000_000, (262_144, 10_000, 100_000_000)),
        ] {
            assert_eq!((shares(millis), weight(millis), quota(millis)), expected);
        }
    }
}
