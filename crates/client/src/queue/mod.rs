//! The work queue: which keys wait, which are worked on, which come back later.
//!
//! A key is never worked on twice at once. Added again while it waits it is still one; added again
//! while it is worked on it comes once more afterwards. A failing key comes back after a delay of
//! its own, which doubles. Nothing ticks: a worker sleeps until a key is added or the next delay
//! is over.

mod metrics;

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::fmt::{Debug, Display};
use std::future::Future;
use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

use onggi_base::Shutdown;
use onggi_base::backoff::Backoff;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::Instant;

pub use metrics::write_metrics;
use metrics::{Counts, Now, Observed};

/// From 5 ms, as client-go's rate limiter, to 1 minute.
const BACKOFF: Backoff = Backoff::new(Duration::from_millis(5), Duration::from_secs(60));

/// What may be queued: an [`crate::ObjectKey`], or anything small.
pub trait Key: Clone + Eq + Hash + Debug + Send + Sync + 'static {}

impl<K: Clone + Eq + Hash + Debug + Send + Sync + 'static> Key for K {}

/// A queue of keys. A cheap handle.
pub struct WorkQueue<K> {
    inner: Arc<Inner<K>>,
}

/// A key being worked on; dropping it says that the work is done.
pub struct InFlight<K: Key> {
    inner: Arc<Inner<K>>,
    key: K,
}

/// What a handler says of a key that went well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Nothing more until it is added again.
    Done,
    /// Once more after this time, even if nothing happens.
    After(Duration),
}

struct Inner<K> {
    state: Mutex<State<K>>,
    /// A key is ready, the first delay has changed, or the queue was shut down.
    wake: Notify,
}

struct State<K> {
    /// With the moment from which they are.
    ready: VecDeque<(K, Instant)>,
    /// Waiting, or to come once more after the work that goes on.
    dirty: HashSet<K>,
    /// With the moment from which they are.
    working: HashMap<K, Instant>,
    /// By due time and a running number.
    delayed: BTreeMap<(Instant, u64), K>,
    due: HashMap<K, (Instant, u64)>,
    next_number: u64,
    failures: HashMap<K, u32>,
    shut_down: bool,
    counts: Counts,
}

impl<K> Clone for WorkQueue<K> {
    fn clone(&self) -> Self {
        Self { inner: Arc::clone(&self.inner) }
    }
}

impl<K: Key> Default for WorkQueue<K> {
    fn default() -> Self {
        Self::new()
    }
}

// === impl WorkQueue ===

impl<K: Key> WorkQueue<K> {
    /// An empty queue.
    pub fn new() -> Self {
        let state = State {
            ready: VecDeque::new(),
            dirty: HashSet::new(),
            working: HashMap::new(),
            delayed: BTreeMap::new(),
            due: HashMap::new(),
            next_number: 0,
            failures: HashMap::new(),
            shut_down: false,
            counts: Counts::default(),
        };
        Self { inner: Arc::new(Inner { state: Mutex::new(state), wake: Notify::new() }) }
    }

    /// An empty queue that is counted under a name ([`write_metrics`]).
    pub fn named(name: &str) -> Self {
        let queue = Self::new();
        let inner: Arc<dyn Observed> = Arc::<Inner<K>>::clone(&queue.inner);
        metrics::register(name, Arc::downgrade(&inner));
        queue
    }

    /// Queues a key, now.
    pub fn add(&self, key: K) {
        if self.inner.state.lock().add(key) {
            self.inner.wake.notify_one();
        }
    }

    /// Queues a key after a delay; of several delays the one that ends first counts.
    pub fn add_after(&self, key: K, delay: Duration) {
        if delay.is_zero() {
            return self.add(key);
        }
        if self.inner.state.lock().delay(key, Instant::now() + delay) {
            self.inner.wake.notify_one();
        }
    }

    /// Queues a key that failed, after its own delay, which doubles until [`Self::forget`].
    pub fn add_failed(&self, key: K) {
        let delay = {
            let mut state = self.inner.state.lock();
            let failures = state.failures.entry(key.clone()).or_default();
            let delay = BACKOFF.delay_after(*failures);
            *failures = failures.saturating_add(1);
            state.counts.retries += 1;
            delay
        };
        self.add_after(key, delay);
    }

    /// Ends the back-off of a key.
    pub fn forget(&self, key: &K) {
        self.inner.state.lock().failures.remove(key);
    }

    /// How often a key has failed in a row.
    pub fn failures(&self, key: &K) -> u32 {
        self.inner.state.lock().failures.get(key).copied().unwrap_or(0)
    }

    /// How many keys are ready.
    pub fn len(&self) -> usize {
        self.inner.state.lock().ready.len()
    }

    /// Whether no key is ready.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// No more keys: what is ready is still handed out, what is delayed is dropped.
    pub fn shut_down(&self) {
        let mut state = self.inner.state.lock();
        state.shut_down = true;
        state.delayed.clear();
        state.due.clear();
        drop(state);
        self.inner.wake.notify_waiters();
        self.inner.wake.notify_one();
    }

    /// The next key; `None` when the queue was shut down and is empty. Nothing is lost when the
    /// future is dropped.
    pub async fn next(&self) -> Option<InFlight<K>> {
        loop {
            let wake = self.inner.wake.notified();
            tokio::pin!(wake);
            // From here on a wake-up is kept for us, even before the await.
            wake.as_mut().enable();
            let first_due = {
                let mut state = self.inner.state.lock();
                state.promote(Instant::now());
                if let Some(key) = state.take() {
                    if !state.ready.is_empty() || state.shut_down {
                        self.inner.wake.notify_one();
                    }
                    return Some(InFlight { inner: Arc::clone(&self.inner), key });
                }
                if state.shut_down && state.dirty.is_empty() {
                    drop(state);
                    self.inner.wake.notify_one();
                    return None;
                }
                state.delayed.first_key_value().map(|(&(at, _), _)| at)
            };
            match first_due {
                None => wake.await,
                Some(at) => tokio::select! {
                    () = wake => {}
                    () = tokio::time::sleep_until(at) => {}
                },
            }
        }
    }

    /// Works on keys with so many handlers at once until the shutdown; then waits for those that
    /// are at work and for what is ready. A handler that fails, or panics, gets its key again
    /// after the key's back-off.
    pub async fn run<F, Fut, E>(&self, workers: usize, shutdown: Shutdown, handler: F)
    where
        F: Fn(K) -> Fut,
        Fut: Future<Output = Result<Next, E>> + Send + 'static,
        E: Display + Send + 'static,
    {
        let mut running = JoinSet::new();
        let mut keys: HashMap<tokio::task::Id, InFlight<K>> = HashMap::new();
        let mut open = true;
        while open || !running.is_empty() {
            tokio::select! {
                // What is done frees its place before more is begun.
                biased;
                () = shutdown.cancelled(), if !self.inner.state.lock().shut_down => {
                    self.shut_down();
                }
                Some(ended) = running.join_next_with_id() => {
                    let (id, result) = match ended {
                        Ok((id, Ok(next))) => (id, Ok(next)),
                        Ok((id, Err(error))) => (id, Err(format!("{error}"))),
                        Err(join) => (join.id(), Err(format!("panicked: {join}"))),
                    };
                    if let Some(in_flight) = keys.remove(&id) {
                        self.settle(in_flight, result);
                    }
                }
                next = self.next(), if open && running.len() < workers.max(1) => match next {
                    Some(in_flight) => {
                        let id = running.spawn(handler(in_flight.key.clone())).id();
                        keys.insert(id, in_flight);
                    }
                    None => open = false,
                },
            }
        }
    }

    fn settle(&self, in_flight: InFlight<K>, result: Result<Next, String>) {
        let key = in_flight.key.clone();
        match result {
            Ok(next) => {
                self.forget(&key);
                if let Next::After(delay) = next {
                    self.add_after(key, delay);
                }
            }
            Err(error) => {
                let failures = self.failures(&key) + 1;
                tracing::warn!(?key, failures, error, "failed; will be tried again");
                self.add_failed(key);
            }
        }
    }
}

// === impl InFlight ===

impl<K: Key> InFlight<K> {
    /// The key.
    pub fn key(&self) -> &K {
        &self.key
    }
}

impl<K: Key> Drop for InFlight<K> {
    fn drop(&mut self) {
        let mut state = self.inner.state.lock();
        let again = state.done(&self.key);
        let drained = state.shut_down && state.dirty.is_empty();
        drop(state);
        if again || drained {
            self.inner.wake.notify_one();
        }
    }
}

impl<K: Key> Observed for Inner<K> {
    fn now(&self) -> Now {
        let state = self.state.lock();
        let now = Instant::now();
        let ages = || state.working.values().map(|since| now.duration_since(*since));
        Now {
            counts: state.counts.clone(),
            depth: state.ready.len(),
            unfinished: ages().sum(),
            longest: ages().max().unwrap_or_default(),
        }
    }
}

// === impl State ===

impl<K: Key> State<K> {
    /// Whether a worker has something to do now.
    fn add(&mut self, key: K) -> bool {
        if self.shut_down || !self.dirty.insert(key.clone()) {
            return false;
        }
        self.counts.adds += 1;
        if self.working.contains_key(&key) {
            return false;
        }
        self.ready.push_back((key, Instant::now()));
        true
    }

    /// Whether a worker must set its alarm anew.
    fn delay(&mut self, key: K, at: Instant) -> bool {
        if self.shut_down {
            return false;
        }
        if let Some(&place) = self.due.get(&key) {
            if place.0 <= at {
                return false;
            }
            self.delayed.remove(&place);
        }
        let place = (at, self.next_number);
        self.next_number += 1;
        self.due.insert(key.clone(), place);
        self.delayed.insert(place, key);
        self.delayed.first_key_value().is_some_and(|(&first, _)| first == place)
    }

    fn promote(&mut self, now: Instant) {
        while let Some(first) = self.delayed.first_entry() {
            if first.key().0 > now {
                break;
            }
            let key = first.remove();
            self.due.remove(&key);
            self.add(key);
        }
    }

    fn take(&mut self) -> Option<K> {
        let (key, since) = self.ready.pop_front()?;
        let now = Instant::now();
        self.counts.waited.observe(now.duration_since(since));
        self.dirty.remove(&key);
        self.working.insert(key.clone(), now);
        Some(key)
    }

    /// Whether the key comes once more.
    fn done(&mut self, key: &K) -> bool {
        let now = Instant::now();
        if let Some(since) = self.working.remove(key) {
            self.counts.worked.observe(now.duration_since(since));
        }
        let again = self.dirty.contains(key);
        if again {
            self.ready.push_back((key.clone(), now));
        }
        again
    }
}
