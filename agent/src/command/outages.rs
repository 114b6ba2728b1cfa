//! `tidegate outages`: the intervals in which Flux could not be used, what can be claimed for them, and whether their
//! ledger is as it was written.
//!
//! The file is read as it stands, whether or not the service runs: while one does, what it adds to an open interval is
//! in the file a quarter of an hour later at most.

mod text;

use std::path::{Path, PathBuf};

use serde::Serialize;
use tidegate::code::Code;
use tidegate::config;
use tidegate::language::{Language, system};
use tidegate::message;
use tidegate::outage::calendar::Month;
use tidegate::outage::report::{self, Row};
use tidegate::outage::{self, Fault, Found};

use super::{CONFIG, Coded, FAILED, Failure, print};

/// Which intervals, and how to show them.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "The ledger in the store's folder is read, whether or not the service runs; nothing is written.\n\
                  Exit codes: 0 done (--verify: the ledger is whole), 1 failed (--verify: it was changed or is torn), 2 wrong \
                  arguments"
)]
pub(super) struct Args {
    /// Only intervals that touch this month, in Japan: 2026-11
    #[arg(long, value_name = "YYYY-MM")]
    month: Option<Month>,
    /// Print JSON, for programs: everything that is known
    #[arg(long, conflicts_with = "csv")]
    json: bool,
    /// Print comma-separated values, a line for each interval
    #[arg(long)]
    csv: bool,
    /// Compare all digests and say where the ledger was changed; exit code 1 if it was
    #[arg(long, conflicts_with_all = ["csv", "month"])]
    verify: bool,
    /// The configuration that names the store [default: /etc/tidegate/tidegate.toml]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Read the ledger of the store in this folder
    #[arg(long, value_name = "FOLDER", conflicts_with = "config")]
    store: Option<PathBuf>,
}

/// What `--json` prints.
#[derive(Debug, Serialize)]
struct Document<'a> {
    gateway: &'a str,
    ledger: String,
    /// Whether no digest is wrong; `--verify` says where one is.
    whole: bool,
    /// The digest of the newest entry, to be kept elsewhere.
    last_digest: &'a str,
    /// Intervals of which nothing is left but that they were.
    more: u64,
    intervals: Vec<Row>,
}

/// What `--verify --json` prints.
#[derive(Debug, Serialize)]
struct Verified<'a> {
    ledger: String,
    whole: bool,
    entries: u64,
    folded: u64,
    last_digest: &'a str,
    faults: &'a [Fault],
    fault_count: u64,
    notes: &'a [Fault],
}

/// Reads and prints.
pub(super) fn run(args: &Args, language: Language) -> Result<(), Failure> {
    let store = match &args.store {
        Some(folder) => folder.clone(),
        None => config::store_place(args.config.as_deref().unwrap_or(Path::new(CONFIG)))?.0,
    };
    let ledger = store.join(outage::FOLDER).join("ledger").display().to_string();
    if let (Some(store), Err(source)) = (&args.store, std::fs::read_dir(&store)) {
        // One that was named is there; that of the configuration may be made at the first start.
        let text = message!("cannot read {path}", path = store.display());
        return Err(Coded { code: Some(Code::CannotRead), text, source: Some(source) }.into());
    }
    let found = match outage::look(&store) {
        Ok(found) => found.unwrap_or_default(),
        Err(error) => {
            let why = message!(
                "cannot read the outage ledger {ledger}: {error} (as the user that Tidegate runs as, or root?)",
                ledger = &ledger,
                error = system::said(&error)
            );
            return Err(Failure::coded(FAILED, Code::CannotRead, why));
        }
    };
    if args.verify {
        return verify(args, &found, &ledger, language);
    }
    let intervals = report::rows(&found.tally, args.month);
    if args.json {
        let document = Document {
            gateway: &found.tally.gateway,
            ledger,
            whole: found.is_whole(),
            last_digest: &found.last_digest,
            more: found.tally.more,
            intervals,
        };
        return print(&(serde_json::to_string_pretty(&document)? + "\n"));
    }
    if args.csv {
        return print(&report::csv(&intervals));
    }
    print(&text::intervals(&found, &ledger, &intervals, args.month, language))
}

fn verify(args: &Args, found: &Found, ledger: &str, language: Language) -> Result<(), Failure> {
    let whole = found.is_whole();
    let text = if args.json {
        let verified = Verified {
            ledger: ledger.to_owned(),
            whole,
            entries: found.entries,
            folded: found.folded,
            last_digest: &found.last_digest,
            faults: &found.faults,
            fault_count: found.fault_count,
            notes: &found.notes,
        };
        serde_json::to_string_pretty(&verified)? + "\n"
    } else {
        text::verified(found, ledger, language)
    };
    print(&text)?;
    if whole {
        return Ok(());
    }
    let text = message!("{ledger} is not as it was written", ledger = ledger);
    Err(Failure::coded(FAILED, Code::EvidenceDamaged, text))
}
