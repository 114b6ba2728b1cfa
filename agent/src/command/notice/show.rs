//! `tidegate notice show`: what a signed notice says, and whether it may be believed.

use std::fmt::Write as _;
use std::path::PathBuf;

use tidegate::clock::now_ms;
use tidegate::config::{self, notice};
use tidegate::provider::inbox::follows;
use tidegate_protocol::notice::{Keys, NoticeError, Now, Opened, PublicKey, open, peek, verify};

use super::file;
use crate::command::{Failure, print};

/// Which notice, and whom to believe.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "What is printed is the notice as it would be written to be signed; lines with # tell of the signature.\n\
                  Exit codes: 0 it may be believed, or neither --config nor --trust was given · 1 it is refused"
)]
pub(in crate::command) struct Args {
    /// The signed notice; `-` is standard input
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Judge it as the gateway with this configuration would, by the keys it pins
    #[arg(long, value_name = "FILE", conflicts_with = "trust")]
    config: Option<PathBuf>,
    /// Judge its signature by this key, as `tidegate notice keygen` prints it; may be repeated
    #[arg(long, value_name = "ID:KEY", value_parser = key)]
    trust: Vec<PublicKey>,
}

fn key(text: &str) -> Result<PublicKey, String> {
    text.parse().map_err(|error| format!("{error}"))
}

/// Shows it; fails if it is refused.
pub(super) fn run(args: &Args) -> Result<(), Failure> {
    let bytes = file::read_envelope(&args.file)?;
    let Some((judged, by)) = judge(args, &bytes)? else {
        return print(&shown(&peek(&bytes)?, "NOT VERIFIED: name the keys with --config or --trust"));
    };
    match judged {
        Ok(opened) => print(&shown(&opened, &format!("the signature holds{by}"))),
        Err(error) => {
            // What stands in it may still tell a person what went wrong.
            if let Ok(opened) = peek(&bytes) {
                print(&shown(&opened, &format!("REFUSED, and not to be believed: {error}")))?;
            }
            Err(error.into())
        }
    }
}

type Judged = Result<Opened, NoticeError>;

/// What becomes of it, and for whom; `None` if nobody is to be believed.
fn judge(args: &Args, bytes: &[u8]) -> Result<Option<(Judged, String)>, Failure> {
    if let Some(file) = &args.config {
        let (gateway, notices) = config::gateway_and_notices(file)?;
        let Some(keys) = notices.keys else {
            return Err(format!("{} pins no key in [provider.notices]", file.display()).into());
        };
        let judged = open(bytes, &keys, &gateway, Now::Known(now_ms()));
        return Ok(Some((judged, format!(", and it is for {gateway} at this time"))));
    }
    if args.trust.is_empty() {
        return Ok(None);
    }
    let keys = Keys::new(args.trust.clone())?;
    Ok(Some((verify(bytes, &keys), String::new())))
}

fn shown(opened: &Opened, standing: &str) -> String {
    let mut out = format!("# signed by {}: {standing}\n# {}\n", opened.kid, follows(&opened.notice.content));
    if opened.unknown_count > 0 {
        let (count, first) = (opened.unknown_count, opened.unknown.join(", "));
        // A String takes all.
        let _ = writeln!(out, "# {count} keys are not known to this version and have no effect: {first}");
    }
    out + &notice::write(&opened.notice)
}
