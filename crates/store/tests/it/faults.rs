//! Disks that are full or fail: clear errors, nothing half done, no false promises.

use std::path::Path;

use onggi_store::{Error, Expect, History, LocalStore, RangeRequest, Store, Txn, sqlite};

use crate::{
    faulty_disk::{Faults, FaultyDisk},
    support::{lines, put, text},
};

fn open(disk: &FaultyDisk, dir: &Path) -> Result<LocalStore, Error> {
    let history = History { revisions: 100, bytes: usize::MAX };
    let options = sqlite::Options::new(dir);
    sqlite::open(&sqlite::Options { history, wal_bytes: 100_000, vfs: disk.vfs(), ..options })
}

#[tokio::test]
async fn a_full_disk_refuses_writes_until_there_is_space() {
    let (disk, dir) = (FaultyDisk::new(1), tempfile::tempdir().unwrap());
    let store = open(disk, dir.path()).unwrap();
    put(&store, "a", Expect::Absent, "small").await;
    disk.set(Faults { space: Some(disk.used() + 300_000), ..Faults::default() });
    let mut written = 0;
    let error = loop {
        let txn = Txn::put(format!("/{written:03}"), Expect::Absent, vec![b'x'; 10_000]);
        match store.txn(txn).await {
            Ok(_) => written += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(&error, Error::DiskFull { .. }), "{error}");
    assert!(error.to_string().contains(&dir.path().display().to_string()), "{error}");
    assert!(written > 5);
    // Refused, not half done: no revision was used up, and reading goes on.
    let revision = store.revision();
    assert_eq!(revision, written + 2);
    assert_eq!(store.get(&format!("/{written:03}")).await.unwrap(), None);
    for n in 0..10 {
        let again = store.txn(Txn::put(format!("/more{n}"), Expect::Any, vec![0; 10_000])).await;
        assert!(matches!(again, Err(Error::DiskFull { .. })), "{again:?}");
    }
    store.health().unwrap();

    disk.set(Faults::default());
    let next = put(&store, "b", Expect::Absent, "works again").await;
    assert_eq!(next, revision + 1);
    drop(store);
    let store = open(disk, dir.path()).unwrap();
    assert_eq!(store.revision(), next);
    let items = store.range(RangeRequest::all("/")).await.unwrap().items;
    assert_eq!(items.len() as u64, written);
    assert!(items.iter().all(|kv| kv.value.len() == 10_000));
}

#[tokio::test]
async fn a_full_disk_can_still_be_opened_and_read() {
    let (disk, dir) = (FaultyDisk::new(1), tempfile::tempdir().unwrap());
    let store = open(disk, dir.path()).unwrap();
    for n in 0..50 {
        put(&store, &format!("/{n}"), Expect::Absent, "x").await;
    }
    disk.set(Faults { space: Some(0), ..Faults::default() });
    drop(store);
    let store = open(disk, dir.path()).unwrap();
    assert_eq!(store.range(RangeRequest::all("/")).await.unwrap().items.len(), 50);
    let refused = store.txn(Txn::put("/more", Expect::Any, vec![0; 100_000])).await;
    assert!(matches!(refused, Err(Error::DiskFull { .. })), "{refused:?}");
}

#[tokio::test]
async fn after_a_failed_sync_or_write_nothing_more_is_promised() {
    for faults in [
        Faults { sync_fails: true, ..Faults::default() },
        Faults { write_fails: true, ..Faults::default() },
    ] {
        let (disk, dir) = (FaultyDisk::new(7), tempfile::tempdir().unwrap());
        let store = open(disk, dir.path()).unwrap();
        let at = put(&store, "a", Expect::Absent, "answered").await;
        disk.set(faults);
        let failed = store.txn(Txn::put("a", Expect::Revision(at), "lost")).await;
        assert!(matches!(&failed, Err(Error::Broken { .. })), "{failed:?}");
        let error = failed.err().unwrap();
        assert!(error.to_string().contains(&dir.path().display().to_string()), "{error}");

        // The disk says it is well again, but what it dropped is gone: no write is taken.
        disk.set(Faults::default());
        let again = store.txn(Txn::put("b", Expect::Any, "x")).await;
        assert_eq!(again.err().as_ref(), Some(&error));
        assert_eq!(store.compact(at).await.err().as_ref(), Some(&error));
        assert_eq!(store.health().err().as_ref(), Some(&error));
        // What was answered can be read on.
        assert_eq!(
            (store.revision(), text(&store.get("a").await.unwrap().unwrap())),
            (at, "answered".to_owned())
        );
        drop(store);

        disk.power_cycle();
        let store = open(disk, dir.path()).unwrap();
        let items = lines(&store.range(RangeRequest::all("")).await.unwrap().items);
        let possible = [vec![format!("a=answered@{at}")], vec![format!("a=lost@{}", at + 1)]];
        assert!(possible.contains(&items), "{items:?}");
        put(&store, "b", Expect::Absent, "works again").await;
    }
}

#[tokio::test]
async fn compaction_costs_no_sync() {
    let (disk, dir) = (FaultyDisk::new(1), tempfile::tempdir().unwrap());
    let options = sqlite::Options { vfs: disk.vfs(), ..sqlite::Options::new(dir.path()) };
    let store = sqlite::open(&options).unwrap();
    for n in 0..600 {
        put(&store, "a", Expect::Any, &n.to_string()).await;
    }
    let before = disk.syncs();
    store.compact(500).await.unwrap();
    assert_eq!(disk.syncs(), before);
    put(&store, "a", Expect::Any, "x").await;
    assert_eq!(disk.syncs(), before + 1);
}
