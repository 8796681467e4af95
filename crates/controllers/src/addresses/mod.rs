//! Where the pods of a Service are: what Endpoints and EndpointSlices say alike. Pure functions,
//! and what the controllers of both keep beside them.

mod endpoints;
mod own;
pub(crate) mod pack;
mod selected;
mod trigger;

use std::net::IpAddr;

use onggi_api::IntOrString;
use onggi_api::core::ObjectReference;
use serde::{Deserialize, Serialize};

use crate::view::{Pod, Service, ServicePort};

pub(crate) use endpoints::{Address, Endpoints, Subset};
pub(crate) use own::{OwnSlices, service_of};
pub(crate) use selected::{Selected, concerned};
pub(crate) use trigger::{TRIGGER_TIME, TriggerTimes};

/// Of Endpoints and EndpointSlices of Services without cluster address.
pub(crate) const HEADLESS: &str = "service.kubernetes.io/headless";

/// A port, as Endpoints and EndpointSlices have it.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Port {
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) name: String,
    pub(crate) port: u16,
    pub(crate) protocol: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) app_protocol: Option<String>,
}

/// A service without selector has its addresses from somebody else.
pub(crate) fn selects(service: &Service, pod: &Pod) -> bool {
    let wanted = &service.spec.selector;
    !wanted.is_empty() && wanted.iter().all(|(k, v)| pod.metadata.labels.get(k) == Some(v))
}

/// Whether the addresses of a service are those of the pods that it selects. One that goes takes
/// them along.
pub(crate) fn is_of_pods(service: &Service) -> bool {
    !service.spec.selector.is_empty()
        && service.spec.kind != "ExternalName"
        && !service.metadata.deleting()
}

/// Whether nothing changed that an endpoint says.
pub(crate) fn same_endpoint(old: &Pod, new: &Pod) -> bool {
    old.metadata.labels == new.metadata.labels
        && old.metadata.deleting() == new.metadata.deleting()
        && old.ready().is_some() == new.ready().is_some()
        && old.finished() == new.finished()
        && old.spec.node_name == new.spec.node_name
        && old.status.pod_ip == new.status.pod_ip
        && old.status.pod_ips == new.status.pod_ips
}

/// The families of the service, its first one first.
pub(crate) fn families(service: &Service) -> Vec<&str> {
    match service.spec.ip_families.as_slice() {
        [] => vec!["IPv4"],
        families => families.iter().map(String::as_str).collect(),
    }
}

/// `IPv4` or `IPv6`; nothing for what is no address.
pub(crate) fn family_of(address: &str) -> Option<&'static str> {
    match address.parse() {
        Ok(IpAddr::V4(_)) => Some("IPv4"),
        Ok(IpAddr::V6(_)) => Some("IPv6"),
        Err(_) => None,
    }
}

/// The address of a pod in a family; one that has ended has none.
pub(crate) fn address<'a>(pod: &'a Pod, family: &str) -> Option<&'a str> {
    if pod.finished() {
        return None;
    }
    let ips = pod.status.pod_ips.iter().map(|ip| &ip.ip).chain([&pod.status.pod_ip]);
    ips.map(String::as_str).find(|ip| family_of(ip) == Some(family))
}

/// The name of the pod within its service.
pub(crate) fn hostname(service: &Service, pod: &Pod) -> Option<String> {
    let spec = &pod.spec;
    let named = !spec.hostname.is_empty() && spec.subdomain == service.metadata.name;
    named.then(|| spec.hostname.clone())
}

pub(crate) fn node_name(pod: &Pod) -> Option<String> {
    let name = &pod.spec.node_name;
    (!name.is_empty()).then(|| name.clone())
}

pub(crate) fn reference(pod: &Pod) -> ObjectReference {
    let meta = &pod.metadata;
    ObjectReference {
        kind: Some("Pod".into()),
        namespace: Some(meta.namespace.clone()),
        name: Some(meta.name.clone()),
        uid: Some(meta.uid.clone()),
        ..ObjectReference::default()
    }
}

/// The service's ports as this pod has them; one whose name the pod does not know is left out.
pub(crate) fn ports(service: &Service, pod: &Pod) -> Vec<Port> {
    let resolve = |wanted: &ServicePort| {
        let protocol = protocol(&wanted.protocol).to_owned();
        let port = match &wanted.target_port {
            None | Some(IntOrString::Int(0)) => wanted.port,
            Some(IntOrString::Int(port)) => u16::try_from(*port).ok()?,
            Some(IntOrString::String(name)) => find_port(pod, name, &protocol)?,
        };
        let app_protocol = wanted.app_protocol.clone();
        Some(Port { name: wanted.name.clone(), port, protocol, app_protocol })
    };
    service.spec.ports.iter().filter_map(resolve).collect()
}

/// Sidecars have ports too.
fn find_port(pod: &Pod, name: &str, wanted: &str) -> Option<u16> {
    let sidecars = pod.spec.init_containers.iter().filter(|c| c.restart_policy == "Always");
    let mut ports = pod.spec.containers.iter().chain(sidecars).flat_map(|c| &c.ports);
    let found = ports.find(|port| port.name == name && protocol(&port.protocol) == wanted)?;
    Some(found.container_port)
}

fn protocol(text: &str) -> &str {
    if text.is_empty() { "TCP" } else { text }
}

/// Who an event about a service is about.
pub(crate) fn about(service: &Service) -> ObjectReference {
    let metadata = &service.metadata;
    ObjectReference {
        api_version: Some("v1".to_owned()),
        kind: Some("Service".to_owned()),
        namespace: Some(metadata.namespace.clone()),
        name: Some(metadata.name.clone()),
        uid: Some(metadata.uid.clone()),
        ..ObjectReference::default()
    }
}
