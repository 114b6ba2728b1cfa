//! What the file holds, line by line.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::account::Account;
use crate::clock::Stamp;

/// The version of the entries that this program writes.
pub(super) const VERSION: u16 = 1;

/// One line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Its number: they count up by one.
    pub n: u64,
    /// When it was written.
    pub at: Stamp,
    /// When the run of the gateway that wrote it began, as uptime in ms: with the boot in `at` it tells runs apart.
    pub run: u64,
    /// What it says.
    #[serde(flatten)]
    pub what: What,
}

/// What an entry says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "kebab-case")]
pub enum What {
    /// The file begins.
    Opened {
        /// The version of its entries.
        version: u16,
        /// The gateway's id.
        gateway: String,
    },
    /// An interval began.
    Begun(Box<Account>),
    /// It goes on.
    Still(Box<Account>),
    /// It is over.
    Ended(Box<Account>),
    /// All is well, and this was delivered last.
    Mark {
        /// When.
        delivered: Stamp,
    },
    /// The local alarm was raised or is over.
    Alarm {
        /// Whether it was raised.
        raised: bool,
    },
    /// What stood behind the entry before was not whole and was cut off: torn by a power cut, or changed by a hand.
    Cut {
        /// How many bytes.
        bytes: u64,
        /// Their SHA-256 in hexadecimal; of the first 4 MiB.
        digest: String,
    },
    /// What older entries come to; they are gone.
    Folded(Box<Folded>),
    /// Of a later version.
    #[serde(other)]
    Later,
}

/// What older entries come to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Folded {
    /// The version of the entries that follow.
    pub version: u16,
    /// The gateway's id.
    pub gateway: String,
    /// The digest of the last entry that is gone: the entry that follows is chained to that one.
    pub digest: String,
    /// How many entries are gone in all.
    pub entries: u64,
    /// Intervals that were told of in them, with the first evidence of each: those of a day and more first, then the
    /// newest.
    pub intervals: Vec<Account>,
    /// Intervals of which nothing is left but that they were.
    pub more: u64,
    /// The last delivery told of in them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delivered: Option<Stamp>,
    /// Whether the local alarm was in force.
    pub alarm: bool,
    /// Faults of the chain in them, and bytes cut off: an edit is not hidden by time.
    pub faults: u64,
}

/// Intervals that a fold keeps: at 700 bytes each, a tenth of the file.
const KEPT: usize = 64;

/// Uninterrupted time from which an interval is worth keeping before others: a day, as in clause 15.2(2).
const DAY_MS: u64 = 86_400_000;

/// What entries add up to, read in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tally {
    /// The gateway's id, as the file says.
    pub gateway: String,
    /// Every interval that is told of, by number, with what evidence there is.
    pub intervals: BTreeMap<u64, Account>,
    /// Intervals of which nothing is left but that they were.
    pub more: u64,
    /// The last delivery known.
    pub delivered: Option<Stamp>,
    /// Whether the local alarm is in force.
    pub alarm: bool,
    /// When it was raised; unknown where a fold tells of it.
    pub alarm_since: Option<Stamp>,
    /// The newest entry's time.
    pub at: Option<Stamp>,
    /// The run that wrote the newest entry.
    pub run: u64,
    /// For each boot that entries know the time of, its wall time less its uptime.
    pub(super) boots: BTreeMap<u32, i64>,
}

/// Evidence kept of one interval in memory: the file is bounded, and so is this.
const EVIDENCE: usize = 512;

impl Tally {
    /// Takes an entry in.
    pub fn take(&mut self, entry: &Entry) {
        self.at = Some(entry.at);
        self.run = entry.run;
        self.know(&entry.at);
        match &entry.what {
            What::Opened { gateway, .. } => self.gateway.clone_from(gateway),
            What::Begun(account) | What::Still(account) | What::Ended(account) => self.account(account),
            What::Mark { delivered } => self.deliver(delivered),
            What::Alarm { raised } => (self.alarm, self.alarm_since) = (*raised, raised.then_some(entry.at)),
            What::Folded(folded) => {
                self.gateway.clone_from(&folded.gateway);
                folded.intervals.iter().for_each(|account| self.account(account));
                folded.delivered.iter().for_each(|stamp| self.deliver(stamp));
                self.more = folded.more;
                (self.alarm, self.alarm_since) = (folded.alarm, None);
            }
            What::Cut { .. } | What::Later => {}
        }
    }

    fn account(&mut self, account: &Account) {
        for stamp in [account.from, account.until()].iter().chain(account.ended.as_ref().map(|ended| &ended.at)) {
            self.know(stamp);
        }
        account.last_success.iter().for_each(|stamp| self.deliver(stamp));
        if let Some(ended) = account.ended.as_ref().filter(|ended| ended.how == super::How::Delivered) {
            self.deliver(&ended.at);
        }
        let before = self.intervals.remove(&account.number).map_or_else(Vec::new, |known| known.evidence);
        let mut account = account.clone();
        let new = std::mem::replace(&mut account.evidence, before);
        for noted in new {
            if account.evidence.len() < EVIDENCE {
                account.evidence.push(noted);
            } else {
                account.left_out += 1;
            }
        }
        self.intervals.insert(account.number, account);
    }

    fn deliver(&mut self, stamp: &Stamp) {
        self.delivered = Some(*stamp);
    }

    /// A right clock tells the time of all that was stamped since the same boot.
    fn know(&mut self, stamp: &Stamp) {
        if stamp.trusted {
            self.boots.insert(stamp.boot, crate::clock::difference(stamp.wall_ms, stamp.uptime_ms));
        }
    }

    /// The interval that is not over.
    pub fn open(&self) -> Option<&Account> {
        self.intervals.values().next_back().filter(|account| account.ended.is_none())
    }

    /// The wall time of a stamp in ms since the Unix epoch, and how sure it is.
    pub fn time(&self, stamp: &Stamp) -> (u64, Quality) {
        if stamp.trusted {
            return (stamp.wall_ms, Quality::Right);
        }
        match self.boots.get(&stamp.boot) {
            Some(offset) => {
                let at = i64::try_from(stamp.uptime_ms).unwrap_or(i64::MAX).saturating_add(*offset);
                (u64::try_from(at).unwrap_or(0), Quality::Corrected)
            }
            None => (stamp.wall_ms, Quality::Unknown),
        }
    }

    /// What this comes to, for a fold.
    pub(super) fn fold(&self, digest: String, entries: u64, faults: u64) -> Folded {
        let mut kept: Vec<Account> = self.intervals.values().cloned().collect();
        // The one that is open first, whatever else there is: it goes on.
        kept.sort_by_key(|account| {
            let worth = (account.ended.is_none(), account.uninterrupted_ms() >= DAY_MS);
            std::cmp::Reverse((worth, account.number))
        });
        let more = self.more + kept.len().saturating_sub(KEPT) as u64;
        kept.truncate(KEPT);
        kept.sort_by_key(|account| account.number);
        for account in &mut kept {
            let noted = account.evidence.len() as u64;
            account.evidence.truncate(1);
            account.left_out += noted - account.evidence.len() as u64;
        }
        Folded {
            version: VERSION,
            gateway: self.gateway.clone(),
            digest,
            entries,
            intervals: kept,
            more,
            delivered: self.delivered,
            alarm: self.alarm,
            faults,
        }
    }
}

/// How sure a wall time is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Quality {
    /// Nobody knew the time: it may be wrong by years.
    Unknown,
    /// The clock became right later in the same boot, and the time was put right.
    Corrected,
    /// By a right clock.
    Right,
}
