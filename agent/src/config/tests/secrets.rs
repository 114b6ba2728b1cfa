//! Whatever mistake is made with a secret, no message repeats it.

use super::*;

/// Secrets as they are pasted, and the part of each that must not be seen.
const SECRETS: [(&str, &str); 6] = [
    ("secret-AbCdEfGhIjKlMnOpQrStUvWxYz012345", "AbCdEfGhIjKl"),
    ("https://api.soracom.io/v1/flux/incoming_webhooks/HooKiDeNtItY/HoOkSeCrEt", "HoOkSeCrEt"),
    ("api.soracom.io/v1/flux/incoming_webhooks/HooKiDeNtItY/HoOkSeCrEt", "HoOkSeCrEt"),
    ("BROKERPASSWORD", "BROKERPASSWORD"),
    ("q1W2+e3R4/t5Y6==", "t5Y6"),
    ("8315209467", "8315209467"),
];

/// A value with a mistake in it, as the file would hold it.
fn forms(key: &str, secret: &str) -> Vec<String> {
    vec![
        format!("{key} = \"{secret}\""),
        format!("{key} = \"/{secret}\""),
        format!("{key} = \"/keys/{secret}\""),
        format!("{key} = \" {secret}\\n\""),
        format!("{key} = \"{secret}://host\""),
        format!("{key} = \"https://{secret}@host\""),
        format!("{key} = \"mqtt://host/{secret}\""),
        format!("{key} = \"https://host/{secret}\""),
        format!("{key} = \"https://host:{secret}/\""),
        format!("{key} = \"https://host/…{secret}\""),
        format!("{key} = [\"{secret}\"]"),
        format!("{key} = {{ a = \"{secret}\" }}"),
        format!("{key} = {secret}"),
        format!("{key} = \"{secret}"),
        format!("{key} = '{secret}\""),
        format!("{key} = \"{secret}\" x"),
        format!("{key} \"{secret}\""),
        format!("{key} = \"{secret}\"\n{key} = \"{secret}\""),
        format!("{key}x = \"{secret}\""),
    ]
}

/// The text of a configuration of this kind with the line in the table.
fn file(kind: &str, table: &str, line: &str) -> String {
    let flux = format!("[forward.flux]\nkind = \"{kind}\"\n");
    let broker = "[collect.broker]\ntopics = [\"devices/#\"]\nusername = \"u\"\n";
    let tables = match table {
        "forward.flux" => format!("{flux}{line}\n"),
        "collect.broker" => format!("{flux}{broker}{line}\n"),
        _ => format!("{flux}[{table}]\n{line}\n"),
    };
    format!("[gateway]\nid = \"gw-1\"\n{tables}")
}

#[test]
fn no_message_repeats_a_secret_that_stands_where_its_file_should() {
    let keys: Vec<&Key> = KEYS.iter().filter(|key| keys::bears_secret(key.path)).collect();
    assert!(keys.len() >= 11, "{keys:?}");
    for key in keys {
        let (table, name) = key.path.rsplit_once('.').expect("every key is in a table");
        for (secret, seen) in SECRETS {
            for line in forms(name, secret) {
                for kind in ["webhook", "api", "unified", "wrong"] {
                    let text = file(kind, table, &line);
                    for surroundings in [&surroundings::Disk as &dyn Surroundings, &AllThere] {
                        let (result, book) = sections::read(&text, "test.toml", surroundings);
                        for problem in book.problems.iter().chain(&book.warnings) {
                            assert!(!problem.to_string().contains(seen), "{line}\n{problem}");
                        }
                        if let Ok(config) = result {
                            let said = format!("{:?} {}", config.warnings, config.forward.target.origin());
                            // A host is no secret, so what stands in its place is shown.
                            assert!(!said.contains(seen) || line.contains("//host"), "{line}\n{said}");
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn what_looks_like_a_secret_is_not_repeated_at_any_key() {
    for key in KEYS {
        let (table, name) = key.path.rsplit_once('.').expect("every key is in a table");
        for (secret, seen) in &SECRETS[..3] {
            for line in [format!("{name} = \"{secret}\""), format!("\"{secret}\" = 1")] {
                let text = file("webhook", table, &line);
                let (_, book) = sections::read(&text, "test.toml", &surroundings::Disk);
                for problem in book.problems.iter().chain(&book.warnings) {
                    assert!(!problem.to_string().contains(seen), "{line}\n{problem}");
                }
            }
        }
    }
}

#[test]
fn a_secret_in_place_of_its_file_is_said_with_what_to_write() {
    for (line, table, kind) in [
        ("auth_key_file = \"secret-AbCd\"", "forward.flux", "api"),
        ("url_file = \"https://api.soracom.io/v1/flux/incoming_webhooks/a/b\"", "forward.flux", "webhook"),
        ("password_file = \"BROKERPASSWORD\"", "collect.broker", "unified"),
    ] {
        let name = line.split(' ').next().expect("a key");
        let found = problems(&file(kind, table, line));
        let problem = found.iter().find(|problem| problem.key.ends_with(name)).expect("a mistake");
        let said = problem.to_string();
        assert!(said.contains("not a path") && said.contains(&format!("{name} = \"/etc/tidegate/")), "{said}");
    }
}

#[test]
fn the_path_of_a_secret_file_that_is_missing_is_said() {
    let text = file("webhook", "forward.flux", "url_file = \"/etc/tidegate/no-such-file\"");
    let (_, book) = sections::read(&text, "test.toml", &surroundings::Disk);
    assert!(book.problems[0].found.to_string().contains("/etc/tidegate/no-such-file"), "{:?}", book.problems);
}
