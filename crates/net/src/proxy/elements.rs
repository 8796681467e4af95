//! Plans as elements of the kernel's maps, and what differs between two of them.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use onggi_sys::netlink::conntrack::Flows;
use onggi_sys::nft::{Batch, Data, Element, Verdict};

use super::model::Protocol;
use super::plan::{Backends, Frontend};
use crate::ruleset::{ENDPOINTS, NODE_PORTS, SERVICES};

/// The maps that the proxy fills, in the order in which elements are added.
pub(super) const SETS: [&str; 3] = [ENDPOINTS, SERVICES, NODE_PORTS];

/// Elements by set and key.
pub(super) type Elements = BTreeMap<(&'static str, Vec<u8>), Option<Data>>;

/// What is to be changed.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Change {
    pub(super) delete: BTreeMap<&'static str, Vec<Element>>,
    pub(super) add: BTreeMap<&'static str, Vec<Element>>,
    /// Flows that must be translated anew.
    pub(super) forget: BTreeSet<Flows>,
}

/// The elements of a frontend.
pub(super) fn elements(frontend: &Frontend, backends: &Backends, into: &mut Elements) {
    // Has a listener: translated, it could not come back.
    if frontend.address.is_some_and(|address| address.is_loopback()) {
        return;
    }
    let target = endpoint_key(frontend);
    let (set, key, chain) = match frontend.address {
        Some(_) => (SERVICES, target.clone(), backends.slots.address_chain()),
        None => (NODE_PORTS, target[4..].to_vec(), backends.slots.port_chain()),
    };
    into.insert((set, key), Some(Data::Verdict(Verdict::Goto(Cow::Owned(chain)))));
    for (slot, endpoint) in (0_u32..).zip(backends.slots.fill(&backends.endpoints)) {
        let key = [target.as_slice(), &slot.to_ne_bytes()].concat();
        let [high, low] = endpoint.port().to_be_bytes();
        let value = [&endpoint.ip().octets()[..], &[high, low, 0, 0]].concat();
        into.insert((ENDPOINTS, key), Some(Data::Value(value)));
    }
}

/// Address, protocol, port, each in four bytes.
fn endpoint_key(frontend: &Frontend) -> Vec<u8> {
    let address = frontend.address.unwrap_or(Ipv4Addr::UNSPECIFIED).octets();
    let [high, low] = frontend.port.to_be_bytes();
    [&address[..], &[frontend.protocol.number(), 0, 0, 0, high, low, 0, 0]].concat()
}

/// What an element is, in words, for errors.
pub(super) fn describe(key: &[u8]) -> String {
    let (address, rest) = match key {
        [protocol, 0, 0, 0, _, _, 0, 0] if *protocol != 0 => (None, key),
        [a, b, c, d, rest @ ..] => (Some(Ipv4Addr::new(*a, *b, *c, *d)), rest),
        _ => (None, key),
    };
    let [protocol, 0, 0, 0, high, low, 0, 0, slot @ ..] = rest else {
        return format!("element {key:?}");
    };
    let protocol = match protocol {
        6 => "TCP",
        17 => "UDP",
        132 => "SCTP",
        _ => "?",
    };
    let port = u16::from_be_bytes([*high, *low]);
    let slot = <[u8; 4]>::try_from(slot)
        .map(|slot| format!(", slot {}", u32::from_ne_bytes(slot)))
        .unwrap_or_default();
    match address {
        Some(address) => format!("service {address}:{port}/{protocol}{slot}"),
        None => format!("node port {port}/{protocol}{slot}"),
    }
}

impl Change {
    /// Adds what leads from some elements to others.
    pub(super) fn elements(&mut self, old: &Elements, new: &Elements) {
        for ((set, key), data) in old {
            if new.get(&(*set, key.clone())) != Some(data) {
                let element = Element { key: key.clone(), data: None };
                self.delete.entry(set).or_default().push(element);
            }
        }
        for ((set, key), data) in new {
            if old.get(&(*set, key.clone())) != Some(data) {
                let element = Element { key: key.clone(), data: data.clone() };
                self.add.entry(set).or_default().push(element);
            }
        }
    }

    /// Notes which UDP flows go to endpoints that are gone, or went untranslated while there was
    /// none. UDP has no end of a connection: a client that keeps its port would go there for ever.
    pub(super) fn flows(
        &mut self,
        frontend: &Frontend,
        old: Option<&Backends>,
        new: Option<&Backends>,
    ) {
        if frontend.protocol != Protocol::Udp {
            return;
        }
        let flows = |answered_by| Flows {
            protocol: Some(frontend.protocol.number()),
            source: None,
            destination: frontend.address,
            destination_port: Some(frontend.port),
            answered_by,
        };
        match (old, new) {
            (None, Some(_)) => self.forget.extend([flows(None)]),
            (Some(old), _) => {
                let kept = new.map(|new| new.endpoints.as_slice()).unwrap_or_default();
                let gone = old.endpoints.iter().filter(|endpoint| !kept.contains(endpoint));
                self.forget.extend(gone.map(|endpoint| flows(Some(*endpoint.ip()))));
            }
            (None, None) => {}
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.delete.is_empty() && self.add.is_empty()
    }

    /// As a batch; all in one transaction.
    pub(super) fn batch(&self, table: &str) -> Batch {
        let mut batch = Batch::new(table);
        for set in SETS.iter().rev() {
            if let Some(elements) = self.delete.get(set) {
                batch.delete_elements(set, elements);
            }
        }
        for set in SETS {
            if let Some(elements) = self.add.get(set) {
                batch.add_elements(set, elements);
            }
        }
        batch
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proxy::slots::Slots;

    fn backends(ports: &[u16]) -> Backends {
        let address = Ipv4Addr::new(10, 244, 0, 2);
        Backends {
            slots: Slots::for_endpoints(ports.len(), false),
            endpoints: ports.iter().map(|p| std::net::SocketAddrV4::new(address, *p)).collect(),
        }
    }

    fn frontend(protocol: Protocol) -> Frontend {
        Frontend { address: Some(Ipv4Addr::new(10, 96, 0, 7)), protocol, port: 80 }
    }

    #[test]
    fn only_what_differs_changes() {
        let (mut old, mut new) = (Elements::new(), Elements::new());
        elements(&frontend(Protocol::Tcp), &backends(&[1, 2]), &mut old);
        elements(&frontend(Protocol::Tcp), &backends(&[1, 2, 3]), &mut new);
        let mut change = Change::default();
        change.elements(&old, &new);
        let shown = |map: &BTreeMap<&'static str, Vec<Element>>| -> Vec<String> {
            map.values().flatten().map(|element| describe(&element.key)).collect()
        };
        // The chain for two becomes that for three; the third slot is new.
        assert_eq!(shown(&change.delete), ["service 10.96.0.7:80/TCP"]);
        assert_eq!(
            shown(&change.add),
            ["service 10.96.0.7:80/TCP, slot 2", "service 10.96.0.7:80/TCP"]
        );
        let mut none = Change::default();
        none.elements(&new, &new);
        assert!(none.is_empty());
    }

    #[test]
    fn udp_flows_to_gone_endpoints_are_forgotten() {
        let mut change = Change::default();
        change.flows(&frontend(Protocol::Tcp), Some(&backends(&[1])), None);
        assert!(change.forget.is_empty());
        change.flows(&frontend(Protocol::Udp), Some(&backends(&[1])), None);
        change.flows(&frontend(Protocol::Udp), None, Some(&backends(&[1])));
        assert_eq!(change.forget.len(), 2);
    }

    #[test]
    fn keys_in_words() {
        let mut all = Elements::new();
        let port = Frontend { address: None, protocol: Protocol::Udp, port: 30053 };
        elements(&port, &backends(&[53]), &mut all);
        let words: Vec<_> = all.keys().map(|(_, key)| describe(key)).collect();
        assert_eq!(words, ["service 0.0.0.0:30053/UDP, slot 0", "node port 30053/UDP"]);
        assert_eq!(describe(&[1]), "element [1]");
    }
}
