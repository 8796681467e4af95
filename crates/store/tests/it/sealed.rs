//! Values at rest: nothing of a Secret is found on the disk, and its keys can be changed at any time.

use std::env;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use onggi_store::{Error, Expect, History, LocalStore, RangeRequest, Sealing, Store, Txn, sqlite};
use rusqlite::Connection;

use crate::support::{Rng, put, text};

const MARK: &str = "TOP-SECRET-BYTES";
const DIR: &str = "ONGGI_STORE_TEST_SEALED_DIR";

fn options(dir: &Path, sealed: bool) -> sqlite::Options {
    let sealing = sealed.then(|| Sealing {
        key_file: dir.join("keys/store.key"),
        prefixes: vec!["/secrets/".into()],
    });
    let history = History { revisions: 200, bytes: usize::MAX };
    sqlite::Options { sealing, history, ..sqlite::Options::new(dir.join("store")) }
}

fn open(dir: &Path) -> Result<LocalStore, Error> {
    sqlite::open(&options(dir, true))
}

/// The files of the store in which the text is found.
fn found(dir: &Path, wanted: &str) -> Vec<String> {
    let holds = |path: &Path| {
        let content = std::fs::read(path).unwrap();
        content.windows(wanted.len()).any(|window| window == wanted.as_bytes())
    };
    let files = dir.join("store").read_dir().unwrap().map(|file| file.unwrap().path());
    files.filter(|path| holds(path)).map(|path| path.display().to_string()).collect()
}

async fn write(store: &LocalStore, from: usize, to: usize) {
    for n in from..to {
        let value = format!("{MARK} {n} {}", "x".repeat(n * 37 % 6000));
        put(store, &format!("/secrets/{}", n % 20), Expect::Any, &value).await;
        put(store, &format!("/maps/{}", n % 20), Expect::Any, "plain").await;
    }
}

#[tokio::test]
async fn nothing_of_a_secret_is_found_on_the_disk() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).unwrap();
    write(&store, 0, 300).await;
    store.txn(Txn::delete("/secrets/3", Expect::Any)).await.unwrap();
    assert_eq!(found(dir.path(), MARK), Vec::<String>::new(), "while it is open");
    assert!(!found(dir.path(), "plain").is_empty());
    store.close().await;
    drop(store);
    assert_eq!(found(dir.path(), MARK), Vec::<String>::new(), "when it is closed");
    let store = open(dir.path()).unwrap();
    assert!(text(&store.get("/secrets/4").await.unwrap().unwrap()).starts_with(MARK));
}

#[tokio::test]
async fn what_lay_open_is_sealed_at_the_next_start() {
    let dir = tempfile::tempdir().unwrap();
    let store = sqlite::open(&options(dir.path(), false)).unwrap();
    // Enough to be compacted in part, and some of it deleted.
    write(&store, 0, 400).await;
    store.txn(Txn::delete("/secrets/3", Expect::Any)).await.unwrap();
    let before = store.range(RangeRequest::all("/")).await.unwrap();
    store.close().await;
    drop(store);
    assert!(!found(dir.path(), MARK).is_empty());
    // As the version before wrote it.
    let old = Connection::open(dir.path().join("store/store.db")).unwrap();
    old.execute_batch("DROP TABLE keys; PRAGMA user_version = 1").unwrap();
    drop(old);
    let store = open(dir.path()).unwrap();
    assert_eq!(store.range(RangeRequest::all("/")).await.unwrap(), before);
    assert_eq!(found(dir.path(), MARK), Vec::<String>::new());
    drop(store);
    // Without the key it is refused, with a word on what to do.
    std::fs::rename(dir.path().join("keys/store.key"), dir.path().join("kept")).unwrap();
    let error = open(dir.path()).err().unwrap().to_string();
    assert!(error.contains("the key file") && error.contains("put it back"), "{error}");
    let error = sqlite::open(&options(dir.path(), false)).err().unwrap().to_string();
    assert!(error.contains("sealed by data key 1"), "{error}");
    std::fs::rename(dir.path().join("kept"), dir.path().join("keys/store.key")).unwrap();
    open(dir.path()).unwrap();
}

#[tokio::test]
async fn keys_are_changed_under_load() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).unwrap();
    write(&store, 0, 300).await;
    let file = || std::fs::read_to_string(dir.path().join("keys/store.key")).unwrap();
    let before = file();
    let (rotated, ()) = tokio::join!(store.rotate_key(), write(&store, 300, 500));
    rotated.unwrap();
    assert_ne!(file(), before);
    store.close().await;
    let all = store.range(RangeRequest::all("/")).await.unwrap();
    drop(store);
    let db = Connection::open(dir.path().join("store/store.db")).unwrap();
    let ids = "SELECT group_concat(id || '/' || kek) FROM keys";
    assert_eq!(db.query_row(ids, [], |r| r.get::<_, String>(0)).unwrap(), "2/2");
    let others = "SELECT count(*) FROM log WHERE key LIKE '/secrets/%' AND value IS NOT NULL
                  AND substr(value, 1, 5) <> x'0100000002'";
    assert_eq!(db.query_row(others, [], |r| r.get::<_, i64>(0)).unwrap(), 0);
    drop(db);
    let store = open(dir.path()).unwrap();
    assert_eq!(store.range(RangeRequest::all("/")).await.unwrap().items, all.items);
    let unsealed = sqlite::open(&sqlite::Options::new(dir.path().join("other"))).unwrap();
    assert!(unsealed.rotate_key().await.is_err());
}

/// Writes and changes keys until it is killed; does nothing unless it is told where.
#[test]
fn rotator() {
    let Some(dir) = env::var_os(DIR) else { return };
    let store = open(Path::new(&dir)).unwrap();
    println!("\nstarted");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        for n in 0.. {
            let (rotated, written) = tokio::join!(
                store.rotate_key(),
                store.txn(Txn::put("/secrets/counter", Expect::Any, format!("{MARK} {n}"))),
            );
            rotated.unwrap();
            written.unwrap();
            std::io::stdout().write_all(b"rotated\n").unwrap();
        }
    });
}

#[tokio::test]
async fn a_kill_while_keys_are_changed_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).unwrap();
    write(&store, 0, 150).await;
    let all = store.range(RangeRequest::all("/")).await.unwrap().items;
    drop(store);
    let mut rng = Rng::new(3);
    for _ in 0..25 {
        let mut child = Command::new(env::current_exe().unwrap())
            .args(["sealed::rotator", "--exact", "--nocapture"])
            .env(DIR, dir.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut output = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
        output.find(|line| line == "started").expect("it starts");
        for _ in 0..rng.below(3) {
            output.next().expect("it goes on until it is killed");
        }
        // Somewhere inside of a change.
        for _ in 0..rng.below(200_000) {
            std::hint::spin_loop();
        }
        child.kill().unwrap();
        child.wait().unwrap();
        let store = open(dir.path()).unwrap();
        let mut found = store.range(RangeRequest::all("/")).await.unwrap().items;
        found.retain(|kv| &*kv.key != "/secrets/counter");
        assert_eq!(found, all);
        assert_eq!(self::found(dir.path(), MARK), Vec::<String>::new());
    }
}
