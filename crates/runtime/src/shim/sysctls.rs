//! Settings of the kernel that a pod may change: those that its own namespaces have. Whoever asks
//! us for others is refused, whatever it was told: they are those of the node.

use std::path::PathBuf;

use onggi_node_api::sysctl::slashed;

/// Where a setting is, by its name with dots or with slashes (sysctl(8)); `network` and `ipc`: the
/// pod has such a namespace of its own.
pub(super) fn path(name: &str, network: bool, ipc: bool) -> Result<PathBuf, String> {
    let file = slashed(name);
    let is_plain = |part: &str| !matches!(part, "" | "." | "..");
    let of_ipc = |file: &str| {
        ["kernel/shm", "kernel/msg"].iter().any(|prefix| file.starts_with(prefix))
            || file == "kernel/sem"
            || file.starts_with("fs/mqueue/")
    };
    let own = match &file {
        file if file.starts_with("net/") => network,
        file if of_ipc(file) => ipc,
        _ => return Err(format!("sysctl {name}: it is a setting of the node, not of a pod")),
    };
    if !own {
        return Err(format!("sysctl {name}: the pod shares it with the node"));
    }
    if !file.split('/').all(is_plain) {
        return Err(format!("sysctl {name}: no such name"));
    }
    Ok(PathBuf::from("/proc/sys").join(file))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_the_pods_own() {
        let said = |name: &str, network: bool, ipc: bool| {
            path(name, network, ipc).map_or_else(|why| why, |path| path.display().to_string())
        };
        for (name, expected) in [
            ("net.ipv4.tcp_rmem", "/proc/sys/net/ipv4/tcp_rmem"),
            ("net.ipv4.conf.eth0/1.rp_filter", "/proc/sys/net/ipv4/conf/eth0.1/rp_filter"),
            ("net/ipv4/conf/eth0.1/rp_filter", "/proc/sys/net/ipv4/conf/eth0.1/rp_filter"),
            ("kernel.shm_rmid_forced", "/proc/sys/kernel/shm_rmid_forced"),
            ("fs.mqueue.msg_max", "/proc/sys/fs/mqueue/msg_max"),
            (
                "kernel.core_pattern",
                "sysctl kernel.core_pattern: it is a setting of the node, not of a pod",
            ),
            ("vm/swappiness", "sysctl vm/swappiness: it is a setting of the node, not of a pod"),
            ("net/../kernel/core_pattern", "sysctl net/../kernel/core_pattern: no such name"),
        ] {
            assert_eq!(said(name, true, true), expected);
        }
        let shared = "sysctl net.core.somaxconn: the pod shares it with the node";
        assert_eq!(said("net.core.somaxconn", false, true), shared);
        assert!(said("kernel.sem", true, false).ends_with("shares it with the node"));
    }
}
