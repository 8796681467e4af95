//! Objects that tests apply, to be changed where a test wants more.

use serde_json::{Value, json};

/// A container of the image `guest`.
pub(crate) fn container(name: &str, steps: &[&str]) -> Value {
    json!({"name": name, "image": "guest", "imagePullPolicy": "Never", "args": steps})
}

/// A pod with one container `main`.
pub(crate) fn pod(name: &str, steps: &[&str]) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "labels": {"app": name}},
        "spec": {
            "terminationGracePeriodSeconds": 5,
            "containers": [container("main", steps)],
        },
    })
}

/// A Deployment of such pods; they are ready when they answer on port 8080.
pub(crate) fn deployment(name: &str, replicas: u32, steps: &[&str]) -> Value {
    let mut main = container("main", steps);
    main["readinessProbe"] = json!({"httpGet": {"path": "/", "port": 8080}, "periodSeconds": 1});
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {"terminationGracePeriodSeconds": 5, "containers": [main]},
            },
        },
    })
}

/// A Service for the pods with the label `app: NAME`, from port 80 to 8080.
pub(crate) fn service(name: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {"name": name},
        "spec": {"selector": {"app": name}, "ports": [{"port": 80, "targetPort": 8080}]},
    })
}
