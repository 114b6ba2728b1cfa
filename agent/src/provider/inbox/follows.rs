//! What a notice says, for people: not how the gateway stands, for several grounds may hold at once.

use tidegate_protocol::notice::{Breach, Content, Interruption};
use tidegate_protocol::terms::Bound;

use crate::clock::text;
use crate::shown::shown;

/// Characters of a name from outside.
const NAME: usize = 64;

/// What follows from a notice alone, in a sentence.
pub fn follows(content: &Content) -> String {
    match content {
        Content::Maintenance { from_ms, until_ms, cause, resume_s } => {
            let cause = match cause {
                Interruption::Works => "works on the service",
                Interruption::Upstream => "works of a carrier or cloud it is built on",
                Interruption::Identifier => "a change of the customer's identifier",
                Interruption::Security => "security",
                Interruption::Other => "a cause that is not said",
            };
            let resume = resume_s.map_or_else(String::new, |seconds| format!(" over {seconds} s"));
            let (from, until) = (from(*from_ms), text::format(*until_ms));
            format!(
                "nothing is sent {from} until {until}, for {cause}; then gateways come back one after another{resume}"
            )
        }
        Content::Emergency { from_ms, until_ms } => {
            format!("only lanes that go first are sent {} {}", from(*from_ms), until(*until_ms))
        }
        Content::Restriction { from_ms, until_ms, limits } => {
            let limits: Vec<String> = limits.iter().map(bound).collect();
            format!("what leaves is limited to {} {} {}", limits.join(", "), from(*from_ms), until(*until_ms))
        }
        Content::Suspension { from_ms, cause } => {
            let cause = match cause {
                Breach::Unpaid => "something is not paid",
                Breach::FalseStatement => "a statement was false",
                Breach::Terms => "the terms were broken",
                Breach::Card => "the card cannot be used",
                Breach::Other => "a cause that is not said",
            };
            format!("nothing is sent but a rare probe {} until it is withdrawn ({cause})", from(*from_ms))
        }
        Content::Quota { until_ms } => format!("nothing is sent until {}", text::format(*until_ms)),
        Content::End { at_ms } => {
            format!(
                "nothing is sent any more {}; what is stored can be had with `tidegate buffer export`",
                from(*at_ms)
            )
        }
        Content::TermsChanged { version, effective_ms, url } => {
            let url = if url.is_empty() { String::new() } else { format!(" ({})", shown(url, NAME * 2)) };
            format!("terms of version {}{url} hold {}", shown(version, NAME), from(*effective_ms))
        }
        Content::Identity { effective_ms } => {
            format!("the other identity that is configured is used {}", from(*effective_ms))
        }
        Content::Information => "something that people should know".to_owned(),
        Content::Withdrawn => "what it said before no longer holds".to_owned(),
        Content::Unknown { kind } => {
            format!("something of the kind {}, which this version does not know; update Tidegate", shown(kind, NAME))
        }
    }
}

fn from(ms: u64) -> String {
    if ms == 0 { "at once".to_owned() } else { format!("from {}", text::format(ms)) }
}

fn until(ms: Option<u64>) -> String {
    ms.map_or_else(|| "until it is withdrawn".to_owned(), |ms| format!("until {}", text::format(ms)))
}

fn bound(bound: &Bound) -> String {
    format!("{} {bound}", bound.kind().key())
}
