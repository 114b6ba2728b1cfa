//! `tidegate buffer status`: what waits, lane by lane, and how long there is room.

use std::fmt::Write as _;

use tidegate::clock::now_ms;
use tidegate::store::look::{Ask, End, LaneLook, StoreLook};
use tidegate::watch::render::{number, plain, size, span};

use super::Place;
use super::table::table;
use crate::command::{Failure, print};

/// How to show it.
#[derive(Debug, clap::Args)]
pub(in crate::command) struct Args {
    /// Print JSON, for programs
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    place: Place,
}

/// Asks and prints.
pub(super) fn run(args: &Args) -> Result<(), Failure> {
    let End::Status(status) = args.place.ask_once(&Ask::Status)? else {
        return Err("the answer is to another question; this is a defect, please report it".into());
    };
    if args.json { print(&(serde_json::to_string_pretty(&status)? + "\n")) } else { print(&human(&status, now_ms())) }
}

fn human(status: &StoreLook, now_ms: u64) -> String {
    let said = if status.live { "the service says" } else { "read from the files" };
    let mut out = format!("Buffer in {} · epoch {} · {said}\n", plain(&status.path), plain(&status.epoch));
    let kept: u64 = status.lanes.iter().map(|lane| lane.delivered_bytes).sum();
    let limit = match status.max_bytes {
        Some(limit) => {
            format!(" of {} ({:.1} %)", size(limit), status.bytes as f64 / limit.max(1) as f64 * 100.0)
        }
        None => String::new(),
    };
    let _ = writeln!(out, "  on disk    {}{limit}, {} of it delivered and only kept", size(status.bytes), size(kept));
    let held = status.put_aside.saturating_sub(status.put_aside_gone);
    let _ = writeln!(out, "  put aside  {} (`tidegate buffer quarantine list`)", number(held));
    if !status.control_whole {
        out.push_str(
            "  ! the control lane is damaged: the next start repairs it; what was delivered may be shown as waiting\n",
        );
    }
    out.push('\n');
    out.push_str(&lanes(&status.lanes, now_ms));
    out.push('\n');
    out.push_str(&paces(status));
    out
}

fn texts<const N: usize>(cells: [&str; N]) -> Vec<String> {
    cells.map(str::to_owned).to_vec()
}

fn lanes(lanes: &[LaneLook], now_ms: u64) -> String {
    let mut rows = vec![texts(["Lanes", "waiting", "oldest", "stored", "on disk", "kept", "evicted", "damaged"])];
    for lane in lanes {
        rows.push(vec![
            format!("  {}", plain(&lane.name)),
            number(lane.waiting),
            lane.oldest_ms.map_or_else(|| "-".into(), |at| span(now_ms.saturating_sub(at))),
            number(lane.stored),
            size(lane.bytes),
            size(lane.delivered_bytes),
            number(lane.evicted),
            number(lane.damaged),
        ]);
    }
    table(&rows, 1)
}

/// How fast it fills, and how long until a lane begins to lose records if nothing is delivered.
fn paces(status: &StoreLook) -> String {
    let per_hour = |pace: Option<u64>| pace.map_or_else(|| "not known".into(), |pace| format!("{}/h", size(pace)));
    let mut rows = vec![texts(["Fills at", "now", "busiest", "full in, now", "busiest"])];
    for lane in &status.lanes {
        rows.push(vec![
            format!("  {}", plain(&lane.name)),
            per_hour(lane.pace_now),
            per_hour(lane.pace_busiest),
            hours(lane.hours_now, lane.pace_now),
            hours(lane.hours_busiest, lane.pace_busiest),
        ]);
    }
    let when = if status.live {
        "now: the last 10 minutes; busiest: of all 10 minutes since the start"
    } else {
        "now: only the running service knows; busiest: as the times of what is kept show it"
    };
    format!("{}  ({when}; full: when the lane begins to lose records if nothing is delivered)\n", table(&rows, 1))
}

fn hours(hours: Option<f64>, pace: Option<u64>) -> String {
    match hours {
        // Beyond that nobody plans.
        Some(hours) if hours >= 87_600.0 => "over 10 years".into(),
        Some(hours) if hours >= 1000.0 => format!("{:.0} d", hours / 24.0),
        Some(hours) => format!("{hours:.1} h"),
        None if pace == Some(0) => "never".into(),
        None => "not known".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_figure_stands_beside_its_limit() {
        let lane = LaneLook {
            name: "normal".into(),
            waiting: 1200,
            stored: 5000,
            bytes: 3 << 20,
            delivered_bytes: 1 << 20,
            oldest_ms: Some(1_000),
            pace_now: Some(1 << 20),
            hours_now: Some(41.06),
            ..LaneLook::default()
        };
        let idle = LaneLook { name: "bulk".into(), pace_now: Some(0), ..LaneLook::default() };
        let status = StoreLook {
            path: "/var/lib/tidegate".into(),
            epoch: "k3v9".into(),
            live: true,
            lanes: vec![lane, idle],
            bytes: 512 << 20,
            max_bytes: Some(1 << 30),
            put_aside: 3,
            put_aside_gone: 1,
            control_whole: true,
            ..StoreLook::default()
        };
        let text = human(&status, 3_601_000);
        for words in [
            "512 MiB of 1.0 GiB (50.0 %), 1.0 MiB of it delivered",
            "put aside  2",
            "  normal    1,200  1 h 0 min   5,000  3.0 MiB  1.0 MiB        0        0\n",
            "  normal  1.0 MiB/h  not known        41.1 h  not known\n",
            "  bulk        0 B/h  not known         never  not known\n",
        ] {
            assert!(text.contains(words), "{words:?} in\n{text}");
        }
    }
}
