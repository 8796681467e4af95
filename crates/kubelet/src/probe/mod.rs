//! Startup, readiness and liveness probes. A type of probe is one file and one line in [`TYPES`];
//! thresholds and timing are the same for all and live in [`watch`].
//!
//! The first probe comes at once. A container that has not been ready yet is asked again sooner
//! than its period says, at first: these extra looks can only find it ready, they never count as
//! failures.

mod exec;
mod grpc;
pub(crate) mod http;
mod tcp;
mod watch;

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use onggi_api::IntOrString;
use onggi_api::core::{Container, Probe};
use onggi_node_api::{ContainerStatus, RuntimeService};
use tokio::sync::mpsc;
use tokio::task::AbortHandle;

use crate::context::Context;
use crate::pod::Pod;
use crate::worker::Wake;
use crate::worker::snapshot::Health;

pub(crate) use http::Prober;

/// A type of probe.
#[async_trait]
trait ProbeType: Sync {
    /// Whether a probe is of this type.
    fn handles(&self, probe: &Probe) -> bool;
    /// One look. An error is what the event `Unhealthy` says after `probe failed: `.
    async fn look(&self, target: &Target, probe: &Probe, timeout: Duration) -> Result<(), String>;
}

/// Every type of probe.
const TYPES: &[&dyn ProbeType] = &[&exec::Exec, &http::HttpGet, &tcp::TcpSocket, &grpc::Grpc];

/// What is probed.
#[derive(Clone)]
pub(crate) struct Target {
    /// Where its ports are, unless the probe names a host.
    pub(crate) ip: Option<IpAddr>,
    pub(crate) container: String,
    ports: HashMap<String, u16>,
    runtime: Arc<dyn RuntimeService>,
    prober: Prober,
}

/// What a probe has found.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ProbeReport {
    /// The container.
    pub(crate) id: String,
    pub(crate) verdict: Verdict,
}

/// A change, not every result.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Verdict {
    Started,
    Ready(bool),
    /// It must be restarted; `grace` where the probe has its own.
    Kill {
        message: String,
        grace: Option<i64>,
    },
}

/// The probes of a pod's running containers. Dropping it ends them.
pub(crate) struct Probes {
    mailbox: mpsc::UnboundedSender<Wake>,
    running: HashMap<String, Running>,
}

struct Running(AbortHandle);

impl Target {
    pub(crate) fn new(
        context: &Context,
        pod: &Pod,
        container: &Container,
        id: &str,
        ips: &[IpAddr],
    ) -> Self {
        let ports = container.ports.iter().flatten();
        let named = ports.filter_map(|port| {
            Some((port.name.clone()?, u16::try_from(port.container_port).ok()?))
        });
        let host = pod.is_host_network().then_some(context.options.node_ip);
        Self {
            ip: host.or_else(|| ips.first().copied()),
            container: id.to_owned(),
            ports: named.collect(),
            runtime: Arc::clone(&context.runtime),
            prober: context.prober.clone(),
        }
    }

    /// A port by number or name.
    fn port(&self, port: &IntOrString) -> Result<u16, String> {
        match port {
            IntOrString::Int(number) => {
                u16::try_from(*number).map_err(|_| format!("invalid port number: {number}"))
            }
            IntOrString::String(name) => match self.ports.get(name) {
                Some(port) => Ok(*port),
                None => name.parse().map_err(|_| format!("couldn't find port: {name:?}")),
            },
        }
    }

    /// The address that a probe means by its `host`.
    fn host(&self, own: Option<&String>) -> Result<String, String> {
        match (own.filter(|host| !host.is_empty()), self.ip) {
            (Some(host), _) => Ok(host.clone()),
            (None, Some(IpAddr::V6(ip))) => Ok(format!("[{ip}]")),
            (None, Some(ip)) => Ok(ip.to_string()),
            (None, None) => Err("the pod has no address".to_owned()),
        }
    }
}

impl Probes {
    pub(crate) fn new(mailbox: mpsc::UnboundedSender<Wake>) -> Self {
        Self { mailbox, running: HashMap::new() }
    }

    /// Begins to probe a running container; answers what is known of it until the first result.
    /// What was said of this very container before we were started still holds.
    pub(crate) fn begin(
        &mut self,
        context: &Arc<Context>,
        pod: &Arc<Pod>,
        container: &Container,
        record: &ContainerStatus,
        ips: &[IpAddr],
    ) -> Health {
        let statuses =
            pod.status.container_statuses.iter().chain(&pod.status.init_container_statuses);
        let known = statuses.flatten().find(|known| {
            known.name == container.name
                && known.container_id.as_deref().is_some_and(|id| id.ends_with(&record.id))
        });
        let started =
            container.startup_probe.is_none() || known.is_some_and(|k| k.started == Some(true));
        let ready = started
            && (container.readiness_probe.is_none() || known.is_some_and(|known| known.ready));
        let health = Health { started, ready };
        let probed = container.startup_probe.is_some()
            || container.readiness_probe.is_some()
            || container.liveness_probe.is_some();
        if probed {
            let watch = watch::Watch {
                context: Arc::clone(context),
                pod: Arc::clone(pod),
                container: container.clone(),
                target: Target::new(context, pod, container, &record.id, ips),
                age: age(context, record),
                mailbox: self.mailbox.clone(),
                health,
            };
            let task = tokio::spawn(watch.run());
            self.running.insert(record.id.clone(), Running(task.abort_handle()));
        }
        health
    }

    /// Ends the probes of containers that do not run any more.
    pub(crate) fn retain(&mut self, keep: impl Fn(&String) -> bool) {
        self.running.retain(|id, _| keep(id));
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn age(context: &Context, record: &ContainerStatus) -> Duration {
    let started = crate::worker::snapshot::timestamp(record.started_at);
    let age = context.clock.now().duration_since(started);
    if age.is_negative() { Duration::ZERO } else { age.unsigned_abs() }
}

/// One look, by whichever type the probe is of.
async fn look(target: &Target, probe: &Probe) -> Result<(), String> {
    let seconds = probe.timeout_seconds.and_then(|s| u64::try_from(s).ok()).unwrap_or(1);
    let timeout = Duration::from_secs(seconds.max(1));
    match TYPES.iter().find(|kind| kind.handles(probe)) {
        Some(kind) => kind.look(target, probe, timeout).await,
        // As with Kubernetes, a probe without a handler that is known says nothing.
        None => Ok(()),
    }
}
