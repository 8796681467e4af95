//! Who may go on and who waits: the pure core. It has no clock and no task; it is told of arrivals
//! and ends, and says whose turn it is.
//!
//! A level has a share of the server's seats. Of its share it lends what it does not use, up to a
//! part that it keeps for itself, and it may borrow what others lend. Kubernetes moves these
//! limits every ten seconds; here they are looked at whenever somebody comes or goes, so lent
//! seats come back as soon as a request ends.
//!
//! Within a level each flow is dealt a few of its queues and waits in the shortest (shuffle
//! sharding), and queues are served by start-time fair queuing: a flow that fills its queues finds
//! others before it that have waited less for seats.

use std::collections::{BTreeMap, VecDeque};

/// What waits.
pub(super) type Ticket = u64;

/// How much a level may have, and what is done with who comes too many.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Limits {
    /// Its share of the seats.
    pub(super) nominal: u32,
    /// What it keeps although it does not use it.
    pub(super) least: u32,
    /// What it may have with all that it can borrow.
    pub(super) most: u32,
    /// `None`: who comes too many is refused at once.
    pub(super) queuing: Option<Queuing>,
}

/// The queues of a level.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Queuing {
    pub(super) queues: u32,
    /// How many of them a flow may use.
    pub(super) hand: u32,
    /// How many may wait in one.
    pub(super) length: u32,
}

/// What is done with an arrival.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Arrival {
    /// It has its seats.
    Go,
    /// It waits until its ticket is called.
    Wait(Ticket),
    /// All its queues are full.
    Refused,
}

struct Waiting {
    ticket: Ticket,
    seats: u32,
    /// The virtual time at which its service begins.
    start: u64,
}

#[derive(Default)]
struct Queue {
    waiting: VecDeque<Waiting>,
    /// The virtual time at which the service of its last request ends.
    finish: u64,
}

struct Level {
    limits: Limits,
    seats: u32,
    executing: u32,
    waiting: u32,
    queues: Vec<Queue>,
    /// How far the service has come: the start of the request called last.
    now: u64,
}

/// All levels that have limits.
pub(super) struct Queues {
    total: u32,
    levels: BTreeMap<usize, Level>,
    next: Ticket,
    /// The level at which the search for the next to be called begins, so that none is always last.
    turn: usize,
}

impl Level {
    fn new(limits: Limits) -> Self {
        let queues = limits.queuing.map_or(0, |queuing| queuing.queues);
        let queues = (0..queues).map(|_| Queue::default()).collect();
        Self { limits, seats: 0, executing: 0, waiting: 0, queues, now: 0 }
    }

    /// Seats that no other level can have.
    fn held(&self) -> u32 {
        self.seats.max(self.limits.least)
    }

    /// The queue whose head has waited for the fewest seats.
    fn next_queue(&self) -> Option<usize> {
        let heads = self.queues.iter().enumerate();
        let heads = heads.filter_map(|(at, queue)| Some((queue.waiting.front()?.start, at)));
        heads.min().map(|(_, at)| at)
    }
}

impl Queues {
    pub(super) fn new(total: u32) -> Self {
        Self { total, levels: BTreeMap::new(), next: 0, turn: 0 }
    }

    /// Sets the limits of a level, old or new. Who waits goes on waiting, unless the queues are
    /// others than before: then it is told to come again, and its tickets are given back.
    pub(super) fn configure(&mut self, level: usize, limits: Limits) -> Vec<Ticket> {
        let known = self.levels.entry(level).or_insert_with(|| Level::new(limits));
        let queues = |limits: &Limits| limits.queuing.map(|queuing| queuing.queues);
        let mut orphans = Vec::new();
        if queues(&known.limits) != queues(&limits) {
            orphans.extend(known.queues.iter().flat_map(|q| q.waiting.iter().map(|w| w.ticket)));
            let (seats, executing) = (known.seats, known.executing);
            *known = Level { seats, executing, ..Level::new(limits) };
        }
        known.limits = limits;
        orphans
    }

    /// Takes away the share of a level that is no more; what runs in it ends by itself.
    pub(super) fn retire(&mut self, level: usize) -> Vec<Ticket> {
        self.configure(level, Limits { nominal: 0, least: 0, most: 0, queuing: None })
    }

    /// Somebody wants seats. `flow` is a hash of what makes the flow.
    pub(super) fn arrive(&mut self, level: usize, flow: u64, seats: u32) -> Arrival {
        let Some(found) = self.levels.get(&level) else { return Arrival::Refused };
        // Nobody may want more than there is ever to have.
        let seats = seats.clamp(1, found.limits.most.max(1));
        if found.waiting == 0 && self.fits(level, seats) {
            self.take(level, seats);
            return Arrival::Go;
        }
        let Some(found) = self.levels.get_mut(&level) else { return Arrival::Refused };
        let Some(queuing) = found.limits.queuing else { return Arrival::Refused };
        let hand = deal(flow, queuing);
        let shortest = hand.into_iter().min_by_key(|at| found.queues[*at].waiting.len());
        let Some(queue) = shortest.and_then(|at| found.queues.get_mut(at)) else {
            return Arrival::Refused;
        };
        if queue.waiting.len() >= queuing.length as usize {
            return Arrival::Refused;
        }
        self.next += 1;
        let start = queue.finish.max(found.now);
        queue.finish = start + u64::from(seats);
        queue.waiting.push_back(Waiting { ticket: self.next, seats, start });
        found.waiting += 1;
        Arrival::Wait(self.next)
    }

    /// Somebody is done; says who may go on now.
    pub(super) fn leave(&mut self, level: usize, seats: u32) -> Vec<Ticket> {
        if let Some(found) = self.levels.get_mut(&level) {
            found.seats = found.seats.saturating_sub(seats);
            found.executing = found.executing.saturating_sub(1);
        }
        self.call()
    }

    /// Somebody waits no longer; `None` when it has been called already and has its seats.
    pub(super) fn give_up(&mut self, level: usize, ticket: Ticket) -> Option<Vec<Ticket>> {
        let found = self.levels.get_mut(&level)?;
        let (queue, at) = found.queues.iter_mut().find_map(|queue| {
            let at = queue.waiting.iter().position(|waiting| waiting.ticket == ticket)?;
            Some((queue, at))
        })?;
        let gone = queue.waiting.remove(at)?;
        // Those behind it come earlier.
        for later in queue.waiting.iter_mut().skip(at) {
            later.start = later.start.saturating_sub(u64::from(gone.seats)).max(found.now);
        }
        queue.finish = queue.finish.saturating_sub(u64::from(gone.seats)).max(found.now);
        found.waiting -= 1;
        Some(self.call())
    }

    /// The seats that a request of this size gets in a level.
    pub(super) fn width(&self, level: usize, seats: u32) -> u32 {
        self.levels.get(&level).map_or(1, |found| seats.clamp(1, found.limits.most.max(1)))
    }

    /// Waiting, executing and seats of a level.
    pub(super) fn counts(&self, level: usize) -> (u32, u32, u32) {
        self.levels.get(&level).map_or((0, 0, 0), |l| (l.waiting, l.executing, l.seats))
    }

    /// Whether a level may have so many seats more. What others keep for themselves, or sit on, is
    /// not there for it; one request of an idle level always fits, however small its share.
    fn fits(&self, level: usize, seats: u32) -> bool {
        let Some(found) = self.levels.get(&level) else { return false };
        if found.seats == 0 {
            return true;
        }
        let after = found.seats + seats;
        if after > found.limits.most {
            return false;
        }
        let held: u32 = self.levels.values().map(Level::held).sum();
        let more = after.max(found.limits.least) - found.held();
        more == 0 || held.saturating_add(more) <= self.total
    }

    fn take(&mut self, level: usize, seats: u32) {
        if let Some(found) = self.levels.get_mut(&level) {
            found.seats += seats;
            found.executing += 1;
        }
    }

    /// Gives seats to whoever waits and can have them.
    fn call(&mut self) -> Vec<Ticket> {
        let mut called = Vec::new();
        let waiting: Vec<usize> = {
            let levels = self.levels.iter().filter(|(_, level)| level.waiting > 0);
            levels.map(|(id, _)| *id).collect()
        };
        if waiting.is_empty() {
            return called;
        }
        self.turn = self.turn.wrapping_add(1);
        for step in 0..waiting.len() {
            let id = waiting[(self.turn + step) % waiting.len()];
            while let Some((at, seats)) = self.head(id) {
                if !self.fits(id, seats) {
                    break;
                }
                let Some(level) = self.levels.get_mut(&id) else { break };
                let Some(next) = level.queues[at].waiting.pop_front() else { break };
                level.waiting -= 1;
                level.now = next.start;
                called.push(next.ticket);
                self.take(id, seats);
            }
        }
        called
    }

    fn head(&self, level: usize) -> Option<(usize, u32)> {
        let found = self.levels.get(&level)?;
        let at = found.next_queue()?;
        Some((at, found.queues[at].waiting.front()?.seats))
    }
}

/// The queues that a flow may use: as many different ones as a hand has, picked by its hash as
/// cards are dealt.
fn deal(flow: u64, queuing: Queuing) -> Vec<usize> {
    let (mut left, hand) = (flow, queuing.hand.min(queuing.queues));
    let mut taken: Vec<u64> = Vec::with_capacity(hand as usize);
    for round in 0..u64::from(hand) {
        let deck = u64::from(queuing.queues) - round;
        let mut card = left % deck;
        left /= deck;
        // Positions count only the cards that are still in the deck.
        let mut sorted = taken.clone();
        sorted.sort_unstable();
        for gone in sorted {
            if gone <= card {
                card += 1;
            }
        }
        taken.push(card);
    }
    taken.into_iter().map(|card| card as usize).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUEUING: Queuing = Queuing { queues: 8, hand: 2, length: 3 };

    fn limits(nominal: u32, least: u32, most: u32) -> Limits {
        Limits { nominal, least, most, queuing: Some(QUEUING) }
    }

    #[test]
    fn hands_have_different_cards() {
        let queuing = Queuing { queues: 64, hand: 6, length: 1 };
        let mut seen = std::collections::HashSet::new();
        for flow in 0..200_u64 {
            let hash = flow.wrapping_mul(0x9e37_79b9_7f4a_7c15);
            let mut hand = deal(hash, queuing);
            hand.sort_unstable();
            hand.dedup();
            assert_eq!(hand.len(), 6);
            assert!(hand.iter().all(|card| *card < 64));
            seen.insert(hand);
        }
        assert!(seen.len() > 190, "flows share their hands: {}", seen.len());
        assert_eq!(deal(u64::MAX, Queuing { queues: 1, hand: 6, length: 1 }), [0]);
    }

    #[test]
    fn a_noisy_flow_does_not_keep_a_quiet_one_waiting() {
        let mut queues = Queues::new(2);
        queues.configure(0, limits(2, 2, 2));
        let noisy = 1;
        assert_eq!(queues.arrive(0, noisy, 1), Arrival::Go);
        assert_eq!(queues.arrive(0, noisy, 1), Arrival::Go);
        let mut waiting = 0;
        while let Arrival::Wait(_) = queues.arrive(0, noisy, 1) {
            waiting += 1;
        }
        // Its two queues are full.
        assert_eq!(waiting, 6);
        // Another flow, whose queues are others, is served after at most one from each of those.
        let quiet =
            (0..64).find(|f| deal(*f, QUEUING).iter().all(|q| !deal(noisy, QUEUING).contains(q)));
        let Arrival::Wait(ticket) = queues.arrive(0, quiet.unwrap(), 1) else { panic!() };
        let mut before = 0;
        while !queues.leave(0, 1).contains(&ticket) {
            before += 1;
        }
        assert!(before <= 2, "{before} went before");
    }

    #[test]
    fn seats_are_lent_and_come_back() {
        let mut queues = Queues::new(10);
        // Keeps 2 of 5, may have all that others lend.
        queues.configure(0, limits(5, 2, 10));
        queues.configure(1, limits(5, 4, 5));
        let mut got = 0;
        while queues.arrive(0, 0, 1) == Arrival::Go {
            got += 1;
        }
        assert_eq!(got, 6, "5 and the one that the other lends");
        // What the other keeps is there at once, what it has lent is not.
        for _ in 0..4 {
            assert_eq!(queues.arrive(1, 0, 1), Arrival::Go);
        }
        let Arrival::Wait(ticket) = queues.arrive(1, 0, 1) else { panic!() };
        // The next seat goes to one of those who wait; in the end to both levels.
        let mut called = Vec::new();
        for _ in 0..3 {
            called.extend(queues.leave(0, 1));
        }
        assert!(called.contains(&ticket));
    }

    #[test]
    fn large_requests_take_many_seats_and_never_more_than_there_are() {
        let mut queues = Queues::new(4);
        queues.configure(0, limits(4, 4, 4));
        assert_eq!(queues.width(0, 10), 4);
        assert_eq!(queues.arrive(0, 0, 10), Arrival::Go);
        let Arrival::Wait(small) = queues.arrive(0, 1, 1) else { panic!() };
        let Arrival::Wait(gone) = queues.arrive(0, 1, 1) else { panic!() };
        assert_eq!(queues.give_up(0, gone), Some(Vec::new()));
        assert_eq!(queues.leave(0, 4), [small]);
        assert_eq!(queues.give_up(0, small), None);
        assert_eq!(queues.counts(0), (0, 1, 1));
    }

    #[test]
    fn levels_without_queues_refuse_and_retired_ones_end() {
        let mut queues = Queues::new(2);
        queues.configure(0, Limits { queuing: None, ..limits(1, 1, 1) });
        assert_eq!(queues.arrive(0, 0, 1), Arrival::Go);
        assert_eq!(queues.arrive(0, 0, 1), Arrival::Refused);
        queues.configure(1, limits(1, 1, 1));
        assert_eq!(queues.arrive(1, 0, 1), Arrival::Go);
        let Arrival::Wait(ticket) = queues.arrive(1, 0, 1) else { panic!() };
        assert_eq!(queues.retire(1), [ticket]);
        assert!(queues.leave(1, 1).is_empty());
        assert_eq!(queues.counts(1), (0, 0, 0));
    }
}
