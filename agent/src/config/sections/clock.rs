//! `[clock]`: who says what time it is.

use std::time::Duration;

use super::super::DEFAULT_MARKER;
use super::super::address;
use super::super::model::{Clock, Date};
use super::super::reader::Section;
use super::super::surroundings::Content;
use super::DAY;
use crate::language::Message;
use crate::message;

pub(super) fn clock(root: &Section<'_>) -> Clock {
    let section = root.section("clock");
    let marker = section.path("synchronised_marker");
    if let Some((path, value)) = marker.as_ref().filter(|(path, _)| !path.starts_with("/run")) {
        value.warn(
            message!(
                "{path} may outlive a restart of the system, and then says nothing of the clock",
                path = path.display()
            ),
            message!("write the path of a file under /run, which is empty when the system starts"),
        );
    }
    let clock = Clock {
        synchronised_marker: marker.map_or_else(|| DEFAULT_MARKER.into(), |(path, _)| path),
        timedated: section.boolean("timedated").unwrap_or(true),
        date: date(section.section("date")),
    };
    section.finish();
    clock
}

/// `[clock.date]`. Five minutes: by then a system that can synchronise its clock mostly has, and a first batch was answered.
fn date(section: Section<'_>) -> Date {
    const ADVICE: Message = message!("write \"https://\" and a host, such as \"https://status.soracom.io\"");
    let mut url = None;
    if let Some((text, value)) = section.text("url", ADVICE) {
        match address::url(text, &["https"]) {
            Ok(found) if !matches!(found.path.as_str(), "" | "/") => {
                value.problem(
                    message!("the URL has a path"),
                    message!("write scheme, host and, if need be, a port: only its head is asked for"),
                );
            }
            Ok(_) => url = Some(address::origin(text)),
            Err(fault) => value.problem(fault.found, fault.advice),
        }
    }
    let date = Date {
        url,
        enabled: section.boolean("enabled").unwrap_or(true),
        after: section.duration("after", &(Duration::from_secs(1)..=DAY), Duration::from_secs(300)),
        ca_file: section.file("ca_file", Content::Certificates).map(|(path, _)| path),
    };
    if date.after < Duration::from_secs(60) {
        section.warn(
            "after",
            message!("less than a minute is for a laboratory: most systems know the time within minutes by themselves"),
            message!("write \"5m\", as it is by default"),
        );
    }
    section.finish();
    date
}
