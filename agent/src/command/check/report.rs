//! How findings are shown: a line each as they come, or JSON at the end.
//!
//! # JSON
//! ```text
//! {"version":"…","config":"…","judged_by":"…" or null,"gateway":"…" or null,"result":"good|attention|unknown|bad",
//!  "counts":{"good":n,"attention":n,"unknown":n,"bad":n},
//!  "findings":[{"id":"…","what":"…","what_message":{…},"result":"…","said":"…","said_message":{…},
//!               "next":"…","next_message":{…},"code":"TG-…"}, …]}      // next and code where there is one
//! ```
//! `judged_by`: the file whose configuration the machine was judged by: `config`, or what was kept of it. All of it is the same
//! in every language: programs go by `id`, `result` and `code`; texts are English, and beside each stands the message with its
//! values, for who shows it in another language.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use serde_json::json;
use tidegate::language::{Language, Message};
use tidegate::message;

use super::finding::{Finding, Outcome};
use crate::command::{Failure, print};

/// Columns of the word that says how it is, with what separates it.
const COLUMN: usize = 12;

/// What was found so far.
#[derive(Debug)]
pub(super) struct Report {
    language: Language,
    json: bool,
    file: PathBuf,
    judged_by: Option<PathBuf>,
    gateway: Option<String>,
    begun: bool,
    failure: Option<Failure>,
    findings: Vec<Finding>,
}

impl Report {
    pub(super) fn new(language: Language, json: bool) -> Self {
        Self {
            language,
            json,
            file: PathBuf::new(),
            judged_by: None,
            gateway: None,
            begun: false,
            failure: None,
            findings: Vec::new(),
        }
    }

    /// By what the machine is judged.
    pub(super) fn judged_by(&mut self, file: &Path) {
        self.judged_by = Some(file.to_path_buf());
    }

    /// What is examined; shows what was found before that was known.
    pub(super) fn head(&mut self, file: &Path, gateway: Option<&str>) {
        self.file = file.to_path_buf();
        self.gateway = gateway.map(str::to_owned);
        let (version, path) = (env!("CARGO_PKG_VERSION"), file.display());
        let head = if let Some(id) = gateway {
            message!("Tidegate {version}, gateway {id}, {path}", version = version, id = id, path = path)
        } else {
            message!("Tidegate {version}, {path}", version = version, path = path)
        };
        self.show(&(head.text(self.language) + "\n\n"));
        self.begun = true;
        for finding in self.findings.clone() {
            self.show(&line(self.language, &finding));
        }
    }

    /// Takes a finding, and shows it.
    pub(super) fn take(&mut self, finding: Finding) {
        if self.begun {
            self.show(&line(self.language, &finding));
        }
        self.findings.push(finding);
    }

    /// The worst of what was found.
    pub(super) fn worst(&self) -> Outcome {
        self.findings.iter().map(|finding| finding.result).max().unwrap_or(Outcome::Good)
    }

    /// Shows what it comes to.
    ///
    /// # Errors
    /// If something could not be printed.
    pub(super) fn end(&mut self) -> Result<(), Failure> {
        let count = |result| self.findings.iter().filter(|finding| finding.result == result).count();
        let [good, attention, unknown, bad] =
            [Outcome::Good, Outcome::Attention, Outcome::Unknown, Outcome::Bad].map(count);
        if self.json {
            let findings: Vec<_> = self.findings.iter().map(Finding::told).collect();
            let all = json!({
                "version": env!("CARGO_PKG_VERSION"),
                "config": self.file.display().to_string(),
                "judged_by": self.judged_by.as_ref().map(|path| path.display().to_string()),
                "gateway": self.gateway,
                "result": self.worst(),
                "counts": {"good": good, "attention": attention, "unknown": unknown, "bad": bad},
                "findings": findings,
            });
            return print(&(serde_json::to_string_pretty(&all)? + "\n"));
        }
        let sum = message!(
            "{good} good, {attention} to look at, {bad} bad, {unknown} could not be judged",
            good = good,
            attention = attention,
            bad = bad,
            unknown = unknown,
        );
        self.show(&format!("\n{}\n", sum.text(self.language)));
        self.failure.take().map_or(Ok(()), Err)
    }

    fn show(&mut self, text: &str) {
        if !self.json && self.failure.is_none() {
            self.failure = print(text).err();
        }
    }
}

/// A finding as a person sees it: one line, and one more with what to do.
pub(in crate::command) fn line(language: Language, finding: &Finding) -> String {
    let word = word(finding.result).text(language);
    let pad = " ".repeat(COLUMN.saturating_sub(width(&word)).max(1));
    let (what, said) = (finding.what.text(language), finding.said.text(language));
    let mut line = format!("{word}{pad}{what}: {said}\n");
    if let Some(next) = &finding.next {
        let code = finding.code.map_or_else(String::new, |code| format!(" ({code})"));
        let _ = writeln!(line, "{}→ {}{code}", " ".repeat(COLUMN), next.text(language));
    }
    line
}

fn word(result: Outcome) -> Message {
    match result {
        Outcome::Good => message!("good"),
        Outcome::Attention => message!("look at"),
        Outcome::Unknown => message!("not judged"),
        Outcome::Bad => message!("BAD"),
    }
}

/// Columns that a word takes on a terminal: Japanese characters take two (Unicode Standard Annex #11, wide).
fn width(word: &str) -> usize {
    word.chars().map(|character| if character as u32 >= 0x1100 { 2 } else { 1 }).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::check::finding::Id;
    use tidegate::code::Code;

    #[test]
    fn the_worst_finding_is_the_result_and_words_stand_in_columns() {
        let mut report = Report::new(Language::Japanese, false);
        assert_eq!(report.worst(), Outcome::Good);
        let what = || Id::Clock.of(message!("clock"));
        report.findings.push(Finding::good(what(), message!("good")));
        report.findings.push(Finding::bad(what(), message!("good"), Code::Clock, message!("good")));
        report.findings.push(Finding::unknown(what(), message!("good"), None));
        assert_eq!(report.worst(), Outcome::Bad);
        let second = line(report.language, &report.findings[1]);
        assert!(second.contains("TG-401") && second.lines().count() == 2, "{second}");
        let columns =
            |finding: &Finding| line(report.language, finding).find(&message!("clock").text(Language::Japanese));
        assert!(report.findings.iter().all(|finding| columns(finding).is_some()));
        assert_eq!((width("good"), width("良好")), (4, 4));
    }
}
