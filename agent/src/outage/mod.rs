//! Evidence of unavailability: a ledger of intervals in which Flux could not be used.
//!
//! Clause 15.2(2) of the SORACOM Flux terms grants a cut in the fee of one day for each full 24 hours in which Flux could
//! not be used at all, without a break, counted from when the provider knew of it, if it is claimed within three months of
//! the day the customer learnt of it. This room keeps what a customer can show: from when to when, how that was seen, and
//! whose side it was. `tidegate outages` shows it.
//!
//! # Constraints
//! - **Nothing is claimed that is not proved.** An interval begins with the first attempt that failed, not with the last
//!   that succeeded, and ends with the first that did not fail. Time in which the gateway was off, slept or did not try is
//!   in it, and is not counted.
//! - **A restart breaks no interval**, nor does a power cut: what is lost is at most the time since the last entry
//!   ([`STILL_MS`]).
//! - **No setting of the clock makes it longer.** Lengths are measured with the clock that only counts up, within each boot.
//! - **Own faults are kept apart.** Time is of a [`Class`]; only what is uninterrupted and of the classes `provider` and
//!   `unknown` can be claimed, and between two attempts that show different classes the lesser counts.
//! - **An edit shows**: each line of the file is bound to the one before it (`chain`).
//! - **Bounded**: a file of 512 KiB (twice that while it is made anew), an entry a quarter of an hour while an interval is
//!   open, one a minute at most for what flaps, one an hour while all is well. A full disk never hurts: entries wait in memory.
//!
//! # How it works
//! [`Ledger`] is pure: facts in ([`Fact`]), entries out. [`Desk`] runs it: it takes facts from anywhere, and a thread
//! of its own writes entries to the file `outages/ledger` in the store's folder, through the store's
//! [`Disk`](crate::store::disk::Disk). [`read()`] gives what the entries of a file add up to, and where its chain is broken;
//! [`report`] makes of it what is shown. [`alarm`] says when people near the gateway have to be told that nothing is
//! delivered; [`horn`] runs the command that tells them.
//!
//! # On disk
//! A line each (see `chain`), JSON:
//!
//! ```text
//! {"n":7,"at":{"wall_ms":…,"uptime_ms":…,"boot":…,"trusted":true},"run":…,"what":"still","number":3,"from":{…},…}
//! ```
//!
//! `n` counts entries; `at` is when it was written; `run` is the uptime at which the gateway's process began. `what` is
//! `opened`, `begun`, `still`, `ended`, `mark`, `alarm`, `cut` or `folded`; unknown ones are passed over. The entries of an
//! interval hold its whole account as it stood, so that the newest is enough; evidence stands in the entry it came with.
//! When the file is full, its older half becomes one `folded` entry, which holds the accounts of 64 intervals and the digest
//! that the next line is chained to: digests that were noted down elsewhere stay comparable.
//!
//! # Recovery
//! See `file`.

mod account;
pub mod alarm;
pub mod calendar;
mod chain;
mod desk;
mod entry;
mod fact;
mod file;
#[cfg(feature = "fuzzing")]
pub(crate) mod fuzzing;
pub mod horn;
mod ledger;
mod read;
pub mod report;

#[cfg(test)]
mod tests;

pub use account::{Account, Ended, Hole, How, Noted, Stretch, Tail, Uninterrupted, Why};
pub use desk::{Current, Desk, Figures, PENDING};
pub use entry::{Entry, Folded, Quality, Tally, What};
pub use fact::{Class, Evidence, Fact, REASON, Stage, Window};
pub use ledger::{Ledger, MARK_MS, SILENCE_MS, SPACING_MS, STILL_MS, UNPROBED_MS};
pub use read::{Fault, Found, read};

use std::path::Path;

use crate::store::disk::OsDisk;

/// The folder of the ledger in the store's folder.
pub const FOLDER: &str = "outages";

/// Reads the ledger of the store in `store`, whether or not a gateway runs. `None` if there is none.
///
/// # Errors
/// When it cannot be read.
pub fn look(store: &Path) -> std::io::Result<Option<Found>> {
    Ok(file::look(&OsDisk, &store.join(FOLDER))?.map(|bytes| read(&bytes)))
}
