//! Any interleaving of writers, watchers, readers and compactions, against a model of the store: a
//! list of events. What comes of a seed is the same at every run; a failure prints it, and
//! `ONGGI_SEED=n` runs it alone.

use std::{collections::BTreeMap, sync::Arc};

use futures::{FutureExt, StreamExt, future::join_all};
use onggi_store::{
    Committed, Error, Event, EventKind, Expect, History, INITIAL_REVISION, KeyValue, Op,
    RangeRequest, RangeResult, Store, Txn, WatchStream, memory, sqlite,
};
use tokio::task::JoinHandle;

use crate::support::Rng;

const STEPS: u64 = 150;
const PREFIXES: [&str; 5] = ["", "/a/", "/b/", "/a/1", "/none/"];

/// The store as a list of what happened.
struct Model {
    events: Vec<Event>,
    live: BTreeMap<String, KeyValue>,
    oldest: u64,
}

impl Model {
    fn new() -> Self {
        Self { events: Vec::new(), live: BTreeMap::new(), oldest: INITIAL_REVISION }
    }

    fn revision(&self) -> u64 {
        INITIAL_REVISION + self.events.len() as u64
    }

    /// What a write comes to, as the next one.
    fn write(&mut self, txn: &Txn) -> Result<Committed, Error> {
        let current = self.live.get(&txn.key).cloned();
        let met = match txn.expect {
            Expect::Any => true,
            Expect::Absent => current.is_none(),
            Expect::Revision(wanted) => current.as_ref().is_some_and(|c| c.mod_revision == wanted),
        };
        if !met {
            return Err(Error::Conflict { current });
        }
        let revision = self.revision() + 1;
        let (kind, value) = match &txn.op {
            Op::Put(value) => (EventKind::Put, value.clone()),
            Op::Delete if current.is_none() => {
                return Ok(Committed { revision: self.revision(), previous: None });
            }
            Op::Delete => (EventKind::Delete, "".into()),
        };
        let create_revision = current.as_ref().map_or(revision, |kv| kv.create_revision);
        let key: Arc<str> = txn.key.as_str().into();
        let event =
            Event { revision, kind, key, value, create_revision, previous: current.clone() };
        step(&mut self.live, &event);
        self.events.push(event);
        Ok(Committed { revision, previous: current })
    }

    fn at(&self, revision: u64) -> BTreeMap<String, KeyValue> {
        let mut state = BTreeMap::new();
        let events = self.events.iter().take_while(|event| event.revision <= revision);
        events.for_each(|event| step(&mut state, event));
        state
    }

    fn range(&self, asked: &RangeRequest) -> Result<RangeResult, Error> {
        let revision = asked.revision.unwrap_or(self.revision());
        if revision < self.oldest {
            return Err(Error::Compacted { oldest: self.oldest });
        }
        if revision > self.revision() {
            return Err(Error::FutureRevision { asked: revision, newest: self.revision() });
        }
        let after = asked.start_after.as_deref().unwrap_or_default();
        let found: Vec<KeyValue> = self
            .at(revision)
            .into_values()
            .filter(|kv| kv.key.starts_with(&asked.prefix) && *kv.key > *after)
            .collect();
        let limit = if asked.limit == 0 { found.len() } else { asked.limit };
        let remaining = found.len().saturating_sub(limit) as u64;
        Ok(RangeResult { items: found.into_iter().take(limit).collect(), revision, remaining })
    }

    fn after(&self, prefix: &str, from: u64) -> impl Iterator<Item = &Event> {
        let later = self.events.iter().filter(move |event| event.revision > from);
        later.filter(move |event| event.key.starts_with(prefix))
    }
}

fn step(state: &mut BTreeMap<String, KeyValue>, event: &Event) {
    match event.current() {
        Some(kv) => state.insert(event.key.to_string(), kv),
        None => state.remove(&*event.key),
    };
}

/// A watch that is read now and then, and one that a task reads as fast as it can.
struct Watcher {
    prefix: &'static str,
    cursor: u64,
    stream: WatchStream,
}

struct Eager {
    prefix: &'static str,
    from: u64,
    task: JoinHandle<(Vec<Arc<Event>>, Error)>,
}

/// A list that is read page by page.
struct Pages {
    next: RangeRequest,
}

struct Scene {
    rng: Rng,
    store: Arc<dyn Store>,
    model: Model,
    /// What each writer believes the keys to be at; it may be wrong.
    beliefs: Vec<BTreeMap<String, u64>>,
    watchers: Vec<Watcher>,
    eager: Vec<Eager>,
    pages: Option<Pages>,
    /// The store forgets nothing unless it is told to.
    exact: bool,
}

impl Scene {
    fn new(seed: u64, store: Arc<dyn Store>, exact: bool) -> Self {
        Self {
            rng: Rng::new(seed),
            store,
            model: Model::new(),
            beliefs: vec![BTreeMap::new(); 4],
            watchers: Vec::new(),
            eager: Vec::new(),
            pages: None,
            exact,
        }
    }

    fn below(&mut self, bound: usize) -> usize {
        self.rng.below(bound as u64) as usize
    }

    fn key(&mut self) -> String {
        format!("/{}/{}", ["a", "b"][self.below(2)], self.rng.below(12))
    }

    async fn run(&mut self) {
        for _ in 0..STEPS {
            match self.below(10) {
                0..4 => self.write().await,
                4 => self.open().await,
                5 | 6 => self.look(),
                7 => self.list().await,
                8 => self.page().await,
                _ => self.compact().await,
            }
            if !self.exact {
                self.model.oldest = self.store.oldest();
            }
            assert_eq!(self.store.revision(), self.model.revision());
            assert!(self.store.oldest() >= self.model.oldest);
        }
        self.end().await;
    }

    fn change(&mut self, writer: usize, number: usize) -> Txn {
        let key = self.key();
        let believed = self.beliefs[writer].get(&key).copied();
        let expect = match self.below(8) {
            0 => Expect::Any,
            1 => Expect::Absent,
            2 => Expect::Revision(self.model.revision()),
            _ => believed.map_or(Expect::Absent, Expect::Revision),
        };
        match self.below(4) {
            0 => Txn::delete(key, expect),
            _ => Txn::put(key, expect, format!("{writer}.{number}.{}", self.model.revision())),
        }
    }

    /// Several writers at once; their writes go into the queue in this order.
    async fn write(&mut self) {
        let count = 1 + self.below(6);
        let mut txns = Vec::new();
        for number in 0..count {
            let writer = self.below(self.beliefs.len());
            txns.push((writer, self.change(writer, number)));
        }
        let answers = join_all(txns.iter().map(|(_, txn)| self.store.txn(txn.clone()))).await;
        for ((writer, txn), answer) in txns.into_iter().zip(answers) {
            assert_eq!(answer, self.model.write(&txn), "{txn:?}");
            let known = match answer {
                Ok(_) => self.model.live.get(&txn.key).map(|kv| kv.mod_revision),
                Err(Error::Conflict { current }) => current.map(|kv| kv.mod_revision),
                Err(error) => panic!("{error}"),
            };
            match known {
                Some(revision) => self.beliefs[writer].insert(txn.key, revision),
                None => self.beliefs[writer].remove(&txn.key),
            };
        }
    }

    /// From before what is kept to behind what there is.
    fn some_revision(&mut self) -> u64 {
        let first = self.model.oldest.saturating_sub(3);
        first + self.rng.below(self.model.revision() + 3 - first)
    }

    /// Whether a refusal for want of history is right.
    fn is_gone(&self, asked: u64, told: u64) -> bool {
        let oldest = self.store.oldest();
        asked < told && if self.exact { told == self.model.oldest } else { told <= oldest }
    }

    async fn open(&mut self) {
        let prefix = PREFIXES[self.below(PREFIXES.len())];
        let from = (self.below(4) > 0).then(|| self.some_revision());
        let newest = self.model.revision();
        let stream = match self.store.watch(prefix, from).await {
            Ok(stream) => stream,
            Err(Error::Compacted { oldest }) => {
                assert!(self.is_gone(from.unwrap(), oldest), "{from:?} {oldest}");
                return;
            }
            Err(error) => {
                assert_eq!(error, Error::FutureRevision { asked: from.unwrap(), newest });
                return;
            }
        };
        let cursor = from.unwrap_or(newest);
        assert!(cursor >= self.model.oldest && cursor <= newest, "{cursor}");
        if self.below(3) > 0 {
            self.watchers.push(Watcher { prefix, cursor, stream });
            return;
        }
        let mut stream = stream;
        let task = tokio::spawn(async move {
            let mut seen = Vec::new();
            loop {
                match stream.next().await.expect("a watch ends with an error") {
                    Ok(event) => seen.push(event),
                    Err(error) => return (seen, error),
                }
            }
        });
        self.eager.push(Eager { prefix, from: cursor, task });
    }

    /// Reads a few events of one watch.
    fn look(&mut self) {
        if self.watchers.is_empty() {
            return;
        }
        let at = self.below(self.watchers.len());
        let mut watcher = self.watchers.swap_remove(at);
        for _ in 0..1 + self.below(20) {
            let progress = watcher.stream.progress();
            let expected = self.model.after(watcher.prefix, watcher.cursor).next();
            assert!(expected.is_none_or(|event| event.revision > progress), "{progress}");
            assert!(progress >= watcher.cursor && progress <= self.model.revision());
            match watcher.stream.next().now_or_never() {
                Some(Some(Ok(event))) => {
                    assert_eq!(Some(&*event), expected);
                    watcher.cursor = event.revision;
                }
                Some(Some(Err(Error::Lagged { oldest }))) => {
                    assert!(self.is_gone(watcher.cursor, oldest), "{} {oldest}", watcher.cursor);
                    assert!(watcher.stream.next().now_or_never().unwrap().is_none());
                    return;
                }
                Some(other) => panic!("{other:?}"),
                None => {
                    assert_eq!(expected, None, "an event was not handed out");
                    assert_eq!(watcher.stream.progress(), self.model.revision());
                    break;
                }
            }
        }
        self.watchers.push(watcher);
    }

    async fn list(&mut self) {
        let start_after = (self.below(4) == 0).then(|| self.key());
        let revision = (self.below(3) > 0).then(|| self.some_revision());
        let prefix = PREFIXES[self.below(PREFIXES.len())].to_owned();
        let limit = self.below(6);
        let request = RangeRequest { prefix, start_after, revision, limit };
        self.compare(request).await;
        let key = self.key();
        assert_eq!(self.store.get(&key).await.unwrap().as_ref(), self.model.live.get(&key));
    }

    async fn compare(&mut self, request: RangeRequest) -> Option<RangeResult> {
        let found = self.store.range(request.clone()).await;
        if let (false, Err(Error::Compacted { oldest })) = (self.exact, &found) {
            assert!(self.is_gone(request.revision.unwrap(), *oldest), "{request:?}");
            return None;
        }
        assert_eq!(found, self.model.range(&request), "{request:?}");
        found.ok()
    }

    /// The next page of a list, all of it at one revision.
    async fn page(&mut self) {
        let request = match self.pages.take() {
            Some(pages) => pages.next,
            None => RangeRequest { limit: 1 + self.below(3), ..RangeRequest::all("/") },
        };
        let Some(page) = self.compare(request.clone()).await else { return };
        if let (true, Some(last)) = (page.more(), page.items.last()) {
            let next = RangeRequest {
                start_after: Some(last.key.to_string()),
                revision: Some(page.revision),
                ..request
            };
            self.pages = Some(Pages { next });
        }
    }

    async fn compact(&mut self) {
        // Most of the time not all, so that watches live for a while.
        if self.below(3) > 0 {
            return;
        }
        let asked = self.some_revision();
        let newest = self.model.revision();
        match self.store.compact(asked).await {
            Ok(()) => self.model.oldest = self.model.oldest.max(asked),
            Err(error) => assert_eq!(error, Error::FutureRevision { asked, newest }),
        }
    }

    /// Whoever watches sees the rest, and then that it is over.
    async fn end(&mut self) {
        while !self.watchers.is_empty() {
            let before = self.watchers.len();
            self.look();
            let done = |w: &Watcher| self.model.after(w.prefix, w.cursor).next().is_none();
            if self.watchers.len() == before && self.watchers.iter().all(done) {
                break;
            }
        }
        self.store.close().await;
        for Watcher { mut stream, cursor, .. } in std::mem::take(&mut self.watchers) {
            match stream.next().await {
                Some(Err(Error::Closed)) => {}
                // Nothing came for its keys since it was last looked at, and its place is gone.
                Some(Err(Error::Lagged { oldest })) => {
                    assert!(self.is_gone(cursor, oldest), "{cursor} {oldest}");
                }
                other => panic!("{other:?}"),
            }
            assert_eq!(stream.next().await, None);
        }
        for Eager { prefix, from, task } in std::mem::take(&mut self.eager) {
            let (seen, error) = task.await.unwrap();
            let expected: Vec<_> = self.model.after(prefix, from).collect();
            let all = seen.len() == expected.len();
            assert!(seen.iter().map(|event| &**event).eq(expected.into_iter().take(seen.len())));
            let cursor = seen.last().map_or(from, |event| event.revision);
            match error {
                Error::Closed => assert!(all, "the end of the events is missing"),
                Error::Lagged { oldest } => assert!(cursor < oldest, "{cursor} {oldest}"),
                error => panic!("{error}"),
            }
        }
    }
}

/// Names the seed of a failure.
struct Seed(u64);

impl Drop for Seed {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("failed with ONGGI_SEED={}", self.0);
        }
    }
}

fn seeds(count: u64) -> Vec<u64> {
    match std::env::var("ONGGI_SEED") {
        Ok(seed) => vec![seed.parse().expect("a number")],
        Err(_) => (1..=count).collect(),
    }
}

const SHORT: History = History { revisions: 24, bytes: usize::MAX };

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_memory() {
    for seed in seeds(150) {
        let _seed = Seed(seed);
        let exact = seed % 3 > 0;
        let history = if exact { History::default() } else { SHORT };
        Scene::new(seed, Arc::new(memory::open(history).unwrap()), exact).run().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_sqlite() {
    for seed in seeds(8) {
        let _seed = Seed(seed);
        let exact = seed % 3 > 0;
        let dir = tempfile::tempdir().unwrap();
        let history = if exact { History::default() } else { SHORT };
        let options = sqlite::Options { history, ..sqlite::Options::new(dir.path()) };
        let mut scene = Scene::new(seed, Arc::new(sqlite::open(&options).unwrap()), exact);
        scene.run().await;
        let Scene { model, store, .. } = scene;
        drop(store);
        // What is on the disk is the same.
        let store = sqlite::open(&options).unwrap();
        assert_eq!(store.revision(), model.revision());
        let kept: Vec<Event> =
            crate::support::history(&store).await.iter().map(|event| Event::clone(event)).collect();
        let from = model.revision() - kept.len() as u64;
        assert!(from >= model.oldest && (!exact || from == model.oldest), "{from}");
        assert!(kept.iter().eq(model.after("", from)));
        let all = store.range(RangeRequest::all("")).await.unwrap().items;
        assert!(all.iter().eq(model.live.values()));
    }
}
