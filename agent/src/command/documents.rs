//! Holds the documents that a person reads to the command line: what they tell a technician to type must exist.

use std::path::Path;

use tidegate::code::Code;
use tidegate::language::Language;

/// What a document tells to type that begins with `tidegate`: in backquotes, and after the prompt in blocks.
fn commands(text: &str) -> Vec<&str> {
    let mut found = Vec::new();
    for (at, part) in text.split("```").enumerate() {
        if at % 2 == 0 {
            found.extend(part.split('`').skip(1).step_by(2));
        } else {
            found.extend(part.lines().filter_map(|line| line.strip_prefix("$ ")));
        }
    }
    found
        .into_iter()
        .map(|line| line.strip_prefix("sudo ").unwrap_or(line))
        .filter(|line| *line == "tidegate" || line.starts_with("tidegate "))
        .map(|line| line.split([';', '|', '>', '#', '&']).next().unwrap_or_default().trim())
        .collect()
}

/// What of a command line does not exist: a subcommand or an option. Values are not judged.
fn unknown(line: &str) -> Option<String> {
    let mut command = super::definition();
    command.build();
    let mut command = &command;
    for word in line.split_whitespace().skip(1) {
        let word = word.trim_matches(['[', ']']);
        if let Some(option) = word.strip_prefix("--") {
            let known = option.is_empty()
                || matches!(option, "version" | "help")
                || command.get_arguments().any(|argument| argument.get_long() == Some(option));
            if !known {
                return Some(word.to_owned());
            }
        } else if let Some(sub) = command.find_subcommand(word) {
            command = sub;
        } else if command.has_subcommands() && word != "…" {
            return Some(word.to_owned());
        }
    }
    None
}

fn judge(name: &str, text: &str) -> usize {
    let commands = commands(text);
    for line in &commands {
        assert_eq!(unknown(line), None, "{name} tells to type {line:?}");
    }
    commands.len()
}

#[test]
fn the_pages_of_the_codes_name_only_commands_that_exist() {
    let mut named = 0;
    for code in Code::ALL {
        for (_, language) in Language::WORDS {
            named += judge(&format!("the page of {code} in {language:?}"), code.page(language));
        }
    }
    assert!(named > 200, "only {named} commands were found in the pages");
}

#[test]
fn the_readmes_name_only_commands_that_exist() {
    for name in ["README.md", "README.ja.md", "docs/errors/README.md", "docs/errors/README.ja.md"] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(name);
        let text = std::fs::read_to_string(&path).expect("the document is there");
        assert!(judge(name, &text) > 0, "{name} names no command");
    }
}

#[test]
fn what_does_not_exist_is_found() {
    let text =
        "`sudo tidegate statsu` and `tidegate`\n```console\n$ tidegate check --offlin | head\n```\n`tidegate buffer …`";
    assert_eq!(commands(text), ["tidegate statsu", "tidegate", "tidegate check --offlin", "tidegate buffer …"]);
    assert_eq!(unknown("tidegate statsu").as_deref(), Some("statsu"));
    assert_eq!(unknown("tidegate check --offlin").as_deref(), Some("--offlin"));
    assert_eq!(unknown("tidegate notice show FILE --config FILE --lang ja"), None);
    assert_eq!(unknown("tidegate buffer …"), None);
}
