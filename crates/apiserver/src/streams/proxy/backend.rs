//! Which program a proxied request goes to, and the connection to it.

use std::net::IpAddr;
use std::sync::{Arc, OnceLock};

use onggi_api::Status;
use onggi_client::node::{Duplex, NodeServer, PodRef};
use onggi_machinery::resource;
use onggi_machinery::validation::addresses::special;
use rand::seq::IndexedRandom;
use rustls::pki_types::ServerName;
use serde_json::Value;
use tokio_rustls::TlsConnector;

use super::unreachable;
use crate::ApiServer;
use crate::cache::Selection;
use crate::registry::text;
use crate::streams::target;

/// Bytes on the way to the node.
const PIPE: usize = 64 << 10;
const SERVICE_NAME: &str = "kubernetes.io/service-name";

/// `[SCHEME:]NAME[:PORT]`.
#[derive(Debug, PartialEq)]
pub(super) struct Target<'a> {
    https: bool,
    pub(super) name: &'a str,
    /// A number or the name of a port; may be empty.
    pub(super) port: &'a str,
}

/// A connection to a program, and what its `Host` is.
pub(crate) struct Backend {
    pub(crate) connection: Box<dyn Duplex>,
    pub(crate) authority: String,
}

impl<'a> Target<'a> {
    pub(super) fn parse(id: &'a str) -> Result<Self, Status> {
        let parts: Vec<&str> = id.split(':').collect();
        let (scheme, name, port) = match parts.as_slice() {
            [name] => ("", *name, ""),
            [name, port] => ("", *name, *port),
            [scheme, name, port] => (*scheme, *name, *port),
            _ => return Err(invalid(id)),
        };
        if name.is_empty() || !matches!(scheme, "" | "http" | "https") {
            return Err(invalid(id));
        }
        Ok(Self { https: scheme == "https", name, port })
    }
}

fn invalid(id: &str) -> Status {
    Status::bad_request(format!("invalid proxy target {id:?}: it is [http:|https:]NAME[:PORT]"))
}

/// To a port of a pod: the one that is named, or the first that it says it has.
pub(super) async fn pod(
    server: &ApiServer,
    namespace: &str,
    target: &Target<'_>,
) -> Result<Backend, Status> {
    let (object, pod) = target::read(server, namespace, target.name).await?;
    let port = pod_port(&pod, target.port)?;
    let ip = text(&pod, "/status/podIP");
    if ip.is_empty() {
        return Err(Status::bad_request("address not allowed"));
    }
    let authority = authority(ip, port);
    let node = target::node_of(server, &pod).await?;
    let connection = to_pod(node, target::reference(&object), port);
    secured(connection, authority, target.https).await
}

fn pod_port(pod: &Value, wanted: &str) -> Result<u16, Status> {
    /// Where a pod says nothing of ports.
    const DEFAULT: u16 = 80;
    let containers = pod["spec"]["containers"].as_array().into_iter().flatten();
    let mut ports = containers.flat_map(|c| c["ports"].as_array().into_iter().flatten());
    let number = |port: &Value| port["containerPort"].as_u64().and_then(|n| u16::try_from(n).ok());
    let found = match (wanted, wanted.parse()) {
        ("", _) => Some(ports.next().and_then(number).unwrap_or(DEFAULT)),
        (_, Ok(number)) => Some(number),
        (name, Err(_)) => ports.find(|port| port["name"] == name).and_then(number),
    };
    found.ok_or_else(|| Status::bad_request(format!("the pod has no port {wanted:?}")))
}

/// To one of the ready endpoints of a service.
pub(super) async fn service(
    server: &ApiServer,
    namespace: &str,
    target: &Target<'_>,
) -> Result<Backend, Status> {
    // What listens on this machine for itself, or on its links, is not for clients to reach.
    let is_own = (namespace, target.name) == ("default", "kubernetes");
    let allowed = if is_own { |_| true } else { elsewhere };
    let Backend { connection, authority } =
        endpoint_at(server, namespace, target.name, target.port, allowed).await?;
    secured(connection, authority, target.https).await
}

/// To one of the ready endpoints behind a port of a service, as it is: for who does TLS themselves.
pub(crate) async fn endpoint(
    server: &ApiServer,
    namespace: &str,
    name: &str,
    port: &str,
) -> Result<Backend, Status> {
    endpoint_at(server, namespace, name, port, |_| true).await
}

/// Not on this machine alone, nor on its links.
fn elsewhere(ip: IpAddr) -> bool {
    special(ip).is_none()
}

/// [`endpoint`], where what is no pod may be at some addresses alone.
async fn endpoint_at(
    server: &ApiServer,
    namespace: &str,
    name: &str,
    port: &str,
    allowed: fn(IpAddr) -> bool,
) -> Result<Backend, Status> {
    let row = resource::by_gvr("", "v1", "services").ok_or_else(Status::no_such_path)?;
    let object = server.registry.current(row, namespace, name).await?;
    let service = object.value().map_err(Status::internal)?;
    let none = || Status::unavailable(format!("no endpoints available for service {name:?}"));
    if text(&service, "/spec/type") == "ExternalName" {
        let number = port.parse().map_err(|_| none())?;
        // Whoever may change the Service would choose the place.
        let allowed =
            if (namespace, name) == ("default", "kubernetes") { elsewhere } else { allowed };
        return dial(text(&service, "/spec/externalName"), number, allowed).await;
    }
    let port_name = service_port(&service, port).ok_or_else(|| {
        Status::unavailable(format!("no service port {port:?} found for service {name:?}"))
    })?;
    let slices = slices(server, namespace, name)?;
    let endpoints: Vec<_> = slices.iter().flat_map(|slice| ready(slice, &port_name)).collect();
    let Endpoint { address, port, pod } = endpoints.choose(&mut rand::rng()).ok_or_else(none)?;
    match pod {
        Some((namespace, name)) => {
            let (object, pod) = target::read(server, namespace, name).await?;
            let node = target::node_of(server, &pod).await?;
            let connection = to_pod(node, target::reference(&object), *port);
            Ok(Backend { connection, authority: authority(address, *port) })
        }
        None => dial(address, *port, allowed).await,
    }
}

async fn dial(host: &str, port: u16, allowed: fn(IpAddr) -> bool) -> Result<Backend, Status> {
    let mut addresses = onggi_client::resolve::resolve(host, port).await.map_err(unreachable)?;
    addresses.retain(|address| allowed(address.ip()));
    if addresses.is_empty() {
        return Err(Status::bad_request("address not allowed"));
    }
    let connected = tokio::net::TcpStream::connect(addresses.as_slice()).await;
    let connection = Box::new(connected.map_err(unreachable)?);
    Ok(Backend { connection, authority: authority(host, port) })
}

/// The name of the port that is meant by a name or a number, or the only one.
fn service_port(service: &Value, wanted: &str) -> Option<String> {
    let ports = service["spec"]["ports"].as_array()?;
    let name = |port: &Value| text(port, "/name").to_owned();
    if wanted.is_empty() {
        return match ports.as_slice() {
            [only] => Some(name(only)),
            many => many.iter().map(name).find(String::is_empty),
        };
    }
    let number = wanted.parse::<u64>().ok();
    ports
        .iter()
        .find(|port| {
            text(port, "/name") == wanted || number.is_some() && port["port"].as_u64() == number
        })
        .map(name)
}

fn slices(server: &ApiServer, namespace: &str, service: &str) -> Result<Vec<Value>, Status> {
    let row = resource::by_gvr("discovery.k8s.io", "v1", "endpointslices")
        .ok_or_else(Status::no_such_path)?;
    let selector = format!("{SERVICE_NAME}={service}");
    let selection = Selection::parse(row, namespace, &selector, "")?;
    let cache = &server.registry.cache;
    let found = cache.of(row)?.list(&selection, cache.applied(), 0);
    found.items.iter().map(|slice| slice.value().map_err(Status::internal)).collect()
}

/// Where a service is.
struct Endpoint {
    address: String,
    port: u16,
    /// Namespace and name, where it is a pod.
    pod: Option<(String, String)>,
}

fn ready(slice: &Value, port: &str) -> Vec<Endpoint> {
    let ports = slice["ports"].as_array().into_iter().flatten();
    let number = ports
        .filter(|p| text(p, "/name") == port)
        .find_map(|p| p["port"].as_u64().and_then(|number| u16::try_from(number).ok()));
    let Some(port) = number else { return Vec::new() };
    let endpoints = slice["endpoints"].as_array().into_iter().flatten();
    endpoints
        .filter(|endpoint| endpoint["conditions"]["ready"] != false)
        .filter_map(|endpoint| {
            let target = &endpoint["targetRef"];
            let pod = (target["kind"] == "Pod")
                .then(|| (text(target, "/namespace").to_owned(), text(target, "/name").to_owned()));
            let address = endpoint["addresses"].get(0)?.as_str()?.to_owned();
            Some(Endpoint { address, port, pod })
        })
        .collect()
}

fn authority(address: &str, port: u16) -> String {
    if address.contains(':') { format!("[{address}]:{port}") } else { format!("{address}:{port}") }
}

/// By the node's way into the pod, which is there also where the pod's network is not ours.
fn to_pod(node: Arc<dyn NodeServer>, pod: PodRef, port: u16) -> Box<dyn Duplex> {
    let (ours, theirs) = tokio::io::duplex(PIPE);
    tokio::spawn(async move {
        // The other end sees a connection that ends.
        if let Err(error) = node.port_forward(pod, port, Box::new(theirs)).await {
            tracing::debug!(%error, port, "a proxied connection failed");
        }
    });
    Box::new(ours)
}

/// Certificates of programs in pods are their own affair, as in Kubernetes.
async fn secured(
    connection: Box<dyn Duplex>,
    authority: String,
    https: bool,
) -> Result<Backend, Status> {
    static TLS: OnceLock<Result<TlsConnector, rustls::Error>> = OnceLock::new();
    if !https {
        return Ok(Backend { connection, authority });
    }
    let tls = TLS
        .get_or_init(|| Ok(TlsConnector::from(Arc::new(onggi_client::tls::unverified()?))))
        .as_ref()
        .map_err(Status::internal)?;
    let host = authority.rsplit_once(':').map_or(authority.as_str(), |(host, _)| host);
    let name =
        ServerName::try_from(host.trim_matches(['[', ']']).to_owned()).map_err(Status::internal)?;
    let connection = tls.connect(name, connection).await.map_err(unreachable)?;
    Ok(Backend { connection: Box::new(connection), authority })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn targets() {
        let target = |https, name, port| Target { https, name, port };
        assert_eq!(Target::parse("web").unwrap(), target(false, "web", ""));
        assert_eq!(Target::parse("web:http").unwrap(), target(false, "web", "http"));
        assert_eq!(Target::parse("https:web:443").unwrap(), target(true, "web", "443"));
        assert_eq!(Target::parse("http:web:").unwrap(), target(false, "web", ""));
        for wrong in ["ftp:web:1", ":80", "a:b:c:d"] {
            assert!(Target::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn ports_of_services() {
        let service = json!({"spec": {"ports": [
            {"name": "http", "port": 80}, {"name": "metrics", "port": 9090},
        ]}});
        for (wanted, expected) in
            [("http", Some("http")), ("9090", Some("metrics")), ("1", None), ("", None)]
        {
            assert_eq!(service_port(&service, wanted).as_deref(), expected, "{wanted}");
        }
        let single = json!({"spec": {"ports": [{"port": 80}]}});
        assert_eq!(service_port(&single, "").as_deref(), Some(""));
    }

    #[test]
    fn only_ready_endpoints() {
        let slice = json!({
            "ports": [{"name": "http", "port": 8080}],
            "endpoints": [
                {"addresses": ["10.0.0.1"], "conditions": {"ready": true},
                 "targetRef": {"kind": "Pod", "namespace": "d", "name": "p"}},
                {"addresses": ["10.0.0.2"], "conditions": {"ready": false}},
                {"addresses": ["10.0.0.3"]},
            ],
        });
        let found = ready(&slice, "http");
        let seen: Vec<_> =
            found.iter().map(|e| (e.address.as_str(), e.port, e.pod.is_some())).collect();
        assert_eq!(seen, [("10.0.0.1", 8080, true), ("10.0.0.3", 8080, false)]);
        assert!(ready(&slice, "other").is_empty());
    }
}
