//! Who a container runs as and what it may: the pod's and the container's security contexts in one.

use std::path::PathBuf;

use onggi_api::core::{Capabilities, Container, SeccompProfile as Asked};
use onggi_node_api::{SeccompProfile, SecurityContext};

use crate::pod::Pod;

/// Profiles of `type: Localhost` lie below this directory of the kubelet's.
const SECCOMP_DIRECTORY: &str = "seccomp";

/// The container's word goes before the pod's. `data_dir` is where local profiles lie.
pub(crate) fn context(
    pod: &Pod,
    container: &Container,
    data_dir: &std::path::Path,
) -> SecurityContext {
    let of_pod = pod.spec.security_context.clone().unwrap_or_default();
    let own = container.security_context.clone().unwrap_or_default();
    let privileged = own.privileged.unwrap_or(false);
    let groups = of_pod.supplemental_groups.iter().flatten().chain(&of_pod.fs_group);
    let asked = own.seccomp_profile.as_ref().or(of_pod.seccomp_profile.as_ref());
    SecurityContext {
        run_as_user: id(own.run_as_user.or(of_pod.run_as_user)),
        run_as_group: id(own.run_as_group.or(of_pod.run_as_group)),
        supplemental_groups: groups.filter_map(|group| u32::try_from(*group).ok()).collect(),
        run_as_non_root: own.run_as_non_root.or(of_pod.run_as_non_root).unwrap_or(false),
        privileged,
        readonly_rootfs: own.read_only_root_filesystem.unwrap_or(false),
        no_new_privs: own.allow_privilege_escalation == Some(false),
        add_capabilities: names(
            own.capabilities.as_ref().and_then(|c: &Capabilities| c.add.as_ref()),
        ),
        drop_capabilities: names(own.capabilities.as_ref().and_then(|c| c.drop.as_ref())),
        seccomp: if privileged { SeccompProfile::Unconfined } else { seccomp(asked, data_dir) },
        unmasked_proc: own.proc_mount.as_deref() == Some("Unmasked"),
    }
}

/// The default profile unless something else is asked for: Kubernetes leaves it out.
fn seccomp(asked: Option<&Asked>, data_dir: &std::path::Path) -> SeccompProfile {
    match asked.map(|profile| (profile.type_.as_str(), profile.localhost_profile.as_deref())) {
        Some(("Unconfined", _)) => SeccompProfile::Unconfined,
        Some(("Localhost", Some(file))) => {
            let path: PathBuf = data_dir.join(SECCOMP_DIRECTORY).join(file);
            SeccompProfile::Localhost(path)
        }
        _ => SeccompProfile::RuntimeDefault,
    }
}

/// Without `CAP_`, in capitals.
fn names(list: Option<&Vec<String>>) -> Vec<String> {
    let plain = |name: &String| {
        let name = name.to_uppercase();
        name.strip_prefix("CAP_").map_or(name.clone(), str::to_owned)
    };
    list.into_iter().flatten().map(plain).collect()
}

fn id(number: Option<i64>) -> Option<u32> {
    number.and_then(|number| u32::try_from(number).ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test::pod;
    use serde_json::json;

    #[test]
    fn the_container_overrides_the_pod() {
        let pod = pod(json!({
            "securityContext": {"runAsUser": 1000, "runAsGroup": 2000, "fsGroup": 3000,
                "supplementalGroups": [4000], "seccompProfile": {"type": "Unconfined"}},
            "containers": [
                {"name": "a", "securityContext": {"runAsUser": 1, "allowPrivilegeEscalation": false,
                    "capabilities": {"add": ["cap_net_admin"], "drop": ["ALL"]},
                    "seccompProfile": {"type": "RuntimeDefault"}}},
                {"name": "b"},
            ],
        }));
        let of = |at: usize| context(&pod, &pod.spec.containers[at], "/d".as_ref());
        let (a, b) = (of(0), of(1));
        assert_eq!((a.run_as_user, a.run_as_group), (Some(1), Some(2000)));
        assert_eq!(a.supplemental_groups, [4000, 3000]);
        assert_eq!((a.no_new_privs, a.seccomp), (true, SeccompProfile::RuntimeDefault));
        assert_eq!(
            (a.add_capabilities, a.drop_capabilities),
            (vec!["NET_ADMIN".into()], vec!["ALL".into()])
        );
        assert_eq!((b.run_as_user, b.seccomp), (Some(1000), SeccompProfile::Unconfined));
    }
}
