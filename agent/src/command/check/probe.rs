//! The probes: one file for what is looked at, each with a function that can be used alone.
//!
//! | probe | is handed | looks at |
//! |---|---|---|
//! | `configuration::look` | the file's path | whether it can be used; hands it out |
//! | `configuration::refused`, `kept::Instead` | why it cannot, where to look | what the service would start with instead |
//! | `running::with` | the file's path | agents that run with it |
//! | `service::look` | the control socket's path, the unit | whether the service runs, and what it says of itself; hands its status out |
//! | `unit::look` | the unit (`Unit::ask`), the status | whether systemd starts it, and how it ended last |
//! | `credentials::look` | the unit | whether systemd can hand the secrets over |
//! | `permissions::look` | the file's path and text, the runner, the unit | the files that it names: who may read them |
//! | `opening::look` | `&Config`, the runner, the unit, the status | whether the agent can open the store |
//! | `store::look` | `&config::Store`, the runner, the unit, the status | medium, room, writing, syncs |
//! | `listener::look` | `&config::Listener`, the unit, the runner, the status | whether devices can connect: who has the port |
//! | `terms::look` | `&config::Config`, the runner, the status | whether the limits of the terms file can be used |
//! | `metrics::look` | its address, the unit, the status | who has the metrics page's port |
//! | `broker::look` | `&config::Broker`, whether the clock is right, the status | connection, TLS, credentials, topics, limits, whether its queue lasts |
//! | `clock::look` | `&config::Clock`, the status | whether the clock is known to be right |
//! | `line::look` | the interface's name, if one is configured | the interface and the routes out |
//! | `flux::look` | `&config::Forward`, whether the clock is right, the status | name, TCP, TLS, HTTP, token |
//! | `flux::event` | `&Config` | sends one event and tells what Flux said |
//! | `provider::metadata`, `provider::statuspage` | their configuration, `&config::Forward`, the status | whether they answer |
//!
//! The runner is the user that the service runs as (`Runner::find`), with the sandbox of its unit (`Sandbox::of`).
//! A status is that of the running service, if there is one (`service::look`): what it already knows need not be tried, and what
//! it holds must not be.

pub(in crate::command) mod broker;
pub(in crate::command) mod clock;
pub(in crate::command) mod configuration;
pub(in crate::command) mod credentials;
pub(in crate::command) mod flux;
pub(in crate::command) mod kept;
pub(in crate::command) mod line;
pub(in crate::command) mod listener;
mod medium;
pub(in crate::command) mod metrics;
mod mosquitto;
pub(in crate::command) mod opening;
pub(in crate::command) mod permissions;
pub(in crate::command) mod provider;
mod reach;
pub(in crate::command) mod runner;
pub(in crate::command) mod running;
pub(in crate::command) mod sandbox;
pub(in crate::command) mod service;
mod sockets;
pub(in crate::command) mod store;
pub(in crate::command) mod terms;
pub(in crate::command) mod unit;

/// Runs what waits for the network or a process, on a runtime of its own. `None` if the system refuses one.
pub(in crate::command) fn block_on<F: Future>(future: F) -> Option<F::Output> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().max_blocking_threads(2).build().ok()?;
    let output = runtime.block_on(future);
    // A name lookup that hangs must not hold the command.
    runtime.shutdown_background();
    Some(output)
}
