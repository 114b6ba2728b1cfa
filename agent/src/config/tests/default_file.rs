//! The default file, the list of keys and the reader say the same.

use super::*;

/// A line of the default file that sets a key or begins a table, and how it is marked.
struct Line {
    /// Without the `#`.
    text: String,
    table: String,
    key: Option<String>,
    commented: bool,
    example: bool,
    /// Only with `kind = "api"`.
    api: bool,
}

fn lines() -> Vec<Line> {
    let mut table = String::new();
    let mut lines = Vec::new();
    for line in DEFAULT_FILE.lines() {
        let commented = line.starts_with('#');
        let text = line.strip_prefix('#').unwrap_or(line).to_owned();
        let key = text.split_once(" = ").map(|(key, _)| key.to_owned());
        let key = key.filter(|key| key.chars().all(|c| c.is_ascii_lowercase() || c == '_'));
        if text.starts_with('[') {
            text.trim_matches(['[', ']']).clone_into(&mut table);
        } else if key.is_none() {
            continue;
        }
        let (example, api) = (text.contains("# example"), text.contains("# default with kind = \"api\""));
        lines.push(Line { text, table: table.clone(), key, commented, example, api });
    }
    lines
}

fn joined<'a>(lines: impl Iterator<Item = &'a Line>) -> String {
    lines.map(|line| line.text.as_str()).collect::<Vec<_>>().join("\n")
}

/// The default file with every value there is that fits the kind; the broker is reached over TLS, which some need.
pub(super) fn everything(kind: Kind) -> String {
    let misfit = |line: &Line| match line.key.as_deref() {
        // It means the same in two places, of which one may stand.
        Some("devices") => line.table == "collect",
        Some("url") => line.table.starts_with("forward.flux") && kind != Kind::Unified,
        Some("url_file") => kind != Kind::Webhook,
        Some("auth_key_id_file") => true,
        Some("app_id" | "channel_id" | "auth_key_id" | "auth_key_file" | "base_url" | "token_timeout") => {
            kind != Kind::Api
        }
        _ => false,
    };
    let mut text = String::new();
    for line in lines().iter().filter(|line| !misfit(line)) {
        let kind_line = line.key.as_deref() == Some("kind");
        text += &if kind_line {
            ["kind = \"", kind.as_str(), "\""].concat()
        } else {
            line.text.replace("mqtt://", "mqtts://")
        };
        text.push('\n');
    }
    text
}

#[test]
fn every_key_stands_in_the_file_once_in_the_order_of_the_list() {
    let mut found: Vec<String> = Vec::new();
    for line in lines() {
        if let Some(key) = line.key {
            let path = format!("{}.{key}", line.table);
            let again = keys::ARRAYS.contains(&line.table.as_str()) && found.contains(&path);
            if !again {
                found.push(path);
            }
        }
    }
    let listed: Vec<String> = KEYS.iter().map(|key| key.path.to_owned()).collect();
    // What stands in [collect] itself stands before its tables; everything else in the same order.
    let order = |mut keys: Vec<String>| {
        keys.retain(|key| !["collect.default_lane", "collect.devices"].contains(&key.as_str()));
        keys
    };
    assert!(["collect.default_lane", "collect.devices"].iter().all(|key| found.contains(&(*key).to_owned())));
    assert_eq!(order(found), order(listed));
}

#[test]
fn the_reader_asks_for_exactly_the_listed_keys() {
    let (result, book) = sections::read(&everything(Kind::Webhook), "test.toml", &AllThere);
    assert!(result.is_ok(), "{result:?}");
    let listed: BTreeSet<String> = KEYS.iter().map(|key| key.path.to_owned()).collect();
    assert_eq!(book.asked, listed);
}

#[test]
fn it_is_a_configuration_as_it_stands() {
    let config = good(DEFAULT_FILE);
    assert_eq!(config.warnings, []);
    assert_eq!(config.collect.broker, None);
}

#[test]
fn it_is_a_configuration_with_everything_for_each_kind() {
    for kind in [Kind::Webhook, Kind::Api, Kind::Unified] {
        let config = good(&everything(kind));
        assert_eq!(config.forward.target.kind(), kind);
        assert!(config.collect.broker.is_some());
    }
}

/// What is only judged once something asks for it, and has a test of its own.
fn apart(line: &Line) -> bool {
    [
        "collect.broker",
        "collect.fields",
        "provider.metadata",
        "provider.statuspage",
        "provider.rule",
        "forward.flux_next",
    ]
    .contains(&line.table.as_str())
}

#[test]
fn the_values_it_shows_as_defaults_of_the_metadata_service_are_the_defaults() {
    let metadata = |only: &dyn Fn(&str) -> bool| -> String {
        let chosen: Vec<String> = lines()
            .iter()
            .filter(|line| line.table == "provider.metadata" && line.key.as_deref().is_some_and(only))
            .map(|line| line.text.clone())
            .collect();
        DEFAULT_FILE.replace("[provider.metadata]\n", &format!("[provider.metadata]\n{}\n", chosen.join("\n")))
    };
    let (all, enabled) = (metadata(&|_| true), metadata(&|key| key == "enabled"));
    assert_eq!(good(&all).provider, good(&enabled).provider);
    assert!(good(&all).provider.metadata.enabled && !good(DEFAULT_FILE).provider.metadata.enabled);
}

#[test]
fn the_values_it_shows_as_defaults_of_the_status_page_are_the_defaults() {
    let page = |only: &dyn Fn(&Line) -> bool| -> String {
        let lines = lines();
        let chosen =
            lines.iter().filter(|line| line.table == "provider.statuspage" && line.key.is_some() && only(line));
        DEFAULT_FILE.replace("[provider.statuspage]\n", &format!("[provider.statuspage]\n{}\n", joined(chosen)))
    };
    let (all, enabled) = (page(&|line| !line.example), page(&|line| line.key.as_deref() == Some("enabled")));
    assert_eq!(good(&all).provider, good(&enabled).provider);
    assert!(good(&all).provider.statuspage.enabled && !good(DEFAULT_FILE).provider.statuspage.enabled);
}

#[test]
fn the_values_it_shows_as_defaults_are_the_defaults() {
    let lines = lines();
    let text = joined(lines.iter().filter(|line| !line.commented || !(line.example || line.api || apart(line))));
    assert!(text.contains("max_size") && text.contains("[[collect.rule]]") && text.contains("[[lane]]"));
    assert_eq!(good(&text), good(DEFAULT_FILE));
}

#[test]
fn the_values_it_shows_as_defaults_of_the_broker_are_the_defaults() {
    let needed = |line: &&Line| line.key.is_none() || line.text.starts_with("url") || line.text.starts_with("topics");
    let broker = |only: &dyn Fn(&&Line) -> bool| -> String {
        let lines = lines();
        let chosen = lines.iter().filter(|line| line.table == "collect.broker").filter(|line| only(line));
        format!("{DEFAULT_FILE}\n{}", joined(chosen))
    };
    let all = broker(&|line| needed(line) || !line.example);
    assert!(all.lines().filter(|line| line.starts_with("keep_alive")).count() == 1);
    assert_eq!(good(&all).collect.broker, good(&broker(&needed)).collect.broker);
}

#[test]
fn the_values_it_shows_as_defaults_of_the_api_are_the_defaults() {
    let all = everything(Kind::Api);
    let without: Vec<&str> = all.lines().filter(|line| !line.contains("# default with kind")).collect();
    let without = without.join("\n");
    assert_ne!(all, without);
    assert_eq!(good(&all).forward, good(&without).forward);
}

#[test]
fn the_configurations_that_the_readme_shows_are_configurations() {
    const README: &str = include_str!("../../../../README.md");
    let blocks: Vec<&str> =
        README.split("```toml\n").skip(1).filter_map(|rest| rest.split_once("\n```").map(|(block, _)| block)).collect();
    assert!(blocks.len() >= 5, "{}", blocks.len());
    for block in blocks {
        // Some show a part only; the rest is what every configuration needs.
        let mut text = block.to_owned();
        for (table, keys) in [("[gateway]", "id = \"g\""), ("[forward.flux]", "kind = \"unified\"")] {
            if !block.contains(table) {
                text = format!("{text}\n{table}\n{keys}\n");
            }
        }
        good(&text);
    }
}
