//! The controllers: each a pure plan and a thin shell on one harness.
//!
//! Begin with [`harness`](crate::harness): a controller is a line in its table, names what it
//! watches, maps changes to keys, and brings one key at a time to where it should be. A folder a
//! controller: `plan.rs` decides from a snapshot, `mod.rs` reads the caches and carries it out.

mod addresses;
mod aggregated;
mod bootstrap;
mod certificates;
mod chosen;
mod claim;
mod clusterrole_aggregation;
mod context;
mod deployment;
mod endpoints;
mod endpointslice;
mod endpointslicemirroring;
mod garbagecollector;
mod harness;
mod kinds;
mod namespace;
mod nodelifecycle;
mod podgc;
mod replicaset;
mod resourcequota;
mod serviceaccount;
mod storageprotection;
mod tainteviction;
mod validatingadmissionpolicystatus;
mod view;

use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use onggi_base::pki::Authority;
use onggi_base::{Clock, Shutdown};
use onggi_client::SharedInformers;

pub use chosen::Chosen;

/// What the controllers are told.
#[derive(Debug, Clone)]
pub struct Options {
    /// The certificates, in PEM, by which pods know the API server: `ca.crt` of the ConfigMap
    /// `kube-root-ca.crt` in every namespace.
    pub ca_pem: String,
    /// How long a node may be silent before it counts as lost (`--node-monitor-grace-period`).
    pub node_grace: Duration,
    /// Signs requests for certificates; `None`: somebody else does.
    pub signer: Option<Arc<Authority>>,
    /// Which controllers run (`--controllers`).
    pub chosen: Chosen,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            ca_pem: String::new(),
            node_grace: Duration::from_secs(40),
            signer: None,
            chosen: Chosen::default(),
        }
    }
}

/// Why a key could not be brought to where it should be; it is tried again.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error(transparent)]
    Api(#[from] onggi_client::Error),
    #[error(transparent)]
    Stopped(#[from] onggi_client::Stopped),
    #[error(transparent)]
    Decode(#[from] onggi_api::DecodeError),
    /// What was planned on is no longer so.
    #[error("{0}")]
    Stale(String),
}

/// All controllers of the table.
pub struct Controllers {
    options: Options,
    informers: SharedInformers,
    clock: Arc<dyn Clock>,
}

impl Controllers {
    /// Over the transport of the informers, whose identity should be
    /// `system:kube-controller-manager`.
    pub fn new(options: Options, informers: SharedInformers, clock: Arc<dyn Clock>) -> Self {
        Self { options, informers, clock }
    }

    /// Works until the shutdown.
    pub fn run(self, shutdown: Shutdown) -> BoxFuture<'static, ()> {
        Box::pin(async move {
            let Self { options, informers, clock } = self;
            harness::run(&Arc::new(options), &informers, &clock, &shutdown).await;
            // None may have been chosen.
            shutdown.cancelled().await;
        })
    }
}
