//! The status page at work: whom to ask and how much of the line that may take, and what it says to the machine.
//!
//! # Constraints
//! - What the page says goes to the machine once the store is open, so it is not asked before.
//! - It is asked through a door of its own, with other trust than Flux (a CA or a client certificate that is configured for
//!   Flux is none of its business) and perhaps another interface, but the same gate and the same counts.
//! - Of what the limits leave for a day it takes [`PART`] at most: notices must not starve telemetry.

use std::sync::Arc;
use std::time::Instant;

use tidegate_protocol::terms::Kind;
use tokio::sync::{mpsc, watch as channel};
use tokio_util::sync::CancellationToken;

use super::{GatewayError, Shared, options, stance};
use crate::config::Config;
use crate::language::Message;
use crate::message;
use crate::provider::page::Incident;
use crate::provider::statuspage::{self, Settings, Standing};
use crate::shape::limits::Limits;
use crate::shape::wire::Wire;
use crate::watch::StatusPageStatus;

/// Of the bytes that the limits allow in a day, one in so many may be the status page's.
const PART: u64 = 50;

/// Tellings that wait until the machine has taken them in: it takes microseconds.
const WAITING: usize = 8;

/// Incidents that `status` shows.
const SHOWN: usize = 5;

/// Whom to ask, and what is known.
#[derive(Debug)]
pub(super) struct Desk {
    wire: Wire,
    settings: channel::Sender<Option<Settings>>,
    standing: channel::Sender<Standing>,
}

impl Desk {
    /// Asks nobody yet.
    pub(super) fn new(config: &Config, wire: &Wire, limits: &Limits) -> Result<Self, GatewayError> {
        Ok(Self {
            wire: wire.beside(options::page_wire(&config.provider.statuspage, &config.forward)?),
            settings: channel::Sender::new(settings(config, limits)),
            standing: channel::Sender::new(Standing::default()),
        })
    }

    /// The door to the page.
    pub(super) fn wire(&self) -> Wire {
        self.wire.clone()
    }

    /// How it stands.
    pub(super) fn standing(&self) -> Standing {
        self.standing.borrow().clone()
    }
}

fn settings(config: &Config, limits: &Limits) -> Option<Settings> {
    let page = &config.provider.statuspage;
    page.enabled.then(|| Settings {
        url: page.url.clone(),
        components: page.components.clone(),
        every: page.every,
        bytes_per_day: page.bytes_per_day.min(of_limits(limits)).max(1),
    })
}

/// What the limits leave the page in a day.
fn of_limits(limits: &Limits) -> u64 {
    let hour = limits.number(Kind::BytesPerHour).map(|bytes| bytes.saturating_mul(24));
    let month = limits.bytes_per_month().map(|bytes| bytes / 30);
    let day = [hour, limits.number(Kind::BytesPerDay), month].into_iter().flatten().min();
    day.map_or(u64::MAX, |bytes| bytes / PART)
}

/// Takes a reloaded configuration into use, and asks at once: a reload is how an operator says so.
pub(super) fn reload(shared: &Shared) {
    let config = shared.loaded().config;
    let limits = Arc::clone(&shared.limits.subscribe().borrow());
    shared.page.settings.send_replace(settings(&config, &limits));
}

/// Asks, and hands on what is said, until `stop`.
pub(super) async fn keep(shared: Arc<Shared>, stop: CancellationToken) {
    let desk = &shared.page;
    let (to, mut told) = mpsc::channel(WAITING);
    let (settings, leave) = (desk.settings.subscribe(), shared.stance.leave());
    let poller = statuspage::run(settings, leave, desk.wire.clone(), desk.standing.clone(), to, stop);
    let teller = async {
        while let Some(input) = told.recv().await {
            stance::tell(&shared, input);
        }
    };
    tokio::join!(poller, teller);
}

/// What `status` shows of it; `None` if it is not asked.
pub(super) fn status(shared: &Shared) -> Option<StatusPageStatus> {
    let page = &shared.loaded().config.provider.statuspage;
    let standing = shared.page.standing();
    page.enabled.then(|| shown(&page.url, &standing, Instant::now()))
}

fn shown(url: &str, standing: &Standing, now: Instant) -> StatusPageStatus {
    let ago = |at: Instant| u64::try_from(now.saturating_duration_since(at).as_millis()).unwrap_or(u64::MAX);
    let incident = |it: &Incident| message!("{name} (impact {impact})", name = &it.name, impact = &it.impact);
    let incidents: Vec<Message> = standing.page.incidents.iter().take(SHOWN).map(incident).collect();
    let problem = standing.problem.as_ref();
    StatusPageStatus {
        url: url.to_owned(),
        answered_ago_ms: standing.answered.map(ago),
        maintenances: standing.page.maintenances.len() as u64,
        incidents: incidents.iter().map(Message::to_string).collect(),
        incident_messages: incidents,
        incidents_count: standing.page.incidents.len() as u64,
        skipped: standing.skipped.into(),
        asked: standing.asked,
        unchanged: standing.unchanged,
        bytes: standing.bytes,
        failures: standing.failures.into(),
        problem: problem.map_or_else(String::new, |problem| problem.reason.clone()),
        problem_message: problem.and_then(|problem| problem.said.clone().into_message()),
        advice: problem.map_or_else(String::new, |problem| problem.advice.to_string()),
        advice_message: problem.map(|problem| problem.advice.clone()),
        code: String::new(),
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU64;

    use tidegate_protocol::terms::{Bound, Limit, Provider, Source, Terms};

    use super::*;

    #[test]
    fn the_page_takes_a_fiftieth_of_what_the_limits_leave_for_a_day() {
        let limits = |bounds: &[fn(NonZeroU64) -> Bound], bytes: u64| {
            let bytes = NonZeroU64::new(bytes).expect("some");
            let limit =
                |bound: &fn(NonZeroU64) -> Bound| Limit::new(bound(bytes), Source::Provider(Provider::RateLimitHeader));
            Limits::merge(&[Terms::new(bounds.iter().map(limit))])
        };
        assert_eq!(of_limits(&Limits::default()), u64::MAX);
        assert_eq!(of_limits(&limits(&[Bound::BytesPerDay], 1_000_000)), 20_000);
        assert_eq!(of_limits(&limits(&[Bound::BytesPerMonth], 30_000_000)), 20_000);
        assert_eq!(of_limits(&limits(&[Bound::BytesPerHour], 1_000_000)), 480_000);
        assert_eq!(of_limits(&limits(&[Bound::BytesPerHour, Bound::BytesPerDay], 1_000_000)), 20_000);
    }
}
