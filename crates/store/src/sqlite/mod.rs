//! The SQLite back end: one table, a row a version, appended in order of revision.
//!
//! A commit appends rows and is one WAL write and one sync. Nothing is ever read back but at
//! opening, when the index is built: the newest row of a key is its live value.
//!
//! ```sql
//! log   (revision INTEGER PRIMARY KEY, key TEXT, created INTEGER, value BLOB or NULL: deleted)
//! state (compacted INTEGER): where the history window begins; older rows are live values
//! keys  the data keys by which values are sealed, see `keys.rs`
//! ```
//! `user_version` of the database is the format, `application_id` says that it is ours.

mod keys;

use std::{
    fs::{self, File, OpenOptions, Permissions},
    io::{Read, Write},
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    sync::Arc,
};

use rusqlite::{Connection, ErrorCode, OpenFlags, config::DbConfig, params};

use crate::{
    Error, Event, EventKind, History, INITIAL_REVISION, LocalStore,
    committer::Disk,
    index::Index,
    seal::{KeyFile, Seal, Sealing},
};
use keys::Resealing;

/// The format that is written, and the newest that can be read.
const FORMAT: i64 = 2;
/// The same without keys.
const FORMAT_WITHOUT_KEYS: i64 = 1;
/// "ongg"
const APPLICATION: i64 = 0x6f6e_6767;

/// Where and how to keep a store.
#[derive(Debug, Clone)]
pub struct Options {
    /// Holds `store.db`, its `-wal` and `lock`; made if missing, for its owner alone.
    pub dir: PathBuf,
    /// What to keep for watches and paged reads.
    pub history: History,
    /// How large the write-ahead log may grow, in bytes, before it is moved to the database file.
    pub wal_bytes: usize,
    /// What to seal, and with which key; `None`: nothing.
    pub sealing: Option<Sealing>,
    /// Name of the SQLite VFS; `None` is the one of the system. Tests put a failing disk here.
    pub vfs: Option<String>,
}

impl Options {
    /// The usual ones for `dir`.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self {
            dir: dir.into(),
            history: History::default(),
            wal_bytes: 16 << 20,
            sealing: None,
            vfs: None,
        }
    }
}

/// Opens the store in a directory, or makes one. Blocks while it reads all of it.
pub fn open(options: &Options) -> Result<LocalStore, Error> {
    let dir = &options.dir;
    let failed = |reason: String| Error::Open { dir: dir.clone(), reason };
    let (lock, path) = claim(dir)?;
    let vfs = options.vfs.as_deref();
    let connection = connect(&path, vfs).map_err(|e| failed(e.to_string()))?;
    prepare(&connection, dir)?;
    let mut disk = Sqlite {
        connection,
        dir: dir.clone(),
        seal: Seal::default(),
        key_file: None,
        resealing: Resealing::default(),
        wal_limit: options.wal_bytes,
        wal_size: 0,
        buffer: Vec::new(),
        _lock: lock,
    };
    disk.open_keys(options.sealing.as_ref())?;
    let index = disk.load()?;
    match disk.reseal_all() {
        Err(error @ Error::DiskFull { .. }) => tracing::warn!(%error, "store: not yet sealed"),
        outcome => outcome?,
    }
    // What the last run left in the log. A full disk can still be read, and then made less full.
    match disk.checkpoint() {
        Err(error @ Error::DiskFull { .. }) => tracing::warn!(%error, "store"),
        outcome => outcome?,
    }
    LocalStore::start(index, Box::new(disk), options.history)
        .map_err(|e| failed(format!("cannot start its thread: {e}")))
}

/// Keeps other processes from the directory.
struct Lock(File);

impl Drop for Lock {
    fn drop(&mut self) {
        // Said, and not left to closing: a process that is being forked off still holds a copy of
        // the file until it executes its program.
        if let Err(error) = self.0.unlock() {
            tracing::warn!(%error, "store: cannot give up its lock");
        }
    }
}

/// Makes the directory and its files, and locks it.
fn claim(dir: &Path) -> Result<(Lock, PathBuf), Error> {
    let failed = |what: &Path, e: std::io::Error| Error::Open {
        dir: dir.to_owned(),
        reason: format!("{}: {e}", what.display()),
    };
    fs::create_dir_all(dir).map_err(|e| failed(dir, e))?;
    // Secrets are in there.
    fs::set_permissions(dir, Permissions::from_mode(0o700)).map_err(|e| failed(dir, e))?;
    let file = |name: &str| {
        let path = dir.join(name);
        let mut how = OpenOptions::new();
        how.read(true).write(true).create(true).truncate(false).mode(0o600);
        how.open(&path).map(|f| (f, path.clone())).map_err(|e| failed(&path, e))
    };
    let (mut lock, path) = file("lock")?;
    match lock.try_lock() {
        Ok(()) => {}
        Err(fs::TryLockError::WouldBlock) => {
            let mut text = String::new();
            let holder = lock.read_to_string(&mut text).ok().and_then(|_| text.trim().parse().ok());
            return Err(Error::InUse { dir: dir.to_owned(), holder });
        }
        Err(fs::TryLockError::Error(e)) => return Err(failed(&path, e)),
    }
    let mut lock = Lock(lock);
    // Only for the error text of others.
    let noted = lock.0.set_len(0).and_then(|()| writeln!(lock.0, "{}", std::process::id()));
    noted.map_err(|e| failed(&path, e))?;
    // Made here so that it gets this mode; SQLite gives its log the same.
    let (_, path) = file("store.db")?;
    // SQLite syncs what is in the files, but not the names of all of them.
    for dir in dir.ancestors().take(2).filter(|d| !d.as_os_str().is_empty()) {
        File::open(dir).and_then(|d| d.sync_all()).map_err(|e| failed(dir, e))?;
    }
    Ok((lock, path))
}

fn connect(path: &Path, vfs: Option<&str>) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
        | OpenFlags::SQLITE_OPEN_CREATE
        | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = match vfs {
        Some(vfs) => Connection::open_with_flags_and_vfs(path, flags, vfs)?,
        None => Connection::open_with_flags(path, flags)?,
    };
    // Exclusive from the first access on: the index of the log is then plain memory, not a mapped
    // file that a full disk turns into SIGBUS. EXTRA is FULL, and syncs the removal of the
    // rollback journal with which a database becomes a WAL one: if that file came back after a
    // power cut, it would undo the whole store.
    connection.execute_batch(
        "PRAGMA locking_mode = EXCLUSIVE;
         PRAGMA synchronous = EXTRA;
         PRAGMA trusted_schema = OFF;
         PRAGMA cell_size_check = ON;
         PRAGMA temp_store = MEMORY;",
    )?;
    Ok(connection)
}

/// Makes the tables of a new store, or checks that this is one that can be read.
fn prepare(connection: &Connection, dir: &Path) -> Result<(), Error> {
    let failed = |e: rusqlite::Error| Error::Open { dir: dir.to_owned(), reason: e.to_string() };
    let number = |sql: &str| connection.query_row(sql, [], |r| r.get::<_, i64>(0)).map_err(failed);
    let application = number("PRAGMA application_id")?;
    let format = number("PRAGMA user_version")?;
    let empty = number("SELECT count(*) FROM sqlite_schema")? == 0;
    match (application, format) {
        (APPLICATION, FORMAT | FORMAT_WITHOUT_KEYS) => {}
        (0, 0) if empty => {}
        (APPLICATION, found) if found > FORMAT => {
            return Err(Error::NewerFormat { dir: dir.to_owned(), found, known: FORMAT });
        }
        _ => {
            let reason =
                format!("store.db is no store (application {application:#x}, format {format})");
            return Err(Error::Open { dir: dir.to_owned(), reason });
        }
    }
    let mode = "PRAGMA journal_mode = WAL";
    let mode: String = connection.query_row(mode, [], |r| r.get(0)).map_err(failed)?;
    if mode != "wal" {
        let reason = format!("SQLite uses the journal mode {mode}, not wal");
        return Err(Error::Open { dir: dir.to_owned(), reason });
    }
    connection
        .execute_batch(
            "PRAGMA wal_autocheckpoint = 0;
             PRAGMA journal_size_limit = 67108864;",
        )
        .map_err(failed)?;
    if empty {
        connection
            .execute_batch(&format!(
                "BEGIN;
                 CREATE TABLE log (
                    revision INTEGER PRIMARY KEY, key TEXT NOT NULL, created INTEGER NOT NULL,
                    value BLOB
                 ) STRICT;
                 CREATE TABLE state (compacted INTEGER NOT NULL) STRICT;
                 INSERT INTO state VALUES ({INITIAL_REVISION});
                 {keys}
                 PRAGMA application_id = {APPLICATION};
                 PRAGMA user_version = {FORMAT};
                 COMMIT;",
                keys = keys::TABLE,
            ))
            .map_err(failed)?;
    } else if format == FORMAT_WITHOUT_KEYS {
        let keys = keys::TABLE;
        let sql = format!("BEGIN; {keys} PRAGMA user_version = {FORMAT}; COMMIT;");
        connection.execute_batch(&sql).map_err(failed)?;
    }
    Ok(())
}

struct Sqlite {
    // Closed before the lock is given up.
    connection: Connection,
    dir: PathBuf,
    seal: Seal,
    key_file: Option<KeyFile>,
    resealing: Resealing,
    wal_limit: usize,
    /// About how much is in the log.
    wal_size: usize,
    buffer: Vec<u8>,
    _lock: Lock,
}

/// SQLite's integers have a sign; no store lives to see the last of them.
fn to_sql(revision: u64) -> i64 {
    revision.cast_signed()
}

impl Sqlite {
    fn load(&mut self) -> Result<Index, Error> {
        let (index, stale) = self.read()?;
        self.note_stale(stale);
        Ok(index)
    }

    /// All there is, and whether some of it is not sealed as it should be.
    fn read(&self) -> Result<(Index, bool), Error> {
        let damaged = |reason: String| Error::Corrupt { dir: self.dir.clone(), reason };
        let sqlite = |e: rusqlite::Error| damaged(e.to_string());
        let state = "SELECT compacted FROM state";
        let compacted: i64 = self.connection.query_row(state, [], |r| r.get(0)).map_err(sqlite)?;
        let mut index = Index::new(compacted.cast_unsigned());
        let mut stale = false;
        let rows = "SELECT revision, key, created, value FROM log ORDER BY revision";
        let mut rows = self.connection.prepare(rows).map_err(sqlite)?;
        let mut rows = rows.query([]).map_err(sqlite)?;
        while let Some(row) = rows.next().map_err(sqlite)? {
            let revision = row.get::<_, i64>(0).map_err(sqlite)?.cast_unsigned();
            let key = row.get_ref(1).and_then(|v| Ok(v.as_str()?)).map_err(sqlite)?;
            let created = row.get::<_, i64>(2).map_err(sqlite)?.cast_unsigned();
            let stored: Option<Vec<u8>> = row.get(3).map_err(sqlite)?;
            stale |= stored.as_ref().is_some_and(|stored| self.seal.is_stale(key, stored));
            let value = stored.map(|s| self.seal.open(key, s)).transpose();
            let value = value.map_err(|e| damaged(format!("the value of {key:?} is {e}")))?;
            index.restore(revision, key, created, value).map_err(damaged)?;
        }
        Ok((index, stale))
    }

    fn insert(&mut self, events: &[Arc<Event>]) -> rusqlite::Result<()> {
        let transaction = self.connection.unchecked_transaction()?;
        let mut insert = transaction.prepare_cached("INSERT INTO log VALUES (?1, ?2, ?3, ?4)")?;
        for event in events {
            let value = match event.kind {
                EventKind::Put => {
                    self.seal.seal(&event.key, &event.value, &mut self.buffer).map_err(
                        |problem| rusqlite::Error::ToSqlConversionFailure(problem.into()),
                    )?;
                    Some(self.buffer.as_slice())
                }
                EventKind::Delete => None,
            };
            let (revision, created) = (to_sql(event.revision), to_sql(event.create_revision));
            insert.execute(params![revision, &*event.key, created, value])?;
        }
        drop(insert);
        transaction.commit()
    }

    fn delete(&mut self, compacted: u64, revisions: &[u64]) -> rusqlite::Result<()> {
        let transaction = self.connection.unchecked_transaction()?;
        transaction
            .prepare_cached("UPDATE state SET compacted = ?1")?
            .execute([to_sql(compacted)])?;
        let mut delete = transaction.prepare_cached("DELETE FROM log WHERE revision = ?1")?;
        for revision in revisions {
            delete.execute([to_sql(*revision)])?;
        }
        drop(delete);
        transaction.commit()
    }

    /// Moves the log to the database file, so that it is written from its beginning again.
    fn checkpoint(&mut self) -> Result<(), Error> {
        let checkpoint = "PRAGMA wal_checkpoint(PASSIVE)";
        let outcome = self.connection.query_row(checkpoint, [], |_| Ok(()));
        // Also after a failure: the next attempt comes when as much has been written again.
        self.wal_size = 0;
        outcome.map_err(|e| self.classify(e))
    }

    /// What an error of SQLite means for the store.
    fn classify(&self, error: rusqlite::Error) -> Error {
        let (dir, reason) = (self.dir.clone(), error.to_string());
        // Still inside means that SQLite could not undo it.
        let undone = self.connection.is_autocommit();
        if undone && error.sqlite_error_code() == Some(ErrorCode::DiskFull) {
            return Error::DiskFull { dir, reason };
        }
        // Above all a failed sync: the system has dropped the pages and the next sync would
        // succeed without them, so trying again would be a lie.
        // Nor may closing move a log that was not synced to the database file.
        let keep = DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE;
        if let Err(error) = self.connection.set_db_config(keep, true) {
            tracing::warn!(%error, "store: cannot keep its log for later");
        }
        Error::Broken { dir, reason }
    }

    /// Pages are written whole, and the way to them with them.
    fn grow(&mut self, bytes: usize) {
        self.wal_size += bytes + 2 * 4096;
    }
}

impl Disk for Sqlite {
    fn append(&mut self, events: &[Arc<Event>]) -> Result<(), Error> {
        self.grow(events.iter().map(|e| e.key.len() + e.value.len() + 32).sum());
        self.insert(events).map_err(|e| self.classify(e))
    }

    fn forget(&mut self, compacted: u64, revisions: &[u64]) -> Result<(), Error> {
        // Old versions of one key lie far apart: reckon with a page each.
        self.grow(revisions.len() * 4096);
        // Without a sync of its own: the log keeps its order, so whatever is synced later comes
        // with this or after it.
        let run = |this: &Self, sql: &str| {
            this.connection.execute_batch(sql).map_err(|e| this.classify(e))
        };
        run(self, "PRAGMA synchronous = NORMAL")?;
        let outcome = self.delete(compacted, revisions).map_err(|e| self.classify(e));
        run(self, "PRAGMA synchronous = EXTRA")?;
        outcome
    }

    fn rotate(&mut self) -> Result<(), Error> {
        self.begin_rotation()
    }

    fn reseal(&mut self) -> Result<bool, Error> {
        self.reseal_some()
    }

    fn tidy(&mut self) -> Result<(), Error> {
        if self.wal_size < self.wal_limit { Ok(()) } else { self.checkpoint() }
    }
}
