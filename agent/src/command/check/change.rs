//! What a configuration would change, compared with the one that last worked. Files are read, nobody is asked.

use std::fmt::Write as _;
use std::ops::ControlFlow;
use std::path::Path;

use tidegate::config::kept::{Kept, Places};
use tidegate::config::units::{format_duration, format_size};
use tidegate::config::{self, Config, Policy};
use tidegate::store::StoreError;
use tidegate::store::disk::{Disk as _, OsDisk};
use tidegate::store::look::{Ask, End, Look, LookError, StoreLook};
use tidegate::watch::render::{number, time};

/// What would change, a line each; that nothing is kept yet, if nothing is.
pub(super) fn against_kept(config: &Config, text: &str, places: &Places) -> String {
    let found = places.find(&OsDisk);
    let mut out = String::new();
    for problem in &found.problems {
        let cause = std::error::Error::source(problem).map_or_else(String::new, |cause| format!(": {cause}"));
        let _ = writeln!(out, "  not used: {problem}{cause}");
    }
    let Some((kept, path)) = found.kept else {
        return format!("no configuration of this file that worked is kept yet, to compare it with\n{out}");
    };
    let (when, path) = (when(&kept), path.display());
    if kept.text == text {
        return format!("it is what worked last, kept {when} in {path}\n{out}");
    }
    let old = match config::parse(&kept.text, &path.to_string()) {
        Ok(old) => old,
        Err(errors) => return format!("what was kept {when} cannot be compared with: {errors}\n{out}"),
    };
    let changes = config::changes(&old, config);
    let mut text = format!("compared with what worked last, kept {when} in {path}\n");
    if changes.is_empty() {
        text += "  no key changes\n";
    }
    for (name, keys) in [("at a reload", &changes.applied), ("at a restart", &changes.needs_restart)] {
        if !keys.is_empty() {
            let _ = writeln!(text, "  {name:<14}{}", keys.join(", "));
        }
    }
    for line in stored(&old, config) {
        let _ = writeln!(text, "  {:<14}{line}", "stored");
    }
    text + &out
}

/// What the gateway would do with a file that cannot be used; `None` if nothing is kept.
pub(super) fn instead(places: &Places) -> Option<String> {
    let (kept, path) = places.find(&OsDisk).kept?;
    let (path, when) = (path.display(), when(&kept));
    Some(match config::parse(&kept.text, &path.to_string()) {
        Ok(_) => format!("started now, Tidegate would run with what worked last, kept {when} in {path}"),
        Err(errors) => {
            format!("started now, Tidegate would fail: what was kept {when} cannot be used either: {errors}")
        }
    })
}

fn when(kept: &Kept) -> String {
    let doubt = if kept.trusted { "" } else { " by a clock that was not known to be right" };
    format!("on {}{doubt}", time(kept.kept_ms))
}

/// What becomes of what is stored.
fn stored(old: &Config, new: &Config) -> Vec<String> {
    let held = match look(&old.store.path) {
        Ok(Some(held)) => held,
        Ok(None) => return Vec::new(),
        Err(error) => return vec![format!("{} cannot be looked into: {error}", old.store.path.display())],
    };
    let waiting: u64 = held.lanes.iter().map(|lane| lane.waiting).sum();
    let mut lines = Vec::new();
    if old.store.path != new.store.path {
        if waiting > 0 {
            let (count, path) = (number(waiting), old.store.path.display());
            lines.push(format!(
                "! {count} records wait in {path}: they stay there, undelivered, until [store] path names it"
            ));
        }
        return lines;
    }
    for lane in held.lanes.iter().filter(|lane| lane.waiting > 0) {
        if !new.lanes.iter().any(|one| one.name == lane.name) {
            let (name, count) = (&lane.name, number(lane.waiting));
            lines.push(format!(
                "lane {name} is not configured any more: its {count} waiting records are delivered all the same"
            ));
        }
    }
    for lane in &new.lanes {
        let before = old.lanes.iter().find(|one| one.name == lane.name).and_then(|one| one.max_age);
        if let Some(age) = lane.max_age.filter(|age| before.is_none_or(|before| *age < before)) {
            let (name, age) = (&lane.name, format_duration(age));
            lines.push(format!("lane {name}: max_age {age} holds for what comes from then on, not for what waits"));
        }
    }
    if new.store.max_size < old.store.max_size && held.bytes > new.store.max_size {
        let (held, limit) = (format_size(held.bytes), format_size(new.store.max_size));
        lines.push(format!(
            "it holds {held}, more than max_size {limit}: nothing goes for that, only when new records need room"
        ));
    }
    if new.store.keep_delivered < old.store.keep_delivered {
        lines.push("! delivered records that were kept for longer go".into());
    }
    lines.extend(given_way(old, new, &held, waiting));
    lines
}

/// What would go because more of the file system is to stay free. As a part of the bytes: records differ in size.
fn given_way(old: &Config, new: &Config, held: &StoreLook, waiting: u64) -> Option<String> {
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
    let (records, free) = (number(u64::try_from(records).unwrap_or(u64::MAX)), format_size(new.store.keep_free));
    Some(format!("! about {records} of the oldest waiting records go, so that keep_free {free} is free again"))
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
