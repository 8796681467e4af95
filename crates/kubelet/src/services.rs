//! Services, as far as the environment of containers speaks of them (`enableServiceLinks`).

use std::collections::BTreeMap;
use std::sync::Arc;

use onggi_api::{DecodeError, Object};
use onggi_client::Project;
use serde::Deserialize;

use crate::pod::Pod;

/// The Service through which pods reach the API server.
const MASTER: (&str, &str) = ("default", "kubernetes");

/// The fields of a Service that make variables.
#[derive(Debug, Clone, Default, Deserialize)]
pub(crate) struct ServiceView {
    metadata: Metadata,
    #[serde(default)]
    spec: Spec,
}

#[derive(Debug, Clone, Default, Deserialize)]
struct Metadata {
    #[serde(default)]
    name: String,
    #[serde(default)]
    namespace: String,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Spec {
    #[serde(rename = "clusterIP")]
    cluster_ip: String,
    ports: Vec<Port>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct Port {
    name: String,
    protocol: String,
    port: u16,
}

impl Project for ServiceView {
    fn project(object: &Arc<Object>) -> Result<Self, DecodeError> {
        object.decode()
    }
}

/// `NAME_SERVICE_HOST` and the others, for the Services of the pod's namespace where it wants
/// them, and for `kubernetes` always.
pub(crate) fn variables(pod: &Pod, services: &[Arc<ServiceView>]) -> BTreeMap<String, String> {
    let links = pod.spec.enable_service_links.unwrap_or(true);
    let mut variables = BTreeMap::new();
    let is_master =
        |s: &ServiceView| (s.metadata.namespace.as_str(), s.metadata.name.as_str()) == MASTER;
    for service in services {
        if is_master(service) {
            add(&mut variables, service);
        }
    }
    // A Service named `kubernetes` of the pod's own namespace takes precedence.
    for service in services {
        if links && service.metadata.namespace == pod.namespace() {
            add(&mut variables, service);
        }
    }
    variables
}

fn add(variables: &mut BTreeMap<String, String>, service: &ServiceView) {
    let ip = service.spec.cluster_ip.as_str();
    if matches!(ip, "" | "None") {
        return;
    }
    let Some(first) = service.spec.ports.first() else { return };
    let name = upper(&service.metadata.name);
    variables.insert(format!("{name}_SERVICE_HOST"), ip.to_owned());
    variables.insert(format!("{name}_SERVICE_PORT"), first.port.to_string());
    for port in service.spec.ports.iter().filter(|port| !port.name.is_empty()) {
        variables
            .insert(format!("{name}_SERVICE_PORT_{}", upper(&port.name)), port.port.to_string());
    }
    for (at, port) in service.spec.ports.iter().enumerate() {
        let protocol = if port.protocol.is_empty() { "TCP" } else { port.protocol.as_str() };
        let url = format!("{}://{ip}:{}", protocol.to_lowercase(), port.port);
        if at == 0 {
            variables.insert(format!("{name}_PORT"), url.clone());
        }
        let prefix = format!("{name}_PORT_{}_{}", port.port, protocol.to_uppercase());
        variables.insert(format!("{prefix}_PROTO"), protocol.to_lowercase());
        variables.insert(format!("{prefix}_PORT"), port.port.to_string());
        variables.insert(format!("{prefix}_ADDR"), ip.to_owned());
        variables.insert(prefix, url);
    }
}

fn upper(name: &str) -> String {
    name.to_uppercase().replace('-', "_")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test::pod;
    use serde_json::json;

    fn service(namespace: &str, name: &str, ip: &str) -> Arc<ServiceView> {
        let value = json!({"metadata": {"namespace": namespace, "name": name},
            "spec": {"clusterIP": ip, "ports": [{"name": "http", "port": 80}]}});
        Arc::new(serde_json::from_value(value).unwrap())
    }

    #[test]
    fn links_of_the_own_namespace_and_the_api() {
        let services = [
            service("default", "kubernetes", "10.96.0.1"),
            service("default", "my-db", "10.96.0.7"),
            service("default", "headless", "None"),
            service("other", "far", "10.96.0.8"),
        ];
        let all = variables(&pod(json!({})), &services);
        assert_eq!(all["MY_DB_SERVICE_HOST"], "10.96.0.7");
        assert_eq!(all["MY_DB_SERVICE_PORT_HTTP"], "80");
        assert_eq!(all["MY_DB_PORT_80_TCP"], "tcp://10.96.0.7:80");
        assert_eq!(all.len(), 16);
        let few = variables(&pod(json!({"enableServiceLinks": false})), &services);
        assert_eq!((few.len(), few["KUBERNETES_SERVICE_HOST"].as_str()), (8, "10.96.0.1"));
    }
}
