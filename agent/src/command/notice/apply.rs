//! `tidegate notice apply`: gives a signed notice to the running agent.

use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tidegate::code::Code;
use tidegate::language::sheet::Sheet;
use tidegate::language::{IntoValue, Language, again};
use tidegate::message;
use tidegate::provider::question::{Ask, End};
use tidegate_protocol::notice::{ENVELOPE_BYTES, NoticeError};

use super::file;
use crate::command::service::Agent;
use crate::command::{FAILED, Failure, print};

/// Which notice, and whose agent.
#[derive(Debug, clap::Args)]
#[command(after_help = "A notice that was taken in before changes nothing, and that is no failure.\n\
                  Exit codes: 0 it was taken in, now or before · 1 it is refused, or it failed · 3 no agent is running")]
pub(in crate::command) struct Args {
    /// The signed notice; `-` is standard input
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Print JSON, for programs
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    agent: Agent,
}

/// Gives it, and prints what became of it; fails if it is refused.
pub(super) fn run(args: &Args, language: Language) -> Result<(), Failure> {
    let bytes = file::read_envelope(&args.file)?;
    if bytes.len() > ENVELOPE_BYTES {
        return Err(NoticeError::TooLarge { bytes: bytes.len() }.into());
    }
    let End::Notice { told } = args.agent.ask(&Ask::Notice { envelope: STANDARD.encode(&bytes) })? else {
        return Err(message!("the agent answered something else").into());
    };
    let told = *told;
    if args.json {
        print(&(serde_json::to_string_pretty(&told)? + "\n"))?;
    }
    if told.verdict == "refused" {
        let code = Code::of_notice(&told.code);
        let text = message!(
            "the notice is refused: {why} ({code})",
            why = told.why_message.map_or_else(|| told.why.into_value(), IntoValue::into_value),
            code = told.code
        );
        return Err(Failure::coded(FAILED, code, text));
    }
    if args.json {
        return Ok(());
    }
    let mut out = Sheet::new(language, 0);
    let verdict = match told.verdict.as_str() {
        "accepted" => message!("accepted").into_value(),
        "amended" => message!("amended").into_value(),
        "repeated" => message!("repeated").into_value(),
        other => other.into_value(),
    };
    out.plain(message!(
        "{verdict}: {kind} {id}, signed by {key}",
        verdict = verdict,
        kind = told.kind,
        id = told.id,
        key = told.key
    ));
    if !told.why.is_empty() {
        out.plain(message!("  why: {why}", why = told.why));
    }
    out.plain(message!(
        "  it says: {text}",
        text = told.says_message.map_or_else(|| told.says.into_value(), IntoValue::into_value)
    ));
    for line in &told.follows {
        out.plain(message!("  what follows: {text}", text = again(line, language)));
    }
    if told.unknown_count > 0 {
        let text = message!(
            "  not known to this version, without effect: {count} keys ({first})",
            count = told.unknown_count,
            first = told.unknown.join(", ")
        );
        out.plain(text);
    }
    print(&out.finish())
}
