//! What is missing or taken, found out before anything is started.

use std::collections::HashMap;
use std::fmt;

use onggi_sys::netlink::NetNs;
use onggi_sys::netlink::route::{
    Changes, LOOPBACK, Link, Route, RouteSocket, TABLE_LOCAL, TABLE_MAIN,
};
use onggi_sys::nft::Nft;

use crate::instance::ROUTE_PROTOCOL;
use crate::pod::{Lease, Wiring};
use crate::{Cidr, Error, Instance, Options, ruleset};

/// Something that stands in the way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Problem {
    /// The kernel cannot do it.
    Missing {
        /// What.
        feature: &'static str,
        /// What the kernel said, and what helps.
        message: String,
    },
    /// Part of a range is used by something else on this machine.
    Taken {
        /// Our range.
        range: Cidr,
        /// By what: an address or route, with its interface.
        by: String,
    },
    /// Another cluster on this machine uses the range.
    OtherInstance {
        /// Our range.
        range: Cidr,
        /// Its id, where it can be told.
        instance: String,
    },
    /// An option makes no sense.
    Option(String),
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing { feature, message } => write!(f, "{feature}: {message}"),
            Self::Taken { range, by } => {
                write!(f, "address range {range} is taken: {by}; choose another range")
            }
            Self::OtherInstance { range, instance } => write!(
                f,
                "address range {range} is taken by another cluster on this machine (instance \
                 {instance}); choose another range, or end that one"
            ),
            Self::Option(message) => f.write_str(message),
        }
    }
}

/// Everything that stands in the way of [`crate::NodeNetwork::open`] in the network namespace of the
/// calling thread. Changes nothing there: kernel features are tried in a new namespace.
pub fn check(options: &Options) -> Vec<Problem> {
    let mut problems = Vec::new();
    if let Err(error) = options.validate() {
        problems.push(Problem::Option(error.to_string()));
    }
    match try_kernel(options) {
        Ok(()) => {}
        Err(problem) => {
            problems.push(problem);
            return problems;
        }
    }
    match taken(options) {
        Ok(found) => problems.extend(found),
        Err(error) => {
            problems.push(Problem::Missing { feature: "netlink", message: error.to_string() })
        }
    }
    problems
}

/// Does in new namespaces what will be done here.
fn try_kernel(options: &Options) -> Result<(), Problem> {
    let missing = |feature, help: &str| {
        let help = help.to_owned();
        move |error: Error| Problem::Missing { feature, message: format!("{error}; {help}") }
    };
    let namespace = || NetNs::new().map_err(Error::Namespace);
    let (node, pod) = namespace().and_then(|node| Ok((node, namespace()?))).map_err(missing(
        "network namespaces",
        "they need root (CAP_SYS_ADMIN) and CONFIG_NET_NS",
    ))?;
    let tried = node.run(|| {
        let mut routes =
            RouteSocket::open().map_err(Error::from).map_err(missing("rtnetlink", ""))?;
        let mut changes = Changes::default();
        changes.up(LOOPBACK);
        for route in options.routes() {
            changes.route(&route);
        }
        routes
            .commit(changes)
            .map_err(Error::from)
            .map_err(missing("routes", "they need root (CAP_NET_ADMIN)"))?;
        let lease = Lease {
            sandbox: "check".into(),
            address: options.node_cidr.nth(2).unwrap_or(options.node_cidr.network()),
            interface: options.instance.interface(2),
        };
        Wiring {
            lease: &lease,
            netns: &pod,
            node_address: options.node_address(),
            metric: options.instance.metric(),
            mtu: options.mtu,
        }
        .connect(&mut routes)
        .map_err(missing("veth interfaces", "they need CONFIG_VETH (modprobe veth)"))?;
        let (batch, _) = ruleset::base(&options.instance, &options.ranges());
        Nft::open().and_then(|mut nft| nft.commit(batch)).map_err(Error::from).map_err(missing(
            "nftables",
            "it needs nf_tables with the expressions nat, masq, reject, numgen, hash, fib and ct \
             (modprobe nf_tables nft_chain_nat nft_masq nft_reject_ipv4 nft_numgen nft_hash \
             nft_fib_ipv4 nft_ct)",
        ))
    });
    tried.unwrap_or_else(|error| Err(missing("network namespaces", "")(Error::Namespace(error))))
}

fn taken(options: &Options) -> Result<Vec<Problem>, Error> {
    let mut socket = RouteSocket::open()?;
    let instances =
        Nft::open()?.tables()?.iter().filter_map(|table| Instance::of_table(table)).collect();
    let (links, routes) = (socket.links()?, socket.routes()?);
    Ok(conflicts(options, &links, &routes, instances))
}

/// The decision, on what was found.
fn conflicts(
    options: &Options,
    links: &[Link],
    routes: &[Route],
    instances: Vec<Instance>,
) -> Vec<Problem> {
    let names: HashMap<u32, &str> =
        links.iter().map(|link| (link.index, link.name.as_str())).collect();
    let mut problems = Vec::new();
    for range in [options.pod_cidr, options.service_cidr] {
        for route in routes {
            let found = Cidr::new(route.destination, route.prefix);
            let ours = route.protocol == ROUTE_PROTOCOL;
            // A wider route (a VPN's 10.0.0.0/8) loses to our more specific ones and keeps the rest.
            if !matches!(route.table, TABLE_MAIN | TABLE_LOCAL) || !range.covers(found) {
                continue;
            }
            let problem = if !ours {
                let what = if route.table == TABLE_LOCAL { "the address" } else { "a route to" };
                let interface = route.interface.and_then(|index| names.get(&index));
                let interface = interface.map(|name| format!(" of interface {name}"));
                Problem::Taken {
                    range,
                    by: format!("{what} {found}{}", interface.unwrap_or_default()),
                }
            } else if route.metric != options.instance.metric() {
                let other = instances.iter().find(|other| other.metric() == route.metric);
                let instance = other.map_or_else(|| "unknown".to_owned(), Instance::to_string);
                Problem::OtherInstance { range, instance }
            } else {
                continue;
            };
            if !problems.contains(&problem) {
                problems.push(problem);
            }
        }
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;
    use onggi_sys::netlink::route::RouteKind;

    #[test]
    fn ranges_in_use_are_named() {
        let instance = |id: &str| Instance::new(id).unwrap();
        let options = Options::new(
            instance("me"),
            "10.244.0.0/16".parse().unwrap(),
            "10.96.0.0/16".parse().unwrap(),
            "10.244.0.0/22".parse().unwrap(),
            "/nonexistent".into(),
        );
        let links = [Link { index: 2, name: "tun0".into(), alias: String::new(), up: true }];
        let route = |text: &str, protocol, metric| {
            let cidr: Cidr = text.parse().unwrap();
            Route {
                destination: cidr.network(),
                prefix: cidr.prefix(),
                kind: RouteKind::Unicast,
                table: TABLE_MAIN,
                protocol,
                metric,
                interface: Some(2),
                gateway: None,
                source: None,
                mtu: None,
            }
        };
        let cases: [(Route, &str); 6] = [
            (route("0.0.0.0/0", 3, 0), ""),
            (route("192.168.0.0/24", 3, 0), ""),
            (route("10.0.0.0/8", 3, 0), ""),
            (
                route("10.96.7.0/24", 3, 0),
                "address range 10.96.0.0/16 is taken: a route to 10.96.7.0/24 of interface tun0; \
                 choose another range",
            ),
            (route("10.244.0.7/32", ROUTE_PROTOCOL, instance("me").metric()), ""),
            (
                route("10.244.0.7/32", ROUTE_PROTOCOL, instance("you").metric()),
                "address range 10.244.0.0/16 is taken by another cluster on this machine (instance \
                 you); choose another range, or end that one",
            ),
        ];
        for (route, expected) in cases {
            let found = conflicts(&options, &links, &[route], vec![instance("you")]);
            assert_eq!(found.first().map(ToString::to_string).unwrap_or_default(), expected);
        }
    }
}
