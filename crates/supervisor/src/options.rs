//! What a user can choose for a node, with the defaults of the command line.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// An IPv4 range, such as `10.244.0.0/16`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Cidr {
    /// Its first address.
    pub address: Ipv4Addr,
    /// How many bits are fixed.
    pub prefix: u8,
}

/// Not a range.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no IPv4 range; write it as 10.244.0.0/16")]
pub struct CidrError(String);

impl std::str::FromStr for Cidr {
    type Err = CidrError;

    fn from_str(text: &str) -> Result<Self, CidrError> {
        let wrong = || CidrError(text.to_owned());
        let (address, prefix) = text.split_once('/').ok_or_else(wrong)?;
        let address: Ipv4Addr = address.parse().map_err(|_| wrong())?;
        let prefix: u8 = prefix.parse().ok().filter(|p| (1..=30).contains(p)).ok_or_else(wrong)?;
        let mask = u32::MAX << (32 - prefix);
        if address.to_bits() & !mask != 0 {
            return Err(wrong());
        }
        Ok(Self { address, prefix })
    }
}

impl TryFrom<String> for Cidr {
    type Error = CidrError;

    fn try_from(text: String) -> Result<Self, CidrError> {
        text.parse()
    }
}

impl From<Cidr> for String {
    fn from(cidr: Cidr) -> Self {
        cidr.to_string()
    }
}

impl std::fmt::Display for Cidr {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

impl Cidr {
    /// The address `offset` after the first.
    pub fn nth(&self, offset: u32) -> Ipv4Addr {
        Ipv4Addr::from_bits(self.address.to_bits().wrapping_add(offset))
    }

    /// Whether it holds the address.
    pub fn contains(&self, address: Ipv4Addr) -> bool {
        let mask = u32::MAX << (32 - self.prefix);
        address.to_bits() & mask == self.address.to_bits()
    }
}

/// Options of `up`, `demo` and `server`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Options {
    /// Where everything is kept.
    pub data_dir: PathBuf,
    /// Where the API server answers.
    pub listen: SocketAddr,
    /// Addresses of pods.
    pub pod_cidr: Cidr,
    /// Addresses of Services.
    pub service_cidr: Cidr,
    /// The node's name; the host's where it is not set.
    pub node_name: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges() {
        let cidr: Cidr = "10.96.0.0/16".parse().unwrap();
        assert_eq!(cidr.nth(10), Ipv4Addr::new(10, 96, 0, 10));
        assert!(cidr.contains(Ipv4Addr::new(10, 96, 255, 1)));
        assert!(!cidr.contains(Ipv4Addr::new(10, 97, 0, 1)));
        for wrong in ["10.96.0.0", "10.96.0.1/16", "10.96.0.0/0", "10.96.0.0/31", "x/8"] {
            assert!(wrong.parse::<Cidr>().is_err(), "{wrong}");
        }
    }
}
