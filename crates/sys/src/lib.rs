//! The only crate with `unsafe`: namespaces, mounts, cgroups, netlink, nftables, seccomp.
