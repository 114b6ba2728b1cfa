//! Whose fault it is when Flux cannot be reached: the gateway's own line, or the provider's side.
//!
//! # Constraints
//! - Only cheap evidence: what the failed attempt itself told, what the kernel says of routes and interfaces, and whether anybody
//!   else answered lately. Nothing is sent to find out more.
//! - It errs towards *unknown*: of the provider only what somebody answered, or what reached somebody else over the same line,
//!   is said; of the own line only what this machine can see itself, or that nobody answers at all.
//! - What is concluded comes with its evidence in short facts, for people and for the ledger of outages.
//!
//! # How it is judged
//! The first row that fits:
//!
//! | evidence | cause |
//! |---|---|
//! | an answer over HTTP | provider |
//! | refused, or the connection ended (TCP, TLS, or in the middle of a request): no other host is out of reach, and one answered or none was met by something in between | provider |
//! | the same: other hosts are out of reach, and one answered; or something in between may have answered for them | unknown |
//! | the same: every other host that was asked is out of reach | own line |
//! | no route, no interface, no address of one's own (`ENETUNREACH`, `ENODEV`, …) | own line |
//! | no default route, or the interface that is used is down or has no carrier | own line |
//! | a certificate that is not trusted, while the clock is not known to be right | own line: the clock |
//! | a certificate that is not trusted | unknown: either side may have changed it |
//! | a name server that knows no address | own line if others were asked and none answered, for one on the site says so when it hears of nobody; else unknown |
//! | somebody else answered over the same line since it failed first, [`LATELY`] ago at most | provider |
//! | others were asked since, and none answered, nor anything for them | own line |
//! | anything else | unknown |
//!
//! To answer is to be reached, whatever the answer says ([`reach`](super::reach)): an error of the status page's, or a metadata
//! service that is not enabled, proves the line as well as what was asked for.
//!
//! Whoever refuses or resets need not be who was asked: a firewall, a captive portal or a proxy on the gateway's own side does
//! so for everybody, and lets names be asked. Then other hosts are out of reach too, whatever a name server answers. On a
//! network from which the status page can never be reached it should be switched off: asked in vain it is evidence against
//! the own line.
//!
//! A host behind a router that says "unreachable" (`EHOSTUNREACH`) may be either, so the others decide. On a SORACOM line
//! everything goes through SORACOM: an outage of its core network looks like a fault of one's own from here, and no evidence
//! on the gateway tells the two apart.

mod system;

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::reach::Reach;
use crate::shape::wire::{Failure, Stage, Trouble};
pub use system::{Interface, Links, System};

/// An answer of somebody else counts as evidence for so long: the status page is asked every five minutes at the most, the
/// metadata service every ten.
pub const LATELY: Duration = Duration::from_secs(900);

/// [`Other::who`] of the name server: a firewall that refuses connections may let it answer.
pub const NAME_SERVER: &str = "name server";

/// Facts of a finding at most.
pub const FACTS: usize = 16;

/// Whose fault it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cause {
    /// The gateway's own line, or its clock.
    OwnLine,
    /// The provider's side.
    Provider,
    /// It cannot be told.
    Unknown,
}

/// A piece of evidence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fact {
    /// What it is about: `tcp`, `route`, `interface eth0`, `metadata service`.
    pub of: String,
    /// What is so, in a few words: `refused`, `no default route`, `answered 40 s ago`.
    pub is: String,
}

/// What is concluded, and from what.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// Whose fault it is.
    pub cause: Cause,
    /// What was seen, the most telling first; at most [`FACTS`].
    pub facts: Vec<Fact>,
}

/// Somebody else who is asked now and then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Other {
    /// Who: `metadata service`, `status page`, [`NAME_SERVER`].
    pub who: &'static str,
    /// How long ago it last answered.
    pub answered_ago: Option<Duration>,
    /// Whom the last question to it met; `None` if it was not asked yet.
    pub last: Option<Reach>,
    /// Whether it is asked over the same line as Flux.
    pub same_line: bool,
}

/// All that is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Evidence {
    /// How the attempt failed.
    pub failure: Failure,
    /// How long ago Flux failed first since it was last reached; zero with the first failure.
    pub failing_for: Duration,
    /// Routes and interfaces, as far as the system tells.
    pub links: Links,
    /// The interface that everything goes through, if one is configured.
    pub interface: Option<String>,
    /// Others who are asked.
    pub others: Vec<Other>,
    /// Whether the clock is known to be right.
    pub clock_trusted: bool,
}

/// Judges.
pub fn judge(evidence: &Evidence) -> Finding {
    let mut facts = vec![of_failure(evidence.failure)];
    let link = of_links(evidence, &mut facts);
    facts.extend(evidence.others.iter().map(|other| of_other(other, evidence)));
    if !evidence.clock_trusted {
        facts.push(fact("clock", "not known to be right"));
    }
    facts.truncate(FACTS);
    Finding { cause: cause(evidence, link), facts }
}

fn cause(evidence: &Evidence, link_is_down: bool) -> Cause {
    let others = || evidence.others.iter().filter(|other| other.same_line);
    let out_of_reach = others().any(|other| other.last == Some(Reach::Nobody));
    let perhaps = others().any(|other| other.last == Some(Reach::Somebody));
    let refused = match evidence.failure {
        Failure::Answered(_) => return Cause::Provider,
        Failure::Cut => true,
        Failure::Silent => false,
        Failure::Connecting { stage, trouble, .. } => match (stage, trouble) {
            // What the gateway was given cannot be used: certificates, keys, a name.
            (Stage::Setup, _) | (_, Trouble::NoWay) => return Cause::OwnLine,
            (Stage::Tcp | Stage::Tls, trouble) => trouble == Trouble::Refused,
            (Stage::Name, _) => false,
        },
    };
    if refused {
        let reached = others().any(|other| other.who != NAME_SERVER && has_answered(other, evidence));
        return match (out_of_reach, reached) {
            (true, true) => Cause::Unknown,
            (_, false) if perhaps => Cause::Unknown,
            (false, _) => Cause::Provider,
            (true, false) => Cause::OwnLine,
        };
    }
    if link_is_down {
        return Cause::OwnLine;
    }
    if let Failure::Connecting { stage: Stage::Tls, trouble: Trouble::Answered, .. } = evidence.failure {
        return if evidence.clock_trusted { Cause::Unknown } else { Cause::OwnLine };
    }
    let unknown_name =
        matches!(evidence.failure, Failure::Connecting { stage: Stage::Name, trouble: Trouble::Answered, .. });
    if others().any(|other| has_answered(other, evidence)) {
        if unknown_name { Cause::Unknown } else { Cause::Provider }
    } else if out_of_reach && !perhaps {
        Cause::OwnLine
    } else {
        Cause::Unknown
    }
}

/// Whether somebody else answered since Flux first failed, and lately. With the very first failure, what was answered just
/// before it counts: nothing else can have been.
fn has_answered(other: &Other, evidence: &Evidence) -> bool {
    const JUST_BEFORE: Duration = Duration::from_secs(30);
    let since = evidence.failing_for.max(JUST_BEFORE).min(LATELY);
    other.last == Some(Reach::Host) && other.answered_ago.is_some_and(|ago| ago <= since)
}

fn fact(of: impl Into<String>, is: impl Into<String>) -> Fact {
    Fact { of: of.into(), is: is.into() }
}

fn of_failure(failure: Failure) -> Fact {
    match failure {
        Failure::Answered(status) => fact("http", format!("answered {status}")),
        Failure::Cut => fact("http", "the connection was cut"),
        Failure::Silent => fact("http", "no answer in time"),
        Failure::Connecting { stage, trouble, errno } => {
            let of = match stage {
                Stage::Setup => "setup",
                Stage::Name => "name",
                Stage::Tcp => "tcp",
                Stage::Tls => "tls",
            };
            let is = match (stage, trouble) {
                (_, Trouble::NoWay) => "no way there from this gateway",
                (_, Trouble::HostUnreachable) => "the host cannot be reached",
                (Stage::Name, Trouble::Silence) => "no name server answered",
                (_, Trouble::Silence) => "no answer in time",
                (_, Trouble::Refused) => "refused by the far side",
                (Stage::Name, Trouble::Answered) => "the name server knows no address",
                (_, Trouble::Answered) => "what was answered is of no use, such as a certificate that is not trusted",
                (_, Trouble::Other) => "failed",
            };
            let number = errno.map(|number| format!(" (errno {number})")).unwrap_or_default();
            fact(of, format!("{is}{number}"))
        }
    }
}

/// What the system says of links; whether that alone explains the failure.
fn of_links(evidence: &Evidence, facts: &mut Vec<Fact>) -> bool {
    let links = &evidence.links;
    let mut down = false;
    if let Some(routes) = &links.default_routes {
        let used = |name: &&String| evidence.interface.as_ref().is_none_or(|wanted| wanted == *name);
        let through: Vec<&str> = routes.iter().filter(used).map(String::as_str).collect();
        if through.is_empty() {
            // With an interface that is bound to, a route through another does not help.
            facts.push(fact("route", "no default route"));
            down = true;
        } else {
            facts.push(fact("route", format!("default through {}", through.join(", "))));
        }
        // A route through what is down leads nowhere.
        let states = through.iter().filter_map(|name| links.interfaces.iter().find(|it| it.name == **name));
        let states: Vec<&Interface> = states.collect();
        facts.extend(states.iter().map(|it| fact(format!("interface {}", it.name), it.state())));
        down |= !states.is_empty() && states.iter().all(|it| it.is_down());
    }
    if let Some(wanted) = &evidence.interface {
        match links.interfaces.iter().find(|it| it.name == *wanted) {
            Some(found) if links.default_routes.as_ref().is_none_or(|routes| !routes.contains(wanted)) => {
                facts.push(fact(format!("interface {wanted}"), found.state()));
                down |= found.is_down();
            }
            None if links.listed => {
                facts.push(fact(format!("interface {wanted}"), "is not there"));
                down = true;
            }
            _ => {}
        }
    }
    down
}

fn of_other(other: &Other, evidence: &Evidence) -> Fact {
    let line = if other.same_line { "" } else { ", over another line" };
    let said = match (other.answered_ago, other.last) {
        (_, Some(Reach::Somebody)) => "something in between may have answered for it".to_owned(),
        (Some(ago), Some(Reach::Host)) => format!("answered {} s ago", ago.as_secs()),
        (Some(ago), Some(Reach::Nobody)) => format!("does not answer now, answered {} s ago", ago.as_secs()),
        (None, Some(_)) => "does not answer".to_owned(),
        (_, None) => "not asked yet".to_owned(),
    };
    let old = if other.last == Some(Reach::Host) && other.answered_ago.is_some() && !has_answered(other, evidence) {
        ", before the failure"
    } else {
        ""
    };
    fact(other.who, format!("{said}{old}{line}"))
}

#[cfg(test)]
mod tests;
