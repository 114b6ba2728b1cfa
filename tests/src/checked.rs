//! What came of `tidegate check --json`.

use std::process::{Command, Output};

use serde_json::Value;

use crate::agent::{Setup, binary};

/// What came of a check.
#[derive(Debug)]
pub struct Checked {
    /// The exit code.
    pub code: i32,
    /// All of it.
    pub all: Value,
    /// As it was printed, with what stands in standard error.
    pub text: String,
}

impl Checked {
    /// Reads what was printed.
    #[track_caller]
    #[must_use]
    pub fn of(output: &Output) -> Self {
        let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        let all = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("no JSON: {error}\n{text}"));
        Self { code: output.status.code().expect("it ended by itself"), all, text }
    }

    /// Checks what was set up, in English.
    #[track_caller]
    #[must_use]
    pub fn setup(setup: &Setup) -> Self {
        let config = setup.write();
        let mut command = Command::new(binary());
        command.args(["check", "--json", "--config"]).arg(config).env("LC_ALL", "C");
        Self::of(&command.output().expect("the binary starts"))
    }

    /// The findings of what is called so: result, code, what was said, what to do.
    #[must_use]
    pub fn about(&self, what: &str) -> Vec<[String; 4]> {
        let findings = self.all["findings"].as_array().expect("findings");
        let text = |finding: &Value, key: &str| finding[key].as_str().unwrap_or_default().to_owned();
        let of_it = findings.iter().filter(|finding| text(finding, "what").starts_with(what));
        of_it.map(|finding| ["result", "code", "said", "next"].map(|key| text(finding, key))).collect()
    }

    /// The one finding of what is called so has this result and this code; hands out what was said, and what to do.
    #[track_caller]
    pub fn assert(&self, what: &str, result: &str, code: &str) -> [String; 2] {
        let mut found = self.about(what);
        let one = found.len() == 1 && found[0][0] == result && found[0][1] == code;
        assert!(one, "{what} should be {result} {code}, and is {found:?}\n{}", self.text);
        let [_, _, said, next] = found.remove(0);
        [said, next]
    }
}
