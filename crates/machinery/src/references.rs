//! What a pod names besides itself: the objects that its node must read to run it.

use serde_json::Value;

use crate::value::{list_at, str_at};

/// Another object of the pod's namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "the names are the meaning")]
pub enum Kind {
    Secret,
    ConfigMap,
    ServiceAccount,
    PersistentVolumeClaim,
    ResourceClaim,
}

/// Every object that a pod names, kind and name; some perhaps twice.
pub fn of_pod(pod: &Value) -> Vec<(Kind, String)> {
    let mut found = Vec::new();
    let spec = &pod["spec"];
    let mut add = |kind: Kind, name: &str| {
        if !name.is_empty() {
            found.push((kind, name.to_owned()));
        }
    };
    add(Kind::ServiceAccount, str_at(spec, "serviceAccountName"));
    for secret in list_at(spec, "imagePullSecrets") {
        add(Kind::Secret, str_at(secret, "name"));
    }
    for list in ["containers", "initContainers", "ephemeralContainers"] {
        for container in list_at(spec, list) {
            for source in list_at(container, "envFrom") {
                add(Kind::Secret, str_at(source, "secretRef.name"));
                add(Kind::ConfigMap, str_at(source, "configMapRef.name"));
            }
            for variable in list_at(container, "env") {
                add(Kind::Secret, str_at(variable, "valueFrom.secretKeyRef.name"));
                add(Kind::ConfigMap, str_at(variable, "valueFrom.configMapKeyRef.name"));
            }
        }
    }
    for volume in list_at(spec, "volumes") {
        add(Kind::Secret, str_at(volume, "secret.secretName"));
        add(Kind::ConfigMap, str_at(volume, "configMap.name"));
        add(Kind::PersistentVolumeClaim, str_at(volume, "persistentVolumeClaim.claimName"));
        if volume["ephemeral"].is_object() {
            // The claim that is made for the volume.
            let claim = format!("{}-{}", str_at(pod, "metadata.name"), str_at(volume, "name"));
            add(Kind::PersistentVolumeClaim, &claim);
        }
        add(Kind::Secret, str_at(volume, "csi.nodePublishSecretRef.name"));
        for driver in ["cephfs", "flexVolume", "iscsi", "rbd", "scaleIO", "storageos"] {
            add(Kind::Secret, str_at(&volume[driver], "secretRef.name"));
        }
        add(Kind::Secret, str_at(volume, "azureFile.secretName"));
        for source in list_at(volume, "projected.sources") {
            add(Kind::Secret, str_at(source, "secret.name"));
            add(Kind::ConfigMap, str_at(source, "configMap.name"));
        }
    }
    let statuses = list_at(pod, "status.resourceClaimStatuses");
    for claim in list_at(spec, "resourceClaims") {
        add(Kind::ResourceClaim, str_at(claim, "resourceClaimName"));
        let made = statuses.iter().find(|status| status["name"] == claim["name"]);
        add(Kind::ResourceClaim, made.map_or("", |status| str_at(status, "resourceClaimName")));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn everything_that_is_named() {
        let pod = json!({
            "metadata": {"name": "p"},
            "spec": {
                "serviceAccountName": "robot",
                "imagePullSecrets": [{"name": "pull"}],
                "containers": [{
                    "envFrom": [{"secretRef": {"name": "a"}}, {"configMapRef": {"name": "b"}}],
                    "env": [
                        {"name": "X", "valueFrom": {"secretKeyRef": {"name": "c", "key": "k"}}},
                        {"name": "Y", "value": "plain"},
                    ],
                }],
                "volumes": [
                    {"name": "v", "secret": {"secretName": "d"}},
                    {"name": "e", "ephemeral": {}},
                    {"name": "p", "projected": {"sources": [{"configMap": {"name": "f"}}]}},
                    {"name": "q", "persistentVolumeClaim": {"claimName": "g"}},
                ],
            },
        });
        let names: Vec<String> =
            of_pod(&pod).iter().map(|(kind, name)| format!("{kind:?} {name}")).collect();
        assert_eq!(
            names,
            [
                "ServiceAccount robot",
                "Secret pull",
                "Secret a",
                "ConfigMap b",
                "Secret c",
                "Secret d",
                "PersistentVolumeClaim p-e",
                "ConfigMap f",
                "PersistentVolumeClaim g",
            ]
        );
    }
}
