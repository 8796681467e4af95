//! The only crate with `unsafe`: namespaces, mounts, cgroups, netlink, nftables, seccomp.

pub mod netlink;
pub mod nft;
pub mod caps;
pub mod cgroups;
pub mod mounts;
pub mod namespaces;
pub mod process;
pub mod seccomp;
