//! What every part of the kubelet is given.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use onggi_base::Clock;
use onggi_client::{Cache, Client};
use onggi_node_api::{ImageService, RuntimeService};
use serde::{Deserialize, Serialize};

use crate::directory::Directory;
use crate::dns::ClusterDns;
use crate::events::Events;
use crate::node::Machine;
use crate::objects::Objects;
use crate::probe::Prober;
use crate::services::ServiceView;
use crate::volumes::PodFiles;
use crate::volumes::mounts::Mounts;

/// How the kubelet of a node is set up.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Options {
    /// Name of the node, as in `spec.nodeName`.
    pub node_name: String,
    /// Below it lie `pods/UID/{volumes,logs,…}` and `seccomp/`.
    pub data_dir: PathBuf,
    /// The node's address: `status.hostIP`, `InternalIP`.
    pub node_ip: IpAddr,
    /// Cluster DNS.
    pub cluster_dns: Vec<IpAddr>,
    /// `cluster.local`.
    pub cluster_domain: String,
    /// `spec.podCIDR` of the node; empty: not set here.
    pub pod_cidr: String,
    /// `status.capacity.pods`.
    pub max_pods: u32,
    /// Labels of the node beside the well-known ones.
    pub labels: BTreeMap<String, String>,
    /// `status.nodeInfo.kubeletVersion`.
    pub version: String,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            node_name: "localhost".into(),
            data_dir: PathBuf::from("/var/lib/onggi"),
            node_ip: IpAddr::from([127, 0, 0, 1]),
            cluster_dns: vec![IpAddr::from([10, 96, 0, 10])],
            cluster_domain: "cluster.local".into(),
            pod_cidr: String::new(),
            max_pods: 110,
            labels: BTreeMap::new(),
            version: "v1.36.2+onggi".into(),
        }
    }
}

/// Waits until nobody sends a pod requests any more and those in flight have ended: between its
/// withdrawal and its preStop (ordered withdrawal).
#[async_trait]
pub trait Drain: Send + Sync + 'static {
    /// Returns when the pod is drained. The kubelet waits no longer than the grace period.
    async fn drained(&self, namespace: &str, name: &str, uid: &str);
}

/// Nobody to wait for.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoDrain;

#[async_trait]
impl Drain for NoDrain {
    async fn drained(&self, _namespace: &str, _name: &str, _uid: &str) {}
}

/// The kubelet's own hands.
pub(crate) struct Context {
    pub(crate) options: Options,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) runtime: Arc<dyn RuntimeService>,
    pub(crate) images: Arc<dyn ImageService>,
    pub(crate) client: Client,
    pub(crate) events: Events,
    pub(crate) objects: Objects,
    pub(crate) services: Cache<ServiceView>,
    pub(crate) mounts: Arc<dyn Mounts>,
    pub(crate) drain: Arc<dyn Drain>,
    pub(crate) dns: ClusterDns,
    pub(crate) machine: Machine,
    pub(crate) directory: Directory,
    pub(crate) prober: Prober,
}

impl Context {
    pub(crate) fn files(&self, uid: &str) -> PodFiles {
        PodFiles::new(&self.options.data_dir, uid, Arc::clone(&self.mounts))
    }
}
