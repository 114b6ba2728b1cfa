//! What the machine is set to.

use std::time::Duration;

use crate::shape::budget::Calendar;

/// What the machine is set to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// This gateway's id: with it every gateway has moments of its own.
    pub gateway: String,
    /// The period over which a fleet comes back after an interruption, unless a notice says another: up to a day.
    pub resume: Duration,
    /// How long it takes until a gateway that came back may send as fast as before: up to a day; 0 for at once.
    pub ramp: Duration,
    /// The shortest and the longest time between two probes while suspended or without quota: 1 s to 7 days.
    pub probe: (Duration, Duration),
    /// What follows from changed terms.
    pub on_terms_change: OnTermsChange,
    /// Whose months the account's quota counts.
    pub calendar: Calendar,
}

/// What follows from changed terms (clause 1.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum OnTermsChange {
    /// Nothing but a line in the log: using the service is consent.
    #[default]
    Continue,
    /// Nothing leaves from their date on until a person accepts them.
    Hold,
}

impl Settings {
    /// What is usual, for the gateway of this id.
    ///
    /// Half an hour to come back: of 100,000 gateways that is 56 new connections a second, a twelfth of what back-off with
    /// full jitter up to five minutes makes of it (simulated, see README). Ten minutes more until one drains what it
    /// stored at full speed. Probes from an hour to a day: a suspension is not cured by trying again.
    pub fn new(gateway: impl Into<String>) -> Self {
        Self {
            gateway: gateway.into(),
            resume: Duration::from_secs(1_800),
            ramp: Duration::from_secs(600),
            probe: (Duration::from_secs(3_600), Duration::from_secs(86_400)),
            on_terms_change: OnTermsChange::default(),
            calendar: Calendar::default(),
        }
    }
}

/// Periods in ms, within bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) resume: u64,
    pub(super) ramp: u64,
    pub(super) probe_min: u64,
    pub(super) probe_max: u64,
}

const DAY_MS: u64 = 86_400_000;

impl Span {
    /// The longest period over which gateways come back.
    pub(super) const MOST_RESUME_MS: u64 = DAY_MS;

    pub(super) fn of(settings: &Settings) -> Self {
        let ms = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        let probe_min = ms(settings.probe.0).clamp(1_000, 7 * DAY_MS);
        Self {
            resume: ms(settings.resume).min(Self::MOST_RESUME_MS),
            ramp: ms(settings.ramp).min(DAY_MS),
            probe_min,
            probe_max: ms(settings.probe.1).clamp(probe_min, 7 * DAY_MS),
        }
    }
}
