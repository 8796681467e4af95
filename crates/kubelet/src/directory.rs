//! Who is who on the node: workers by the uid of their pod and by their sandboxes, and what each
//! of them last knew, for logs and exec.

use std::collections::HashMap;
use std::sync::Arc;

use onggi_api::core::PodStatus;
use onggi_node_api::ContainerStatus;
use parking_lot::RwLock;
use tokio::sync::{mpsc, watch};

use crate::pod::Pod;
use crate::worker::Wake;

/// The workers of the node.
#[derive(Default)]
pub(crate) struct Directory {
    inner: RwLock<Inner>,
}

#[derive(Default)]
struct Inner {
    workers: HashMap<String, Entry>,
    /// Uid of the pod by sandbox id.
    sandboxes: HashMap<String, String>,
}

/// A worker, as others see it.
#[derive(Clone)]
pub(crate) struct Entry {
    pub(crate) mailbox: mpsc::UnboundedSender<Wake>,
    pub(crate) view: watch::Receiver<Arc<View>>,
}

/// What a worker knows of its pod.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct View {
    pub(crate) pod: Arc<Pod>,
    pub(crate) status: PodStatus,
    /// The sandbox that is usable.
    pub(crate) sandbox: Option<String>,
    pub(crate) containers: Vec<ContainerStatus>,
}

impl Directory {
    pub(crate) fn add(&self, uid: &str, entry: Entry) {
        self.inner.write().workers.insert(uid.to_owned(), entry);
    }

    pub(crate) fn remove(&self, uid: &str) {
        let mut inner = self.inner.write();
        inner.workers.remove(uid);
        inner.sandboxes.retain(|_, owner| owner != uid);
    }

    pub(crate) fn get(&self, uid: &str) -> Option<Entry> {
        self.inner.read().workers.get(uid).cloned()
    }

    /// What all of them know.
    pub(crate) fn views(&self) -> Vec<Arc<View>> {
        self.inner.read().workers.values().map(|entry| entry.view.borrow().clone()).collect()
    }

    /// A pod by its name, for who does not know the uid.
    pub(crate) fn find(&self, namespace: &str, name: &str) -> Option<Entry> {
        let inner = self.inner.read();
        let found = inner.workers.values().find(|entry| {
            let view = entry.view.borrow();
            view.pod.namespace() == namespace && view.pod.name() == name
        });
        found.cloned()
    }

    /// Events of a sandbox go to its pod from now on.
    pub(crate) fn bind(&self, sandbox: &str, uid: &str) {
        self.inner.write().sandboxes.insert(sandbox.to_owned(), uid.to_owned());
    }

    pub(crate) fn unbind(&self, sandbox: &str) {
        self.inner.write().sandboxes.remove(sandbox);
    }

    /// Tells the worker of a sandbox; false when there is none.
    pub(crate) fn wake_sandbox(&self, sandbox: &str, wake: Wake) -> bool {
        let inner = self.inner.read();
        let worker = inner.sandboxes.get(sandbox).and_then(|uid| inner.workers.get(uid));
        worker.is_some_and(|worker| worker.mailbox.send(wake).is_ok())
    }

    pub(crate) fn wake_all(&self, wake: impl Fn() -> Wake) {
        for worker in self.inner.read().workers.values() {
            // One that has ended needs no news.
            let _ = worker.mailbox.send(wake());
        }
    }
}
