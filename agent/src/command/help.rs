//! The command line's help and its complaints in the reader's language.
//!
//! # Constraints
//! - The English stands where clap wants it: at the arguments. It is the key of the Japanese, in the area `help` of the
//!   catalogue; the test below walks all commands, so that an option without Japanese fails it.
//! - Manual pages and completions are made of [`super::definition`], which is English.
//! - What clap writes itself and cannot be given is taken apart instead: the frame of the help by a template, defaults and
//!   possible values by hiding them and writing them behind the text, a complaint by its kind and its context. What stays
//!   English: names of values such as `FILE`, for clap counts a character as one cell, and columns behind `ファイル` would
//!   not stand under each other; and the hints of clap without a kind, which are left out.
//!
//! # How it works
//! The language is looked for among the words before clap parses them ([`language`]); in Japanese the tree of commands is
//! built, each text in it replaced ([`in_japanese`]), and then it parses. In English nothing of this happens.

use std::error::Error as _;
use std::ffi::OsString;
use std::fmt::Write as _;

use clap::builder::{PossibleValue, StyledStr};
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, Command};
use tidegate::language::{Language, Message, again};
use tidegate::message;

/// The language of the help, and of complaints about the command line: what `--lang` says, wherever it stands, otherwise the
/// locale's. A word that is no language is for clap to refuse.
pub(super) fn language(words: impl IntoIterator<Item = OsString>, locale: Language) -> Language {
    let mut words = words.into_iter().skip(1).take_while(|word| word != "--");
    let mut named = None;
    while let (None, Some(word)) = (&named, words.next()) {
        let Some(word) = word.to_str() else { continue };
        named = match word.strip_prefix("--lang") {
            Some("") => words.next().and_then(|value| value.into_string().ok()),
            Some(rest) => rest.strip_prefix('=').map(str::to_owned),
            None => None,
        };
    }
    named.and_then(|name| super::language(&name).ok()).unwrap_or(locale)
}

fn japanese(text: &str) -> &str {
    again(text, Language::Japanese)
}

fn say(message: &Message) -> String {
    message.text(Language::Japanese)
}

/// The commands with every text in Japanese.
pub(super) fn in_japanese(mut command: Command) -> Command {
    command.build();
    replaced(command)
}

fn replaced(mut command: Command) -> Command {
    let usage = command.render_usage().to_string();
    let usage = usage.strip_prefix("Usage: ").unwrap_or(&usage);
    let usage =
        usage.replace("[OPTIONS]", &say(&message!("[OPTIONS]"))).replace("<COMMAND>", &say(&message!("<COMMAND>")));
    let of = |text: Option<&StyledStr>| text.map(|text| japanese(&text.to_string()).to_owned());
    let (about, long) = (of(command.get_about()), of(command.get_long_about()));
    let (after, frame) = (of(command.get_after_help()), frame(&command));
    if let Some(about) = about {
        command = command.about(about);
    }
    if let Some(long) = long {
        command = command.long_about(long);
    }
    if let Some(after) = after {
        command = command.after_help(after);
    }
    command.override_usage(usage).help_template(frame).mut_args(argument).mut_subcommands(replaced)
}

/// The template of a command's help, as clap's own is.
fn frame(command: &Command) -> String {
    let styles = command.get_styles();
    let (header, usage) = (styles.get_header(), styles.get_usage());
    let mut out =
        format!("{{before-help}}{{about-with-newline}}\n{usage}{}{usage:#} {{usage}}", say(&message!("Usage:")));
    let mut section = |wanted: bool, title: &Message, tag: &str| {
        if wanted {
            // A String takes all.
            let _ = write!(out, "\n\n{header}{}{header:#}\n{{{tag}}}", say(title));
        }
    };
    section(command.get_subcommands().any(|sub| !sub.is_hide_set()), &message!("Commands:"), "subcommands");
    section(command.get_positionals().any(|arg| !arg.is_hide_set()), &message!("Arguments:"), "positionals");
    section(
        command.get_arguments().any(|arg| !arg.is_positional() && !arg.is_hide_set()),
        &message!("Options:"),
        "options",
    );
    out + "{after-help}"
}

/// An argument with its texts in Japanese; what clap would write behind them stands within them.
fn argument(arg: Arg) -> Arg {
    let short = arg.get_help().map(|text| japanese(&text.to_string()).to_owned()).unwrap_or_default();
    let long = arg.get_long_help().map_or_else(|| short.clone(), |text| japanese(&text.to_string()).to_owned());
    let takes = arg.get_action().takes_values();
    let mut behind = Vec::new();
    let defaults: Vec<String> =
        arg.get_default_values().iter().map(|value| value.to_string_lossy().into_owned()).collect();
    if takes && !defaults.is_empty() && !arg.is_hide_default_value_set() {
        behind.push(say(&message!("[default: {value}]", value = defaults.join(" "))));
    }
    let values: Vec<PossibleValue> =
        arg.get_possible_values().into_iter().filter(|value| !value.is_hide_set()).collect();
    let values = if takes && !arg.is_hide_possible_values_set() { values } else { Vec::new() };
    let (mut behind_short, mut list) = (behind.clone(), String::new());
    if !values.is_empty() {
        let names: Vec<&str> = values.iter().map(PossibleValue::get_name).collect();
        let names = say(&message!("[possible values: {values}]", values = names.join(", ")));
        behind_short.push(names.clone());
        if values.iter().any(|value| value.get_help().is_some()) {
            list = say(&message!("Possible values:"));
            for value in &values {
                let what = value.get_help().map(|text| japanese(&text.to_string()).to_owned()).unwrap_or_default();
                list.extend(["\n- ", value.get_name(), ": ", &what]);
            }
        } else {
            behind.push(names);
        }
    }
    let joined =
        |parts: [&str; 3], by: &str| parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(by);
    arg.help(joined([&short, &behind_short.join(" "), ""], " "))
        .long_help(joined([&long, &list, &behind.join("\n")], "\n\n"))
        .hide_default_value(true)
        .hide_possible_values(true)
}

/// A context's texts.
fn texts(error: &clap::Error, kind: ContextKind) -> Vec<String> {
    match error.get(kind) {
        Some(ContextValue::String(text)) => vec![text.clone()],
        Some(ContextValue::Strings(texts)) => texts.clone(),
        Some(ContextValue::StyledStr(text)) => vec![text.to_string()],
        Some(ContextValue::Number(number)) => vec![number.to_string()],
        _ => Vec::new(),
    }
}

/// What is wrong with the command line, by the kind of clap's error.
fn complaint(error: &clap::Error) -> Option<Message> {
    let all = |kind| Some(texts(error, kind)).filter(|texts| !texts.is_empty()).map(|texts| texts.join(", "));
    let (argument, value) = (all(ContextKind::InvalidArg), all(ContextKind::InvalidValue));
    Some(match error.kind() {
        ErrorKind::UnknownArgument => message!("there is no argument {argument} here", argument = argument?),
        ErrorKind::InvalidSubcommand => {
            message!("there is no command {command}", command = all(ContextKind::InvalidSubcommand)?)
        }
        ErrorKind::InvalidValue if value.as_deref().is_none_or(str::is_empty) => {
            message!("{argument} needs a value", argument = argument?)
        }
        ErrorKind::InvalidValue | ErrorKind::ValueValidation => {
            message!("{value} is no value for {argument}", value = value?, argument = argument?)
        }
        ErrorKind::ArgumentConflict => {
            let what = argument.or_else(|| all(ContextKind::InvalidSubcommand))?;
            match all(ContextKind::PriorArg) {
                Some(prior) if prior == what => message!("{argument} stands there more than once", argument = what),
                Some(prior) => {
                    message!("{argument} cannot be used together with {other}", argument = what, other = prior)
                }
                None => message!("{argument} cannot be used together with the others", argument = what),
            }
        }
        ErrorKind::MissingRequiredArgument => message!("missing: {arguments}", arguments = argument?),
        ErrorKind::MissingSubcommand => {
            message!("{command} needs a command behind it", command = all(ContextKind::InvalidSubcommand)?)
        }
        ErrorKind::TooManyValues => {
            message!("{value} is one value too many for {argument}", value = value?, argument = argument?)
        }
        ErrorKind::TooFewValues | ErrorKind::WrongNumberOfValues | ErrorKind::NoEquals => {
            message!("{argument} needs a value", argument = argument?)
        }
        ErrorKind::InvalidUtf8 => message!("a word of the command line is not UTF-8 text"),
        _ => return None,
    })
}

/// A usage error in Japanese: what is wrong, why, what to write instead. `None` for what clap prints itself, such as the
/// help.
pub(super) fn told(error: &clap::Error) -> Option<String> {
    let mut lines = vec![say(&message!("error: {what}", what = complaint(error)?))];
    let mut line = |message: Message| lines.push(format!("  {}", say(&message)));
    if let Some(why) = error.source() {
        // What a library says of a number or an address is English; what is asked for stands in the help.
        if let Some(why) = why.downcast_ref::<Message>() {
            line(why.clone());
        }
    }
    let valid = [ContextKind::ValidValue, ContextKind::ValidSubcommand].map(|kind| texts(error, kind)).concat();
    if !valid.is_empty() {
        line(message!("possible: {values}", values = valid.join(", ")));
    }
    let near = [ContextKind::SuggestedSubcommand, ContextKind::SuggestedArg, ContextKind::SuggestedValue];
    let near = near.map(|kind| texts(error, kind)).concat();
    if !near.is_empty() {
        line(message!("similar: {values}", values = near.join(", ")));
    }
    if let Some(usage) = texts(error, ContextKind::Usage).first() {
        let usage = usage.trim_start_matches("Usage:").trim();
        line(message!("usage: {usage}", usage = usage));
    }
    line(message!("--help says what can be written"));
    Some(lines.join("\n") + "\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;
    use tidegate::language::entries;

    /// Every text of a command and those below it, as [`replaced`] asks for them.
    fn collect(command: &Command, found: &mut BTreeSet<String>) {
        let mut text = |text: Option<&StyledStr>| found.extend(text.map(ToString::to_string));
        for of in [command.get_about(), command.get_long_about(), command.get_after_help()] {
            text(of);
        }
        assert!(command.get_before_help().is_none() && command.get_after_long_help().is_none(), "not replaced");
        for arg in command.get_arguments().filter(|arg| !arg.is_hide_set()) {
            text(arg.get_help());
            text(arg.get_long_help());
            for value in arg.get_possible_values() {
                text(value.get_help());
            }
        }
        command.get_subcommands().for_each(|sub| collect(sub, found));
    }

    #[test]
    fn every_text_of_the_command_line_is_in_the_catalogue_and_nothing_else_is() {
        let mut command = super::super::definition();
        command.build();
        let mut said = BTreeSet::new();
        collect(&command, &mut said);
        assert!(said.len() > 100, "{} texts were found", said.len());
        let entries = entries().expect("the catalogue can be read");
        let known: BTreeSet<&str> = entries.iter().map(|(_, english, _)| english.as_str()).collect();
        let mut wrong = Vec::new();
        for text in said.iter().filter(|text| !known.contains(text.as_str())) {
            wrong.push(format!("no Japanese for {text:?}"));
        }
        for (area, english, _) in &entries {
            if area == &"help" && !said.contains(english) {
                wrong.push(format!("nothing says {english:?} any more"));
            }
        }
        assert!(wrong.is_empty(), "{} faults\n{}", wrong.len(), wrong.join("\n"));
    }

    #[test]
    fn the_language_is_known_before_the_command_line_is() {
        let of = |line: &str| language(line.split(' ').map(OsString::from), Language::English);
        for line in ["tidegate --lang ja --help", "tidegate status --lang=ja --nonsense", "tidegate check -h --lang ja"]
        {
            assert_eq!(of(line), Language::Japanese, "{line}");
        }
        for line in [
            "tidegate --help",
            "tidegate --lang de",
            "tidegate --lang",
            "tidegate x -- --lang ja",
            "tidegate --language ja",
        ] {
            assert_eq!(of(line), Language::English, "{line}");
        }
        let english = ["tidegate", "--lang", "en"].map(OsString::from);
        assert_eq!(language(english, Language::Japanese), Language::English);
    }

    fn help(line: &str) -> String {
        let command = in_japanese(super::super::definition());
        command.try_get_matches_from(line.split(' ')).expect_err("it is help").to_string()
    }

    #[test]
    fn the_frame_of_the_help_is_japanese_too() {
        for line in
            ["tidegate --help", "tidegate buffer inspect --help", "tidegate help buffer inspect", "tidegate setup -h"]
        {
            let text = help(line);
            for english in ["Usage", "Options", "OPTIONS", "Commands", "Arguments", "default:", "ossible", "Print"] {
                assert!(!text.contains(english), "{english} in\n{text}");
            }
            assert!(text.contains("使い方:") && text.contains("オプション:"), "{text}");
        }
        assert!(help("tidegate setup --help").contains("- listen: "));
        assert!(help("tidegate check --help").contains("/etc/tidegate/tidegate.toml]"));
    }

    #[test]
    fn what_can_be_wrong_with_a_command_line_is_said_in_japanese() {
        for line in [
            "tidegate statsu",
            "tidegate status --jso",
            "tidegate status --lang de",
            "tidegate status --socket",
            "tidegate status --json --json",
            "tidegate status --watch --json",
            "tidegate explain TG-102 TG-103 TG-104",
            "tidegate explain TG-999",
            "tidegate buffer export --format xml",
            "tidegate buffer inspect --limit many",
            "tidegate buffer inspect --from yesterday",
            "tidegate hold --for never",
            "tidegate outages --month 2026-13",
            "tidegate notice keygen",
            "tidegate setup --webhook-url=https://a",
        ] {
            let command = in_japanese(super::super::definition());
            let error = command.try_get_matches_from(line.split(' ')).expect_err(line);
            let text = told(&error).unwrap_or_else(|| panic!("{line}: {error}"));
            assert_eq!(error.exit_code(), 2, "{line}");
            assert!(text.starts_with("エラー: ") && !text.contains("Usage"), "{line}: {text}");
        }
    }

    #[test]
    fn the_japanese_command_line_takes_what_the_english_one_takes() {
        let parsed = |command: Command| {
            let line = "tidegate buffer inspect --device meter-* --from -2h --lane normal --limit 5 --json";
            command.try_get_matches_from(line.split(' ')).expect("it is well formed")
        };
        assert_eq!(
            format!("{:?}", parsed(in_japanese(super::super::definition()))),
            format!("{:?}", parsed(super::super::definition()))
        );
        in_japanese(super::super::definition()).debug_assert();
    }
}
