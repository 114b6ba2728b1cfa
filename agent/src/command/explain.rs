//! `tidegate explain`: what a code means and what to do, from the program itself, for a gateway has no web.

use std::fmt::Write as _;

use tidegate::code::Code;
use tidegate::language::{Language, Message};
use tidegate::message;

use super::{Failure, print};

/// Which code.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The code, as messages and `tidegate status` show it: TG-102 or 102; without it all codes are listed
    #[arg(value_name = "CODE", value_parser = code)]
    code: Option<Code>,
}

fn code(text: &str) -> Result<Code, Message> {
    Code::parse(text).ok_or_else(|| message!("there is no such code; `tidegate explain` lists all"))
}

/// Prints a code's page, or the codes with their titles.
pub(super) fn run(args: &Args, language: Language) -> Result<(), Failure> {
    match args.code {
        Some(code) => print(code.page(language)),
        None => print(&list(language)),
    }
}

/// Every code with its title, and how to read on.
fn list(language: Language) -> String {
    let mut out = String::new();
    for code in Code::ALL {
        let _ = writeln!(out, "{code}  {}", code.title().text(language));
    }
    let _ = writeln!(out, "\n{}", message!("what to do: tidegate explain CODE").text(language));
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_code_is_listed_in_each_language() {
        for (_, language) in Language::WORDS {
            let list = list(language);
            for code in Code::ALL {
                assert!(list.contains(&format!("{code}  {}\n", code.title().text(language))), "{code}");
            }
        }
    }
}
