//! Old manifests and what they become.

use serde_json::json;

use super::*;

fn read(from: &Version, object: &Value) -> Decoded {
    let body = object.to_string();
    from.decode(body.as_bytes(), "application/json", FieldValidation::Strict).unwrap()
}

#[test]
fn a_deployment_of_extensions() {
    let old = version("extensions", "v1beta1", "deployments").unwrap();
    let object = json!({
        "apiVersion": "extensions/v1beta1", "kind": "Deployment", "metadata": {"name": "ftgo"},
        "spec": {
            "replicas": 2, "rollbackTo": {"revision": 1},
            "strategy": {"rollingUpdate": {"maxUnavailable": 0}},
            "template": {"metadata": {"labels": {"svc": "r", "application": "ftgo"}},
                         "spec": {"containers": [{"name": "c", "image": "i"}]}},
        },
    });
    let Decoded { value, warnings } = read(old, &object);
    assert_eq!(value["apiVersion"], "apps/v1");
    let spec = &value["spec"];
    let labels = json!({"svc": "r", "application": "ftgo"});
    assert_eq!(spec["selector"], json!({ "matchLabels": labels }));
    assert_eq!(value["metadata"]["labels"], labels);
    assert_eq!(
        spec["strategy"],
        json!({"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}})
    );
    assert_eq!(spec["progressDeadlineSeconds"], i32::MAX);
    assert_eq!(spec["revisionHistoryLimit"], i32::MAX);
    assert_eq!(
        warnings,
        [
            "extensions/v1beta1 Deployment is deprecated in v1.8+, unavailable in v1.16+; use \
             apps/v1 Deployment, as which it is read here",
            "spec.selector was left out: it is taken from the labels of the template \
             (application=ftgo,svc=r)",
        ]
    );
    assert_eq!(old.resource().map(|row| row.kind), Some("Deployment"));
}

#[test]
fn what_is_set_stays() {
    let object = json!({
        "metadata": {"labels": {"own": "1"}},
        "spec": {"selector": {"matchLabels": {"a": "b"}}, "revisionHistoryLimit": 3,
                 "strategy": {"type": "Recreate"}, "template": {"metadata": {"labels": {"a": "b", "c": "d"}}}},
    });
    let Decoded { value, warnings } =
        read(version("apps", "v1beta1", "deployments").unwrap(), &object);
    assert_eq!(warnings.len(), 1);
    assert_eq!(value["metadata"]["labels"], json!({"own": "1"}));
    assert_eq!(value["spec"]["selector"], json!({"matchLabels": {"a": "b"}}));
    assert_eq!(value["spec"]["strategy"], json!({"type": "Recreate"}));
    assert_eq!(value["spec"]["revisionHistoryLimit"], 3);
    assert_eq!(value["spec"]["progressDeadlineSeconds"], 600);
}

#[test]
fn apps_v1beta2_is_apps_v1() {
    let old = version_of("apps", "v1beta2", "ReplicaSet").unwrap();
    let Decoded { value, .. } = read(old, &json!({"spec": {"replicas": 1}}));
    assert_eq!(
        value,
        json!({
            "apiVersion": "apps/v1", "kind": "ReplicaSet", "metadata": {},
            "spec": {
                "replicas": 1, "selector": null,
                "template": {"metadata": {}, "spec": {"containers": null}},
            },
            "status": {"replicas": 0},
        })
    );
}

#[test]
fn an_ingress() {
    let old = version("networking.k8s.io", "v1beta1", "ingresses").unwrap();
    let object = json!({"spec": {
        "backend": {"serviceName": "d", "servicePort": 80},
        "rules": [{"host": "h", "http": {"paths": [{"path": "/a", "backend": {"serviceName": "s", "servicePort": "http"}}]}}],
    }});
    assert_eq!(
        read(old, &object).value["spec"],
        json!({
            "defaultBackend": {"service": {"name": "d", "port": {"number": 80}}},
            "rules": [{"host": "h", "http": {"paths": [{
                "path": "/a", "pathType": "ImplementationSpecific",
                "backend": {"service": {"name": "s", "port": {"name": "http"}}}}]}}],
        })
    );
}

#[test]
fn policies_and_classes() {
    let empty = json!({"matchExpressions": [{
        "key": "pdb.kubernetes.io/deprecated-v1beta1-empty-selector-match", "operator": "Exists"}]});
    for ((group, version, plural), old, new) in [
        (
            ("policy", "v1beta1", "poddisruptionbudgets"),
            json!({"spec": {"minAvailable": 1, "selector": {}}}),
            json!({"spec": {"minAvailable": 1, "selector": empty}}),
        ),
        (
            ("certificates.k8s.io", "v1beta1", "certificatesigningrequests"),
            json!({"spec": {"request": "YQ=="}}),
            json!({"spec": {"request": "YQ==", "signerName": "kubernetes.io/legacy-unknown",
                            "usages": ["digital signature", "key encipherment"]}}),
        ),
        (
            ("flowcontrol.apiserver.k8s.io", "v1beta2", "prioritylevelconfigurations"),
            json!({"spec": {"type": "Limited", "limited": {"assuredConcurrencyShares": 7}}}),
            json!({"spec": {"type": "Limited", "limited": {"nominalConcurrencyShares": 7}}}),
        ),
        (
            ("flowcontrol.apiserver.k8s.io", "v1beta3", "prioritylevelconfigurations"),
            json!({"spec": {"type": "Limited", "limited": {"nominalConcurrencyShares": 0}}}),
            json!({"spec": {"type": "Limited", "limited": {}}}),
        ),
        (
            ("rbac.authorization.k8s.io", "v1alpha1", "rolebindings"),
            json!({"roleRef": {"kind": "Role", "name": "r"}, "subjects": [
                {"kind": "User", "name": "*"},
                {"kind": "User", "name": "u", "apiVersion": "rbac.authorization.k8s.io/v1alpha1"}]}),
            json!({"roleRef": {"kind": "Role", "name": "r"}, "subjects": [
                {"kind": "Group", "name": "system:authenticated"},
                {"kind": "User", "name": "u", "apiGroup": "rbac.authorization.k8s.io"}]}),
        ),
        (
            ("node.k8s.io", "v1alpha1", "runtimeclasses"),
            json!({"spec": {"runtimeHandler": "h"}}),
            json!({"handler": "h"}),
        ),
        (
            ("discovery.k8s.io", "v1beta1", "endpointslices"),
            json!({"addressType": "IPv4", "endpoints": [{"addresses": ["10.0.0.1"], "topology": {
                "kubernetes.io/hostname": "n1", "topology.kubernetes.io/zone": "z", "x": "y"}}]}),
            json!({"addressType": "IPv4", "endpoints": [{
                "addresses": ["10.0.0.1"], "nodeName": "n1", "zone": "z",
                "deprecatedTopology": {"x": "y"}}]}),
        ),
        (
            ("resource.k8s.io", "v1beta1", "resourceclaims"),
            json!({"spec": {"devices": {"requests": [{"name": "r", "deviceClassName": "c"}]}}}),
            json!({"spec": {"devices": {"requests": [
                {"name": "r", "exactly": {"deviceClassName": "c"}}]}}}),
        ),
        (
            ("resource.k8s.io", "v1beta1", "resourceslices"),
            json!({"spec": {"driver": "d", "pool": {"name": "p", "generation": 0,
                "resourceSliceCount": 1}, "devices": [
                {"name": "x", "basic": {"attributes": {"a": {"bool": true}}}}]}}),
            json!({"spec": {"driver": "d", "pool": {"name": "p", "generation": 0,
                "resourceSliceCount": 1}, "devices": [
                {"name": "x", "attributes": {"a": {"bool": true}}}]}}),
        ),
        (
            ("admissionregistration.k8s.io", "v1beta1", "validatingwebhookconfigurations"),
            json!({"webhooks": [{"name": "a.b.c", "clientConfig": {"url": "https://x"}}]}),
            json!({"webhooks": [{
                "name": "a.b.c", "clientConfig": {"url": "https://x"}, "failurePolicy": "Ignore",
                "matchPolicy": "Exact", "timeoutSeconds": 30, "sideEffects": "NoneOnDryRun",
                "admissionReviewVersions": ["v1beta1"]}]}),
        ),
    ] {
        let Decoded { mut value, .. } = read(super::version(group, version, plural).unwrap(), &old);
        let map = value.as_object_mut().unwrap();
        map.remove("apiVersion");
        map.remove("kind");
        // What is always written stands in the new version.
        let mut whole = new.clone();
        let kind = super::version(group, version, plural).unwrap().current_kind();
        let schema = onggi_api::schema::of(&kind.group, &kind.version, &kind.kind).unwrap();
        crate::schema::complete(schema, &mut whole);
        assert_eq!(value, whole, "{group}/{version} {plural}");
        // Where a shape is another one, it is turned back too.
        if matches!(group, "resource.k8s.io") || version == "v1beta2" {
            let mut back = new.clone();
            super::version(group, version, plural).unwrap().from_current(&mut back);
            for key in ["apiVersion", "kind"] {
                back.as_object_mut().unwrap().remove(key);
            }
            let mut old = old.clone();
            if let Some(schema) = onggi_api::schema::of(group, version, &kind.kind) {
                crate::schema::complete(schema, &mut old);
            }
            assert_eq!(back, old, "{group}/{version} {plural}");
        }
    }
}

#[test]
fn odd_shapes_and_faults() {
    for entry in TABLE {
        for object in [
            json!(3),
            json!([]),
            json!({}),
            json!({"spec": 1}),
            json!({"spec": {"strategy": 1, "rules": 2,
            "template": {"metadata": {"labels": [1]}}}}),
            json!({"metadata": 3, "spec": {"template": {"metadata": {"labels": {"a": 1}}}}}),
            json!({"webhooks": [1, {}], "subjects": [2, {}], "endpoints": [3, {"topology": 4}]}),
            json!({"spec": {"selector": 1, "usages": 2, "limited": 3}}),
        ] {
            let mut object = object;
            entry.to_current(&mut object);
            entry.from_current(&mut object);
        }
        let schema = onggi_api::schema::of(entry.current.0, entry.current.1, entry.kind);
        assert!(schema.is_some(), "{entry:?}");
    }
    let old = version("extensions", "v1beta1", "deployments").unwrap();
    let decode = |body: &str| {
        old.decode(body.as_bytes(), "application/json", FieldValidation::Strict)
            .unwrap_err()
            .to_string()
    };
    assert!(
        decode(r#"{"apiVersion":"v1"}"#)
            .contains("does not match the expected API version (extensions/v1beta1)")
    );
    assert!(decode(r#"{"spec":{"foo":1}}"#).contains("unknown field \"spec.foo\""));
    assert!(version("apps", "v1", "deployments").is_none());
}

#[test]
fn current_versions_have_schemas_and_no_warnings() {
    for entry in TABLE.iter().filter(|entry| entry.removed.is_none()) {
        let schema = onggi_api::schema::of(entry.group, entry.version, entry.kind);
        assert!(schema.is_some(), "{entry:?}");
    }
    let event = version("events.k8s.io", "v1", "events").unwrap();
    let object = json!({"metadata": {"name": "e"}, "note": "n", "eventTime": null});
    let Decoded { value, warnings } = read(event, &object);
    assert_eq!((value["message"].as_str(), value["apiVersion"].as_str()), (Some("n"), Some("v1")));
    assert_eq!(warnings, Vec::<String>::new());
    assert_eq!(
        event.field_selector("regarding.name=a\\,b,type!=Normal").unwrap(),
        "involvedObject.name=a\\,b,type!=Normal"
    );
    assert!(event.field_selector("involvedObject.name=a").is_err());
    let strict = event.decode(br#"{"message":"x"}"#, "application/json", FieldValidation::Strict);
    assert!(strict.unwrap_err().to_string().contains("unknown field \"message\""));
}

#[test]
fn a_version_stands_once() {
    let mut seen = std::collections::HashSet::new();
    for entry in TABLE {
        assert!(seen.insert((entry.group, entry.version, entry.plural)), "{entry:?}");
    }
}

/// A configuration of every removed version that has another shape, and one of its fields.
#[test]
fn configurations_in_the_current_shape() {
    let ingress = json!({"spec": {
        "backend": {"serviceName": "d", "servicePort": "web"},
        "rules": [{"http": {"paths": [{"backend": {"serviceName": "a", "servicePort": 80}}]}}],
    }});
    let shares = json!({"spec": {"limited": {"assuredConcurrencyShares": 7}}});
    let requests = json!({"devices": {"requests": [{"name": "r", "deviceClassName": "c"}]}});
    let metric =
        json!({"type": "Resource", "resource": {"name": "cpu", "targetAverageUtilization": 5}});
    for (group, version_of, plural, config, pointer, expected) in [
        (
            "networking.k8s.io",
            "v1beta1",
            "ingresses",
            ingress.clone(),
            "/spec/defaultBackend/service/port/name",
            json!("web"),
        ),
        (
            "extensions",
            "v1beta1",
            "ingresses",
            ingress,
            "/spec/rules/0/http/paths/0/backend/service/name",
            json!("a"),
        ),
        (
            "autoscaling",
            "v2beta1",
            "horizontalpodautoscalers",
            json!({"spec": {"metrics": [metric]}}),
            "/spec/metrics/0/resource/target/averageUtilization",
            json!(5),
        ),
        (
            "apiextensions.k8s.io",
            "v1beta1",
            "customresourcedefinitions",
            json!({"spec": {"version": "v1"}}),
            "/spec/versions/0/name",
            json!("v1"),
        ),
        ("events.k8s.io", "v1beta1", "events", json!({"note": "n"}), "/message", json!("n")),
        (
            "discovery.k8s.io",
            "v1beta1",
            "endpointslices",
            json!({"endpoints": [{"topology": {"topology.kubernetes.io/zone": "z"}}]}),
            "/endpoints/0/zone",
            json!("z"),
        ),
        (
            "flowcontrol.apiserver.k8s.io",
            "v1beta1",
            "prioritylevelconfigurations",
            shares.clone(),
            "/spec/limited/nominalConcurrencyShares",
            json!(7),
        ),
        (
            "flowcontrol.apiserver.k8s.io",
            "v1beta2",
            "prioritylevelconfigurations",
            shares,
            "/spec/limited/nominalConcurrencyShares",
            json!(7),
        ),
        (
            "rbac.authorization.k8s.io",
            "v1alpha1",
            "clusterrolebindings",
            json!({"subjects": [{"kind": "User", "apiVersion": "rbac.authorization.k8s.io/v1alpha1", "name": "u"}]}),
            "/subjects/0/apiGroup",
            json!("rbac.authorization.k8s.io"),
        ),
        (
            "node.k8s.io",
            "v1alpha1",
            "runtimeclasses",
            json!({"spec": {"runtimeHandler": "h"}}),
            "/handler",
            json!("h"),
        ),
        (
            "resource.k8s.io",
            "v1beta1",
            "resourceclaims",
            json!({"spec": requests}),
            "/spec/devices/requests/0/exactly/deviceClassName",
            json!("c"),
        ),
        (
            "resource.k8s.io",
            "v1beta1",
            "resourceclaimtemplates",
            json!({"spec": {"spec": requests}}),
            "/spec/spec/devices/requests/0/exactly/deviceClassName",
            json!("c"),
        ),
        (
            "resource.k8s.io",
            "v1beta1",
            "resourceslices",
            json!({"spec": {"devices": [{"name": "d", "basic": {"attributes": {"a": {"int": 1}}}}]}}),
            "/spec/devices/0/attributes/a/int",
            json!(1),
        ),
    ] {
        let old = version(group, version_of, plural).unwrap();
        let mut config = config;
        config["apiVersion"] = old.api_version().into();
        config["kind"] = old.kind.into();
        config["metadata"] = json!({"name": "x"});
        let mut made = old.reshaped(&config).unwrap_or_else(|| panic!("{config}"));
        assert_eq!(made.pointer(pointer), Some(&expected), "{made}");
        let kind = old.current_kind();
        let found = schema::admit(&mut made, &kind, FieldValidation::Strict);
        assert_eq!(found, Ok(Vec::new()), "{made}");
        let mut twice = config.clone();
        assert_eq!(old.to_current(&mut twice).len(), 1);
    }
    // What only has other defaults keeps its shape: they are nobody's.
    for (group, version_of, plural) in [
        ("extensions", "v1beta1", "deployments"),
        ("apps", "v1beta1", "statefulsets"),
        ("policy", "v1beta1", "poddisruptionbudgets"),
    ] {
        let old = version(group, version_of, plural).unwrap();
        let config = json!({
            "apiVersion": old.api_version(), "kind": old.kind, "metadata": {"name": "x"},
            "spec": {"selector": {}, "template": {"metadata": {"labels": {"a": "b"}}}},
        });
        assert_eq!(old.reshaped(&config), None, "{config}");
    }
}
