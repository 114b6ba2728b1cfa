//! `tidegate buffer inspect`: records, the oldest first, a line each.

use std::io::{self, IsTerminal as _, Write};

use tidegate::language::Language;
use tidegate::language::sheet::{left, right};
use tidegate::message;
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
pub(super) fn run(args: &Args, language: Language) -> Result<(), Failure> {
    // One more than is shown tells whether there are more.
    let filter = Filter { limit: Some(args.limit.saturating_add(1)), ..args.choice.filter(None, language)? };
    let mut out = io::BufWriter::new(io::stdout().lock());
    let columns = columns();
    let (mut shown, mut more, mut line) = (0, false, Vec::new());
    let end = args.place.ask(language, &Ask::Records(filter), &mut |item| {
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
                line.extend_from_slice(heading(args.choice.all, language).as_bytes());
            }
            line.extend_from_slice(row(&record, args.choice.all, columns, language).as_bytes());
        }
        shown += 1;
        sent(out.write_all(&line))
    })?;
    if let Err(Stop::Failed(failure)) = sent(out.flush()) {
        return Err(failure);
    }
    if let Some(End::Records { damaged, .. }) = end {
        if shown == 0 && !args.json {
            let none =
                if args.choice.all { message!("no such record is there") } else { message!("no such record waits") };
            note(&none.text(language));
        }
        if more && !args.json {
            let text = message!(
                "the first {count} are shown; there are more (--limit, or `tidegate buffer export`)",
                count = number(shown)
            );
            note(&text.text(language));
        }
        if damaged > 0 {
            let text = message!(
                "{count} ranges on the way cannot be read: `tidegate buffer verify` names them",
                count = number(damaged)
            );
            note(&text.text(language));
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

/// Cells of the column of states.
const STATE: usize = 10;

fn heading(all: bool, language: Language) -> String {
    let heads = [
        message!("time (UTC)"),
        message!("state"),
        message!("lane"),
        message!("seq"),
        message!("device"),
        message!("topic"),
    ];
    let [time, state, lane, seq, device, topic] = heads.map(|head| head.text(language));
    let state = if all { left(&state, STATE) + " " } else { String::new() };
    let widths = WIDTHS;
    format!(
        "{} {state}{} {} {} {} {}\n",
        left(&time, 24),
        left(&lane, widths.0),
        right(&seq, 10),
        left(&device, widths.1),
        left(&topic, widths.2),
        message!("payload").text(language)
    )
}

fn row(record: &Record<'_>, all: bool, columns: usize, language: Language) -> String {
    let mut utc = Vec::new();
    write_time(&mut utc, record.time_ms);
    let mut time = String::from_utf8_lossy(&utc).replace('T', " ").replace('Z', "");
    // A time by a clock that was not right says so at once.
    if record.time_source == TimeSource::Unsynchronised {
        time.push('?');
    }
    let state = if record.waiting { message!("waiting") } else { message!("delivered") };
    let state = if all { left(&state.text(language), STATE) + " " } else { String::new() };
    let shown = match classify(&record.payload) {
        Payload::Json(text) | Payload::Text(text) => plain(text),
        Payload::Binary(bytes) => message!("{count} bytes, not text", count = bytes.len()).text(language),
    };
    let name = |text: &str, width| left(&cut(&plain(text), width), width);
    let (lane, device, topic) = WIDTHS;
    let text = format!(
        "{} {state}{} {:>10} {} {} {shown}",
        left(&time, 24),
        name(&record.lane, lane),
        record.seq,
        name(&record.device, device),
        name(&record.topic, topic),
    );
    cut(text.trim_end(), columns) + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(payload: &[u8], time_source: TimeSource) -> Record<'_> {
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
        let line = row(&record(b"{\"t\":73.9}\n", TimeSource::Synchronised), false, 200, Language::English);
        let head = heading(false, Language::English);
        for (word, under) in [("seq", "17"), ("device", "pump-3"), ("topic", "devices"), ("payload", "{\"t\"")] {
            let (above, below) = (head.find(word).expect(word), line.find(under).expect(under));
            assert!(above == below || word == "seq", "{word}\n{head}{line}");
        }
        assert!(line.starts_with("2026-11-22 08:30:00.123  normal"), "{line}");
        assert_eq!(
            row(&record(b"{\"t\":73.9}", TimeSource::Synchronised), false, 50, Language::English).chars().count(),
            51
        );
    }

    #[test]
    fn hostile_and_binary_payloads_and_doubtful_times_are_shown_as_what_they_are() {
        let line = row(&record(b"\x1b[31mred\n\xe2\x80\xae", TimeSource::Unsynchronised), true, 300, Language::English);
        assert!(line.contains("\\u{1b}[31mred\\n") && line.contains("\\u{202e}"), "{line}");
        assert!(line.starts_with("2026-11-22 08:30:00.123? delivered"), "{line}");
        assert!(
            row(&record(b"\xff\xfe\x00", TimeSource::Corrected), true, 300, Language::English)
                .contains("3 bytes, not text")
        );
    }
}
