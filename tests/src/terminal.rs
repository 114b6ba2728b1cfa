//! A terminal with a program in front of it: a pseudo-terminal, and what an xterm would show of what is written to it.
//!
//! # Constraints
//! Only what the agent's commands write is understood: text, line ends, and the control sequences for the other screen
//! (`?1049`), the cursor (`?25`), its place (`H`) and clearing (`2J`, `2K`). Anything else fails the test, for it would look on a
//! real terminal as nobody meant it.

use std::fs::File;
use std::os::fd::{AsFd as _, OwnedFd};
use std::process::{Child, Command, ExitStatus};
use std::sync::{Arc, Mutex};

use rustix::fs::{Mode, OFlags};
use rustix::process::{Pid, Signal};
use rustix::termios::{Winsize, tcgetattr, tcgetpgrp, tcsetwinsize};

use crate::{tools, wait};

/// What stands on the glass.
#[derive(Debug, Default, Clone)]
struct Glass {
    rows: usize,
    columns: usize,
    /// The shell's screen and the other one.
    main: Vec<String>,
    other: Vec<String>,
    is_other: bool,
    hides_cursor: bool,
    row: usize,
    /// All that was written.
    written: String,
    /// A control sequence that has not ended.
    open: Option<String>,
    /// What no terminal should have been told.
    wrong: Vec<String>,
}

impl Glass {
    fn take(&mut self, text: &str) {
        self.written += text;
        for character in text.chars() {
            match (self.open.take(), character) {
                (None, '\x1b') => self.open = Some(String::new()),
                (None, character) => self.put(character),
                (Some(open), '[') if open.is_empty() => self.open = Some("[".into()),
                (Some(mut open), character) => {
                    open.push(character);
                    if character.is_ascii_alphabetic() {
                        self.obey(&open);
                    } else {
                        self.open = Some(open);
                    }
                }
            }
        }
    }

    fn lines(&mut self) -> &mut Vec<String> {
        if self.is_other { &mut self.other } else { &mut self.main }
    }

    fn put(&mut self, character: char) {
        let row = self.row;
        match character {
            '\r' => {}
            '\n' => self.row += 1,
            character => {
                let lines = self.lines();
                lines.resize(lines.len().max(row + 1), String::new());
                lines[row].push(character);
            }
        }
        let (is_other, rows, columns) = (self.is_other, self.rows, self.columns);
        let line = self.lines().get(row).map(|line| tidegate::language::sheet::cells(line));
        if is_other && (self.row >= rows || line.is_some_and(|cells| cells > columns)) {
            self.wrong.push(format!("row {} of {rows}, {line:?} cells of {columns}", self.row + 1));
        }
    }

    fn obey(&mut self, sequence: &str) {
        match sequence {
            "[?1049h" => (self.is_other, self.row, self.other) = (true, 0, Vec::new()),
            "[?1049l" => (self.is_other, self.row) = (false, self.main.len()),
            "[?25l" => self.hides_cursor = true,
            "[?25h" => self.hides_cursor = false,
            "[2J" => self.lines().clear(),
            "[2K" => {
                let row = self.row;
                if let Some(line) = self.lines().get_mut(row) {
                    line.clear();
                }
            }
            other => match other.strip_prefix('[').and_then(|rest| rest.strip_suffix(";1H")).map(str::parse::<usize>) {
                Some(Ok(row @ 1..)) if row <= self.rows => self.row = row - 1,
                _ => self.wrong.push(format!("{other:?} on {} rows", self.rows)),
            },
        }
    }
}

/// A terminal.
#[derive(Debug)]
pub struct Terminal {
    master: Option<OwnedFd>,
    /// Kept open, so that the terminal's modes can be read when nobody else has it open.
    slave: Option<File>,
    child: Child,
    glass: Arc<Mutex<Glass>>,
    before: String,
}

impl Terminal {
    /// A terminal of this size, with this command in front of it as the leader of a session of its own. Its environment is
    /// what was set for it, nothing else.
    #[track_caller]
    pub fn start(rows: u16, columns: u16, command: &Command) -> Self {
        use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).expect("a pseudo-terminal");
        grantpt(&master).and_then(|()| unlockpt(&master)).expect("its other end");
        let name = ptsname(&master, Vec::new()).expect("its name").into_string().expect("text");
        // `setsid` makes it the terminal of the new session; it must not become this test's.
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
        let open = || File::from(rustix::fs::open(&name, flags, Mode::empty()).expect("the other end"));
        let slave = open();
        tcsetwinsize(&slave, size(rows, columns)).expect("a size");
        let before = modes(&slave);
        // util-linux's: Ctrl-C is a signal to the session that has the terminal.
        let mut with = Command::new(tools::find("setsid", "util-linux"));
        with.arg("--ctty").arg(command.get_program()).args(command.get_args());
        // What is told of a command's environment does not tell whether it was cleared before.
        with.env_clear().envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
        let child = with.stdin(open()).stdout(open()).stderr(open()).spawn().expect("setsid starts");
        let glass = Glass { rows: rows.into(), columns: columns.into(), ..Glass::default() };
        let glass = Arc::new(Mutex::new(glass));
        let (of_thread, reading) = (Arc::clone(&glass), master.try_clone().expect("another"));
        std::thread::spawn(move || {
            rustix::io::ioctl_fionbio(&reading, true).expect("not blocking");
            let mut bytes = Vec::new();
            let mut part = [0; 4096];
            // The test's own end closes when it is told that the terminal vanishes: nobody else holds `glass` then.
            while Arc::strong_count(&of_thread) > 1 {
                match rustix::io::read(&reading, &mut part) {
                    Ok(count @ 1..) => bytes.extend_from_slice(&part[..count]),
                    Err(rustix::io::Errno::AGAIN) => {
                        let mut one = [rustix::event::PollFd::new(&reading, rustix::event::PollFlags::IN)];
                        let tick = rustix::event::Timespec { tv_sec: 0, tv_nsec: 10_000_000 };
                        // A tick without anything to read is looked after above.
                        let _ = rustix::event::poll(&mut one, Some(&tick));
                    }
                    _ => return,
                }
                // A character may be cut in two.
                let whole = match std::str::from_utf8(&bytes) {
                    Ok(_) => bytes.len(),
                    Err(error) => error.valid_up_to(),
                };
                let text: Vec<u8> = bytes.drain(..whole).collect();
                of_thread.lock().expect("no thread panicked").take(&String::from_utf8_lossy(&text));
            }
        });
        Self { master: Some(master), slave: Some(slave), child, glass, before }
    }

    fn glass(&self) -> Glass {
        self.glass.lock().expect("no thread panicked").clone()
    }

    /// The lines that stand on it.
    #[must_use]
    pub fn shown(&self) -> Vec<String> {
        let mut glass = self.glass();
        std::mem::take(glass.lines())
    }

    /// All bytes that were written to it.
    #[must_use]
    pub fn written(&self) -> String {
        self.glass().written
    }

    /// Waits until a line that stands on it has this text.
    #[track_caller]
    pub fn wait_for(&self, text: &str) {
        let there = || self.shown().iter().any(|line| line.contains(text));
        wait::until_or_tell(&format!("{text:?} is shown"), wait::BOUND, there, || self.shown().join("\n"));
    }

    /// Waits until nothing that stands on it has this text.
    #[track_caller]
    pub fn wait_for_end_of(&self, text: &str) {
        let gone = || !self.shown().iter().any(|line| line.contains(text));
        wait::until_or_tell(&format!("{text:?} is gone"), wait::BOUND, gone, || self.shown().join("\n"));
    }

    /// Types.
    #[track_caller]
    pub fn press(&self, keys: &str) {
        let master = self.master.as_ref().expect("it has not vanished");
        rustix::io::write(master, keys.as_bytes()).expect("it takes keys");
    }

    /// Gives it another size, as somebody who pulls at the corner of the window.
    #[track_caller]
    pub fn resize(&self, rows: u16, columns: u16) {
        let mut glass = self.glass.lock().expect("no thread panicked");
        (glass.rows, glass.columns) = (rows.into(), columns.into());
        // An xterm keeps what still fits; all of it is to be drawn anew.
        glass.other = vec!["left from before".into(); usize::from(rows)];
        drop(glass);
        let master = self.master.as_ref().expect("it has not vanished");
        tcsetwinsize(master, size(rows, columns)).expect("a size");
    }

    /// The process group in front, whose leader is the job that a shell runs.
    #[track_caller]
    pub fn foreground(&self) -> Pid {
        tcgetpgrp(self.master.as_ref().expect("it has not vanished").as_fd()).expect("somebody is in front")
    }

    /// Sends a signal to the command itself.
    pub fn signal(&self, signal: Signal) {
        tools::signal(&self.child, signal);
    }

    /// Pulls the plug: the terminal is not there any more.
    #[track_caller]
    pub fn vanish(&mut self) {
        (self.master, self.slave) = (None, None);
        // The thread that reads has the last end.
        self.glass = Arc::default();
    }

    /// Waits for the command's end.
    #[track_caller]
    pub fn wait_for_end(&mut self) -> ExitStatus {
        tools::wait_for_end(&mut self.child, "the command", wait::BOUND)
    }

    /// That whoever comes next finds it as it was found: the shell's screen, the cursor, the modes.
    #[track_caller]
    pub fn assert_given_back(&self) {
        wait::until_or_tell(
            "the terminal is given back",
            wait::BOUND,
            || self.is_given_back(),
            || {
                let glass = self.glass();
                format!("{glass:#?}\nbefore {}\nnow {}", self.before, self.modes())
            },
        );
        self.assert_drawn_well();
    }

    /// Whether the shell's screen, the cursor and the modes are as they were found.
    #[must_use]
    pub fn is_given_back(&self) -> bool {
        let glass = self.glass();
        !glass.is_other && !glass.hides_cursor && self.modes() == self.before
    }

    /// That nothing was written beyond its edges, and no control sequence that it would not understand.
    #[track_caller]
    pub fn assert_drawn_well(&self) {
        let glass = self.glass();
        assert!(glass.wrong.is_empty(), "{:#?}\n{:?}", glass.wrong, glass.written);
    }

    fn modes(&self) -> String {
        self.slave.as_ref().map_or_else(String::new, modes)
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // It may have ended by itself. One that is stopped ends by no other signal.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn size(rows: u16, columns: u16) -> Winsize {
    Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 }
}

fn modes(slave: &File) -> String {
    format!("{:?}", tcgetattr(slave).expect("a terminal"))
}
