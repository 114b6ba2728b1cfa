//! The demo's live line: redrawn in place on a terminal, a plain line now and then anywhere else.

use std::io::{self, IsTerminal as _, Write};
use std::time::{Duration, Instant};

use tidegate::language::{IntoValue, Language, Message};
use tidegate::message;

/// How often the line is redrawn on a terminal.
pub(super) const REDRAW: Duration = Duration::from_millis(100);

/// How often a plain line is written.
const PLAIN: Duration = Duration::from_secs(1);

/// What the line shows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Figures {
    /// Publishes acknowledged to devices.
    pub(super) collected: u64,
    /// Records committed.
    pub(super) on_flash: u64,
    /// Different records the endpoint has.
    pub(super) delivered: u64,
    /// Records that wait on flash.
    pub(super) waiting: u64,
    /// Whether the endpoint is up.
    pub(super) endpoint_up: bool,
}

/// Writes the line. A reader that went away (a closed pipe) does not end the demo: its comparison is what counts.
#[derive(Debug)]
pub(super) struct Display<W> {
    out: W,
    terminal: bool,
    language: Language,
    begun: Instant,
    last_plain: Option<Instant>,
}

impl Display<io::Stdout> {
    /// On standard output.
    pub(super) fn stdout(now: Instant, language: Language) -> Self {
        let out = io::stdout();
        let terminal = out.is_terminal();
        Self::new(out, terminal, now, language)
    }
}

impl<W: Write> Display<W> {
    pub(super) fn new(out: W, terminal: bool, now: Instant, language: Language) -> Self {
        Self { out, terminal, language, begun: now, last_plain: None }
    }

    /// Shows the figures, if it is time to.
    pub(super) fn show(&mut self, figures: &Figures, now: Instant) {
        let line = line(figures, now.saturating_duration_since(self.begun)).text(self.language);
        if self.terminal {
            let _ = write!(self.out, "\r\x1b[K{line}");
        } else if self.last_plain.is_none_or(|last| now.saturating_duration_since(last) >= PLAIN) {
            self.last_plain = Some(now);
            let _ = writeln!(self.out, "{line}");
        }
        let _ = self.out.flush();
    }

    /// Writes a line of text that stays, the present figures before it.
    pub(super) fn say(&mut self, text: impl IntoValue) {
        let text = text.into_value().text(self.language);
        let clear = if self.terminal { "\r\x1b[K" } else { "" };
        let _ = writeln!(self.out, "{clear}{text}");
        let _ = self.out.flush();
    }

    /// Leaves what is shown standing, so that the shell's next line is one of its own.
    pub(super) fn leave(&mut self) {
        if self.terminal {
            let _ = writeln!(self.out);
        }
    }

    /// Shows the figures and leaves them standing.
    pub(super) fn keep(&mut self, figures: &Figures, now: Instant) {
        let line = line(figures, now.saturating_duration_since(self.begun));
        self.say(line);
    }
}

fn line(figures: &Figures, elapsed: Duration) -> Message {
    let endpoint = if figures.endpoint_up { message!("up") } else { message!("DOWN") };
    let count = |count: u64| format!("{count:>4}");
    // 79 columns: a line that a terminal of 80 breaks could not be redrawn in place.
    message!(
        "{time} s  collected {collected}  on flash {stored}  delivered {delivered}  waiting {waiting}  Flux {endpoint}",
        time = format!("{:5.1}", elapsed.as_secs_f64()),
        collected = count(figures.collected),
        stored = count(figures.on_flash),
        delivered = count(figures.delivered),
        waiting = count(figures.waiting),
        endpoint = endpoint
    )
}

#[cfg(test)]
mod tests {
    use tidegate::language::sheet::cells;

    use super::*;

    fn shown(terminal: bool) -> String {
        let begun = Instant::now();
        let mut out = Vec::new();
        let mut display = Display::new(&mut out, terminal, begun, Language::English);
        for tenth in 0..=20 {
            let figures = Figures { collected: tenth, endpoint_up: true, ..Figures::default() };
            display.show(&figures, begun + REDRAW * u32::try_from(tenth).expect("it is small"));
        }
        display.say("done");
        String::from_utf8(out).expect("the line is UTF-8")
    }

    #[test]
    fn a_terminal_sees_one_line_redrawn() {
        let text = shown(true);
        assert_eq!(text.matches("\r\x1b[K").count(), 22);
        assert_eq!(text.matches('\n').count(), 1);
        assert!(text.ends_with("\r\x1b[Kdone\n"));
    }

    #[test]
    fn a_line_that_is_left_stands_alone_on_a_terminal() {
        for terminal in [true, false] {
            let mut out = Vec::new();
            let mut display = Display::new(&mut out, terminal, Instant::now(), Language::English);
            display.show(&Figures { endpoint_up: true, ..Figures::default() }, Instant::now());
            display.leave();
            let text = String::from_utf8(out).expect("the line is UTF-8");
            assert!(text.ends_with("Flux up\n") && text.matches('\n').count() == 1, "{text:?}");
        }
    }

    #[test]
    fn a_line_fits_a_terminal_of_eighty_columns() {
        let figures = Figures { collected: 1200, on_flash: 1200, delivered: 1200, waiting: 1200, endpoint_up: false };
        let line = line(&figures, Duration::from_millis(100_400));
        assert_eq!(cells(&line.text(Language::English)), 79);
        assert!(cells(&line.text(Language::Japanese)) <= 79, "{}", line.text(Language::Japanese));
    }

    #[test]
    fn a_pipe_sees_a_plain_line_each_second() {
        let text = shown(false);
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines.len(), 4, "{text}");
        assert!(lines[1].starts_with("  1.0 s  collected   10  on flash    0"), "{text}");
        assert!(!text.contains(['\r', '\x1b']));
    }
}
