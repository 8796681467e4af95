//! Bootstrap tokens: what they sign, and that they end.

use serde_json::{Value, json};

use crate::world::World;

fn token(id: &str, expiration: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Secret", "type": "bootstrap.kubernetes.io/token",
        "metadata": {"name": format!("bootstrap-token-{id}")},
        "stringData": {
            "token-id": id, "token-secret": "0123456789abcdef", "expiration": expiration,
            "usage-bootstrap-signing": "true",
        },
    })
}

fn signatures(maps: &[Value]) -> Vec<String> {
    let map = maps.iter().find(|map| map["metadata"]["name"] == "cluster-info").unwrap();
    let keys = map["data"].as_object().unwrap().keys();
    keys.filter_map(|key| key.strip_prefix("jws-kubeconfig-")).map(str::to_owned).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_sign_and_end() {
    let world = World::without_kubelet().await;
    let map = json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "cluster-info"},
        "data": {"kubeconfig": "kind: Config"},
    });
    world.create_in("configmaps", "kube-public", map).await;
    world.create_in("secrets", "kube-system", token("aaaaaa", "")).await;
    world.create_in("secrets", "kube-system", token("bbbbbb", "2999-01-01T00:00:00Z")).await;
    world.until("configmaps", |maps| signatures(maps) == ["aaaaaa", "bbbbbb"]).await;

    let late = token("cccccc", "2020-01-01T00:00:00Z");
    world.create_in("secrets", "kube-system", late).await;
    let gone = |secrets: &[Value]| {
        secrets.iter().all(|secret| secret["metadata"]["name"] != "bootstrap-token-cccccc")
    };
    let left = world.until("secrets", gone).await;
    assert!(left.iter().any(|secret| secret["metadata"]["name"] == "bootstrap-token-bbbbbb"));
    let secrets = crate::world::gvr("secrets");
    let options = onggi_client::WriteOptions::default();
    let name = "bootstrap-token-aaaaaa";
    world.client.delete(&secrets, "kube-system", name, options).await.unwrap();
    world.until("configmaps", |maps| signatures(maps) == ["bbbbbb"]).await;
}
