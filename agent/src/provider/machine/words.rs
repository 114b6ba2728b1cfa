//! What people are told: sources, clauses, causes, advice.

use tidegate_protocol::notice::{Breach, Interruption};
use tidegate_protocol::stance::Stance;
use tidegate_protocol::terms::Clause;

use super::item::{Item, Origin, Said};
use crate::language::{IntoValue as _, Message, Value};
use crate::message;

pub(super) const ANSWER: &str = "answer of Flux";
pub(super) const PAGE: &str = "status page";
pub(super) const SIM: &str = "SIM";
pub(super) const OPERATOR: &str = "operator";
/// What this gateway did by itself.
pub const AGENT: &str = "this gateway";

/// What the agent does about an accepted probe under a notice that suspends.
pub(super) fn stands() -> Message {
    message!("nothing: a signed notice stands until it is withdrawn; have whoever issued it withdraw it")
}

/// One of those who say something and are always called the same.
pub(super) fn who(name: &'static str) -> Value {
    match name {
        ANSWER => message!("answer of Flux").into_value(),
        PAGE => message!("status page").into_value(),
        OPERATOR => message!("operator").into_value(),
        AGENT => message!("this gateway").into_value(),
        _ => name.into_value(),
    }
}

/// What the agent does about a withdrawal of what it does not know: it may come before what it withdraws.
pub(super) fn not_known() -> Message {
    message!("nothing: nothing is known under this id; what was issued before no longer counts")
}

/// Who announced it.
pub(super) fn source(item: &Item) -> Value {
    match item.origin {
        Origin::Notice if item.key.is_empty() => message!("notice {id}", id = &item.id).into_value(),
        Origin::Notice => message!("notice {id}, key {key}", id = &item.id, key = &item.key).into_value(),
        Origin::Page => who(PAGE),
        Origin::Return => who(AGENT),
    }
}

/// The clause that a stance rests on.
pub(super) const fn clause(stance: Stance) -> Option<Clause> {
    Some(match stance {
        Stance::Ended => Clause::of(5, Some(3), &[]),
        Stance::Suspended => Clause::of(5, Some(1), &[3]),
        Stance::Held => Clause::of(1, Some(2), &[]),
        Stance::Quota => Clause::of(10, Some(1), &[6]),
        Stance::Maintenance => Clause::of(5, Some(2), &[1]),
        Stance::Yield => Clause::of(5, Some(1), &[1]),
        Stance::Restricted => Clause::of(5, Some(1), &[2]),
        Stance::Open => return None,
    })
}

/// Why the service is interrupted.
pub(super) fn interruption(cause: Interruption) -> Value {
    match cause {
        Interruption::Works => message!("works on the service").into_value(),
        Interruption::Upstream => message!("a carrier or cloud that it is built on").into_value(),
        Interruption::Identifier => message!("the customer's identifier changes").into_value(),
        Interruption::Security => message!("security").into_value(),
        Interruption::Other => Value::default(),
    }
}

/// The text of an item, which is kept in English, with what of it is this gateway's as a message again: why the service is
/// interrupted, and the version of terms. Everything else is what somebody else said, and stands as they said it.
pub(super) fn why(item: &Item) -> Value {
    let kept = item.why.as_str();
    if let Said::Terms { version, .. } = &item.said {
        let of = message!("version {version}", version = version);
        return match kept.strip_prefix(&of.to_string()).map(|rest| rest.strip_prefix(": ").ok_or(rest)) {
            Some(Err("")) => of.into_value(),
            Some(Ok(rest)) => join(of.into_value(), rest.into_value()),
            _ => kept.into_value(),
        };
    }
    if !matches!(item.said, Said::Maintenance { .. }) {
        return kept.into_value();
    }
    let causes = [Interruption::Works, Interruption::Upstream, Interruption::Identifier, Interruption::Security]
        .map(interruption);
    for cause in causes {
        match kept.strip_prefix(&cause.to_string()).map(|rest| rest.strip_prefix(": ").ok_or(rest)) {
            Some(Err("")) => return cause,
            Some(Ok(rest)) => return join(cause, rest.into_value()),
            _ => {}
        }
    }
    kept.into_value()
}

/// A breach as it is kept.
pub(super) const fn breach_number(breach: Breach) -> u8 {
    match breach {
        Breach::Other => 0,
        Breach::Unpaid => 1,
        Breach::FalseStatement => 2,
        Breach::Terms => 3,
        Breach::Card => 4,
    }
}

/// What to do about a suspension, by the breach as it is kept.
pub(super) fn suspension(breach: u8) -> (Value, Value) {
    let (cause, advice) = match breach {
        1 => (message!("something is not paid"), message!("pay what is open; then have the notice withdrawn")),
        2 => (
            message!("a statement was false"),
            message!("correct the account's particulars with the provider; then have the notice withdrawn"),
        ),
        3 => (
            message!("the terms were broken"),
            message!("ask the provider what was broken and mend it; then have the notice withdrawn"),
        ),
        4 => (
            message!("the card cannot be used"),
            message!("register a card that can be charged; then have the notice withdrawn"),
        ),
        _ => {
            let advice = message!("ask the provider what is wrong; then have the notice withdrawn");
            return (Value::default(), advice.into_value());
        }
    };
    (cause.into_value(), advice.into_value())
}

/// What to do when answers say that the service is suspended.
pub(super) fn suspended() -> Value {
    message!(
        "clause 5.1(3): likely something is unpaid, the card cannot be charged, a statement about \
         the contract was false, or the terms were broken; or the app, its channel or the credential was removed: see the SORACOM \
         console; after mending it, reload"
    )
    .into_value()
}

/// What to do about a SIM that is stopped.
pub(super) fn sim_stopped() -> Value {
    message!(
        "reactivate the SIM in the SORACOM console, then reboot the modem: it does not register \
         again by itself"
    )
    .into_value()
}

/// What to do ahead of a SIM's expiry.
pub(super) fn sim_expires() -> Value {
    message!("extend the SIM's expiry in the SORACOM console if the line is still needed").into_value()
}

/// What to do when the service has ended.
pub(super) fn ended() -> Value {
    message!("records are kept; tidegate buffer export writes them to a file").into_value()
}

/// What to do when an answer says so: the endpoint alone may be gone.
pub(super) fn ended_by_answer() -> Value {
    message!(
        "records are kept; neither a reload nor tidegate resume ends this; if only this \
         webhook, app, channel or key was removed, configure the new one and reload; if the answer was a mistake, have it \
         withdrawn by a signed notice (tidegate notice sign --withdraw answers); otherwise tidegate buffer export writes the \
         records to a file"
    )
    .into_value()
}

/// What to do when the quota is spent.
pub(super) fn quota() -> Value {
    message!("records are kept until then; after changing to a larger plan in the SORACOM console, reload").into_value()
}

/// What to do about an interruption.
pub(super) fn wait() -> Value {
    message!("nothing: sending goes on by itself").into_value()
}

/// What to do about changed terms.
pub(super) fn accept(version: &str) -> Value {
    message!("read the changed terms, then tidegate terms accept {version}", version = version).into_value()
}

/// What to do about the operator's hold.
pub(super) fn resume() -> Value {
    "tidegate resume".into_value()
}

/// Two texts as one.
pub(super) fn join(one: Value, other: Value) -> Value {
    match (one.is_empty(), other.is_empty()) {
        (true, _) => other,
        (_, true) => one,
        _ => message!("{what}: {why}", what = one, why = other).into_value(),
    }
}

/// What the agent does when an interruption is over for all at once.
pub(super) fn back() -> Message {
    message!("it is over; this gateway goes on at a moment of its own")
}

/// What the agent does when something announced begins.
pub(super) fn begins(said: &Said) -> Message {
    match said {
        Said::Emergency { .. } => message!("only lanes that go first are sent"),
        Said::Restriction { .. } => message!("its limits hold"),
        Said::End { .. } => message!("nothing is sent any more; records are kept"),
        Said::Terms { .. } => message!("nothing is sent until they are accepted"),
        Said::Identity { .. } => {
            message!("its time has come; an entry of its own says from when the other identity is used")
        }
        Said::Suspension { .. } => message!("sending stops; rarely one event shows whether it is over"),
        _ => message!("sending stops"),
    }
}

/// What is said of a notice that is older than one that was let go to make room: it may be that one. The inbox knows it by this.
pub(in crate::provider) fn forgotten() -> Message {
    message!("nothing: it may be one that was forgotten to make room, brought again; issue it anew")
}
