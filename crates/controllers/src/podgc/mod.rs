//! Pods of nodes that are gone: nobody will ever say that they have ended.

use std::collections::HashMap;
use std::time::Duration;

use async_trait::async_trait;
use futures::future::BoxFuture;
use onggi_api::GroupVersionResource;
use onggi_api::jiff::Timestamp;
use onggi_api::meta::Time;
use onggi_client::informer::Keep;
use onggi_client::{Cache, Index, Next, Patch, Source, WriteOptions};
use parking_lot::Mutex;
use serde_json::json;
use tokio::time::Instant;

use crate::Error;
use crate::context::Context;
use crate::harness::{Controller, Harness};
use crate::view::{Node, Pod, by_node};

/// How long a node must be gone: it may only have been registered anew.
const QUARANTINE: Duration = Duration::from_secs(40);

struct PodGc {
    context: Context,
    nodes_resource: GroupVersionResource,
    pods_resource: GroupVersionResource,
    nodes: Cache<Keep<Node>>,
    pods: Index<Pod>,
    /// Since when a node is missed.
    missed: Mutex<HashMap<String, Instant>>,
}

/// Keys are names of nodes.
pub(crate) fn launch(context: Context) -> BoxFuture<'static, ()> {
    let core = |plural: &str| GroupVersionResource::new("", "v1", plural);
    let (nodes_resource, pods_resource) = (core("nodes"), core("pods"));
    let nodes: Cache<Keep<Node>> = context.cache(Source::all(nodes_resource.clone()));
    let pods: Cache<Pod> = context.cache(Source::all(pods_resource.clone()));
    let mut harness = Harness::new(&context);
    harness.watch(&nodes, |change| vec![change.key().name.clone()]);
    let known = nodes.clone();
    harness.watch(&pods, move |change| {
        let node = change.after().map_or("", |pod| &pod.spec.node_name);
        let missing = !node.is_empty() && known.get("", node).is_none();
        if missing { vec![node.to_owned()] } else { Vec::new() }
    });
    let pods = by_node(&pods);
    let missed = Mutex::default();
    harness.run(PodGc { context, nodes_resource, pods_resource, nodes, pods, missed })
}

#[async_trait]
impl Controller for PodGc {
    type Key = String;

    async fn reconcile(&self, node: &String) -> Result<Next, Error> {
        if self.nodes.get("", node).is_some() || self.pods.count(node) == 0 {
            self.missed.lock().remove(node);
            return Ok(Next::Done);
        }
        let since = *self.missed.lock().entry(node.clone()).or_insert_with(Instant::now);
        let left = QUARANTINE.saturating_sub(since.elapsed());
        if !left.is_zero() {
            return Ok(Next::After(left));
        }
        match self.context.client.get(&self.nodes_resource, "", node).await {
            Err(error) if error.is_not_found() => {}
            Ok(_) => return Ok(Next::Done),
            Err(error) => return Err(error.into()),
        }
        for pod in self.pods.get(node) {
            self.bury(&pod, self.context.now()).await?;
        }
        Ok(Next::Done)
    }
}

impl PodGc {
    /// Failed first, so that whoever counts its ends sees one; then gone.
    async fn bury(&self, pod: &Pod, now: Timestamp) -> Result<(), Error> {
        let (meta, client) = (&pod.metadata, &self.context.client);
        let gone = |result: Result<(), onggi_client::Error>| match result {
            Err(error) if !error.is_not_found() && !error.is_conflict() => Err(Error::from(error)),
            _ => Ok(()),
        };
        if !pod.finished() {
            let condition = json!({
                "type": "DisruptionTarget", "status": "True", "reason": "DeletionByPodGC",
                "message": "PodGC: node no longer exists", "lastTransitionTime": Time(now),
            });
            let patch = Patch::strategic(json!({
                "metadata": {"uid": meta.uid},
                "status": {"phase": "Failed", "conditions": [condition]},
            }));
            let resource = &self.pods_resource;
            let written = client.patch_status(resource, &meta.namespace, &meta.name, patch).await;
            gone(written.map(drop))?;
        }
        let options = WriteOptions {
            grace_period_seconds: Some(0),
            precondition_uid: Some(meta.uid.clone()),
            ..WriteOptions::default()
        };
        let deleted =
            client.delete(&self.pods_resource, &meta.namespace, &meta.name, options).await;
        gone(deleted.map(drop))
    }
}
