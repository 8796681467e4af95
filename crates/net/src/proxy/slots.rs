//! How many slots the endpoints of an address fill, and who gets which.
//!
//! A rule can draw below a constant only, so that there is a chain for every number of slots. Up to
//! sixteen endpoints have a slot each: all are drawn equally often, and three endpoints cost three
//! elements. More share a table four times as large or larger: then the shares differ by a quarter at
//! most (an eighth at 17). ClientIP affinity hashes the client's address into such a table, filled by
//! rendezvous hashing: an endpoint that comes or goes moves only its own share of the clients, a
//! restart none, and nothing is remembered for a client. So `timeoutSeconds` has no end: a client
//! stays as long as its endpoint.

use std::borrow::Cow;
use std::net::SocketAddrV4;

/// Up to here each endpoint has one slot.
pub const EXACT: u32 = 16;
/// The numbers of slots for more.
pub const TABLES: [u32; 4] = [128, 512, 2048, 8192];
/// Constant, so that a client keeps its endpoint when we restart.
pub const STICKY_SEED: u32 = 0x6f6e_6767;

/// How a slot is chosen, and of how many.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Slots {
    /// By chance.
    Random(u32),
    /// By the client's address.
    Sticky(u32),
}

impl Slots {
    /// For a number of endpoints, at least one.
    pub fn for_endpoints(count: usize, sticky: bool) -> Self {
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        let largest = TABLES[TABLES.len() - 1];
        let table = TABLES.into_iter().find(|size| *size / 4 >= count).unwrap_or(largest);
        match (count, sticky) {
            (0 | 1, _) => Self::Random(1),
            (_, true) => Self::Sticky(table),
            (..=EXACT, false) => Self::Random(count),
            (_, false) => Self::Random(table),
        }
    }

    /// How many.
    pub fn count(self) -> u32 {
        match self {
            Self::Random(count) | Self::Sticky(count) => count,
        }
    }

    /// Who gets which. `endpoints` sorted; beyond 8,192 the last get none.
    pub fn fill(self, endpoints: &[SocketAddrV4]) -> Vec<SocketAddrV4> {
        let slots = 0..self.count();
        match self {
            Self::Random(_) => slots
                .filter_map(|slot| endpoints.get(slot as usize % endpoints.len().max(1)))
                .copied()
                .collect(),
            Self::Sticky(_) => slots
                .filter_map(|slot| endpoints.iter().max_by_key(|e| score(slot, e)))
                .copied()
                .collect(),
        }
    }

    /// The chain for cluster addresses.
    pub fn address_chain(self) -> String {
        self.chain("vip")
    }

    /// The chain for node ports.
    pub fn port_chain(self) -> String {
        self.chain("port")
    }

    fn chain(self, scope: &str) -> String {
        let kind: Cow<'_, str> = match self {
            Self::Random(_) => "".into(),
            Self::Sticky(_) => "sticky-".into(),
        };
        format!("{scope}-{kind}{}", self.count())
    }
}

/// Mixes a slot and an endpoint (the finalizer of SplitMix64); the endpoint itself breaks ties.
fn score(slot: u32, endpoint: &SocketAddrV4) -> (u64, SocketAddrV4) {
    let endpoint_bits = u64::from(u32::from(*endpoint.ip())) << 16 | u64::from(endpoint.port());
    let mut x = endpoint_bits ^ u64::from(slot).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (x ^ (x >> 31), *endpoint)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;
    use std::net::Ipv4Addr;

    fn endpoints(count: u16) -> Vec<SocketAddrV4> {
        (1..=count)
            .map(|n| SocketAddrV4::new(Ipv4Addr::from(0x0af4_0000 + u32::from(n)), 80))
            .collect()
    }

    #[test]
    fn classes() {
        let cases = [
            (1, false, Slots::Random(1)),
            (3, false, Slots::Random(3)),
            (16, false, Slots::Random(16)),
            (17, false, Slots::Random(128)),
            (32, false, Slots::Random(128)),
            (33, false, Slots::Random(512)),
            (100_000, false, Slots::Random(8192)),
            (1, true, Slots::Random(1)),
            (2, true, Slots::Sticky(128)),
        ];
        for (count, sticky, expected) in cases {
            assert_eq!(Slots::for_endpoints(count, sticky), expected, "{count} {sticky}");
        }
    }

    #[test]
    fn shares_are_even() {
        for count in [1, 2, 3, 16, 17, 31, 32, 33, 100, 500] {
            let endpoints = endpoints(count);
            let slots = Slots::for_endpoints(endpoints.len(), false);
            let filled = slots.fill(&endpoints);
            assert_eq!(filled.len(), slots.count() as usize);
            let mut shares = HashMap::<_, u32>::new();
            filled.iter().for_each(|endpoint| *shares.entry(endpoint).or_default() += 1);
            assert_eq!(shares.len(), endpoints.len());
            let (least, most) = (shares.values().min().unwrap(), shares.values().max().unwrap());
            assert!(*most * 4 <= *least * 5, "{count}: {least} to {most}");
        }
    }

    #[test]
    fn a_gone_endpoint_moves_only_its_clients() {
        let all = endpoints(8);
        let before = Slots::Sticky(128).fill(&all);
        let after = Slots::Sticky(128).fill(&all[1..]);
        for (before, after) in before.iter().zip(&after) {
            assert!(before == after || *before == all[0]);
        }
    }
}
