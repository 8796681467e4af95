//! Bodies built by hand, bodies that kubectl sent, and hostile ones.

use onggi_api::GroupVersionKind;
use serde_json::json;

use crate::schema::{self, FieldValidation, admit};

use super::wire::Writer;
use super::*;

fn body(api_version: &str, kind: &str, raw: &[u8]) -> Vec<u8> {
    let mut meta = Writer::default();
    meta.bytes(1, api_version.as_bytes());
    meta.bytes(2, kind.as_bytes());
    let mut unknown = Writer(MAGIC.to_vec());
    unknown.bytes(1, &meta.0);
    unknown.bytes(2, raw);
    unknown.0
}

#[test]
fn a_config_map_by_hand() {
    let mut meta = Writer::default();
    meta.bytes(1, b"x");
    meta.bytes(8, b""); // the zero time
    let mut entry = Writer::default();
    entry.bytes(1, b"a");
    entry.bytes(2, b"b");
    let mut raw = Writer::default();
    raw.bytes(1, &meta.0);
    raw.bytes(2, &entry.0);
    raw.varint(4, 1);
    raw.varint(999, 7); // from the future
    assert_eq!(
        decode(&body("v1", "ConfigMap", &raw.0)),
        Ok(json!({"apiVersion": "v1", "kind": "ConfigMap", "data": {"a": "b"}, "immutable": true,
                  "metadata": {"name": "x", "creationTimestamp": null}}))
    );
}

#[test]
fn what_is_written_is_read_back() {
    let objects = [
        json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": "p", "labels": {"a": "b"}, "finalizers": ["x"],
                "creationTimestamp": "2024-05-01T00:00:00Z",
                "managedFields": [{"manager": "m", "fieldsV1": {"f:spec": {}}}],
                "ownerReferences": [{"kind": "ReplicaSet", "name": "r", "controller": true}]},
            "spec": {
                "terminationGracePeriodSeconds": 0, "priority": -7,
                "volumes": [{"name": "v", "emptyDir": {}},
                            {"name": "c", "configMap": {"name": "cm", "defaultMode": 420}}],
                "containers": [{
                    "name": "c", "command": ["a", ""],
                    "ports": [{"containerPort": 80, "protocol": "TCP"}],
                    "env": [{"name": "E", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}],
                    "resources": {"limits": {"cpu": "500m", "memory": "1Gi"}},
                    "readinessProbe": {"httpGet": {"path": "/", "port": "http"}, "periodSeconds": 3},
                    "livenessProbe": {"tcpSocket": {"port": 80}},
                    "lifecycle": {"preStop": {"exec": {"command": ["sleep"]}}},
                }],
                "ephemeralContainers": [{"name": "e", "image": "i", "targetContainerName": "c"}],
            },
        }),
        json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"},
               "type": "Opaque", "data": {"k": "AAECAw=="}}),
        json!({"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview",
               "spec": {"user": "u", "extra": {"scopes": ["a", "b"]}, "groups": ["g"]}}),
        json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
               "spec": {"renewTime": "2024-05-01T00:00:00.123456Z"}}),
        json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"},
               "spec": {"replicas": 0, "strategy": {"rollingUpdate": {"maxSurge": "25%", "maxUnavailable": 1}},
                        "selector": {"matchExpressions": [{"key": "k", "operator": "In", "values": ["v"]}]}}}),
        json!({"apiVersion": "apps/v1", "kind": "ControllerRevision", "revision": 3,
               "data": {"spec": [1, null]}}),
        json!({"apiVersion": "apps/v1", "kind": "DeleteOptions", "gracePeriodSeconds": 0,
               "preconditions": {"uid": "u"}, "propagationPolicy": "Background"}),
        json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicy",
               "spec": {"matchConstraints": {"resourceRules": [{"apiGroups": ["a"],
                   "operations": ["CREATE"], "resources": ["r"], "resourceNames": ["n"]}]}}}),
    ];
    for object in objects {
        let bytes = encode(&object).unwrap();
        assert_eq!(decode(&bytes), Ok(object));
    }
}

/// What kubectl 1.32 sent for `kubectl create …`, beside what it prints with `-o json`.
#[test]
fn bodies_of_kubectl() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/testdata/kubectl");
    let mut compared = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "pb") {
            continue;
        }
        let mut sent = decode(&std::fs::read(&path).unwrap()).unwrap();
        let text = |name: &str| sent[name].as_str().unwrap();
        let kind = GroupVersionKind::parse(text("apiVersion"), text("kind")).unwrap();
        admit(&mut sent, &kind, FieldValidation::Strict).unwrap();
        let Ok(printed) = std::fs::read(path.with_extension("json")) else { continue };
        let printed = schema::decode(&printed, "", &kind, FieldValidation::Strict).unwrap().value;
        assert_eq!(sent, printed, "{}", path.display());
        assert_eq!(decode(&encode(&printed).unwrap()), Ok(printed));
        compared += 1;
    }
    assert!(compared >= 12);
    let token = std::fs::read(format!("{folder}/token.pb")).unwrap();
    assert_eq!(decode(&token).unwrap()["spec"]["expirationSeconds"], 600);
    let review = std::fs::read(format!("{folder}/selfsubjectaccessreviews.pb")).unwrap();
    let attributes = &decode(&review).unwrap()["spec"]["resourceAttributes"];
    assert_eq!((&attributes["verb"], &attributes["resource"]), (&json!("create"), &json!("pods")));
}

#[test]
fn hostile_bodies_are_errors() {
    assert_eq!(decode(b"{}"), Err(ProtobufError::Magic));
    assert!(decode(b"k8s\0").is_err());
    assert!(matches!(decode(&body("v9", "Nothing", b"")), Err(ProtobufError::Kind { .. })));
    let good = encode(&json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x"},
                              "data": {"a": "b"}}))
    .unwrap();
    for cut in 0..good.len() {
        let _ = decode(&good[..cut]);
    }
    for at in 4..good.len() {
        for bit in 0..8 {
            let mut bytes = good.clone();
            bytes[at] ^= 1 << bit;
            let _ = decode(&bytes);
        }
    }
    // A schema may hold a schema (`not`, 28) without end.
    let mut deep = Vec::new();
    for tag in std::iter::repeat_n(28, 500).chain([1, 4, 7, 2]) {
        let mut outer = Writer::default();
        outer.bytes(tag, &deep);
        deep = outer.0;
    }
    let deep = decode(&body("apiextensions.k8s.io/v1", "CustomResourceDefinition", &deep));
    assert_eq!(deep, Err(ProtobufError::Depth));
}

#[test]
fn the_versions_of_the_core_group() {
    let value =
        json!({"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []});
    let body = encode(&value).unwrap();
    let begin = b"k8s\0\x0a\x0f\x0a\0\x12\x0bAPIVersions\x12\x04\x0a\x02v1";
    assert!(body.starts_with(begin), "{body:?}");
}
