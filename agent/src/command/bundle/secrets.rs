//! What must not leave in a bundle: found, and taken out.
//!
//! # How it works
//! Three nets, each of which would do alone where it reaches:
//! 1. **By key**: the configuration's keys that bear secrets or name files of secrets, in the text as it stands, in what it
//!    means to a TOML reader, and in comments; their values, and what those files hold, are [remembered](Secrets::add).
//! 2. **By form**: addresses lose everything behind the host and the name before it; private keys, `SORACOM`'s keys, tokens,
//!    hashes of passwords and whatever follows `password=` go, whoever wrote them where.
//! 3. **By value**: each remembered value is looked for in every file, in each [form](super::forms) in which it may stand, or its
//!    beginning where it was cut. Values of fewer than [`SHORTEST`](super::forms::SHORTEST) characters are not: they would be found in ordinary words.
//!
//! Values go first, because what goes by form ends where a value may go on; then what has a form, and what is left of values.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use tidegate::language::{Value, system};

use super::forms::Forms;

/// What stands where something was taken out. Shorter than [`SHORTEST`](super::forms::SHORTEST), so that it holds no secret itself and each taking
/// out makes a text shorter.
pub(super) const MARK: &str = "[…]";

/// Characters that make a part of a secret address a secret of its own: what SORACOM appoints has 20 and more.
const PART: usize = 8;

/// Longest file of secrets that is read, in bytes: a list of a thousand passwords' hashes has 100 KB.
const MAX_FILE: u64 = 1024 * 1024;

/// Files of credentials that are read at most in one folder.
const MAX_FILES: usize = 100;

/// Folders that paths in the configuration mostly begin with. What stands after a key that bears a secret and begins with
/// none of them may be the secret itself, as `/` is a digit of base64.
const FOLDERS: [&str; 9] = ["/etc/", "/run/", "/var/", "/usr/", "/home/", "/root/", "/opt/", "/srv/", "/tmp/"];

/// The values that are looked for.
#[derive(Debug, Default)]
pub(super) struct Secrets {
    values: Forms,
    /// Files that hold secrets and could not be read, and why: their values cannot be looked for.
    pub(super) unread: BTreeMap<PathBuf, Value>,
}

impl Secrets {
    /// Remembers a value.
    pub(super) fn add(&mut self, value: &str) {
        let value = value.trim();
        // Whoever was sent it may say it back as it was decoded there.
        for value in [value, &decoded(value)] {
            self.values.add(value);
        }
    }

    /// Remembers what a file of secrets holds: each line, what follows a user's name with salt and hash in it, and the parts of an
    /// address.
    fn add_file(&mut self, text: &str) {
        for line in text.lines().filter(|line| !line.trim_start().starts_with("-----")) {
            if is_address(line) {
                self.add_address(line);
                continue;
            }
            self.add(line);
            if let Some((_, hash)) = line.split_once(':') {
                self.add(hash);
                hash.rsplit('$').take(2).filter(|part| part.len() >= PART).for_each(|part| self.add(part));
            }
        }
    }

    /// Remembers the parts of an address that are secrets.
    fn add_address(&mut self, text: &str) {
        let Some((_, rest)) = text.split_once("://") else { return };
        let (authority, path) = rest.split_once(['/', '?', '#']).unwrap_or((rest, ""));
        if let Some((user, _)) = authority.rsplit_once('@') {
            user.split(':').for_each(|part| self.add(part));
        }
        for part in path.split(['/', '?', '#', '&', '=']) {
            if part.chars().count() >= PART && part.contains(|at: char| at.is_ascii_digit()) {
                self.add(part);
            }
        }
        // All behind the host is one, so that no part stays that is none by itself; with the host whoever helps would not see
        // what could not be reached.
        let path = path.trim_end_matches('/');
        for path in [path, path.split(['?', '#']).next().unwrap_or_default()] {
            if path.chars().count() >= PART {
                self.add(path);
            }
        }
    }

    /// Remembers what a configuration's text says or names. `folders`: where a bare name of a file may be.
    pub(super) fn add_configuration(&mut self, text: &str, folders: &[PathBuf]) {
        for line in text.lines() {
            if let Some((key, value)) = assignment(line) {
                let quoted = value.split(['"', '\'']).nth(1).unwrap_or(value.trim());
                self.add_value(key, quoted, folders);
            }
        }
        if let Ok(table) = text.parse::<toml::Table>() {
            self.add_table("", &toml::Value::Table(table), folders);
        }
    }

    fn add_table(&mut self, key: &str, value: &toml::Value, folders: &[PathBuf]) {
        match value {
            toml::Value::String(text) => self.add_value(key, text, folders),
            toml::Value::Array(values) => {
                for value in values {
                    self.add_table(key, value, folders);
                }
                self.add_arguments(values);
            }
            toml::Value::Table(table) => table.iter().for_each(|(key, value)| self.add_table(key, value, folders)),
            _ => {}
        }
    }

    /// Remembers what stands behind an option of a command that bears a secret: `["/usr/bin/horn", "--token", "…"]`.
    fn add_arguments(&mut self, values: &[toml::Value]) {
        for pair in values.windows(2) {
            let [Some(option), Some(value)] = [0, 1].map(|at| pair[at].as_str()) else { continue };
            if option.starts_with('-') && (bears_secret(option) || option == "-p") && !is_path(value) {
                self.add(value);
            }
        }
    }

    fn add_value(&mut self, key: &str, value: &str, folders: &[PathBuf]) {
        if !bears_secret(key) {
            return;
        }
        if is_address(value) {
            return self.add_address(value);
        }
        let bare = !value.is_empty() && !value.contains('/');
        let mut there = false;
        for folder in folders.iter().filter(|_| bare) {
            there |= self.add_from(&folder.join(value));
        }
        if value.starts_with('/') {
            there |= self.add_from(Path::new(value));
        }
        if !there && !is_path(value) {
            self.add(value);
        }
    }

    /// Remembers what the file at `path` holds; whether there is one.
    fn add_from(&mut self, path: &Path) -> bool {
        match read(path) {
            Ok(Some(text)) => self.add_file(&text),
            Ok(None) => return false,
            Err(error) => {
                self.unread.insert(path.to_owned(), system::said(&error));
            }
        }
        true
    }

    /// Remembers what the files of a folder of credentials hold.
    pub(super) fn add_folder(&mut self, folder: &Path) {
        match std::fs::read_dir(folder) {
            Ok(entries) => {
                for entry in entries.flatten().take(MAX_FILES) {
                    self.add_from(&entry.path());
                }
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => {
                self.unread.insert(folder.to_owned(), system::said(&error));
            }
        }
    }

    /// A configuration's text without its secrets.
    pub(super) fn configuration(&self, text: &str) -> String {
        let mut out = String::with_capacity(text.len());
        for line in text.lines() {
            match assignment(line) {
                Some((key, value)) if bears_secret(key) && may_be_secret(value) => {
                    out.push_str(&line[..line.len() - value.len()]);
                    out.extend([" \"", MARK, "\""]);
                }
                _ => out.push_str(line),
            }
            out.push('\n');
        }
        self.take_out(&out)
    }

    /// A text without secrets.
    pub(super) fn take_out(&self, text: &str) -> String {
        let mut text = by_form(&self.values.take_out(text, MARK).unwrap_or_else(|| text.to_owned()));
        // What is left around something that was taken out may be another secret; each round makes the text shorter.
        while let Some(shorter) = self.values.take_out(&text, MARK) {
            text = shorter;
        }
        text
    }
}

/// Whether a key's value is a secret or names a file of one: as the reader of the configuration judges, and more, for a key
/// that is misspelt is refused by the reader, and its value is a secret all the same.
fn bears_secret(key: &str) -> bool {
    let plain: String = key.to_ascii_lowercase().chars().filter(char::is_ascii_alphanumeric).collect();
    let words = ["url", "key", "pass", "pasw", "pwd", "psw", "secret", "token", "credential", "webhook"];
    words.iter().any(|word| plain.contains(word)) || matches!(plain.as_str(), "pw" | "pin")
}

/// Schemes of addresses that may bear secrets.
const SCHEMES: [&str; 8] = ["http", "https", "mqtt", "mqtts", "ws", "wss", "tcp", "ssl"];

/// Whether a text is an address, and not a secret that holds `://`.
fn is_address(text: &str) -> bool {
    text.trim().split_once("://").is_some_and(|(scheme, _)| SCHEMES.contains(&scheme))
}

fn is_path(value: &str) -> bool {
    FOLDERS.iter().any(|folder| value.starts_with(folder))
}

/// Whether what stands after a secret's key may be the secret: not a path, a number, a span of time, or an address, which is
/// judged by its form.
fn may_be_secret(value: &str) -> bool {
    let value = value.trim().trim_start_matches(['"', '\'']);
    let plain = value.starts_with("true") || value.starts_with("false") || value.starts_with('[');
    !(plain || is_path(value) || is_address(value))
}

/// Key and value of a line, also of one that is commented out.
fn assignment(line: &str) -> Option<(&str, &str)> {
    let (key, value) = line.split_once('=')?;
    let key = key.trim().trim_start_matches('#').trim();
    let is_key = !key.is_empty() && key.chars().all(|at| at.is_ascii_alphanumeric() || matches!(at, '_' | '-' | '.'));
    is_key.then_some((key, value))
}

fn read(path: &Path) -> std::io::Result<Option<String>> {
    use std::io::Read as _;
    let about = match std::fs::metadata(path) {
        Ok(about) => about,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    if !about.is_file() {
        return Ok(None);
    }
    let mut bytes = Vec::new();
    std::fs::File::open(path)?.take(MAX_FILE).read_to_end(&mut bytes)?;
    Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
}

/// What a percent-encoded text stands for (RFC 3986, 2.1); what is not encoded stays as it is.
fn decoded(value: &str) -> String {
    let (mut out, mut rest) = (Vec::new(), value.as_bytes());
    while let Some((first, after)) = rest.split_first() {
        let digits = after.get(..2).filter(|_| *first == b'%').and_then(|digits| std::str::from_utf8(digits).ok());
        let encoded = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok());
        out.push(encoded.unwrap_or(*first));
        rest = if encoded.is_some() { &after[2..] } else { after };
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// Words after which a secret follows.
const NAMES: [&str; 11] = [
    "password",
    "passwd",
    "pass phrase",
    "passphrase",
    "pwd",
    "secret",
    "token",
    "authorization",
    "api-key",
    "api_key",
    "apikey",
];

/// How words begin that are secrets: SORACOM's keys, JSON Web Tokens (RFC 7519), hashes of passwords.
const BEGINNINGS: [&str; 4] = ["secret-", "keyId-", "eyJ", "$argon2"];

/// Takes out what looks like a secret, line by line.
fn by_form(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut in_key = false;
    for line in text.split_inclusive('\n') {
        if line.contains("-----BEGIN") && line.contains("PRIVATE KEY") {
            in_key = !line.contains("-----END");
            out.push_str(MARK);
            out.push('\n');
        } else if in_key {
            in_key = !line.contains("-----END");
        } else {
            out.push_str(&words(&after_names(&addresses(line))));
        }
    }
    out
}

/// How long a text is up to a character that ends it. What was taken out is part of it: a secret may go on behind.
fn length(text: &str, ends: fn(char) -> bool) -> usize {
    let mut at = 0;
    while let Some(character) = text[at..].chars().next() {
        match text[at..].starts_with(MARK) {
            true => at += MARK.len(),
            false if ends(character) => break,
            false => at += character.len_utf8(),
        }
    }
    at
}

/// Where an address, a word or a value ends.
fn ends(at: char) -> bool {
    at.is_whitespace() || matches!(at, '"' | '\'' | '<' | '>' | ',' | '`' | ')' | ']' | '}' | '\\')
}

/// Addresses keep scheme, host and port.
fn addresses(line: &str) -> String {
    let mut out = String::new();
    let mut rest = line;
    while let Some(at) = rest.find("://") {
        let (before, after) = rest.split_at(at + 3);
        out.push_str(before);
        let (address, behind) = after.split_at(length(after, ends));
        let (authority, path) = address.split_at(address.find(['/', '?', '#']).unwrap_or(address.len()));
        match authority.rsplit_once('@') {
            Some((_, host)) => out.extend([MARK, "@", host]),
            None => out.push_str(authority),
        }
        match path {
            "" | "/" => out.push_str(path),
            _ => out.extend(["/", MARK]),
        }
        rest = behind;
    }
    out + rest
}

/// What follows `password=`, `"token": ` and the like goes.
fn after_names(line: &str) -> String {
    let lower = line.to_ascii_lowercase();
    let mut out = String::new();
    let mut done = 0;
    for (at, _) in line.char_indices() {
        if at < done {
            continue;
        }
        let Some(name) = NAMES.iter().find(|name| lower[at..].starts_with(**name)) else { continue };
        let after = &line[at + name.len()..];
        let value = after.trim_start_matches(['"', '\'', ' ']);
        let said = [":", "=", "is "].iter().find_map(|word| value.strip_prefix(word));
        // `password 'x'`: quoted right behind the name.
        let quoted = after.strip_prefix(" '").or_else(|| after.strip_prefix(" \""));
        // `--token x`: an option and its value, as a unit's command line has them.
        let is_option = line[..at].rsplit(char::is_whitespace).next().is_some_and(|word| word.starts_with("--"));
        let argument = after.strip_prefix(' ').filter(|value| is_option && !value.starts_with('-'));
        let Some(value) = said.or(quoted).or(argument) else { continue };
        let value = value.trim_start_matches([' ', '"', '\'']);
        // The scheme of an `Authorization:` (RFC 9110, 11.6.2) is no secret, what follows it is.
        let value = ["Bearer ", "Basic "].iter().find_map(|scheme| value.strip_prefix(scheme)).unwrap_or(value);
        let length = length(value, ends);
        let word = &value[..length];
        // A mark alone has taken all of it.
        let nested = word.starts_with(['{', '[']) && !word.starts_with(MARK);
        if word.is_empty() || nested || matches!(word, "null" | "true" | "false" | MARK) {
            continue;
        }
        let from = line.len() - value.len();
        out.push_str(&line[done..from]);
        out.push_str(MARK);
        done = from + length;
    }
    out + &line[done..]
}

/// Words that begin as secrets do go.
fn words(line: &str) -> String {
    let mut out = String::new();
    let mut rest = line;
    while let Some(at) = BEGINNINGS.iter().filter_map(|mark| rest.find(mark)).min() {
        let (before, word) = rest.split_at(at);
        let ends = |at: char| at.is_whitespace() || matches!(at, '"' | '\'' | '`' | '<' | '>' | '\\');
        let (word, behind) = word.split_at(length(word, ends));
        out.push_str(before);
        // The beginning alone is a word of the documents.
        out.push_str(if BEGINNINGS.contains(&word) { word } else { MARK });
        rest = behind;
    }
    out + rest
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use proptest::prelude::*;

    use super::super::forms::SHORTEST;
    use super::*;

    #[test]
    fn what_was_sent_percent_encoded_is_found_as_it_is_decoded_or_encoded_otherwise() {
        let mut secrets = Secrets::default();
        secrets.add_configuration(
            "url = \"https://host.example/v1/INLTOKEN%2Fq9%3Dw\"\n[alarm]\ncommand = [\"/usr/bin/horn\", \"--token\", \"b2c3d4\"]\n",
            &[],
        );
        for said in ["INLTOKEN/q9=w", "INLTOKEN%2fq9%3dw", "SU5MVE9LRU4vcTk9dw", "b2c3d4"] {
            let out = secrets.take_out(&format!("HTTP 404: no {said} here"));
            assert!(!out.contains(said) && out.starts_with("HTTP 404: no ") && out.ends_with(" here"), "{said}: {out}");
        }
    }

    #[test]
    fn what_goes_by_its_form_cuts_no_value_in_pieces_and_leaves_nothing_behind() {
        let mut secrets = Secrets::default();
        secrets.add_configuration("url = \"https://host.example/v1/INLHOOKx7/INLTOKEN9=w?k=v\"\n", &[]);
        secrets.add("secret-ab\"q\\z88");
        for (text, left) in [
            ("at https://host.example/v1/INLHOOKx7/INLTOKEN9=w?k=v, so", "at https://host.example/[…], so"),
            ("at https://host.example/v1/INLHOOKx7/INLTOKEN9=w, so", "at https://host.example/[…], so"),
            ("no /v1/INLHOOKx7/INLTOKEN9=w here", "no /[…] here"),
            ("key \"secret-ab\"q\\z88\" is", "key \"[…]\" is"),
            ("{\"key\":\"secret-ab\\\"q\\\\z88\"}", "{\"key\":\"[…]\"}"),
            ("password=secret-ab\"q\\z88more next", "password=[…] next"),
        ] {
            assert_eq!(secrets.take_out(text), left);
        }
        let whole = STANDARD.encode("POST https://host.example/v1/INLHOOKx7/INLTOKEN9=w?k=v");
        assert_eq!(secrets.take_out(&format!("sent {whole} there")), "sent […] there");
    }

    #[test]
    fn what_the_agent_itself_has_cut_short_goes_too() {
        let mut secrets = Secrets::default();
        secrets.add("BRKPW p@ss/w+rd=%oo44");
        secrets.add_configuration("url = \"https://host.example/v1/INLHOOKx7Yz/INLTOKEN9\"\n", &[]);
        for (text, left) in [
            ("refused: BRKPW+p%40s…", "refused: […]…"),
            ("refused: INLH…", "refused: […]…"),
            ("POST https://host.example/v1/INLHOO… failed", "POST https://host.example/[…] failed"),
            ("an answer that goes on…", "an answer that goes on…"),
        ] {
            assert_eq!(secrets.take_out(text), left);
        }
    }

    #[test]
    fn what_stands_before_an_address_where_only_one_should_stand_goes() {
        let text = "url = TOKENab12https://host.example/x\nurl = \"TOKENab12https://host.example/x\"\n";
        let mut secrets = Secrets::default();
        secrets.add_configuration(text, &[]);
        assert!(!secrets.configuration(text).contains("TOKEN"), "{}", secrets.configuration(text));
    }

    #[test]
    fn keys_that_are_misspelt_and_what_logs_say_of_secrets_are_taken_out() {
        let secrets = Secrets::default();
        for line in [
            "passwrd = \"hunter2x\"",
            "pass_word = \"hunter2x\"",
            "authkey = \"hunter2x\"",
            "access_token = 'hunter2x'",
            "pasword = \"hunter2x\"",
            "webhook = \"hunter2x\"",
            "pw = \"hunter2x\"",
        ] {
            assert!(!secrets.configuration(line).contains("hunter2x"), "{line}");
        }
        for line in [
            "\"apiKey\":\"hunter2x\"",
            "pwd: hunter2x",
            "pass phrase: hunter2x",
            "password 'hunter2x' refused",
            "the password is hunter2x, it said",
            "argv[]=/usr/bin/x run --token hunter2x --fast ;",
            "--api-key hunter2x",
        ] {
            let out = secrets.take_out(line);
            assert!(!out.contains("hunter2x") && out.contains(MARK), "{line}: {out}");
        }
        for line in [
            "the token is",
            "a password that nobody gave",
            "this token isolates",
            "--password-file /etc/x --token --fast",
            "-- token nobody gave",
        ] {
            assert_eq!(secrets.take_out(line), line);
        }
    }

    #[test]
    fn what_looks_like_a_secret_goes_and_what_does_not_stays() {
        for (text, left) in [
            ("GET https://api.soracom.io/v1/x/abc?k=1 failed", "GET https://api.soracom.io/[…] failed"),
            ("mqtt://me:pw@broker:1883", "mqtt://[…]@broker:1883"),
            ("url \"http://uni.soracom.io/\"", "url \"http://uni.soracom.io/\""),
            ("password=hunter2 next", "password=[…] next"),
            (r#"{"token":"abc","x":1}"#, r#"{"token":"[…]","x":1}"#),
            (r#"{"token": null}"#, r#"{"token": null}"#),
            ("Authorization: Bearer abc.def", "Authorization: Bearer […]"),
            ("key secret-aBc and keyId-9", "key […] and […]"),
            ("a -----BEGIN PRIVATE KEY-----\nMIIE\n-----END PRIVATE KEY-----\nb", "[…]\nb"),
            ("token_timeout = \"24h\"", "token_timeout = \"24h\""),
            ("日本語 42", "日本語 42"),
        ] {
            assert_eq!(Secrets::default().take_out(text), left);
        }
    }

    #[test]
    fn a_configuration_keeps_paths_and_loses_what_stands_where_paths_should() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("hook");
        std::fs::write(&file, "https://hook.example/v1/part9876/abcdefgh12\n").expect("a file");
        let text = format!(
            "id = \"gw\"\n#password_file = \"hunter22\"\nauth_key_file=\"/b64/with+slash\"\nkey = '''q\nr'''\n\
             url_file = \"{}\"\nlist = [{{ url = \"https://h/deep/inline1234\" }}]\nid = broken",
            file.display()
        );
        let mut secrets = Secrets::default();
        secrets.add_configuration(&text, &[]);
        let left = secrets.configuration(&text);
        for gone in ["hunter22", "with+slash", "inline1234"] {
            assert!(!left.contains(gone), "{gone}: {left}");
        }
        assert!(left.contains("id = \"gw\"") && left.contains(&file.display().to_string()), "{left}");
        assert_eq!(secrets.take_out("seen part9876, abcdefgh12"), "seen […], […]");
    }

    #[test]
    fn a_secret_is_found_in_each_of_its_forms() {
        let mut secrets = Secrets::default();
        secrets.add("pa\"ss w/rd");
        for form in ["pa\"ss w/rd", r#"pa\"ss w/rd"#, "pa%22ss%20w%2Frd"] {
            assert_eq!(secrets.take_out(&format!("x{form}y")), "x[…]y", "{form}");
        }
        assert_eq!(secrets.take_out("x:cGEic3Mgdy9yZA== y"), "x:[…] y");
        secrets.add("abc");
        assert_eq!(secrets.take_out("abc"), "abc", "too short to be told from words");
    }

    proptest! {
        #[test]
        fn no_planted_secret_is_left(
            values in proptest::collection::vec("[ -~…]{4,24}", 1..5),
            between in proptest::collection::vec("[ -~\n…]{0,12}", 6),
        ) {
            let mut secrets = Secrets::default();
            for value in &values {
                secrets.add(value);
            }
            let mut text = between[0].clone();
            for (value, after) in values.iter().zip(&between[1..]) {
                text += value;
                text += after;
            }
            let left = secrets.take_out(&text);
            for value in values.iter().map(|value| value.trim()).filter(|value| value.chars().count() >= SHORTEST) {
                prop_assert!(!left.contains(value), "{value:?} in {left:?}");
            }
        }

        #[test]
        fn a_configuration_never_shows_a_planted_value(value in "[a-zA-Z0-9+_-]{6,30}", comment in any::<bool>()) {
            let keys = ["url", "auth_key_file", "auth_key_file", "password_file", "passwords_file", "key_file", "tls_key"];
            for key in keys {
                let text = format!("{}{key} = \"{value}\"\n# mind {value}\n", if comment { "#" } else { "" });
                let mut secrets = Secrets::default();
                secrets.add_configuration(&text, &[]);
                let left = secrets.configuration(&text);
                prop_assert!(!left.contains(&value) || "mind".contains(&value), "{left}");
            }
        }
    }
}
