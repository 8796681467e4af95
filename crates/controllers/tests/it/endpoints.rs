//! Endpoints of Services, and the EndpointSlices of Endpoints that somebody else writes.

use serde_json::{Value, json};

use crate::world::{World, gvr};

const MANAGED_BY: &str = "endpoints.kubernetes.io/managed-by";

fn service(name: &str, selector: Value) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "labels": {"x": "y"}},
        "spec": {"selector": selector, "ports": [{"name": "h", "port": 80, "targetPort": 8080}]},
    })
}

fn pod(name: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": {"app": "web"}},
        "spec": {"containers": [{"name": "c", "image": "i"}]},
    })
}

fn named<'a>(all: &'a [Value], name: &str) -> Option<&'a Value> {
    all.iter().find(|object| object["metadata"]["name"] == name)
}

fn revision(object: &Value) -> u64 {
    object["metadata"]["resourceVersion"].as_str().unwrap().parse().unwrap()
}

fn addresses(name: &'static str, count: usize) -> impl Fn(&[Value]) -> bool {
    move |all| {
        named(all, name).is_some_and(|found| {
            let addresses = found["subsets"][0]["addresses"].as_array();
            addresses.map_or(0, Vec::len) == count
        })
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn they_follow_the_pods_of_a_service() {
    let world = World::start().await;
    world.create("services", service("web", json!({"app": "web"}))).await;
    world.until("endpoints", addresses("web", 0)).await;
    world.create("pods", pod("a")).await;
    world.create("pods", pod("b")).await;
    let all = world.until("endpoints", addresses("web", 2)).await;
    let web = named(&all, "web").unwrap();
    assert_eq!(web["metadata"]["labels"], json!({"x": "y", MANAGED_BY: "endpoint-controller"}));
    assert_eq!(web["subsets"][0]["ports"], json!([{"name": "h", "port": 8080, "protocol": "TCP"}]));
    assert_eq!(web["subsets"][0]["addresses"][0]["targetRef"]["kind"], "Pod");
    let changed =
        &web["metadata"]["annotations"]["endpoints.kubernetes.io/last-change-trigger-time"];
    assert_eq!(changed, "2026-01-01T00:00:00Z", "when the pods became ready");

    // Who takes them away, or changes them, has them back: others than those seen so far.
    world.delete("endpoints", "web", "Background").await;
    let before = &web["metadata"]["uid"];
    let all = world
        .until("endpoints", |all| {
            addresses("web", 2)(all) && named(all, "web").unwrap()["metadata"]["uid"] != *before
        })
        .await;
    let before = revision(named(&all, "web").unwrap());
    world.patch("endpoints", "web", json!({"subsets": []})).await;
    world
        .until("endpoints", |all| {
            addresses("web", 2)(all) && revision(named(all, "web").unwrap()) > before
        })
        .await;
    world.delete("pods", "a", "").await;
    world.until("endpoints", addresses("web", 1)).await;
    world.delete("services", "web", "Background").await;
    world.until("endpoints", |all| named(all, "web").is_none()).await;
    assert!(named(&world.list("endpoints").await, "kubernetes").is_some(), "the server's own");
}

#[tokio::test(flavor = "multi_thread")]
async fn those_of_somebody_else_are_mirrored() {
    let world = World::without_kubelet().await;
    let of_db = |all: &[Value]| -> Vec<Value> {
        let label = "kubernetes.io/service-name";
        let of = all.iter().filter(|slice| slice["metadata"]["labels"][label] == "db");
        of.cloned().collect()
    };
    let mut endpoints = json!({
        "apiVersion": "v1", "kind": "Endpoints", "metadata": {"name": "db"},
        "subsets": [{"addresses": [{"ip": "192.0.2.1"}, {"ip": "192.0.2.2"}],
                     "ports": [{"name": "db", "port": 5432}]}],
    });
    let made = world.create("endpoints", endpoints.clone()).await;
    world.create("services", service("db", json!({}))).await;
    let all = world.until("endpointslices", |all| !of_db(all).is_empty()).await;
    let slice = of_db(&all).remove(0);
    assert_eq!(slice["addressType"], "IPv4");
    assert_eq!(slice["ports"], json!([{"name": "db", "port": 5432, "protocol": "TCP"}]));
    assert_eq!(slice["endpoints"].as_array().unwrap().len(), 2);
    let owner = &slice["metadata"]["ownerReferences"][0];
    assert_eq!((&owner["kind"], &owner["uid"]), (&json!("Endpoints"), &json!(made.head().uid)));
    let label = "endpointslice.kubernetes.io/managed-by";
    let manager = &slice["metadata"]["labels"][label];
    assert_eq!(manager, "endpointslicemirroring-controller.k8s.io");

    endpoints["subsets"][0]["addresses"] = json!([{"ip": "192.0.2.3"}]);
    world
        .client
        .update(&gvr("endpoints"), {
            endpoints["metadata"]["namespace"] = "default".into();
            endpoints
        })
        .await
        .unwrap();
    world
        .until("endpointslices", |all| {
            let found = of_db(all);
            found.len() == 1 && found[0]["endpoints"][0]["addresses"] == json!(["192.0.2.3"])
        })
        .await;
    // With a selector, the service's pods count.
    world.patch("services", "db", json!({"spec": {"selector": {"app": "db"}}})).await;
    world
        .until("endpointslices", |all| {
            let found = of_db(all);
            found.len() == 1 && found[0]["endpoints"].as_array().is_none_or(Vec::is_empty)
        })
        .await;
    let all = world.until("endpoints", addresses("db", 0)).await;
    assert_eq!(named(&all, "db").unwrap()["metadata"]["labels"][MANAGED_BY], "endpoint-controller");
}
