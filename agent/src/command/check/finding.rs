//! What an examination found: one line each.

use serde::Serialize;
use tidegate::code::Code;
use tidegate::language::{Language, Message};

/// How it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(in crate::command) enum Outcome {
    /// As it should be.
    Good,
    /// It works, and somebody should know something about it.
    Attention,
    /// It could not be judged, and [`Finding::said`] has why: nothing is called bad that is not known to be.
    Unknown,
    /// It does not work, or will lose records.
    Bad,
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::command) struct Finding {
    /// What was looked at, in a few words.
    pub(in crate::command) what: Message,
    /// How it is.
    pub(in crate::command) result: Outcome,
    /// What was found.
    pub(in crate::command) said: Message,
    /// What a technician can do, if it is not good.
    pub(in crate::command) next: Option<Message>,
    /// Where more is written about it.
    pub(in crate::command) code: Option<Code>,
}

impl Finding {
    /// It is as it should be.
    pub(in crate::command) fn good(what: Message, said: Message) -> Self {
        Self { what, result: Outcome::Good, said, next: None, code: None }
    }

    /// It works, but.
    pub(in crate::command) fn attention(what: Message, said: Message, code: Code, next: Message) -> Self {
        Self { what, result: Outcome::Attention, said, next: Some(next), code: Some(code) }
    }

    /// It does not work.
    pub(in crate::command) fn bad(what: Message, said: Message, code: Code, next: Message) -> Self {
        Self { what, result: Outcome::Bad, said, next: Some(next), code: Some(code) }
    }

    /// It could not be judged; `said` has why, `next` what would make it possible.
    pub(in crate::command) fn unknown(what: Message, said: Message, next: Option<Message>) -> Self {
        Self { what, result: Outcome::Unknown, said, next, code: None }
    }

    /// The finding in a language, for `--json`.
    pub(in crate::command) fn told(&self, language: Language) -> Told {
        Told {
            what: self.what.text(language),
            result: self.result,
            said: self.said.text(language),
            next: self.next.as_ref().map(|next| next.text(language)),
            code: self.code.map(|code| code.to_string()),
        }
    }
}

/// A finding as `--json` has it: what people read in the language asked for, the rest the same in each.
#[derive(Debug, Serialize)]
pub(in crate::command) struct Told {
    what: String,
    result: Outcome,
    said: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<String>,
}
