//! sled as a queue: keys are big-endian numbers, values one body or several behind one another.
//!
//! After each group `flush()`, and an `fsync` of its file: on Linux `flush()` alone calls `sync_file_range`, after which
//! a power cut still took everything in a test.

use crate::queue::{DRAIN_STEP, Outcome, Queue};
use crate::readings::Readings;
use std::fs::File;
use std::path::Path;

/// Its cache: what a gateway of 512 MB could give it.
const CACHE: u64 = 16 * 1024 * 1024;

pub(crate) struct SledQueue {
    db: sled::Db,
    file: File,
    /// Records in a value at most.
    pack: u64,
    /// First key that is there.
    first: u64,
    buffer: Vec<u8>,
}

impl SledQueue {
    pub(crate) fn open(folder: &Path, pack: u64) -> Outcome<Self> {
        let path = folder.join("sled");
        let db = sled::Config::new().path(&path).cache_capacity(CACHE).flush_every_ms(None).open()?;
        let file = File::open(path.join("db"))?;
        File::open(&path)?.sync_all()?;
        // What comes next must be known before anything is appended.
        let first = db.first()?.map(|(key, _)| number(&key)).transpose()?.unwrap_or(0);
        db.last()?;
        Ok(Self { db, file, pack, first, buffer: Vec::new() })
    }

    fn commit(&mut self, batch: sled::Batch) -> Outcome<()> {
        self.db.apply_batch(batch)?;
        self.db.flush()?;
        Ok(self.file.sync_all()?)
    }

    /// Removes values that lie wholly below `below`; a value begins where the one before it ends.
    fn remove(&mut self, below: u64, batch: &mut sled::Batch) -> Outcome<()> {
        let mut previous: Option<(u64, sled::IVec)> = None;
        for entry in self.db.range(self.first.to_be_bytes()..) {
            let (key, _) = entry?;
            let start = number(&key)?;
            if let Some((_, gone)) = previous.take().filter(|_| start <= below) {
                batch.remove(gone);
                self.first = start;
            }
            if start >= below {
                return Ok(());
            }
            previous = Some((start, key));
        }
        Ok(())
    }
}

impl Queue for SledQueue {
    fn append(&mut self, readings: &Readings, from: u64, count: u64, keep_from: u64) -> Outcome<()> {
        let mut batch = sled::Batch::default();
        let mut next = from;
        while next < from + count {
            let end = (next + self.pack).min(from + count);
            self.buffer.clear();
            (next..end).for_each(|number| readings.body(number, &mut self.buffer));
            batch.insert(&next.to_be_bytes(), self.buffer.as_slice());
            next = end;
        }
        if keep_from > self.first {
            self.remove(keep_from, &mut batch)?;
        }
        self.commit(batch)
    }

    fn read(&mut self, readings: &Readings) -> Outcome<u64> {
        let mut count = 0;
        for entry in self.db.iter() {
            let (key, value) = entry?;
            let (mut record, mut rest) = (number(&key)?, &value[..]);
            while !rest.is_empty() {
                let (body, after) = rest.split_at_checked(readings.len(record)).ok_or("a value is too short")?;
                if !readings.is_body(record, body) {
                    return Err(format!("record {record} reads otherwise").into());
                }
                (rest, record, count) = (after, record + 1, count + 1);
            }
        }
        Ok(count)
    }

    fn drain(&mut self, from: u64, count: u64) -> Outcome<()> {
        let (mut below, end) = (from, from + count);
        while below < end {
            below = (below + DRAIN_STEP).min(end);
            let mut batch = sled::Batch::default();
            if below == end {
                for entry in self.db.range(self.first.to_be_bytes()..) {
                    batch.remove(entry?.0);
                }
            } else {
                self.remove(below, &mut batch)?;
            }
            self.commit(batch)?;
        }
        if self.db.is_empty() { Ok(()) } else { Err("something is left after draining".into()) }
    }

    fn close(self: Box<Self>) -> Outcome<()> {
        self.db.flush()?;
        Ok(self.file.sync_all()?)
    }
}

fn number(key: &[u8]) -> Outcome<u64> {
    Ok(u64::from_be_bytes(key.try_into()?))
}
