//! The probes: one file for what is looked at, each with a function that can be used alone.
//!
//! | probe | is handed | looks at |
//! |---|---|---|
//! | `configuration::look` | the file's path | whether it can be used; hands it out |
//! | `service::look` | the control socket's path | whether the service runs, and what it says of itself; hands its status out |
//! | `listener::look` | `&config::Listener`, the status | whether devices can connect: who has the port |
//! | `clock::look` | `&config::Clock`, the status | whether the clock is known to be right |
//! | `line::look` | the interface's name, if one is configured | the interface and the routes out |
//!
//! A status is that of the running service, if there is one (`service::look`): what it already knows need not be tried, and what
//! it holds must not be.

pub(in crate::command) mod clock;
pub(in crate::command) mod configuration;
pub(in crate::command) mod line;
pub(in crate::command) mod listener;
pub(in crate::command) mod service;
pub(in crate::command) mod sockets;

/// Runs what waits for the network or a process, on a runtime of its own. `None` if the system refuses one.
pub(in crate::command) fn block_on<F: Future>(future: F) -> Option<F::Output> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().max_blocking_threads(2).build().ok()?;
    let output = runtime.block_on(future);
    // A name lookup that hangs must not hold the command.
    runtime.shutdown_background();
    Some(output)
}
