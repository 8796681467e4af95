//! The SQLite back end over more than one life: reopening, locks, formats, damage.

use std::{os::unix::fs::PermissionsExt, path::Path, sync::Arc};

use onggi_store::{Error, Expect, History, LocalStore, RangeRequest, Store, Txn, sqlite};
use rusqlite::Connection;

use crate::support::{Rng, lines, put, text, until};

fn open(dir: &Path) -> Result<LocalStore, Error> {
    sqlite::open(&sqlite::Options::new(dir))
}

#[tokio::test]
async fn reopening_finds_everything() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().join("not/yet/there");
    let history = History { revisions: 100, bytes: usize::MAX };
    let options = sqlite::Options { history, wal_bytes: 100_000, ..sqlite::Options::new(&dir) };
    let mut rng = Rng::new(5);
    let mut before = None;
    for life in 0..10u64 {
        let store = sqlite::open(&options).unwrap();
        let now = |from: u64| {
            let store = &store;
            async move {
                let at = RangeRequest { revision: Some(from), ..RangeRequest::all("") };
                let mut stream = store.watch("", Some(from)).await.unwrap();
                let events = until(&mut stream, store.revision()).await;
                let past = lines(&store.range(at).await.unwrap().items);
                assert!(store.oldest() <= from);
                (past, events, store.range(RangeRequest::all("")).await.unwrap())
            }
        };
        if let Some((from, state)) = before {
            assert_eq!(now(from).await, state, "life {life}");
        }
        for n in 0..100 {
            let key = format!("/{}", rng.below(30));
            if rng.below(3) == 0 {
                store.txn(Txn::delete(key, Expect::Any)).await.unwrap();
            } else {
                put(&store, &key, Expect::Any, &format!("{life}.{n}")).await;
            }
        }
        if life % 3 == 0 {
            store.compact(store.revision() - 20).await.unwrap();
        }
        let from = (store.revision() - 10).max(store.oldest());
        before = Some((from, now(from).await));
        // Orderly or not, the directory is free afterwards.
        if life % 2 == 0 {
            store.close().await;
        }
    }
}

#[tokio::test]
async fn revisions_go_on_after_everything_was_deleted_and_compacted() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).unwrap();
    put(&store, "a", Expect::Any, "1").await;
    store.txn(Txn::delete("a", Expect::Any)).await.unwrap();
    store.compact(3).await.unwrap();
    drop(store);
    let store = open(dir.path()).unwrap();
    assert_eq!((store.revision(), store.oldest()), (3, 3));
    assert_eq!(put(&store, "a", Expect::Absent, "2").await, 4);
}

#[tokio::test]
async fn a_second_one_on_the_directory_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).unwrap();
    let error = open(dir.path()).err().unwrap();
    let holder = Some(std::process::id());
    assert_eq!(error, Error::InUse { dir: dir.path().to_owned(), holder });
    assert!(error.to_string().contains(&dir.path().display().to_string()));
    put(&store, "a", Expect::Any, "still works").await;
    store.close().await;
    let second = open(dir.path()).unwrap();
    assert_eq!(text(&second.get("a").await.unwrap().unwrap()), "still works");
}

#[tokio::test]
async fn only_the_owner_can_read_it() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir.path().join("s")).unwrap();
    put(&store, "secret", Expect::Any, "x").await;
    let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&dir.path().join("s")), 0o700);
    let mut files = 0;
    for file in dir.path().join("s").read_dir().unwrap() {
        let path = file.unwrap().path();
        assert_eq!(mode(&path), 0o600, "{}", path.display());
        files += 1;
    }
    assert_eq!(files, 3, "database, its log, the lock: and no shared memory");
}

/// Makes a store with one value, lets `change` at its database, opens it again.
async fn after(change: impl FnOnce(&Connection)) -> Result<Arc<LocalStore>, Error> {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).unwrap();
    put(&store, "a", Expect::Any, "1").await;
    put(&store, "a", Expect::Any, "2").await;
    put(&store, "b", Expect::Any, "2").await;
    store.close().await;
    change(&Connection::open(dir.path().join("store.db")).unwrap());
    let outcome = open(dir.path()).map(Arc::new);
    if let Err(error) = &outcome {
        assert!(error.to_string().contains(&dir.path().display().to_string()), "{error}");
    }
    outcome
}

#[tokio::test]
async fn what_cannot_be_read_is_refused_by_name() {
    after(|_| {}).await.unwrap();
    let change = |sql: &'static str| after(move |c| c.execute_batch(sql).unwrap());
    for (sql, text) in [
        ("PRAGMA user_version = 3", "has format 3, this program reads up to 2"),
        ("PRAGMA application_id = 7", "is no store"),
        ("DELETE FROM log WHERE revision = 3", "revision 3 is missing"),
        ("UPDATE log SET value = x'07aa' WHERE key = 'b'", "sealed by scheme 7"),
        ("UPDATE log SET value = x'' WHERE key = 'b'", "without the prefix"),
        ("UPDATE state SET compacted = 3", "should have been compacted away"),
        ("DROP TABLE state", "no such table"),
    ] {
        let error = change(sql).await.err().unwrap();
        assert!(error.to_string().contains(text), "{sql}: {error}");
    }
    let newer = change("PRAGMA user_version = 3").await.err().unwrap();
    assert!(matches!(newer, Error::NewerFormat { found: 3, known: 2, .. }));
}

#[tokio::test]
async fn values_are_stored_with_their_prefix() {
    let check = |c: &Connection| {
        let value: Vec<u8> =
            c.query_row("SELECT value FROM log WHERE key = 'b'", [], |r| r.get(0)).unwrap();
        assert_eq!(value, b"\x002");
    };
    after(check).await.unwrap();
}

#[test]
fn a_directory_that_cannot_be_made_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    std::fs::write(&file, "").unwrap();
    let error = open(&file.join("store")).err().unwrap();
    assert!(error.to_string().contains(&file.display().to_string()), "{error}");
    std::fs::write(dir.path().join("store.db"), "not a database, but long enough to look at")
        .unwrap();
    let error = open(dir.path()).err().unwrap();
    assert!(error.to_string().contains("not a database"), "{error}");
}
