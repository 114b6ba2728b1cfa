//! `--name value` arguments of a benchmark.

use std::collections::BTreeMap;
use std::str::FromStr;

/// The arguments given.
#[derive(Debug, Default)]
pub struct Arguments(BTreeMap<String, String>);

impl Arguments {
    /// Reads this program's arguments; prints `usage` and ends the program if one is not `--name value` with a name
    /// of `names`.
    #[must_use]
    pub fn read(usage: &str, names: &[&str]) -> Self {
        let mut given = BTreeMap::new();
        let mut arguments = std::env::args().skip(1).filter(|argument| argument != "--bench");
        while let Some(argument) = arguments.next() {
            let name = argument.strip_prefix("--").filter(|name| names.contains(name));
            let (Some(name), Some(value)) = (name, arguments.next()) else {
                eprintln!("{argument} is not known or lacks its value\n{usage}");
                std::process::exit(2);
            };
            given.insert(name.to_owned(), value);
        }
        Self(given)
    }

    /// A value, or what stands for it when it was not given; ends the program if it cannot be read.
    pub fn get<T: FromStr>(&self, name: &str, otherwise: T) -> T {
        match self.0.get(name).map(|text| (text, text.parse())) {
            None => otherwise,
            Some((_, Ok(value))) => value,
            Some((text, Err(_))) => {
                eprintln!("--{name} {text} cannot be read");
                std::process::exit(2);
            }
        }
    }

    /// A text, if it was given.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }
}
