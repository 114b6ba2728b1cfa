//! What every contender must do.

use crate::readings::Readings;
use std::path::Path;
use std::sync::Arc;

pub(crate) type Outcome<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// Records removed with one durable change while draining: the forwarder's batch.
pub(crate) const DRAIN_STEP: u64 = 500;

/// A durable queue of records numbered from 0 up.
pub(crate) trait Queue {
    /// Appends the records `from..from + count` as one group; with it goes everything below `keep_from`. Durable on
    /// return.
    fn append(&mut self, readings: &Readings, from: u64, count: u64, keep_from: u64) -> Outcome<()>;

    /// Appends at saturation, in groups of `group` where they do not form by themselves, and never holds more than
    /// `hold` records. Durable on return; says how many groups it took.
    fn saturate(&mut self, readings: &Arc<Readings>, from: u64, count: u64, group: u64, hold: u64) -> Outcome<u64> {
        let (mut next, end, mut groups) = (from, from + count, 0);
        while next < end {
            let some = group.max(1).min(end - next);
            self.append(readings, next, some, (next + some).saturating_sub(hold))?;
            next += some;
            groups += 1;
        }
        Ok(groups)
    }

    /// Reads everything in order and makes sure that it is right; says how many records there were.
    fn read(&mut self, readings: &Readings) -> Outcome<u64>;

    /// Removes the records `from..from + count`, durably, [`DRAIN_STEP`] at a time.
    fn drain(&mut self, from: u64, count: u64) -> Outcome<()>;

    /// Closes it in order.
    fn close(self: Box<Self>) -> Outcome<()>;
}

/// Who is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Contender {
    Ours,
    Bare,
    Sled,
    SledPacked,
    Sqlite,
}

impl Contender {
    /// In the order in which they run: the first says how large groups are.
    pub(crate) const ALL: [Self; 5] = [Self::Ours, Self::Bare, Self::Sled, Self::SledPacked, Self::Sqlite];

    /// For the command line of a child.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Ours => "ours",
            Self::Bare => "bare",
            Self::Sled => "sled",
            Self::SledPacked => "sled-packed",
            Self::Sqlite => "sqlite",
        }
    }

    pub(crate) fn parse(word: &str) -> Outcome<Self> {
        Ok(Self::ALL.into_iter().find(|one| one.word() == word).ok_or_else(|| format!("no contender: {word}"))?)
    }

    /// For people.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Ours => "**Tidegate**",
            Self::Bare => "bare `write` + `fdatasync`",
            Self::Sled => "sled 0.34, a key a record",
            Self::SledPacked => "sled 0.34, 20 records a value",
            Self::Sqlite => "SQLite, WAL, FULL",
        }
    }

    /// Opens its queue in a folder; `max_size` is the limit of bytes on disk, for whoever evicts by itself.
    pub(crate) fn open(self, folder: &Path, max_size: u64) -> Outcome<Box<dyn Queue>> {
        Ok(match self {
            Self::Ours => Box::new(crate::ours::Ours::open(folder, max_size)?),
            Self::Bare => Box::new(crate::bare::Bare::open(folder)?),
            Self::Sled => Box::new(crate::sled_queue::SledQueue::open(folder, 1)?),
            Self::SledPacked => Box::new(crate::sled_queue::SledQueue::open(folder, 20)?),
            Self::Sqlite => Box::new(crate::sqlite::Sqlite::open(folder)?),
        })
    }
}
