//! `tidegate notices`: the log of what the provider and the operator said, and what the agent did.

use tidegate::config;
use tidegate::gateway;
use tidegate::language::Language;
use tidegate::message;
use tidegate::provider::input::Entry;
use tidegate::provider::question::{Ask, End};
use tidegate::watch::render;

use super::service::Service;
use super::{Failure, NOT_RUNNING, print};

/// Whose notices, and how to show them.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "While the service runs it is asked over its control socket; otherwise the log is read from the store's \
                  folder. The last 200 entries are kept."
)]
pub(super) struct Args {
    #[command(flatten)]
    service: Service,
}

/// Asks or reads, and prints.
pub(super) fn run(args: &Args, language: Language) -> Result<(), Failure> {
    let entries = find(args)?;
    if args.service.json {
        return print(&(serde_json::to_string_pretty(&entries)? + "\n"));
    }
    print(&render::notices(&gateway::shown_notices(&entries), language))
}

fn find(args: &Args) -> Result<Vec<Entry>, Failure> {
    let agent = &args.service.agent;
    match agent.ask(&Ask::Notices) {
        Ok(End::Notices { entries }) => Ok(entries),
        Ok(_) => Err(message!("the agent answered something else").into()),
        Err(failure) if failure.code == NOT_RUNNING && agent.socket.is_none() => {
            let (folder, _) = config::store_place(agent.config_file()).map_err(|_| failure)?;
            Ok(gateway::notices_of(&folder)?)
        }
        Err(failure) => Err(failure),
    }
}
