//! Which pods this node refuses, whoever bound them to it: they fail and nothing of them is started.

use onggi_node_api::sysctl::dotted;

use crate::pod::Pod;

/// Why a pod is refused; `status.reason` and what is said of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) reason: &'static str,
    pub(crate) message: String,
}

/// Settings of the kernel that have no effect on other pods and on the node
/// (`kubelet/sysctl/safe_sysctls.go`).
const SAFE_SYSCTLS: &[&str] = &[
    "kernel.shm_rmid_forced",
    "net.ipv4.ip_local_port_range",
    "net.ipv4.ip_local_reserved_ports",
    "net.ipv4.ip_unprivileged_port_start",
    "net.ipv4.ping_group_range",
    "net.ipv4.tcp_fin_timeout",
    "net.ipv4.tcp_keepalive_intvl",
    "net.ipv4.tcp_keepalive_probes",
    "net.ipv4.tcp_keepalive_time",
    "net.ipv4.tcp_rmem",
    "net.ipv4.tcp_syncookies",
    "net.ipv4.tcp_wmem",
];

/// `None`: the node takes it.
pub(crate) fn refusal(pod: &Pod) -> Option<Refusal> {
    foreign_system(pod).or_else(|| forbidden_sysctl(pod))
}

/// The node's label of this name, which the kubelet keeps.
const OS_LABEL: &str = "kubernetes.io/os";
const OS: &str = "linux";

fn foreign_system(pod: &Pod) -> Option<Refusal> {
    // Kubernetes looks at the pod's own label too, once: here it would end a pod that is labelled
    // while it runs.
    if pod.spec.os.as_ref().is_some_and(|os| !matches!(os.name.as_str(), "" | OS)) {
        return Some(Refusal {
            reason: "PodOSNotSupported",
            message: "Failed to admit pod as the OS field doesn't match node OS".to_owned(),
        });
    }
    let selector = pod.spec.node_selector.as_ref();
    selector.and_then(|labels| labels.get(OS_LABEL)).filter(|os| *os != OS).map(|_| Refusal {
        reason: "NodeAffinity",
        message: "Predicate NodeAffinity failed: node(s) didn't match Pod's node affinity/selector"
            .to_owned(),
    })
}

fn forbidden_sysctl(pod: &Pod) -> Option<Refusal> {
    let security = pod.spec.security_context.as_ref()?;
    let host_ipc = pod.spec.host_ipc.unwrap_or(false);
    security.sysctls.iter().flatten().find_map(|sysctl| {
        let name = dotted(&sysctl.name);
        let why = if !SAFE_SYSCTLS.contains(&name.as_str()) {
            format!("{name:?} not allowlisted")
        } else if name.starts_with("net.") && pod.is_host_network() {
            format!("{name:?} not allowed with host Net enabled")
        } else if name.starts_with("kernel.") && host_ipc {
            format!("{name:?} not allowed with host IPC enabled")
        } else {
            return None;
        };
        Some(Refusal { reason: "SysctlForbidden", message: format!("forbidden sysctl: {why}") })
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::test::pod;

    #[test]
    fn what_is_refused() {
        let sysctl =
            |name: &str| json!({"securityContext": {"sysctls": [{"name": name, "value": "1"}]}});
        let with = |mut spec: Value, field: &str| {
            spec[field] = true.into();
            spec
        };
        for (spec, expected) in [
            (json!({}), None),
            (json!({"os": {"name": "linux"}}), None),
            (
                json!({"os": {"name": "windows"}}),
                Some(
                    "PodOSNotSupported: Failed to admit pod as the OS field doesn't match node OS",
                ),
            ),
            (
                json!({"nodeSelector": {"kubernetes.io/os": "windows"}}),
                Some(
                    "NodeAffinity: Predicate NodeAffinity failed: node(s) didn't match Pod's node affinity/selector",
                ),
            ),
            (sysctl("kernel.shm_rmid_forced"), None),
            (sysctl("net/ipv4/tcp_syncookies"), None),
            (
                sysctl("kernel.core_pattern"),
                Some("SysctlForbidden: forbidden sysctl: \"kernel.core_pattern\" not allowlisted"),
            ),
            (
                sysctl("vm/swappiness"),
                Some("SysctlForbidden: forbidden sysctl: \"vm.swappiness\" not allowlisted"),
            ),
            (
                with(sysctl("net.ipv4.tcp_rmem"), "hostNetwork"),
                Some(
                    "SysctlForbidden: forbidden sysctl: \"net.ipv4.tcp_rmem\" not allowed with host Net enabled",
                ),
            ),
            (
                with(sysctl("kernel.shm_rmid_forced"), "hostIPC"),
                Some(
                    "SysctlForbidden: forbidden sysctl: \"kernel.shm_rmid_forced\" not allowed with host IPC enabled",
                ),
            ),
        ] {
            let said = refusal(&pod(spec.clone()));
            let said = said.map(|refusal| format!("{}: {}", refusal.reason, refusal.message));
            assert_eq!(said.as_deref(), expected, "{spec}");
        }
    }
}
