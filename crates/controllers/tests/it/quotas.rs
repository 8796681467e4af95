//! Resource quotas: counted, charged, and given back.

use onggi_client::Patch;
use serde_json::{Value, json};

use crate::world::{World, gvr};

fn quota(hard: Value) -> Value {
    json!({
        "apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "q"},
        "spec": {"hard": hard},
    })
}

fn config_map(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}})
}

fn used(resource: &'static str, wanted: &'static str) -> impl Fn(&[Value]) -> bool {
    move |quotas| quotas.first().is_some_and(|quota| quota["status"]["used"][resource] == wanted)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_life_of_what_is_counted() {
    let world = World::without_kubelet().await;
    let hard = json!({"count/configmaps": "9", "secrets": "2", "pods": "1", "requests.cpu": "1"});
    // The certificates of the cluster are a ConfigMap of every namespace.
    world
        .until("configmaps", |all| all.iter().any(|map| map["metadata"]["namespace"] == "default"))
        .await;
    world.create("resourcequotas", quota(hard.clone())).await;
    let counted = world.until("resourcequotas", used("count/configmaps", "1")).await;
    assert_eq!(counted[0]["status"]["hard"], hard);
    assert_eq!(counted[0]["status"]["used"]["requests.cpu"], "0");

    world.create("configmaps", config_map("a")).await;
    world.until("resourcequotas", used("count/configmaps", "2")).await;
    world.delete("configmaps", "a", "Background").await;
    world.until("resourcequotas", used("count/configmaps", "1")).await;

    let pod = |name: &str| {
        json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name},
            "spec": {"containers": [{"name": "c", "image": "i",
                "resources": {"requests": {"cpu": "500m"}}}]},
        })
    };
    world.create("pods", pod("one")).await;
    world.until("resourcequotas", used("requests.cpu", "500m")).await;
    let refused = world.client.create(&gvr("pods"), "default", pod("two")).await.unwrap_err();
    assert_eq!(
        refused.to_string(),
        "pods \"two\" is forbidden: exceeded quota: q, requested: pods=1, used: pods=1, limited: \
         pods=1"
    );
    // A pod that has ended uses nothing any more.
    let ended = Patch::merge(json!({"status": {"phase": "Succeeded"}}));
    world.client.patch_status(&gvr("pods"), "default", "one", ended).await.unwrap();
    world.until("resourcequotas", used("pods", "0")).await;
    world.create("pods", pod("two")).await;

    world.patch("resourcequotas", "q", json!({"spec": {"hard": {"pods": "5"}}})).await;
    world.until("resourcequotas", |all| all[0]["status"]["hard"]["pods"] == "5").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_at_once_do_not_exceed() {
    let world = World::without_kubelet().await;
    world.create("resourcequotas", quota(json!({"secrets": "5"}))).await;
    world.until("resourcequotas", used("secrets", "0")).await;
    let secret = |index: usize| {
        let name = format!("s{index}");
        json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}})
    };
    let secrets = gvr("secrets");
    let making = (0..20).map(|index| world.client.create(&secrets, "default", secret(index)));
    let made = futures::future::join_all(making).await;
    assert_eq!(made.iter().filter(|made| made.is_ok()).count(), 5);
    // On the way to five there were four already: only what is said after this moment counts.
    let now = async || {
        let quota = world.client.get(&gvr("resourcequotas"), "default", "q").await.unwrap();
        quota.head().resource_version
    };
    let four_since = |moment: u64| {
        move |all: &[Value]| {
            let version = all[0]["metadata"]["resourceVersion"].as_str().unwrap();
            used("secrets", "4")(all) && version.parse::<u64>().unwrap() >= moment
        }
    };
    let full = now().await;
    let (at, _) = made.iter().enumerate().find(|(_, made)| made.is_ok()).unwrap();
    world.delete("secrets", &format!("s{at}"), "Background").await;
    world.until("resourcequotas", four_since(full + 1)).await;
    // A name that is taken is charged nothing: what was charged is given back after the answer.
    let (taken, _) = made.iter().enumerate().rfind(|(_, made)| made.is_ok()).unwrap();
    let again = world.client.create(&secrets, "default", secret(taken)).await.unwrap_err();
    assert!(again.is_already_exists(), "{again}");
    world.until("resourcequotas", four_since(now().await)).await;
    world.create("secrets", secret(99)).await;
}
