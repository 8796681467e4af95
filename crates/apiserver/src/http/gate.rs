//! How many connections are kept: whoever opens many and says nothing keeps nobody else out.
//!
//! Of connections that have not shaken hands the oldest gives way to a new one: whoever means it is
//! done within a moment.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

/// Connections of an address; many may stand behind one.
const OPEN: usize = 8192;
/// Connections of an address that have not shaken hands yet.
const HALF_OPEN: usize = 1024;
/// The same of all addresses.
const ALL_HALF_OPEN: usize = 4096;

#[derive(Default)]
struct Counts {
    open: usize,
    /// Numbers of those that have not shaken hands.
    half_open: BTreeSet<u64>,
}

#[derive(Default)]
struct State {
    addresses: HashMap<IpAddr, Counts>,
    /// By their numbers, the oldest first.
    half_open: BTreeMap<u64, (IpAddr, CancellationToken)>,
    next: u64,
}

/// See the module.
#[derive(Default, Clone)]
pub(super) struct Gate(Arc<Mutex<State>>);

/// A connection that was let in; it counts until this goes.
pub(super) struct Ticket {
    gate: Gate,
    address: IpAddr,
    /// While it has not shaken hands.
    number: Option<u64>,
    cut: CancellationToken,
}

impl Gate {
    /// A connection that has not shaken hands; `None`: the address has too many that have.
    pub(super) fn enter(&self, address: IpAddr) -> Option<Ticket> {
        let mut state = self.0.lock();
        let counts = state.addresses.entry(address).or_default();
        if counts.open >= OPEN {
            return None;
        }
        let oldest = counts.half_open.first().copied();
        if let Some(oldest) = oldest.filter(|_| counts.half_open.len() >= HALF_OPEN) {
            state.give_way(oldest);
        } else if state.half_open.len() >= ALL_HALF_OPEN
            && let Some(oldest) = state.half_open.keys().next().copied()
        {
            state.give_way(oldest);
        }
        let number = state.next;
        let counts = state.addresses.entry(address).or_default();
        counts.open += 1;
        counts.half_open.insert(number);
        state.next += 1;
        let cut = CancellationToken::new();
        state.half_open.insert(number, (address, cut.clone()));
        drop(state);
        Some(Ticket { gate: self.clone(), address, number: Some(number), cut })
    }
}

impl State {
    fn give_way(&mut self, number: u64) {
        if let Some(cut) = self.settle(number) {
            cut.cancel();
        }
    }

    /// No longer half open; `None` where it was not.
    fn settle(&mut self, number: u64) -> Option<CancellationToken> {
        let (address, cut) = self.half_open.remove(&number)?;
        if let Some(counts) = self.addresses.get_mut(&address) {
            counts.half_open.remove(&number);
        }
        Some(cut)
    }
}

impl Ticket {
    /// When it has to give way, which it need not once it has shaken hands.
    pub(super) fn cut(&self) -> CancellationToken {
        self.cut.clone()
    }

    /// It has shaken hands.
    pub(super) fn settle(&mut self) {
        if let Some(number) = self.number.take() {
            self.gate.0.lock().settle(number);
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.settle();
        let mut state = self.gate.0.lock();
        if let Some(counts) = state.addresses.get_mut(&self.address) {
            counts.open -= 1;
            if counts.open == 0 {
                state.addresses.remove(&self.address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    fn address(last: usize) -> IpAddr {
        IpAddr::V4(Ipv4Addr::from(0x0a00_0000 + last as u32))
    }

    fn cut(held: &[Ticket]) -> Vec<usize> {
        let all = held.iter().enumerate();
        all.filter(|(_, ticket)| ticket.cut.is_cancelled()).map(|(at, _)| at).collect()
    }

    #[test]
    fn the_oldest_that_says_nothing_gives_way() {
        let gate = Gate::default();
        let mut held: Vec<_> = (0..HALF_OPEN).map(|_| gate.enter(address(1)).unwrap()).collect();
        held[0].settle();
        held.push(gate.enter(address(1)).unwrap());
        assert!(cut(&held).is_empty());
        held.push(gate.enter(address(1)).unwrap());
        assert_eq!(cut(&held), [1]);
        drop(held);
        assert!(gate.0.lock().addresses.is_empty() && gate.0.lock().half_open.is_empty());
    }

    #[test]
    fn many_addresses_keep_nobody_out() {
        let gate = Gate::default();
        let enter = |at| gate.enter(address(at)).unwrap();
        let held: Vec<_> = (0..ALL_HALF_OPEN + 3).map(enter).collect();
        assert_eq!(cut(&held), [0, 1, 2]);
        assert_eq!(gate.0.lock().half_open.len(), ALL_HALF_OPEN);
    }

    #[test]
    fn an_address_has_its_share() {
        let gate = Gate::default();
        let mut held = Vec::new();
        while held.len() < OPEN {
            let mut ticket = gate.enter(address(1)).unwrap();
            ticket.settle();
            held.push(ticket);
        }
        assert!(gate.enter(address(1)).is_none());
        assert!(gate.enter(address(2)).is_some());
        held.pop();
        assert!(gate.enter(address(1)).is_some());
    }
}
