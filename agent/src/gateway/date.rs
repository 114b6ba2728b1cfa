//! Asking for the time at work: whom, through which door, and what becomes of it.
//!
//! Asked is, in this order: the host that `[clock.date]` names; the status page, if it is asked and speaks TLS; the endpoint that
//! records go to, if it speaks TLS and is not SORACOM's, of whose only the documented entrances are used (terms of Flux,
//! 11.1(13)). Others than whom the operator trusts already are never asked. Of the endpoint's address only scheme, host and
//! port are used, for the rest may be secret; it is asked under every stance, for a head without anything of the
//! gateway's is no telemetry.

use std::sync::Arc;
use std::time::Instant;

use tokio::sync::{mpsc, watch as channel};
use tokio_util::sync::CancellationToken;

use super::{GatewayError, Shared, identity, options, stance};
use crate::clock::{self, Clock as _};
use crate::code::Code;
use crate::config::{Config, FluxTarget};
use crate::language::{IntoValue as _, Value};
use crate::message;
use crate::provider::date::{self, Settings, Standing};
use crate::shape::wire::Wire;
use crate::watch::DateStatus;

/// Tellings that wait until they are taken in: it takes microseconds.
const WAITING: usize = 1;

/// Whom to ask, and how it stands.
#[derive(Debug)]
pub(super) struct Desk {
    /// To the host that the configuration names.
    wire: Wire,
    settings: channel::Sender<Option<Settings>>,
    standing: channel::Sender<Standing>,
}

/// Who is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Whom {
    Named,
    Page,
    Endpoint,
}

/// Who is asked, and their scheme, host and port; `None` if nobody. `endpoint`: where records go now.
fn whom(config: &Config, endpoint: &FluxTarget) -> Option<(Whom, String)> {
    let (date, page) = (&config.clock.date, &config.provider.statuspage);
    let is_proof = |origin: &str| origin.starts_with("https://");
    let page = page.enabled.then(|| page.origin()).filter(|origin| is_proof(origin));
    let named = date.url.clone().map(|url| (Whom::Named, url));
    let endpoint = Some(endpoint).filter(|endpoint| !endpoint.is_soracoms()).map(FluxTarget::origin);
    let endpoint = endpoint.filter(|origin| is_proof(origin)).map(|origin| (Whom::Endpoint, origin));
    let found = named.or_else(|| page.map(|origin| (Whom::Page, origin))).or(endpoint);
    found.filter(|_| date.enabled)
}

impl Desk {
    /// Asks nobody yet.
    pub(super) fn new(config: &Config, wire: &Wire) -> Result<Self, GatewayError> {
        Ok(Self {
            wire: wire.beside(options::date_wire(config)?),
            settings: channel::Sender::new(None),
            standing: channel::Sender::new(Standing::default()),
        })
    }
}

fn settings(shared: &Shared) -> Option<Settings> {
    let config = shared.loaded().config;
    let (whom, origin) = whom(&config, identity::target(shared, &config))?;
    let wire = match whom {
        Whom::Named => shared.date.wire.clone(),
        Whom::Page => shared.page.wire(),
        Whom::Endpoint => shared.wire.clone(),
    };
    Some(Settings { origin, after: config.clock.date.after, wire })
}

/// Takes a reloaded configuration, or another endpoint, into use.
pub(super) fn reload(shared: &Shared) {
    let new = settings(shared);
    // What is the same is no news: a question that is under way is not begun anew.
    shared.date.settings.send_if_modified(|known| {
        let of = |settings: &Option<Settings>| settings.as_ref().map(|it| (it.origin.clone(), it.after));
        let changed = of(known) != of(&new);
        *known = new;
        changed
    });
}

/// Asks until the clock is right, and hands on what is told, until `stop`.
pub(super) async fn keep(shared: Arc<Shared>, stop: CancellationToken) {
    let desk = &shared.date;
    reload(&shared);
    let (to, mut told) = mpsc::channel(WAITING);
    let earliest = || clock::EARLIEST_MS.max(stance::earliest(&shared));
    let asker = date::run(
        desk.settings.subscribe(),
        shared.stance.leave(),
        (shared.clock.clone(), earliest),
        desk.standing.clone(),
        to,
        stop,
    );
    let teller = async {
        while let Some(input) = told.recv().await {
            stance::tell(&shared, input);
        }
    };
    tokio::join!(asker, teller);
}

/// What `status` shows of it; `None` once the clock is right, and where the configuration says not to ask.
pub(super) fn status(shared: &Shared) -> Option<DateStatus> {
    let config = shared.loaded().config;
    if shared.clock.now().trusted || !config.clock.date.enabled {
        return None;
    }
    let standing = shared.date.standing.borrow().clone();
    let asked = settings(shared);
    Some(shown(asked.map(|settings| settings.origin), &standing, Instant::now()))
}

fn shown(origin: Option<String>, standing: &Standing, now: Instant) -> DateStatus {
    let until = |at: Instant| u64::try_from(at.saturating_duration_since(now).as_millis()).unwrap_or(u64::MAX);
    let problem = match &origin {
        Some(_) => standing.problem.as_ref().map(|it| (it.said.clone(), it.advice.clone())),
        None => Some((
            message!("there is nobody to ask for the time over TLS").into_value(),
            message!("name a host in [clock.date] url, or set up the system's time synchronisation"),
        )),
    };
    let (problem, advice) = problem.map_or((Value::default(), None), |(said, advice)| (said, Some(advice)));
    DateStatus {
        next_in_ms: standing.next.map(until).filter(|_| origin.is_some()),
        origin: origin.unwrap_or_default(),
        asked: standing.asked,
        bytes: standing.bytes,
        code: if problem.is_empty() { String::new() } else { Code::Clock.to_string() },
        problem: crate::shown::shown(&problem.to_string(), crate::shown::MESSAGE),
        problem_message: problem.into_message(),
        advice,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;

    #[test]
    fn asked_is_whom_the_operator_trusts_and_only_over_tls() {
        const BASE: &str = "[gateway]\nid = \"g\"\n[collect.listener]\nbind = \"127.0.0.1:0\"\n[store]\npath = \"/s\"\n\
                            [forward.flux]\nkind = \"unified\"\nurl = \"http://uni.soracom.io/\"\n";
        let page = "[provider.statuspage]\nurl = \"https://status.example/base\"\n";
        let plain_page = "[provider.statuspage]\nurl = \"http://127.0.0.1:1\"\n";
        let no_page = "[provider.statuspage]\nenabled = false\n";
        let named = "[clock.date]\nurl = \"https://time.example/\"\n";
        let never = "[clock.date]\nenabled = false\n";
        let at = |whom, origin: &str| Some((whom, origin.to_owned()));
        let (soracoms, own, plain) = ("https://api.soracom.io/x", "https://flux.example/s3cr3t", "http://10.0.0.1/");
        for (text, endpoint, expected) in [
            ("", soracoms, at(Whom::Page, "https://status.soracom.io")),
            (page, plain, at(Whom::Page, "https://status.example")),
            (no_page, soracoms, None),
            (no_page, own, at(Whom::Endpoint, "https://flux.example")),
            (plain_page, own, at(Whom::Endpoint, "https://flux.example")),
            (no_page, plain, None),
            (named, own, at(Whom::Named, "https://time.example")),
            (never, own, None),
        ] {
            let config = config::parse(&format!("{BASE}{text}"), "test").expect("a configuration");
            let endpoint = FluxTarget::Webhook { url: config::Secret::new(endpoint) };
            assert_eq!(whom(&config, &endpoint), expected, "{text}");
        }
    }

    #[test]
    fn status_says_who_is_asked_when_and_what_is_wrong() {
        let now = Instant::now();
        let standing = Standing { next: Some(now + std::time::Duration::from_secs(60)), ..Standing::default() };
        let one = shown(Some("https://time.example".into()), &standing, now);
        assert_eq!((one.next_in_ms, one.problem.as_str()), (Some(60_000), ""));
        let nobody = shown(None, &standing, now);
        assert!(
            nobody.next_in_ms.is_none()
                && nobody.code == "TG-401"
                && !nobody.problem.is_empty()
                && nobody.advice.is_some_and(|advice| advice.to_string().contains("[clock.date]"))
        );
    }
}
