//! One pod: a veth with a routed /32, no bridge.
//!
//! The pod's default route goes to a link-local gateway that nobody has; both ends know each
//! other's hardware address for good, so nothing is ever resolved. On the node's side the interface
//! carries whose it is (its alias), which is how the next process finds it again.

use std::net::Ipv4Addr;
use std::os::fd::AsFd;

use onggi_sys::netlink::NetNs;
use onggi_sys::netlink::route::{
    Address, Changes, LOOPBACK, Link, Route, RouteKind, RouteSocket, TABLE_MAIN, Veth,
};

use crate::Error;
use crate::instance::ROUTE_PROTOCOL;

/// The pod's side.
pub(crate) const INTERFACE: &str = "eth0";
/// The gateway that pods see.
pub(crate) const GATEWAY: Ipv4Addr = Ipv4Addr::new(169, 254, 1, 1);
/// The hardware address of every veth on the node's side: local, then "onggi".
const NODE_MAC: [u8; 6] = [0x02, b'o', b'n', b'g', b'g', b'i'];

/// A pod's place in the network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Lease {
    pub(crate) sandbox: String,
    pub(crate) address: Ipv4Addr,
    /// The interface on the node.
    pub(crate) interface: String,
}

/// What a pod is connected with.
pub(crate) struct Wiring<'a> {
    pub(crate) lease: &'a Lease,
    pub(crate) netns: &'a NetNs,
    /// The source of the node's own connections to the pod (probes).
    pub(crate) node_address: Ipv4Addr,
    pub(crate) metric: u32,
    pub(crate) mtu: u32,
}

impl Lease {
    /// What is written on the interface.
    fn alias(&self) -> String {
        format!("onggi {} {}", self.address, self.sandbox)
    }

    /// Reads it back; `None`: made by halves, or by somebody else.
    pub(crate) fn of(link: &Link) -> Option<Self> {
        let mut words = link.alias.splitn(3, ' ');
        let (Some("onggi"), Some(address), Some(sandbox)) =
            (words.next(), words.next(), words.next())
        else {
            return None;
        };
        Some(Self {
            sandbox: sandbox.to_owned(),
            address: address.parse().ok()?,
            interface: link.name.clone(),
        })
    }

    /// The node's route to the pod.
    pub(crate) fn route(&self, index: Option<u32>, source: Ipv4Addr, metric: u32) -> Route {
        Route {
            destination: self.address,
            prefix: 32,
            kind: RouteKind::Unicast,
            table: TABLE_MAIN,
            protocol: ROUTE_PROTOCOL,
            metric,
            interface: index,
            gateway: None,
            source: Some(source),
            mtu: None,
        }
    }
}

impl Wiring<'_> {
    /// Whether it is connected already: both ends there, and the address.
    pub(crate) fn is_done(&self, node: &mut RouteSocket) -> Result<bool, Error> {
        let Some(link) = node.link(&self.lease.interface)? else { return Ok(false) };
        if Lease::of(&link).as_ref() != Some(self.lease) {
            return Ok(false);
        }
        let routed = node.routes()?.iter().any(|route| {
            route.destination == self.lease.address && route.interface == Some(link.index)
        });
        let inside = self.inside(|pod| {
            let Some(link) = pod.link(INTERFACE)? else { return Ok(false) };
            let has = |address: &Address| {
                address.interface == link.index && address.address == self.lease.address
            };
            Ok(link.up && pod.addresses()?.iter().any(has))
        })?;
        Ok(routed && inside)
    }

    /// Connects it. What was made stays when a later step fails: the caller deletes the interface.
    pub(crate) fn connect(&self, node: &mut RouteSocket) -> Result<(), Error> {
        let address = self.lease.address;
        let [a, b, c, d] = address.octets();
        let pod_mac = [0x02, 0, a, b, c, d];
        let mut changes = Changes::default();
        changes.veth(&Veth {
            name: &self.lease.interface,
            mac: NODE_MAC,
            peer: INTERFACE,
            peer_mac: pod_mac,
            peer_netns: self.netns.as_fd(),
            mtu: self.mtu,
        });
        node.commit(changes)?;
        let index = index_of(node, &self.lease.interface)?;
        self.inside(|pod| self.connect_inside(pod))?;
        let mut changes = Changes::default();
        changes
            .up_with_alias(index, &self.lease.alias())
            .neighbour(index, address, pod_mac)
            .route(&self.lease.route(Some(index), self.node_address, self.metric));
        Ok(node.commit(changes)?)
    }

    fn connect_inside(&self, pod: &mut RouteSocket) -> Result<(), Error> {
        let index = index_of(pod, INTERFACE)?;
        let gateway = Route {
            destination: GATEWAY,
            prefix: 32,
            kind: RouteKind::Unicast,
            table: TABLE_MAIN,
            protocol: ROUTE_PROTOCOL,
            metric: 0,
            interface: Some(index),
            gateway: None,
            source: None,
            mtu: None,
        };
        let everything = Route {
            destination: Ipv4Addr::UNSPECIFIED,
            prefix: 0,
            gateway: Some(GATEWAY),
            source: Some(self.lease.address),
            ..gateway
        };
        let mut changes = Changes::default();
        changes
            .up(LOOPBACK)
            .up(index)
            .address(&Address { interface: index, address: self.lease.address, prefix: 32 })
            .neighbour(index, GATEWAY, NODE_MAC)
            .route(&gateway)
            .route(&everything);
        Ok(pod.commit(changes)?)
    }

    fn inside<T: Send>(
        &self,
        task: impl FnOnce(&mut RouteSocket) -> Result<T, Error> + Send,
    ) -> Result<T, Error> {
        self.netns.run(|| task(&mut RouteSocket::open()?)).map_err(Error::Namespace)?
    }
}

fn index_of(socket: &mut RouteSocket, name: &str) -> Result<u32, Error> {
    match socket.link(name)? {
        Some(link) => Ok(link.index),
        None => {
            let message = format!("interface {name} vanished while it was set up");
            Err(Error::Option { option: "network namespace", message })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_alias_tells_whose_it_is() {
        let lease = Lease {
            sandbox: "a b".into(),
            address: Ipv4Addr::new(10, 244, 0, 9),
            interface: "onx-9".into(),
        };
        let link =
            |alias: &str| Link { index: 3, name: "onx-9".into(), alias: alias.into(), up: true };
        assert_eq!(Lease::of(&link(&lease.alias())), Some(lease));
        for other in ["", "onggi", "onggi 10.244.0.9", "onggi x s", "docker 1.2.3.4 s"] {
            assert_eq!(Lease::of(&link(other)), None, "{other}");
        }
    }
}
