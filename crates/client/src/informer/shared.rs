//! One informer a collection and type in a process.

use std::any::{Any, TypeId};
use std::collections::HashMap;
use std::sync::Arc;

use onggi_api::GroupVersionResource;
use onggi_api::k8s_openapi;
use onggi_base::Shutdown;
use parking_lot::Mutex;
use tokio::sync::watch;

use super::cache::{Cache, Progress, Stopped};
use super::project::Project;
use super::reflect::Reflector;
use crate::transport::{Transport, WatchSpec};

/// What an informer follows.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Source {
    /// Which collection.
    pub resource: GroupVersionResource,
    /// Empty: all namespaces.
    pub namespace: String,
    /// `labelSelector`.
    pub label_selector: String,
    /// `fieldSelector`, as `spec.nodeName=n1`.
    pub field_selector: String,
}

/// The informers of a process. A cheap handle. An informer starts when it is first asked for and
/// ends with the shutdown.
#[derive(Clone)]
pub struct SharedInformers {
    inner: Arc<Inner>,
}

struct Inner {
    transport: Arc<dyn Transport>,
    shutdown: Shutdown,
    running: Mutex<HashMap<(Source, TypeId), Running>>,
}

struct Running {
    /// A `Cache` of the type that the key names.
    cache: Box<dyn Any + Send + Sync>,
    progress: watch::Receiver<Progress>,
    /// Ends this one.
    stop: Shutdown,
}

// === impl Source ===

impl Source {
    /// All of a collection.
    pub fn all(resource: GroupVersionResource) -> Self {
        Self {
            resource,
            namespace: String::new(),
            label_selector: String::new(),
            field_selector: String::new(),
        }
    }

    /// All of a typed kind.
    pub fn of<K: k8s_openapi::Resource>() -> Self {
        Self::all(crate::typed::resource_of::<K>())
    }

    /// Only in a namespace.
    pub fn in_namespace(mut self, namespace: impl Into<String>) -> Self {
        self.namespace = namespace.into();
        self
    }

    /// Only with these labels.
    pub fn labels(mut self, selector: impl Into<String>) -> Self {
        self.label_selector = selector.into();
        self
    }

    /// Only with these fields.
    pub fn fields(mut self, selector: impl Into<String>) -> Self {
        self.field_selector = selector.into();
        self
    }

    pub(super) fn watch(&self, revision: Option<u64>) -> WatchSpec {
        WatchSpec {
            namespace: self.namespace.clone(),
            label_selector: self.label_selector.clone(),
            field_selector: self.field_selector.clone(),
            resource_version: revision,
            initial_events: revision.is_none(),
            ..WatchSpec::all(self.resource.clone())
        }
    }
}

// === impl SharedInformers ===

impl SharedInformers {
    /// Informers over a transport, until the shutdown.
    pub fn new(transport: Arc<dyn Transport>, shutdown: Shutdown) -> Self {
        let running = Mutex::new(HashMap::new());
        Self { inner: Arc::new(Inner { transport, shutdown, running }) }
    }

    /// The cache of a collection as `T`; starts the informer when it is the first to ask. Must be
    /// called within a tokio runtime.
    pub fn informer<T: Project>(&self, source: Source) -> Cache<T> {
        let mut running = self.inner.running.lock();
        let id = (source.clone(), TypeId::of::<T>());
        if let Some(cache) = running.get(&id).and_then(|r| r.cache.downcast_ref::<Cache<T>>()) {
            return cache.clone();
        }
        let cache = Cache::new();
        let progress = cache.progress();
        let stop = self.inner.shutdown.child_token();
        let kept = Running { cache: Box::new(cache.clone()), progress, stop: stop.clone() };
        running.insert(id, kept);
        drop(running);
        self.start(source, cache.clone(), stop);
        cache
    }

    /// Ends the informers of a collection, such as that of a custom kind that is gone. Whoever
    /// holds its cache sees the end of its changes.
    pub fn forget(&self, source: &Source) {
        self.inner.running.lock().retain(|(known, _), running| {
            let forgotten = known == source;
            if forgotten {
                running.stop.cancel();
            }
            !forgotten
        });
    }

    fn start<T: Project>(&self, source: Source, cache: Cache<T>, stop: Shutdown) {
        let resource = source.resource.clone();
        let transport = Arc::clone(&self.inner.transport);
        let shutdown = self.inner.shutdown.clone();
        let reflector = Reflector { transport, source, cache: cache.clone(), revision: None };
        let run = tokio::spawn(reflector.run(stop));
        tokio::spawn(async move {
            if let Err(error) = run.await {
                // A cache that stands still unnoticed is worse than none.
                tracing::error!(%resource, %error, "informer failed; shutting down");
                shutdown.cancel();
                cache.stop();
            }
        });
    }

    /// Waits until every informer that was asked for has read the present state.
    pub async fn synced(&self) -> Result<(), Stopped> {
        let waiting: Vec<_> =
            self.inner.running.lock().values().map(|running| running.progress.clone()).collect();
        for mut progress in waiting {
            let seen = progress.wait_for(|now| now.synced || now.stopped).await;
            if !seen.is_ok_and(|now| now.synced) {
                return Err(Stopped);
            }
        }
        Ok(())
    }

    /// The transport that they run over.
    pub fn transport(&self) -> &Arc<dyn Transport> {
        &self.inner.transport
    }

    /// The token that ends them.
    pub fn shutdown(&self) -> &Shutdown {
        &self.inner.shutdown
    }
}
