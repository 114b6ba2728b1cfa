//! Runs a program of this machine, and hands over what it prints: `systemctl`, `timedatectl`, `journalctl`.
//!
//! # Constraints
//! - Bounded in time and in what is kept of its output; it is killed at the end of the one and, where the first of its output is
//!   wanted, once that is there.
//! - It reads nothing: its standard input is empty, and what it complains of is not read.
//! - What it has started itself and left behind is not waited for beyond that time, either.

use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::process::Command;

use crate::language::{IntoValue as _, Value, system};
use crate::message;

/// Where systems have their programs.
const PATH: &str = "/usr/bin:/bin";

/// What a program sees of this process's environment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Environment {
    /// Nothing of it: the path where systems have programs, and the language `C`.
    Bare,
    /// All of it, and `C.UTF-8` for the language: what it prints is for people, with the letters that they wrote.
    Inherited,
}

/// Which part of an output that is too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    /// Its beginning.
    First,
    /// Its end: all of it is read, and no more than twice of what is kept is in memory.
    Last,
}

/// A program, and what it may take.
#[derive(Debug, Clone, Copy)]
pub struct Program<'a> {
    /// Its name.
    pub name: &'a str,
    /// What it is told.
    pub arguments: &'a [&'a str],
    /// What it sees.
    pub environment: Environment,
    /// How long it may take.
    pub time: Duration,
    /// Bytes of its output that are kept at most.
    pub bytes: usize,
    /// Which of them, if it prints more.
    pub keep: Keep,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// What it has printed, up to [`Program::bytes`].
    pub output: Vec<u8>,
    /// How it ended; of one that was stopped because it printed more, that.
    pub status: ExitStatus,
}

/// Why nothing came of it.
#[derive(Debug, thiserror::Error)]
#[error("{}", self.message())]
#[non_exhaustive]
pub enum ProgramError {
    /// It is not there, may not be run, or could not be read from.
    System {
        /// Its name.
        name: String,
        /// Why.
        source: std::io::Error,
    },
    /// It took longer than it may, and was killed.
    Slow {
        /// Its name.
        name: String,
        /// What it may take.
        limit: Duration,
    },
}

impl ProgramError {
    /// It in words.
    pub fn message(&self) -> Value {
        match self {
            Self::System { name, source } => {
                message!("{what}: {why}", what = name, why = system::said(source)).into_value()
            }
            Self::Slow { name, limit } => {
                message!("{program} gave no answer within {time} s", program = name, time = limit.as_secs())
                    .into_value()
            }
        }
    }
}

impl Program<'_> {
    /// Runs it to its end, whatever that is. It is killed if this future is dropped.
    ///
    /// # Errors
    /// Why nothing came of it.
    pub async fn run(&self) -> Result<Ended, ProgramError> {
        let name = || self.name.to_owned();
        let ended = tokio::time::timeout(self.time, self.ended()).await;
        let ended = ended.map_err(|_| ProgramError::Slow { name: name(), limit: self.time })?;
        ended.map_err(|source| ProgramError::System { name: name(), source })
    }

    /// The same where nothing else is to be done meanwhile: on a runtime of its own, so not within another.
    ///
    /// # Errors
    /// Why nothing came of it.
    pub fn run_alone(&self) -> Result<Ended, ProgramError> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|source| ProgramError::System { name: self.name.to_owned(), source })?;
        runtime.block_on(self.run())
    }

    async fn ended(&self) -> std::io::Result<Ended> {
        let mut command = Command::new(self.name);
        match self.environment {
            Environment::Bare => command.env_clear().env("PATH", PATH).env("LC_ALL", "C"),
            Environment::Inherited => command.env("LC_ALL", "C.UTF-8"),
        };
        command.args(self.arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.kill_on_drop(true).spawn()?;
        let mut output = Vec::new();
        if let Some(from) = child.stdout.take() {
            output = match self.keep {
                Keep::First => first(from, self.bytes).await?,
                Keep::Last => last(from, self.bytes).await?,
            };
        }
        if self.keep == Keep::First && output.len() >= self.bytes {
            // One that has ended by itself cannot be ended, which is as well.
            let _ = child.start_kill();
        }
        Ok(Ended { output, status: child.wait().await? })
    }
}

async fn first(from: impl AsyncRead + Unpin, bytes: usize) -> std::io::Result<Vec<u8>> {
    let mut output = Vec::new();
    from.take(bytes as u64).read_to_end(&mut output).await?;
    Ok(output)
}

async fn last(mut from: impl AsyncRead + Unpin, bytes: usize) -> std::io::Result<Vec<u8>> {
    let mut output = Vec::new();
    loop {
        let more = (&mut from).take(bytes as u64).read_to_end(&mut output).await?;
        output.drain(..output.len().saturating_sub(bytes));
        if more == 0 {
            return Ok(output);
        }
    }
}

/// Runs a program whose output is for the person who waits, for as long as it takes; whether it succeeded. It sees nothing of
/// this process's environment.
pub fn shown(name: &str, arguments: &[&str]) -> bool {
    let mut command = std::process::Command::new(name);
    command.args(arguments).env_clear().env("PATH", PATH).stdin(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn program<'a>(name: &'a str, arguments: &'a [&'a str]) -> Program<'a> {
        Program {
            name,
            arguments,
            environment: Environment::Bare,
            time: Duration::from_secs(30),
            bytes: 1000,
            keep: Keep::First,
        }
    }

    #[test]
    fn what_a_program_prints_and_how_it_ended_is_handed_over() {
        let ended = program("sh", &["-c", "cat; printf 'a b'; echo no >&2; exit 3"]).run_alone().expect("it runs");
        assert_eq!((ended.output.as_slice(), ended.status.code()), (&b"a b"[..], Some(3)));
        let missing = program("no-such-program-here", &[]).run_alone().expect_err("it is not there");
        assert!(missing.to_string().starts_with("no-such-program-here: "), "{missing}");
    }

    #[test]
    fn of_too_much_the_end_is_kept_where_that_is_wanted() {
        let script = ["-c", "seq 1 100000; exit 3"];
        let ended = Program { keep: Keep::Last, ..program("sh", &script) }.run_alone().expect("it runs");
        assert_eq!((ended.output.len(), ended.status.code()), (1000, Some(3)));
        assert!(ended.output.ends_with(b"\n99999\n100000\n"));
        let ended = Program { keep: Keep::Last, ..program("printf", &["short"]) }.run_alone().expect("it runs");
        assert_eq!(ended.output, b"short");
    }

    #[test]
    fn one_that_takes_too_long_or_prints_too_much_is_ended() {
        let begun = std::time::Instant::now();
        let slow = Program { time: Duration::from_millis(100), ..program("sleep", &["60"]) }.run_alone();
        assert!(matches!(slow, Err(ProgramError::Slow { .. })), "{slow:?}");
        // What it has started holds its output, and is not waited for.
        let script = ["-c", "sleep 60 & printf x"];
        let held = Program { time: Duration::from_millis(100), ..program("sh", &script) }.run_alone();
        assert!(matches!(held, Err(ProgramError::Slow { .. })), "{held:?}");
        let endless = program("yes", &[]).run_alone().expect("it is cut off");
        assert_eq!((endless.output.len(), endless.status.success()), (1000, false));
        assert!(begun.elapsed() < Duration::from_secs(20));
    }

    #[test]
    fn a_bare_environment_has_a_path_and_a_language_and_nothing_else() {
        let seen = program("env", &[]).run_alone().expect("it runs");
        let mut lines: Vec<_> = seen.output.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).collect();
        lines.sort_unstable();
        assert_eq!(lines, [&b"LC_ALL=C"[..], b"PATH=/usr/bin:/bin"]);
        let inherited = Program { environment: Environment::Inherited, bytes: 1 << 20, ..program("env", &[]) };
        let output = String::from_utf8(inherited.run_alone().expect("it runs").output).expect("text");
        assert!(output.contains("LC_ALL=C.UTF-8\n") && output.contains("CARGO"), "{output}");
        assert!(shown("true", &[]) && !shown("false", &[]) && !shown("no-such-program-here", &[]));
    }
}
