//! The dialogue's terminal: questions, answers, and answers that nobody shall see.
//!
//! # Constraints
//! - Lines are read from the terminal itself, without a buffer of the standard library's: what was typed ahead belongs to the next
//!   question, whichever way that one reads.
//! - A hidden answer may be longer than a terminal's line (4095 bytes, termios(3)) and may be pasted with line breaks in it: while
//!   it is read the terminal hands over each byte, shows none, and Ctrl-C is a byte too, so that the terminal is always put back.

use std::io::{self, Write as _};

use rustix::termios::{LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcsetattr};
use tidegate::language::{Language, Message};
use tidegate::message;

use crate::command::{Coded, Failure};

/// Longest answer in bytes: a secret file's bound.
const LONGEST: usize = tidegate::secret::MAX_FILE as usize;

/// After a line's end, more that comes within so many tenths of a second was pasted with it; nobody types as fast.
const PASTED: u8 = 2;

/// Why there is no answer.
#[derive(Debug)]
pub(super) enum Stop {
    /// `q` or the end of the input.
    Quit,
    /// Ctrl-C while the answer was hidden; else it is a signal.
    Interrupted,
    /// The terminal failed.
    Io(io::Error),
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<Stop> for Failure {
    fn from(stop: Stop) -> Self {
        let (said, source) = match stop {
            Stop::Quit => (message!("stopped; nothing was changed"), None),
            Stop::Interrupted => {
                let stopped = Self::from(Stop::Quit);
                return Self { code: super::INTERRUPTED, ..stopped };
            }
            Stop::Io(error) => (message!("the terminal cannot be used"), Some(error)),
        };
        Coded { text: said, code: None, source }.into()
    }
}

/// A terminal with a person at it.
#[derive(Debug)]
pub(super) struct Terminal {
    language: Language,
    ahead: Vec<u8>,
}

/// The terminal's settings as they were.
struct Restore(Termios);

impl Drop for Restore {
    fn drop(&mut self) {
        // If the terminal is gone, so is what would have to be put back.
        let _ = tcsetattr(io::stdin(), OptionalActions::Now, &self.0);
    }
}

impl Terminal {
    /// The terminal, if standard input and output are one.
    pub(super) fn find(language: Language) -> Option<Self> {
        use std::io::IsTerminal as _;
        (io::stdin().is_terminal() && io::stdout().is_terminal()).then_some(Self { language, ahead: Vec::new() })
    }

    /// Shows a text as it is.
    pub(super) fn show(text: &str) -> Result<(), Stop> {
        let mut out = io::stdout().lock();
        out.write_all(text.as_bytes())?;
        Ok(out.flush()?)
    }

    /// Says something on a line of its own.
    pub(super) fn say(&self, what: &Message) -> Result<(), Stop> {
        Self::show(&format!("{}\n", what.text(self.language)))
    }

    /// Asks for a line; an empty one is the default, and asked again without one.
    pub(super) fn ask(&mut self, question: &Message, default: Option<&str>) -> Result<String, Stop> {
        loop {
            let shown = default.filter(|text| !text.is_empty()).map_or_else(String::new, |text| format!(" [{text}]"));
            Self::show(&format!("{}{shown}: ", question.text(self.language)))?;
            let line = self.line()?;
            match (line.as_str(), default) {
                ("q" | "Q", _) => return Err(Stop::Quit),
                ("", Some(default)) => return Ok(default.to_owned()),
                ("", None) => self.say(&message!("an answer is needed here; q ends, and nothing is changed"))?,
                _ => return Ok(line),
            }
        }
    }

    /// Asks for one of several, by number; hands out its place.
    pub(super) fn choose(&mut self, question: &Message, of: &[Message], default: Option<usize>) -> Result<usize, Stop> {
        self.say(question)?;
        for (number, one) in (1..).zip(of) {
            Self::show(&format!("  {number}  {}\n", one.text(self.language)))?;
        }
        let default = default.map(|at| (at + 1).to_string());
        loop {
            let answer = self.ask(&message!("number"), default.as_deref())?;
            match answer.parse::<usize>() {
                Ok(number) if (1..=of.len()).contains(&number) => return Ok(number - 1),
                _ => self.say(&message!("write a number from 1 to {count}", count = of.len()))?,
            }
        }
    }

    /// Asks yes or no.
    pub(super) fn agree(&mut self, question: &Message, default: bool) -> Result<bool, Stop> {
        loop {
            let answer = self.ask(question, Some(if default { "y" } else { "n" }))?;
            match answer.to_lowercase().as_str() {
                "y" | "yes" | "はい" => return Ok(true),
                "n" | "no" | "いいえ" => return Ok(false),
                _ => self.say(&message!("write y or n"))?,
            }
        }
    }

    /// Asks yes or no after the files were written: whoever stops there has said no.
    pub(super) fn agree_still(&mut self, question: &Message, default: bool) -> Result<bool, Stop> {
        match self.agree(question, default) {
            Err(Stop::Quit) => Ok(false),
            answer => answer,
        }
    }

    /// Asks for what nobody shall see. Empty if `may_be_empty` and nothing was typed.
    pub(super) fn hidden(&mut self, question: &Message, may_be_empty: bool) -> Result<String, Stop> {
        loop {
            let before = Restore(tcgetattr(io::stdin()).map_err(io::Error::from)?);
            let mut quiet = before.0.clone();
            quiet.local_modes.remove(LocalModes::ECHO | LocalModes::ICANON | LocalModes::ISIG | LocalModes::IEXTEN);
            set(&mut quiet, 1, 0)?;
            Self::show(&format!("{} ", question.text(self.language)))?;
            let answer = self.unseen(&mut quiet);
            drop(before);
            Self::show("\n")?;
            let answer = answer?;
            match answer.trim() {
                "q" | "Q" => return Err(Stop::Quit),
                "" if !may_be_empty => {
                    self.say(&message!("an answer is needed here; q ends, and nothing is changed"))?;
                }
                "" => return Ok(String::new()),
                text => {
                    self.say(&message!("received: {count} characters", count = text.chars().count()))?;
                    return Ok(text.to_owned());
                }
            }
        }
    }

    fn unseen(&mut self, quiet: &mut Termios) -> Result<String, Stop> {
        let mut taken: Vec<u8> = Vec::new();
        let mut bytes = std::mem::take(&mut self.ahead);
        loop {
            for byte in bytes.drain(..) {
                match byte {
                    // Ctrl-C; Ctrl-D.
                    3 => return Err(Stop::Interrupted),
                    4 if taken.is_empty() => return Err(Stop::Quit),
                    // Backspace takes a whole character: the bytes that continue one, and that which begins it.
                    8 | 127 => while taken.pop().is_some_and(|byte| byte & 0xc0 == 0x80) {},
                    // Ctrl-U.
                    21 => taken.clear(),
                    b'\r' => taken.push(b'\n'),
                    _ => taken.push(byte),
                }
            }
            if taken.len() > LONGEST {
                return Err(io::Error::new(io::ErrorKind::InvalidInput, message!("the answer is too long")).into());
            }
            let ended = taken.last() == Some(&b'\n');
            if ended {
                set(quiet, 0, PASTED)?;
            }
            bytes = read()?;
            match (bytes.is_empty(), ended) {
                (true, true) => return Ok(String::from_utf8_lossy(&taken).into_owned()),
                (true, false) => return Err(Stop::Quit),
                (false, true) => set(quiet, 1, 0)?,
                (false, false) => {}
            }
        }
    }

    /// A line without what is around it; full-width characters (as a Japanese keyboard writes them) as their plain ones.
    fn line(&mut self) -> Result<String, Stop> {
        loop {
            if let Some(end) = self.ahead.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.ahead.drain(..=end).collect();
                return Ok(plain(String::from_utf8_lossy(&line).trim()));
            }
            let more = read()?;
            if more.is_empty() || self.ahead.len() > LONGEST {
                // Nobody ended the line that the question stands in.
                Self::show("\n")?;
                return Err(Stop::Quit);
            }
            self.ahead.extend(more);
        }
    }
}

fn set(termios: &mut Termios, least: u8, tenths: u8) -> io::Result<()> {
    termios.special_codes[SpecialCodeIndex::VMIN] = least;
    termios.special_codes[SpecialCodeIndex::VTIME] = tenths;
    Ok(tcsetattr(io::stdin(), OptionalActions::Now, termios)?)
}

fn read() -> io::Result<Vec<u8>> {
    let mut bytes = [0; 4096];
    let count = rustix::io::retry_on_intr(|| rustix::io::read(io::stdin(), &mut bytes))?;
    Ok(bytes[..count].to_vec())
}

/// Full-width forms (Unicode, U+FF01 to U+FF5E and U+3000) as the ASCII that they stand for.
pub(super) fn plain(text: &str) -> String {
    let one = |character: char| match character {
        '\u{3000}' => ' ',
        '\u{ff01}'..='\u{ff5e}' => char::from_u32(character as u32 - 0xfee0).unwrap_or(character),
        other => other,
    };
    text.chars().map(one).collect::<String>().trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn full_width_characters_are_taken_for_what_they_mean() {
        assert_eq!(plain(" ｇｗ－１　"), "gw-1");
        assert_eq!(plain("現場１"), "現場1");
    }
}
