//! Pods that run the benchmark's own program, which is static and waits there to be told to end.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use futures::StreamExt;
use onggi_api::GroupVersionResource;
use onggi_client::{
    Body, EventStream, EventType, HttpTransport, Request, Transport, WatchEvent, WatchSpec,
};
use onggi_machinery::resource::Verb;
use serde_json::{Value, json};

use super::rig::{Cluster, PATIENCE};

/// The argument that makes this program the one in the containers.
const ROLE: &str = "guest";
const NAMESPACE: &str = "default";

/// Whether this process is a guest; if so, it has been told to end.
pub(crate) fn role() -> bool {
    let guest = std::env::args().nth(1).as_deref() == Some(ROLE);
    if guest {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let kind = tokio::signal::unix::SignalKind::terminate();
            tokio::signal::unix::signal(kind).unwrap().recv().await;
        });
    }
    guest
}

/// The program and its arguments, as the image has them.
pub(crate) const COMMAND: [&str; 2] = ["/guest", ROLE];

/// Builds the image `guest` in a cluster; answers the directory of its Dockerfile.
pub(crate) fn build(cluster: &Cluster) -> String {
    let dockerfile = "FROM scratch\nCOPY guest /guest\nENTRYPOINT [\"/guest\", \"guest\"]\n";
    let path = cluster.file("image/Dockerfile", dockerfile);
    let directory = Path::new(&path).parent().unwrap();
    std::fs::copy("/proc/self/exe", directory.join("guest")).unwrap();
    let directory = directory.display().to_string();
    cluster.ok(&["build", "-t", "guest", &directory]);
    directory
}

/// The pods of a cluster, as a client elsewhere sees them.
pub(crate) struct Pods {
    transport: Arc<dyn Transport>,
    events: EventStream,
    /// Which there are, and since when their container runs.
    seen: BTreeMap<String, Option<Instant>>,
}

impl Pods {
    /// Watches them.
    pub(crate) async fn new(cluster: &Cluster) -> Self {
        let transport = Arc::new(HttpTransport::new(&super::config(cluster)).unwrap());
        let spec = WatchSpec { namespace: NAMESPACE.to_owned(), ..WatchSpec::all(resource()) };
        let events = transport.watch(spec).await.unwrap();
        Self { transport, events, seen: BTreeMap::new() }
    }

    /// Creates one.
    pub(crate) async fn start(&self, name: &str) {
        let container = json!({"name": "main", "image": "guest", "imagePullPolicy": "Never"});
        let pod = json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": name},
            "spec": {"terminationGracePeriodSeconds": 1, "containers": [container]},
        });
        let request = Request::new(Verb::Create, resource(), NAMESPACE, "");
        self.transport.call(request.body(Body::Object(pod))).await.unwrap();
    }

    /// Waits until so many run; answers when each was seen to.
    pub(crate) async fn running(&mut self, count: usize) -> Vec<Instant> {
        loop {
            let running: Vec<_> = self.seen.values().flatten().copied().collect();
            if running.len() >= count {
                return running;
            }
            self.next(&format!("{} of {count} pods run", running.len())).await;
        }
    }

    /// Deletes all and waits until they are gone.
    pub(crate) async fn delete_all(&mut self) {
        let deletions = self.seen.keys().map(|name| {
            let mut request = Request::new(Verb::Delete, resource(), NAMESPACE, name);
            request.body = Body::Object(json!({"gracePeriodSeconds": 1}));
            self.transport.call(request)
        });
        for deleted in futures::future::join_all(deletions).await {
            deleted.unwrap();
        }
        while !self.seen.is_empty() {
            self.next(&format!("{} pods are still there", self.seen.len())).await;
        }
    }

    async fn next(&mut self, state: &str) {
        let event = tokio::time::timeout(PATIENCE, self.events.next()).await;
        let event = event.unwrap_or_else(|_| panic!("nothing happens any more: {state}"));
        self.see(&event.unwrap().unwrap());
    }

    fn see(&mut self, event: &WatchEvent) {
        let name = event.object.head().name.clone();
        match event.kind {
            EventType::Bookmark => {}
            EventType::Deleted => drop(self.seen.remove(&name)),
            EventType::Added | EventType::Modified => {
                let since = self.seen.entry(name).or_default();
                if since.is_none() && runs(&event.object.value().unwrap()) {
                    *since = Some(Instant::now());
                }
            }
        }
    }
}

fn runs(pod: &Value) -> bool {
    pod.pointer("/status/containerStatuses/0/state/running").is_some()
}

fn resource() -> GroupVersionResource {
    GroupVersionResource::new("", "v1", "pods")
}
