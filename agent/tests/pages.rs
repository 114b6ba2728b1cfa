//! Holds the pages of `docs/errors/` to the codes, to each other, and to the keys of the configuration that they name.
//! (That the commands they name exist is tested beside the definitions of the command line.)

use std::path::{Path, PathBuf};

use tidegate::code::Code;
use tidegate::config::KEYS;
use tidegate::language::Language;

/// The pages' sections, in each language: without one of them a page leaves a technician alone.
const SECTIONS: [(Language, [&str; 4]); 2] = [
    (Language::English, ["## What it means", "## Why it comes", "## What to do", "## When to call"]),
    (Language::Japanese, ["## 意味", "## 原因", "## 対処", "## 連絡先"]),
];

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/errors")
}

fn pages() -> impl Iterator<Item = (Code, Language, &'static str)> {
    let languages = |code: &Code| Language::WORDS.map(|(_, language)| (*code, language, code.page(language)));
    Code::ALL.iter().flat_map(languages)
}

/// What stands between backquotes, outside of blocks.
fn quoted(page: &str) -> Vec<&str> {
    let inline = page.split("```").step_by(2);
    inline.flat_map(|text| text.split('`').skip(1).step_by(2)).collect()
}

#[test]
fn a_page_has_its_codes_title_in_its_language_and_all_sections_in_order() {
    for (code, language, page) in pages() {
        let title = format!("# {code}: {}\n", code.title().text(language));
        assert!(page.starts_with(&title), "{code} {language:?}: the page begins with {:?}", page.lines().next());
        let (_, sections) = SECTIONS.iter().find(|(of, _)| *of == language).expect("every language has sections");
        let found: Vec<&str> = page.lines().filter(|line| line.starts_with("## ")).collect();
        assert_eq!(&found, sections, "{code} {language:?}");
        let lines = page.lines().count();
        assert!((14..=40).contains(&lines), "{code} {language:?} has {lines} lines");
    }
}

#[test]
fn the_two_languages_have_the_same_commands_keys_codes_and_steps() {
    for code in Code::ALL {
        let facts = |language| {
            let page = code.page(language);
            // Words that a command prints, and texts that a person types, are in the page's language.
            let is_fact = |text: &&str| text.is_ascii() && (text.contains(' ') || text.contains('/'));
            let before_text = |text: &'static str| text.split('"').next().unwrap_or_default();
            let mut quoted: Vec<&str> = quoted(page).into_iter().map(before_text).filter(is_fact).collect();
            quoted.sort_unstable();
            quoted.dedup();
            let mut codes: Vec<&str> = page.match_indices("TG-").map(|(at, _)| &page[at..at + 6]).collect();
            codes.sort_unstable();
            codes.dedup();
            let is_step = |line: &&str| line.get(1..3) == Some(". ");
            let steps = page.lines().filter(is_step).count();
            let causes = page.lines().filter(|line| line.starts_with("- ")).count();
            (quoted, codes, steps, causes)
        };
        let (english, japanese) = (facts(Language::English), facts(Language::Japanese));
        assert_eq!(english, japanese, "{code}");
    }
}

/// Fails if a text names a key in the form `[table] key`, or a table, that does not exist; says how many it names.
fn judge_keys(name: &str, text: &str) -> usize {
    let mut named = 0;
    for quoted in quoted(text) {
        let Some((table, rest)) = quoted.strip_prefix('[').and_then(|rest| rest.split_once(']')) else { continue };
        let path = format!("{}.{}", table.trim_start_matches('['), rest.trim_start_matches(']').trim());
        let exists = |known: &&str| if path.ends_with('.') { known.starts_with(&path) } else { **known == path };
        assert!(KEYS.iter().map(|key| key.path).any(|known| exists(&known)), "{name}: there is no {quoted}");
        named += 1;
    }
    named
}

#[test]
fn the_keys_that_pages_name_exist() {
    let named: usize = pages().map(|(code, language, page)| judge_keys(&format!("{code} {language:?}"), page)).sum();
    assert!(named > 100, "only {named} keys were found in the pages");
}

#[test]
fn the_japanese_readme_names_keys_codes_and_links_that_exist() {
    let root = folder().join("../..");
    let text = std::fs::read_to_string(root.join("README.ja.md")).expect("it is there");
    assert!(judge_keys("README.ja.md", &text) > 0);
    for (at, _) in text.match_indices("TG-") {
        // The codes as such are spoken of, too.
        let Some(code) = text.get(at..at + 6).filter(|code| code.is_ascii()) else { continue };
        assert!(Code::parse(code).is_some(), "README.ja.md names {code}");
    }
    for link in text.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(link, _)| link) {
        let file = link.split('#').next().unwrap_or_default();
        assert!(link.starts_with("https://") || root.join(file).exists(), "README.ja.md links to {link}");
    }
}

#[test]
fn the_examples_of_the_japanese_readme_have_keys_that_exist() {
    let text = std::fs::read_to_string(folder().join("../../README.ja.md")).expect("it is there");
    let blocks: Vec<&str> =
        text.split("```toml\n").skip(1).filter_map(|rest| rest.split_once("```")).map(|(block, _)| block).collect();
    assert!(blocks.len() >= 3);
    for block in blocks {
        let table: toml::Table = toml::from_str(block).expect("an example is TOML");
        let mut tables = vec![(String::new(), table)];
        while let Some((path, table)) = tables.pop() {
            for (key, value) in table {
                let path = format!("{path}{key}");
                match value {
                    toml::Value::Table(inner) => tables.push((path + ".", inner)),
                    _ => assert!(KEYS.iter().any(|known| known.path == path), "README.ja.md has {path} in {block}"),
                }
            }
        }
    }
}

#[test]
fn the_codes_that_pages_name_exist() {
    for (code, language, page) in pages() {
        for (at, _) in page.match_indices("TG-") {
            let other = &page[at..at + 6];
            assert!(Code::parse(other).is_some(), "{code} {language:?} names {other}");
        }
    }
}

#[test]
fn there_is_a_page_for_each_code_and_no_other_and_the_index_lists_them() {
    let mut files: Vec<String> = std::fs::read_dir(folder())
        .expect("the folder is there")
        .map(|entry| entry.expect("an entry").file_name().into_string().expect("a plain name"))
        .filter(|name| !name.starts_with("README"))
        .collect();
    files.sort();
    let mut expected: Vec<String> =
        Code::ALL.iter().flat_map(|code| [format!("{code}.ja.md"), format!("{code}.md")]).collect();
    expected.sort();
    assert_eq!(files, expected);

    for (index, ending, language) in
        [("README.md", "md", Language::English), ("README.ja.md", "ja.md", Language::Japanese)]
    {
        let text = std::fs::read_to_string(folder().join(index)).expect("the index is there");
        let listed: Vec<&str> = text.lines().filter(|line| line.starts_with("- ")).collect();
        let wanted: Vec<String> = Code::ALL
            .iter()
            .map(|code| format!("- [{code}]({code}.{ending}): {}", code.title().text(language)))
            .collect();
        assert_eq!(listed, wanted, "{index}");
    }
}
