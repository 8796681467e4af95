//! Who uses a claim, and whether a volume is in use.

use onggi_machinery::value::str_at;
use serde_json::Value;

use crate::view::{Pod, Volume};

/// The finalizer of claims.
pub(super) const CLAIM: &str = "kubernetes.io/pvc-protection";
/// The finalizer of volumes.
pub(super) const VOLUME: &str = "kubernetes.io/pv-protection";

/// The claims that a pod uses. One that has ended, or was never given to a node and is deleted,
/// uses none.
pub(super) fn claims_of(pod: &Pod) -> Vec<String> {
    let never_ran = pod.spec.node_name.is_empty() && pod.metadata.deleting();
    if pod.finished() || never_ran {
        return Vec::new();
    }
    let name = &pod.metadata.name;
    let claim = |volume: &Volume| match &volume.persistent_volume_claim {
        Some(claim) => Some(claim.claim_name.clone()),
        // A claim that is made for the pod is named after it.
        None => volume.ephemeral.is_some().then(|| format!("{name}-{}", volume.name)),
    };
    pod.spec.volumes.iter().filter_map(claim).collect()
}

/// Whether a claim holds the volume.
pub(super) fn is_bound(volume: &Value) -> bool {
    str_at(volume, "status.phase") == "Bound"
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn users() {
        let spec = json!({"nodeName": "n", "volumes": [
            {"name": "a", "persistentVolumeClaim": {"claimName": "x"}},
            {"name": "b", "ephemeral": {}},
            {"name": "c", "emptyDir": {}},
        ]});
        let pod = |phase: &str| -> Pod {
            let pod = json!({"metadata": {"name": "p"}, "spec": spec, "status": {"phase": phase}});
            serde_json::from_value(pod).unwrap()
        };
        assert_eq!(claims_of(&pod("Running")), ["x", "p-b"]);
        assert!(claims_of(&pod("Failed")).is_empty());
        assert!(is_bound(&json!({"status": {"phase": "Bound"}})) && !is_bound(&json!({})));
    }
}
