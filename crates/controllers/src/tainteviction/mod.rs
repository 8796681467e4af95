//! Taint eviction: pods leave a node with `NoExecute` taints when they do not tolerate them, or no
//! longer.

mod plan;

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use futures::future::BoxFuture;
use onggi_api::GroupVersionResource;
use onggi_api::core::ObjectReference;
use onggi_api::jiff::Timestamp;
use onggi_client::informer::Keep;
use onggi_client::{Cache, Index, Next, Source, WriteOptions};
use parking_lot::Mutex;

use crate::Error;
use crate::context::Context;
use crate::harness::{Controller, Harness};
use crate::view::{Node, Pod, Taint, by_node};

struct Evictions {
    context: Context,
    resource: GroupVersionResource,
    nodes: Cache<Keep<Node>>,
    pods: Index<Pod>,
    /// By node.
    since: Mutex<HashMap<String, Since>>,
}

/// Since when a taint without a time of its own counts, by key and value.
type Since = HashMap<(String, String), Timestamp>;

/// Keys are nodes.
pub(crate) fn launch(context: Context) -> BoxFuture<'static, ()> {
    let core = |plural: &str| GroupVersionResource::new("", "v1", plural);
    let resource = core("pods");
    let nodes: Cache<Keep<Node>> = context.cache(Source::all(core("nodes")));
    let pods: Cache<Pod> = context.cache(Source::all(resource.clone()));
    let mut harness = Harness::new(&context);
    harness.watch(&nodes, |change| {
        let taints = |node: &Arc<Keep<Node>>| node.spec.taints.clone();
        let same = change.before().map(taints) == change.after().map(taints);
        if same { Vec::new() } else { vec![change.key().name.clone()] }
    });
    let tainted = nodes.clone();
    harness.watch(&pods, move |change| {
        let node = &change.latest().spec.node_name;
        let is_tainted = |node: &Arc<Keep<Node>>| executed(node).next().is_some();
        let concerned = !node.is_empty() && tainted.get("", node).as_ref().is_some_and(is_tainted);
        if concerned { vec![node.clone()] } else { Vec::new() }
    });
    let pods = by_node(&pods);
    harness.run(Evictions { context, resource, nodes, pods, since: Mutex::default() })
}

fn executed(node: &Node) -> impl Iterator<Item = &Taint> {
    node.spec.taints.iter().filter(|taint| taint.effect == "NoExecute")
}

#[async_trait]
impl Controller for Evictions {
    type Key = String;

    async fn reconcile(&self, name: &String) -> Result<Next, Error> {
        let now = self.context.now();
        let taints = match self.nodes.get("", name) {
            Some(node) => self.dated(&node, now),
            None => Vec::new(),
        };
        if taints.is_empty() {
            self.since.lock().remove(name);
            return Ok(Next::Done);
        }
        let mut next: Option<Timestamp> = None;
        for pod in self.pods.get(name) {
            if !pod.active() {
                continue;
            }
            match plan::until(&pod.spec.tolerations, &taints) {
                None => {}
                Some(until) if until <= now => self.evict(&pod).await?,
                Some(until) => next = Some(next.map_or(until, |next| next.min(until))),
            }
        }
        let wait = next.and_then(|next| next.duration_since(now).try_into().ok());
        Ok(wait.map_or(Next::Done, Next::After))
    }
}

impl Evictions {
    fn dated(&self, node: &Node, now: Timestamp) -> Vec<(Taint, Timestamp)> {
        let mut all = self.since.lock();
        let old = all.remove(&node.metadata.name).unwrap_or_default();
        let mut new = Since::new();
        let mut dated = Vec::new();
        for taint in executed(node) {
            let id = (taint.key.clone(), taint.value.clone());
            let own = taint.time_added.as_ref().map(|time| time.0);
            let since = own.or_else(|| old.get(&id).copied()).unwrap_or(now);
            new.insert(id, since);
            dated.push((taint.clone(), since));
        }
        all.insert(node.metadata.name.clone(), new);
        dated
    }

    async fn evict(&self, pod: &Pod) -> Result<(), Error> {
        let meta = &pod.metadata;
        let options =
            WriteOptions { precondition_uid: Some(meta.uid.clone()), ..WriteOptions::default() };
        let client = &self.context.client;
        match client.delete(&self.resource, &meta.namespace, &meta.name, options).await {
            Ok(_) => {
                let about = ObjectReference {
                    api_version: Some("v1".into()),
                    kind: Some("Pod".into()),
                    namespace: Some(meta.namespace.clone()),
                    name: Some(meta.name.clone()),
                    uid: Some(meta.uid.clone()),
                    ..ObjectReference::default()
                };
                let text = format!("Marking for deletion Pod {}/{}", meta.namespace, meta.name);
                self.context.events.normal(about, "TaintManagerEviction", text);
                Ok(())
            }
            Err(error) if error.is_not_found() || error.is_conflict() => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}
