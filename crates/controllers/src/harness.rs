//! The harness: from changes of caches to keys in a queue to workers.

use std::sync::Arc;

use async_trait::async_trait;
use futures::future::{BoxFuture, join_all};
use onggi_base::{Clock, Shutdown};
use onggi_client::queue::Key;
use onggi_client::{Cache, Change, Next, SharedInformers, Subscription, WorkQueue};

use crate::context::Context;
use crate::{Error, Options};

/// Every controller. To add one: a folder beside this file, and a line here.
const CONTROLLERS: &[Row] = &[
    Row {
        option: "bootstrap-signer-controller",
        name: "bootstrap-signer",
        queue: "bootstrap_signer_queue",
        launch: crate::bootstrap::launch_signer,
    },
    Row {
        option: "certificatesigningrequest-signing-controller",
        name: "certificate-controller",
        queue: "certificate",
        launch: crate::certificates::launch,
    },
    Row {
        option: "clusterrole-aggregation-controller",
        name: "clusterrole-aggregation-controller",
        queue: "ClusterRoleAggregator",
        launch: crate::clusterrole_aggregation::launch,
    },
    Row {
        option: "deployment-controller",
        name: "deployment-controller",
        queue: "deployment",
        launch: crate::deployment::launch,
    },
    Row {
        option: "endpoints-controller",
        name: "endpoint-controller",
        queue: "endpoint",
        launch: crate::endpoints::launch,
    },
    Row {
        option: "endpointslice-controller",
        name: "endpoint-slice-controller",
        queue: "endpoint_slice",
        launch: crate::endpointslice::launch,
    },
    Row {
        option: "endpointslice-mirroring-controller",
        name: "endpoint-slice-mirroring-controller",
        queue: "endpoint_slice_mirroring",
        launch: crate::endpointslicemirroring::launch,
    },
    Row {
        option: "garbage-collector-controller",
        name: "generic-garbage-collector",
        queue: "garbage_collector_attempt_to_delete",
        launch: crate::garbagecollector::launch,
    },
    Row {
        option: "namespace-controller",
        name: "namespace-controller",
        queue: "namespace",
        launch: crate::namespace::launch,
    },
    Row {
        option: "node-lifecycle-controller",
        name: "node-controller",
        queue: "node_lifecycle_controller",
        launch: crate::nodelifecycle::launch,
    },
    Row {
        option: "pod-garbage-collector-controller",
        name: "pod-garbage-collector",
        queue: "orphaned_pods_nodes",
        launch: crate::podgc::launch,
    },
    Row {
        option: "persistentvolume-protection-controller",
        name: "pv-protection-controller",
        queue: "pvprotection",
        launch: crate::storageprotection::launch_volumes,
    },
    Row {
        option: "persistentvolumeclaim-protection-controller",
        name: "pvc-protection-controller",
        queue: "pvcprotection",
        launch: crate::storageprotection::launch_claims,
    },
    Row {
        option: "replicaset-controller",
        name: "replicaset-controller",
        queue: "replicaset",
        launch: crate::replicaset::launch,
    },
    Row {
        option: "replicationcontroller-controller",
        name: "replication-controller",
        queue: "replicationmanager",
        launch: crate::replicaset::launch_replication_controllers,
    },
    Row {
        option: "resourcequota-controller",
        name: "resourcequota-controller",
        queue: "resourcequota_primary",
        launch: crate::resourcequota::launch,
    },
    Row {
        option: "serviceaccount-controller",
        name: "service-account-controller",
        queue: "serviceaccount",
        launch: crate::serviceaccount::launch,
    },
    Row {
        option: "taint-eviction-controller",
        name: "taint-eviction-controller",
        queue: "noexec_taint_node",
        launch: crate::tainteviction::launch,
    },
    Row {
        option: "token-cleaner-controller",
        name: "token-cleaner",
        queue: "token_cleaner",
        launch: crate::bootstrap::launch_cleaner,
    },
    Row {
        option: "validatingadmissionpolicy-status-controller",
        name: "validatingadmissionpolicy-status-controller",
        queue: "validatingadmissionpolicy-status",
        launch: crate::validatingadmissionpolicystatus::launch,
    },
];

/// Keys that one controller works on at once.
const WORKERS: usize = 8;

/// A line of the table.
struct Row {
    /// Its name in `--controllers` of kube-controller-manager.
    option: &'static str,
    /// Its name in events.
    name: &'static str,
    /// Its name in metrics of work queues.
    queue: &'static str,
    /// Names what is watched; the future works until the shutdown.
    launch: fn(Context) -> BoxFuture<'static, ()>,
}

/// Brings one key at a time to where it should be.
#[async_trait]
pub(crate) trait Controller: Send + Sync + 'static {
    /// What is worked on.
    type Key: Key;

    /// One step; called again when something changes, after the time it asks for, or after a delay
    /// when it fails.
    async fn reconcile(&self, key: &Self::Key) -> Result<Next, Error>;
}

/// What a controller watches, until it is run.
pub(crate) struct Harness<K: Key> {
    context: Context,
    queue: WorkQueue<K>,
    watching: Vec<BoxFuture<'static, ()>>,
    synced: Vec<BoxFuture<'static, bool>>,
}

impl<K: Key> Harness<K> {
    pub(crate) fn new(context: &Context) -> Self {
        let context = context.clone();
        let queue = WorkQueue::named(context.queue);
        Self { context, queue, watching: Vec::new(), synced: Vec::new() }
    }

    /// The queue, for controllers that find work by themselves.
    pub(crate) fn queue(&self) -> WorkQueue<K> {
        self.queue.clone()
    }

    /// Queues the keys that a change of the cache concerns. Everything present counts as added.
    pub(crate) fn watch<T: Send + Sync + 'static>(
        &mut self,
        cache: &Cache<T>,
        keys: impl FnMut(&Change<T>) -> Vec<K> + Send + 'static,
    ) {
        self.needs(cache);
        self.follow(cache.subscribe(), keys);
    }

    /// The same, told of every end, also of what came and went before it was looked at.
    pub(crate) fn watch_all_ends<T: Send + Sync + 'static>(
        &mut self,
        cache: &Cache<T>,
        keys: impl FnMut(&Change<T>) -> Vec<K> + Send + 'static,
    ) {
        self.needs(cache);
        self.follow(cache.subscribe_to_all_ends(), keys);
    }

    fn follow<T: Send + Sync + 'static>(
        &mut self,
        mut changes: Subscription<T>,
        mut keys: impl FnMut(&Change<T>) -> Vec<K> + Send + 'static,
    ) {
        let queue = self.queue.clone();
        self.watching.push(Box::pin(async move {
            while let Some(change) = changes.recv().await {
                keys(&change).into_iter().for_each(|key| queue.add(key));
            }
        }));
    }

    /// Works beside the controller from when all caches are filled until the end.
    pub(crate) fn beside(&mut self, work: impl Future<Output = ()> + Send + 'static) {
        self.watching.push(Box::pin(work));
    }

    /// The cache is read by the controller, which waits for it before its first step.
    pub(crate) fn needs<T: Send + Sync + 'static>(&mut self, cache: &Cache<T>) {
        let cache = cache.clone();
        self.synced.push(Box::pin(async move { cache.synced().await.is_ok() }));
    }

    /// Works until the shutdown, once all caches are filled.
    pub(crate) fn run<C: Controller<Key = K>>(self, controller: C) -> BoxFuture<'static, ()> {
        let Self { context, queue, watching, synced } = self;
        let controller = Arc::new(controller);
        Box::pin(async move {
            let filled = tokio::select! {
                () = context.shutdown.cancelled() => return,
                filled = join_all(synced) => filled,
            };
            if filled.contains(&false) {
                return;
            }
            // Mappings look into other caches: they begin when all are filled.
            let watching = tokio::spawn(join_all(watching));
            let work = |key: K| {
                let controller = Arc::clone(&controller);
                async move { controller.reconcile(&key).await }
            };
            queue.run(WORKERS, context.shutdown.clone(), work).await;
            watching.abort();
            tracing::debug!(controller = context.name, "ended");
        })
    }
}

/// Runs the table until the shutdown.
pub(crate) async fn run(
    options: &Arc<Options>,
    informers: &SharedInformers,
    clock: &Arc<dyn Clock>,
    shutdown: &Shutdown,
) {
    let chosen = CONTROLLERS.iter().filter(|row| options.chosen.contains(row.option));
    let running = chosen.map(|row| {
        let context = Context::new((row.name, row.queue), options, informers, clock, shutdown);
        let launched = tokio::spawn((row.launch)(context));
        async move {
            if let Err(error) = launched.await {
                // Better no control plane than half of one that nobody misses.
                tracing::error!(controller = row.name, %error, "controller failed; shutting down");
                shutdown.cancel();
            }
        }
    });
    join_all(running).await;
}

/// The names in `--controllers`.
pub(crate) fn options() -> impl Iterator<Item = &'static str> {
    CONTROLLERS.iter().map(|row| row.option)
}
