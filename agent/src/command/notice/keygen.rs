//! `tidegate notice keygen`: makes a key that signs notices.

use std::path::PathBuf;

use tidegate::message;
use tidegate_protocol::notice::SigningKey;

use super::file;
use crate::command::{Failure, print};

/// Where to, and what it is called.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Keep the file where notices are signed, never on a gateway. What is printed is public: it goes into the \
                  configuration of each gateway, [provider.notices]."
)]
pub(in crate::command) struct Args {
    /// The private key's file; it must not be there yet, and only its owner may read it
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// What the key is called, such as ops-2026: 1 to 64 of A-Z, a-z, 0-9, `.`, `_`, `-` [default: made of its hash]
    #[arg(long, value_name = "ID")]
    kid: Option<String>,
}

/// Makes it, and prints what gateways pin.
pub(super) fn run(args: &Args) -> Result<(), Failure> {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed)
        .map_err(|error| message!("the system has no random bytes to make a key of: {why}", why = error.to_string()))?;
    let wrong = |error| Failure { code: 2, error: Box::new(error) };
    let key = SigningKey::from_seed(&seed, args.kid.as_deref()).map_err(wrong)?;
    file::write_key(&args.out, &seed, key.public())?;
    print(&format!("[provider.notices]\nkeys = [\"{}\"]\n", key.public()))
}
