//! The terminal that `--watch` draws on: taken, given back as it was found, and given back for a while.
//!
//! # Constraints
//! - Whoever comes next finds the shell's screen, a cursor and the modes that were there: at the end, after a signal, while this is
//!   stopped, and on a panic, whose message must stay readable.
//! - Nothing is written while the terminal is not taken: it is the shell's then.
//! - This is stopped only where somebody can continue it. The kernel does not stop a process of an orphaned process group for
//!   SIGTSTP (POSIX.1, 2.4.3 "Signal Actions") for that reason; a process that handles the signal must look itself.

use std::io::{self, IsTerminal as _, Write as _};
use std::sync::{Arc, Mutex, PoisonError};

use rustix::process::{Signal, getpid, kill_current_process_group, kill_process};
use rustix::termios::{self, LocalModes, OptionalActions, SpecialCodeIndex, Termios};

/// Columns and rows where the terminal does not say: those of a VT100.
const SIZE: (usize, usize) = (80, 24);

/// Another screen than the shell's, without a cursor; and back (xterm, "Alternate screen buffer"; VT220, DECTCEM).
const ENTER: &str = "\x1b[?1049h\x1b[?25l\x1b[2J";
const LEAVE: &str = "\x1b[?25h\x1b[?1049l";

/// Processes of this one's group above it that are looked at: a shell and `sudo` are two.
const ABOVE: usize = 16;

/// Whether standard input and output are a terminal.
pub(super) fn is_there() -> bool {
    io::stdin().is_terminal() && io::stdout().is_terminal()
}

/// Whether it moves its cursor, by what its name says (term(7)).
pub(super) fn can_draw() -> bool {
    std::env::var_os("TERM").is_some_and(|name| !name.is_empty() && name != "dumb")
}

/// The terminal, while it is taken; given back when dropped.
#[derive(Debug)]
pub(super) struct Terminal {
    /// The modes as they were found; `None` while it is not taken.
    before: Arc<Mutex<Option<Termios>>>,
}

impl Terminal {
    /// Takes it, and has a panic give it back.
    pub(super) fn take() -> io::Result<Self> {
        let terminal = Self { before: Arc::new(Mutex::new(None)) };
        let of_hook = Arc::clone(&terminal.before);
        let told = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            give_back(&of_hook);
            told(panic);
        }));
        terminal.take_again()?;
        Ok(terminal)
    }

    /// Takes it after it was given back, or after somebody else had it without this knowing.
    ///
    /// In the background this waits: the system stops whoever sets a terminal's modes there.
    pub(super) fn take_again(&self) -> io::Result<()> {
        // Whether it is taken or not: what stopped this by force has perhaps put the modes back.
        let kept = self.lock().take();
        let found = match kept {
            Some(kept) => kept,
            None => termios::tcgetattr(io::stdin())?,
        };
        let mut modes = found.clone();
        // Keys come one by one, are not shown, and make no signals: Ctrl-C ends it as `q` does.
        modes.local_modes.remove(LocalModes::ICANON | LocalModes::ECHO | LocalModes::ISIG);
        modes.special_codes[SpecialCodeIndex::VMIN] = 1;
        modes.special_codes[SpecialCodeIndex::VTIME] = 0;
        termios::tcsetattr(io::stdin(), OptionalActions::Now, &modes)?;
        *self.lock() = Some(found);
        write(ENTER)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Termios>> {
        self.before.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Columns and rows.
    pub(super) fn size() -> (usize, usize) {
        termios::tcgetwinsize(io::stdout()).map_or(SIZE, |size| {
            let (columns, rows) = (usize::from(size.ws_col), usize::from(size.ws_row));
            if columns == 0 || rows == 0 { SIZE } else { (columns, rows) }
        })
    }

    /// Writes, if it is taken; says whether it is.
    pub(super) fn write(&self, text: &str) -> io::Result<bool> {
        let taken = self.lock();
        if taken.is_some() {
            write(text)?;
        }
        Ok(taken.is_some())
    }

    /// Has the whole job stopped, a shell or `sudo` in it too, as the terminal's own Ctrl-Z would.
    pub(super) fn ask_to_stop(&self) -> io::Result<()> {
        if can_be_continued() {
            give_back(&self.before);
            // This is one of the group: its own turn comes with the signal.
            kill_current_process_group(Signal::TSTP)?;
        }
        Ok(())
    }

    /// Gives it back and stops; returns when continued. It is not taken then.
    pub(super) fn stop(&self) -> io::Result<()> {
        if can_be_continued() {
            give_back(&self.before);
            kill_process(getpid(), Signal::STOP)?;
        }
        Ok(())
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

/// Whether the nearest process above that is not of this process group is of this session: a shell with job control.
fn can_be_continued() -> bool {
    let Some(own) = Place::of("self") else { return false };
    let mut above = own.parent;
    for _ in 0..ABOVE {
        let Some(place) = Place::of(&above.to_string()) else { return false };
        if place.session != own.session {
            return false;
        }
        if place.group != own.group {
            return true;
        }
        above = place.parent;
    }
    false
}

/// Where a process stands among the others. Zero is what lies outside this process's namespace (`pid_namespaces(7)`), as the session of
/// what a container's manager started does; it is a number here and no [`Pid`](rustix::process::Pid), which cannot be zero.
#[derive(Debug, PartialEq, Eq)]
struct Place {
    parent: u32,
    group: u32,
    session: u32,
}

impl Place {
    /// Of a process by its folder in `/proc`, `self` or an id: all from one `/proc`, which counts by one namespace
    /// (`proc_pid_stat(5)`, fields 4 to 6; the name before them may have spaces and brackets in it). `None` if there is none.
    fn of(process: &str) -> Option<Self> {
        let text = std::fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
        let mut fields =
            text.rsplit_once(')')?.1.split_ascii_whitespace().skip(1).map_while(|field| field.parse().ok());
        Some(Self { parent: fields.next()?, group: fields.next()?, session: fields.next()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Set for the process that panics.
    const CHILD: &str = "TIDEGATE_TEST_PANICS_ON_A_TERMINAL";

    #[test]
    fn the_place_of_a_process_is_what_the_kernel_says() {
        let id = |pid: rustix::process::Pid| pid.as_raw_nonzero().get().unsigned_abs();
        let own = Place::of("self").expect("there is a /proc");
        assert_eq!(own.parent, rustix::process::getppid().map_or(0, id));
        assert_eq!(own.group, id(rustix::process::getpgrp()));
        assert_eq!(Place::of(&std::process::id().to_string()), Some(own));
        assert_eq!(Place::of("0"), None);
    }

    #[test]
    fn a_panic_is_told_on_a_terminal_that_was_given_back() {
        use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
        use std::fs::File;
        if std::env::var_os(CHILD).is_some() {
            let _terminal = Terminal::take().expect("a terminal");
            panic!("the panic that was asked for");
        }
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a pseudo-terminal");
        grantpt(&master).and_then(|()| unlockpt(&master)).expect("its other end");
        let name = ptsname(&master, Vec::new()).expect("its name").into_string().expect("text");
        let open = || File::options().read(true).write(true).open(&name).expect("the other end");
        let slave = open();
        let modes = || format!("{:?}", termios::tcgetattr(&slave).expect("a terminal"));
        let before = modes();
        let name = "a_panic_is_told_on_a_terminal_that_was_given_back";
        let status = std::process::Command::new(std::env::current_exe().expect("this program"))
            .args(["--nocapture", name])
            .env(CHILD, "1")
            .stdin(open())
            .stdout(open())
            .stderr(open())
            .status()
            .expect("it starts");
        assert!(!status.success());
        assert_eq!(modes(), before);
        rustix::io::ioctl_fionbio(&master, true).expect("not blocking");
        let (mut all, mut bytes) = (String::new(), [0; 4096]);
        while let Ok(count @ 1..) = rustix::io::read(&master, &mut bytes) {
            all += &String::from_utf8_lossy(&bytes[..count]);
        }
        let (_, after) = all.split_once(ENTER).expect("it was taken");
        let (_, after) = after.split_once(LEAVE).expect("it was given back");
        assert!(after.contains("the panic that was asked for") && !after.contains("\x1b[?"), "{after:?}");
    }
}
