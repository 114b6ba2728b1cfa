//! `tidegate notice sign`: signs a notice that is written as TOML, or said in flags.

use std::fmt::Write as _;
use std::io::{self, IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};

use tidegate::clock::{now_ms, text};
use tidegate::config::notice::{self, quoted};
use tidegate::language::sheet::Sheet;
use tidegate::language::{IntoValue as _, Language};
use tidegate::message;
use tidegate::provider::inbox::follows;
use tidegate_protocol::notice::{Content, Notice, seal};

use super::file;
use crate::command::{Failure, print};

/// What to sign, and with which key.
#[derive(Debug, clap::Args)]
#[command(after_help = FORM)]
pub(in crate::command) struct Args {
    /// The private key, as `tidegate notice keygen` or `openssl genpkey -algorithm ed25519` makes it
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    /// What the key is called, if not as its file says
    #[arg(long, value_name = "ID")]
    kid: Option<String>,
    /// Where to; `-` is standard output [default: the notice's file, or its id, with the ending .notice]
    #[arg(short, long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// The notice, as TOML; `-` is standard input
    #[arg(value_name = "NOTICE", required_unless_present_any = ["maintenance", "withdraw"])]
    notice: Option<PathBuf>,
    /// Instead of a file: a maintenance
    #[arg(long, num_args = 2, value_names = ["FROM", "UNTIL"], conflicts_with = "notice", requires = "id")]
    maintenance: Option<Vec<String>>,
    /// Instead of a file: what the notice with this id said no longer holds
    #[arg(long, value_name = "ID", conflicts_with_all = ["notice", "maintenance", "id"])]
    withdraw: Option<String>,
    /// With --maintenance: its id
    #[arg(long, value_name = "ID", conflicts_with = "notice")]
    id: Option<String>,
    /// With --maintenance or --withdraw: for this gateway, or those whose ids begin like this (`pole-*`); may be repeated
    #[arg(long, value_name = "ID", conflicts_with = "notice")]
    gateway: Vec<String>,
    /// With --maintenance or --withdraw: why, for people
    #[arg(long, value_name = "TEXT", conflicts_with = "notice")]
    why: Option<String>,
}

const FORM: &str = "\
A notice's file:
  id = \"m-2026-12-01\"                  # what it is about: say it again to amend it
  kind = \"maintenance\"                 # see below
  gateways = [\"barn-1\", \"pole-*\"]      # for whom; without it for every gateway that pins the key
  why = \"The database moves.\"          # for people
  issued = \"now\"                       # now, unless said otherwise; of one id the latest stands
  expires = \"+7d\"                      # until when it may be taken in; without it until it is over, or for 30 days
  from = \"2026-12-01 02:00 +09:00\"     # at once, unless said otherwise
  until = 2026-12-01T04:00:00+09:00    # in quotes or without; UTC without an offset
  cause = \"works\"
  resume = \"30m\"                       # over how long gateways come back
Kinds, and their keys ([…] may be missing):
  maintenance    [from] until [cause: works, upstream, identifier, security, other] [resume]
  emergency      [from] [until]                     only lanes that go first are sent
  restriction    [from] [until], a table [limits]   as in the configuration: rate = \"128 kbit/s\"
  suspension     [from] [cause: unpaid, false_statement, terms, card, other]
  quota          until
  end            at
  terms_changed  version effective [url]
  identity       effective
  information
  withdrawn                                         what its id said no longer holds
The same for two of them:
  tidegate notice sign --key KEY --id m-7 --maintenance '2026-12-01 02:00' '2026-12-01 04:00' --gateway 'pole-*'
  tidegate notice sign --key KEY --withdraw m-7";

/// Signs it.
pub(super) fn run(args: &Args, language: Language) -> Result<(), Failure> {
    let notice = match &args.notice {
        Some(path) => notice::load(path, now_ms())?,
        None => notice::parse(&said(args), &message!("the notice of these flags").text(language), now_ms())?,
    };
    let key = file::read_key(&args.key, args.kid.as_deref(), language)?;
    let envelope = seal(&notice, &key)?;
    let out = args.out.clone().unwrap_or_else(|| place(args.notice.as_deref(), &notice));
    let (id, kind, until) = (&notice.id, notice.content.kind(), text::format(notice.expires_ms));
    let to = if out == Path::new("-") { message!("standard output").into_value() } else { out.display().into_value() };
    let mut told = Sheet::new(language, 0);
    told.plain(message!(
        "{to}: {kind} {id}, signed by {key}, to be taken in until {until}",
        to = to,
        kind = kind,
        id = id,
        key = key.public().kid(),
        until = until
    ));
    told.plain(message!("  {text}", text = follows(&notice.content)));
    let told = told.finish();
    if out == Path::new("-") {
        let mut stdout = io::stdout().lock();
        if stdout.is_terminal() {
            return Err(
                message!("a signed notice is bytes, not text: name a file, or lead standard output into one").into()
            );
        }
        stdout.write_all(&envelope).and_then(|()| stdout.flush())?;
        super::note(told.trim_end());
        return Ok(());
    }
    file::write_envelope(&out, &envelope)?;
    print(&told)
}

/// The flags as a notice's file: judged as one.
fn said(args: &Args) -> String {
    let mut text = String::new();
    let mut put = |key: &str, value: &str| {
        // A String takes all.
        let _ = writeln!(text, "{key} = {value}");
    };
    if let Some([from, until]) = args.maintenance.as_deref() {
        put("id", &quoted(args.id.as_deref().unwrap_or_default()));
        put("kind", "\"maintenance\"");
        put("from", &quoted(from));
        put("until", &quoted(until));
    } else {
        put("id", &quoted(args.withdraw.as_deref().unwrap_or_default()));
        put("kind", "\"withdrawn\"");
    }
    if !args.gateway.is_empty() {
        let all: Vec<String> = args.gateway.iter().map(|gateway| quoted(gateway)).collect();
        put("gateways", &format!("[{}]", all.join(", ")));
    }
    if let Some(why) = &args.why {
        put("why", &quoted(why));
    }
    text
}

/// Where an envelope goes unless that is said.
fn place(source: Option<&Path>, notice: &Notice) -> PathBuf {
    match source {
        Some(path) if path != Path::new("-") => path.with_extension("notice"),
        // Beside what it takes back, not in its place.
        _ if notice.content == Content::Withdrawn => PathBuf::from(format!("{}-withdrawn.notice", notice.id)),
        _ => PathBuf::from(format!("{}.notice", notice.id)),
    }
}
