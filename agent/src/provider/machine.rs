//! The machine: of everything that the provider says and does, what it allows now.

mod log;
mod settings;

pub use log::{BYTES as LOG_BYTES, ENTRIES as LOG_ENTRIES, Log};
pub use settings::{OnTermsChange, Settings};

use serde::{Deserialize, Serialize};
use tidegate_protocol::stance::{Leave, Stance};
use tidegate_protocol::terms::Terms;

use super::input::{Answer, Entry, Ground, Input, Means, View};
use crate::clock::Stamp;

/// Bytes that [`Machine::encode`] gives at most.
pub const STATE_BYTES: usize = 16 * 1024;

const VERSION: u16 = 1;

/// That the customer's identifier changes (3.4(2)), as a notice says it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The notice's id.
    pub notice: String,
    /// From when, in ms since the Unix epoch.
    pub effective_ms: u64,
    /// That time has come.
    pub due: bool,
}

/// What lasts.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
struct State {
    delivered: bool,
    hold: Option<(u64, Option<u64>, String)>,
}

/// Of everything that the provider says and does, what it allows now. Pure: it is told, and given the time.
#[derive(Debug, Clone)]
pub struct Machine {
    settings: Settings,
    state: State,
    dirty: bool,
}

impl Machine {
    /// One that was told nothing yet: open.
    pub fn new(settings: Settings) -> Self {
        Self { settings, state: State::default(), dirty: false }
    }

    /// One that goes on where [`Machine::encode`] was called.
    pub fn restore(bytes: &[u8], settings: Settings) -> Self {
        match ciborium::from_reader::<(u16, State), _>(bytes) {
            Ok((VERSION, state)) => Self { settings, state, dirty: false },
            _ => Self { dirty: true, ..Self::new(settings) },
        }
    }

    /// What has to last, at most [`STATE_BYTES`].
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        ciborium::into_writer(&(VERSION, &self.state), &mut bytes).expect("a vector takes every byte");
        bytes
    }

    /// Whether [`Machine::encode`] gives something that should be made durable.
    pub fn is_dirty(&self) -> bool {
        self.dirty
    }

    /// What [`Machine::encode`] gives now was handed on to be made durable.
    pub fn kept(&mut self) {
        self.dirty = false;
    }

    /// Other settings.
    pub fn set(&mut self, settings: Settings) {
        self.settings = settings;
    }

    /// Whether the endpoint in use ever accepted anything.
    pub fn delivered(&self) -> bool {
        self.state.delivered
    }

    /// Whether another identity is to be used, and from when.
    pub fn identity(&self, _now: &Stamp) -> Option<Identity> {
        None
    }

    /// Takes in what is told. Says what is to be written into the log.
    pub fn tell(&mut self, input: Input, now: &Stamp) -> Vec<Entry> {
        match input {
            Input::Answer(Answer { means: Means::Accepted, .. }) if !self.state.delivered => {
                self.state.delivered = true;
                self.dirty = true;
            }
            Input::Hold { for_ms, why } => {
                self.state.hold = Some((now.wall_ms, for_ms, why));
                self.dirty = true;
            }
            Input::Resume => {
                self.state.hold = None;
                self.dirty = true;
            }
            _ => {}
        }
        Vec::new()
    }

    /// Time has passed. Says what is to be written into the log.
    pub fn turn(&mut self, _now: &Stamp) -> Vec<Entry> {
        Vec::new()
    }

    /// How things stand.
    pub fn view(&self, _now: &Stamp) -> View {
        let grounds: Vec<Ground> = self
            .state
            .hold
            .iter()
            .map(|(since, for_ms, why)| Ground {
                stance: Stance::Held,
                source: "operator".into(),
                cause: why.clone(),
                clause: None,
                since_ms: *since,
                until_ms: for_ms.map(|length| since.saturating_add(length)),
                advice: "tidegate resume".into(),
            })
            .collect();
        let leave = grounds.iter().fold(Leave::ALL, |leave, ground| leave.and(ground.stance.leave()));
        View { grounds, leave, limits: Terms::default(), probe: 0, probe_at_ms: None, ahead: Vec::new() }
    }

    /// In how many ms [`Machine::turn`] is to be called, if nothing is told before.
    pub fn wake_in_ms(&self, _now: &Stamp) -> Option<u64> {
        None
    }
}

/// Cuts a text to so many bytes, between characters.
fn cut(text: &mut String, bytes: usize) {
    if text.len() > bytes {
        let end = (0..=bytes).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
        text.truncate(end);
    }
}
