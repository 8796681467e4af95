//! The instance id, and how it is written on what is ours in the kernel.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::Error;

/// Who made a route (`rtm_protocol`): ours. In `ip route`: `proto 79`.
pub const ROUTE_PROTOCOL: u8 = 79;
const TABLE: &str = "onggi-";

/// The id of a cluster's part on this machine: 1 to 8 of `a-z0-9`, derived from the data directory.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Instance(String);

impl Instance {
    /// Checks it.
    pub fn new(id: &str) -> Result<Self, Error> {
        let valid = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        if (1..=8).contains(&id.len()) && id.bytes().all(valid) {
            return Ok(Self(id.to_owned()));
        }
        let message = format!("{id:?} is not 1 to 8 lower-case letters or digits");
        Err(Error::Option { option: "instance", message })
    }

    /// The name of the nftables table.
    pub fn table(&self) -> String {
        format!("{TABLE}{}", self.0)
    }

    /// The instance to which an nftables table belongs.
    pub fn of_table(table: &str) -> Option<Self> {
        Self::new(table.strip_prefix(TABLE)?).ok()
    }

    /// The name of a pod's interface on the node; an interface's name has 15 characters at most:
    /// `on`, up to 8 of the instance, `-`, up to 4 of the address's place in the node's range.
    pub fn interface(&self, place: u32) -> String {
        format!("on{}-{:x}", self.0, place & 0xffff)
    }

    /// Whether an interface has such a name.
    pub fn owns_interface(&self, name: &str) -> bool {
        name.strip_prefix("on")
            .and_then(|rest| rest.strip_prefix(&self.0))
            .is_some_and(|rest| rest.starts_with('-'))
    }

    /// The metric of our routes, which have no name to write the id on (FNV-1a).
    pub fn metric(&self) -> u32 {
        let hash = self
            .0
            .bytes()
            .fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
        hash | 1
    }
}

impl fmt::Display for Instance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for Instance {
    type Error = Error;

    fn try_from(id: String) -> Result<Self, Error> {
        Self::new(&id)
    }
}

impl From<Instance> for String {
    fn from(instance: Instance) -> Self {
        instance.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_fit_and_are_told_apart() {
        let long = Instance::new("abcd1234").unwrap();
        assert_eq!(long.interface(0xffff).len(), 15);
        let short = Instance::new("abcd").unwrap();
        assert!(long.owns_interface(&long.interface(7)));
        assert!(!short.owns_interface(&long.interface(7)));
        assert!(!long.owns_interface(&short.interface(7)));
        assert_eq!(Instance::of_table(&long.table()), Some(long.clone()));
        assert_ne!(long.metric(), short.metric());
        for bad in ["", "a-b", "A", "abcdefghi"] {
            assert!(Instance::new(bad).is_err(), "{bad}");
        }
    }
}
