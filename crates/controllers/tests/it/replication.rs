//! ReplicationControllers: what ReplicaSets do, with a map for a selector.

use onggi_client::{Body, Request, Response};
use onggi_machinery::resource::Verb;
use serde_json::{Value, json};

use crate::world::{World, gvr};

const KIND: &str = "replicationcontrollers";

fn controller(replicas: i32) -> Value {
    json!({
        "apiVersion": "v1", "kind": "ReplicationController", "metadata": {"name": "web"},
        "spec": {"replicas": replicas, "template": {
            "metadata": {"labels": {"app": "web"}},
            "spec": {"containers": [{"name": "c", "image": "i"}]},
        }},
    })
}

fn pod(name: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "labels": {"app": "web"}},
        "spec": {"containers": [{"name": "c", "image": "i"}]},
    })
}

fn owned(pod: &Value) -> bool {
    pod["metadata"]["ownerReferences"][0]["kind"] == "ReplicationController"
}

fn counts(wanted: i64) -> impl Fn(&[Value]) -> bool {
    move |all| {
        let Some(web) = all.first() else { return false };
        let fields = ["replicas", "fullyLabeledReplicas", "readyReplicas", "availableReplicas"];
        web["status"]["observedGeneration"] == web["metadata"]["generation"]
            && fields.iter().all(|field| web["status"][*field].as_i64().unwrap_or(0) == wanted)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_controller_adopts_scales_and_releases() {
    let world = World::start().await;
    world.create("pods", pod("stray")).await;
    world.create(KIND, controller(2)).await;
    let all = world.until(KIND, counts(2)).await;
    assert!(all[0]["status"].get("terminatingReplicas").is_none(), "{}", all[0]);
    let pods = world.until("pods", |pods| pods.len() == 2).await;
    assert!(pods.iter().all(owned), "the stray one is adopted: {pods:?}");

    let scale = |verb, body| {
        let request = Request::new(verb, gvr(KIND), "default", "web");
        world.client.call(request.subresource("scale").body(body))
    };
    let Ok(Response::Document { mut value, .. }) = scale(Verb::Get, Body::None).await else {
        panic!("no scale")
    };
    assert_eq!(value["status"], json!({"replicas": 2, "selector": "app=web"}));
    value["spec"]["replicas"] = 3.into();
    scale(Verb::Update, Body::Object(value)).await.unwrap();
    world.until(KIND, counts(3)).await;

    world.patch("pods", "stray", json!({"metadata": {"labels": {"app": "other"}}})).await;
    let pods = world.until("pods", |pods| pods.len() == 4).await;
    let stray = pods.iter().find(|pod| pod["metadata"]["name"] == "stray").unwrap();
    assert!(!owned(stray), "released");
    let events =
        world.until("events", |all| all.iter().any(|event| event["reason"] == "SuccessfulCreate"));
    let events = events.await;
    let made = events.iter().find(|event| event["reason"] == "SuccessfulCreate").unwrap();
    assert_eq!(made["source"]["component"], "replication-controller");
    assert_eq!(made["involvedObject"]["kind"], "ReplicationController");
}

#[tokio::test(flavor = "multi_thread")]
async fn its_pods_stay_or_go_with_it() {
    let world = World::start().await;
    world.create(KIND, controller(2)).await;
    world.until(KIND, counts(2)).await;
    // Of this kind alone, pods stay when nothing else is asked for.
    world.delete(KIND, "web", "").await;
    let pods = world.until("pods", |pods| !pods.iter().any(owned)).await;
    assert_eq!(pods.len(), 2);
    // Once its pods are released, it goes.
    world.until(KIND, <[Value]>::is_empty).await;
    world.create(KIND, controller(2)).await;
    world.until("pods", |pods| pods.len() == 2 && pods.iter().all(owned)).await;
    world.delete(KIND, "web", "Foreground").await;
    world.until(KIND, <[Value]>::is_empty).await;
    assert!(world.list("pods").await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn it_tells_of_pods_that_could_not_be_made() {
    let world = World::start().await;
    let quota = json!({
        "apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "q"},
        "spec": {"hard": {"pods": "2"}},
    });
    world.create("resourcequotas", quota).await;
    world.until("resourcequotas", |all| all[0]["status"]["used"]["pods"] == "0").await;
    world.create(KIND, controller(3)).await;
    let failing = |all: &[Value]| all[0]["status"]["conditions"][0]["type"] == "ReplicaFailure";
    let all = world.until(KIND, failing).await;
    assert_eq!(all[0]["status"]["conditions"][0]["reason"], "FailedCreate");
    world.patch(KIND, "web", json!({"spec": {"replicas": 2}})).await;
    world.until(KIND, |all| !failing(all) && counts(2)(all)).await;
}
