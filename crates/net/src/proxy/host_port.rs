//! Host ports: ports of the node that lead to one pod (`containers[].ports[].hostPort`, what CNI's
//! portmap plugin does). To the kernel they are node ports with a single endpoint; with a `hostIP`,
//! a Service's address with one.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::Arc;

use onggi_api::{DecodeError, Object};
use onggi_client::Project;
use serde::Deserialize;

use super::model::{Name, PortDocument, Protocol, number};
use super::plan::{Backends, Frontend, ServicePlan};
use super::slots::Slots;

/// A pod of this node, as far as its host ports go.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Pod {
    /// `status.podIP`; `None` while it has none, and once its containers have ended.
    address: Option<Ipv4Addr>,
    ports: Vec<HostPort>,
}

/// `containers[].ports[]` with a `hostPort`.
#[derive(Debug, Clone, PartialEq, Eq)]
struct HostPort {
    /// `hostIP`; `None`: every address of the node.
    at: Option<Ipv4Addr>,
    protocol: Protocol,
    host: u16,
    container: u16,
}

#[derive(Deserialize)]
struct Document {
    #[serde(default)]
    spec: Spec,
    #[serde(default)]
    status: Status,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Spec {
    host_network: bool,
    containers: Vec<Container>,
    /// Those that go on beside the others have ports too.
    init_containers: Option<Vec<Container>>,
}

#[derive(Deserialize)]
struct Container {
    ports: Option<Vec<PortDocument>>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Status {
    phase: String,
    #[serde(rename = "podIP")]
    pod_ip: String,
}

impl Pod {
    /// The projection of a pod.
    pub(super) fn from(object: &Object) -> Result<Self, DecodeError> {
        // Nearly none has any: not decoded where the name does not even occur.
        if !object.mentions(b"\"hostPort\"") {
            return Ok(Self::default());
        }
        let Document { spec, status } = object.decode()?;
        let ended = matches!(status.phase.as_str(), "Succeeded" | "Failed");
        let ports = |container: Container| container.ports.unwrap_or_default();
        let all = spec.init_containers.unwrap_or_default().into_iter().chain(spec.containers);
        // In the node's own network it listens itself.
        let ports = all.flat_map(ports).filter(|_| !spec.host_network).filter_map(HostPort::of);
        Ok(Self { ports: ports.collect(), address: status.pod_ip.parse().ok().filter(|_| !ended) })
    }

    /// What leads to it.
    pub(super) fn plan(&self) -> ServicePlan {
        let Some(address) = self.address else { return ServicePlan::new() };
        let lead = |port: &HostPort| {
            let frontend = Frontend { address: port.at, protocol: port.protocol, port: port.host };
            let endpoints = vec![SocketAddrV4::new(address, port.container)];
            (frontend, Backends { slots: Slots::for_endpoints(1, false), endpoints })
        };
        self.ports.iter().map(lead).collect()
    }
}

impl HostPort {
    /// `None`: it has no host port, or one at an address of IPv6.
    fn of(port: PortDocument) -> Option<Self> {
        let at = match port.host_ip.as_deref() {
            None | Some("" | "0.0.0.0") => None,
            Some(address) => Some(address.parse().ok()?),
        };
        let protocol = Protocol::of(port.protocol.as_deref())?;
        let (host, container) = (number(port.host_port)?, number(port.container_port)?);
        Some(Self { at, protocol, host, container })
    }
}

impl Project for Pod {
    fn project(object: &Arc<Object>) -> Result<Self, DecodeError> {
        Self::from(object)
    }
}

/// Under which name the plan of a pod stands among those of Services, which have no slash in theirs.
pub(super) fn name(pod: &Name) -> Name {
    Name::new(pod.namespace.as_str(), format!("pods/{}", pod.name))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn shown(spec: Value, status: Value) -> Vec<String> {
        let value = json!({"apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": "p", "namespace": "d"}, "spec": spec, "status": status});
        let plan = Pod::from(&Object::from_value(&value, &[]).unwrap()).unwrap().plan();
        plan.iter().map(|(frontend, to)| format!("{frontend} -> {:?}", to.endpoints)).collect()
    }

    #[test]
    fn host_ports_of_a_pod() {
        let ports = json!([
            {"containerPort": 80, "hostPort": 8080},
            {"containerPort": 53, "hostPort": 53, "protocol": "UDP", "hostIP": "192.0.2.1"},
            {"containerPort": 81},
            {"containerPort": 82, "hostPort": 82, "hostIP": "::1"},
        ]);
        let spec = json!({"containers": [{"name": "c", "ports": ports}]});
        let runs = json!({"phase": "Running", "podIP": "10.244.0.5"});
        assert_eq!(
            shown(spec.clone(), runs.clone()),
            ["node port 8080/TCP -> [10.244.0.5:80]", "192.0.2.1:53/UDP -> [10.244.0.5:53]"]
        );
        let ended = json!({"phase": "Failed", "podIP": "10.244.0.5"});
        assert!(shown(spec.clone(), ended).is_empty());
        assert!(shown(spec.clone(), json!({})).is_empty());
        let mut own = spec;
        own["hostNetwork"] = true.into();
        assert!(shown(own, runs).is_empty());
    }
}
