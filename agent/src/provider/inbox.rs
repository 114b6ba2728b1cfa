//! The inbox: takes in signed notices, whoever brings them, and hands the machine those that may be believed.
//!
//! ```text
//! tidegate notice apply ─ control socket ─┐
//! a watched folder ── folder ─────────────┼─▶ Inbox ── Input::Notice ─▶ machine
//! (later: the native link) ───────────────┘     └──── Standing ─▶ status
//! ```
//!
//! # Constraints
//! - A notice is believed for its signature alone ([`tidegate_protocol::notice::open`]): neither the folder's owner nor who may
//!   use the socket can make one. Nothing on the MQTT side leads here: what a device publishes is a record, whatever it says.
//! - Everything that is refused is counted by reason and shown, the last [`SHOWN`] with why. The log has one line at warn
//!   level in [`PAUSE`] for each reason, with how many there were since; whoever brings rubbish without end fills nothing.
//! - A repeat is harmless and said to be one. An older revision of what is known is refused. What is known is kept for as long
//!   as the process runs, at most [`REMEMBERED`](tidegate_protocol::notice::REMEMBERED) notices; over a restart the machine
//!   remembers what holds, and takes no older word for it.
//! - A notice that expires or was issued in the future is judged only by a clock that is right. While it is not, what is
//!   rightly signed is taken in: a gateway without a clock must be reachable in an emergency.
//!
//! # Recovery
//! Nothing is kept on disk here. What the machine was handed lasts once the store has committed it; a file in the folder stays
//! there for some time longer than that usually takes, and is taken again after a power cut (see `folder`).

pub mod folder;
mod follows;

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use base64::Engine as _;
use serde::{Deserialize, Serialize};
use tidegate_protocol::notice::{Content, ENVELOPE_BYTES, Keys, NoticeError, Now, Opened, Taken, Turn, open};
use tidegate_protocol::said;

use super::input::{Entry, Input};
use super::machine::forgotten;
use crate::clock::{Clock, Stamp};
use crate::code::Code;
use crate::language::{Message, Value};
use crate::message;
use crate::shown::shown;
pub use follows::follows;

/// Refusals that are kept with why.
pub const SHOWN: usize = 8;

/// Time between two lines at warn level for one reason, in ms.
pub const PAUSE: u64 = 60_000;

/// Characters of a file's name that are shown.
const NAME: usize = 64;

/// Characters of a reason that are shown.
const WHY: usize = 300;

/// Tells the machine something; what it wrote into the log, or `None` if nothing can be told yet.
pub type Hand = Arc<dyn Fn(Input) -> Option<Vec<Entry>> + Send + Sync>;

/// How a notice came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Via {
    /// A file in the watched folder.
    Folder,
    /// The control socket: `tidegate notice apply`.
    Socket,
}

impl Via {
    /// Its word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Folder => "folder",
            Self::Socket => "socket",
        }
    }
}

/// Why nothing was taken in.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.message())]
#[non_exhaustive]
pub enum Refusal {
    /// The notice is refused.
    Notice(NoticeError),
    /// No key is pinned.
    NoKeys,
    /// It is no plain file.
    NotAFile,
    /// It cannot be read.
    Unreadable {
        /// Why, as the system says it.
        why: Value,
    },
    /// It is older than what was let go to make room for others, and has no effect.
    Forgotten,
    /// It cannot be taken in now; it was not judged.
    NotNow,
}

impl From<NoticeError> for Refusal {
    fn from(error: NoticeError) -> Self {
        Self::Notice(error)
    }
}

impl Refusal {
    /// It in words, the cause included.
    pub fn message(&self) -> Message {
        match self {
            Self::Notice(error) => error.into(),
            Self::NoKeys => {
                message!("no key is pinned, so no notice can be believed; write keys = [\"…\"] in [provider.notices]")
            }
            Self::NotAFile => message!("it is a link, a folder or something else that is not a plain file"),
            Self::Unreadable { why } => message!("it cannot be read: {why}", why = why),
            Self::Forgotten => message!(
                "it may be one that was forgotten to make room, brought again, and has no effect; issue it anew"
            ),
            Self::NotNow => message!("the store is not open yet; try again when it is"),
        }
    }

    /// A word for the reason.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Notice(error) => error.code(),
            Self::NoKeys => "no_keys",
            Self::NotAFile => "not_a_file",
            Self::Unreadable { .. } => "unreadable",
            Self::Forgotten => "forgotten",
            Self::NotNow => "not_now",
        }
    }
}

/// What became of an envelope, for whoever brought it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Told {
    /// `accepted`, `amended`, `repeated` or `refused`.
    pub verdict: String,
    /// Why it was refused, in a word ([`Refusal::code`]); empty otherwise.
    #[serde(default)]
    pub code: String,
    /// Why, for people.
    #[serde(default)]
    pub why: String,
    /// The same, to be said in their language, if it was refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why_message: Option<Message>,
    /// The notice's id; empty if it was refused.
    #[serde(default)]
    pub id: String,
    /// Its kind.
    #[serde(default)]
    pub kind: String,
    /// Who signed it.
    #[serde(default)]
    pub key: String,
    /// What it says, for people, whatever else holds at this gateway.
    #[serde(default)]
    pub says: String,
    /// The same, to be said in their language.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub says_message: Option<Message>,
    /// What the gateway did about it.
    #[serde(default)]
    pub follows: Vec<String>,
    /// Keys of it that this version does not know, and that have no effect.
    #[serde(default)]
    pub unknown_count: usize,
    /// The first of them.
    #[serde(default)]
    pub unknown: Vec<String>,
}

/// How things stand, for `status`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Standing {
    /// Keys that are pinned, by their ids.
    pub keys: Vec<String>,
    /// The folder that is watched.
    pub folder: Option<String>,
    /// Why it cannot be watched now, if so.
    pub folder_problem: Option<Value>,
    /// Notices that were taken in since the start, those that amend another included.
    pub accepted: u64,
    /// Notices that had been taken in before.
    pub repeated: u64,
    /// Notices among those taken in of which something was not known to this version.
    pub not_wholly_known: u64,
    /// Envelopes that were refused, by reason.
    pub refused: BTreeMap<String, u64>,
    /// The last of them, the newest last.
    pub last: VecDeque<Refused>,
}

/// An envelope that was refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused {
    /// When, in ms since the Unix epoch by the gateway's clock.
    pub at_ms: u64,
    /// How it came: [`Via::as_str`], and the file's name if it was one.
    pub from: String,
    /// [`Refusal::code`].
    pub code: String,
    /// Why, for people.
    pub why: String,
    /// The same, to be said in their language.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why_message: Option<Message>,
}

/// Takes notices in. Cheap to clone: all clones are the same inbox.
#[derive(Clone)]
pub struct Inbox(Arc<Inner>);

struct Inner {
    state: Mutex<State>,
    clock: Arc<dyn Clock>,
    hand: Hand,
}

#[derive(Default)]
struct State {
    gateway: String,
    keys: Option<Keys>,
    taken: Taken,
    standing: Standing,
    /// When the last line at warn level was written for a reason, by uptime in ms, and how many there were since.
    told: BTreeMap<&'static str, (u64, u64)>,
}

impl fmt::Debug for Inbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inbox").field("standing", &self.standing()).finish_non_exhaustive()
    }
}

impl Inbox {
    /// An inbox of a gateway that hands on to `hand`. Nobody is believed before [`Inbox::pin`].
    pub fn new(gateway: &str, clock: Arc<dyn Clock>, hand: Hand) -> Self {
        let state = State { gateway: gateway.to_owned(), ..State::default() };
        Self(Arc::new(Inner { state: Mutex::new(state), clock, hand }))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says whose notices are believed from now on. What was taken in stays taken in.
    pub fn pin(&self, keys: Option<Keys>) {
        let mut state = self.state();
        state.standing.keys = keys.iter().flat_map(Keys::all).map(|key| key.kid().to_owned()).collect();
        state.keys = keys;
    }

    /// How things stand.
    pub fn standing(&self) -> Standing {
        self.state().standing.clone()
    }

    /// Takes in an envelope that somebody brought in base64, as the control socket has it.
    pub fn take_base64(&self, text: &str, via: Via) -> Told {
        // What is too long is judged by its length; the rest would be decoded for nothing.
        let bytes = if text.len() > ENVELOPE_BYTES * 2 {
            Err(NoticeError::TooLarge { bytes: text.len() / 4 * 3 })
        } else {
            let decoded = base64::engine::general_purpose::STANDARD.decode(text);
            decoded.map_err(|_| NoticeError::Malformed { found: said!("it is not base64") })
        };
        match bytes {
            Ok(bytes) => self.take(&bytes, via),
            Err(error) => self.refuse(&error.into(), via, ""),
        }
    }

    /// Takes in an envelope, counts it, and says what became of it.
    pub fn take(&self, envelope: &[u8], via: Via) -> Told {
        self.try_take(envelope, via).unwrap_or_else(|refusal| self.refuse(&refusal, via, ""))
    }

    /// Takes in an envelope if it may be believed; a refusal is not counted.
    ///
    /// # Errors
    /// Why it is refused.
    pub fn try_take(&self, envelope: &[u8], via: Via) -> Result<Told, Refusal> {
        let mut state = self.state();
        let now = now(&self.0.clock.now());
        let keys = state.keys.as_ref().ok_or(Refusal::NoKeys)?;
        let opened = open(envelope, keys, &state.gateway, now)?;
        let mut taken = state.taken.clone();
        let turn = taken.take(&opened.notice, now)?;
        if turn == Turn::Repeat {
            state.standing.repeated += 1;
            tracing::debug!(id = opened.notice.id, via = via.as_str(), "a notice was brought again: nothing follows");
            return Ok(told(&opened, turn, Vec::new()));
        }
        let (notice, key) = (opened.notice.clone(), opened.kid.clone());
        // The machine is told under the lock, so that two notices with one id reach it in the order in which they were judged.
        let entries = (self.0.hand)(Input::Notice { notice, key, via: via.as_str() }).ok_or(Refusal::NotNow)?;
        // Whatever the machine makes of it: brought once more it is a repeat, and fills no log.
        state.taken = taken;
        let forgotten = forgotten().to_string();
        if entries.iter().any(|entry| entry.id == opened.notice.id && entry.did == forgotten) {
            return Err(Refusal::Forgotten);
        }
        state.standing.accepted += 1;
        state.standing.not_wholly_known += u64::from(is_not_wholly_known(&opened));
        drop(state);
        let (id, kind) = (&opened.notice.id, opened.notice.content.kind());
        tracing::info!(id, kind = shown(kind, NAME), key = opened.kid, via = via.as_str(), "a notice is taken in");
        if opened.unknown_count > 0 {
            let (count, first) = (opened.unknown_count, opened.unknown.join(", "));
            tracing::warn!(id, "{count} keys of this notice are not known to this version and have no effect: {first}");
        }
        Ok(told(&opened, turn, entries))
    }

    /// Counts a refusal, and tells it boundedly. `name`: the file's, if it was one.
    pub fn refuse(&self, refusal: &Refusal, via: Via, name: &str) -> Told {
        let stamp = self.0.clock.now();
        let (code, message) = (refusal.code(), refusal.message());
        let why = shown(&message.to_string(), WHY);
        let from = match name {
            "" => via.as_str().to_owned(),
            name => format!("{} {}", via.as_str(), shown(name, NAME)),
        };
        let mut state = self.state();
        // What was not judged is not refused: it comes again.
        if *refusal != Refusal::NotNow {
            *state.standing.refused.entry(code.to_owned()).or_default() += 1;
            if state.standing.last.len() == SHOWN {
                state.standing.last.pop_front();
            }
            let refused = Refused {
                at_ms: stamp.wall_ms,
                from: from.clone(),
                code: code.into(),
                why: why.clone(),
                why_message: Some(message.clone()),
            };
            state.standing.last.push_back(refused);
        }
        match state.told.get_mut(code) {
            Some((at, more)) if stamp.uptime_ms.saturating_sub(*at) < PAUSE => {
                *more += 1;
                tracing::debug!(from, code, "a notice is refused: {why}");
            }
            earlier => {
                let more = earlier.map_or(0, |(_, more)| *more);
                tracing::warn!(from, code, more, "a notice is refused: {why}");
                state.told.insert(code, (stamp.uptime_ms, 0));
            }
        }
        let verdict = "refused".to_owned();
        let (id, kind, key) = (String::new(), String::new(), String::new());
        let (says, follows, unknown) = (String::new(), Vec::new(), Vec::new());
        Told {
            verdict,
            code: code.into(),
            why,
            why_message: Some(message),
            id,
            kind,
            key,
            says,
            says_message: None,
            follows,
            unknown_count: 0,
            unknown,
        }
    }

    /// Says which folder is watched, and why it cannot be, if so.
    fn watching(&self, folder: Option<String>, problem: Option<Value>) {
        let mut state = self.state();
        if let Some(problem) = problem.as_ref().filter(|new| state.standing.folder_problem.as_ref() != Some(*new)) {
            tracing::warn!(code = %Code::Permissions, "the folder of notices cannot be looked into: {problem}");
        } else if problem.is_none() && state.standing.folder_problem.is_some() && folder.is_some() {
            tracing::info!("the folder of notices can be looked into again");
        }
        (state.standing.folder, state.standing.folder_problem) = (folder, problem);
    }
}

/// What is known of the time.
fn now(stamp: &Stamp) -> Now {
    if stamp.trusted { Now::Known(stamp.wall_ms) } else { Now::AtLeast(0) }
}

/// What became of a notice that is believed.
fn told(opened: &Opened, turn: Turn, entries: Vec<Entry>) -> Told {
    let verdict = match turn {
        Turn::New => "accepted",
        Turn::Amends => "amended",
        Turn::Repeat => "repeated",
    };
    // What else it made happen, as that something announced elsewhere was forgotten to make room, stands in the log.
    let own = entries.into_iter().filter(|entry| entry.id == opened.notice.id);
    let did = own.map(|entry| entry.did).filter(|did| !did.is_empty());
    let did = match turn {
        Turn::Repeat => vec![message!("nothing: it was taken in before").to_string()],
        Turn::New | Turn::Amends => did.collect(),
    };
    let says = follows(&opened.notice.content);
    Told {
        verdict: verdict.to_owned(),
        code: String::new(),
        why: shown(&opened.notice.why, WHY),
        why_message: None,
        id: opened.notice.id.clone(),
        kind: shown(opened.notice.content.kind(), NAME),
        key: opened.kid.clone(),
        says: says.to_string(),
        says_message: Some(says),
        follows: did,
        unknown_count: opened.unknown_count,
        unknown: opened.unknown.clone(),
    }
}

/// Whether a newer sender said something that this version does not understand: a key, or the kind.
fn is_not_wholly_known(opened: &Opened) -> bool {
    opened.unknown_count > 0 || matches!(opened.notice.content, Content::Unknown { .. })
}

#[cfg(test)]
mod tests;
