//! `tidegate buffer`: looks into the buffer, over the control socket while the service runs and in the files otherwise.
//!
//! # Constraints
//! - Looking writes nothing. What changes something (`replay`, `quarantine retry`, `quarantine drop`) is done by the
//!   running service alone.
//! - Output is bounded in memory: records are shown as they come.
//! - Text from outside is cut and escaped where people read it; exports have it to the byte.
//!
//! # Exit codes
//! 0 done (`verify`: everything is whole) · 1 it failed (`verify`: something is damaged) · 2 wrong arguments (`verify`:
//! or it could not look) · 3 only the running service can do it, and none answers.

mod export;
mod inspect;
mod progress;
mod quarantine;
mod replay;
mod source;
mod status;
mod table;
mod time;
mod verify;

use tidegate::code::Code;
use tidegate::language::{Language, Message};
use tidegate::message;
use tidegate::store::look::{DevicePattern, Filter, What};

use super::{FAILED, Failure};
use source::Place;

/// What to do with the buffer.
#[derive(Debug, clap::Subcommand)]
#[command(
    after_help = "While the service runs it is asked over its control socket; otherwise the files are read, and nothing \
                  is ever written to them.\n\
                  Exit codes: 0 done (verify: everything is whole), 1 failed (verify: something is damaged), 2 wrong \
                  arguments (verify: or it could not look), 3 only the running service can do it, and none answers"
)]
pub(super) enum Which {
    /// Show what waits, lane by lane, and how long there is room
    Status(status::Args),
    /// Show records, the oldest first
    Inspect(inspect::Args),
    /// Read everything and compare all sums; exit code 1 if anything is damaged
    Verify(verify::Args),
    /// Write records to a file or a pipe
    Export(export::Args),
    /// Have delivered records that are still kept delivered again
    Replay(replay::Args),
    /// Records that Flux refused for good, and that were put aside
    #[command(subcommand)]
    Quarantine(quarantine::Which),
}

/// Which records.
#[derive(Debug, clap::Args)]
struct Choice {
    /// Only this lane
    #[arg(long, value_name = "LANE")]
    lane: Option<String>,
    /// Only this device; a `*` at the end stands for any end (meter-*)
    #[arg(long, value_name = "DEVICE", value_parser = device)]
    device: Option<DevicePattern>,
    /// Only records received at this time or later: 2026-11-22, "2026-11-22 10:00" (UTC), RFC 3339, or -2h
    #[arg(long, value_name = "TIME", value_parser = time::parse, allow_hyphen_values = true)]
    from: Option<u64>,
    /// Only records received before this time
    #[arg(long, value_name = "TIME", value_parser = time::parse, allow_hyphen_values = true)]
    to: Option<u64>,
    /// Also delivered records that are still kept; otherwise only what waits
    #[arg(long)]
    all: bool,
}

impl Choice {
    fn filter(&self, limit: Option<u64>, language: Language) -> Result<Filter, Failure> {
        span(self.from, self.to, language)?;
        Ok(Filter {
            lane: self.lane.clone(),
            device: self.device.clone(),
            from_ms: self.from,
            to_ms: self.to,
            what: if self.all { What::All } else { What::Waiting },
            limit,
        })
    }
}

/// A span of time in which there can be anything.
fn span(from: Option<u64>, to: Option<u64>, language: Language) -> Result<(), Failure> {
    match (from, to) {
        (Some(from), Some(to)) if from >= to => Err(Failure {
            code: 2,
            error: message!(
                "there is no time between --from and --to: --to is the first moment that no longer belongs to it, \
                 and a date alone is its beginning (for one day write --from 2026-11-22 --to 2026-11-23)"
            )
            .text(language)
            .into(),
        }),
        _ => Ok(()),
    }
}

fn device(text: &str) -> Result<DevicePattern, Message> {
    match text.find('*') {
        Some(at) if at + 1 < text.len() => Err(message!("write `*` only at the end: it stands for any end of a name")),
        _ if text.is_empty() => Err(message!("write a device's name, or its beginning and `*`")),
        _ => Ok(DevicePattern(text.to_owned())),
    }
}

/// The failure of an agent that answers something else.
fn another_answer() -> Failure {
    let said = message!("the answer is to another question; this is a defect, please report it");
    Failure::coded(FAILED, Code::Defect, said)
}

/// Does it.
pub(super) fn run(which: &Which, language: Language) -> Result<(), Failure> {
    match which {
        Which::Status(args) => status::run(args, language),
        Which::Inspect(args) => inspect::run(args, language),
        Which::Verify(args) => verify::run(args, language),
        Which::Export(args) => export::run(args, language),
        Which::Replay(args) => replay::run(args, language),
        Which::Quarantine(which) => quarantine::run(which, language),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_pattern_has_its_star_at_the_end() {
        assert!(device("meter-*").is_ok_and(|pattern| pattern.matches("meter-7") && !pattern.matches("metre")));
        assert!(device("meter").is_ok_and(|pattern| pattern.matches("meter") && !pattern.matches("meter-7")));
        assert!(device("*").is_ok_and(|pattern| pattern.matches("anything")));
        assert!(device("m*r").is_err() && device("").is_err());
    }

    #[test]
    fn a_span_without_any_time_is_a_mistake() {
        assert!(span(Some(5), Some(5), Language::English).is_err_and(|failure| failure.code == 2));
        assert!(span(Some(5), Some(6), Language::English).is_ok() && span(None, Some(0), Language::English).is_ok());
    }
}
