//! The node agent: from a pod that is bound to this node to running containers, and their status
//! back to the API.
//!
//! [`pods`] has one informer and one [`worker`] a pod. A worker plans after every event, purely
//! ([`worker::plan`]), and has the actions done beside it; its [`status`] follows, purely, from the
//! same snapshot. The runtime's events wake it, probes, ConfigMaps and Secrets do: nothing is
//! polled. [`server`] is what the API server reaches for logs and exec, [`node`] the Node object
//! and its heartbeat.

mod admit;
mod context;
mod directory;
mod dns;
mod env;
mod ephemeral;
mod events;
mod fields;
mod images;
mod node;
mod objects;
mod pod;
mod pods;
mod probe;
mod resources;
mod security;
mod server;
mod services;
mod status;
#[cfg(test)]
mod test;
mod volumes;
mod worker;

use std::sync::Arc;

use futures::future::BoxFuture;
use onggi_base::{Clock, Shutdown};
use onggi_client::events::{Reporter, Sink, recorder};
use onggi_client::informer::Whole;
use onggi_client::node::NodeServer;
use onggi_client::{Cache, Client, SharedInformers, Source};
use onggi_node_api::{ImageService, RuntimeService};

use context::Context;
pub use context::{Drain, NoDrain, Options};
use dns::ClusterDns;
use events::Events;
use node::Machine;
use objects::Objects;
use pod::Pod;
use probe::Prober;
use volumes::mounts::KernelMounts;

/// Where the node's own resolver settings are.
const RESOLV_CONF: &str = "/etc/resolv.conf";
/// The name under which the kubelet writes and tells.
const NAME: &str = "kubelet";

/// Why the kubelet cannot work.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The data directory cannot be used.
    #[error("cannot use the data directory {path}: {source}; see that it is writable")]
    DataDir {
        /// Which.
        path: std::path::PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// TLS for probes could not be set up.
    #[error("cannot set up TLS for probes: {0}")]
    Tls(#[from] rustls::Error),
    /// Logs cannot be followed.
    #[error("cannot watch log files: {0}; see fs.inotify.max_user_instances")]
    Inotify(std::io::Error),
    /// The runtime's events ended.
    #[error("the runtime no longer tells what happens")]
    RuntimeEnded,
}

/// What the kubelet is given.
pub struct Services {
    /// Informers over the way to the API server, with the node's identity.
    pub informers: SharedInformers,
    /// Runs pods.
    pub runtime: Arc<dyn RuntimeService>,
    /// Has images.
    pub images: Arc<dyn ImageService>,
    /// Tells when nobody sends a pod requests any more.
    pub drain: Arc<dyn Drain>,
    /// The clock.
    pub clock: Arc<dyn Clock>,
}

/// The kubelet of a node.
pub struct Kubelet {
    context: Arc<Context>,
    pods: Cache<Pod>,
    node: Cache<Whole>,
    events: Sink,
}

impl Kubelet {
    /// A kubelet, and the server by which the API server reaches the node. Must be called within a
    /// tokio runtime; begins to watch, does nothing before [`Self::run`].
    pub fn new(options: Options, services: Services) -> Result<(Self, Arc<dyn NodeServer>), Error> {
        let Services { informers, runtime, images, drain, clock } = services;
        let data_dir = options.data_dir.join("pods");
        std::fs::create_dir_all(&data_dir)
            .map_err(|source| Error::DataDir { path: data_dir, source })?;
        let client = Client::new(Arc::clone(informers.transport())).field_manager(NAME);
        let reporter = Reporter { component: NAME.into(), host: options.node_name.clone() };
        let (recorder, sink) = recorder(client.clone(), Arc::clone(&clock), reporter);
        let mine = Source::of::<onggi_api::core::Pod>()
            .fields(format!("spec.nodeName={}", options.node_name));
        let host = std::fs::read_to_string(RESOLV_CONF).unwrap_or_default();
        let context = Arc::new(Context {
            machine: Machine::read(&options.data_dir),
            dns: ClusterDns {
                servers: options.cluster_dns.clone(),
                domain: options.cluster_domain.clone(),
                host: dns::parse_resolv_conf(&host),
            },
            events: Events::new(recorder),
            objects: Objects::new(Arc::clone(informers.transport()), informers.shutdown().clone()),
            services: informers.informer(Source::of::<onggi_api::core::Service>()),
            mounts: Arc::new(KernelMounts),
            directory: directory::Directory::default(),
            prober: Prober::new()?,
            options,
            clock,
            runtime,
            images,
            client,
            drain,
        });
        let server = server::Server::new(Arc::clone(&context)).map_err(Error::Inotify)?;
        let own = Source::of::<onggi_api::core::Node>()
            .fields(format!("metadata.name={}", context.options.node_name));
        let kubelet = Self {
            context,
            pods: informers.informer(mine),
            node: informers.informer(own),
            events: sink,
        };
        Ok((kubelet, Arc::new(server)))
    }

    /// Runs the pods of the node until the shutdown, which leaves them running.
    pub fn run(self, shutdown: Shutdown) -> BoxFuture<'static, Result<(), Error>> {
        Box::pin(async move {
            let Self { context, pods, node, events } = self;
            let node = node::run(Arc::clone(&context), node, shutdown.clone());
            let pods = pods::run(context, pods, shutdown.clone());
            let ((), (), result) = tokio::join!(events.run(shutdown.clone()), node, async {
                let result = pods.await;
                // Half a kubelet is worse than none.
                if result.is_err() {
                    shutdown.cancel();
                }
                result
            });
            result
        })
    }
}
