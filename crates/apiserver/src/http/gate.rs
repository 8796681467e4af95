//! How many connections are taken: whoever opens many and says nothing keeps nobody else out.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use parking_lot::Mutex;

/// Connections of an address.
const OPEN: usize = 2048;
/// Connections of an address that have not shaken hands yet.
const HALF_OPEN: usize = 128;
/// The same of all addresses.
const ALL_HALF_OPEN: usize = 1024;

#[derive(Default, Clone, Copy)]
struct Counts {
    open: usize,
    half_open: usize,
}

#[derive(Default)]
struct State {
    addresses: HashMap<IpAddr, Counts>,
    half_open: usize,
}

/// See the module.
#[derive(Default, Clone)]
pub(super) struct Gate(Arc<Mutex<State>>);

/// A connection that was let in; it counts until this goes.
pub(super) struct Ticket {
    gate: Gate,
    address: IpAddr,
    half_open: bool,
}

impl Gate {
    /// A connection that has not shaken hands; `None`: there are too many.
    pub(super) fn enter(&self, address: IpAddr) -> Option<Ticket> {
        let mut state = self.0.lock();
        let counts = state.addresses.get(&address).copied().unwrap_or_default();
        if counts.open >= OPEN || counts.half_open >= HALF_OPEN || state.half_open >= ALL_HALF_OPEN
        {
            return None;
        }
        let counts = Counts { open: counts.open + 1, half_open: counts.half_open + 1 };
        state.addresses.insert(address, counts);
        state.half_open += 1;
        drop(state);
        Some(Ticket { gate: self.clone(), address, half_open: true })
    }
}

impl Ticket {
    /// It has shaken hands.
    pub(super) fn settle(&mut self) {
        if std::mem::take(&mut self.half_open) {
            let mut state = self.gate.0.lock();
            state.half_open -= 1;
            if let Some(counts) = state.addresses.get_mut(&self.address) {
                counts.half_open -= 1;
            }
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

    #[test]
    fn no_address_keeps_others_out() {
        let gate = Gate::default();
        let address = |last: u8| IpAddr::V4(Ipv4Addr::new(10, 0, 0, last));
        let mut held: Vec<Ticket> =
            (0..HALF_OPEN).map(|_| gate.enter(address(1)).unwrap()).collect();
        assert!(gate.enter(address(1)).is_none());
        assert!(gate.enter(address(2)).is_some());
        held[0].settle();
        held.extend(gate.enter(address(1)));
        assert_eq!(held.len(), HALF_OPEN + 1);
        while held.len() < OPEN {
            held.last_mut().unwrap().settle();
            held.iter_mut().for_each(Ticket::settle);
            held.push(gate.enter(address(1)).unwrap());
        }
        held.iter_mut().for_each(Ticket::settle);
        assert!(gate.enter(address(1)).is_none());
        held.clear();
        assert!(gate.0.lock().addresses.is_empty());
        let many: Vec<Ticket> = (0..=255)
            .flat_map(|last| (0..8).map(move |_| last))
            .filter_map(|last| gate.enter(address(last)))
            .collect();
        assert_eq!(many.len(), ALL_HALF_OPEN);
    }
}
