//! `port-forward`: ports of this machine that lead to ports of a pod.

use std::net::IpAddr;
use std::sync::Arc;

use onggi_client::port_forward::port_forward;
use onggi_machinery::value::{at, find, i64_at, list_at, str_at};
use serde_json::Value;
use tokio::net::TcpListener;

use super::exec::pod;
use crate::error::Error;
use crate::session::Session;

/// Flags of `port-forward`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// POD, or TYPE/NAME
    #[arg(value_name = "POD | TYPE/NAME")]
    pod: String,
    /// [LOCAL:]REMOTE
    #[arg(required = true, value_name = "[LOCAL:]REMOTE")]
    ports: Vec<String>,
    /// Addresses of this machine, or localhost
    #[arg(long, default_value = "localhost", value_delimiter = ',')]
    address: Vec<String>,
    /// How long to wait until the pod runs
    #[arg(long, default_value = "1m0s", value_parser = crate::duration::parse, value_name = "TIME")]
    pod_running_timeout: std::time::Duration,
}

/// A local port, 0 for any, and that of the pod.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Ports {
    local: u16,
    remote: u16,
}

impl Args {
    /// Forwards until it is broken off.
    pub async fn run(self, session: &Session) -> Result<(), Error> {
        let service = self.service(session).await?;
        let pod = pod(session, &self.pod).await?;
        let phase = str_at(&pod, "status.phase");
        if phase != "Running" {
            return Err(Error::new(format!(
                "unable to forward port because pod is not running. Current status={phase}"
            )));
        }
        let ports = self.ports.iter().map(|text| ports(text, service.as_ref(), &pod));
        let ports = ports.collect::<Result<Vec<_>, _>>()?;
        let mut listeners = Vec::new();
        for one in &ports {
            for address in self.addresses()? {
                match TcpListener::bind((address, one.local)).await {
                    Ok(listener) => {
                        let local = listener.local_addr()?;
                        session.print(&format!("Forwarding from {local} -> {}\n", one.remote))?;
                        listeners.push((listener, one.remote));
                    }
                    // Machines without IPv6 have the other one.
                    Err(_) if address.is_ipv6() && self.address == ["localhost"] => {}
                    Err(error) => {
                        return Err(Error::new(format!(
                            "unable to listen on {address}:{}: {error}",
                            one.local
                        )));
                    }
                }
            }
        }
        let way = Arc::new(Way {
            http: session.connection()?.http.clone(),
            namespace: str_at(&pod, "metadata.namespace").to_owned(),
            pod: str_at(&pod, "metadata.name").to_owned(),
        });
        let serving = listeners.into_iter().map(|(listener, remote)| {
            let way = Arc::clone(&way);
            async move {
                loop {
                    let (stream, _) = listener.accept().await?;
                    let port = listener.local_addr()?.port();
                    session.print(&format!("Handling connection for {port}\n"))?;
                    tokio::spawn(Arc::clone(&way).copy(remote, stream));
                }
            }
        });
        let ended: Result<Vec<()>, Error> = futures::future::try_join_all(serving).await;
        ended.map(drop)
    }

    /// The Service, where one is named: its ports are meant then.
    async fn service(&self, session: &Session) -> Result<Option<Value>, Error> {
        let Some((kind, name)) = self.pod.split_once('/') else { return Ok(None) };
        let mapping = session.mapper().await?.by_name(kind)?;
        if mapping.kind != "Service" {
            return Ok(None);
        }
        session.object(mapping, &session.namespace(), name).await.map(Some)
    }

    fn addresses(&self) -> Result<Vec<IpAddr>, Error> {
        let mut found = Vec::new();
        for text in &self.address {
            if text == "localhost" {
                found
                    .extend(["127.0.0.1", "::1"].iter().filter_map(|ip| ip.parse::<IpAddr>().ok()));
                continue;
            }
            let address =
                text.parse().map_err(|_| Error::new(format!("{text} is not a valid IP")))?;
            found.push(address);
        }
        Ok(found)
    }
}

struct Way {
    http: onggi_client::HttpTransport,
    namespace: String,
    pod: String,
}

impl Way {
    async fn copy(self: Arc<Self>, remote: u16, stream: tokio::net::TcpStream) {
        let way = port_forward(&self.http, &self.namespace, &self.pod, remote, stream);
        if let Err(error) = way.await {
            eprintln!("an error occurred forwarding to port {remote}: {error}");
        }
    }
}

/// `8080:80`, `80`, `:80`, `8080:http`; of a Service its port leads to the container's.
fn ports(text: &str, service: Option<&Value>, pod: &Value) -> Result<Ports, Error> {
    let wrong = || Error::new(format!("invalid port format '{text}'"));
    let (local, remote) = match text.split_once(':') {
        Some((local, remote)) => (Some(local), remote),
        None => (None, text),
    };
    let (shown, remote) = match service {
        None => {
            let remote = number_of(remote, pod).ok_or_else(wrong)?;
            (remote, remote)
        }
        Some(service) => of_service(remote, service, pod)?,
    };
    let local = match local {
        None => shown,
        Some("") => 0,
        Some(local) => local.parse().map_err(|_| wrong())?,
    };
    Ok(Ports { local, remote })
}

/// A number, or the name of a port of a container.
fn number_of(text: &str, pod: &Value) -> Option<u16> {
    if let Ok(number) = text.parse() {
        return Some(number);
    }
    let containers = list_at(pod, "spec.containers").iter();
    let port = containers.flat_map(|c| list_at(c, "ports")).find(|p| str_at(p, "name") == text)?;
    u16::try_from(i64_at(port, "containerPort")?).ok()
}

fn of_service(text: &str, service: &Value, pod: &Value) -> Result<(u16, u16), Error> {
    let ports = list_at(service, "spec.ports");
    let by_number = |p: &&Value| i64_at(p, "port").is_some_and(|n| n.to_string() == text);
    let port = ports.iter().find(by_number).or_else(|| find(ports, "name", text));
    let name = str_at(service, "metadata.name");
    let port = port
        .ok_or_else(|| Error::new(format!("Service {name} does not have a service port {text}")))?;
    let own = i64_at(port, "port").and_then(|n| u16::try_from(n).ok()).unwrap_or_default();
    let target = match at(port, "targetPort") {
        Value::String(name) => number_of(name, pod),
        Value::Number(number) => number.as_u64().and_then(|n| u16::try_from(n).ok()),
        _ => Some(own),
    };
    // A headless Service leads to the pod's port itself.
    let target = if str_at(service, "spec.clusterIP") == "None" { Some(own) } else { target };
    let target = target.filter(|port| *port > 0).ok_or_else(|| {
        Error::new(format!(
            "Pod '{}' does not have a named port '{text}'",
            str_at(pod, "metadata.name")
        ))
    })?;
    Ok((own, target))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn port_specs() {
        let pod =
            json!({"spec": {"containers": [{"ports": [{"name": "http", "containerPort": 80}]}]}});
        let service = json!({"metadata": {"name": "s"}, "spec": {"ports": [
            {"port": 8, "name": "web", "targetPort": "http"}, {"port": 9, "targetPort": 90}]}});
        for (text, service, local, remote) in [
            ("80", None, 80, 80),
            ("8080:http", None, 8080, 80),
            (":80", None, 0, 80),
            ("8", Some(&service), 8, 80),
            ("1:web", Some(&service), 1, 80),
            ("9", Some(&service), 9, 90),
        ] {
            assert_eq!(ports(text, service, &pod).unwrap(), Ports { local, remote }, "{text}");
        }
        for text in ["x", "x:80", "70000"] {
            assert!(ports(text, None, &pod).is_err(), "{text}");
        }
        assert!(ports("10", Some(&service), &pod).is_err());
    }
}
