//! `NodePorts`: a port of the node is one pod's alone.

use crate::cluster::Node;
use crate::framework::{Event, Plugin, Refusal};
use crate::pod::{HostPort, Pod};

pub(crate) struct NodePorts;

impl Plugin for NodePorts {
    fn concerns(&self, pod: &Pod) -> bool {
        !pod.host_ports.is_empty()
    }

    fn filter(&self, pod: &Pod, node: &Node, refusals: &mut Vec<Refusal>) {
        if pod.host_ports.iter().any(|port| node.ports.iter().any(|taken| clash(port, taken))) {
            refusals.push("node(s) didn't have free ports for the requested pod ports".into());
        }
    }

    fn helps(&self, event: Event) -> bool {
        matches!(event, Event::NodeCame | Event::PodGone)
    }
}

fn clash(a: &HostPort, b: &HostPort) -> bool {
    let addresses = a.ip == b.ip || a.ip.is_empty() || b.ip.is_empty();
    a.port == b.port && a.protocol == b.protocol && addresses
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clashes() {
        let port = |text: &str| {
            let (ip, rest) = text.split_once('/').unwrap();
            let (protocol, port) = rest.split_once('/').unwrap();
            HostPort { ip: ip.into(), protocol: protocol.into(), port: port.parse().unwrap() }
        };
        for (a, b, expected) in [
            ("/TCP/80", "/TCP/80", true),
            ("/TCP/80", "/UDP/80", false),
            ("/TCP/80", "/TCP/81", false),
            ("10.0.0.1/TCP/80", "10.0.0.2/TCP/80", false),
            ("10.0.0.1/TCP/80", "/TCP/80", true),
        ] {
            assert_eq!(clash(&port(a), &port(b)), expected, "{a} {b}");
        }
    }
}
