//! The data keys in the database, and sealing anew what lies there.
//!
//! ```sql
//! keys (id INTEGER PRIMARY KEY, kek INTEGER: the key that seals it, sealed BLOB)
//! ```
//! A key is stored before anything is sealed by it, and dropped after the last value that it sealed
//! was sealed anew; each step is a transaction, so that a crash at any moment loses nothing.

use rusqlite::params;

use super::Sqlite;
use crate::Error;
use crate::seal::{Key, KeyFile, PEEK, Seal, Sealing};

pub(super) const TABLE: &str = "CREATE TABLE IF NOT EXISTS keys (
    id INTEGER PRIMARY KEY, kek INTEGER NOT NULL, sealed BLOB NOT NULL
 ) STRICT;";

/// Rows looked at in one step.
const STEP: i64 = 1000;
/// Values sealed anew in one step, which is one transaction.
const BATCH: usize = 64;

/// What is done beside serving: where it has come.
#[derive(Debug, Default)]
pub(super) struct Resealing {
    /// The revision after which rows are still to be looked at; `None`: nothing is to be done.
    cursor: Option<u64>,
}

impl Sqlite {
    fn keys_failed(&self, reason: impl Into<String>) -> Error {
        Error::Open { dir: self.dir.clone(), reason: reason.into() }
    }

    /// Reads the data keys, and makes the first.
    pub(super) fn open_keys(&mut self, sealing: Option<&Sealing>) -> Result<(), Error> {
        let sql = |e: rusqlite::Error| self.keys_failed(e.to_string());
        let mut stored: Vec<(u32, u32, Vec<u8>)> = Vec::new();
        {
            let mut rows =
                self.connection.prepare("SELECT id, kek, sealed FROM keys").map_err(sql)?;
            let mut rows = rows.query([]).map_err(sql)?;
            while let Some(row) = rows.next().map_err(sql)? {
                stored.push((
                    row.get(0).map_err(sql)?,
                    row.get(1).map_err(sql)?,
                    row.get(2).map_err(sql)?,
                ));
            }
        }
        let Some(sealing) = sealing else { return Ok(()) };
        let file = KeyFile::read(&sealing.key_file).map_err(|e| self.keys_failed(e))?;
        let mut file = match file {
            Some(file) => file,
            None if stored.is_empty() => {
                KeyFile::create(&sealing.key_file).map_err(|e| self.keys_failed(e))?
            }
            None => {
                return Err(self.keys_failed(format!(
                    "the key file {} is gone, without which what is sealed cannot be read; put it \
                     back from where you keep its copy",
                    sealing.key_file.display()
                )));
            }
        };
        let mut seal = Seal::new(sealing.prefixes.clone());
        let mut rewrap = Vec::new();
        let open = || -> Result<(), String> {
            let (newest, outer) = file.newest()?;
            for (id, kek, sealed) in stored {
                let key = file.get(kek)?.unwrap(id, sealed)?;
                seal.add(id, &key)?;
                if kek != newest {
                    rewrap.push((id, newest, outer.wrap(id, &key)?));
                }
            }
            if seal.active().is_none() {
                let key = Key::generate()?;
                seal.add(1, &key)?;
                rewrap.push((1, newest, outer.wrap(1, &key)?));
            }
            Ok(())
        };
        open().map_err(|e| self.keys_failed(e))?;
        self.put_keys(&rewrap)?;
        // A change of the key that was broken off is at its end now.
        file.retire().map_err(|e| self.keys_failed(e))?;
        self.seal = seal;
        self.key_file = Some(file);
        Ok(())
    }

    fn put_keys(&self, keys: &[(u32, u32, Vec<u8>)]) -> Result<(), Error> {
        if keys.is_empty() {
            return Ok(());
        }
        let run = || {
            let transaction = self.connection.unchecked_transaction()?;
            for (id, kek, sealed) in keys {
                transaction.execute(
                    "INSERT OR REPLACE INTO keys VALUES (?1, ?2, ?3)",
                    params![id, kek, sealed],
                )?;
            }
            transaction.commit()
        };
        run().map_err(|e| self.classify(e))
    }

    /// Begins to seal everything anew, with new keys.
    pub(super) fn begin_rotation(&mut self) -> Result<(), Error> {
        let unsealed = "this store seals nothing";
        let Some(mut file) = self.key_file.take() else { return Err(self.keys_failed(unsealed)) };
        let outcome = self.new_keys(&mut file);
        self.key_file = Some(file);
        outcome?;
        self.resealing.cursor = Some(0);
        Ok(())
    }

    fn new_keys(&mut self, file: &mut KeyFile) -> Result<(), Error> {
        let failed = |e: String| Error::Open { dir: self.dir.clone(), reason: e };
        file.add().map_err(failed)?;
        let (kek, outer) = file.newest().map_err(failed)?;
        let mut keys = Vec::new();
        let mut rows = Vec::new();
        {
            let sql = |e: rusqlite::Error| self.classify(e);
            let mut all =
                self.connection.prepare("SELECT id, kek, sealed FROM keys").map_err(sql)?;
            let mut all = all.query([]).map_err(sql)?;
            while let Some(row) = all.next().map_err(sql)? {
                let (id, kek): (u32, u32) = (row.get(0).map_err(sql)?, row.get(1).map_err(sql)?);
                rows.push((id, kek, row.get::<_, Vec<u8>>(2).map_err(sql)?));
            }
        }
        for (id, old, sealed) in rows {
            let key = file.get(old).and_then(|outer| outer.unwrap(id, sealed)).map_err(failed)?;
            keys.push((id, kek, outer.wrap(id, &key).map_err(failed)?));
        }
        let id = self.seal.active().unwrap_or(0) + 1;
        let key = Key::generate().map_err(failed)?;
        keys.push((id, kek, outer.wrap(id, &key).map_err(failed)?));
        self.put_keys(&keys)?;
        file.retire().map_err(failed)?;
        self.seal.add(id, &key).map_err(failed)
    }

    /// Something is not sealed as it should be, or a key was left that nothing needs.
    pub(super) fn note_stale(&mut self, stale: bool) {
        if stale || self.seal.is_rotating() {
            self.resealing.cursor = Some(0);
        }
    }

    /// Seals a few values anew; says whether there is more to do.
    pub(super) fn reseal_some(&mut self) -> Result<bool, Error> {
        let Some(cursor) = self.resealing.cursor else { return Ok(false) };
        let (next, stale) = self.find_stale(cursor).map_err(|e| self.classify(e))?;
        self.reseal(&stale)?;
        self.grow(stale.len() * 2 * 4096);
        self.resealing.cursor = next;
        if next.is_some() {
            return Ok(true);
        }
        self.drop_old_keys()?;
        Ok(false)
    }

    /// The revisions of values to seal anew after a place, and where to go on.
    fn find_stale(&self, cursor: u64) -> rusqlite::Result<(Option<u64>, Vec<u64>)> {
        let mut rows = self.connection.prepare_cached(
            "SELECT revision, key, substr(value, 1, ?3) FROM log
             WHERE revision > ?1 ORDER BY revision LIMIT ?2",
        )?;
        let mut rows = rows.query(params![super::to_sql(cursor), STEP, PEEK])?;
        let (mut stale, mut last, mut count) = (Vec::new(), cursor, 0_i64);
        while let Some(row) = rows.next()? {
            last = row.get::<_, i64>(0)?.cast_unsigned();
            count += 1;
            let beginning: Option<Vec<u8>> = row.get(2)?;
            let key = row.get_ref(1)?.as_str()?;
            if beginning.is_some_and(|beginning| self.seal.is_stale(key, &beginning)) {
                stale.push(last);
                if stale.len() == BATCH {
                    return Ok((Some(last), stale));
                }
            }
        }
        Ok(((count == STEP).then_some(last), stale))
    }

    fn reseal(&mut self, revisions: &[u64]) -> Result<(), Error> {
        if revisions.is_empty() {
            return Ok(());
        }
        let mut run = || -> rusqlite::Result<Result<(), String>> {
            let transaction = self.connection.unchecked_transaction()?;
            for revision in revisions {
                let revision = super::to_sql(*revision);
                let read = "SELECT key, value FROM log WHERE revision = ?1";
                let (key, stored): (String, Vec<u8>) =
                    transaction
                        .query_row(read, [revision], |row| Ok((row.get(0)?, row.get(1)?)))?;
                let value = match self.seal.open(&key, stored) {
                    Ok(value) => value,
                    Err(problem) => return Ok(Err(format!("the value of {key:?} is {problem}"))),
                };
                if let Err(problem) = self.seal.seal(&key, &value, &mut self.buffer) {
                    return Ok(Err(problem));
                }
                let write = "UPDATE log SET value = ?2 WHERE revision = ?1";
                transaction.prepare_cached(write)?.execute(params![revision, self.buffer])?;
            }
            transaction.commit().map(Ok)
        };
        match run() {
            Ok(Ok(())) => Ok(()),
            Ok(Err(reason)) => Err(Error::Corrupt { dir: self.dir.clone(), reason }),
            Err(error) => Err(self.classify(error)),
        }
    }

    /// Nothing is sealed by the old keys any more.
    fn drop_old_keys(&mut self) -> Result<(), Error> {
        let old = self.seal.retire();
        if old.is_empty() {
            return Ok(());
        }
        let run = || {
            self.connection.execute_batch("PRAGMA secure_delete = ON")?;
            let transaction = self.connection.unchecked_transaction()?;
            for id in &old {
                transaction.execute("DELETE FROM keys WHERE id = ?1", [id])?;
            }
            transaction.commit()?;
            self.connection.execute_batch("PRAGMA secure_delete = OFF")
        };
        run().map_err(|e| self.classify(e))?;
        self.empty_log()
    }

    /// Seals everything that an earlier version, or a change of the key that was broken off, has
    /// left, before anything is served.
    pub(super) fn reseal_all(&mut self) -> Result<(), Error> {
        if self.resealing.cursor.is_none() {
            return Ok(());
        }
        // What stood there before is overwritten, not only given up.
        let run = |this: &Self, sql: &str| {
            this.connection.execute_batch(sql).map_err(|e| this.classify(e))
        };
        run(self, "PRAGMA secure_delete = ON")?;
        while self.reseal_some()? {}
        // Pages that were given up earlier may hold old values.
        run(self, "VACUUM")?;
        run(self, "PRAGMA secure_delete = OFF")?;
        self.empty_log()
    }

    /// Moves the log to the database file and cuts it off.
    fn empty_log(&mut self) -> Result<(), Error> {
        let checkpoint = "PRAGMA wal_checkpoint(TRUNCATE)";
        let outcome = self.connection.query_row(checkpoint, [], |_| Ok(()));
        outcome.map_err(|e| self.classify(e))
    }
}
