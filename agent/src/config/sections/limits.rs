//! `[limits]` and `[provider]`: what may leave, and who else may say so.

use std::num::NonZeroU64;
use std::ops::RangeInclusive;
use std::time::Duration;

use tidegate_protocol::terms::{Bound, Kind, Quota, Windows};

use super::super::address;
use super::super::error::shown;
use super::super::model::{Calendar, EventsCount, Limits, Metadata, Provider, SpeedClass, Stated};
use super::super::reader::{Section, Value, found_text};
use super::super::terms::DEVELOPER_EVENTS;
use super::DAY;
use crate::language::Message;
use crate::message;

/// More would be a table for a program to write, and no rule that a person can follow.
const MAX_WINDOWS: usize = 32;

/// Speed classes of a configuration; SORACOM has ten.
const MAX_CLASSES: usize = 64;

/// Where the metadata service is on a SORACOM line; plain HTTP within it, no HTTPS is documented.
const METADATA: &str = "http://metadata.soracom.io";

/// What each speed class carries, in bit/s. SORACOM states the rates of `minimum`, `4xfast` and `8xfast`; those between
/// are inferred from the same document, and those of `u1`, `t1` and `arc` from the classes of the same name.
const CLASSES: [(&str, u64); 10] = [
    ("s1.minimum", 32_000),
    ("s1.slow", 128_000),
    ("s1.standard", 512_000),
    ("s1.fast", 2_000_000),
    ("s1.4xfast", 8_000_000),
    ("s1.8xfast", 16_000_000),
    ("u1.slow", 128_000),
    ("u1.standard", 512_000),
    ("t1.standard", 512_000),
    ("arc.standard", 512_000),
];

pub(super) fn limits(root: &Section<'_>) -> Limits {
    let section = root.section("limits");
    let calendar = section.word("calendar", &[("JST", Calendar::Jst), ("UTC", Calendar::Utc)]);
    let counts = [("requests", EventsCount::Requests), ("records", EventsCount::Records)];
    let limits = Limits {
        stated: stated(&section),
        calendar: calendar.unwrap_or(Calendar::Jst),
        events_count: section.word("events_count", &counts).unwrap_or(EventsCount::Requests),
    };
    section.finish();
    limits
}

/// The limits of a `[limits]` table, of the configuration or of a terms file.
pub(in super::super) fn stated(section: &Section<'_>) -> Vec<Stated> {
    let mut all = Vec::new();
    for kind in Kind::ALL {
        let Some(value) = section.get(kind.key()) else { continue };
        if let Some(bound) = bound(section, kind, &value) {
            all.push(Stated { bound, line: value.line() });
        }
    }
    all
}

/// A limit that stands in the table; `None` if it is wrong, which is then entered.
fn bound(section: &Section<'_>, kind: Kind, value: &Value<'_>) -> Option<Bound> {
    let key = kind.key();
    // Only windows have no range.
    let range = kind.range().unwrap_or(0..=0);
    let rate = || section.rate(key, &range).and_then(NonZeroU64::new);
    // What is wrong is entered by the reader; the range's start stands in for it until the book is closed.
    let size = || NonZeroU64::new(section.size(key, &range, *range.start()));
    let count = || NonZeroU64::new(section.integer(key, &range, *range.start()));
    match kind {
        Kind::RateUp => rate().map(Bound::RateUp),
        Kind::RateDown => rate().map(Bound::RateDown),
        Kind::Burst => size().map(Bound::Burst),
        Kind::BytesPerHour => size().map(Bound::BytesPerHour),
        Kind::BytesPerDay => size().map(Bound::BytesPerDay),
        Kind::BytesPerMonth => size().map(Bound::BytesPerMonth),
        Kind::EventsPerMinute => count().map(Bound::EventsPerMinute),
        Kind::EventsPerDay => count().map(Bound::EventsPerDay),
        Kind::EventsPerMonth => quota(section, value, &range).map(Bound::EventsPerMonth),
        Kind::Share => section.share(key).map(Bound::Share),
        Kind::Windows => windows(value).map(Bound::Windows),
    }
}

fn quota(section: &Section<'_>, value: &Value<'_>, range: &RangeInclusive<u64>) -> Option<Quota> {
    if !value.is_text() {
        return NonZeroU64::new(section.integer(Kind::EventsPerMonth.key(), range, 1)).map(Quota::Events);
    }
    let text = value.text(message!("write \"unlimited\" or a number without quotes"))?;
    if text == "unlimited" {
        return Some(Quota::Unlimited);
    }
    value.problem(
        found_text(text),
        message!(
            "write a number from 1 to {most} without quotes, or \"unlimited\" for a plan without a quota",
            most = *range.end()
        ),
    );
    None
}

fn windows(value: &Value<'_>) -> Option<Windows> {
    const ADVICE: Message = message!("write windows in an array, such as [\"02:00-05:00\", \"sat,sun 00:00-24:00\"]");
    let elements = value.elements(ADVICE);
    if value.is_array() && !(1..=MAX_WINDOWS).contains(&elements.len()) {
        value.problem(
            message!("found {count} windows", count = elements.len()),
            message!(
                "write 1 to {most} windows; without any, remove the key: lanes may then always leave",
                most = MAX_WINDOWS
            ),
        );
        return None;
    }
    let mut texts = Vec::new();
    for element in &elements {
        let text = element.text(ADVICE)?;
        if let Err(error) = Windows::parse([text]) {
            element.problem(found_text(text), error.advice);
            return None;
        }
        texts.push(text);
    }
    if texts.is_empty() { None } else { Windows::parse(texts).ok() }
}

/// `unified`: the endpoint is the Unified Endpoint, so the line is SORACOM's. `at_soracom`: the endpoint is any of SORACOM's.
pub(super) fn provider(root: &Section<'_>, unified: bool, at_soracom: bool) -> Provider {
    let section = root.section("provider");
    let terms = section.path("terms").map(|(path, _)| path);
    let metadata = metadata(section.section("metadata"), unified);
    let statuspage = super::statuspage::statuspage(section.section("statuspage"), at_soracom);
    let rules = super::answers::rules(&section);
    let notices = super::notices::notices(section.section("notices"));
    let (resume, probe) = (super::stance::resume(&section), super::stance::probe(&section));
    let speed_classes = speed_classes(&section);
    section.finish();
    let on_terms_change = super::stance::on_terms_change(root);
    Provider { terms, metadata, statuspage, rules, notices, speed_classes, resume, probe, on_terms_change }
}

/// Over another line than SORACOM's the service's name is asked of a public resolver, and whoever answers, in plain HTTP,
/// could slow the gateway down. So it is asked only where the line is known to be SORACOM's, or an operator says so.
fn metadata(section: Section<'_>, unified: bool) -> Metadata {
    let asked_for = section.has("url") || section.has("every");
    let mut url = METADATA.to_owned();
    if let Some((text, value)) = section.text("url", message!("write \"http://metadata.soracom.io\"")) {
        match address::url(text, &["http", "https"]) {
            Ok(found) if found.path.contains('?') => {
                value.problem(
                    message!("the URL has a query"),
                    message!("write scheme, host and, if need be, a path before /v1/subscriber"),
                );
            }
            Ok(_) => text.trim_end_matches('/').clone_into(&mut url),
            Err(fault) => value.problem(fault.found, fault.advice),
        }
    }
    let every = section.duration("every", &(Duration::from_secs(60)..=DAY), Duration::from_secs(600));
    let enabled = section.boolean("enabled").unwrap_or(asked_for || unified);
    section.finish();
    Metadata { enabled, url, every }
}

fn speed_classes(section: &Section<'_>) -> Vec<SpeedClass> {
    const NAME: Message = message!("write the class as SORACOM names it, such as \"s1.slow\"");
    let known = CLASSES.iter().filter_map(|(name, rate)| Some(((*name).to_owned(), NonZeroU64::new(*rate)?)));
    let mut classes: Vec<SpeedClass> = known.map(|(name, rate)| SpeedClass { name, rate }).collect();
    let mut written: Vec<&str> = Vec::new();
    for table in section.sections("speed_class").unwrap_or_default() {
        let name = table.text("name", NAME);
        if !table.has("name") {
            table.missing("name", NAME);
        }
        if !table.has("rate") {
            table.missing("rate", message!("write what it carries, such as \"128 kbit/s\""));
        }
        let rates = Kind::RateUp.range().unwrap_or(0..=0);
        let rate = table.rate("rate", &rates).and_then(NonZeroU64::new);
        if let Some((text, value)) = &name {
            let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
            if text.is_empty() || text.len() > 64 || !text.chars().all(plain) {
                value.problem(found_text(text), NAME);
            } else if written.contains(text) {
                value.problem(
                    message!("two speed classes are named {what}", what = shown(text)),
                    message!("remove one of them"),
                );
            } else if written.len() == MAX_CLASSES {
                value.problem(
                    message!("one speed class too many"),
                    message!("write at most {most}", most = MAX_CLASSES),
                );
            } else if let Some(rate) = rate {
                written.push(text);
                match classes.iter_mut().find(|class| class.name == *text) {
                    Some(class) => class.rate = rate,
                    None => classes.push(SpeedClass { name: (*text).to_owned(), rate }),
                }
            }
        }
        table.finish();
    }
    classes
}

/// The events that this gateway may have in a month as far as the configuration says; `None` without a quota.
pub(super) fn monthly_events(limits: &Limits) -> Option<u64> {
    let find = |kind| limits.stated.iter().map(|stated| &stated.bound).find(|bound| bound.kind() == kind);
    let events = match find(Kind::EventsPerMonth) {
        Some(Bound::EventsPerMonth(Quota::Unlimited)) => return None,
        Some(bound) => bound.number()?,
        None => DEVELOPER_EVENTS.get(),
    };
    Some(match find(Kind::Share) {
        Some(Bound::Share(share)) => share.part(events),
        _ => events,
    })
}

/// Judges what only shows beside the rest of the configuration.
pub(super) fn judge_together(root: &Section<'_>, limits: &Limits, origin: &str) {
    let section = root.section("limits");
    if let (Some(0), Some(value)) = (monthly_events(limits), section.get("share")) {
        value.problem(
            message!("this share of the month's events is less than one event"),
            message!("write a larger share"),
        );
    }
    // The Global coverage's API; Japan's is api.soracom.io.
    if origin.ends_with("//g.api.soracom.io") && !section.has("calendar") {
        section.warn(
            "calendar",
            message!("the endpoint is the Global coverage's, and months are counted in JST"),
            message!("write calendar = \"UTC\" or \"JST\", as the account's bills have it"),
        );
    }
}
