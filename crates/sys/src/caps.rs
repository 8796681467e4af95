//! Capabilities: names, the default set of containers, and taking them on.

use rustix::thread::{CapabilitySets, remove_capability_from_bounding_set, set_capabilities};

pub use rustix::thread::CapabilitySet;

/// What a container gets unless told otherwise (Docker's and containerd's set).
pub const DEFAULT: CapabilitySet = CapabilitySet::CHOWN
    .union(CapabilitySet::DAC_OVERRIDE)
    .union(CapabilitySet::FSETID)
    .union(CapabilitySet::FOWNER)
    .union(CapabilitySet::MKNOD)
    .union(CapabilitySet::NET_RAW)
    .union(CapabilitySet::SETGID)
    .union(CapabilitySet::SETUID)
    .union(CapabilitySet::SETFCAP)
    .union(CapabilitySet::SETPCAP)
    .union(CapabilitySet::NET_BIND_SERVICE)
    .union(CapabilitySet::SYS_CHROOT)
    .union(CapabilitySet::KILL)
    .union(CapabilitySet::AUDIT_WRITE);

/// `NET_ADMIN`, `CAP_NET_ADMIN` or `net_admin`; none for a name that nobody knows.
pub fn parse(name: &str) -> Option<CapabilitySet> {
    let name = name.to_ascii_uppercase();
    CapabilitySet::from_name(name.strip_prefix("CAP_").unwrap_or(&name))
}

/// The set that the calling thread may hold and give on.
pub fn held() -> std::io::Result<CapabilitySet> {
    Ok(rustix::thread::capabilities(None)?.permitted)
}

/// Takes all but `keep` out of the bounding set of the calling thread.
pub fn bound(keep: CapabilitySet) -> std::io::Result<()> {
    for bit in 0..64 {
        let one = CapabilitySet::from_bits_retain(1 << bit);
        if keep.contains(one) {
            continue;
        }
        match remove_capability_from_bounding_set(one) {
            Ok(()) => {}
            // Past the last capability that this kernel knows.
            Err(rustix::io::Errno::INVAL) => break,
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// Makes `set` the permitted and effective capabilities of the calling thread. Nothing is
/// inheritable: a program run by a user other than root starts with none.
pub fn take(set: CapabilitySet) -> std::io::Result<()> {
    let sets =
        CapabilitySets { effective: set, permitted: set, inheritable: CapabilitySet::empty() };
    Ok(set_capabilities(None, sets)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        assert_eq!(parse("CAP_NET_ADMIN"), Some(CapabilitySet::NET_ADMIN));
        assert_eq!(parse("net_admin"), Some(CapabilitySet::NET_ADMIN));
        assert_eq!(parse("NET_BOSS"), None);
        assert_eq!(DEFAULT.bits(), 0xa804_25fb);
    }
}
