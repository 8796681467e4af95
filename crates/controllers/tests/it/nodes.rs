//! Nodes that fall silent, and what becomes of their pods.

use std::time::Duration;

use onggi_client::Patch;
use serde_json::{Value, json};

use crate::world::{PATIENCE, World, gvr};

fn pod(tolerations: Value) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"},
        "spec": {"containers": [{"name": "c", "image": "i"}], "tolerations": tolerations},
    })
}

async fn say(world: &World, node: &str, ready: &str) {
    let conditions = json!([{"type": "Ready", "status": ready, "reason": "r"}]);
    let patch = Patch::strategic(json!({"status": {"conditions": conditions}}));
    world.client.patch_status(&gvr("nodes"), "", node, patch).await.unwrap();
}

/// More than a node may be silent, or a pod without node is left alone. What waits for it wakes.
async fn time_passes() {
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(41)).await;
    tokio::time::resume();
}

fn taints(node: &Value) -> Vec<String> {
    let all = node["spec"]["taints"].as_array().into_iter().flatten();
    all.map(|taint| {
        let key = taint["key"].as_str().unwrap().trim_start_matches("node.kubernetes.io/");
        format!("{key}:{}", taint["effect"].as_str().unwrap())
    })
    .collect()
}

#[tokio::test]
async fn a_silent_node_is_lost_and_found() {
    let world = World::without_kubelet().await;
    let node = |name| json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}});
    world.create("nodes", node("n1")).await;
    say(&world, "n1", "False").await;
    let tainted = |wanted: &'static [&'static str]| {
        move |nodes: &[Value]| nodes.first().is_some_and(|node| taints(node) == wanted)
    };
    // While no node is well, none is emptied.
    world.until("nodes", tainted(&["not-ready:NoSchedule"])).await;
    say(&world, "n1", "True").await;
    world.until("nodes", tainted(&[])).await;

    let mut stays = pod(json!([{"operator": "Exists"}]));
    stays["metadata"]["name"] = "stays".into();
    world.create("pods", stays).await;
    world
        .create(
            "pods",
            pod(json!([{"key": "node.kubernetes.io/unreachable",
        "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 0}])),
        )
        .await;
    for name in ["stays", "p"] {
        world.client.bind("default", name, "", "n1").await.unwrap();
    }
    time_passes().await;
    world.until("nodes", tainted(&["unreachable:NoSchedule"])).await;
    world.create("nodes", node("n2")).await;
    say(&world, "n2", "True").await;
    world.until("nodes", tainted(&["unreachable:NoSchedule", "unreachable:NoExecute"])).await;
    world
        .until("pods", |pods| {
            pods.iter().any(|p| {
                p["metadata"]["name"] == "p" && p["metadata"]["deletionTimestamp"].is_string()
            })
        })
        .await;
    let pods = world.list("pods").await;
    let stays = pods.iter().find(|p| p["metadata"]["name"] == "stays").unwrap();
    assert!(stays["metadata"]["deletionTimestamp"].is_null());
    let lease = json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
        "metadata": {"name": "n1"}, "spec": {"renewTime": "2027-01-15T08:00:41.000000Z"}});
    world.create_in("leases", "kube-node-lease", lease).await;
    say(&world, "n1", "True").await;
    world.until("nodes", tainted(&[])).await;
}

#[tokio::test]
async fn pods_of_a_node_that_is_gone_are_taken_away() {
    let world = World::without_kubelet().await;
    world.create("pods", pod(json!([]))).await;
    world.client.bind("default", "p", "", "n9").await.unwrap();
    // The first look only begins to miss the node.
    let gone = async {
        while !world.list("pods").await.is_empty() {
            time_passes().await;
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE * 1000, gone).await.unwrap();
}
