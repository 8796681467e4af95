//! Labels that a kubelet may give its own node: it must not draw to itself what is kept for others.

/// Labels of Kubernetes' name spaces that kubelets set.
const KUBELET: &[&str] = &[
    "kubernetes.io/hostname",
    "topology.kubernetes.io/zone",
    "topology.kubernetes.io/region",
    "failure-domain.beta.kubernetes.io/zone",
    "failure-domain.beta.kubernetes.io/region",
    "beta.kubernetes.io/instance-type",
    "node.kubernetes.io/instance-type",
    "beta.kubernetes.io/os",
    "beta.kubernetes.io/arch",
    "kubernetes.io/os",
    "kubernetes.io/arch",
];
/// Name spaces in which kubelets set what they like.
const KUBELET_SPACES: &[&str] = &["kubelet.kubernetes.io", "node.kubernetes.io"];
const RESTRICTED: &str = "node-restriction.kubernetes.io";

/// Whether a kubelet may set, change or remove the label.
pub fn may_kubelet_set(label: &str) -> bool {
    let space = label.split_once('/').map_or("", |(space, _)| space);
    let within = |whole: &str| {
        space.strip_suffix(whole).is_some_and(|before| before.is_empty() || before.ends_with('.'))
    };
    if within(RESTRICTED) {
        return false;
    }
    let reserved = within("kubernetes.io") || within("k8s.io");
    !reserved || KUBELET.contains(&label) || KUBELET_SPACES.iter().any(|known| within(known))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_may_set_what() {
        for (label, may) in [
            ("disk", true),
            ("example.com/disk", true),
            ("kubernetes.io/hostname", true),
            ("kubernetes.io/role", false),
            ("node-role.kubernetes.io/control-plane", false),
            ("node.kubernetes.io/anything", true),
            ("a.kubelet.kubernetes.io/b", true),
            ("node-restriction.kubernetes.io/team", false),
            ("x.node-restriction.kubernetes.io/team", false),
            ("some.k8s.io/x", false),
        ] {
            assert_eq!(may_kubelet_set(label), may, "{label}");
        }
    }
}
