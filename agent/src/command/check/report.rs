//! How findings are shown: a line each as they come, or JSON at the end.
//!
//! # JSON
//! ```text
//! {"version":"…","config":"…","gateway":"…" or null,"result":"good|attention|unknown|bad",
//!  "counts":{"good":n,"attention":n,"unknown":n,"bad":n},
//!  "findings":[{"what":"…","result":"…","said":"…","next":"…","code":"TG-…"}, …]}      // next and code where there is one
//! ```
//! Texts are in the language asked for; programs go by `result` and `code`.

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
    gateway: Option<String>,
    begun: bool,
    failure: Option<Failure>,
    findings: Vec<Finding>,
}

impl Report {
    pub(super) fn new(language: Language, json: bool) -> Self {
        Self { language, json, file: PathBuf::new(), gateway: None, begun: false, failure: None, findings: Vec::new() }
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
            self.show(&self.line(&finding));
        }
    }

    /// Takes a finding, and shows it.
    pub(super) fn take(&mut self, finding: Finding) {
        if self.begun {
            self.show(&self.line(&finding));
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
            let findings: Vec<_> = self.findings.iter().map(|finding| finding.told(self.language)).collect();
            let all = json!({
                "version": env!("CARGO_PKG_VERSION"),
                "config": self.file.display().to_string(),
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

    fn line(&self, finding: &Finding) -> String {
        let word = word(finding.result).text(self.language);
        let pad = " ".repeat(COLUMN.saturating_sub(width(&word)).max(1));
        let (what, said) = (finding.what.text(self.language), finding.said.text(self.language));
        let mut line = format!("{word}{pad}{what}: {said}\n");
        if let Some(next) = &finding.next {
            let code = finding.code.map_or_else(String::new, |code| format!(" ({code})"));
            let _ = writeln!(line, "{}→ {}{code}", " ".repeat(COLUMN), next.text(self.language));
        }
        line
    }
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
    use tidegate::code::Code;

    #[test]
    fn the_worst_finding_is_the_result_and_words_stand_in_columns() {
        let mut report = Report::new(Language::Japanese, false);
        assert_eq!(report.worst(), Outcome::Good);
        let what = || message!("clock");
        report.findings.push(Finding::good(what(), message!("good")));
        report.findings.push(Finding::bad(what(), message!("good"), Code::Clock, message!("good")));
        report.findings.push(Finding::unknown(what(), message!("good"), None));
        assert_eq!(report.worst(), Outcome::Bad);
        let line = report.line(&report.findings[1]);
        assert!(line.contains("TG-401") && line.lines().count() == 2, "{line}");
        let columns = |finding: &Finding| report.line(finding).find(&what().text(Language::Japanese));
        assert!(report.findings.iter().all(|finding| columns(finding).is_some()));
        assert_eq!((width("good"), width("良好")), (4, 4));
    }
}
