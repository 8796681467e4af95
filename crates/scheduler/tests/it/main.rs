//! The scheduler against the fake API server.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod server;

use std::sync::Arc;

use onggi_api::core::{Event, Pod};
use onggi_api::{GroupVersionResource, Status};
use onggi_base::{Shutdown, SystemClock};
use onggi_client::testing::FakeApi;
use onggi_client::{Cache, Change, SharedInformers, Source, Subscription};
use onggi_machinery::resource::Verb;
use onggi_scheduler::Scheduler;
use serde_json::{Value, json};

struct Rig {
    api: FakeApi,
    pods: Subscription<Pod>,
    events: Subscription<Event>,
    shutdown: Shutdown,
}

impl Drop for Rig {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}

impl Rig {
    fn start() -> Self {
        let api = FakeApi::new();
        let shutdown = Shutdown::new();
        let informers = SharedInformers::new(api.transport(), shutdown.clone());
        let pods: Cache<Pod> = informers.informer(Source::of::<Pod>());
        let events: Cache<Event> = informers.informer(Source::of::<Event>());
        let scheduler = Scheduler::new(informers, Arc::new(SystemClock));
        tokio::spawn(scheduler.run(shutdown.clone()));
        Self { api, pods: pods.subscribe(), events: events.subscribe(), shutdown }
    }

    fn node(&self, name: &str, cpu: &str, spec: Value) {
        let node = json!({
            "apiVersion": "v1", "kind": "Node", "metadata": {"name": name}, "spec": spec,
            "status": {"allocatable": {"cpu": cpu, "memory": "8Gi", "pods": "1000"}},
        });
        self.api.put(node).unwrap();
    }

    fn pod(&self, name: &str, cpu: &str) {
        let pod = json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": {"namespace": "d", "name": name},
            "spec": {"schedulerName": "default-scheduler",
                     "containers": [{"name": "c", "resources": {"requests": {"cpu": cpu}}}]},
        });
        self.api.put(pod).unwrap();
    }

    /// Waits until the pod is on a node.
    async fn placed(&mut self, name: &str) -> String {
        self.pod_where(name, |pod| pod.spec.as_ref()?.node_name.clone()).await
    }

    /// Waits until the pod has the condition, and gives its message.
    async fn refused(&mut self, name: &str) -> String {
        self.pod_where(name, |pod| {
            let conditions = pod.status.as_ref()?.conditions.as_ref()?;
            let found = conditions.iter().find(|c| c.type_ == "PodScheduled")?;
            assert_eq!((&*found.status, found.reason.as_deref()), ("False", Some("Unschedulable")));
            found.message.clone()
        })
        .await
    }

    async fn pod_where(&mut self, name: &str, test: impl Fn(&Pod) -> Option<String>) -> String {
        loop {
            let change = self.pods.recv().await.unwrap();
            if change.key().name == name
                && let Some(found) = change.after().and_then(|pod| test(pod))
            {
                return found;
            }
        }
    }

    async fn event(&mut self) -> (String, String) {
        loop {
            if let Change::Added { new, .. } = self.events.recv().await.unwrap() {
                let text = |text: &Option<String>| text.clone().unwrap_or_default();
                return (text(&new.reason), text(&new.message));
            }
        }
    }
}

#[tokio::test]
async fn pods_wait_for_a_node_that_does() {
    let mut rig = Rig::start();
    rig.pod("web", "2");
    assert_eq!(rig.refused("web").await, "no nodes available to schedule pods");
    assert_eq!(rig.event().await.0, "FailedScheduling");
    let taint =
        json!({"taints": [{"key": "node.kubernetes.io/not-ready", "effect": "NoSchedule"}]});
    rig.node("n1", "1", taint);
    let text = "0/1 nodes are available: 1 node(s) had untolerated taint \
                {node.kubernetes.io/not-ready: }.";
    assert_eq!(rig.refused("web").await, text);
    rig.node("n1", "1", json!({}));
    assert_eq!(rig.refused("web").await, "0/1 nodes are available: 1 Insufficient cpu.");
    rig.node("n1", "4", json!({}));
    assert_eq!(rig.placed("web").await, "n1");
    loop {
        let (reason, message) = rig.event().await;
        if reason == "Scheduled" {
            assert_eq!(message, "Successfully assigned d/web to n1");
            break;
        }
    }
}

#[tokio::test]
async fn room_that_becomes_free_is_used() {
    let mut rig = Rig::start();
    rig.node("n1", "1", json!({}));
    rig.pod("a", "1");
    assert_eq!(rig.placed("a").await, "n1");
    rig.pod("b", "1");
    rig.refused("b").await;
    rig.api.remove(&GroupVersionResource::new("", "v1", "pods"), "d", "a");
    assert_eq!(rig.placed("b").await, "n1");
}

#[tokio::test(start_paused = true)]
async fn a_binding_that_fails_is_tried_again() {
    let mut rig = Rig::start();
    rig.node("n1", "1", json!({}));
    rig.api.fail_next(Verb::Create, "pods", Status::unavailable("the store is away"));
    rig.pod("a", "1");
    assert_eq!(rig.placed("a").await, "n1");
    rig.pod("b", "1");
    let full = rig.refused("b").await;
    assert_eq!(full, "0/1 nodes are available: 1 Insufficient cpu.", "counted once");
}

#[tokio::test]
async fn many_pods_are_spread() {
    let mut rig = Rig::start();
    for node in 0..10 {
        rig.node(&format!("n{node}"), "100", json!({}));
    }
    for pod in 0..1000 {
        rig.pod(&format!("p{pod}"), "100m");
    }
    let mut nodes = std::collections::BTreeMap::<String, usize>::new();
    let mut seen = std::collections::BTreeSet::new();
    while seen.len() < 1000 {
        let change = rig.pods.recv().await.unwrap();
        let Some(pod) = change.after() else { continue };
        if let Some(node) = pod.spec.as_ref().and_then(|spec| spec.node_name.clone())
            && seen.insert(change.key().clone())
        {
            *nodes.entry(node).or_default() += 1;
        }
    }
    assert!(nodes.values().all(|count| *count == 100), "{nodes:?}");
}
