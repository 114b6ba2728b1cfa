//! `SQLite` as a queue: one table, a row for each record, a transaction for each group, WAL with `synchronous=FULL` (a
//! transaction is on flash when it has returned), everything else as it comes.

use crate::queue::{DRAIN_STEP, Outcome, Queue};
use crate::readings::Readings;
use rusqlite::{Connection, OptionalExtension};
use std::path::Path;

pub(crate) struct Sqlite {
    db: Connection,
    buffer: Vec<u8>,
}

impl Sqlite {
    pub(crate) fn open(folder: &Path) -> Outcome<Self> {
        let db = Connection::open(folder.join("queue.sqlite"))?;
        let mode: String = db.query_row("PRAGMA journal_mode=WAL", [], |row| row.get(0))?;
        if mode != "wal" {
            return Err(format!("SQLite's journal mode is {mode}, not WAL").into());
        }
        db.execute_batch("PRAGMA synchronous=FULL")?;
        db.execute_batch("CREATE TABLE IF NOT EXISTS records (seq INTEGER PRIMARY KEY, body BLOB NOT NULL)")?;
        // What comes next must be known before anything is appended.
        db.query_row("SELECT max(seq) FROM records", [], |row| row.get::<_, Option<i64>>(0)).optional()?;
        Ok(Self { db, buffer: Vec::new() })
    }
}

impl Queue for Sqlite {
    fn append(&mut self, readings: &Readings, from: u64, count: u64, keep_from: u64) -> Outcome<()> {
        let transaction = self.db.transaction()?;
        {
            let mut insert = transaction.prepare_cached("INSERT INTO records (seq, body) VALUES (?1, ?2)")?;
            for number in from..from + count {
                self.buffer.clear();
                readings.body(number, &mut self.buffer);
                insert.execute((number as i64, &self.buffer))?;
            }
        }
        if keep_from > 0 {
            transaction.prepare_cached("DELETE FROM records WHERE seq < ?1")?.execute([keep_from as i64])?;
        }
        Ok(transaction.commit()?)
    }

    fn read(&mut self, readings: &Readings) -> Outcome<u64> {
        let mut select = self.db.prepare("SELECT seq, body FROM records ORDER BY seq")?;
        let mut rows = select.query([])?;
        let mut count = 0;
        while let Some(row) = rows.next()? {
            let (number, body) = (row.get::<_, i64>(0)? as u64, row.get_ref(1)?.as_blob()?);
            if !readings.is_body(number, body) {
                return Err(format!("record {number} reads otherwise").into());
            }
            count += 1;
        }
        Ok(count)
    }

    fn drain(&mut self, from: u64, count: u64) -> Outcome<()> {
        let (mut below, end) = (from, from + count);
        while below < end {
            below = (below + DRAIN_STEP).min(end);
            self.db.prepare_cached("DELETE FROM records WHERE seq < ?1")?.execute([below as i64])?;
        }
        let left: i64 = self.db.query_row("SELECT count(*) FROM records", [], |row| row.get(0))?;
        if left == 0 { Ok(()) } else { Err(format!("{left} records are left after draining").into()) }
    }

    fn close(self: Box<Self>) -> Outcome<()> {
        self.db.close().map_err(|(_, error)| error.into())
    }
}
