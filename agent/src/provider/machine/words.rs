//! What people are told: sources, clauses, causes, advice.

use tidegate_protocol::notice::{Breach, Interruption};
use tidegate_protocol::stance::Stance;
use tidegate_protocol::terms::Clause;

use super::item::{Item, Origin, Said};

pub(super) const ANSWER: &str = "answer of Flux";
pub(super) const PAGE: &str = "status page";
pub(super) const SIM: &str = "SIM";
pub(super) const OPERATOR: &str = "operator";
pub(super) const AGENT: &str = "this gateway";

/// What the agent does about an accepted probe under a notice that suspends.
pub(super) const STANDS: &str =
    "nothing: a signed notice stands until it is withdrawn; have whoever issued it withdraw it";

/// What the agent does about a withdrawal of what it does not know: it may come before what it withdraws.
pub(super) const NOT_KNOWN: &str = "nothing: nothing is known under this id; what was issued before no longer counts";

/// Who announced it.
pub(super) fn source(item: &Item) -> String {
    match item.origin {
        Origin::Notice if item.key.is_empty() => format!("notice {}", item.id),
        Origin::Notice => format!("notice {}, key {}", item.id, item.key),
        Origin::Page => PAGE.to_owned(),
        Origin::Return => AGENT.to_owned(),
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
pub(super) const fn interruption(cause: Interruption) -> &'static str {
    match cause {
        Interruption::Works => "works on the service",
        Interruption::Upstream => "a carrier or cloud that it is built on",
        Interruption::Identifier => "the customer's identifier changes",
        Interruption::Security => "security",
        Interruption::Other => "",
    }
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
pub(super) const fn suspension(breach: u8) -> (&'static str, &'static str) {
    match breach {
        1 => ("something is not paid", "pay what is open; then have the notice withdrawn"),
        2 => (
            "a statement was false",
            "correct the account's particulars with the provider; then have the notice withdrawn",
        ),
        3 => ("the terms were broken", "ask the provider what was broken and mend it; then have the notice withdrawn"),
        4 => ("the card cannot be used", "register a card that can be charged; then have the notice withdrawn"),
        _ => ("", "ask the provider what is wrong; then have the notice withdrawn"),
    }
}

/// What to do when answers say that the service is suspended.
pub(super) const SUSPENDED: &str = "clause 5.1(3): likely something is unpaid, the card cannot be charged, a statement about \
    the contract was false, or the terms were broken; or the app, its channel or the credential was removed: see the SORACOM \
    console; after mending it, reload";

/// What to do about a SIM that is stopped.
pub(super) const SIM_STOPPED: &str = "reactivate the SIM in the SORACOM console, then reboot the modem: it does not register \
    again by itself";

/// What to do ahead of a SIM's expiry.
pub(super) const SIM_EXPIRES: &str = "extend the SIM's expiry in the SORACOM console if the line is still needed";

/// What to do when the service has ended.
pub(super) const ENDED: &str = "records are kept; tidegate buffer export writes them to a file";

/// What to do when an answer says so: the endpoint alone may be gone.
pub(super) const ENDED_BY_ANSWER: &str = "records are kept; neither a reload nor tidegate resume ends this; if only this \
    webhook, app, channel or key was removed, configure the new one and reload; if the answer was a mistake, have it \
    withdrawn by a signed notice (tidegate notice sign --withdraw answers); otherwise tidegate buffer export writes the \
    records to a file";

/// What to do when the quota is spent.
pub(super) const QUOTA: &str =
    "records are kept until then; after changing to a larger plan in the SORACOM console, reload";

/// What to do about an interruption.
pub(super) const WAIT: &str = "nothing: sending goes on by itself";

/// What to do about changed terms.
pub(super) fn accept(version: &str) -> String {
    format!("read the changed terms, then tidegate terms accept {version}")
}

/// What to do about the operator's hold.
pub(super) const RESUME: &str = "tidegate resume";

/// Two texts as one.
pub(super) fn join(one: &str, other: &str) -> String {
    if one.is_empty() || other.is_empty() { format!("{one}{other}") } else { format!("{one}: {other}") }
}

/// What the agent does when an interruption is over for all at once.
pub(super) const BACK: &str = "it is over; this gateway goes on at a moment of its own";

/// What the agent does when something announced begins.
pub(super) const fn begins(said: &Said) -> &'static str {
    match said {
        Said::Emergency { .. } => "only lanes that go first are sent",
        Said::Restriction { .. } => "its limits hold",
        Said::End { .. } => "nothing is sent any more; records are kept",
        Said::Terms { .. } => "nothing is sent until they are accepted",
        Said::Identity { .. } => "the other identity is used",
        Said::Suspension { .. } => "sending stops; rarely one event shows whether it is over",
        _ => "sending stops",
    }
}
