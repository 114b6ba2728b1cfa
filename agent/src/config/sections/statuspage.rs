//! `[provider.statuspage]`: which page is asked for maintenances, for what, and how much of the line it may take.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::super::address;
use super::super::error::shown;
use super::super::model::StatusPage;
use super::super::reader::Section;
use super::super::surroundings::Content;
use super::DAY;
use crate::glob::Glob;
use crate::language::Message;
use crate::message;

/// SORACOM's page (Atlassian Statuspage).
const PAGE: &str = "https://status.soracom.io";

/// What it most likely calls what concerns a gateway; its components' names are not known.
const COMPONENTS: [&str; 3] = ["flux", "unified", "api"];

/// Patterns at most.
const MAX_COMPONENTS: usize = 32;

/// What it may cost in a day unless said otherwise: 10 MB a month.
const BYTES_PER_DAY: u64 = 330_000;

/// From one question of a page that has not changed to beyond any page asked for every minute.
const BYTES: RangeInclusive<u64> = 4_000..=1_000_000_000;

/// `at_soracom`: the endpoint is SORACOM's. To others the state of SORACOM's services says nothing, and nobody there is asked.
pub(super) fn statuspage(section: Section<'_>, at_soracom: bool) -> StatusPage {
    let asked_for = section.has("url") || section.has("every") || section.has("components");
    let mut url = PAGE.to_owned();
    if let Some((text, value)) = section.text("url", message!("write \"https://status.soracom.io\"")) {
        match address::url(text, &["https", "http"]) {
            Ok(found) if found.path.contains('?') => {
                value.problem(
                    message!("the URL has a query"),
                    message!("write scheme, host and, if need be, a path before /api/v2"),
                );
            }
            Ok(found) => {
                if found.scheme == "http" && !found.is_loopback() {
                    value.warn(
                        message!(
                            "over plain HTTP anybody on the way can announce a maintenance, and so stop this gateway"
                        ),
                        message!("write https://"),
                    );
                }
                text.trim_end_matches('/').clone_into(&mut url);
            }
            Err(fault) => value.problem(fault.found, fault.advice),
        }
    }
    let page = StatusPage {
        url,
        components: components(&section),
        every: section.duration("every", &(Duration::from_secs(60)..=DAY), Duration::from_secs(300)),
        bytes_per_day: section.size("bytes_per_day", &BYTES, BYTES_PER_DAY),
        interface: super::forward::interface(&section),
        ca_file: section.file("ca_file", Content::Certificates).map(|(path, _)| path),
        enabled: section.boolean("enabled").unwrap_or(asked_for || at_soracom),
    };
    section.finish();
    page
}

fn components(section: &Section<'_>) -> Vec<Glob> {
    const ADVICE: Message = message!("write parts of components' names in an array, such as [\"flux\", \"unified\"]");
    let default = || COMPONENTS.iter().filter_map(|text| Glob::new(text).ok()).collect();
    let Some(value) = section.get("components") else { return default() };
    let elements = value.elements(ADVICE);
    if value.is_array() && !(1..=MAX_COMPONENTS).contains(&elements.len()) {
        value.problem(
            message!("found {count} patterns", count = elements.len()),
            message!("write 1 to {most}; [\"*\"] heeds everything on the page", most = MAX_COMPONENTS),
        );
        return default();
    }
    let mut globs = Vec::new();
    for element in elements {
        let Some(text) = element.text(ADVICE) else { continue };
        match Glob::new(text) {
            Ok(glob) => globs.push(glob),
            Err(error) => {
                element.problem(message!("found {what}: {why}", what = shown(text), why = error.message()), ADVICE);
            }
        }
    }
    globs
}
