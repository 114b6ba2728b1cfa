//! `[store]` and `[[lane]]`.

use std::path::PathBuf;
use std::time::Duration;

use super::super::error::shown;
use super::super::model::{Lane, Policy, Store};
use super::super::reader::{Section, found_text};
use super::super::surroundings::Place;
use super::super::units::{self, Amount};
use super::{DAY, GIB, MIB};
use crate::hardware::Source;
use crate::language::Message;
use crate::message;

/// Most lanes: each has a folder, a segment that is never deleted, and memory of its own.
const MAX_LANES: usize = 16;

/// Longest name of a lane: it stands in every event.
const MAX_NAME: usize = 64;

/// The largest size that is no slip of the unit.
const MOST: u64 = 16 * 1024 * GIB;

const GB: u64 = 1_000_000_000;

/// What the lanes may reserve together, in percent of `max_size`: the store needs a part for itself, and lanes without
/// a reservation must find room too.
const RESERVABLE: u8 = 75;

pub(super) fn store(root: &Section<'_>) -> Store {
    let section = root.section("store");
    let configured = section.path("path");
    let policies = [("drop-oldest", Policy::DropOldest), ("refuse", Policy::Refuse)];
    // The makers say it in TB, from some 30 TB of a small card to thousands of a server's disk.
    let endurance = section.size("flash_endurance", &(GB..=10_000_000 * GB), 30_000 * GB);
    let store = Store {
        path: configured.as_ref().map_or_else(|| PathBuf::from("/var/lib/tidegate"), |(path, _)| path.clone()),
        // Below 2 MiB what the store needs for itself leaves no room for records.
        max_size: section.size("max_size", &(2 * MIB..=MOST), GIB),
        min_size: section.amount("min_size", &(0..=MOST), Amount::Percent(25)),
        // What a system needs to log in, look and repair.
        keep_free: section.size("keep_free", &(0..=MOST), 64 * MIB),
        keep_free_inodes: section.integer("keep_free_inodes", &(0..=u64::from(u32::MAX)), 1000),
        policy: section.word("policy", &policies).unwrap_or(Policy::DropOldest),
        keep_delivered: section.duration("keep_delivered", &(Duration::ZERO..=365 * DAY), Duration::ZERO),
        // Beyond a minute every client takes the silence for a dead gateway and connects anew.
        commit_within: section.duration(
            "commit_within",
            &(Duration::ZERO..=Duration::from_secs(60)),
            Duration::from_millis(20),
        ),
        flash_endurance: section.has("flash_endurance").then_some(endurance),
        hardware: hardware(&section),
    };
    if let (true, Some(value)) = (store.min_bytes() > store.max_size, section.get("min_size")) {
        value.problem(
            message!("min_size is more than max_size"),
            message!("write at most \"{size}\", or a larger max_size", size = units::format_size(store.max_size)),
        );
    }
    if let (true, Some(value)) = (store.commit_within >= Duration::from_secs(5), section.get("commit_within")) {
        value.warn(
            message!(
                "a device may wait {duration} for its PUBACK",
                duration = units::format_duration(store.commit_within)
            ),
            message!("write less than \"5s\" unless all devices are known to wait that long"),
        );
    }
    folder(&section, &store);
    section.finish();
    store
}

/// Judges where the store is to be.
fn folder(section: &Section<'_>, store: &Store) {
    let configured = section.get("path");
    if let Some(value) = &configured {
        let path = store.path.display();
        match section.place(&store.path) {
            Place::Fits => {}
            Place::File => {
                value.problem(
                    message!("{path} is a file, or leads through one", path = path),
                    message!("write a folder's path"),
                );
            }
            Place::Foreign => value.warn(
                message!("{path} holds files that are not a store's", path = path),
                message!("write a folder for the store alone, such as \"/var/lib/tidegate\""),
            ),
        }
    }
    let Some(volume) = section.volume(&store.path) else { return };
    if let (true, Some(value)) = (volume.volatile, &configured) {
        value.warn(
            message!(
                "{path} is in memory: a power cut loses everything that was acknowledged",
                path = store.path.display()
            ),
            message!("write a folder on flash or disk, unless this is a test"),
        );
    }
    if store.max_size > volume.bytes {
        section.warn(
            "max_size",
            message!("the file system has {size} in all", size = units::format_size(volume.bytes / MIB * MIB)),
            message!("write a max_size that leaves room for what else is on it"),
        );
    }
}

fn hardware(section: &Section<'_>) -> Source {
    const ADVICE: Message = message!("write \"board\", \"network:<interface>\" such as \"network:eth0\", or \"none\"");
    let Some((text, value)) = section.text("hardware", ADVICE) else { return Source::default() };
    text.parse().unwrap_or_else(|_| {
        value.problem(found_text(text), ADVICE);
        Source::default()
    })
}

/// The lane that waits for the windows unless it is told otherwise.
const BULK: &str = "bulk";

/// The lanes that stand when the file has none.
fn default_lanes() -> Vec<Lane> {
    let lane = |name: &str, first, weight, percent| Lane {
        name: name.into(),
        first,
        weight,
        windowed: name == BULK,
        reserve: Amount::Percent(percent),
        max_age: None,
    };
    vec![lane("critical", true, 1, 10), lane("normal", false, 4, 0), lane("bulk", false, 1, 0)]
}

pub(super) fn lanes(root: &Section<'_>, max_size: u64) -> Vec<Lane> {
    let Some(tables) = root.sections("lane") else { return default_lanes() };
    let mut lanes: Vec<Lane> = Vec::new();
    let mut reserved = 0_u64;
    for (index, table) in tables.into_iter().enumerate() {
        if index == MAX_LANES {
            table.problem("", message!("one lane too many"), message!("write at most {most}", most = MAX_LANES));
            break;
        }
        let lane = lane(&table, &lanes);
        let (before, limit) = (reserved, Amount::Percent(RESERVABLE).of(max_size));
        reserved = reserved.saturating_add(lane.reserve.of(max_size));
        if let (true, Some(value)) = (before <= limit && reserved > limit, table.get("reserve")) {
            let (reserved, whole) = (size(reserved), size(max_size));
            value.problem(
                message!(
                    "the lanes reserve {reserved} together, of a max_size of {whole}",
                    reserved = reserved,
                    whole = whole
                ),
                message!(
                    "reserve {most}% at most in all: the store itself and lanes without one need room too",
                    most = RESERVABLE
                ),
            );
        }
        lanes.push(lane);
        table.finish();
    }
    if lanes.is_empty() { default_lanes() } else { lanes }
}

/// A lane; its name stays as it is found, so that rules that name it are not called wrong too.
fn lane(table: &Section<'_>, others: &[Lane]) -> Lane {
    const NAME: Message = message!("write a name of 1 to 64 of a-z, 0-9, `_` and `-`");
    let name = table.text("name", NAME);
    match &name {
        Some((text, value)) => {
            let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_-".contains(&byte);
            if text.is_empty() || text.len() > MAX_NAME || !text.bytes().all(plain) {
                value.problem(found_text(text), NAME);
            } else if others.iter().any(|other| other.name == *text) {
                value.problem(
                    message!("two lanes are named {what}", what = shown(text)),
                    message!("give this one another name, or remove it"),
                );
            }
        }
        None if table.has("name") => {}
        None => table.missing("name", NAME),
    }
    let max_age = table.duration("max_age", &(Duration::from_secs(1)..=3650 * DAY), DAY);
    let first = table.boolean("first").unwrap_or(false);
    let is_bulk = name.as_ref().is_some_and(|(text, _)| *text == BULK);
    Lane {
        windowed: table.boolean("windowed").unwrap_or(is_bulk && !first),
        name: name.map_or_else(String::new, |(text, _)| text.to_owned()),
        first,
        weight: table.integer("weight", &(1..=1000), 1) as u32,
        reserve: table.amount("reserve", &(0..=MOST), Amount::Percent(0)),
        max_age: table.has("max_age").then_some(max_age),
    }
}

/// A size for a message, in whole MiB where it has some.
fn size(bytes: u64) -> String {
    units::format_size(if bytes >= MIB { bytes / MIB * MIB } else { bytes })
}
