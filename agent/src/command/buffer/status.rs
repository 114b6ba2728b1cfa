//! `tidegate buffer status`: what waits, lane by lane, and how long there is room.

use tidegate::clock::now_ms;
use tidegate::language::sheet::Sheet;
use tidegate::language::{Language, Message};
use tidegate::message;
use tidegate::store::look::{Ask, End, LaneLook, StoreLook};
use tidegate::watch::render::{number, plain, size, span};

use super::table::table;
use super::{Place, another_answer};
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
pub(super) fn run(args: &Args, language: Language) -> Result<(), Failure> {
    let End::Status(status) = args.place.ask_once(language, &Ask::Status)? else {
        return Err(another_answer());
    };
    print(&if args.json { serde_json::to_string_pretty(&status)? + "\n" } else { human(&status, now_ms(), language) })
}

/// Cells of the column of names.
const NAMES: usize = 10;

fn human(status: &StoreLook, now_ms: u64, language: Language) -> String {
    let mut out = Sheet::new(language, NAMES);
    let said = if status.live { message!("the service says") } else { message!("read from the files") };
    out.plain(message!(
        "Buffer in {folder} · epoch {epoch} · {said}",
        folder = plain(&status.path),
        epoch = plain(&status.epoch),
        said = said
    ));
    let kept = size(status.lanes.iter().map(|lane| lane.delivered_bytes).sum());
    let bytes = size(status.bytes);
    let on_disk = if let Some(limit) = status.max_bytes {
        let share = format!("{:.1}", status.bytes as f64 / limit.max(1) as f64 * 100.0);
        message!(
            "{bytes} of {limit} ({share} %), {kept} of it delivered and only kept",
            bytes = bytes,
            limit = size(limit),
            share = share,
            kept = kept
        )
    } else {
        message!("{bytes}, {kept} of it delivered and only kept", bytes = bytes, kept = kept)
    };
    out.line(message!("on disk"), on_disk);
    if let Some(allowed) = status.allowed_bytes.filter(|allowed| status.max_bytes.is_some_and(|limit| *allowed < limit))
    {
        out.plain(message!("  ! others fill the disk: it may hold {size} at present", size = size(allowed)));
    }
    let held = number(status.put_aside.saturating_sub(status.put_aside_gone));
    out.line(message!("put aside"), message!("{count} (`tidegate buffer quarantine list`)", count = held));
    if !status.control_whole {
        out.plain(message!(
            "  ! the control lane is damaged: the next start repairs it; what was delivered may be shown as waiting"
        ));
    }
    out.plain("");
    let lanes = lanes(&out, &status.lanes, now_ms);
    out.raw(&lanes);
    out.plain("");
    paces(&mut out, status);
    out.finish()
}

fn texts<const N: usize>(out: &Sheet, cells: [Message; N]) -> Vec<String> {
    cells.map(|cell| out.say(cell)).to_vec()
}

fn lanes(out: &Sheet, lanes: &[LaneLook], now_ms: u64) -> String {
    let heads = [
        message!("Lanes"),
        message!("waiting"),
        message!("oldest"),
        message!("stored"),
        message!("on disk"),
        message!("kept"),
        message!("evicted"),
        message!("damaged"),
        message!("expired"),
    ];
    let mut rows = vec![texts(out, heads)];
    for lane in lanes {
        rows.push(vec![
            format!("  {}", plain(&lane.name)),
            number(lane.waiting),
            lane.oldest_ms.map_or_else(|| "-".into(), |at| out.say(span(now_ms.saturating_sub(at)))),
            number(lane.stored),
            size(lane.bytes),
            size(lane.delivered_bytes),
            number(lane.evicted),
            number(lane.damaged),
            number(lane.expired),
        ]);
    }
    table(&rows, 1)
}

/// How fast it fills, and how long until a lane begins to lose records if nothing is delivered.
fn paces(out: &mut Sheet, status: &StoreLook) {
    let per_hour =
        |pace: Option<u64>| pace.map_or_else(|| message!("not known"), |pace| message!("{size}/h", size = size(pace)));
    let heads =
        [message!("Fills at"), message!("now"), message!("busiest"), message!("full in, now"), message!("busiest")];
    let mut rows = vec![texts(out, heads)];
    for lane in &status.lanes {
        let cells = [
            per_hour(lane.pace_now),
            per_hour(lane.pace_busiest),
            hours(lane.hours_now, lane.pace_now),
            hours(lane.hours_busiest, lane.pace_busiest),
        ];
        let mut row = vec![format!("  {}", plain(&lane.name))];
        row.extend(texts(out, cells));
        rows.push(row);
    }
    out.raw(&table(&rows, 1));
    let when = if status.live {
        message!("now: the last 10 minutes; busiest: of all 10 minutes since the start")
    } else {
        message!("now: only the running service knows; busiest: as the times of what is kept show it")
    };
    out.plain(message!("  ({when}; full: when the lane begins to lose records if nothing is delivered)", when = when));
}

fn hours(hours: Option<f64>, pace: Option<u64>) -> Message {
    match hours {
        // Beyond that nobody plans.
        Some(hours) if hours >= 87_600.0 => message!("over 10 years"),
        Some(hours) if hours >= 1000.0 => message!("{days} d", days = format!("{:.0}", hours / 24.0)),
        Some(hours) => message!("{hours} h", hours = format!("{hours:.1}")),
        None if pace == Some(0) => message!("never"),
        None => message!("not known"),
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
        let text = human(&status, 3_601_000, Language::English);
        for words in [
            "512 MiB of 1.0 GiB (50.0 %), 1.0 MiB of it delivered",
            "put aside  2",
            "  normal    1,200  1 h 0 min   5,000  3.0 MiB  1.0 MiB        0        0        0\n",
            "  normal  1.0 MiB/h  not known        41.1 h  not known\n",
            "  bulk        0 B/h  not known         never  not known\n",
        ] {
            assert!(text.contains(words), "{words:?} in\n{text}");
        }
    }
}
