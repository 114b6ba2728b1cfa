//! `tidegate notice show`: what a signed notice says, and whether it may be believed.

use std::path::PathBuf;

use tidegate::clock::now_ms;
use tidegate::config::{self, notice};
use tidegate::language::sheet::Sheet;
use tidegate::language::{Language, Message};
use tidegate::message;
use tidegate::provider::inbox::follows;
use tidegate_protocol::notice::{KeyError, Keys, NoticeError, Now, Opened, PublicKey, open, peek, verify};

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

fn key(text: &str) -> Result<PublicKey, Message> {
    text.parse().map_err(|error: KeyError| error.said().into())
}

/// Shows it; fails if it is refused.
pub(super) fn run(args: &Args, language: Language) -> Result<(), Failure> {
    let bytes = file::read_envelope(&args.file)?;
    let Some((judged, by)) = judge(args, &bytes)? else {
        return print(&shown(
            &peek(&bytes)?,
            &message!("NOT VERIFIED: name the keys with --config or --trust"),
            language,
        ));
    };
    match judged {
        Ok(opened) => print(&shown(&opened, &by, language)),
        Err(error) => {
            // What stands in it may still tell a person what went wrong.
            if let Ok(opened) = peek(&bytes) {
                let text = message!("REFUSED, and not to be believed: {why}", why = Message::from(&error));
                print(&shown(&opened, &text, language))?;
            }
            Err(error.into())
        }
    }
}

type Judged = Result<Opened, NoticeError>;

/// What becomes of it, and for whom; `None` if nobody is to be believed.
fn judge(args: &Args, bytes: &[u8]) -> Result<Option<(Judged, Message)>, Failure> {
    if let Some(file) = &args.config {
        let (gateway, notices) = config::gateway_and_notices(file)?;
        let Some(keys) = notices.keys else {
            return Err(message!("{path} pins no key in [provider.notices]", path = file.display()).into());
        };
        let judged = open(bytes, &keys, &gateway, Now::Known(now_ms()));
        return Ok(Some((
            judged,
            message!("the signature holds, and it is for {gateway} at this time", gateway = gateway),
        )));
    }
    if args.trust.is_empty() {
        return Ok(None);
    }
    let keys = Keys::new(args.trust.clone())?;
    Ok(Some((verify(bytes, &keys), message!("the signature holds"))))
}

fn shown(opened: &Opened, standing: &Message, language: Language) -> String {
    let mut out = Sheet::new(language, 0);
    out.plain(message!("# signed by {key}: {standing}", key = &opened.kid, standing = standing));
    out.plain(message!("# {text}", text = follows(&opened.notice.content)));
    if opened.unknown_count > 0 {
        out.plain(message!(
            "# {count} keys are not known to this version and have no effect: {names}",
            count = opened.unknown_count,
            names = opened.unknown.join(", ")
        ));
    }
    out.raw(&notice::write(&opened.notice));
    out.finish()
}
