//! The command line: one file for each subcommand.
//!
//! Messages go to standard error for people: what was tried, then each cause on a line of its own. What was asked for
//! goes to standard output, and a reader that goes away early (`| head`) is no failure.

mod buffer;
mod bundle;
mod check;
mod config;
mod demo;
#[cfg(test)]
mod documents;
mod explain;
pub(crate) mod failure;
mod fields;
mod help;
mod hold;
mod holder;
mod leftover;
mod notice;
mod notices;
mod outages;
mod provider;
mod run;
mod service;
mod setup;
mod status;
mod terms;

use std::io::{self, Write as _};
use std::path::PathBuf;

use clap::{FromArgMatches as _, Parser, Subcommand};
use tidegate::language::{Language, Message};
use tidegate::message;

use self::failure::Coded;
pub(crate) use self::failure::Failure;

/// Where the configuration stands unless said otherwise.
const CONFIG: &str = "/etc/tidegate/tidegate.toml";

/// Exit code of everything that failed.
pub(crate) const FAILED: u8 = 1;

/// Exit code of `status` when no agent runs; service managers' `status` actions use 3 for it too (LSB, "Init Script
/// Actions").
pub(crate) const NOT_RUNNING: u8 = 3;

/// Exit code of `run` when nothing is configured yet: `EX_CONFIG` of sysexits.h(3head). The service manager does not start it
/// again then, for waiting does not change it (`RestartPreventExitStatus=` of the unit).
pub(crate) const NOT_CONFIGURED: u8 = 78;

/// Takes telemetry from MQTT devices, writes it to flash before acknowledging it, and forwards it to SORACOM Flux as
/// the contract and the line allow.
#[derive(Debug, Parser)]
#[command(
    name = "tidegate",
    version,
    after_help = "Exit codes: 0 done, 1 failed, 2 wrong arguments, 3 no agent is running (status, buffer, notice apply, terms --socket),\n\
                  4 nothing could be examined (check), 5 written and not all is good (setup), 78 nothing is configured yet (run).\n\
                  Begin with: tidegate demo\n\
                  Set a gateway up: sudo tidegate setup\n\
                  Then: tidegate config default > tidegate.toml, edit it, tidegate check --offline --config tidegate.toml"
)]
struct Arguments {
    /// The language of what people read: en or ja; without it that of the locale
    #[arg(long, global = true, value_name = "LANGUAGE", value_parser = language)]
    lang: Option<Language>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the agent until SIGTERM or Ctrl-C; SIGHUP re-reads the configuration
    Run(RunFile),
    /// Ask for what a gateway needs, test the answers, write the configuration and its secrets
    Setup(Box<setup::Args>),
    /// Examine configuration, machine, network and service, and say what to do where it is not good
    Check(check::Args),
    /// Show what the running agent does: figures, limits, what Flux said last
    Status(status::Args),
    /// Show every limit on what may leave: who says it, the clause it serves, which one holds
    Terms(terms::Args),
    /// Show what the provider and the operator said, and what the agent did
    Notices(notices::Args),
    /// Make, show and apply signed notices of the provider
    #[command(subcommand)]
    Notice(notice::Which),
    /// Show the time in which Flux could not be used, and what can be claimed for it
    Outages(outages::Args),
    /// Stop sending, until told otherwise or for a time; collecting goes on
    Hold(hold::Args),
    /// End what `hold` began
    Resume(hold::ResumeArgs),
    /// Look into the buffer: what waits, what is kept, what is damaged, what was put aside
    #[command(subcommand)]
    Buffer(buffer::Which),
    /// Try out what the rules for the fields of payloads do
    #[command(subcommand)]
    Fields(fields::Which),
    /// Watch it work: devices, agent and a Flux look-alike on this machine, nothing to configure
    Demo(demo::Args),
    /// Write one archive for whoever helps: configuration, status, notices, logs, without secrets and payloads
    SupportBundle(bundle::Args),
    /// Print configurations
    #[command(subcommand)]
    Config(config::Which),
    /// Say what a code such as TG-102 means and what to do
    Explain(explain::Args),
}

/// Which configuration to run with.
#[derive(Debug, clap::Args)]
struct RunFile {
    /// The configuration file
    #[arg(long, value_name = "FILE", default_value = CONFIG)]
    config: PathBuf,
    /// Keep the configuration that last worked in this folder, and look for it there if the file cannot be used
    /// [default: the one that systemd names, or the store's folder]
    #[arg(long, value_name = "FOLDER")]
    state: Option<PathBuf>,
}

/// The language that `--lang` names.
fn language(word: &str) -> Result<Language, Message> {
    let found = Language::WORDS.iter().find(|(name, _)| *name == word);
    found.map(|(_, language)| *language).ok_or_else(|| message!("write en or ja"))
}

/// What the command line says. What is wrong with it is said in the reader's language, and so is the help; the process ends
/// then, as clap has it.
fn parsed() -> (Arguments, Language) {
    let locale = Language::of_environment(|name| std::env::var(name).ok());
    let language = help::language(std::env::args_os(), locale);
    let command = match language {
        Language::English => definition(),
        Language::Japanese => help::in_japanese(definition()),
    };
    let arguments = command.try_get_matches().and_then(|found| Arguments::from_arg_matches(&found));
    let arguments = arguments.unwrap_or_else(|error| match help::told(&error) {
        Some(text) if language == Language::Japanese => {
            // A standard error that is closed leaves nobody to tell.
            let _ = io::stderr().lock().write_all(text.as_bytes());
            std::process::exit(error.exit_code())
        }
        _ => error.exit(),
    });
    (arguments, language)
}

/// Does what the command line says. The language is the failure's too.
pub(crate) fn run() -> Result<(), (Failure, Language)> {
    let (arguments, language) = parsed();
    obey(arguments.command, language).map_err(|failure| (failure, language))
}

fn obey(command: Command, language: Language) -> Result<(), Failure> {
    match command {
        Command::Run(file) => run::run(&file.config, file.state.as_deref()),
        Command::Setup(args) => setup::run(&args, language),
        Command::Check(args) => check::run(&args, language),
        Command::Status(args) => status::run(&args, language),
        Command::Terms(args) => terms::run(&args, language),
        Command::Notice(which) => notice::run(&which, language),
        Command::Notices(args) => notices::run(&args, language),
        Command::Outages(args) => outages::run(&args, language),
        Command::Hold(args) => hold::run(&args, language),
        Command::Resume(args) => hold::resume(&args, language),
        Command::Buffer(which) => buffer::run(&which, language),
        Command::Fields(which) => fields::run(&which, language),
        Command::Demo(args) => demo::run(&args, language).map_err(Failure::from),
        Command::SupportBundle(args) => bundle::run(&args, language),
        Command::Config(which) => config::run(&which),
        Command::Explain(args) => explain::run(&args, language),
    }
}

/// What the command line is, for who writes manual pages and completions from it.
#[allow(dead_code)] // `examples/documents.rs` has this module too, and is the one who asks.
pub(crate) fn definition() -> clap::Command {
    <Arguments as clap::CommandFactory>::command()
}

/// Prints what was asked for. A reader that has gone away has read enough.
fn print(text: &str) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_well_formed() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn the_commands_take_the_arguments_of_the_documents() {
        for line in [
            "tidegate run --config a.toml",
            "tidegate setup",
            "tidegate setup --config a.toml --yes --id gw-1 --listen 0.0.0.0:1883 --webhook-file - --no-limits --lang ja",
            "tidegate check --config a.toml",
            "tidegate check",
            "tidegate check --offline --config a.toml --state /var/lib/tidegate",
            "tidegate run --state /var/lib/tidegate",
            "tidegate config kept --config a.toml",
            "tidegate check --json --lang ja",
            "tidegate check --offline --config -",
            "tidegate status",
            "tidegate status --json",
            "tidegate status --lang ja",
            "tidegate status --watch --config a.toml",
            "tidegate --lang en status",
            "tidegate status --json --socket /run/x.sock",
            "tidegate status --config a.toml",
            "tidegate terms",
            "tidegate terms --json --config a.toml",
            "tidegate terms --socket /run/x.sock",
            "tidegate fields try payloads.json",
            "tidegate fields try - --topic a/b --whole --json --config a.toml",
            "tidegate notice keygen --out ops.key --kid ops-2026",
            "tidegate notice sign --key ops.key m.toml -o m.notice",
            "tidegate notice sign --key ops.key --kid b -",
            "tidegate notice sign --key ops.key --id m --maintenance +1h +2h --gateway pole-* --gateway barn --why x",
            "tidegate notice sign --key ops.key --withdraw m",
            "tidegate notice show m.notice",
            "tidegate notice show --config a.toml -",
            "tidegate notice apply m.notice --json --socket /run/x.sock",
            "tidegate notice apply m.notice --config a.toml",
            "tidegate outages",
            "tidegate outages --month 2026-11 --json --config a.toml",
            "tidegate outages --csv --store /var/lib/tidegate",
            "tidegate outages --verify --json",
            "tidegate demo",
            "tidegate config default",
            "tidegate support-bundle",
            "tidegate support-bundle --output a.tar.gz --config a.toml",
            "tidegate explain",
            "tidegate explain TG-102 --lang ja",
            "tidegate explain 102",
            "tidegate buffer status --json --config a.toml",
            "tidegate buffer inspect --device meter-* --from -2h --to now --lane normal --limit 5 --all --json",
            "tidegate buffer verify --store /var/lib/tidegate",
            "tidegate buffer export --format csv --output a.csv --from 2026-11-22",
            "tidegate buffer replay --from -2h --to now --lane normal --yes",
            "tidegate buffer quarantine list --json",
            "tidegate buffer quarantine show gw-1/k3v9/normal/17",
            "tidegate buffer quarantine retry normal/17 --socket /run/x.sock",
            "tidegate buffer quarantine drop normal/17",
        ] {
            assert!(Arguments::try_parse_from(line.split(' ')).is_ok(), "{line}");
        }
        for line in [
            "tidegate",
            "tidegate runn",
            "tidegate status --socket a --config b",
            "tidegate status --watch --json",
            "tidegate status --lang de",
            "tidegate terms --socket a --config b",
            "tidegate outages --month 2026-13",
            "tidegate outages --json --csv",
            "tidegate outages --verify --csv",
            "tidegate config",
            "tidegate setup --no-limits --rate 1kbit/s",
            "tidegate setup --start --no-start",
            "tidegate setup --webhook-url https://a",
            "tidegate explain TG-999",
            "tidegate notice",
            "tidegate notice keygen",
            "tidegate notice sign --key ops.key",
            "tidegate notice sign --key ops.key --maintenance +1h +2h",
            "tidegate notice sign --key ops.key m.toml --withdraw m",
            "tidegate notice show m.notice --trust ops",
            "tidegate notice apply",
            "tidegate buffer",
            "tidegate fields",
            "tidegate fields try",
            "tidegate buffer export",
            "tidegate buffer export --format xml",
            "tidegate buffer inspect --from yesterday",
            "tidegate buffer replay --from -2h",
            "tidegate buffer status --store a --socket b",
            "tidegate buffer status --store a --config b",
            "tidegate buffer status --socket a --config b",
            "tidegate hold --socket a --config b",
        ] {
            let error = Arguments::try_parse_from(line.split(' ')).expect_err(line);
            assert_eq!(error.exit_code(), 2, "{line}");
        }
    }
}
