//! What `tidegate check --json` said.

use std::process::{Command, Output};

use serde_json::Value;

use crate::agent::{Setup, binary};

/// What came of a check.
#[derive(Debug)]
pub struct Checked {
    /// Its exit code.
    pub code: i32,
    /// What it printed as JSON.
    pub all: Value,
    /// All that it printed.
    pub text: String,
}

impl Checked {
    /// Reads what it printed.
    ///
    /// # Panics
    /// If that is no JSON, or it was killed.
    #[must_use]
    pub fn of(output: &Output) -> Self {
        let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        let all = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("no JSON: {error}\n{text}"));
        Self { code: output.status.code().expect("it ended by itself"), all, text }
    }

    fn findings(&self) -> &[Value] {
        self.all["findings"].as_array().expect("findings")
    }

    /// The findings of what is called so: result, code, what was said.
    #[must_use]
    pub fn about(&self, what: &str) -> Vec<(String, String, String)> {
        let text = |finding: &Value, key: &str| finding[key].as_str().unwrap_or_default().to_owned();
        let named = self.findings().iter().filter(|finding| text(finding, "what").starts_with(what));
        named.map(|finding| (text(finding, "result"), text(finding, "code"), text(finding, "said"))).collect()
    }

    /// The first finding of this `id`.
    #[must_use]
    pub fn by_id(&self, id: &str) -> Option<&Value> {
        self.findings().iter().find(|finding| finding["id"] == id)
    }

    /// What to do next, all of it.
    #[must_use]
    pub fn steps(&self) -> Vec<&str> {
        self.findings().iter().filter_map(|finding| finding["next"].as_str()).collect()
    }

    /// The one finding of what is called so has this result and this code.
    #[track_caller]
    pub fn assert(&self, what: &str, result: &str, code: &str) {
        let found = self.about(what);
        let one = found.len() == 1 && found[0].0 == result && found[0].1 == code;
        assert!(one, "{what} should be {result} {code}, and is {found:?}\n{}", self.text);
    }
}

/// `tidegate check` of this configuration, which is written first.
///
/// # Panics
/// If the binary does not start.
#[must_use]
pub fn run(setup: &Setup, more: &[&str]) -> Output {
    let config = setup.write();
    let mut command = Command::new(binary());
    command.arg("check").arg("--config").arg(config).args(more).env("LC_ALL", "C").output().expect("the binary starts")
}

/// The same as JSON.
#[must_use]
pub fn check(setup: &Setup, more: &[&str]) -> Checked {
    Checked::of(&run(setup, &[&["--json"], more].concat()))
}
