//! What the proxy reads of Services and EndpointSlices.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::Arc;

use onggi_api::{DecodeError, Object};
pub use onggi_client::ObjectKey as Name;
use onggi_client::Project;
use serde::Deserialize;

/// `kubernetes.io/service-name`: the Service to which a slice belongs.
pub const SERVICE_NAME: &str = "kubernetes.io/service-name";

/// On a Service: another proxy's, whatever the value.
const PROXY_NAME: &str = "service.kubernetes.io/service-proxy-name";

/// On a slice: of a Service that nobody is to proxy.
const HEADLESS: &str = "service.kubernetes.io/headless";

/// Of IP, by its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Protocol {
    /// 6.
    #[default]
    Tcp,
    /// 17.
    Udp,
    /// 132.
    Sctp,
}

impl Protocol {
    /// As IP numbers it.
    pub fn number(self) -> u8 {
        match self {
            Self::Tcp => 6,
            Self::Udp => 17,
            Self::Sctp => 132,
        }
    }

    /// As the API writes it; empty is TCP.
    pub(super) fn of(text: Option<&str>) -> Option<Self> {
        match text {
            None | Some("" | "TCP") => Some(Self::Tcp),
            Some("UDP") => Some(Self::Udp),
            Some("SCTP") => Some(Self::Sctp),
            Some(_) => None,
        }
    }
}

impl std::fmt::Display for Protocol {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Tcp => "TCP",
            Self::Udp => "UDP",
            Self::Sctp => "SCTP",
        })
    }
}

/// A Service, as far as the proxy needs it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Service {
    /// IPv4 cluster addresses; none for headless Services and those of type ExternalName.
    pub addresses: Vec<Ipv4Addr>,
    /// `spec.ports`.
    pub ports: Vec<ServicePort>,
    /// `spec.sessionAffinity: ClientIP`.
    pub sticky: bool,
    /// `spec.internalTrafficPolicy: Local`.
    pub internal_local: bool,
    /// `spec.externalTrafficPolicy: Local`.
    pub external_local: bool,
}

/// `spec.ports[]` of a Service. Target ports are resolved in the EndpointSlices already.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServicePort {
    /// `name`; empty where there is one port only.
    pub name: String,
    /// `protocol`.
    pub protocol: Protocol,
    /// `port`.
    pub port: u16,
    /// `nodePort`; `None` where it has none.
    pub node_port: Option<u16>,
}

/// An EndpointSlice, as far as the proxy needs it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EndpointSlice {
    /// The Service, in the slice's namespace; without a name where no label gives one.
    pub service: Name,
    /// Ports by name and protocol.
    pub ports: BTreeMap<(String, Protocol), u16>,
    /// IPv4 endpoints.
    pub endpoints: Vec<Endpoint>,
}

/// `endpoints[]` of a slice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// The first of `addresses` (the others mean the same).
    pub address: Ipv4Addr,
    /// `conditions.ready`; also set for pods of a Service with `publishNotReadyAddresses`.
    pub ready: bool,
    /// `conditions.serving` while `conditions.terminating`: used when nothing is ready.
    pub serving_while_terminating: bool,
    /// `nodeName`.
    pub node: String,
}

impl Endpoint {
    /// With a port.
    pub fn at(&self, port: u16) -> SocketAddrV4 {
        SocketAddrV4::new(self.address, port)
    }
}

#[derive(Deserialize)]
struct ServiceDocument {
    #[serde(default)]
    spec: ServiceSpec,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct ServiceSpec {
    r#type: String,
    #[serde(rename = "clusterIP")]
    cluster_ip: String,
    #[serde(rename = "clusterIPs")]
    cluster_ips: Vec<String>,
    ports: Option<Vec<PortDocument>>,
    session_affinity: String,
    internal_traffic_policy: Option<String>,
    external_traffic_policy: Option<String>,
}

/// A port of a Service, of a slice or of a container.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PortDocument {
    name: Option<String>,
    pub(super) protocol: Option<String>,
    port: Option<i32>,
    node_port: Option<i32>,
    pub(super) container_port: Option<i32>,
    pub(super) host_port: Option<i32>,
    #[serde(rename = "hostIP")]
    pub(super) host_ip: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SliceDocument {
    #[serde(default)]
    address_type: String,
    endpoints: Option<Vec<EndpointDocument>>,
    ports: Option<Vec<PortDocument>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct EndpointDocument {
    #[serde(default)]
    addresses: Vec<String>,
    #[serde(default)]
    conditions: Option<Conditions>,
    node_name: Option<String>,
}

#[derive(Deserialize, Default)]
struct Conditions {
    ready: Option<bool>,
    serving: Option<bool>,
    terminating: Option<bool>,
}

impl Service {
    /// The projection of a Service.
    pub fn from(object: &Object) -> Result<Self, DecodeError> {
        if object.head().labels.contains_key(PROXY_NAME) {
            return Ok(Self::default());
        }
        let spec = object.decode::<ServiceDocument>()?.spec;
        let local = |policy: Option<String>| policy.as_deref() == Some("Local");
        let mut addresses: Vec<Ipv4Addr> = Vec::new();
        if spec.r#type != "ExternalName" {
            // "None" and IPv6 do not parse, and are not ours.
            let all = spec.cluster_ips.iter().chain([&spec.cluster_ip]);
            addresses.extend(all.filter_map(|text| text.parse::<Ipv4Addr>().ok()));
            addresses.sort_unstable();
            addresses.dedup();
        }
        let port = |port: PortDocument| {
            Some(ServicePort {
                name: port.name.unwrap_or_default(),
                protocol: Protocol::of(port.protocol.as_deref())?,
                port: number(port.port)?,
                node_port: number(port.node_port),
            })
        };
        Ok(Self {
            addresses,
            ports: spec.ports.unwrap_or_default().into_iter().filter_map(port).collect(),
            sticky: spec.session_affinity == "ClientIP",
            internal_local: local(spec.internal_traffic_policy),
            external_local: local(spec.external_traffic_policy),
        })
    }
}

impl EndpointSlice {
    /// The projection of an EndpointSlice.
    pub fn from(object: &Object) -> Result<Self, DecodeError> {
        let document = object.decode::<SliceDocument>()?;
        let head = object.head();
        let service = head.labels.get(SERVICE_NAME).cloned().unwrap_or_default();
        let service = Name::new(head.namespace.as_str(), service);
        if head.labels.contains_key(HEADLESS) || document.address_type != "IPv4" {
            return Ok(Self { service, ..Self::default() });
        }
        let port = |port: PortDocument| {
            let protocol = Protocol::of(port.protocol.as_deref())?;
            Some(((port.name.unwrap_or_default(), protocol), number(port.port)?))
        };
        let endpoint = |endpoint: EndpointDocument| {
            let conditions = endpoint.conditions.unwrap_or_default();
            let ready = conditions.ready.unwrap_or(true);
            Some(Endpoint {
                address: endpoint.addresses.first()?.parse().ok()?,
                ready,
                serving_while_terminating: conditions.serving.unwrap_or(ready)
                    && conditions.terminating.unwrap_or(false),
                node: endpoint.node_name.unwrap_or_default(),
            })
        };
        Ok(Self {
            service,
            ports: document.ports.unwrap_or_default().into_iter().filter_map(port).collect(),
            endpoints: document
                .endpoints
                .unwrap_or_default()
                .into_iter()
                .filter_map(endpoint)
                .collect(),
        })
    }
}

impl Project for Service {
    fn project(object: &Arc<Object>) -> Result<Self, DecodeError> {
        Self::from(object)
    }
}

impl Project for EndpointSlice {
    fn project(object: &Arc<Object>) -> Result<Self, DecodeError> {
        Self::from(object)
    }
}

/// A port that can be one.
pub(super) fn number(port: Option<i32>) -> Option<u16> {
    u16::try_from(port?).ok().filter(|port| *port != 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn object(kind: &str, labels: Value, mut rest: Value) -> Object {
        rest["apiVersion"] = "v1".into();
        rest["kind"] = kind.into();
        rest["metadata"] = json!({"name": "x", "namespace": "d", "labels": labels});
        Object::from_value(&rest, &[]).unwrap()
    }

    #[test]
    fn a_service_of_another_proxy_is_left_alone() {
        let service = |labels: Value| {
            let spec = json!({"clusterIP": "10.0.0.1", "ports": [{"port": 80, "nodePort": 30000}]});
            Service::from(&object("Service", labels, json!({"spec": spec}))).unwrap()
        };
        assert_eq!(service(json!({})).addresses.len(), 1);
        assert_eq!(service(json!({PROXY_NAME: ""})), Service::default());
        // That label speaks of slices only.
        assert_eq!(service(json!({HEADLESS: ""})).ports.len(), 1);
    }

    #[test]
    fn a_headless_slice_has_no_endpoints() {
        let slice = |labels: Value| {
            let rest = json!({"addressType": "IPv4", "ports": [{"name": "", "port": 80}],
                "endpoints": [{"addresses": ["10.244.0.2"]}]});
            EndpointSlice::from(&object("EndpointSlice", labels, rest)).unwrap().endpoints.len()
        };
        assert_eq!(slice(json!({SERVICE_NAME: "x"})), 1);
        assert_eq!(slice(json!({SERVICE_NAME: "x", HEADLESS: ""})), 0);
    }
}
