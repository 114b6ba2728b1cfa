//! Finds what has come of a command, also what has left its process group or has lost its parent: each process of it
//! inherits a variable of its environment whose value no other call has.
//!
//! # Constraints
//! - Only a process of the same user is seen and ended, and never one that clears its environment: whoever hides on purpose is
//!   bounded by the unit's `TasksMax` alone.
//! - No number is mistaken for a later process's: a process is held by its pidfd (Linux 5.3) before its environment is
//!   read, and ended through that.

use std::fs::File;
use std::io::Read as _;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use crate::processes;

/// The variable.
pub(super) const NAME: &str = "TIDEGATE_CALL";

/// Bytes of an environment that are looked at: the command's own has some 600 at its beginning, and who adds more adds it
/// behind or keeps it below this.
const ENVIRONMENT: u64 = 64 * 1024;

/// Rounds at most: what forks while it is looked for is found in the next.
const ROUNDS: usize = 4;

/// Of one call.
#[derive(Debug)]
pub(super) struct Mark(String);

impl Mark {
    /// One that no other call has: this process, when it made it, and a count.
    pub(super) fn new() -> Self {
        static CALLS: AtomicU64 = AtomicU64::new(0);
        let (process, call) = (std::process::id(), CALLS.fetch_add(1, Ordering::Relaxed));
        Self(format!("{process}-{}-{call}", crate::clock::now_ms()))
    }

    pub(super) fn value(&self) -> &str {
        &self.0
    }

    /// Sends a signal to each process that has it, until there is none that was not sent it.
    pub(super) async fn end_all(&self, signal: Signal) {
        let variable = format!("{NAME}={}", self.0);
        let mut sent = Vec::new();
        for _ in 0..ROUNDS {
            let (variable, known) = (variable.clone(), sent.clone());
            // Reads files of /proc, of which there may be many.
            let found = tokio::task::spawn_blocking(move || send_all(&variable, &known, signal)).await;
            match found {
                Ok(found) if !found.is_empty() => sent.extend(found),
                _ => return,
            }
        }
    }
}

/// Sends the signal to those that have the variable and are not `known`; says to whom.
fn send_all(variable: &str, known: &[i32], signal: Signal) -> Vec<i32> {
    let numbers = processes::all().filter_map(|id| i32::try_from(id).ok());
    numbers.filter(|number| !known.contains(number) && send(*number, variable, signal).is_some()).collect()
}

fn send(number: i32, variable: &str, signal: Signal) -> Option<()> {
    let process = pidfd_open(Pid::from_raw(number)?, PidfdFlags::empty()).ok()?;
    let mut environment = Vec::new();
    let file = File::open(format!("/proc/{number}/environ")).ok()?;
    file.take(ENVIRONMENT).read_to_end(&mut environment).ok()?;
    environment.split(|byte| *byte == 0).find(|entry| *entry == variable.as_bytes())?;
    pidfd_send_signal(process, signal).ok()
}
