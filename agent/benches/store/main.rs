//! Measures the store beside sled, `SQLite` and bare writes: the same records, in one run, on the same file system.
//!
//! `cargo bench -p tidegate --bench store -- [--quick] [--append] [--rounds N] [FOLDER]` prints one table in Markdown.
//! FOLDER should lie on the flash that is to be measured; without one it is a folder of its own under `target/`.
//! `--append` measures appending alone, and of the contenders only the store and the bare writes: a few seconds a round.
//!
//! # What is measured
//!
//! *Records*: real readings (`tests/data`), several to a payload as devices send them, about 200 bytes of payload each.
//! Every contender is handed the same bodies, byte for byte as long; *bytes stored* are theirs.
//!
//! *Contenders*: Tidegate's store through its public interface; sled with a key for each record, and with 20 records to
//! a value (`flush()` and an `fsync` of its file after each group: `flush()` alone is no promise on Linux); `SQLite` in
//! WAL mode with `synchronous=FULL` and a transaction for each group; and a bare `write` + `fdatasync` of the
//! same bodies. Every group is durable before the next begins. Tidegate's groups at saturation form by themselves
//! (many submitters, each waiting for its answer); the others are given groups of the same mean size.
//!
//! *Written to the medium* is the block device's own counter, with a `syncfs` before and after: so it counts what the
//! file system writes besides, and whoever else writes meanwhile. Measure on a quiet machine. *Handed over* is what
//! the process gave to `write` calls.
//!
//! *Reopening* follows a kill, not a close, with the page cache emptied of the files: open, until the next record could
//! be appended.
//!
//! Every step of every contender runs in a process of its own (this program again), so that peak memory is that
//! step's; about 3 MiB of it are this program and its readings, as the bare writes show. Appending is measured with
//! all contenders right after one another, and the table shows medians of all rounds, so none has a quieter machine than
//! the others; the share of the bare rate is taken in each round, and the median is of these.
//!
//! Why no benchmark framework: they measure short calls many times in one process. Here a single measurement writes
//! tens of megabytes, wears the medium, counts bytes and memory, and must not share a process with the next.
#![forbid(unsafe_code)]

mod bare;
mod child;
mod ours;
mod place;
mod plan;
mod queue;
mod readings;
mod sled_queue;
mod sqlite;
mod table;

use plan::Plan;
use queue::Outcome;
use std::process::ExitCode;

const USAGE: &str = "cargo bench -p tidegate --bench store -- [--quick] [--append] [--rounds N] [FOLDER]";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let done = match arguments.first().map(String::as_str) {
        Some(child::FLAG) => child::run(&arguments[1..]),
        // A test runner asks every target what tests it has: this one has none.
        Some("--list") => Ok(()),
        _ => measure(&arguments),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let mut text = error.to_string();
            let mut cause = error.source();
            while let Some(error) = cause {
                text = format!("{text}: {error}");
                cause = error.source();
            }
            eprintln!("{text}");
            ExitCode::FAILURE
        }
    }
}

fn measure(arguments: &[String]) -> Outcome<()> {
    let (mut plan, mut appends, mut rounds, mut folder) = (Plan::full(), false, None, None);
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        match argument.as_str() {
            // cargo adds it.
            "--bench" => {}
            "--quick" => plan = Plan::quick(),
            "--append" => appends = true,
            "--rounds" => rounds = Some(rest.next().ok_or(USAGE)?.parse()?),
            text if text.starts_with('-') => return Err(USAGE.into()),
            text => folder = Some(std::path::PathBuf::from(text)),
        }
    }
    if appends {
        plan.leave_appends();
    }
    plan.rounds = rounds.unwrap_or(plan.rounds).max(1);
    let place = place::Place::new(folder)?;
    let figures = plan.run(&place)?;
    print!("{}", table::markdown(&plan, &place, &figures));
    Ok(())
}
