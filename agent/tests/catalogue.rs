//! Holds every message of the source to the catalogue of its Japanese, both ways.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::str::FromStr as _;

use proc_macro2::{Delimiter, TokenStream, TokenTree};
use tidegate::language::{entries, places};

/// Every Rust file below `folder`, without those that hold tests alone.
fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut out = Vec::new();
    for entry in std::fs::read_dir(folder).expect("the source is there") {
        let path = entry.expect("an entry").path();
        let is_tests = path.file_stem().is_some_and(|stem| stem == "tests");
        if path.is_dir() && !is_tests {
            out.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") && !is_tests {
            out.push(path);
        }
    }
    out
}

/// The templates of every `message!(…)` and `said!(…)` among the tokens, however deep.
fn templates(tokens: TokenStream, found: &mut Vec<String>) {
    let tokens: Vec<TokenTree> = tokens.into_iter().collect();
    for (at, token) in tokens.iter().enumerate() {
        let TokenTree::Group(group) = token else { continue };
        let before = |back: usize, is: &str| at.checked_sub(back).is_some_and(|at| tokens[at].to_string() == is);
        if before(1, "!") && (before(2, "message") || before(2, "said")) {
            let first = group.stream().into_iter().next().expect("it has a template");
            found.push(syn::parse_str::<syn::LitStr>(&first.to_string()).expect("a template is a literal").value());
        }
        // Within it each title becomes a message.
        if before(1, "!") && before(2, "codes") {
            let literals =
                group.stream().into_iter().filter_map(|token| syn::parse_str::<syn::LitStr>(&token.to_string()).ok());
            found.extend(literals.map(|literal| literal.value()));
        }
        // A macro's own definition and modules of tests are not what people read.
        let of_tests = group.delimiter() == Delimiter::Brace && before(1, "tests") && before(2, "mod");
        if !(of_tests || before(2, "macro_rules") || before(3, "macro_rules")) {
            templates(group.stream(), found);
        }
    }
}

fn said() -> BTreeMap<String, PathBuf> {
    let agent = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut out = BTreeMap::new();
    for path in sources(&agent.join("src")).into_iter().chain(sources(&agent.join("../protocol/src"))) {
        let text = std::fs::read_to_string(&path).expect("readable");
        let mut found = Vec::new();
        templates(TokenStream::from_str(&text).expect("Rust"), &mut found);
        out.extend(found.into_iter().map(|template| (template, path.clone())));
    }
    out
}

#[test]
fn every_message_is_in_the_catalogue_with_the_same_places_and_nothing_else_is() {
    let said = said();
    assert!(said.len() > 1, "the messages of the source were found");
    let mut wrong = Vec::new();
    let mut known = BTreeSet::new();
    for (area, english, japanese) in entries().expect("the catalogue can be read") {
        if !known.insert(english.clone()) {
            wrong.push(format!("{area}.toml: twice in the catalogue: {english:?}"));
        }
        // What the command line's help says is held to it where that is known: `command::help`.
        if area != "help" && !said.contains_key(&english) {
            wrong.push(format!("{area}.toml: nothing says {english:?} any more"));
        }
        if places(&english) != places(&japanese) {
            wrong.push(format!("{area}.toml: {english:?} and {japanese:?} have other places"));
        }
        if japanese.trim().is_empty() {
            wrong.push(format!("{area}.toml: {english:?} is empty"));
        }
    }
    for (english, path) in &said {
        if !known.contains(english) {
            wrong.push(format!("{}: no Japanese for {english:?}", path.display()));
        }
    }
    assert!(wrong.is_empty(), "{} faults\n{}", wrong.len(), wrong.join("\n"));
}
