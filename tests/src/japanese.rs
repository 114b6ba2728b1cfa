//! Reads what the real binary says under `--lang ja`, and finds the lines that are English.
//!
//! A line is English if two English words stand side by side in it ([`english`]). What is no English there, though it is written
//! in Latin letters, is taken out first: what others wrote (quoted, or a test's own words), commands to type, paths,
//! addresses, keys, options, placeholders; and names that are the same in Japanese.

use std::collections::BTreeSet;
use std::process::{Command, Output, Stdio};

use crate::agent::{Agent, binary};

/// Names of more than one word, and words that stand side by side in Japanese as in English: products, what standards and
/// SORACOM's console call so, units.
const NAMES: &[&str] = &[
    "SORACOM Flux",
    "SORACOM Arc",
    "Unified Endpoint",
    "Incoming Webhook",
    // What people search for.
    "os error",
    // How systemd and the shell name what a program ended with.
    "exit status",
    // Keys of a notice, and commands, side by side in the help.
    "version effective",
    "notice apply",
];

/// What a command begins with that is shown to be typed; it goes on to the first character that is not ASCII, to two spaces, or
/// to the end.
const TYPED: &[&str] =
    &["systemctl ", "journalctl ", "sudo ", "openssl ", "chmod ", "chgrp ", "chown ", "install -d ", "tar -xzf "];

/// What this test says itself, as people and providers do: it is shown as it was said.
const SAID: &[&str] = &[
    "the mast is being painted",
    "the database moves",
    "what was sent",
    "nobody paid",
    "no JSON",
    // The library that reads TOML.
    "unclosed table, expected",
    // The system's resolver, by way of the standard library.
    "failed to lookup address information: Name or service not known",
    "failed to lookup address information: Temporary failure in name resolution",
    // The look-alike of Flux, in its answers.
    "as programmed",
    // The key of the test's office, and the way by which a notice came, as the log keeps it.
    "ops (socket)",
    // What Flux says of itself in its answer to the request that it refuses, and a person's reason that looks like one of
    // Tidegate's own words.
    "refused: bad token; done",
];

/// How a line of evidence goes on behind its time.
const EVIDENCE: &[&str] = &[" JST stance:", " JST tcp:", " JST http "];

/// Two words of a line that are English. `commands`: what `tidegate` can be followed by.
#[must_use]
pub fn english(line: &str, commands: &BTreeSet<String>) -> Option<String> {
    let mut line = line.to_owned();
    for known in SAID.iter().chain(NAMES) {
        line = line.replace(known, "…");
    }
    // Evidence of an outage is shown as the ledger keeps it: it is what is handed to the provider.
    for evidence in EVIDENCE {
        if let Some(at) = line.find(evidence) {
            line.truncate(at);
        }
    }
    for quote in ['`', '"'] {
        // Of an odd number the last one opens nothing.
        let parts: Vec<&str> = line.split(quote).collect();
        let last = parts.len() - 1;
        let kept = parts.iter().enumerate().filter(|(at, _)| at % 2 == 0 || *at == last);
        line = kept.map(|(_, part)| *part).collect::<Vec<_>>().join("…");
    }
    let typed = TYPED.iter().map(|word| (*word).to_owned());
    for begin in typed.chain(commands.iter().map(|command| format!("tidegate {command}"))) {
        while let Some(at) = line.find(&begin) {
            let rest = &line[at..];
            let end = rest.find(|c: char| !c.is_ascii()).unwrap_or(rest.len());
            let end = rest.find("  ").unwrap_or(end).min(end);
            line.replace_range(at..at + end, "…");
        }
    }
    let mut before: Option<&str> = None;
    // A character that is not ASCII ends a word, and a pair.
    for piece in line.split(|c: char| !c.is_ascii()) {
        before = None;
        for word in piece.split([' ', '\t']) {
            // What is listed, or named, does not belong to what stands behind it.
            let ends = word.ends_with([',', ':', ';', '|']);
            let word = word.trim_matches(['(', ')', ',', '.', ':', ';', '!', '?', '\'', '|']);
            if word.is_empty() {
                // Columns stand beside each other without belonging together.
                before = None;
                continue;
            }
            // Whatever has another character in it is a key, a path, an address, an option, a name or a number.
            let plain = word.len() > 1 && word.chars().all(|c| c.is_ascii_alphabetic() || c == '\'');
            match before {
                Some(before) if plain => return Some(format!("{before} {word}")),
                _ => before = (plain && !ends).then_some(word),
            }
        }
    }
    let _ = before;
    None
}

/// What was said in each state, and what of it is English.
#[derive(Debug)]
pub struct Reader {
    commands: BTreeSet<String>,
    wrong: Vec<String>,
}

impl Default for Reader {
    fn default() -> Self {
        Self::new()
    }
}

impl Reader {
    /// Nothing was read yet; it knows the commands by the help.
    #[must_use]
    pub fn new() -> Self {
        let mut commands: BTreeSet<String> = below(&all(&run(&["--help", "--lang", "ja"]))).into_iter().collect();
        commands.insert("help".into());
        assert!(commands.len() > 10, "{commands:?}");
        Self { commands, wrong: Vec::new() }
    }

    /// The help of every command.
    pub fn read_help(&mut self) {
        let (mut paths, mut read) = (vec![Vec::new()], 0);
        while let Some(path) = paths.pop() {
            for help in ["--help", "-h"] {
                let words: Vec<&str> = path.iter().map(String::as_str).chain([help, "--lang", "ja"]).collect();
                let output = run(&words);
                assert!(output.status.success(), "{words:?}: {output:?}");
                let said = all(&output);
                if help == "--help" {
                    paths.extend(below(&said).into_iter().map(|name| [&path[..], &[name]].concat()));
                }
                self.read(&words.join(" "), &said);
                read += 1;
            }
        }
        assert!(read > 60, "{read} pages were read");
    }

    /// Reads what was said; `what` names it in the report.
    pub fn read(&mut self, what: &str, said: &str) {
        assert!(!said.trim().is_empty(), "{what} says nothing");
        let said = said.replace("\u{1b}[1m", "").replace("\u{1b}[0m", "").replace("\u{1b}[4m", "");
        for line in said.lines() {
            if let Some(words) = english(line, &self.commands) {
                self.wrong.push(format!("{what}: {words:?} in: {line}"));
            }
        }
    }

    /// Runs the command under `--lang ja` with a configuration.
    pub fn run(&mut self, state: &str, agent: &Agent, words: &[&str]) -> String {
        let output = agent.command(&[&["--lang", "ja"], words].concat());
        let said = all(&output);
        self.read(&format!("{state}: {}", words.join(" ")), &said);
        said
    }

    /// What a technician looks at, in any state.
    pub fn look(&mut self, state: &str, agent: &Agent) {
        for words in [
            &["check"][..],
            &["check", "--offline"],
            &["status"],
            &["terms"],
            &["notices"],
            &["outages"],
            &["outages", "--verify"],
            &["buffer", "status"],
            &["buffer", "inspect"],
            &["buffer", "verify"],
            &["buffer", "quarantine", "list"],
            &["buffer", "export", "--output", "/dev/null"],
        ] {
            self.run(state, agent, words);
        }
    }

    /// Fails if a line of all that was read is English.
    #[track_caller]
    pub fn finish(self) {
        assert!(self.wrong.is_empty(), "{} lines have English in them\n{}", self.wrong.len(), self.wrong.join("\n"));
    }
}

/// The commands that a help lists.
fn below(help: &str) -> Vec<String> {
    let listed = help.lines().skip_while(|line| *line != "コマンド:").skip(1).take_while(|line| !line.is_empty());
    let names = listed.filter_map(|line| line.split_whitespace().next()).filter(|name| *name != "help");
    names.map(str::to_owned).collect()
}

/// What a command said on both outputs.
#[must_use]
pub fn all(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// Runs the binary without input.
#[must_use]
pub fn run(words: &[&str]) -> Output {
    Command::new(binary()).args(words).stdin(Stdio::null()).output().expect("the binary starts")
}
