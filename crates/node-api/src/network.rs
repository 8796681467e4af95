//! The pod network, as the runtime asks for it.

use std::net::IpAddr;
use std::os::fd::OwnedFd;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

/// Gives pods their addresses (what CNI's ADD and DEL do).
#[async_trait]
pub trait PodNetwork: Send + Sync + 'static {
    /// Connects a network namespace. Idempotent for a sandbox that is connected already.
    async fn setup(&self, sandbox: &str, netns: OwnedFd) -> Result<PodNetworkStatus, NetworkError>;

    /// Gives everything back; succeeds when there is nothing.
    async fn teardown(&self, sandbox: &str) -> Result<(), NetworkError>;
}

/// What a pod got.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PodNetworkStatus {
    /// Its addresses.
    pub ips: Vec<IpAddr>,
    /// Name of the interface on the node's side.
    pub host_interface: String,
}

/// Why a pod has no network.
#[derive(Debug, Clone, thiserror::Error)]
pub enum NetworkError {
    /// Every address of the node's range is taken.
    #[error("no free address in {range}: {used} pods use all of them")]
    Exhausted {
        /// The range.
        range: String,
        /// How many are in use.
        used: usize,
    },
    /// The kernel refused.
    #[error("{0}")]
    Failed(String),
}
