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
    pod: Option<String>,
    /// [LOCAL:]REMOTE
    #[arg(value_name = "[LOCAL:]REMOTE")]
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
        let named = self.pod.as_deref().filter(|_| !self.ports.is_empty()).ok_or_else(|| {
            Error::new(
                "TYPE/NAME and list of ports are required for port-forward\nSee 'onggi \
                 port-forward -h' for help and examples",
            )
        })?;
        let service = service(session, named).await?;
        let pod = pod(session, named).await?;
        let phase = str_at(&pod, "status.phase");
        if phase != "Running" {
            return Err(Error::new(format!(
                "unable to forward port because pod is not running. Current status={phase}"
            )));
        }
        let ports = self.ports.iter().map(|text| ports(text, service.as_ref(), &pod));
        let ports = ports.collect::<Result<Vec<_>, _>>()?;
        let addresses = self.addresses()?;
        let mut listeners = Vec::new();
        let mut forwards = false;
        for one in &ports {
            match self.listen(session, &addresses, *one).await? {
                Ok(more) => {
                    forwards = true;
                    listeners.extend(more.into_iter().map(|listener| (listener, one.remote)));
                }
                Err(why) => {
                    let text = format!("Unable to listen on port {}: {why}\n", one.local);
                    session.print_error(&text)?;
                }
            }
        }
        if !forwards {
            let shown: Vec<String> =
                ports.iter().map(|one| format!("{{{} {}}}", one.local, one.remote)).collect();
            return Err(Error::new(format!(
                "unable to listen on any of the requested ports: [{}]",
                shown.join(" ")
            )));
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

    /// Listens on a port of all addresses, the same of each. Of `localhost` one that can be had is
    /// enough: machines without IPv6 have the other one.
    async fn listen(
        &self,
        session: &Session,
        addresses: &[IpAddr],
        ports: Ports,
    ) -> Result<Result<Vec<TcpListener>, String>, Error> {
        let of_localhost = |address: IpAddr| {
            self.address.iter().any(|text| text == "localhost") && address.is_loopback()
        };
        let (mut listeners, mut faults, mut is_needed) = (Vec::new(), Vec::new(), false);
        let mut local = ports.local;
        for &address in addresses {
            match TcpListener::bind((address, local)).await {
                Ok(listener) => {
                    let shown = listener.local_addr()?;
                    local = shown.port();
                    session.print(&format!("Forwarding from {shown} -> {}\n", ports.remote))?;
                    listeners.push(listener);
                }
                Err(error) => {
                    is_needed |= !of_localhost(address);
                    let family = if address.is_ipv4() { "tcp4" } else { "tcp6" };
                    let place = std::net::SocketAddr::new(address, local);
                    let error = error.to_string().to_lowercase();
                    let why = error.split(" (os error").next().unwrap_or(&error);
                    faults.push(format!(
                        "unable to create listener: Error listen {family} {place}: bind: {why}"
                    ));
                }
            }
        }
        if listeners.is_empty() || is_needed {
            return Ok(Err(format!(
                "Listeners failed to create with the following errors: [{}]",
                faults.join(" ")
            )));
        }
        Ok(Ok(listeners))
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

/// The Service, where one is named: its ports are meant then.
async fn service(session: &Session, named: &str) -> Result<Option<Value>, Error> {
    let Some((kind, name)) = named.split_once('/') else { return Ok(None) };
    let mapping = session.mapper().await?.by_name(kind)?;
    if mapping.kind != "Service" {
        return Ok(None);
    }
    session.object(mapping, &session.namespace(), name).await.map(Some)
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
    let (local, remote) = match text.split_once(':') {
        Some((local, remote)) => (Some(local), remote),
        None => (None, text),
    };
    if remote.contains(':') || remote.is_empty() {
        return Err(Error::new(format!("invalid port format '{text}'")));
    }
    let number = |which: &str, text: &str| {
        text.parse::<u16>().map_err(|error| {
            let too_large = *error.kind() == std::num::IntErrorKind::PosOverflow;
            let why = if too_large { "value out of range" } else { "invalid syntax" };
            Error::new(format!(
                "error parsing {which} port '{text}': strconv.ParseUint: parsing {text:?}: {why}"
            ))
        })
    };
    let is_number = remote.bytes().all(|b| b.is_ascii_digit());
    let (shown, remote) = match service {
        None if is_number => {
            // One number stands for both.
            let which = if local.is_some() { "remote" } else { "local" };
            let remote = number(which, remote)?;
            (remote, remote)
        }
        None => {
            let found = port_of(remote, pod).ok_or_else(|| no_port("Pod", pod, remote))?;
            (found, found)
        }
        Some(service) => of_service(remote, service, pod)?,
    };
    if remote == 0 {
        return Err(Error::new("remote port must be > 0"));
    }
    let local = match local {
        None => shown,
        Some("") => 0,
        Some(local) => number("local", local)?,
    };
    Ok(Ports { local, remote })
}

fn no_port(kind: &str, object: &Value, name: &str) -> Error {
    let of = str_at(object, "metadata.name");
    Error::new(format!("{kind} '{of}' does not have a named port '{name}'"))
}

/// The number of a container's port.
fn port_of(name: &str, pod: &Value) -> Option<u16> {
    let containers = list_at(pod, "spec.containers").iter();
    let port = containers.flat_map(|c| list_at(c, "ports")).find(|p| str_at(p, "name") == name)?;
    u16::try_from(i64_at(port, "containerPort")?).ok()
}

fn of_service(text: &str, service: &Value, pod: &Value) -> Result<(u16, u16), Error> {
    let ports = list_at(service, "spec.ports");
    let by_number = |p: &&Value| i64_at(p, "port").is_some_and(|n| n.to_string() == text);
    let port = if text.bytes().all(|b| b.is_ascii_digit()) {
        let name = str_at(service, "metadata.name");
        ports.iter().find(by_number).ok_or_else(|| {
            Error::new(format!("Service {name} does not have a service port {text}"))
        })?
    } else {
        find(ports, "name", text).ok_or_else(|| no_port("Service", service, text))?
    };
    let own = i64_at(port, "port").and_then(|n| u16::try_from(n).ok()).unwrap_or_default();
    // A headless Service leads to the pod's port itself.
    if str_at(service, "spec.clusterIP") == "None" {
        return Ok((own, own));
    }
    let target = match at(port, "targetPort") {
        Value::String(name) => port_of(name, pod).ok_or_else(|| no_port("Pod", pod, name))?,
        Value::Number(number) => {
            number.as_u64().and_then(|n| u16::try_from(n).ok()).filter(|n| *n > 0).unwrap_or(own)
        }
        _ => own,
    };
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
        for (text, expected) in [
            ("x", "Pod '' does not have a named port 'x'"),
            (
                "70000",
                "error parsing local port '70000': strconv.ParseUint: parsing \"70000\": value out of range",
            ),
            (
                "x:80",
                "error parsing local port 'x': strconv.ParseUint: parsing \"x\": invalid syntax",
            ),
            ("1:2:3", "invalid port format '1:2:3'"),
            ("0", "remote port must be > 0"),
        ] {
            assert_eq!(ports(text, None, &pod).unwrap_err().to_string(), expected);
        }
        assert!(ports("10", Some(&service), &pod).is_err());
    }
}
