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
        json!({"apiVersion": "apps/v1", "kind": "ReplicaSet", "spec": {"replicas": 1}})
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
