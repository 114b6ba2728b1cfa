//! `tidegate terms`: every limit on what may leave, who says it, the clause it serves, and which one holds.

use tidegate::clock::now_ms;
use tidegate::code::Code;
use tidegate::config;
use tidegate::gateway;
use tidegate::language::{Language, Message};
use tidegate::message;
use tidegate::provider::question::{Ask, End};
use tidegate::shown::shown;
use tidegate::watch::TermsStatus;
use tidegate::watch::control::{self, AskError};
use tidegate::watch::render;

use super::service::{Agent, Service};
use super::{FAILED, Failure, print, provider};

/// Characters of a version that are shown.
const VERSION: usize = 64;

/// Whose limits, and how to show them.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "While the service runs it is asked over its control socket; otherwise the configuration and its terms \
                  file are read, and what the provider says is not known."
)]
pub(super) struct Args {
    #[command(flatten)]
    service: Service,
    #[command(subcommand)]
    what: Option<What>,
}

/// What to do instead of showing them.
#[derive(Debug, clap::Subcommand)]
enum What {
    /// Accept changed terms, so that what waits for it may be sent (`[terms] on_change`)
    Accept {
        #[command(flatten)]
        agent: Agent,
        /// Their version, as the notice and `tidegate status` say it
        version: String,
    },
}

/// Asks or reads, and prints.
pub(super) fn run(args: &Args, language: Language) -> Result<(), Failure> {
    if let Some(What::Accept { agent, version }) = &args.what {
        return accept(agent, version, language);
    }
    let (terms, heading) = find(args)?;
    if args.service.json {
        return print(&(serde_json::to_string_pretty(&terms)? + "\n"));
    }
    print(&render::terms(&terms, heading, now_ms(), language))
}

/// Accepts changed terms; fails, and changes nothing, where they are not those that are to be accepted.
fn accept(agent: &Agent, version: &str, language: Language) -> Result<(), Failure> {
    match agent.ask(&Ask::AcceptTerms { version: version.to_owned() })? {
        End::AskedInstead { versions } => {
            let waited = versions.iter().map(|version| shown(version, VERSION)).collect::<Vec<_>>().join(", ");
            let text = message!(
                "nothing was changed: no notice names terms of version {version}; to be accepted is {waited}",
                version = shown(version, VERSION),
                waited = waited
            );
            Err(Failure::coded(FAILED, Code::TermsHeld, text))
        }
        end => print(&provider::done(end, language)?),
    }
}

/// The limits, and whose they are.
fn find(args: &Args) -> Result<(TermsStatus, Message), Failure> {
    let (file, socket) = (args.service.agent.config_file(), args.service.agent.socket()?);
    match control::ask(&socket) {
        Ok(status) => {
            let heading = message!(
                "Limits of gateway {gateway} · the service says (process {process})",
                gateway = &status.gateway,
                process = status.pid
            );
            Ok((status.terms, heading))
        }
        Err(error @ AskError::NotRunning { .. }) if args.service.agent.socket.is_some() => {
            Err(Failure { code: super::NOT_RUNNING, error: error.into() })
        }
        Err(AskError::NotRunning { path, .. }) => {
            let (limits, provider) = config::limits_and_provider(file)?;
            let name = file.display().to_string();
            let terms = gateway::limits_of_files(&limits, &provider, &name);
            Ok((terms, message!("Limits by {file} · no service answers on {path}", file = name, path = path)))
        }
        Err(error) => Err(error.into()),
    }
}
