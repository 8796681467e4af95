//! From Services and EndpointSlices to entries of the zone.

use std::net::IpAddr;
use std::sync::Arc;

use onggi_api::{DecodeError, Object, null_is_default};
use onggi_client::Project;
use serde::Deserialize;

use crate::zone::{Endpoint, Port, Service, Target};

/// What names need of a Service.
#[derive(Debug, Clone, Default, Deserialize)]
pub(crate) struct ServiceView {
    metadata: Meta,
    #[serde(default)]
    spec: ServiceSpec,
}

/// What names need of an EndpointSlice.
#[derive(Debug, Clone, Default, Deserialize)]
pub(crate) struct SliceView {
    metadata: Meta,
    #[serde(default, deserialize_with = "null_is_default")]
    endpoints: Vec<EndpointView>,
    #[serde(default, deserialize_with = "null_is_default")]
    ports: Vec<PortView>,
}

#[derive(Debug, Clone, Default, Deserialize)]
struct Meta {
    name: String,
    #[serde(default)]
    namespace: String,
    #[serde(default)]
    labels: std::collections::BTreeMap<String, String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ServiceSpec {
    #[serde(default, rename = "type")]
    kind: String,
    #[serde(default, rename = "clusterIP")]
    cluster_ip: String,
    #[serde(default, rename = "clusterIPs")]
    cluster_ips: Vec<String>,
    #[serde(default)]
    external_name: String,
    #[serde(default)]
    publish_not_ready_addresses: bool,
    #[serde(default)]
    ports: Vec<PortView>,
}

#[derive(Debug, Clone, Default, Deserialize)]
struct PortView {
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    protocol: Option<String>,
    #[serde(default)]
    port: Option<u16>,
}

#[derive(Debug, Clone, Default, Deserialize)]
struct EndpointView {
    #[serde(default)]
    addresses: Vec<IpAddr>,
    #[serde(default)]
    hostname: Option<String>,
    #[serde(default)]
    conditions: Conditions,
}

#[derive(Debug, Clone, Default, Deserialize)]
struct Conditions {
    #[serde(default)]
    ready: Option<bool>,
}

impl Project for ServiceView {
    fn project(object: &Arc<Object>) -> Result<Self, DecodeError> {
        object.decode()
    }
}

impl Project for SliceView {
    fn project(object: &Arc<Object>) -> Result<Self, DecodeError> {
        object.decode()
    }
}

impl SliceView {
    /// `namespace/name` of the service whose slice it is.
    pub(crate) fn service(&self) -> Option<String> {
        let name = self.metadata.labels.get("kubernetes.io/service-name")?;
        Some(format!("{}/{name}", self.metadata.namespace))
    }
}

/// The entry of a service, with the endpoints of its slices where it is headless.
pub(crate) fn entry(view: &ServiceView, slices: &[Arc<SliceView>]) -> Service {
    let spec = &view.spec;
    let target = if spec.kind == "ExternalName" {
        Target::External(spec.external_name.clone())
    } else if spec.cluster_ip == "None" {
        Target::Headless(endpoints(slices, spec.publish_not_ready_addresses))
    } else {
        let ips = if spec.cluster_ips.is_empty() {
            std::slice::from_ref(&spec.cluster_ip)
        } else {
            &spec.cluster_ips
        };
        Target::ClusterIps(ips.iter().filter_map(|ip| ip.parse().ok()).collect())
    };
    Service {
        namespace: view.metadata.namespace.clone(),
        name: view.metadata.name.clone(),
        target,
        ports: ports(&spec.ports),
    }
}

fn endpoints(slices: &[Arc<SliceView>], not_ready_too: bool) -> Vec<Endpoint> {
    let mut found: Vec<Endpoint> = slices
        .iter()
        .flat_map(|slice| {
            let of_slice = ports(&slice.ports);
            slice
                .endpoints
                .iter()
                .filter(move |endpoint| not_ready_too || endpoint.conditions.ready != Some(false))
                .filter_map(move |endpoint| {
                    Some(Endpoint {
                        ip: *endpoint.addresses.first()?,
                        hostname: endpoint.hostname.clone().unwrap_or_default(),
                        ports: of_slice.clone(),
                    })
                })
        })
        .collect();
    // An endpoint may stand in two slices for a moment.
    found.sort_by(|a, b| (a.ip, &a.hostname).cmp(&(b.ip, &b.hostname)));
    found.dedup_by(|a, b| a.ip == b.ip && a.hostname == b.hostname);
    found
}

fn ports(views: &[PortView]) -> Vec<Port> {
    views
        .iter()
        .filter_map(|view| {
            Some(Port {
                name: view.name.clone().unwrap_or_default(),
                protocol: view.protocol.as_deref().unwrap_or("TCP").to_ascii_lowercase(),
                port: view.port?,
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn slice(value: serde_json::Value) -> Arc<SliceView> {
        Arc::new(serde_json::from_value(value).unwrap())
    }

    #[test]
    fn a_headless_service_has_its_ready_endpoints_once() {
        let slices = [
            slice(json!({
            "metadata": {"name": "a", "namespace": "d",
                         "labels": {"kubernetes.io/service-name": "db"}},
            "ports": [{"name": "http", "port": 80, "protocol": "TCP"}],
            "endpoints": [
                {"addresses": ["10.0.0.1"], "conditions": {"ready": true}, "hostname": "x"},
                {"addresses": ["10.0.0.2"], "conditions": {"ready": false}},
            ]})),
            slice(json!({
                "metadata": {"name": "b", "namespace": "d"},
                "ports": null,
                "endpoints": [{"addresses": ["10.0.0.1"], "hostname": "x"}]})),
            slice(json!({"metadata": {"name": "c", "namespace": "d"}, "endpoints": null})),
        ];
        assert_eq!(slices[0].service().unwrap(), "d/db");
        let headless: ServiceView = serde_json::from_value(json!({
            "metadata": {"name": "db", "namespace": "d"},
            "spec": {"clusterIP": "None"}}))
        .unwrap();
        let Target::Headless(found) = entry(&headless, &slices).target else { panic!() };
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].hostname, "x");
    }

    #[test]
    fn a_service_has_its_addresses() {
        let view: ServiceView = serde_json::from_value(json!({
            "metadata": {"name": "web", "namespace": "d"},
            "spec": {"clusterIP": "10.96.0.3", "ports": [{"port": 80}]}}))
        .unwrap();
        let service = entry(&view, &[]);
        assert_eq!(service.target, Target::ClusterIps(vec!["10.96.0.3".parse().unwrap()]));
        assert_eq!(service.ports[0].protocol, "tcp");
    }
}
