//! What a user can choose for a node, with the defaults of the command line.

use std::net::SocketAddr;
use std::path::PathBuf;

use onggi_api::Cidr;

use crate::control::Control;
use serde::{Deserialize, Serialize};

/// Options of `up`, `demo` and `server`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Options {
    /// Where everything is kept.
    pub data_dir: PathBuf,
    /// Where the API server answers.
    pub listen: SocketAddr,
    /// Addresses of pods.
    pub pod_cidr: Cidr,
    /// Addresses of Services.
    pub service_cidr: Cidr,
    /// The node's name; the host's where it is not set.
    pub node_name: String,
    /// How the control plane differs from the usual one.
    #[serde(default)]
    pub control: Control,
}

impl Options {
    /// The address of this cluster's name server, by convention the tenth.
    pub fn dns_address(&self) -> Option<std::net::Ipv4Addr> {
        self.service_cidr.nth(10)
    }

    /// The range of this node's pods: the first /22 of the pods' range, or all of a smaller one.
    pub fn node_cidr(&self) -> Cidr {
        Cidr::new(self.pod_cidr.network(), self.pod_cidr.prefix().max(22))
    }
}
