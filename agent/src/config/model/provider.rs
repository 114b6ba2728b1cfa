//! `[provider]` and `[terms]`: what is known of the contract and the line, where more is learnt, and what follows.

use std::num::NonZeroU64;
use std::path::PathBuf;
use std::time::Duration;

use tidegate_protocol::notice::Keys;

use crate::glob::Glob;

/// `[provider]`: what is known of the contract and the line, and where more is learnt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Provider {
    /// The contract's limits: a terms file (`super::terms`). An absolute path; the file may be missing or wrong.
    pub terms: Option<PathBuf>,
    /// `[provider.metadata]`.
    pub metadata: Metadata,
    /// `[provider.statuspage]`.
    pub statuspage: StatusPage,
    /// `[[provider.rule]]`: what answers of Flux mean, before what is known of them otherwise. At most 32.
    pub rules: Vec<crate::answer::rule::Rule>,
    /// `[provider.notices]`.
    pub notices: Notices,
    /// What each speed class of a SIM carries: the defaults with what `[[provider.speed_class]]` changes and adds. Never
    /// empty.
    pub speed_classes: Vec<SpeedClass>,
    /// `[provider.resume]`.
    pub resume: Resume,
    /// `[provider.probe]`.
    pub probe: Probe,
    /// `[terms] on_change`.
    pub on_terms_change: OnTermsChange,
}

/// `[provider.resume]`: how the gateway comes back after an interruption of the service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Resume {
    /// The time over which a fleet comes back, each gateway at a moment of its own, up to a day.
    pub spread: Duration,
    /// How long it takes from then until it may send as fast as before, up to a day.
    pub ramp: Duration,
}

/// `[provider.probe]`: how often one record is sent to see whether what stopped the gateway is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Probe {
    /// At first, 1 s to 7 days.
    pub min: Duration,
    /// At last, not below `min`.
    pub max: Duration,
}

/// What follows when the provider changes the terms (clause 1.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnTermsChange {
    /// It is logged: using the service is consent.
    #[default]
    Continue,
    /// Nothing is sent from then on until a person accepts them.
    Hold,
}

/// `[provider.metadata]`: the SIM's own metadata service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Metadata {
    /// Whether it is asked.
    pub enabled: bool,
    /// Its base URL without a trailing slash: `http://metadata.soracom.io`.
    pub url: String,
    /// How often it is asked, 1 min to 24 h.
    pub every: Duration,
}

/// `[provider.notices]`: signed notices.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Notices {
    /// Whose notices are believed; nobody's without.
    pub keys: Option<Keys>,
    /// The folder that is watched for them. An absolute path; it may be missing. Only with `keys`.
    pub folder: Option<PathBuf>,
}

/// `[provider.statuspage]`: the provider's status page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatusPage {
    /// Whether it is asked.
    pub enabled: bool,
    /// Its base URL without a trailing slash: `https://status.soracom.io`.
    pub url: String,
    /// What is found in the names of components that concern this gateway, 1 to 32.
    pub components: Vec<Glob>,
    /// How often it is asked at the most, 1 min to 24 h.
    pub every: Duration,
    /// Bytes on the wire that it may cost in a day, 4 kB to 1 GB.
    pub bytes_per_day: u64,
    /// The network interface that it is asked through; that of `[forward]` if none.
    pub interface: Option<String>,
    /// PEM file with the CA of the page; without it the system's roots are used.
    pub ca_file: Option<PathBuf>,
}

impl StatusPage {
    /// Scheme, host and port.
    pub fn origin(&self) -> String {
        super::super::address::origin(&self.url)
    }
}

/// `[[provider.speed_class]]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpeedClass {
    /// Such as `s1.slow`: 1 to 64 of `A-Z a-z 0-9 . _ -`.
    pub name: String,
    /// bit/s, in either direction.
    pub rate: NonZeroU64,
}
