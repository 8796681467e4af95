//! Nodes: those that fall silent are lost, and conditions become taints.

mod plan;

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use futures::future::BoxFuture;
use onggi_api::jiff::Timestamp;
use onggi_api::meta::Time;
use onggi_api::{DecodeError, GroupVersionResource, Object};
use onggi_client::events::reference_to;
use onggi_client::informer::Keep;
use onggi_client::{Cache, Index, Next, Patch, Project, Source};
use onggi_machinery::value::{at, bool_at, set};
use parking_lot::Mutex;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::Error;
use crate::context::Context;
use crate::harness::{Controller, Harness};
use crate::view::{Condition, Node, Pod, Taint, by_node};
use plan::Health;

/// Where nodes renew their leases.
const LEASES: &str = "kube-node-lease";

struct Nodes {
    context: Context,
    resource: GroupVersionResource,
    nodes: Cache<Keep<Node>>,
    pods: Index<Pod>,
    seen: Arc<Mutex<HashMap<String, Seen>>>,
}

/// When a node was last heard of. Not by the time in its lease, for clocks differ; and not by the
/// time of day, which jumps when a machine wakes up or its clock is set.
struct Seen {
    renewed: String,
    at: Instant,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Lease {
    spec: LeaseSpec,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct LeaseSpec {
    renew_time: String,
}

impl Project for Lease {
    fn project(object: &Arc<Object>) -> Result<Self, DecodeError> {
        object.decode()
    }
}

/// Keys are nodes.
pub(crate) fn launch(context: Context) -> BoxFuture<'static, ()> {
    let resource = GroupVersionResource::new("", "v1", "nodes");
    let nodes: Cache<Keep<Node>> = context.cache(Source::all(resource.clone()));
    let pods: Cache<Pod> = context.cache(Source::all(GroupVersionResource::new("", "v1", "pods")));
    let leases = GroupVersionResource::new("coordination.k8s.io", "v1", "leases");
    let leases: Cache<Lease> = context.cache(Source::all(leases).in_namespace(LEASES));
    let seen: Arc<Mutex<HashMap<String, Seen>>> = Arc::default();
    let mut harness = Harness::new(&context);
    let all = nodes.clone();
    harness.watch(&nodes, move |change| {
        let ready = |node: Option<&Arc<Keep<Node>>>| node.is_some_and(|node| plan::is_ready(node));
        // One that is well or not any more may be the only one, which concerns them all.
        let mut names = vec![change.key().name.clone()];
        if ready(change.before()) != ready(change.after()) {
            names.extend(all.keys().into_iter().map(|key| key.name));
        }
        names
    });
    harness.needs(&pods);
    let heard = Arc::clone(&seen);
    harness.watch(&leases, move |change| {
        let name = change.key().name.clone();
        let renewed = change.latest().spec.renew_time.clone();
        let mut heard = heard.lock();
        if change.after().is_none() || heard.get(&name).is_some_and(|s| s.renewed == renewed) {
            return Vec::new();
        }
        heard.insert(name.clone(), Seen { renewed, at: Instant::now() });
        vec![name]
    });
    let pods = by_node(&pods);
    harness.run(Nodes { context, resource, nodes, pods, seen })
}

#[async_trait]
impl Controller for Nodes {
    type Key = String;

    async fn reconcile(&self, name: &String) -> Result<Next, Error> {
        let Some(node) = self.nodes.get("", name) else {
            self.seen.lock().remove(name);
            return Ok(Next::Done);
        };
        let now = self.context.now();
        let silent = {
            let first = || Seen { renewed: String::new(), at: Instant::now() };
            self.seen.lock().entry(name.clone()).or_insert_with(first).at.elapsed()
        };
        self.taint(&node, now).await?;
        match plan::health(&node, silent, self.context.options.node_grace, now) {
            Health::Alive(left) => Ok(Next::After(left)),
            Health::Lost(unknown) => {
                self.lose(&node, &unknown).await?;
                if plan::is_unknown(&node) {
                    self.pods_not_ready(name, now).await?;
                }
                Ok(Next::Done)
            }
        }
    }
}

impl Nodes {
    async fn taint(&self, node: &Node, now: Timestamp) -> Result<(), Error> {
        let present = &node.spec.taints;
        let conditions = &node.status.conditions;
        let any_ready = self.nodes.list().iter().any(|node| plan::is_ready(node));
        let wanted = plan::taints(present, node.spec.unschedulable, conditions, any_ready, now);
        if wanted == *present {
            return Ok(());
        }
        // Others taint too: their changes since then are kept.
        let change = |value: &mut Value| {
            let decoded = serde_json::from_value::<Vec<Taint>>(at(value, "spec.taints").clone());
            let present = decoded.unwrap_or_default();
            let conditions: Vec<Condition> =
                serde_json::from_value(at(value, "status.conditions").clone()).unwrap_or_default();
            let cordoned = bool_at(value, "spec.unschedulable");
            let taints = plan::taints(&present, cordoned, &conditions, any_ready, now);
            if taints != present {
                set(value, "spec.taints", json!(taints));
            }
        };
        let client = &self.context.client;
        let written = client.modify(&self.resource, "", &node.metadata.name, "", change).await;
        gone_is_fine(written.map(drop))
    }

    async fn lose(&self, node: &Keep<Node>, unknown: &[Condition]) -> Result<(), Error> {
        if unknown.is_empty() {
            return Ok(());
        }
        let name = &node.metadata.name;
        let patch = Patch::strategic(json!({"status": {"conditions": unknown}}));
        let client = &self.context.client;
        gone_is_fine(client.patch_status(&self.resource, "", name, patch).await.map(drop))?;
        let text = format!("Node {name} status is now: NodeNotReady");
        self.context.events.normal(reference_to(&node.object), "NodeNotReady", text);
        Ok(())
    }

    /// Nobody knows whether its pods still answer, so no traffic is sent to them.
    async fn pods_not_ready(&self, node: &str, now: Timestamp) -> Result<(), Error> {
        let resource = GroupVersionResource::new("", "v1", "pods");
        for pod in self.pods.get(node).iter().filter(|pod| pod.ready().is_some()) {
            let condition = json!({
                "type": "Ready", "status": "False", "reason": "NodeNotReady",
                "message": "Node is not ready", "lastTransitionTime": Time(now),
            });
            let patch = json!({
                "metadata": {"uid": pod.metadata.uid},
                "status": {"conditions": [condition]},
            });
            let (meta, patch) = (&pod.metadata, Patch::strategic(patch));
            let client = &self.context.client;
            let written = client.patch_status(&resource, &meta.namespace, &meta.name, patch).await;
            gone_is_fine(written.map(drop))?;
        }
        Ok(())
    }
}

fn gone_is_fine(result: Result<(), onggi_client::Error>) -> Result<(), Error> {
    match result {
        Err(error) if !error.is_not_found() => Err(error.into()),
        _ => Ok(()),
    }
}
