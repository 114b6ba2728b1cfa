//! Looking into the buffer: what waits, what is kept, what is damaged, what was put aside.
//!
//! # Constraints
//! - **Looking never disturbs.** Nothing is written, no lock is taken, and nothing uncommitted is shown by a running
//!   store.
//! - **One implementation for two places.** [`Store::look`](super::Store::look) looks into the running store;
//!   [`Look::open`] looks into the files when no service runs. Both give a [`Look`], and [`Look::answer`] answers an
//!   [`Ask`] with [`Item`]s, one after another, and an [`End`]. All of these are serializable: what the service is
//!   asked over its control socket, and what it answers, are the same values.
//! - **Bounded**, whatever the backlog: one window of [`WINDOW`] bytes per lane (a record that is larger gets what it
//!   needs), 40 bytes per segment, and 8 bytes per record put aside.
//!
//! # How it works
//! A [`Look`] is taken at one moment and is not kept up to date: records that come later are not seen, and segments
//! that go meanwhile (delivered, evicted) are passed over. Records of several lanes are shown together, the oldest
//! first, each lane in the order of its sequence numbers.
//!
//! Times are judged as they stand on the records. A gateway whose clock jumped has lanes whose times do not
//! rise, so nothing is skipped because of its neighbours' times: a span of time is looked for in every segment.
//!
//! # What it does not do
//! Handing records out again, and dropping what was put aside, are changes of state: they are
//! [`Change`](super::Change)s that only the running service commits. `gateway` counts them with [`Look::delivered`] and
//! [`Look::aside`].

mod aside;
mod ask;
mod check;
mod pace;
mod records;
mod status;

#[cfg(test)]
mod tests;

pub use aside::Aside;
pub use ask::{
    AsideId, AsideItem, Ask, Checked, Damage, DevicePattern, End, Filter, Item, Record, What, time_source_word,
};
pub use pace::{Known, Pace, Paces};
pub use records::{Delivered, Span};
pub use status::{LaneLook, StoreLook, hours};

use super::StoreError;
use super::disk::{Disk, OsDisk};
use super::journal::sight::{self, Sight};
use crate::code::Code;
use crate::language::Message;
use crate::message;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

/// Bytes read at one time from one lane: large enough that a card reads at its full speed, small enough that a dozen
/// lanes stay below 1 MiB together.
pub const WINDOW: usize = 64 * 1024;

/// What takes the items of an answer; [`ControlFlow::Break`] ends the looking.
pub type Say<'a> = dyn FnMut(Item<'_>) -> ControlFlow<()> + 'a;

/// Why a question could not be answered.
#[derive(Debug, thiserror::Error)]
#[error("{}", self.message())]
#[non_exhaustive]
pub enum LookError {
    /// The disk could not be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Whoever took the items had enough.
    Ended,
    /// The question names a lane that is not there.
    NoLane {
        /// The name asked for.
        name: String,
        /// The names there are.
        there: Vec<String>,
    },
    /// Nothing, or more than one record, was put aside under this id.
    NoSuchRecord {
        /// What was looked for, what was found, and what to write.
        what: Message,
    },
    /// More than 32 separate spans of records match.
    Scattered {
        /// The lane.
        lane: String,
    },
    /// Only the running service can do that.
    NeedsService,
}

impl LookError {
    /// It in words, without its cause.
    pub fn message(&self) -> Message {
        match self {
            Self::Store(error) => error.message(),
            Self::Ended => message!("the answer was ended by whoever asked"),
            Self::NoLane { name, there } => message!(
                "there is no lane {name}: there are {lanes}",
                name = format!("{name:?}"),
                lanes = there.join(", ")
            ),
            Self::NoSuchRecord { what } => what.clone(),
            Self::Scattered { lane } => message!(
                "the records of that time stand in more than {count} separate places of lane {lane}, as they do where the clock \
                 was set back and forth: ask for a shorter time",
                count = records::SPANS,
                lane = lane
            ),
            Self::NeedsService => {
                message!("only the running service can do that: start it (`systemctl start tidegate`) and ask again")
            }
        }
    }

    /// The code whose page says what to do; none where the question was wrong.
    pub fn code(&self) -> Option<Code> {
        match self {
            Self::Store(error) => Some(error.code()),
            Self::NeedsService => Some(Code::NotRunning),
            Self::Ended | Self::NoLane { .. } | Self::NoSuchRecord { .. } | Self::Scattered { .. } => None,
        }
    }
}

/// The buffer as it was at one moment.
#[derive(Debug)]
pub struct Look {
    pub(super) sight: Sight,
}

impl Look {
    /// Looks into the files of a store that no service answers for. Nothing is written and no lock is taken. If another
    /// process writes there all the same, records that are not committed yet may be seen.
    ///
    /// # Errors
    /// When there is no store at `path`, or it cannot be read.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let disk: Arc<dyn Disk> = Arc::new(OsDisk);
        Self::open_on(path, &disk)
    }

    /// Looks into the files of a store on another file system.
    ///
    /// # Errors
    /// As [`Look::open`].
    pub fn open_on(path: &Path, disk: &Arc<dyn Disk>) -> Result<Self, StoreError> {
        Ok(Self { sight: sight::open(path, disk)? })
    }

    /// Answers a question: gives the items to `say` one by one, and ends with what they add up to. Blocks on the disk.
    ///
    /// # Errors
    /// See [`LookError`]; what asks for a change is [`LookError::NeedsService`] here.
    pub fn answer(&self, ask: &Ask, say: &mut Say<'_>) -> Result<End, LookError> {
        match ask {
            Ask::Status => Ok(End::Status(Box::new(self.status()?))),
            Ask::Records(filter) => self.records(filter, say),
            Ask::Verify => self.verify(say),
            Ask::Aside { id } => self.list_aside(id.as_deref(), say),
            Ask::Replay { .. } | Ask::Retry { .. } | Ask::Drop { .. } => Err(LookError::NeedsService),
        }
    }
}
