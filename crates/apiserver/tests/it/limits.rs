//! LimitRanges, and what else admission puts into new objects.

use serde_json::{Value, json};

use crate::server::Server;

fn pod(name: &str, resources: Value) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name},
        "spec": {"containers": [{"name": "c", "image": "i", "resources": resources}]},
    })
}

#[tokio::test]
async fn containers_get_defaults_and_stay_within_bounds() {
    let s = Server::start().await;
    let range = json!({
        "apiVersion": "v1", "kind": "LimitRange", "metadata": {"name": "l"},
        "spec": {"limits": [{
            "type": "Container",
            "min": {"cpu": "50m"}, "max": {"cpu": "500m"},
            "default": {"cpu": "400m"}, "defaultRequest": {"cpu": "100m"},
        }]},
    });
    s.create("limitranges", "default", range).await.unwrap();
    let made = s.create("pods", "default", pod("a", json!({}))).await.unwrap();
    assert_eq!(
        made["spec"]["containers"][0]["resources"],
        json!({"limits": {"cpu": "400m"}, "requests": {"cpu": "100m"}})
    );
    assert_eq!(
        made["metadata"]["annotations"]["kubernetes.io/limit-ranger"],
        "LimitRanger plugin set: cpu request for container c; cpu limit for container c"
    );
    let much = pod("b", json!({"limits": {"cpu": "1"}}));
    assert_eq!(
        s.create("pods", "default", much).await.unwrap_err().to_string(),
        "pods \"b\" is forbidden: [maximum cpu usage per Container is 500m, but limit is 1]"
            .replace(['[', ']'], "")
    );
}

#[tokio::test]
async fn volumes_are_held_and_nodes_name_their_place() {
    let s = Server::start().await;
    let claim = json!({
        "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "c"},
        "spec": {
            "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}},
        },
    });
    let made = s.create("pvc", "default", claim).await.unwrap();
    assert_eq!(made["metadata"]["finalizers"], json!(["kubernetes.io/pvc-protection"]));

    let labels = json!({"topology.kubernetes.io/zone": "z", "other": "o"});
    let node = json!({
        "apiVersion": "v1", "kind": "Node", "metadata": {"name": "n1", "labels": labels},
    });
    let node = s.create("nodes", "", node).await.unwrap();
    assert_eq!(
        node["spec"]["taints"],
        json!([{"key": "node.kubernetes.io/not-ready", "effect": "NoSchedule"}])
    );
    s.create("pods", "default", pod("p", json!({}))).await.unwrap();
    let binding = json!({
        "apiVersion": "v1", "kind": "Binding", "metadata": {"name": "p"},
        "target": {"kind": "Node", "name": "n1"},
    });
    let request = s
        .request(onggi_machinery::resource::Verb::Create, "pods", "default", "p")
        .subresource("binding")
        .body(onggi_client::Body::Object(binding));
    s.call(request).await.unwrap();
    let bound = s.get("pods", "default", "p").await.unwrap();
    assert_eq!(bound["metadata"]["labels"], json!({"topology.kubernetes.io/zone": "z"}));
}
