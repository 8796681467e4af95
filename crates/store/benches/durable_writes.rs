//! Durable writes a second of the SQLite back end: 1 KB values, 5,000 keys, each write a
//! compare-and-set on the revision that its writer saw last.
//!
//! `cargo bench -p onggi-store`; the directory is `ONGGI_BENCH_DIR`, else the one for temporary
//! files, which must be on a disk for the figures to mean anything.
//!
//! etcd is not measured here: its figure counts only over its own gRPC protocol, which the etcd
//! back end will bring.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use onggi_store::{Error, Expect, Store, Txn, sqlite};

const KEYS: usize = 5_000;
const TIME: Duration = Duration::from_secs(3);
const ROUNDS: usize = 3;

type Failure = Box<dyn std::error::Error>;

/// How long each write of one round took, sorted.
async fn round(store: &Arc<dyn Store>, writers: usize) -> Result<Vec<Duration>, Failure> {
    let deadline = Instant::now() + TIME;
    let tasks = (0..writers).map(|writer| {
        let store = store.clone();
        tokio::spawn(async move {
            let keys: Vec<_> =
                (writer..KEYS).step_by(writers).map(|k| format!("/bench/{k:05}")).collect();
            let mut seen = Vec::new();
            for key in &keys {
                let current = store.get(key).await?;
                seen.push(current.map_or(Expect::Absent, |kv| Expect::Revision(kv.mod_revision)));
            }
            let value = Bytes::from(vec![b'x'; 1024]);
            let mut latencies = Vec::new();
            for i in (0..keys.len()).cycle() {
                let start = Instant::now();
                if start >= deadline {
                    break;
                }
                let txn = Txn::put(&*keys[i], seen[i], value.clone());
                seen[i] = Expect::Revision(store.txn(txn).await?.revision);
                latencies.push(start.elapsed());
            }
            Ok::<_, Error>(latencies)
        })
    });
    let mut all = Vec::new();
    for task in tasks.collect::<Vec<_>>() {
        all.extend(task.await??);
    }
    all.sort();
    Ok(all)
}

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let base = std::env::var_os("ONGGI_BENCH_DIR").map_or_else(std::env::temp_dir, Into::into);
    let dir = tempfile::tempdir_in(base)?;
    let store: Arc<dyn Store> = Arc::new(sqlite::open(&sqlite::Options::new(dir.path()))?);
    println!("durable writes of 1 KB in {}, best of {ROUNDS}", dir.path().display());
    println!("{:>8} {:>12} {:>10} {:>10}", "writers", "writes/s", "p50", "p99");
    for writers in [1, 16, 64] {
        let mut best: Option<Vec<Duration>> = None;
        for _ in 0..ROUNDS {
            let latencies = round(&store, writers).await?;
            if best.as_ref().is_none_or(|b| latencies.len() > b.len()) {
                best = Some(latencies);
            }
        }
        let latencies = best.unwrap_or_default();
        let percentile = |p: usize| latencies.get(latencies.len() * p / 100).copied();
        println!(
            "{writers:>8} {:>12.0} {:>10.1?} {:>10.1?}",
            latencies.len() as f64 / TIME.as_secs_f64(),
            percentile(50).unwrap_or_default(),
            percentile(99).unwrap_or_default(),
        );
    }
    println!("etcd: not measured, it needs its own protocol for a fair figure");
    store.close().await;
    Ok(())
}
