//! The pods that wait: active ones by priority, refused ones until something happens that may help
//! them, failed ones until their delay is over.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use onggi_base::backoff::Backoff;
use tokio::time::Instant;

use crate::framework::Event;
use crate::plugins::PLUGINS;
use crate::pod::Pod;

/// `podInitialBackoffSeconds`, `podMaxBackoffSeconds`.
const BACKOFF: Backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(10));

/// The queue. Pods are known by their uid.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    entries: HashMap<String, Entry>,
    /// The highest priority first, then who came first.
    active: BTreeSet<(Reverse<i32>, u64, String)>,
    /// Their delay is not over, but something happened: taken when nobody else is there.
    eager: BTreeMap<(Instant, u64), String>,
    /// Something went wrong: taken when the delay is over.
    failed: BTreeMap<(Instant, u64), String>,
    next_number: u64,
}

#[derive(Debug)]
struct Entry {
    pod: Arc<Pod>,
    number: u64,
    attempts: u32,
    state: State,
}

#[derive(Debug)]
enum State {
    Active(Reverse<i32>),
    Eager(Instant),
    Failed(Instant),
    /// By which plugins, and when it may be tried again at the earliest.
    Refused(BTreeSet<usize>, Instant),
    /// Being bound.
    Taken,
}

impl Queue {
    /// A pod that waits is there, or changed.
    pub(crate) fn add(&mut self, pod: Arc<Pod>) {
        if let Some(entry) = self.entries.get_mut(&pod.uid) {
            let same = entry.pod.asks_as(&pod);
            let uid = pod.uid.clone();
            entry.pod = pod;
            if !same && matches!(entry.state, State::Refused(..)) {
                self.activate(&uid);
            }
            return;
        }
        let uid = pod.uid.clone();
        self.next_number += 1;
        let entry = Entry { pod, number: self.next_number, attempts: 0, state: State::Taken };
        self.entries.insert(uid.clone(), entry);
        self.activate(&uid);
    }

    /// A pod does not wait any more.
    pub(crate) fn remove(&mut self, uid: &str) {
        self.detach(uid);
        self.entries.remove(uid);
    }

    /// The next pod to find a node for. It stays known until it is removed, refused or failed.
    pub(crate) fn pop(&mut self, now: Instant) -> Option<Arc<Pod>> {
        self.promote(now);
        let uid = match self.active.pop_first() {
            Some((_, _, uid)) => uid,
            None => self.eager.pop_first()?.1,
        };
        let entry = self.entries.get_mut(&uid)?;
        entry.state = State::Taken;
        entry.attempts += 1;
        Some(Arc::clone(&entry.pod))
    }

    /// No node does; it waits for what may help those plugins.
    pub(crate) fn refused(&mut self, uid: &str, plugins: BTreeSet<usize>, now: Instant) {
        self.detach(uid);
        if let Some(entry) = self.entries.get_mut(uid) {
            let until = now + BACKOFF.delay_after(entry.attempts.saturating_sub(1));
            entry.state = State::Refused(plugins, until);
        }
    }

    /// It could not be bound; it is tried again after its delay.
    pub(crate) fn failed(&mut self, uid: &str, now: Instant) {
        self.detach(uid);
        if let Some(entry) = self.entries.get_mut(uid) {
            let until = now + BACKOFF.delay_after(entry.attempts.saturating_sub(1));
            entry.state = State::Failed(until);
            self.failed.insert((until, entry.number), uid.to_owned());
        }
    }

    /// Something happened: those whom it may help are tried again.
    pub(crate) fn happened(&mut self, event: Event, now: Instant) {
        let helped = |plugins: &BTreeSet<usize>| {
            // Nobody refused a pod for which there was no node.
            (plugins.is_empty() && event == Event::NodeCame)
                || plugins.iter().any(|&place| PLUGINS.get(place).is_some_and(|p| p.helps(event)))
        };
        let mut ready = Vec::new();
        for (uid, entry) in &mut self.entries {
            let State::Refused(plugins, until) = &entry.state else { continue };
            if !helped(plugins) {
                continue;
            }
            if *until <= now {
                ready.push(uid.clone());
            } else {
                self.eager.insert((*until, entry.number), uid.clone());
                entry.state = State::Eager(*until);
            }
        }
        ready.iter().for_each(|uid| self.activate(uid));
    }

    /// When a delay is over next.
    pub(crate) fn next_due(&self) -> Option<Instant> {
        self.failed.first_key_value().map(|(&(at, _), _)| at)
    }

    fn promote(&mut self, now: Instant) {
        for waiting in [true, false] {
            loop {
                let map = if waiting { &self.eager } else { &self.failed };
                let Some((_, uid)) = map.first_key_value().filter(|(key, _)| key.0 <= now) else {
                    break;
                };
                let uid = uid.clone();
                self.activate(&uid);
            }
        }
    }

    fn activate(&mut self, uid: &str) {
        self.detach(uid);
        if let Some(entry) = self.entries.get_mut(uid) {
            let priority = Reverse(entry.pod.priority);
            entry.state = State::Active(priority);
            self.active.insert((priority, entry.number, uid.to_owned()));
        }
    }

    /// Takes it out of the list that it stands in.
    fn detach(&mut self, uid: &str) {
        let Some(entry) = self.entries.get_mut(uid) else { return };
        match std::mem::replace(&mut entry.state, State::Taken) {
            State::Active(priority) => {
                self.active.remove(&(priority, entry.number, uid.to_owned()));
            }
            State::Eager(until) => drop(self.eager.remove(&(until, entry.number))),
            State::Failed(until) => drop(self.failed.remove(&(until, entry.number))),
            State::Refused(..) | State::Taken => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(uid: &str, priority: i32) -> Arc<Pod> {
        Arc::new(Pod { uid: uid.into(), priority, ..Pod::default() })
    }

    fn place_of(event: Event) -> BTreeSet<usize> {
        (0..PLUGINS.len()).filter(|&place| PLUGINS[place].helps(event)).collect()
    }

    #[test]
    fn who_comes_next() {
        let mut queue = Queue::default();
        let now = Instant::now();
        for (uid, priority) in [("a", 0), ("b", 10), ("c", 0)] {
            queue.add(pod(uid, priority));
        }
        queue.add(pod("a", 0));
        let mut next = || queue.pop(now).map(|pod| pod.uid.clone());
        assert_eq!(
            [next(), next(), next(), next()].map(Option::unwrap_or_default),
            ["b", "a", "c", ""]
        );
    }

    #[test]
    fn the_refused_wait_for_what_helps() {
        let mut queue = Queue::default();
        let now = Instant::now();
        queue.add(pod("a", 0));
        queue.pop(now).unwrap();
        queue.refused("a", place_of(Event::PodGone), now);
        assert!(queue.pop(now).is_none());
        let relabelled = Event::NodeChanged {
            taints: false,
            labels: true,
            allocatable: false,
            unschedulable: false,
        };
        queue.happened(relabelled, now);
        assert!(queue.pop(now).is_none());
        queue.happened(Event::PodGone, now);
        queue.add(pod("b", 0));
        assert_eq!(queue.pop(now).unwrap().uid, "b", "its delay is not over");
        assert_eq!(queue.pop(now).unwrap().uid, "a", "but nobody else is there");
        // For want of any node.
        queue.refused("a", BTreeSet::new(), now);
        queue.happened(Event::PodGone, now);
        assert!(queue.pop(now).is_none());
        queue.happened(Event::NodeCame, now);
        assert!(queue.pop(now).is_some());
        // A changed pod asks anew, one that only got a condition does not.
        queue.refused("a", place_of(Event::PodGone), now);
        queue.add(pod("a", 0));
        assert!(queue.pop(now).is_none());
        let toleration = crate::pod::Toleration::default();
        let changed = Pod { tolerations: vec![toleration], ..(*pod("a", 0)).clone() };
        queue.add(Arc::new(changed));
        assert!(queue.pop(now).is_some());
    }

    #[test]
    fn the_failed_wait_for_their_delay() {
        let mut queue = Queue::default();
        let now = Instant::now();
        queue.add(pod("a", 0));
        queue.pop(now).unwrap();
        queue.failed("a", now);
        assert!(queue.pop(now).is_none());
        let due = queue.next_due().unwrap();
        assert_eq!(due - now, Duration::from_secs(1));
        assert!(queue.pop(due).is_some());
        queue.failed("a", due);
        assert_eq!(queue.next_due().unwrap() - due, Duration::from_secs(2));
        queue.remove("a");
        assert!(queue.next_due().is_none());
    }
}
