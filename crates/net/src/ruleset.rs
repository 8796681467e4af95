//! What stands in the nftables table whatever Services there are.
//!
//! ```text
//! services   vip . proto . port         -> goto vip-<n>     how many slots its endpoints fill
//! node-ports proto . port               -> goto port-<n>
//! endpoints  vip . proto . port . slot  -> ip . port        one map for all (vip 0.0.0.0: node port)
//! hairpin    ip . ip                                         a set of this node's pods
//! ```
//! New connections go prerouting/output → `dispatch` → one chain for the number of slots, which draws
//! a slot, looks it up and translates. Chains stand for numbers, never for Services: 1 to 16 exactly,
//! then powers (see `proxy::slots`), each for addresses and node ports, and `sticky` ones that hash
//! the client's address instead of drawing.
//!
//! Client addresses are kept wherever the answer comes back through this node anyway. They are
//! replaced (by masquerading) only for pods talking to the world, for a pod that reached itself, and
//! for connections from outside that a node port sends to another node.

use std::net::Ipv4Addr;

use onggi_sys::netlink::route::LOOPBACK;
use onggi_sys::nft::{Batch, Element, Hook, Maps, Reg, Rule, Set, Verdict};

use crate::proxy::slots::{EXACT, STICKY_SEED, Slots, TABLES};
use crate::{Cidr, Instance};

pub(crate) const SERVICES: &str = "services";
pub(crate) const NODE_PORTS: &str = "node-ports";
pub(crate) const ENDPOINTS: &str = "endpoints";
pub(crate) const HAIRPIN: &str = "hairpin";

/// Packets that came to a node port; the bit that kube-proxy takes.
const NODE_PORT_MARK: u32 = 0x4000;
// Types as `nft` numbers them.
const ADDRESS: u32 = 7;
const PROTOCOL: u32 = 12;
const PORT: u32 = 13;
const MARK: u32 = 19;
const TCP: u8 = 6;

/// What the rules need to know.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ranges {
    pub(crate) pods: Cidr,
    pub(crate) services: Cidr,
    pub(crate) node: Cidr,
    pub(crate) node_address: Ipv4Addr,
}

/// The table, and the name of a chain that exists only in exactly this version of it.
pub(crate) fn base(instance: &Instance, ranges: &Ranges) -> (Batch, String) {
    let mut batch = Batch::new(&instance.table());
    // Created first, so that the deletion finds one; all three are one transaction.
    batch.add_table().delete_table().add_table();
    sets(&mut batch);
    dispatch(&mut batch);
    translate(&mut batch);
    postrouting(&mut batch, ranges);
    reject(&mut batch, ranges);
    let layout = format!("layout-{:016x}", fnv(batch.bytes()));
    batch.add_chain(&layout);
    (batch, layout)
}

/// An element of [`HAIRPIN`].
pub(crate) fn hairpin(pod: Ipv4Addr) -> Element {
    Element { key: [pod.octets(), pod.octets()].concat(), data: None }
}

fn sets(batch: &mut Batch) {
    batch
        .add_set(Set { name: SERVICES, key: &[ADDRESS, PROTOCOL, PORT], maps_to: Maps::Verdicts })
        .add_set(Set { name: NODE_PORTS, key: &[PROTOCOL, PORT], maps_to: Maps::Verdicts })
        .add_set(Set {
            name: ENDPOINTS,
            key: &[ADDRESS, PROTOCOL, PORT, MARK],
            maps_to: Maps::Values(&[ADDRESS, PORT]),
        })
        .add_set(Set { name: HAIRPIN, key: &[ADDRESS, ADDRESS], maps_to: Maps::Nothing });
}

fn dispatch(batch: &mut Batch) {
    batch
        .add_chain("dispatch")
        .add_rule(
            "dispatch",
            Rule::new()
                .load_destination(Reg(0))
                .load_protocol(Reg(1))
                .load_destination_port(Reg(2))
                .verdict_from_map(SERVICES, Reg(0)),
        )
        .add_rule(
            "dispatch",
            Rule::new()
                .destination_is_local(Reg(0))
                // 127.0.0.1 has a listener: translated, it could not come back.
                .load_destination(Reg(0))
                .outside(Reg(0), Ipv4Addr::new(127, 0, 0, 0), 8)
                .load_protocol(Reg(0))
                .load_destination_port(Reg(1))
                .verdict_from_map(NODE_PORTS, Reg(0)),
        );
    for (chain, hook) in [("nat-prerouting", Hook::Prerouting), ("nat-output", Hook::Output)] {
        batch.add_base_chain(chain, "nat", hook, -100);
        batch.add_rule(chain, Rule::new().verdict(Verdict::Jump("dispatch".into())));
    }
}

fn translate(batch: &mut Batch) {
    let exact = (1..=EXACT).map(Slots::Random);
    let random = TABLES.into_iter().map(Slots::Random);
    let sticky = TABLES.into_iter().map(Slots::Sticky);
    for slots in exact.chain(random).chain(sticky) {
        let draw = |rule: Rule| match slots {
            Slots::Random(count) => rule.load_random(Reg(3), count),
            Slots::Sticky(count) => {
                rule.load_source(Reg(3)).load_hash(Reg(3), Reg(3), count, STICKY_SEED)
            }
        };
        let send = |rule: Rule| {
            draw(rule.load_protocol(Reg(1)).load_destination_port(Reg(2)))
                .load_from_map(ENDPOINTS, Reg(0), Reg(0))
                .translate_destination(Reg(0), Reg(1))
        };
        let chain = slots.address_chain();
        batch.add_chain(&chain).add_rule(&chain, send(Rule::new().load_destination(Reg(0))));
        let chain = slots.port_chain();
        batch
            .add_chain(&chain)
            .add_rule(&chain, Rule::new().set_mark(Reg(0), NODE_PORT_MARK))
            .add_rule(&chain, send(Rule::new().load_value(Reg(0), [0; 4])));
    }
}

fn postrouting(batch: &mut Batch, ranges: &Ranges) {
    let chain = "nat-postrouting";
    let inside = |rule: Rule, cidr: Cidr| rule.within(Reg(0), cidr.network(), cidr.prefix());
    let outside = |rule: Rule, cidr: Cidr| rule.outside(Reg(0), cidr.network(), cidr.prefix());
    let world = inside(Rule::new().load_source(Reg(0)), ranges.pods);
    let world = outside(world.load_destination(Reg(0)), ranges.pods);
    let world = outside(world.load_destination(Reg(0)), ranges.services);
    let elsewhere = Rule::new().has_mark(Reg(0), NODE_PORT_MARK).load_source(Reg(0));
    let elsewhere = outside(elsewhere, ranges.pods).load_destination(Reg(0));
    let elsewhere = outside(elsewhere, ranges.node);
    batch
        .add_base_chain(chain, "nat", Hook::Postrouting, 100)
        .add_rule(
            chain,
            Rule::new()
                .destination_was_translated(Reg(0))
                .load_source(Reg(0))
                .load_destination(Reg(1))
                .in_set(HAIRPIN, Reg(0))
                .load_value(Reg(0), ranges.node_address.octets())
                .translate_source(Reg(0)),
        )
        .add_rule(chain, world.not_out_through(Reg(0), LOOPBACK).masquerade())
        .add_rule(chain, elsewhere.not_out_through(Reg(0), LOOPBACK).masquerade());
}

/// What is still for a service address after translation has no endpoint or is unknown: refused at
/// once, instead of leaving the node by some other route.
fn reject(batch: &mut Batch, ranges: &Ranges) {
    let services = ranges.services;
    let chain = "no-endpoint";
    batch
        .add_chain(chain)
        .add_rule(chain, Rule::new().destination_is_local(Reg(0)).verdict(Verdict::Return))
        .add_rule(
            chain,
            Rule::new().load_protocol(Reg(0)).equals(Reg(0), &[TCP]).reject_with_reset(),
        )
        .add_rule(chain, Rule::new().reject_with_unreachable());
    for (base, hook) in [("filter-forward", Hook::Forward), ("filter-output", Hook::Output)] {
        batch.add_base_chain(base, "filter", hook, 0).add_rule(
            base,
            Rule::new()
                .load_destination(Reg(0))
                .within(Reg(0), services.network(), services.prefix())
                .verdict(Verdict::Jump(chain.into())),
        );
    }
}

fn fnv(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_layout_names_its_version() {
        let instance = Instance::new("a").unwrap();
        let ranges = |node: &str| {
            let node: Cidr = node.parse().unwrap();
            Ranges {
                pods: "10.244.0.0/16".parse().unwrap(),
                services: "10.96.0.0/16".parse().unwrap(),
                node,
                node_address: node.nth(1).unwrap(),
            }
        };
        let (_, one) = base(&instance, &ranges("10.244.0.0/22"));
        let (_, same) = base(&instance, &ranges("10.244.0.0/22"));
        let (_, other) = base(&instance, &ranges("10.244.4.0/22"));
        assert_eq!(one, same);
        assert_ne!(one, other);
    }
}
