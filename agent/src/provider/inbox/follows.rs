//! What a notice says, for people: not how the gateway stands, for several grounds may hold at once.

use tidegate_protocol::notice::{Breach, Content, Interruption};

use crate::clock::text;
use crate::language::Message;
use crate::language::bound::listed;
use crate::message;
use crate::shown::shown;

/// Characters of a name from outside.
const NAME: usize = 64;

/// What follows from a notice alone, in a sentence.
pub fn follows(content: &Content) -> Message {
    match content {
        Content::Maintenance { from_ms, until_ms, cause, resume_s } => {
            maintenance(*from_ms, *until_ms, *cause, *resume_s)
        }
        Content::Emergency { from_ms, until_ms } => {
            message!(
                "only lanes that go first are sent {from} {until}",
                from = from(*from_ms),
                until = until(*until_ms)
            )
        }
        Content::Restriction { from_ms, until_ms, limits } => {
            message!(
                "what leaves is limited to {limits} {from} {until}",
                limits = listed(limits),
                from = from(*from_ms),
                until = until(*until_ms)
            )
        }
        Content::Suspension { from_ms, cause } => {
            let cause = match cause {
                Breach::Unpaid => message!("something is not paid"),
                Breach::FalseStatement => message!("a statement was false"),
                Breach::Terms => message!("the terms were broken"),
                Breach::Card => message!("the card cannot be used"),
                Breach::Other => message!("a cause that is not said"),
            };
            message!(
                "nothing is sent but a rare probe {from} until it is withdrawn ({cause})",
                from = from(*from_ms),
                cause = cause
            )
        }
        Content::Quota { until_ms } => message!("nothing is sent until {time}", time = text::format(*until_ms)),
        Content::End { at_ms } => message!(
            "nothing is sent any more {from}; what is stored can be had with `tidegate buffer export`",
            from = from(*at_ms)
        ),
        Content::TermsChanged { version, effective_ms, url } => {
            let url = if url.is_empty() { String::new() } else { format!(" ({})", shown(url, NAME * 2)) };
            message!(
                "terms of version {version}{url} hold {from}",
                version = shown(version, NAME),
                url = url,
                from = from(*effective_ms)
            )
        }
        Content::Identity { effective_ms } => {
            message!(
                "the other identity that is configured is used {from}, but not before the time that stands in the \
                 configuration",
                from = from(*effective_ms)
            )
        }
        Content::Information => message!("something that people should know"),
        Content::Withdrawn => message!("what it said before no longer holds"),
        Content::Unknown { kind } => message!(
            "something of the kind {kind}, which this version does not know; update Tidegate",
            kind = shown(kind, NAME)
        ),
    }
}

fn maintenance(from_ms: u64, until_ms: u64, cause: Interruption, resume_s: Option<u32>) -> Message {
    let cause = match cause {
        Interruption::Works => message!("works on the service"),
        Interruption::Upstream => message!("works of a carrier or cloud it is built on"),
        Interruption::Identifier => message!("a change of the customer's identifier"),
        Interruption::Security => message!("security"),
        Interruption::Other => message!("a cause that is not said"),
    };
    let (from, until) = (from(from_ms), text::format(until_ms));
    match resume_s {
        None => message!(
            "nothing is sent {from} until {until}, for {cause}; then gateways come back one after another",
            from = from,
            until = until,
            cause = cause
        ),
        Some(seconds) => message!(
            "nothing is sent {from} until {until}, for {cause}; then gateways come back one after another over {seconds} s",
            from = from,
            until = until,
            cause = cause,
            seconds = seconds
        ),
    }
}

fn from(ms: u64) -> Message {
    if ms == 0 { message!("at once") } else { message!("from {time}", time = text::format(ms)) }
}

fn until(ms: Option<u64>) -> Message {
    ms.map_or_else(|| message!("until it is withdrawn"), |ms| message!("until {time}", time = text::format(ms)))
}
