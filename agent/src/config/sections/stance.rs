//! `[provider.resume]`, `[provider.probe]` and `[terms]`: how the gateway behaves when the provider stops it.

use std::time::Duration;

use super::super::model::{OnTermsChange, Probe, Resume};
use super::super::reader::Section;
use super::DAY;
use crate::message;

/// Half an hour: 100,000 gateways then come back at 56 connections a second.
const SPREAD: Duration = Duration::from_secs(1_800);

/// Ten minutes from then until one drains at full speed what it stored.
const RAMP: Duration = Duration::from_secs(600);

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);

/// `[provider.resume]`.
pub(super) fn resume(provider: &Section<'_>) -> Resume {
    let section = provider.section("resume");
    let range = Duration::ZERO..=DAY;
    let resume =
        Resume { spread: section.duration("spread", &range, SPREAD), ramp: section.duration("ramp", &range, RAMP) };
    section.finish();
    resume
}

/// `[provider.probe]`. Below a minute it is the retrying that suspension is not cured by, good for a laboratory; a week is the longest that
/// a person should wait after having mended what was wrong.
pub(super) fn probe(provider: &Section<'_>) -> Probe {
    let section = provider.section("probe");
    let range = Duration::from_secs(1)..=7 * DAY;
    let min = section.duration("min", &range, HOUR);
    let max = section.duration("max", &range, DAY.max(min));
    if let (true, Some(value)) = (max < min, section.get("max")) {
        value.problem(message!("max is below min"), message!("write a max that is not below min"));
    }
    if min < MINUTE {
        section.warn(
            "min",
            message!(
                "less than a minute is for a laboratory: retrying does not cure a suspension, and may lengthen it"
            ),
            message!("write \"1h\", as it is by default"),
        );
    }
    section.finish();
    Probe { min, max: max.max(min) }
}

/// `[terms]`.
pub(super) fn on_terms_change(root: &Section<'_>) -> OnTermsChange {
    let section = root.section("terms");
    let words = [("continue", OnTermsChange::Continue), ("hold", OnTermsChange::Hold)];
    let found = section.word("on_change", &words).unwrap_or_default();
    section.finish();
    found
}
