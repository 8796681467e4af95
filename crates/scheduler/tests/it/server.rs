//! The scheduler on a real API server, with the rights that it has there.

use std::sync::Arc;

use onggi_api::GroupVersionResource;
use onggi_apiserver::{ApiServer, Options, User};
use onggi_base::pki::Authority;
use onggi_base::{Shutdown, SystemClock};
use onggi_client::informer::Whole;
use onggi_client::{Cache, Client, Patch, SharedInformers, Source};
use onggi_scheduler::Scheduler;
use onggi_store::{History, memory};
use serde_json::{Value, json};

fn core(plural: &str) -> GroupVersionResource {
    GroupVersionResource::new("", "v1", plural)
}

async fn server() -> Arc<ApiServer> {
    let now = time::OffsetDateTime::now_utc();
    let key = Authority::generate("test", now)
        .unwrap()
        .issue_client("admin", Some("system:masters"), now)
        .unwrap()
        .key;
    let server = ApiServer::open(Options {
        store: Arc::new(memory::open(History::default()).unwrap()),
        clock: Arc::new(SystemClock),
        service_cidr: "10.96.0.0/16".parse().unwrap(),
        node_ports: 30000..=32767,
        token_key: key.clone(),
        issuer: "https://kubernetes.default.svc.cluster.local".into(),
        access: onggi_apiserver::Access::default(),
    })
    .await
    .unwrap();
    server.bootstrap("127.0.0.1:6443".parse().unwrap()).await.unwrap();
    server
}

/// Waits until one of the objects is as wanted.
async fn until(cache: &Cache<Whole>, wanted: impl Fn(&Value) -> bool) -> Value {
    let mut changes = cache.subscribe();
    loop {
        let change = changes.recv().await.unwrap();
        if let Some(value) = change.after().map(|object| object.value().unwrap())
            && wanted(&value)
        {
            return value;
        }
    }
}

#[tokio::test]
async fn a_pod_is_refused_then_bound() {
    let server = server().await;
    let shutdown = Shutdown::new();
    let scheduler = server.transport(User::new("system:kube-scheduler", &[]));
    let informers = SharedInformers::new(scheduler, shutdown.clone());
    tokio::spawn(Scheduler::new(informers, Arc::new(SystemClock)).run(shutdown.clone()));
    let admin = server.transport(User::new("admin", &["system:masters"]));
    let informers = SharedInformers::new(Arc::clone(&admin), shutdown.clone());
    let client = Client::new(admin);
    let pods: Cache<Whole> = informers.informer(Source::all(core("pods")));
    let events: Cache<Whole> = informers.informer(Source::all(core("events")));

    let pod = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web"},
        "spec": {"containers": [{"name": "c", "image": "i",
            "resources": {"requests": {"cpu": "500m"}}}]},
    });
    client.create(&core("pods"), "default", pod).await.unwrap();
    let scheduled = |pod: &Value| {
        let conditions = pod["status"]["conditions"].as_array().cloned().unwrap_or_default();
        conditions.into_iter().find(|c| c["type"] == "PodScheduled").unwrap_or_default()
    };
    let waits = until(&pods, |pod| scheduled(pod)["status"] == "False").await;
    assert_eq!(scheduled(&waits)["reason"], "Unschedulable");
    assert_eq!(scheduled(&waits)["message"], "no nodes available to schedule pods");

    let node = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n1"}});
    client.create(&core("nodes"), "", node).await.unwrap();
    let room = json!({"status": {"capacity": {"cpu": "1", "memory": "1Gi", "pods": "10"},
                                 "allocatable": {"cpu": "1", "memory": "1Gi", "pods": "10"}}});
    client.patch_status(&core("nodes"), "", "n1", Patch::merge(room)).await.unwrap();
    // A new node takes nothing until the node life cycle, which is not here, has seen it ready.
    let ready = Patch::merge(json!({"spec": {"taints": null}}));
    client.patch(&core("nodes"), "", "n1", ready).await.unwrap();
    let bound = until(&pods, |pod| pod["spec"]["nodeName"] == "n1").await;
    assert_eq!(scheduled(&bound)["status"], "True");
    let event = until(&events, |event| event["reason"] == "Scheduled").await;
    assert_eq!(event["message"], "Successfully assigned default/web to n1");
    assert_eq!(event["source"]["component"], "default-scheduler");
    shutdown.cancel();
    server.close();
}
