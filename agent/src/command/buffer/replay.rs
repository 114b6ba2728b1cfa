//! `tidegate buffer replay`: has delivered records that are still kept delivered again.

use tidegate::language::{Language, Message};
use tidegate::message;
use tidegate::store::look::{Ask, End};
use tidegate::watch::render::{number, size, time};

use super::{Place, another_answer, span, time as times};
use crate::command::{Failure, print};

/// Which records.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Delivered records are kept as long as `keep_delivered` in [store] says, room permitting. They are sent \
                  again under their old ids and marked \"replayed\":true, so that a flow can tell. Without --yes it is \
                  only said how many there are."
)]
pub(in crate::command) struct Args {
    /// Records received at this time or later: 2026-11-22, "2026-11-22 10:00" (UTC), RFC 3339, or -2h
    #[arg(long, value_name = "TIME", value_parser = times::parse, allow_hyphen_values = true)]
    from: u64,
    /// Records received before this time
    #[arg(long, value_name = "TIME", value_parser = times::parse, allow_hyphen_values = true)]
    to: u64,
    /// Only this lane
    #[arg(long, value_name = "LANE")]
    lane: Option<String>,
    /// Do it; otherwise only say how many records it would be
    #[arg(long)]
    yes: bool,
    /// Not offered: a lane goes out again in whole spans of time, because the store remembers ranges of it
    #[arg(long, value_name = "DEVICE", hide = true, value_parser = no_device)]
    device: Option<String>,
    #[command(flatten)]
    place: Place,
}

fn no_device(_: &str) -> Result<String, Message> {
    Err(message!(
        "replay takes all devices of a time: what waits is remembered as a few ranges of a lane, and one device's records \
         stand scattered among the others'; to get one device's records use `tidegate buffer export --all --device`"
    ))
}

/// Asks and prints.
pub(super) fn run(args: &Args, language: Language) -> Result<(), Failure> {
    span(Some(args.from), Some(args.to), language)?;
    let ask = Ask::Replay { from_ms: args.from, to_ms: args.to, lane: args.lane.clone(), go: args.yes };
    let End::Replay { records, bytes, done } = args.place.ask_once(language, &ask)? else {
        return Err(another_answer());
    };
    let of = message!("received from {from} on and before {to}", from = time(args.from), to = time(args.to));
    let count = message!("{count} delivered records ({size})", count = number(records), size = size(bytes));
    let text = match (records, done) {
        (0, _) => message!("no delivered record {received} is still kept", received = of),
        (_, true) => message!("{records} {received} wait to be delivered again", records = count, received = of),
        (_, false) => message!(
            "{records} {received} would be delivered again, under their old ids: add --yes to have it done",
            records = count,
            received = of
        ),
    };
    print(&(text.text(language) + "\n"))
}
