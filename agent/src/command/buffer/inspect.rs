//! `tidegate buffer inspect`: records, the oldest first, a line each.

use std::io::{self, IsTerminal as _, Write};

use tidegate::store::look::{Ask, End, Filter, Item, Record};
use tidegate::watch::render::{number, plain};
use tidegate_protocol::TimeSource;
use tidegate_protocol::event::{Payload, classify, write_event, write_time};

use super::source::{Stop, note};
use super::table::cut;
use super::{Choice, Place};
use crate::command::Failure;

/// Columns where the terminal does not say how many it has, or there is none.
const COLUMNS: usize = 160;

/// Widths of the columns of names: long enough for nearly all; a longer one is cut.
const WIDTHS: (usize, usize, usize) = (10, 20, 32);

/// Which records, and how to show them.
#[derive(Debug, clap::Args)]
pub(in crate::command) struct Args {
    #[command(flatten)]
    choice: Choice,
    /// Show at most so many
    #[arg(long, value_name = "N", default_value_t = 100)]
    limit: u64,
    /// Print the events as JSON, one a line, for programs
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    place: Place,
}

/// Asks and prints.
pub(super) fn run(args: &Args) -> Result<(), Failure> {
    // One more than is shown tells whether there are more.
    let filter = Filter { limit: Some(args.limit.saturating_add(1)), ..args.choice.filter(None)? };
    let mut out = io::BufWriter::new(io::stdout().lock());
    let columns = columns();
    let (mut shown, mut more, mut line) = (0, false, Vec::new());
    let end = args.place.ask(&Ask::Records(filter), &mut |item| {
        let Item::Record(record) = item else { return Ok(()) };
        if shown == args.limit {
            more = true;
            return Ok(());
        }
        line.clear();
        if args.json {
            write_event(&mut line, &record.as_ref(), false);
            line.push(b'\n');
        } else {
            if shown == 0 {
                line.extend_from_slice(heading(args.choice.all).as_bytes());
            }
            line.extend_from_slice(row(&record, args.choice.all, columns).as_bytes());
        }
        shown += 1;
        sent(out.write_all(&line))
    })?;
    if let Err(Stop::Failed(failure)) = sent(out.flush()) {
        return Err(failure);
    }
    if let Some(End::Records { damaged, .. }) = end {
        if shown == 0 && !args.json {
            note(if args.choice.all { "no such record is there" } else { "no such record waits" });
        }
        if more && !args.json {
            note(&format!(
                "the first {} are shown; there are more (--limit, or `tidegate buffer export`)",
                number(shown)
            ));
        }
        if damaged > 0 {
            note(&format!("{} ranges on the way cannot be read: `tidegate buffer verify` names them", number(damaged)));
        }
    }
    Ok(())
}

/// A reader that has gone away has read enough.
fn sent(result: io::Result<()>) -> Result<(), Stop> {
    match result {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Err(Stop::Enough),
        Err(error) => Err(Stop::Failed(error.into())),
    }
}

fn columns() -> usize {
    if !io::stdout().is_terminal() {
        return COLUMNS;
    }
    rustix::termios::tcgetwinsize(io::stdout()).map_or(COLUMNS, |size| usize::from(size.ws_col).max(40))
}

fn heading(all: bool) -> String {
    let (lane, device, topic) = WIDTHS;
    let state = if all { "state      " } else { "" };
    format!(
        "{:<24} {state}{:<lane$} {:>10} {:<device$} {:<topic$} payload\n",
        "time (UTC)", "lane", "seq", "device", "topic"
    )
}

fn row(record: &Record<'_>, all: bool, columns: usize) -> String {
    let mut time = Vec::new();
    write_time(&mut time, record.time_ms);
    let mut time = String::from_utf8_lossy(&time).replace('T', " ").replace('Z', "");
    // A time by a clock that was not right says so at once.
    if record.time_source == TimeSource::Unsynchronised {
        time.push('?');
    }
    let state = match (all, record.waiting) {
        (false, _) => "",
        (true, true) => "waiting    ",
        (true, false) => "delivered  ",
    };
    let (lane, device, topic) = WIDTHS;
    let payload = match classify(&record.payload) {
        Payload::Json(text) | Payload::Text(text) => plain(text),
        Payload::Binary(bytes) => format!("{} bytes, not text", bytes.len()),
    };
    let line = format!(
        "{time:<24} {state}{:<lane$} {:>10} {:<device$} {:<topic$} {payload}",
        cut(&plain(&record.lane), lane),
        record.seq,
        cut(&plain(&record.device), device),
        cut(&plain(&record.topic), topic),
    );
    cut(line.trim_end(), columns) + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record<'a>(payload: &'a [u8], time_source: TimeSource) -> Record<'a> {
        Record {
            gateway: "gw-1".into(),
            epoch: "k3v9".into(),
            lane: "normal".into(),
            seq: 17,
            device: "pump-3".into(),
            topic: "devices/pump-3/telemetry".into(),
            time_ms: 1_795_336_200_123,
            time_source,
            waiting: false,
            payload: payload.into(),
        }
    }

    #[test]
    fn a_row_stands_under_its_heading_and_is_cut_to_the_line() {
        let line = row(&record(b"{\"t\":73.9}\n", TimeSource::Synchronised), false, 200);
        let head = heading(false);
        for (word, under) in [("seq", "17"), ("device", "pump-3"), ("topic", "devices"), ("payload", "{\"t\"")] {
            let (above, below) = (head.find(word).expect(word), line.find(under).expect(under));
            assert!(above == below || word == "seq", "{word}\n{head}{line}");
        }
        assert!(line.starts_with("2026-11-22 08:30:00.123  normal"), "{line}");
        assert_eq!(row(&record(b"{\"t\":73.9}", TimeSource::Synchronised), false, 50).chars().count(), 51);
    }

    #[test]
    fn hostile_and_binary_payloads_and_doubtful_times_are_shown_as_what_they_are() {
        let line = row(&record(b"\x1b[31mred\n\xe2\x80\xae", TimeSource::Unsynchronised), true, 300);
        assert!(line.contains("\\u{1b}[31mred\\n") && line.contains("\\u{202e}"), "{line}");
        assert!(line.starts_with("2026-11-22 08:30:00.123? delivered"), "{line}");
        assert!(row(&record(b"\xff\xfe\x00", TimeSource::Corrected), true, 300).contains("3 bytes, not text"));
    }
}
