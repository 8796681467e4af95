//! Power cuts at any write or sync: every answered write is found, none is found in part.

use std::{path::Path, sync::Arc};

use futures::future::join_all;
use onggi_store::{
    Error, Event, Expect, History, KeyValue, LocalStore, RangeRequest, Store, Txn, sqlite,
};

use crate::{
    faulty_disk::{Faults, FaultyDisk},
    support::{Rng, history, text},
};

const WRITERS: usize = 6;

fn open(disk: &FaultyDisk, dir: &Path) -> Result<LocalStore, Error> {
    // Little of everything, so that cuts fall into compaction and checkpoints as well.
    let history = History { revisions: 40, bytes: usize::MAX };
    let options = sqlite::Options::new(dir);
    sqlite::open(&sqlite::Options { history, wal_bytes: 60_000, vfs: disk.vfs(), ..options })
}

/// What one writer knows: of its key, the last answer, and whether a further write was begun.
#[derive(Debug, Clone, Default)]
struct Known {
    answered: Option<KeyValue>,
    begun: Option<Txn>,
}

/// Writes until the disk fails.
async fn write(store: Arc<LocalStore>, key: String, known: &mut Known, mut rng: Rng) {
    loop {
        let n = rng.below(1_000_000);
        let last = known.answered.as_ref();
        let expect = last.map_or(Expect::Absent, |kv| Expect::Revision(kv.mod_revision));
        let txn = if last.is_some() && rng.below(5) == 0 {
            Txn::delete(&*key, expect)
        } else {
            let at = last.map_or(0, |kv| kv.mod_revision);
            Txn::put(&*key, expect, format!("{n} {at} {}", "x".repeat(n as usize % 6000)))
        };
        known.begun = Some(txn.clone());
        match store.txn(txn).await {
            Ok(_) => {
                known.answered = store.get(&key).await.unwrap();
                known.begun = None;
            }
            Err(Error::Broken { .. }) => return,
            Err(error) => panic!("{error}"),
        }
    }
}

/// Compares what is found with what is known; afterwards what is found is what is known.
fn check(found: &[KeyValue], known: &mut [Known]) -> Result<(), String> {
    for (writer, known) in known.iter_mut().enumerate() {
        let key = format!("/{writer}");
        let found = found.iter().find(|kv| *kv.key == *key).cloned();
        let begun = known.begun.take().is_some_and(|txn| match (txn.op, &found) {
            (onggi_store::Op::Put(value), Some(kv)) => value == kv.value,
            (onggi_store::Op::Delete, None) => true,
            _ => false,
        });
        if found != known.answered && !begun {
            return Err(format!("{key}: found {found:?}, answered {:?}", known.answered));
        }
        known.answered = found;
    }
    Ok(())
}

fn check_chain(events: &[Arc<Event>]) -> Result<(), String> {
    for event in events {
        let Some(current) = event.current() else { continue };
        let at = event.previous.as_ref().map_or(0, |p| p.mod_revision);
        if text(&current).split(' ').nth(1) != Some(&at.to_string()) {
            return Err(format!("broken chain: {event:?}"));
        }
    }
    Ok(())
}

/// The life of a disk through several cuts. Answers how many writes were answered.
async fn life(seed: u64, faults: Faults) -> Result<u64, String> {
    let mut rng = Rng::new(seed);
    let disk = FaultyDisk::new(seed);
    disk.set(faults);
    let dir = tempfile::tempdir().unwrap();
    let mut known = vec![Known::default(); WRITERS];
    let mut writes = 0;
    for cut in 0..8 {
        let early = rng.below(3) == 0;
        if early {
            // May fall into the recovery from the cut before.
            disk.cut_power_after(1 + rng.below(30));
        }
        match open(disk, dir.path()) {
            Ok(store) => {
                let store = Arc::new(store);
                let found = store.range(RangeRequest::all("/")).await.unwrap();
                check(&found.items, &mut known).map_err(|e| format!("cut {cut}: {e}"))?;
                check_chain(&history(&*store).await)?;
                if !early {
                    disk.cut_power_after(1 + rng.below(250));
                }
                let before = store.revision();
                join_all(known.iter_mut().enumerate().map(|(writer, known)| {
                    let rng = Rng::new(rng.below(u64::MAX >> 12));
                    write(store.clone(), format!("/{writer}"), known, rng)
                }))
                .await;
                writes += store.revision() - before;
            }
            Err(error) if early => drop(error),
            Err(error) => return Err(format!("cut {cut}: {error}")),
        }
        disk.power_cycle();
    }
    open(disk, dir.path()).map_err(|e| e.to_string())?;
    Ok(writes)
}

#[tokio::test]
async fn cuts_lose_no_answered_write() {
    let mut writes = 0;
    for seed in 1..=60 {
        match life(seed, Faults::default()).await {
            Ok(answered) => writes += answered,
            Err(error) => panic!("seed {seed}: {error}"),
        }
    }
    println!("{writes} answered writes, all found after 480 power cuts");
    assert!(writes > 5_000);
}

/// The test above would see it if writes were answered too early.
#[tokio::test]
async fn a_disk_that_lies_about_syncs_is_found_out() {
    let lies = Faults { sync_lies: true, ..Faults::default() };
    let mut found_out = 0;
    for seed in 1..=5 {
        found_out += u32::from(life(seed, lies).await.is_err());
    }
    assert!(found_out > 0);
}
