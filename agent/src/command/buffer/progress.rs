//! A bar on standard error that shows how far reading has come; only on a terminal.

use std::io::{self, IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

use tidegate::watch::render::size;

/// Time between two pictures: quick enough to look alive.
const EVERY: Duration = Duration::from_millis(100);

/// Characters of the bar.
const WIDTH: u64 = 30;

/// The bar.
#[derive(Debug)]
pub(super) struct Progress {
    on: bool,
    shown: bool,
    last: Instant,
}

impl Progress {
    /// `quiet_output`: nothing is written to the terminal meanwhile. Otherwise there is a bar only if standard output
    /// is no terminal, for it would stand among the answer's lines.
    pub(super) fn new(quiet_output: bool) -> Self {
        let on = io::stderr().is_terminal() && (quiet_output || !io::stdout().is_terminal());
        Self { on, shown: false, last: Instant::now() }
    }

    /// Shows how many of how many bytes have been read.
    pub(super) fn show(&mut self, done: u64, total: u64) {
        if !self.on || (self.shown && self.last.elapsed() < EVERY) {
            return;
        }
        (self.shown, self.last) = (true, Instant::now());
        let _ = write!(io::stderr().lock(), "\r\x1b[K{}", bar(done, total));
        let _ = io::stderr().flush();
    }

    /// Takes it away.
    pub(super) fn clear(&mut self) {
        if std::mem::take(&mut self.shown) {
            let _ = write!(io::stderr().lock(), "\r\x1b[K");
        }
    }
}

fn bar(done: u64, total: u64) -> String {
    let done = done.min(total);
    let share = |of: u64| u64::try_from(u128::from(done) * u128::from(of) / u128::from(total.max(1))).unwrap_or(of);
    let full = share(WIDTH) as usize;
    let (full, empty) = ("#".repeat(full), ".".repeat(WIDTH as usize - full));
    format!("{:3} % [{full}{empty}] {} of {}", share(100), size(done), size(total))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bar_fills_from_left_to_right_and_never_over() {
        assert_eq!(bar(0, 0), format!("  0 % [{}] 0 B of 0 B", ".".repeat(30)));
        assert_eq!(bar(512, 1024), format!(" 50 % [{}{}] 512 B of 1.0 KiB", "#".repeat(15), ".".repeat(15)));
        assert_eq!(bar(9, 3), format!("100 % [{}] 3 B of 3 B", "#".repeat(30)));
        assert!(bar(u64::MAX - 1, u64::MAX).starts_with(" 99 %"));
    }
}
