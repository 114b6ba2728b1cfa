//! `tidegate status --watch`: a screen that is drawn again each second, until `q` or Ctrl-C.
//!
//! # Constraints
//! - It is read over slow lines: only lines that have changed are written, and the agent is asked once a second at most, never
//!   again before it has answered.
//! - The terminal is left as it was found ([`terminal`]), and drawn on anew in full after a stop and with a new size.
//! - An agent that does not answer does not end it: since when is shown, and it is asked again.

use std::fmt::Write as _;
use std::io::{self, Read as _};
use std::path::PathBuf;
use std::task::Poll;
use std::time::Duration;

use rustix::process::Signal;
use tidegate::clock::now_ms;
use tidegate::language::Language;
use tidegate::message;
use tidegate::watch::Status;
use tidegate::watch::control::{self, AskError};
use tidegate::watch::render::live::{Course, Trouble, View, draw};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval};

use super::super::Failure;
use super::super::service::Agent;
use super::terminal::{self, Terminal};

/// How often the agent is asked.
const EVERY: Duration = Duration::from_secs(1);

/// Ctrl-C, Ctrl-D and Ctrl-\, which come as bytes while the terminal makes no signals of them.
const ENDS: [u8; 5] = [b'q', b'Q', 0x03, 0x04, 0x1c];

/// Ctrl-Z, which does too.
const STOPS: u8 = 0x1a;

/// Shows it.
pub(super) fn run(agent: &Agent, language: Language) -> Result<(), Failure> {
    let refused = if !terminal::is_there() {
        Some(message!("--watch draws on a terminal, and this is none: use `tidegate status`, or --json for programs"))
    } else if !terminal::can_draw() {
        Some(message!(
            "--watch draws on a terminal that can move its cursor, and TERM names none: use `tidegate status`, or set TERM, for instance TERM=vt100"
        ))
    } else {
        None
    };
    if let Some(refused) = refused {
        return Err(refused.text(language).into());
    }
    let socket = agent.socket()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let terminal = Terminal::take()?;
    let shown = runtime.block_on(watch(&terminal, socket, language));
    // The terminal is given back first; a question that is still under way is not waited for.
    drop(terminal);
    runtime.shutdown_background();
    shown.map_err(Failure::from)
}

/// The bytes of keys. The thread ends with the process: there is no portable way to wake it.
fn keys() -> mpsc::Receiver<u8> {
    let (sender, receiver) = mpsc::channel(16);
    std::thread::spawn(move || {
        let mut byte = [0];
        while io::stdin().lock().read(&mut byte).is_ok_and(|read| read == 1) {
            if sender.blocking_send(byte[0]).is_err() {
                return;
            }
        }
    });
    receiver
}

async fn watch(terminal: &Terminal, socket: PathBuf, language: Language) -> io::Result<()> {
    let mut screen = Screen::new(terminal, language);
    let mut keys = keys();
    let mut ends = [SignalKind::terminate(), SignalKind::hangup(), SignalKind::interrupt(), SignalKind::quit()]
        .map(signal)
        .into_iter()
        .collect::<io::Result<Vec<_>>>()?;
    let mut stopped = signal(SignalKind::from_raw(Signal::TSTP.as_raw()))?;
    let mut continued = signal(SignalKind::from_raw(Signal::CONT.as_raw()))?;
    let mut resized = signal(SignalKind::window_change())?;
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut asked: Option<JoinHandle<_>> = None;
    loop {
        tokio::select! {
            // Signals first: whoever was continued takes the terminal before drawing on it.
            biased;
            () = any(&mut ends) => return Ok(()),
            _ = continued.recv() => {
                terminal.take_again()?;
                screen.draw_anew()?;
            }
            _ = stopped.recv() => terminal.stop()?,
            _ = resized.recv() => screen.draw_anew()?,
            key = keys.recv() => match key {
                Some(STOPS) => terminal.ask_to_stop()?,
                Some(key) if !ENDS.contains(&key) => {}
                _ => return Ok(()),
            },
            said = answer(&mut asked) => {
                asked = None;
                screen.take(said);
                screen.draw()?;
            }
            _ = ticks.tick() => {
                if asked.is_none() {
                    let socket = socket.clone();
                    asked = Some(tokio::task::spawn_blocking(move || control::ask(&socket)));
                }
                screen.draw()?;
            }
        }
    }
}

/// The first of some signals.
async fn any(signals: &mut [tokio::signal::unix::Signal]) {
    std::future::poll_fn(|context| {
        let came = signals.iter_mut().any(|signal| signal.poll_recv(context).is_ready());
        if came { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
}

/// What the agent says to the question that is under way; never, if none is.
async fn answer(asked: &mut Option<JoinHandle<Result<Status, AskError>>>) -> Result<Status, AskError> {
    match asked {
        Some(asked) => match asked.await {
            Ok(said) => said,
            // A panic, which gave the terminal back and told why, ends all of it. It is never cancelled.
            Err(panicked) => std::panic::resume_unwind(panicked.into_panic()),
        },
        None => std::future::pending().await,
    }
}

/// What is known, and what stands on the terminal.
struct Screen<'a> {
    terminal: &'a Terminal,
    language: Language,
    ascii: bool,
    status: Option<Status>,
    course: Course,
    trouble: Option<Trouble>,
    lines: Vec<String>,
}

impl<'a> Screen<'a> {
    fn new(terminal: &'a Terminal, language: Language) -> Self {
        let set = |name: &&str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let locale = ["LC_ALL", "LC_CTYPE", "LANG"].iter().find_map(set).unwrap_or_default().to_ascii_lowercase();
        let ascii = !(locale.contains("utf-8") || locale.contains("utf8"));
        let course = Course::default();
        Self { terminal, language, ascii, status: None, course, trouble: None, lines: Vec::new() }
    }

    fn take(&mut self, said: Result<Status, AskError>) {
        match said {
            Ok(status) => {
                self.course.add(&status);
                self.status = Some(status);
                self.trouble = None;
            }
            Err(error) => {
                let since_ms = self.trouble.as_ref().map_or_else(now_ms, |trouble| trouble.since_ms);
                self.trouble = Some(Trouble { since_ms, why: error.message(), code: error.code() });
            }
        }
    }

    /// What stands on the terminal is not known any more.
    fn draw_anew(&mut self) -> io::Result<()> {
        self.lines.clear();
        self.draw()
    }

    /// Writes the lines that have changed.
    fn draw(&mut self) -> io::Result<()> {
        let (columns, rows) = Terminal::size();
        let view = View {
            status: self.status.as_ref(),
            course: &self.course,
            trouble: self.trouble.as_ref(),
            now_ms: now_ms(),
            ascii: self.ascii,
        };
        let lines = draw(&view, columns, rows, self.language);
        if self.terminal.write(&changes(&self.lines, &lines))? {
            self.lines = lines;
        }
        Ok(())
    }
}

/// What makes a terminal that shows `before` show `after`. Nothing before: all of it is cleared.
fn changes(before: &[String], after: &[String]) -> String {
    let mut out = String::new();
    if before.is_empty() {
        out.push_str("\x1b[2J");
    }
    for row in 0..before.len().max(after.len()) {
        let (old, new) = (before.get(row), after.get(row));
        if old != new {
            // A line is cleared first: behind its last cell, that cell would be (xterm, "autowrap").
            let _ = write!(out, "\x1b[{};1H\x1b[2K{}", row + 1, new.map_or("", String::as_str));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_lines_that_changed_are_written() {
        let lines = |all: &[&str]| all.iter().map(|line| (*line).to_owned()).collect::<Vec<_>>();
        let (one, two) = (lines(&["a", "b", "c"]), lines(&["a", "x"]));
        assert_eq!(changes(&one, &one), "");
        assert_eq!(changes(&one, &two), "\x1b[2;1H\x1b[2Kx\x1b[3;1H\x1b[2K");
        assert!(changes(&[], &two).starts_with("\x1b[2J\x1b[1;1H"));
    }
}
