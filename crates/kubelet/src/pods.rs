//! The source of pods: one informer of those bound to this node, one worker for each; the
//! runtime's events find their worker here.

use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use onggi_base::Shutdown;
use onggi_base::backoff::Backoff;
use onggi_client::{Cache, Change};
use onggi_node_api::{RuntimeError, RuntimeEvent};
use tokio::task::{Id, JoinSet};

use crate::Error;
use crate::context::Context;
use crate::pod::Pod;
use crate::worker::{Found, Wake, Worker};

/// A runtime that does not answer yet is asked again after these.
const RUNTIME_BACKOFF: Backoff = Backoff::new(Duration::from_millis(50), Duration::from_secs(5));

pub(crate) struct Pods {
    context: Arc<Context>,
    workers: JoinSet<()>,
    /// Whose worker a task is.
    owners: HashMap<Id, Arc<Pod>>,
}

/// Runs the pods of the node until the shutdown, which leaves them running.
pub(crate) async fn run(
    context: Arc<Context>,
    cache: Cache<Pod>,
    shutdown: Shutdown,
) -> Result<(), Error> {
    let mut pods = Pods { context, workers: JoinSet::new(), owners: HashMap::new() };
    tokio::select! {
        () = shutdown.cancelled() => Ok(()),
        ended = pods.follow(&cache) => ended,
    }
}

impl Pods {
    async fn follow(&mut self, cache: &Cache<Pod>) -> Result<(), Error> {
        // Before the list, so that nothing happens unseen in between.
        let mut events = self.context.runtime.events();
        let mut found = self.list().await;
        if cache.synced().await.is_err() {
            return Ok(());
        }
        let mut changes = cache.subscribe();
        let known: BTreeSet<String> = cache.list().iter().map(|pod| pod.uid().to_owned()).collect();
        self.clear_orphans(&mut found, &known);
        loop {
            tokio::select! {
                change = changes.recv() => match change {
                    Some(change) => self.take(change, &mut found),
                    None => return Ok(()),
                },
                event = events.next() => match event {
                    Some(event) => self.route(event),
                    None => return Err(Error::RuntimeEnded),
                },
                Some(ended) = self.workers.join_next_with_id() => {
                    let (id, failed) = match ended {
                        Ok((id, ())) => (id, None),
                        Err(error) => (error.id(), Some(error)),
                    };
                    self.ended(id, failed).await;
                }
            }
        }
    }

    /// What the runtime has, by the uid of the pod.
    async fn list(&self) -> HashMap<String, Found> {
        let mut backoff = RUNTIME_BACKOFF;
        loop {
            match self.list_once().await {
                Ok(found) => return found,
                Err(error) => {
                    tracing::warn!(%error, "the runtime does not answer");
                    tokio::time::sleep(backoff.next_delay()).await;
                }
            }
        }
    }

    async fn list_once(&self) -> Result<HashMap<String, Found>, RuntimeError> {
        let runtime = &self.context.runtime;
        let (sandboxes, containers) =
            tokio::try_join!(runtime.list_pod_sandboxes(), runtime.list_containers())?;
        let mut owners = HashMap::new();
        let mut found: HashMap<String, Found> = HashMap::new();
        for sandbox in sandboxes {
            let uid = sandbox.config.uid.clone();
            owners.insert(sandbox.id.clone(), uid.clone());
            found.entry(uid).or_default().sandboxes.push(sandbox);
        }
        for container in containers {
            if let Some(found) = owners.get(&container.sandbox).and_then(|uid| found.get_mut(uid)) {
                found.containers.push(container);
            }
        }
        Ok(found)
    }

    /// What belongs to no pod of this node is taken away, beside the other work.
    fn clear_orphans(&self, found: &mut HashMap<String, Found>, known: &BTreeSet<String>) {
        let pods = self.context.options.data_dir.join("pods");
        let on_disk = fs::read_dir(&pods).into_iter().flatten().flatten();
        let mut uids: BTreeSet<String> =
            on_disk.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
        uids.extend(found.keys().cloned());
        for uid in uids.difference(known) {
            let sandboxes = found.remove(uid).unwrap_or_default().sandboxes;
            let (context, uid) = (Arc::clone(&self.context), uid.clone());
            tokio::spawn(async move {
                tracing::info!(uid, sandboxes = sandboxes.len(), "removing what is left of a pod");
                for sandbox in sandboxes {
                    if let Err(error) = context.runtime.remove_pod_sandbox(&sandbox.id).await {
                        // Its files may still be in use.
                        return tracing::warn!(uid, %error, "sandbox of no pod");
                    }
                }
                let files = context.files(&uid);
                let released = tokio::task::spawn_blocking(move || files.release(true)).await;
                if let Ok(Err(error)) = released {
                    tracing::warn!(%error, "files of no pod");
                }
            });
        }
    }

    fn take(&mut self, change: Change<Pod>, found: &mut HashMap<String, Found>) {
        match change {
            Change::Added { new, .. } => {
                let found = found.remove(new.uid()).unwrap_or_default();
                self.start(new, found);
            }
            Change::Updated { new, .. } => {
                let uid = new.uid().to_owned();
                self.tell(&uid, Wake::Pod(new));
            }
            Change::Deleted { old, .. } => self.tell(old.uid(), Wake::Gone),
        }
    }

    fn tell(&self, uid: &str, wake: Wake) {
        if let Some(entry) = self.context.directory.get(uid) {
            // A worker that has ended needs no news.
            let _ = entry.mailbox.send(wake);
        }
    }

    fn start(&mut self, pod: Arc<Pod>, found: Found) {
        let (worker, entry) = Worker::new(Arc::clone(&self.context), Arc::clone(&pod), found);
        self.context.directory.add(pod.uid(), entry);
        let task = self.workers.spawn(worker.run());
        self.owners.insert(task.id(), pod);
    }

    async fn ended(&mut self, id: Id, failed: Option<tokio::task::JoinError>) {
        let Some(pod) = self.owners.remove(&id) else { return };
        let last = self.context.directory.get(pod.uid()).map(|entry| entry.view.borrow().clone());
        self.context.directory.remove(pod.uid());
        if let Some(error) = failed {
            tracing::error!(pod = %pod.full_name(), %error, "pod worker failed; started again");
            let found = self.list().await.remove(pod.uid()).unwrap_or_default();
            let pod = last.map_or(pod, |view| Arc::clone(&view.pod));
            self.start(pod, found);
        }
    }

    fn route(&self, event: RuntimeEvent) {
        let directory = &self.context.directory;
        match event {
            RuntimeEvent::Container { sandbox, container } => {
                directory.wake_sandbox(&sandbox, Wake::Container(container));
            }
            RuntimeEvent::Sandbox { sandbox } => {
                directory.wake_sandbox(&sandbox, Wake::List);
            }
            RuntimeEvent::Lost => directory.wake_all(|| Wake::List),
        }
    }
}
