//! `tidegate status --watch`: a screen that is drawn again each second, until `q` or Ctrl-C.
//!
//! # Constraints
//! - It is read over slow lines: only lines that have changed are written, and the agent is asked once a second at most, never
//!   again before it has answered.
//! - The terminal is left as it was found: at the end, on SIGTERM and SIGHUP, and on a panic, whose message must stay readable.
//! - An agent that does not answer does not end it: since when is shown, and it is asked again.

use std::fmt::Write as _;
use std::io::{self, IsTerminal as _, Read as _, Write as _};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustix::termios::{self, LocalModes, OptionalActions, SpecialCodeIndex, Termios};
use tidegate::clock::now_ms;
use tidegate::language::Language;
use tidegate::message;
use tidegate::watch::Status;
use tidegate::watch::control::{self, AskError};
use tidegate::watch::render::live::{Course, View, draw};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval};

use super::super::Failure;
use super::super::service::Agent;

/// How often the agent is asked.
const EVERY: Duration = Duration::from_secs(1);

/// Columns and rows where the terminal does not say: those of a VT100.
const SIZE: (usize, usize) = (80, 24);

/// Another screen than the shell's, without a cursor; and back (xterm, "Alternate screen buffer"; VT220, DECTCEM).
const ENTER: &str = "\x1b[?1049h\x1b[?25l\x1b[2J";
const LEAVE: &str = "\x1b[?25h\x1b[?1049l";

/// Ctrl-C and Ctrl-D, which come as bytes while the terminal makes no signals of them.
const ENDS: [u8; 4] = [b'q', b'Q', 0x03, 0x04];

/// Shows it.
pub(super) fn run(agent: &Agent, language: Language) -> Result<(), Failure> {
    if !(io::stdin().is_terminal() && io::stdout().is_terminal()) {
        let text =
            message!("--watch draws on a terminal, and this is none: use `tidegate status`, or --json for programs");
        return Err(text.text(language).into());
    }
    let socket = agent.socket()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let terminal = Terminal::take()?;
    let shown = runtime.block_on(watch(socket, language));
    // The terminal is given back first; a question that is still under way is not waited for.
    drop(terminal);
    runtime.shutdown_background();
    shown.map_err(Failure::from)
}

/// The terminal's modes as they were found; given back when dropped.
struct Terminal {
    before: Arc<Mutex<Option<Termios>>>,
}

impl Terminal {
    fn take() -> io::Result<Self> {
        let found = termios::tcgetattr(io::stdin())?;
        let mut modes = found.clone();
        // Keys come one by one, are not shown, and make no signals: Ctrl-C ends it as `q` does.
        modes.local_modes.remove(LocalModes::ICANON | LocalModes::ECHO | LocalModes::ISIG);
        modes.special_codes[SpecialCodeIndex::VMIN] = 1;
        modes.special_codes[SpecialCodeIndex::VTIME] = 0;
        termios::tcsetattr(io::stdin(), OptionalActions::Now, &modes)?;
        let terminal = Self { before: Arc::new(Mutex::new(Some(found))) };
        let of_hook = Arc::clone(&terminal.before);
        let told = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            give_back(&of_hook);
            told(panic);
        }));
        write(ENTER)?;
        Ok(terminal)
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        give_back(&self.before);
    }
}

/// Once: by whoever comes first. A terminal that is gone has nothing to be given back.
fn give_back(before: &Mutex<Option<Termios>>) {
    if let Some(modes) = before.lock().unwrap_or_else(PoisonError::into_inner).take() {
        let _ = write(LEAVE);
        let _ = termios::tcsetattr(io::stdin(), OptionalActions::Now, &modes);
    }
}

fn write(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
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

async fn watch(socket: PathBuf, language: Language) -> io::Result<()> {
    let mut screen = Screen::new(language);
    let mut keys = keys();
    let (mut ended, mut hung_up) = (signal(SignalKind::terminate())?, signal(SignalKind::hangup())?);
    let mut interrupted = signal(SignalKind::interrupt())?;
    let mut resized = signal(SignalKind::window_change())?;
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (answer, mut answers) = mpsc::channel(1);
    let mut asked = false;
    loop {
        tokio::select! {
            key = keys.recv() => match key {
                Some(key) if !ENDS.contains(&key) => {}
                _ => return Ok(()),
            },
            _ = ended.recv() => return Ok(()),
            _ = hung_up.recv() => return Ok(()),
            _ = interrupted.recv() => return Ok(()),
            _ = resized.recv() => {
                screen.forget();
                screen.draw()?;
            }
            _ = ticks.tick() => {
                if !asked {
                    asked = true;
                    let (socket, answer) = (socket.clone(), answer.clone());
                    tokio::task::spawn_blocking(move || {
                        // Who watched has gone.
                        let _ = answer.blocking_send(control::ask(&socket));
                    });
                }
                screen.draw()?;
            }
            Some(said) = answers.recv() => {
                asked = false;
                screen.take(said);
                screen.draw()?;
            }
        }
    }
}

/// What is known, and what stands on the terminal.
struct Screen {
    language: Language,
    ascii: bool,
    status: Option<Status>,
    course: Course,
    trouble: Option<(u64, String)>,
    lines: Vec<String>,
}

impl Screen {
    fn new(language: Language) -> Self {
        let set = |name: &&str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let locale = ["LC_ALL", "LC_CTYPE", "LANG"].iter().find_map(set).unwrap_or_default().to_ascii_lowercase();
        let ascii = !(locale.contains("utf-8") || locale.contains("utf8"));
        Self { language, ascii, status: None, course: Course::default(), trouble: None, lines: Vec::new() }
    }

    fn take(&mut self, said: Result<Status, AskError>) {
        match said {
            Ok(status) => {
                self.course.add(&status);
                self.status = Some(status);
                self.trouble = None;
            }
            Err(error) => {
                let why = error.message().text(self.language);
                let since = self.trouble.as_ref().map_or_else(now_ms, |(since, _)| *since);
                self.trouble = Some((since, why));
            }
        }
    }

    /// What stands on the terminal is not known any more.
    fn forget(&mut self) {
        self.lines.clear();
    }

    /// Writes the lines that have changed.
    fn draw(&mut self) -> io::Result<()> {
        let (columns, rows) = termios::tcgetwinsize(io::stdout()).map_or(SIZE, |size| {
            let (columns, rows) = (usize::from(size.ws_col), usize::from(size.ws_row));
            if columns == 0 || rows == 0 { SIZE } else { (columns, rows) }
        });
        let view = View {
            status: self.status.as_ref(),
            course: &self.course,
            trouble: self.trouble.as_ref().map(|(since, why)| (*since, why.as_str())),
            now_ms: now_ms(),
            ascii: self.ascii,
        };
        let lines = draw(&view, columns, rows, self.language);
        write(&changes(&self.lines, &lines))?;
        self.lines = lines;
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
