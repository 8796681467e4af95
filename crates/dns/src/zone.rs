//! What the cluster's names mean: a pure table of services and its answers, to the Kubernetes DNS
//! specification 1.1. A change of one service touches that service's entries alone.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};

/// A service, as far as its names go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// What the name stands for.
    pub target: Target,
    /// Its ports.
    pub ports: Vec<Port>,
}

/// What a service's name stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// `spec.clusterIPs`.
    ClusterIps(Vec<IpAddr>),
    /// `clusterIP: None`: its endpoints.
    Headless(Vec<Endpoint>),
    /// `type: ExternalName`.
    External(String),
}

/// A port of a service, or of an endpoint of a headless one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Port {
    /// Name; empty for an only port without one.
    pub name: String,
    /// `tcp`, `udp`, `sctp`.
    pub protocol: String,
    /// Number.
    pub port: u16,
}

/// An endpoint of a headless service that may be named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// Its address.
    pub ip: IpAddr,
    /// `hostname`; empty: the address with dashes.
    pub hostname: String,
    /// Its ports.
    pub ports: Vec<Port>,
}

/// The kinds of records that are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// IPv4 address.
    A,
    /// IPv6 address.
    Aaaa,
    /// Ports.
    Srv,
    /// Name of an address.
    Ptr,
    /// Text.
    Txt,
    /// An alias asked for by itself.
    Cname,
    /// Everything there is.
    Any,
    /// Something that we have none of.
    Other,
}

/// The data of one record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Data {
    /// `A` or `AAAA`.
    Address(IpAddr),
    /// `SRV`: port, and the full name of the target.
    Srv {
        /// Port.
        port: u16,
        /// Full name.
        target: String,
    },
    /// `PTR`: a full name.
    Ptr(String),
    /// `CNAME`: a name outside of the zone.
    Cname(String),
    /// `TXT`.
    Txt(String),
}

/// The answer to a question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// Not ours: ask upstream.
    NotOurs,
    /// The name does not exist.
    NxDomain,
    /// The name exists, the kind does not.
    NoData,
    /// Records; `additional` are the addresses of SRV targets.
    Records {
        /// Of the question's name.
        records: Vec<Data>,
        /// Name and address of each target.
        additional: Vec<(String, IpAddr)>,
    },
}

/// All names of the cluster.
#[derive(Debug)]
pub struct Zone {
    domain: Vec<String>,
    services: HashMap<String, HashMap<String, Service>>,
    reverse: HashMap<IpAddr, Vec<String>>,
}

/// `dns-version.<zone>`.
const SPEC_VERSION: &str = "1.1.0";

impl Zone {
    /// An empty zone for a domain such as `cluster.local`.
    pub fn new(domain: &str) -> Self {
        Self { domain: labels(domain), services: HashMap::new(), reverse: HashMap::new() }
    }

    /// Puts a service in the place of what it was.
    pub fn set(&mut self, service: Service) {
        self.remove(&service.namespace, &service.name);
        for (ip, name) in self.reverse_names(&service) {
            self.reverse.entry(ip).or_default().push(name);
        }
        self.services
            .entry(service.namespace.clone())
            .or_default()
            .insert(service.name.clone(), service);
    }

    /// Takes a service out.
    pub fn remove(&mut self, namespace: &str, name: &str) {
        let Some(in_namespace) = self.services.get_mut(namespace) else { return };
        let Some(old) = in_namespace.remove(name) else { return };
        if in_namespace.is_empty() {
            self.services.remove(namespace);
        }
        for (ip, name) in self.reverse_names(&old) {
            if let Some(names) = self.reverse.get_mut(&ip) {
                names.retain(|other| *other != name);
                if names.is_empty() {
                    self.reverse.remove(&ip);
                }
            }
        }
    }

    /// Answers a question. `name` in any case, with or without the final dot.
    pub fn answer(&self, name: &str, kind: Kind) -> Answer {
        let labels = labels(name);
        if labels.ends_with(&["in-addr".to_owned(), "arpa".to_owned()]) {
            return self.pointer(&labels, kind);
        }
        let Some(inside) = labels.strip_suffix(self.domain.as_slice()) else {
            return Answer::NotOurs;
        };
        let inside: Vec<&str> = inside.iter().map(String::as_str).collect();
        match inside.as_slice() {
            [] | ["svc" | "pod"] => Answer::NoData,
            ["dns-version"] => select(vec![Data::Txt(SPEC_VERSION.to_owned())], kind),
            [namespace, "svc"] if self.services.contains_key(*namespace) => Answer::NoData,
            [name, namespace, "svc"] => self.service(name, namespace, kind),
            [label, name, namespace, "svc"] => self.below(label, name, namespace, kind),
            [port, protocol, name, namespace, "svc"] => {
                self.ports(port, protocol, name, namespace, kind)
            }
            [address, _, "pod"] => match dashed(address) {
                Some(ip) => select(vec![Data::Address(ip)], kind),
                None => Answer::NxDomain,
            },
            _ => Answer::NxDomain,
        }
    }

    fn find(&self, name: &str, namespace: &str) -> Option<&Service> {
        self.services.get(namespace)?.get(name)
    }

    fn service(&self, name: &str, namespace: &str, kind: Kind) -> Answer {
        let Some(service) = self.find(name, namespace) else { return Answer::NxDomain };
        match &service.target {
            Target::ClusterIps(ips) => {
                select(ips.iter().copied().map(Data::Address).collect(), kind)
            }
            // A headless service with nobody behind it has no addresses, and its name no meaning.
            Target::Headless(endpoints) if endpoints.is_empty() => Answer::NxDomain,
            Target::Headless(endpoints) => {
                select(endpoints.iter().map(|e| Data::Address(e.ip)).collect(), kind)
            }
            Target::External(name) => {
                Answer::Records { records: vec![Data::Cname(name.clone())], additional: Vec::new() }
            }
        }
    }

    /// `hostname.name.namespace.svc`, or `_tcp.name.namespace.svc`, which only leads to ports.
    fn below(&self, label: &str, name: &str, namespace: &str, kind: Kind) -> Answer {
        let Some(service) = self.find(name, namespace) else { return Answer::NxDomain };
        if let Some(protocol) = label.strip_prefix('_') {
            let leads_on = all_ports(service).any(|port| port.protocol == protocol);
            return if leads_on { Answer::NoData } else { Answer::NxDomain };
        }
        let Target::Headless(endpoints) = &service.target else { return Answer::NxDomain };
        let records: Vec<_> = endpoints
            .iter()
            .filter(|endpoint| host_label(endpoint) == label)
            .map(|endpoint| Data::Address(endpoint.ip))
            .collect();
        if records.is_empty() { Answer::NxDomain } else { select(records, kind) }
    }

    /// `_port._protocol.name.namespace.svc`.
    fn ports(&self, port: &str, protocol: &str, name: &str, namespace: &str, kind: Kind) -> Answer {
        let (Some(port), Some(protocol)) = (port.strip_prefix('_'), protocol.strip_prefix('_'))
        else {
            return Answer::NxDomain;
        };
        let Some(service) = self.find(name, namespace) else { return Answer::NxDomain };
        let asked = |p: &&Port| p.name == port && p.protocol == protocol;
        let mut records = Vec::new();
        let mut additional = Vec::new();
        match &service.target {
            Target::ClusterIps(ips) => {
                let target = self.full_name(&[&service.name, &service.namespace]);
                for port in service.ports.iter().filter(asked) {
                    records.push(Data::Srv { port: port.port, target: target.clone() });
                    additional.extend(ips.iter().map(|ip| (target.clone(), *ip)));
                }
            }
            Target::Headless(endpoints) => {
                for endpoint in endpoints {
                    let host = host_label(endpoint);
                    let target = self.full_name(&[&host, &service.name, &service.namespace]);
                    for port in endpoint.ports.iter().filter(asked) {
                        records.push(Data::Srv { port: port.port, target: target.clone() });
                        additional.push((target.clone(), endpoint.ip));
                    }
                }
            }
            Target::External(_) => {}
        }
        if records.is_empty() {
            return Answer::NxDomain;
        }
        match select(records, kind) {
            Answer::Records { records, .. } => Answer::Records { records, additional },
            other => other,
        }
    }

    fn pointer(&self, labels: &[String], kind: Kind) -> Answer {
        let octets: Option<Vec<u8>> =
            labels.iter().rev().skip(2).map(|label| label.parse().ok()).collect();
        let Some(&[a, b, c, d]) = octets.as_deref() else { return Answer::NotOurs };
        match self.reverse.get(&IpAddr::V4(Ipv4Addr::new(a, b, c, d))) {
            Some(names) => select(names.iter().cloned().map(Data::Ptr).collect(), kind),
            None => Answer::NotOurs,
        }
    }

    fn reverse_names(&self, service: &Service) -> Vec<(IpAddr, String)> {
        match &service.target {
            Target::ClusterIps(ips) => {
                let name = self.full_name(&[&service.name, &service.namespace]);
                ips.iter().map(|ip| (*ip, name.clone())).collect()
            }
            Target::Headless(endpoints) => endpoints
                .iter()
                .filter(|endpoint| !endpoint.hostname.is_empty())
                .map(|endpoint| {
                    let labels = [&endpoint.hostname, &service.name, &service.namespace];
                    (endpoint.ip, self.full_name(&labels.map(String::as_str)))
                })
                .collect(),
            Target::External(_) => Vec::new(),
        }
    }

    fn full_name(&self, labels: &[&str]) -> String {
        format!("{}.svc.{}.", labels.join("."), self.domain.join("."))
    }
}

fn all_ports(service: &Service) -> impl Iterator<Item = &Port> {
    let of_endpoints = match &service.target {
        Target::Headless(endpoints) => endpoints.as_slice(),
        _ => &[],
    };
    service.ports.iter().chain(of_endpoints.iter().flat_map(|endpoint| &endpoint.ports))
}

fn labels(name: &str) -> Vec<String> {
    name.trim_end_matches('.')
        .split('.')
        .filter(|label| !label.is_empty())
        .map(str::to_ascii_lowercase)
        .collect()
}

fn host_label(endpoint: &Endpoint) -> String {
    if endpoint.hostname.is_empty() {
        endpoint.ip.to_string().replace(['.', ':'], "-")
    } else {
        endpoint.hostname.to_ascii_lowercase()
    }
}

fn dashed(label: &str) -> Option<IpAddr> {
    label.replace('-', ".").parse::<Ipv4Addr>().ok().map(IpAddr::V4)
}

fn select(records: Vec<Data>, kind: Kind) -> Answer {
    let records: Vec<_> = records
        .into_iter()
        .filter(|data| match (kind, data) {
            (Kind::Any, _) => true,
            (Kind::A, Data::Address(ip)) => ip.is_ipv4(),
            (Kind::Aaaa, Data::Address(ip)) => ip.is_ipv6(),
            (Kind::Srv, Data::Srv { .. }) => true,
            (Kind::Ptr, Data::Ptr(_)) => true,
            (Kind::Txt, Data::Txt(_)) => true,
            _ => false,
        })
        .collect();
    if records.is_empty() {
        Answer::NoData
    } else {
        Answer::Records { records, additional: Vec::new() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn port(name: &str, port: u16) -> Port {
        Port { name: name.into(), protocol: "tcp".into(), port }
    }

    fn zone() -> Zone {
        let mut zone = Zone::new("cluster.local");
        let service = |name: &str, target| Service {
            namespace: "shop".into(),
            name: name.into(),
            target,
            ports: vec![port("http", 80)],
        };
        zone.set(service("product", Target::ClusterIps(vec![ip("10.96.0.7")])));
        zone.set(service("empty", Target::Headless(vec![])));
        zone.set(service("away", Target::External("example.com".into())));
        zone.set(service(
            "db",
            Target::Headless(vec![
                Endpoint {
                    ip: ip("10.244.0.2"),
                    hostname: "db-0".into(),
                    ports: vec![port("http", 8080)],
                },
                Endpoint {
                    ip: ip("10.244.0.3"),
                    hostname: String::new(),
                    ports: vec![port("http", 8080)],
                },
            ]),
        ));
        zone
    }

    fn records(records: Vec<Data>) -> Answer {
        Answer::Records { records, additional: vec![] }
    }

    #[test]
    fn answers() {
        let zone = zone();
        let one = records(vec![Data::Address(ip("10.96.0.7"))]);
        let both = records(vec![Data::Address(ip("10.244.0.2")), Data::Address(ip("10.244.0.3"))]);
        for (name, kind, expected) in [
            ("product.shop.svc.cluster.local.", Kind::A, one.clone()),
            ("PRODUCT.Shop.svc.cluster.LOCAL", Kind::A, one),
            ("product.shop.svc.cluster.local", Kind::Aaaa, Answer::NoData),
            ("nothing.shop.svc.cluster.local", Kind::A, Answer::NxDomain),
            ("shop.svc.cluster.local", Kind::A, Answer::NoData),
            ("other.svc.cluster.local", Kind::A, Answer::NxDomain),
            ("svc.cluster.local", Kind::A, Answer::NoData),
            ("cluster.local", Kind::A, Answer::NoData),
            ("db.shop.svc.cluster.local", Kind::A, both),
            (
                "db-0.db.shop.svc.cluster.local",
                Kind::A,
                records(vec![Data::Address(ip("10.244.0.2"))]),
            ),
            (
                "10-244-0-3.db.shop.svc.cluster.local",
                Kind::A,
                records(vec![Data::Address(ip("10.244.0.3"))]),
            ),
            ("empty.shop.svc.cluster.local", Kind::A, Answer::NxDomain),
            (
                "away.shop.svc.cluster.local",
                Kind::A,
                records(vec![Data::Cname("example.com".into())]),
            ),
            (
                "10-244-0-9.shop.pod.cluster.local",
                Kind::A,
                records(vec![Data::Address(ip("10.244.0.9"))]),
            ),
            ("x.shop.pod.cluster.local", Kind::A, Answer::NxDomain),
            ("_tcp.product.shop.svc.cluster.local", Kind::Srv, Answer::NoData),
            ("_udp.product.shop.svc.cluster.local", Kind::Srv, Answer::NxDomain),
            ("_web._tcp.product.shop.svc.cluster.local", Kind::Srv, Answer::NxDomain),
            ("_http._tcp.product.shop.svc.cluster.local", Kind::A, Answer::NoData),
            ("dns-version.cluster.local", Kind::Txt, records(vec![Data::Txt("1.1.0".into())])),
            ("example.com", Kind::A, Answer::NotOurs),
            (
                "7.0.96.10.in-addr.arpa",
                Kind::Ptr,
                records(vec![Data::Ptr("product.shop.svc.cluster.local.".into())]),
            ),
            (
                "2.0.244.10.in-addr.arpa",
                Kind::Ptr,
                records(vec![Data::Ptr("db-0.db.shop.svc.cluster.local.".into())]),
            ),
            ("8.8.8.8.in-addr.arpa", Kind::Ptr, Answer::NotOurs),
        ] {
            assert_eq!(zone.answer(name, kind), expected, "{name}");
        }
    }

    #[test]
    fn ports_carry_their_addresses() {
        let target = "product.shop.svc.cluster.local.".to_owned();
        assert_eq!(
            zone().answer("_http._tcp.product.shop.svc.cluster.local", Kind::Srv),
            Answer::Records {
                records: vec![Data::Srv { port: 80, target: target.clone() }],
                additional: vec![(target, ip("10.96.0.7"))],
            }
        );
        let Answer::Records { records, .. } =
            zone().answer("_http._tcp.db.shop.svc.cluster.local", Kind::Srv)
        else {
            panic!("no records");
        };
        let target = "10-244-0-3.db.shop.svc.cluster.local.".to_owned();
        assert_eq!(records[1], Data::Srv { port: 8080, target });
    }

    #[test]
    fn a_removed_service_leaves_nothing() {
        let mut zone = zone();
        for name in ["product", "empty", "away", "db"] {
            zone.remove("shop", name);
        }
        assert!(zone.services.is_empty() && zone.reverse.is_empty());
        assert_eq!(zone.answer("shop.svc.cluster.local", Kind::A), Answer::NxDomain);
    }
}
