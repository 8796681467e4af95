//! SIGKILL at any moment under load: every answered write is there, and no chain is broken.
//!
//! The writer is this test binary started again. Each of its tasks owns a key and counts it up by
//! compare-and-set; it prints a write when it was answered, and then only goes on.

use std::{
    collections::HashMap,
    env,
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Command, Stdio},
    sync::Arc,
};

use onggi_store::{Error, Expect, History, LocalStore, RangeRequest, Store, Txn, sqlite};

use crate::support::{Rng, history, text};

const DIR: &str = "ONGGI_STORE_TEST_KILL_DIR";
const WRITERS: usize = 12;
const ROUNDS: u64 = 100;

fn open(dir: &Path) -> Result<LocalStore, Error> {
    // Little of everything, so that compaction and checkpoints are hit as well.
    let history = History { revisions: 300, bytes: usize::MAX };
    sqlite::open(&sqlite::Options { history, wal_bytes: 200_000, ..sqlite::Options::new(dir) })
}

/// The writer; does nothing unless it is told where.
#[test]
fn writer() {
    let Some(dir) = env::var_os(DIR) else { return };
    println!("\nstarted");
    let store = Arc::new(open(Path::new(&dir)).unwrap());
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let writers = (0..WRITERS).map(|writer| {
            let store = store.clone();
            async move {
                let key = format!("/{writer}");
                let current = store.get(&key).await.unwrap();
                let mut at = current.as_ref().map(|kv| kv.mod_revision);
                let mut n = current.as_ref().map_or(0, count);
                loop {
                    n += 1;
                    let expect = at.map_or(Expect::Absent, Expect::Revision);
                    let value = format!("{n} {} {}", at.unwrap_or(0), "x".repeat(n as usize % 900));
                    let revision =
                        store.txn(Txn::put(&*key, expect, value)).await.unwrap().revision;
                    at = Some(revision);
                    let line = format!("answered {key} {n} {revision}\n");
                    std::io::stdout().write_all(line.as_bytes()).unwrap();
                }
            }
        });
        futures::future::join_all(writers).await;
    });
}

/// The first word of a value: how often its key was written.
fn count(kv: &onggi_store::KeyValue) -> u64 {
    text(kv).split(' ').next().unwrap().parse().unwrap()
}

#[tokio::test]
async fn a_hundred_kills_lose_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let mut rng = Rng::new(1);
    let mut answered: HashMap<String, (u64, u64)> = HashMap::new();
    let mut total = 0;
    for round in 0..ROUNDS {
        let mut child = Command::new(env::current_exe().unwrap())
            .args(["kill::writer", "--exact", "--nocapture"])
            .env(DIR, dir.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut output = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
        // Some are killed while they recover from the kill before.
        let mut left = if round % 5 == 0 { 0 } else { 1 + rng.below(400) };
        output.find(|line| line == "started").expect("the writer starts");
        let mut note = |line: String| {
            let words: Vec<_> = line.split(' ').collect();
            if let ["answered", key, n, revision] = words[..] {
                answered.insert(key.to_owned(), (n.parse().unwrap(), revision.parse().unwrap()));
                total += 1;
            }
        };
        while left > 0 {
            note(output.next().expect("the writer goes on until it is killed"));
            left -= 1;
        }
        child.kill().unwrap();
        // What it still said before it died counts as well; a pipe takes a short line as a whole.
        output.for_each(&mut note);
        child.wait().unwrap();

        let store = open(dir.path()).unwrap();
        let items = store.range(RangeRequest::all("/")).await.unwrap().items;
        assert!(items.len() >= answered.len());
        for kv in &items {
            let known = answered.entry(kv.key.to_string()).or_default();
            let found = (count(kv), kv.mod_revision);
            // One more than answered may be there: the kill came before the answer.
            assert!(found == *known || (found.0 == known.0 + 1 && found.1 > known.1), "{kv:?}");
            *known = found;
        }
        // Each link of each chain that history still has.
        for event in history(&store).await {
            let current = event.current().unwrap();
            let (n, at) = event.previous.as_ref().map_or((0, 0), |p| (count(p), p.mod_revision));
            assert!(text(&current).starts_with(&format!("{} {at} ", n + 1)), "{event:?}");
        }
    }
    println!("{total} answered writes, all found after {ROUNDS} kills");
    assert!(total > ROUNDS * 50);
}
