//! The only crate with `unsafe`: namespaces, mounts, cgroups, netlink, nftables, seccomp.

pub mod caps;
pub mod cgroups;
pub mod memory;
pub mod mounts;
pub mod namespaces;
pub mod netlink;
pub mod nft;
pub mod process;
pub mod seccomp;
pub mod stream;
