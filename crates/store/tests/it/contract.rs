//! What every back end must do. Each test runs on each of them.

use std::{collections::BTreeMap, sync::Arc};

use futures::{FutureExt, StreamExt, future::join_all};
use onggi_store::{
    Error, Event, EventKind, Expect, History, INITIAL_REVISION, RangeRequest, Store, Txn, memory,
    sqlite,
};

use crate::support::{Rng, lines, next, put, text, until};

/// What a test gets: a way to open a fresh store that keeps so much history.
struct Backend {
    dir: Option<tempfile::TempDir>,
}

impl Backend {
    fn open(&self, history: History) -> Arc<dyn Store> {
        match &self.dir {
            None => Arc::new(memory::open(history).unwrap()),
            Some(dir) => {
                let options = sqlite::Options { history, ..sqlite::Options::new(dir.path()) };
                Arc::new(sqlite::open(&options).unwrap())
            }
        }
    }

    fn store(&self) -> Arc<dyn Store> {
        self.open(History::default())
    }
}

macro_rules! contract {
    ($($name:ident)*) => {
        mod in_memory {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                super::$name(super::Backend { dir: None }).await;
            })*
        }
        mod in_sqlite {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                let dir = Some(tempfile::tempdir().unwrap());
                super::$name(super::Backend { dir }).await;
            })*
        }
    };
}

contract! {
    revisions
    compare_and_set
    bad_keys_and_values
    one_of_many_wins
    ranges
    ranges_in_the_past
    pages_under_writes
    watches
    watch_from_a_revision
    watch_has_no_gap_under_writers
    progress_passes_what_does_not_match
    compaction
    compaction_keeps_live_values
    automatic_compaction
    lagging_watcher
    large_range_while_writing
    closing
}

async fn revisions(backend: Backend) {
    let store = &*backend.store();
    assert_eq!((store.revision(), store.oldest()), (INITIAL_REVISION, INITIAL_REVISION));
    assert_eq!(store.range(RangeRequest::all("")).await.unwrap().revision, INITIAL_REVISION);
    assert_eq!(put(store, "a", Expect::Any, "1").await, 2);
    assert_eq!(put(store, "b", Expect::Any, "1").await, 3);
    let committed = store.txn(Txn::put("a", Expect::Any, "2")).await.unwrap();
    let previous = committed.previous.unwrap();
    assert_eq!((committed.revision, previous.mod_revision, text(&previous).as_str()), (4, 2, "1"));

    let a = store.get("a").await.unwrap().unwrap();
    assert_eq!((a.create_revision, a.mod_revision, text(&a).as_str()), (2, 4, "2"));
    let deleted = store.txn(Txn::delete("a", Expect::Any)).await.unwrap();
    assert_eq!((deleted.revision, deleted.previous), (5, Some(a)));
    assert_eq!(store.get("a").await.unwrap(), None);

    // Nothing to delete: no revision.
    let deleted = store.txn(Txn::delete("a", Expect::Any)).await.unwrap();
    assert_eq!((deleted.revision, deleted.previous), (5, None));
    assert_eq!(store.revision(), 5);

    put(store, "a", Expect::Absent, "3").await;
    let a = store.get("a").await.unwrap().unwrap();
    assert_eq!((a.create_revision, a.mod_revision), (6, 6));
    store.health().unwrap();
}

async fn compare_and_set(backend: Backend) {
    let store = &*backend.store();
    let at = put(store, "a", Expect::Absent, "1").await;
    let current = store.get("a").await.unwrap();
    for (key, expect, there) in [
        ("a", Expect::Absent, current.clone()),
        ("a", Expect::Revision(at + 1), current.clone()),
        ("b", Expect::Revision(at), None),
    ] {
        for txn in [Txn::put(key, expect, "x"), Txn::delete(key, expect)] {
            let outcome = store.txn(txn.clone()).await;
            assert_eq!(outcome, Err(Error::Conflict { current: there.clone() }), "{txn:?}");
        }
    }
    assert_eq!(store.revision(), at);
    let at = put(store, "a", Expect::Revision(at), "2").await;
    store.txn(Txn::delete("a", Expect::Revision(at))).await.unwrap();
    assert_eq!(store.get("a").await.unwrap(), None);
}

async fn bad_keys_and_values(backend: Backend) {
    let store = &*backend.store();
    for key in [String::new(), "x".repeat(Txn::MAX_KEY + 1)] {
        let length = key.len();
        let outcome = store.txn(Txn::put(key, Expect::Any, "x")).await;
        assert_eq!(outcome, Err(Error::InvalidKey { length }));
    }
    let length = Txn::MAX_VALUE + 1;
    let outcome = store.txn(Txn::put("a", Expect::Any, vec![0; length])).await;
    assert_eq!(outcome, Err(Error::TooLarge { key: "a".to_owned(), length }));
    // Any bytes will do, in any place.
    for (key, value) in [("\0", &b"\0\xff"[..]), ("열쇠/'\"%", b""), ("a", &[7; 100_000])] {
        store.txn(Txn::put(key, Expect::Absent, value)).await.unwrap();
        assert_eq!(store.get(key).await.unwrap().unwrap().value, value);
    }
}

async fn one_of_many_wins(backend: Backend) {
    let store = backend.store();
    let mut at = put(&*store, "a", Expect::Absent, "0").await;
    for _ in 0..20 {
        let outcomes = join_all(
            (0..16).map(|i| store.txn(Txn::put("a", Expect::Revision(at), format!("writer {i}")))),
        )
        .await;
        let won: Vec<_> = outcomes.iter().flatten().collect();
        assert_eq!(won.len(), 1);
        at = won[0].revision;
        let current = store.get("a").await.unwrap();
        for lost in outcomes.into_iter().filter_map(Result::err) {
            assert_eq!(lost, Error::Conflict { current: current.clone() });
        }
    }
    assert_eq!(store.revision(), 22);
}

async fn ranges(backend: Backend) {
    let store = &*backend.store();
    for key in ["/a/3", "/a/1", "/b/1", "/a/2", "/a", "/a0", "/a/가"] {
        put(store, key, Expect::Any, "v").await;
    }
    for (prefix, start_after, limit, keys, remaining) in [
        ("/a/", None, 0, "/a/1 /a/2 /a/3 /a/가", 0),
        ("/a", None, 0, "/a /a/1 /a/2 /a/3 /a/가 /a0", 0),
        ("", None, 3, "/a /a/1 /a/2", 4),
        ("/a/", None, 2, "/a/1 /a/2", 2),
        ("/a/", Some("/a/2"), 2, "/a/3 /a/가", 0),
        ("/a/", Some("/a/25"), 1, "/a/3", 1),
        ("/a/", Some("/"), 1, "/a/1", 3),
        ("/a/", Some("/b"), 0, "", 0),
        ("/a/", Some("/a0"), 0, "", 0),
        ("/c", None, 0, "", 0),
    ] {
        let request = RangeRequest {
            prefix: prefix.to_owned(),
            start_after: start_after.map(str::to_owned),
            revision: None,
            limit,
        };
        let page = store.range(request.clone()).await.unwrap();
        let found: Vec<_> = page.items.iter().map(|kv| &*kv.key).collect();
        assert_eq!((found.join(" ").as_str(), page.remaining), (keys, remaining), "{request:?}");
        assert_eq!((page.revision, page.more()), (8, remaining > 0));
    }
}

async fn ranges_in_the_past(backend: Backend) {
    let store = &*backend.store();
    put(store, "a", Expect::Any, "1").await; // 2
    put(store, "b", Expect::Any, "1").await; // 3
    put(store, "a", Expect::Any, "2").await; // 4
    store.txn(Txn::delete("b", Expect::Any)).await.unwrap(); // 5
    put(store, "b", Expect::Any, "2").await; // 6
    for (revision, found) in [
        (1, vec![]),
        (2, vec!["a=1@2"]),
        (3, vec!["a=1@2", "b=1@3"]),
        (4, vec!["a=2@4", "b=1@3"]),
        (5, vec!["a=2@4"]),
        (6, vec!["a=2@4", "b=2@6"]),
    ] {
        let request = RangeRequest { revision: Some(revision), ..RangeRequest::all("") };
        let page = store.range(request).await.unwrap();
        assert_eq!(
            (page.revision, lines(&page.items)),
            (revision, found.iter().map(|s| (*s).to_owned()).collect())
        );
    }
    for (asked, error) in
        [(0, Error::Compacted { oldest: 1 }), (7, Error::FutureRevision { asked: 7, newest: 6 })]
    {
        let request = RangeRequest { revision: Some(asked), ..RangeRequest::all("") };
        assert_eq!(store.range(request).await, Err(error));
    }
}

/// Writers that put, overwrite and delete until `stop`; answers their committed events.
async fn load(store: Arc<dyn Store>, writers: u64, writes: u64) -> Vec<(u64, String, String)> {
    let tasks = (0..writers).map(|writer| {
        let store = store.clone();
        tokio::spawn(async move {
            let mut rng = Rng::new(writer + 1);
            let mut done = Vec::new();
            for n in 0..writes {
                let key = format!("/{}/{}", if n % 2 == 0 { "even" } else { "odd" }, rng.below(20));
                let current = store.get(&key).await.unwrap();
                let expect = current.map_or(Expect::Absent, |kv| Expect::Revision(kv.mod_revision));
                let value = format!("{writer}.{n}");
                let delete = rng.below(4) == 0 && expect != Expect::Absent;
                let txn = if delete {
                    Txn::delete(&*key, expect)
                } else {
                    Txn::put(&*key, expect, value.clone())
                };
                match store.txn(txn).await {
                    Ok(c) => {
                        done.push((c.revision, key, if delete { "-".to_owned() } else { value }))
                    }
                    Err(Error::Conflict { .. }) => {}
                    Err(error) => panic!("{error}"),
                }
            }
            done
        })
    });
    let mut all: Vec<_> = join_all(tasks).await.into_iter().flat_map(Result::unwrap).collect();
    all.sort();
    all
}

async fn pages_under_writes(backend: Backend) {
    let store = backend.store();
    let writing = tokio::spawn(load(store.clone(), 4, 400));
    let mut snapshots: Vec<(u64, Vec<String>)> = Vec::new();
    while !writing.is_finished() {
        let mut request = RangeRequest { limit: 3, ..RangeRequest::all("/even/") };
        let mut items = Vec::new();
        loop {
            let page = store.range(request.clone()).await.unwrap();
            if let Some(revision) = request.revision {
                assert_eq!(page.revision, revision);
            }
            request.revision = Some(page.revision);
            request.start_after = page.items.last().map(|kv| kv.key.to_string());
            items.extend(lines(&page.items));
            if !page.more() {
                break;
            }
            tokio::task::yield_now().await;
        }
        snapshots.push((request.revision.unwrap(), items));
    }
    let events = writing.await.unwrap();
    assert_eq!(events.len() as u64 + INITIAL_REVISION, store.revision());
    for (revision, items) in snapshots {
        let mut state = BTreeMap::new();
        for (at, key, value) in events.iter().filter(|e| e.0 <= revision) {
            if value == "-" {
                state.remove(key);
            } else if key.starts_with("/even/") {
                state.insert(key, format!("{key}={value}@{at}"));
            }
        }
        assert_eq!(items, state.into_values().collect::<Vec<_>>(), "at {revision}");
    }
}

fn brief(event: &Event) -> String {
    let kind = if event.kind == EventKind::Put { "put" } else { "del" };
    let value = String::from_utf8_lossy(&event.value);
    let previous = event.previous.as_ref().map_or("none".to_owned(), text);
    format!("{} {kind} {}={value} was {previous}", event.revision, event.key)
}

async fn watches(backend: Backend) {
    let store = backend.store();
    put(&*store, "/a/1", Expect::Any, "old").await;
    let mut all = store.watch("", None).await.unwrap();
    let mut some = store.watch("/a/", None).await.unwrap();
    assert!(some.next().now_or_never().is_none());
    put(&*store, "/a/1", Expect::Any, "new").await;
    put(&*store, "/b/1", Expect::Any, "b").await;
    store.txn(Txn::delete("/a/1", Expect::Any)).await.unwrap();
    put(&*store, "/a/1", Expect::Any, "again").await;
    let expected = [
        "3 put /a/1=new was old",
        "4 put /b/1=b was none",
        "5 del /a/1= was new",
        "6 put /a/1=again was none",
    ];
    let seen: Vec<_> = until(&mut all, 6).await.iter().map(|e| brief(e)).collect();
    assert_eq!(seen, expected);
    let seen: Vec<_> = until(&mut some, 6).await.iter().map(|e| brief(e)).collect();
    assert_eq!(seen, [expected[0], expected[2], expected[3]]);
    assert!(all.next().now_or_never().is_none());

    // One that waits is woken.
    let (event, _) = tokio::join!(next(&mut some), put(&*store, "/a/2", Expect::Any, "x"));
    let event = event.unwrap();
    assert_eq!(brief(&event), "7 put /a/2=x was none");
    assert_eq!(event.current(), store.get("/a/2").await.unwrap());
}

async fn watch_from_a_revision(backend: Backend) {
    let store = &*backend.store();
    for n in 0..3000 {
        put(store, &format!("/{}", n % 7), Expect::Any, &n.to_string()).await;
    }
    for from in [1, 2, 1500, 3000, 3001] {
        let mut stream = store.watch("/3", Some(from)).await.unwrap();
        let seen: Vec<_> = until(&mut stream, 3001).await.iter().map(|e| e.revision).collect();
        let expected: Vec<_> = (from + 1..=3001).filter(|r| (r - 2) % 7 == 3).collect();
        assert_eq!(seen, expected, "from {from}");
    }
    let error = Error::FutureRevision { asked: 3002, newest: 3001 };
    assert_eq!(store.watch("", Some(3002)).await.err(), Some(error));
    assert_eq!(store.watch("", Some(0)).await.err(), Some(Error::Compacted { oldest: 1 }));
}

async fn watch_has_no_gap_under_writers(backend: Backend) {
    let store = backend.store();
    let writing = tokio::spawn(load(store.clone(), 8, 300));
    // Watchers come at any time and begin anywhere that has been reached.
    let mut rng = Rng::new(99);
    let mut watchers = Vec::new();
    while !writing.is_finished() {
        let prefix = ["", "/even/", "/odd/1", "/none"][rng.below(4) as usize];
        let from = INITIAL_REVISION + rng.below(store.revision() - INITIAL_REVISION + 1);
        let mut stream = store.watch(prefix, Some(from)).await.unwrap();
        if watchers.len() < 50 {
            watchers.push(tokio::spawn(async move {
                let mut seen = Vec::new();
                while let Ok(event) = next(&mut stream).await {
                    assert!(event.revision <= stream.progress());
                    seen.push(event);
                }
                (prefix, from, seen)
            }));
        }
        tokio::task::yield_now().await;
    }
    let events = writing.await.unwrap();
    store.close().await;
    for watcher in watchers {
        let (prefix, from, seen) = watcher.await.unwrap();
        let seen: Vec<_> = seen
            .iter()
            .map(|e| {
                let value = String::from_utf8(e.value.to_vec()).unwrap();
                let value = if e.kind == EventKind::Put { value } else { "-".to_owned() };
                (e.revision, e.key.to_string(), value)
            })
            .collect();
        let expected: Vec<_> =
            events.iter().filter(|e| e.0 > from && e.1.starts_with(prefix)).cloned().collect();
        assert_eq!(seen, expected, "{prefix:?} from {from}");
    }
}

async fn progress_passes_what_does_not_match(backend: Backend) {
    let store = &*backend.store();
    let mut stream = store.watch("/a", None).await.unwrap();
    assert_eq!(stream.progress(), 1);
    put(store, "/b", Expect::Any, "").await;
    assert_eq!(stream.progress(), 2);
    put(store, "/a", Expect::Any, "").await;
    put(store, "/a", Expect::Any, "").await;
    put(store, "/b", Expect::Any, "").await;
    assert_eq!(stream.progress(), 2);
    assert_eq!(next(&mut stream).await.unwrap().revision, 3);
    assert_eq!(stream.progress(), 3);
    assert_eq!(next(&mut stream).await.unwrap().revision, 4);
    assert_eq!(stream.progress(), 5);
}

async fn compaction(backend: Backend) {
    let store = &*backend.store();
    for n in 0..1000 {
        put(store, "a", Expect::Any, &n.to_string()).await;
    }
    let asked = RangeRequest { revision: Some(500), ..RangeRequest::all("") };
    let before = store.range(asked.clone()).await.unwrap();
    let mut early = store.watch("", Some(400)).await.unwrap();
    store.compact(500).await.unwrap();
    assert_eq!((store.oldest(), store.revision()), (500, 1001));
    assert_eq!(store.range(asked).await.unwrap(), before);
    let gone = Error::Compacted { oldest: 500 };
    let asked = RangeRequest { revision: Some(499), ..RangeRequest::all("") };
    assert_eq!(store.range(asked).await, Err(gone.clone()));
    assert_eq!(store.watch("", Some(499)).await.err(), Some(gone));
    assert_eq!(next(&mut early).await.err(), Some(Error::Lagged { oldest: 500 }));
    assert!(early.next().await.is_none());
    let mut stream = store.watch("", Some(500)).await.unwrap();
    assert_eq!(until(&mut stream, 1001).await.len(), 501);

    store.compact(10).await.unwrap();
    store.compact(500).await.unwrap();
    assert_eq!(store.oldest(), 500);
    let future = Error::FutureRevision { asked: 1002, newest: 1001 };
    assert_eq!(store.compact(1002).await, Err(future));
    store.compact(1001).await.unwrap();
    assert_eq!(text(&store.get("a").await.unwrap().unwrap()), "999");
    put(store, "a", Expect::Revision(1001), "on").await;
}

async fn compaction_keeps_live_values(backend: Backend) {
    let store = backend.store();
    let events = load(store.clone(), 4, 200).await;
    put(&*store, "/history/a", Expect::Absent, "an older a").await;
    let before = store.range(RangeRequest::all("")).await.unwrap();
    let compacting: Vec<_> = [100, 250, 400, store.revision()]
        .map(|revision| {
            tokio::spawn({
                let store = store.clone();
                async move { store.compact(revision.min(store.revision())).await }
            })
        })
        .into();
    for task in compacting {
        task.await.unwrap().unwrap();
    }
    assert_eq!(store.range(RangeRequest::all("")).await.unwrap(), before);
    assert_eq!(store.oldest(), events.len() as u64 + 2);
}

async fn automatic_compaction(backend: Backend) {
    let store = backend.open(History { revisions: 200, bytes: usize::MAX });
    for n in 0..2000 {
        put(&*store, "a", Expect::Any, &n.to_string()).await;
        let kept = store.revision() - store.oldest();
        assert!(kept <= 200 + 200 / 4 + 1, "{kept} kept");
    }
    assert!(store.oldest() >= 1750 && store.revision() - store.oldest() >= 200);

    let store =
        backend.dir.is_none().then(|| backend.open(History { revisions: 9999, bytes: 100_000 }));
    for n in 0..200 {
        let Some(store) = &store else { break };
        put(&**store, &format!("{n}"), Expect::Any, &"x".repeat(1000)).await;
        assert!((store.revision() - store.oldest()) * 1000 <= 125_000);
    }
}

async fn lagging_watcher(backend: Backend) {
    let store = backend.open(History { revisions: 100, bytes: usize::MAX });
    let mut slow = store.watch("/busy", None).await.unwrap();
    let mut idle = store.watch("/idle", None).await.unwrap();
    for n in 0..1000 {
        put(&*store, "/busy", Expect::Any, &n.to_string()).await;
    }
    assert!(matches!(next(&mut slow).await, Err(Error::Lagged { oldest }) if oldest > 100));
    assert!(slow.next().await.is_none());
    // One with nothing to read cannot be late.
    put(&*store, "/idle", Expect::Any, "now").await;
    assert_eq!(next(&mut idle).await.unwrap().revision, 1002);
}

async fn large_range_while_writing(backend: Backend) {
    let store = backend.open(History { revisions: 50, bytes: usize::MAX });
    join_all((0..10_000).map(|n| {
        let store = store.clone();
        async move { put(&*store, &format!("/{n:05}"), Expect::Absent, "x").await }
    }))
    .await;
    // Each range takes several turns; compaction overtakes some of them.
    let writing = tokio::spawn(load(store.clone(), 4, 500));
    while !writing.is_finished() {
        let page = store.range(RangeRequest::all("/0")).await.unwrap();
        assert_eq!(page.items.len(), 10_000);
    }
    writing.await.unwrap();
}

async fn closing(backend: Backend) {
    let store = backend.store();
    let mut stream = store.watch("", None).await.unwrap();
    let writes = (0..500).map(|n| {
        let store = store.clone();
        tokio::spawn(async move { store.txn(Txn::put(format!("{n}"), Expect::Any, "x")).await })
    });
    let writes: Vec<_> = writes.collect();
    store.close().await;
    let mut done = 0;
    for write in writes {
        match write.await.unwrap() {
            Ok(_) => done += 1,
            Err(error) => assert_eq!(error, Error::Closed),
        }
    }
    // What was answered is there, and what was not is not.
    assert_eq!(store.range(RangeRequest::all("")).await.unwrap().items.len(), done);
    let mut seen = 0;
    let end = loop {
        match next(&mut stream).await {
            Ok(_) => seen += 1,
            Err(error) => break error,
        }
    };
    assert_eq!((seen, end), (done, Error::Closed));
    assert_eq!(store.health(), Err(Error::Closed));
    assert_eq!(store.compact(1).await, Err(Error::Closed));
    store.close().await;
}
