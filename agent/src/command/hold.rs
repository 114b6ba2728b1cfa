//! `tidegate hold` and `tidegate resume`: a person stops sending, and lets it go on.

use std::time::Duration;

use tidegate::config::units::parse_duration;
use tidegate::language::{Language, Message};
use tidegate::message;
use tidegate::provider::question::{Ask, WHY_BYTES};

use super::provider::done;
use super::service::Agent;
use super::{Failure, print};

/// How long, and why.
#[derive(Debug, clap::Args)]
#[command(after_help = "Collecting goes on, and what is collected waits. `tidegate resume` ends it early.")]
pub(super) struct Args {
    #[command(flatten)]
    agent: Agent,
    /// For so long, such as 2h; without it until `tidegate resume`
    #[arg(long = "for", value_name = "DURATION", value_parser = duration)]
    length: Option<Duration>,
    /// Why: it stands in `tidegate status` and in the log of notices
    #[arg(long, value_name = "TEXT", value_parser = why)]
    why: String,
}

/// Which agent.
#[derive(Debug, clap::Args)]
#[command(after_help = "Only what `tidegate hold` began is ended: what the provider says still holds.")]
pub(super) struct ResumeArgs {
    #[command(flatten)]
    agent: Agent,
}

fn duration(text: &str) -> Result<Duration, Message> {
    let length = parse_duration(text).map_err(|error| Message::from(error.advice))?;
    if length.is_zero() { Err(message!("write how long, such as 2h")) } else { Ok(length) }
}

fn why(text: &str) -> Result<String, Message> {
    match text.trim() {
        "" => Err(message!("say why, for whoever comes by later")),
        text if text.len() > WHY_BYTES => Err(message!("say it in at most {count} bytes", count = WHY_BYTES)),
        text => Ok(text.to_owned()),
    }
}

/// Holds.
pub(super) fn run(args: &Args, language: Language) -> Result<(), Failure> {
    let for_ms = args.length.map(|length| u64::try_from(length.as_millis()).unwrap_or(u64::MAX));
    print(&done(args.agent.ask(&Ask::Hold { for_ms, why: args.why.clone() })?, language)?)
}

/// Lets it go on.
pub(super) fn resume(args: &ResumeArgs, language: Language) -> Result<(), Failure> {
    print(&done(args.agent.ask(&Ask::Resume)?, language)?)
}
