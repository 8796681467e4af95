//! The shell: events in, bindings, conditions and events out.

use std::collections::HashMap;
use std::sync::Arc;

use onggi_api::GroupVersionResource;
use onggi_base::{Clock, Shutdown};
use onggi_client::events::{Recorder, Reporter, recorder};
use onggi_client::{Change, Client, Error, Patch, SharedInformers, Source};
use serde_json::json;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::NAME;
use crate::cluster::{Cluster, NodeView};
use crate::framework::{Event, changed};
use crate::pod::Pod;
use crate::queue::Queue;
use crate::schedule::{Decision, Diagnosis, schedule};

/// Bindings on their way at once.
const BINDING: usize = 256;
/// Decisions between two looks at what happened.
const BATCH: usize = 64;

/// What became of a binding.
struct Bound {
    pod: Arc<Pod>,
    node: String,
    result: Result<(), Error>,
}

struct State {
    client: Client,
    clock: Arc<dyn Clock>,
    events: Recorder,
    cluster: Cluster,
    queue: Queue,
    /// The number of the node that is asked first next time.
    first: usize,
    binding: usize,
    bound: mpsc::UnboundedSender<Bound>,
    /// Conditions being written, by uid: a binding waits for them, or they would come after it.
    writing: HashMap<String, JoinHandle<()>>,
}

fn pods() -> GroupVersionResource {
    GroupVersionResource::new("", "v1", "pods")
}

pub(crate) async fn run(informers: &SharedInformers, clock: &Arc<dyn Clock>, shutdown: Shutdown) {
    let client = Client::new(Arc::clone(informers.transport())).field_manager("kube-scheduler");
    let reporter = Reporter { component: NAME.to_owned(), host: String::new() };
    let (events, sink) = recorder(client.clone(), Arc::clone(clock), reporter);
    tokio::spawn(sink.run(shutdown.clone()));
    // Pods that have ended take nothing, and are as good as gone.
    let live = Source::all(pods()).fields("status.phase!=Succeeded,status.phase!=Failed");
    let pods = informers.informer::<Pod>(live);
    let nodes =
        informers.informer::<NodeView>(Source::all(GroupVersionResource::new("", "v1", "nodes")));
    let filled = async { nodes.synced().await.and(pods.synced().await) };
    tokio::select! {
        () = shutdown.cancelled() => return,
        filled = filled => if filled.is_err() { return },
    }
    let (mut node_changes, mut pod_changes) = (nodes.subscribe(), pods.subscribe());
    let (bound, mut done) = mpsc::unbounded_channel();
    let mut state = State {
        client,
        clock: Arc::clone(clock),
        events,
        cluster: Cluster::default(),
        queue: Queue::default(),
        first: 0,
        binding: 0,
        bound,
        writing: HashMap::new(),
    };
    loop {
        // Decisions are made on all that is known.
        while let Some(change) = node_changes.try_recv() {
            state.node(&change);
        }
        while let Some(change) = pod_changes.try_recv() {
            state.pod(&change);
        }
        while let Ok(bound) = done.try_recv() {
            state.bound(bound);
        }
        if state.decide() {
            tokio::task::yield_now().await;
            if !shutdown.is_cancelled() {
                continue;
            }
        }
        let due = state.queue.next_due();
        let delay = async {
            match due {
                Some(due) => tokio::time::sleep_until(due).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = shutdown.cancelled() => return,
            change = node_changes.recv() => match change {
                Some(change) => state.node(&change),
                None => return,
            },
            change = pod_changes.recv() => match change {
                Some(change) => state.pod(&change),
                None => return,
            },
            Some(bound) = done.recv() => state.bound(bound),
            () = delay => {}
        }
    }
}

impl State {
    fn node(&mut self, change: &Change<NodeView>) {
        let event = match change {
            Change::Added { new, .. } => {
                self.cluster.set_node(Arc::clone(new));
                Some(Event::NodeCame)
            }
            Change::Updated { old, new, .. } => {
                let event = changed(old, new);
                if event.is_some() {
                    self.cluster.set_node(Arc::clone(new));
                }
                event
            }
            Change::Deleted { old, .. } => {
                self.cluster.remove_node(&old.name);
                None
            }
        };
        if let Some(event) = event {
            self.queue.happened(event, Instant::now());
        }
    }

    fn pod(&mut self, change: &Change<Pod>) {
        let freed = match change {
            Change::Added { new, .. } | Change::Updated { new, .. } => {
                if new.waits() {
                    if !self.cluster.has_pod(&new.uid) {
                        self.queue.add(Arc::clone(new));
                    }
                    false
                } else {
                    self.queue.remove(&new.uid);
                    self.cluster.set_pod(new)
                }
            }
            Change::Deleted { old, .. } => {
                self.queue.remove(&old.uid);
                self.cluster.remove_pod(&old.uid)
            }
        };
        if freed {
            self.queue.happened(Event::PodGone, Instant::now());
        }
    }

    /// Finds nodes for a batch of pods. Answers whether there may be more.
    fn decide(&mut self) -> bool {
        for _ in 0..BATCH {
            if self.binding >= BINDING {
                return false;
            }
            let Some(pod) = self.queue.pop(Instant::now()) else { return false };
            let decision = schedule(&pod, &self.cluster, self.first);
            self.first = self.first.wrapping_add(1) % self.cluster.len().max(1);
            match decision {
                Decision::Node(node) => self.bind(pod, node),
                Decision::Unschedulable(diagnosis) => self.refuse(&pod, diagnosis),
            }
        }
        true
    }

    fn bind(&mut self, pod: Arc<Pod>, node: String) {
        self.cluster.assume(&node, &pod);
        self.binding += 1;
        let (client, bound) = (self.client.clone(), self.bound.clone());
        let written = self.writing.remove(&pod.uid);
        tokio::spawn(async move {
            if let Some(written) = written {
                // How it ended is told where it was begun.
                let _ = written.await;
            }
            let result = client.bind(&pod.namespace, &pod.name, &pod.uid, &node).await;
            // Nobody listens after the shutdown.
            let _ = bound.send(Bound { pod, node, result });
        });
    }

    fn bound(&mut self, Bound { pod, node, result }: Bound) {
        self.binding -= 1;
        let Err(error) = result else {
            self.queue.remove(&pod.uid);
            let text = format!("Successfully assigned {}/{} to {node}", pod.namespace, pod.name);
            return self.events.normal(pod.reference(), "Scheduled", text);
        };
        self.cluster.forget(&pod.uid);
        if error.is_not_found() {
            self.queue.remove(&pod.uid);
        } else {
            // Bound by somebody else, or being deleted: an event tells, and takes it away.
            tracing::debug!(pod = pod.name, %error, "not bound");
            let text = format!("binding to {node} failed: {error}");
            self.events.warning(pod.reference(), "FailedScheduling", text);
            self.queue.failed(&pod.uid, Instant::now());
        }
        self.queue.happened(Event::PodGone, Instant::now());
    }

    fn refuse(&mut self, pod: &Arc<Pod>, diagnosis: Diagnosis) {
        let message = diagnosis.message();
        self.queue.refused(&pod.uid, diagnosis.plugins, Instant::now());
        self.events.warning(pod.reference(), "FailedScheduling", message.clone());
        if pod.refused.as_ref() == Some(&message) {
            return;
        }
        let mut condition = json!({
            "type": "PodScheduled",
            "status": "False",
            "reason": "Unschedulable",
            "message": message,
            "observedGeneration": pod.generation,
        });
        if pod.refused.is_none() {
            condition["lastTransitionTime"] = self.clock.rfc3339().into();
        }
        let patch = json!({"metadata": {"uid": pod.uid}, "status": {"conditions": [condition]}});
        let (client, told) = (self.client.clone(), Arc::clone(pod));
        self.writing.retain(|_, writing| !writing.is_finished());
        let earlier = self.writing.remove(&pod.uid);
        let writing = tokio::spawn(async move {
            if let Some(earlier) = earlier {
                let _ = earlier.await;
            }
            let patch = Patch::strategic(patch);
            let written = client.patch_status(&pods(), &told.namespace, &told.name, patch).await;
            if let Err(error) = written {
                tracing::debug!(pod = told.name, %error, "condition not written");
            }
        });
        self.writing.insert(pod.uid.clone(), writing);
    }
}
