//! What a configuration would change, compared with the one that last worked. Files are read, nobody is asked.

use std::ops::ControlFlow;
use std::path::Path;

use tidegate::config::kept::{Kept, KeptError, Places};
use tidegate::config::units::{format_duration, format_size};
use tidegate::config::{self, Config, Policy};
use tidegate::language::sheet::Sheet;
use tidegate::language::{Language, Message};
use tidegate::message;
use tidegate::store::StoreError;
use tidegate::store::disk::{Disk as _, OsDisk};
use tidegate::store::look::{Ask, End, Look, LookError, StoreLook};
use tidegate::watch::render::{number, time};

/// What would change, a line each; that nothing is kept yet, if nothing is.
pub(super) fn against_kept(config: &Config, text: &str, places: &Places, language: Language) -> String {
    // The column of names ends where the longest of them does.
    let mut out = Sheet::new(language, NAMES);
    let found = places.find(&OsDisk);
    let problems: Vec<Message> = found.problems.iter().map(KeptError::whole).collect();
    let Some((kept, path)) = found.kept else {
        out.plain(message!("no configuration of this file that worked is kept yet, to compare it with"));
        return not_used(out, problems);
    };
    let (when, path) = (when(&kept), path.display());
    if kept.text == text {
        out.plain(message!("it is what worked last, kept {when} in {path}", when = when, path = path));
        return not_used(out, problems);
    }
    let old = match config::parse(&kept.text, &path.to_string()) {
        Ok(old) => old,
        Err(errors) => {
            let why = errors.text(language);
            out.plain(message!("what was kept {when} cannot be compared with: {why}", when = when, why = why));
            return not_used(out, problems);
        }
    };
    out.plain(message!("compared with what worked last, kept {when} in {path}", when = when, path = path));
    let changes = config::changes(&old, config);
    if changes.is_empty() {
        out.plain(message!("  no key changes"));
    }
    for (name, keys) in
        [(message!("at a reload"), &changes.applied), (message!("at a restart"), &changes.needs_restart)]
    {
        if !keys.is_empty() {
            out.line(name, keys.join(", "));
        }
    }
    for line in stored(&old, config) {
        out.line(message!("stored"), line);
    }
    not_used(out, problems)
}

/// Cells of the names of what changes.
const NAMES: usize = 13;

fn not_used(mut out: Sheet, problems: Vec<Message>) -> String {
    for problem in problems {
        out.plain(message!("  not used: {problem}", problem = problem));
    }
    out.finish()
}

/// What the gateway would do with a file that cannot be used, if anything is kept; and what is there and is not used.
pub(super) fn instead(places: &Places, language: Language) -> (Option<Message>, Vec<Message>) {
    let found = places.find(&OsDisk);
    let problems = found.problems.iter().map(KeptError::whole).collect();
    (found.kept.map(|(kept, path)| with_kept(&kept, &path, language)), problems)
}

fn with_kept(kept: &Kept, path: &Path, language: Language) -> Message {
    let (path, when) = (path.display(), when(kept));
    match config::parse(&kept.text, &path.to_string()) {
        Ok(_) => {
            message!(
                "started now, Tidegate would run with what worked last, kept {when} in {path}",
                when = when,
                path = path
            )
        }
        Err(errors) => message!(
            "started now, Tidegate would fail: what was kept {when} cannot be used either: {why}",
            when = when,
            why = errors.text(language)
        ),
    }
}

/// When it was kept.
pub(super) fn when(kept: &Kept) -> Message {
    let time = time(kept.kept_ms);
    if kept.trusted {
        message!("on {time}", time = time)
    } else {
        message!("on {time} by a clock that was not known to be right", time = time)
    }
}

/// What becomes of what is stored.
fn stored(old: &Config, new: &Config) -> Vec<Message> {
    let held = match look(&old.store.path) {
        Ok(Some(held)) => held,
        Ok(None) => return Vec::new(),
        Err(error) => {
            let path = old.store.path.display();
            return vec![message!("{path} cannot be looked into: {why}", path = path, why = error.to_string())];
        }
    };
    let waiting: u64 = held.lanes.iter().map(|lane| lane.waiting).sum();
    let mut lines = Vec::new();
    if old.store.path != new.store.path {
        if waiting > 0 {
            lines.push(message!(
                "! {count} records wait in {path}: they stay there, undelivered, until [store] path names it",
                count = number(waiting),
                path = old.store.path.display()
            ));
        }
        return lines;
    }
    for lane in held.lanes.iter().filter(|lane| lane.waiting > 0) {
        if !new.lanes.iter().any(|one| one.name == lane.name) {
            lines.push(message!(
                "lane {name} is not configured any more: its {count} waiting records are delivered all the same",
                name = &lane.name,
                count = number(lane.waiting)
            ));
        }
    }
    for lane in &new.lanes {
        let before = old.lanes.iter().find(|one| one.name == lane.name).and_then(|one| one.max_age);
        if let Some(age) = lane.max_age.filter(|age| before.is_none_or(|before| *age < before)) {
            lines.push(message!(
                "lane {name}: max_age {age} holds for what comes from then on, not for what waits",
                name = &lane.name,
                age = format_duration(age)
            ));
        }
    }
    if new.store.max_size < old.store.max_size && held.bytes > new.store.max_size {
        lines.push(message!(
            "it holds {held}, more than max_size {limit}: nothing goes for that, only when new records need room",
            held = format_size(held.bytes),
            limit = format_size(new.store.max_size)
        ));
    }
    if new.store.keep_delivered < old.store.keep_delivered {
        lines.push(message!("! delivered records that were kept for longer go"));
    }
    lines.extend(given_way(old, new, &held, waiting));
    lines
}

/// What would go because more of the file system is to stay free. As a part of the bytes: records differ in size.
fn given_way(old: &Config, new: &Config, held: &StoreLook, waiting: u64) -> Option<Message> {
    let more = new.store.keep_free > old.store.keep_free || new.store.min_bytes() < old.store.min_bytes();
    if !more || new.store.policy == Policy::Refuse || held.bytes == 0 {
        return None;
    }
    let free = OsDisk.space(&new.store.path).ok()?.free_bytes;
    let wanted = new.store.keep_free.saturating_sub(free).min(held.bytes.saturating_sub(new.store.min_bytes()));
    if wanted == 0 {
        return None;
    }
    let records = u128::from(waiting) * u128::from(wanted) / u128::from(held.bytes);
    Some(message!(
        "! about {records} of the oldest waiting records go, so that keep_free {free} is free again",
        records = number(u64::try_from(records).unwrap_or(u64::MAX)),
        free = format_size(new.store.keep_free)
    ))
}

/// `None` if there is no store.
fn look(path: &Path) -> Result<Option<StoreLook>, LookError> {
    if !path.join("control").exists() {
        return Ok(None);
    }
    let look = match Look::open(path) {
        Err(StoreError::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        other => other?,
    };
    match look.answer(&Ask::Status, &mut |_| ControlFlow::Continue(()))? {
        End::Status(held) => Ok(Some(*held)),
        _ => Ok(None),
    }
}
