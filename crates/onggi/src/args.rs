//! The command line.

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::Context;
use clap::{Args as ClapArgs, Parser, Subcommand};
use onggi_supervisor::Options;

/// Containers, orchestration and mesh in one binary.
#[derive(Parser)]
#[command(name = "onggi", version, disable_help_subcommand = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) command: Command,
    #[command(flatten)]
    pub(crate) globals: onggi_ctl::Globals,
}

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Start a cluster on this machine, in the background
    Up(Node),
    /// Start a cluster with the sample application on it
    Demo(Node),
    /// End the cluster and remove everything it made in the kernel; the data stays
    Down(Down),
    /// Show how the cluster on this machine is
    Status(crate::status::Status),
    /// Run a server with its node in the foreground, for service managers
    Server(Node),
    /// Print the administrator's kubeconfig
    Kubeconfig(Place),
    #[command(flatten)]
    Kubectl(onggi_ctl::Verb),
    #[command(flatten)]
    Images(crate::images::Verb),
    /// What `up` starts
    #[command(hide = true)]
    Daemon {
        /// As JSON
        #[arg(long)]
        options: String,
    },
}

/// Which cluster on this machine.
#[derive(ClapArgs, Clone)]
pub(crate) struct Place {
    /// Where everything is kept
    #[arg(long, value_name = "DIR", env = "ONGGI_DATA_DIR", default_value = "/var/lib/onggi")]
    pub(crate) data_dir: PathBuf,
}

/// How a node runs.
#[derive(ClapArgs, Clone)]
pub(crate) struct Node {
    #[command(flatten)]
    place: Place,
    /// Where the API server answers
    #[arg(long, value_name = "ADDR", env = "ONGGI_LISTEN", default_value = "127.0.0.1:6443")]
    listen: SocketAddr,
    /// Addresses of pods
    #[arg(long, value_name = "CIDR", env = "ONGGI_POD_CIDR", default_value = "10.244.0.0/16")]
    pod_cidr: String,
    /// Addresses of Services
    #[arg(long, value_name = "CIDR", env = "ONGGI_SERVICE_CIDR", default_value = "10.96.0.0/16")]
    service_cidr: String,
    /// Name of the node; the host's where it is not given
    #[arg(long, value_name = "NAME", env = "ONGGI_NODE_NAME")]
    node_name: Option<String>,
}

#[derive(ClapArgs)]
pub(crate) struct Down {
    #[command(flatten)]
    pub(crate) place: Place,
    /// Delete the data too
    #[arg(long)]
    pub(crate) purge: bool,
}

impl Node {
    pub(crate) fn options(&self) -> anyhow::Result<Options> {
        let node_name = match &self.node_name {
            Some(name) => name.clone(),
            None => host_name()?,
        };
        Ok(Options {
            data_dir: self.place.data_dir.clone(),
            listen: self.listen,
            pod_cidr: self.pod_cidr.parse().context("--pod-cidr")?,
            service_cidr: self.service_cidr.parse().context("--service-cidr")?,
            node_name,
        })
    }
}

/// The host's name as a node may carry it: lower case, as Kubernetes' kubelet takes it.
fn host_name() -> anyhow::Result<String> {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname")
        .context("cannot read the host's name; give one with --node-name")?;
    Ok(name.trim().to_ascii_lowercase())
}
