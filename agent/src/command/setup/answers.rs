//! What is asked, and what the answers make of a configuration.
//!
//! An answer that was not given leaves the file as it is.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use tidegate::config::{self, Config, Errors, Secret};

use super::edit::{EditError, Text, quoted};

/// Where devices connect unless somebody says otherwise: every interface, MQTT's registered port.
pub(super) const LISTEN: &str = "0.0.0.0:1883";

/// What is subscribed on a broker unless somebody says otherwise: what the default topic rules are for.
pub(super) const TOPICS: &str = "devices/#";

/// Files with secrets that are not used any more, of one kind: nobody changes the way to Flux as often, and a folder in which none can
/// be looked at must come to an end.
const OLD: u32 = 99;

/// What files with secrets are called; one that is not used any more has `.old` or `.old2` and so on behind it.
pub(super) const SECRETS: [&str; 4] = ["webhook-url", "auth-key", "auth-key-id", "broker-password"];

/// One thing that is asked about, in the order of asking: the line is there before Flux is tried over it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Topic {
    Gateway,
    Devices,
    Line,
    Flux,
    Limits,
}

impl Topic {
    pub(super) const ALL: [Self; 5] = [Self::Gateway, Self::Devices, Self::Line, Self::Flux, Self::Limits];

    /// Whether a key of the configuration is what this topic is about.
    pub(super) fn has(self, key: &str) -> bool {
        let below = |table: &str| key == table || key.strip_prefix(table).is_some_and(|rest| rest.starts_with('.'));
        match self {
            Self::Gateway => below("gateway"),
            Self::Devices => below("collect"),
            Self::Line => key == "forward.interface",
            Self::Flux => below("forward.flux"),
            Self::Limits => below("limits") || key == "provider.terms",
        }
    }
}

/// Where the devices are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Place {
    /// They connect to Tidegate
    Listen,
    /// They connect to a broker that is there already
    Broker,
    /// Some connect to Tidegate, some to a broker
    Both,
}

/// How Flux is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Kind {
    /// An incoming webhook
    Webhook,
    /// The API with an authentication key
    Api,
    /// Unified Endpoint over a SORACOM SIM or Arc
    Unified,
}

impl Kind {
    /// The kinds by the configuration's words.
    pub(super) const WORDS: [(&'static str, Self); 3] =
        [("webhook", Self::Webhook), ("api", Self::Api), ("unified", Self::Unified)];

    fn word(self) -> &'static str {
        Self::WORDS.iter().find(|(_, kind)| *kind == self).map_or("", |(word, _)| word)
    }

    /// The keys of `[forward.flux]` that belong to another kind.
    fn foreign(self) -> Vec<&'static str> {
        let api =
            ["base_url", "app_id", "channel_id", "auth_key_id", "auth_key_id_file", "auth_key_file", "token_timeout"];
        match self {
            Self::Webhook => api.to_vec(),
            Self::Api => vec!["url_file"],
            Self::Unified => [&["url_file"][..], &api].concat(),
        }
    }
}

/// All answers.
#[derive(Debug, Clone, Default)]
pub(super) struct Answers {
    pub(super) id: Option<String>,
    pub(super) place: Option<Place>,
    pub(super) listen: Option<String>,
    pub(super) broker: Option<String>,
    pub(super) topics: Vec<String>,
    /// Empty: none.
    pub(super) broker_user: Option<String>,
    pub(super) broker_password: Option<Secret>,
    /// Empty: the system's.
    pub(super) broker_ca: Option<String>,
    /// Empty: any that has a route.
    pub(super) interface: Option<String>,
    pub(super) kind: Option<Kind>,
    pub(super) webhook: Option<Secret>,
    pub(super) base_url: Option<String>,
    pub(super) app: Option<String>,
    pub(super) channel: Option<String>,
    pub(super) key_id: Option<String>,
    pub(super) key: Option<Secret>,
    pub(super) unified_url: Option<String>,
    pub(super) flux_ca: Option<String>,
    pub(super) no_limits: bool,
    pub(super) terms: Option<String>,
    pub(super) events: Option<String>,
    /// Empty: no limit.
    pub(super) bytes: Option<String>,
    /// Empty: no limit.
    pub(super) rate: Option<String>,
}

impl Answers {
    /// Forgets the answer that is a key's value, so that it is asked for again. Whether there was one; `None` if no question is
    /// about that key.
    pub(super) fn forget(&mut self, key: &str) -> Option<bool> {
        let text = match key {
            "gateway.id" => &mut self.id,
            "collect.listener.bind" => &mut self.listen,
            "collect.broker.url" => &mut self.broker,
            "collect.broker.username" => &mut self.broker_user,
            "collect.broker.ca_file" => &mut self.broker_ca,
            "forward.interface" => &mut self.interface,
            "forward.flux.base_url" => &mut self.base_url,
            "forward.flux.app_id" => &mut self.app,
            "forward.flux.channel_id" => &mut self.channel,
            "forward.flux.auth_key_id" => &mut self.key_id,
            "limits.events_per_month" => &mut self.events,
            "limits.bytes_per_month" => &mut self.bytes,
            "limits.rate" => &mut self.rate,
            "provider.terms" => &mut self.terms,
            "collect.broker.password_file" => return Some(self.broker_password.take().is_some()),
            "forward.flux.url_file" => return Some(self.webhook.take().is_some()),
            "forward.flux.auth_key_file" => return Some(self.key.take().is_some()),
            // Not asked where some stand in the file.
            "collect.broker.topics" if !self.topics.is_empty() => {
                self.topics.clear();
                return Some(true);
            }
            _ => return None,
        };
        Some(text.take().is_some())
    }

    /// What need not be asked again after a bad test: with both a listener and a broker, what is about that of them that is good.
    pub(super) fn good_part(&self, listener: bool, broker: bool) -> Self {
        if self.place != Some(Place::Both) || listener == broker {
            return Self::default();
        }
        if broker {
            return Self { listen: None, ..self.clone() };
        }
        Self { place: self.place, listen: self.listen.clone(), ..Self::default() }
    }

    /// Whether something of a topic was answered.
    pub(super) fn about(&self, topic: Topic) -> bool {
        match topic {
            Topic::Gateway => self.id.is_some(),
            Topic::Devices => {
                self.place.is_some()
                    || self.listen.is_some()
                    || self.broker.is_some()
                    || !self.topics.is_empty()
                    || self.broker_user.is_some()
                    || self.broker_password.is_some()
                    || self.broker_ca.is_some()
            }
            Topic::Line => self.interface.is_some(),
            Topic::Flux => {
                let texts = [&self.base_url, &self.app, &self.channel, &self.key_id, &self.unified_url, &self.flux_ca];
                self.kind.is_some()
                    || self.webhook.is_some()
                    || self.key.is_some()
                    || texts.iter().any(|text| text.is_some())
            }
            Topic::Limits => {
                let texts = [&self.terms, &self.events, &self.bytes, &self.rate];
                self.no_limits || texts.iter().any(|text| text.is_some())
            }
        }
    }
}

/// A configuration that is not written yet.
#[derive(Debug, Clone)]
pub(super) struct Draft {
    pub(super) text: Text,
    /// The secrets that are not in their files yet.
    pub(super) secrets: BTreeMap<PathBuf, Secret>,
    /// Those of them that stood in the text and are not used any more.
    pub(super) kept: BTreeSet<PathBuf>,
    folder: PathBuf,
}

impl Draft {
    /// A draft of a text; `folder` is where new secrets shall stand.
    pub(super) fn new(text: Text, folder: PathBuf) -> Self {
        Self { text, secrets: BTreeMap::new(), kept: BTreeSet::new(), folder }
    }

    /// The folder of the secrets.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    fn put(&mut self, path: &[&str], value: Option<&String>) -> Result<(), EditError> {
        value.map_or(Ok(()), |value| self.text.set(path, &quoted(value)))
    }

    /// The same; an empty value takes the key away.
    fn put_or_unset(&mut self, path: &[&str], value: Option<&String>) -> Result<(), EditError> {
        if value.is_some_and(String::is_empty) { self.text.unset(path) } else { self.put(path, value) }
    }

    /// Names the secret's file in the configuration, and keeps the secret for it.
    fn keep(&mut self, path: &[&str], name: &str, secret: Option<&Secret>) -> Result<(), EditError> {
        let Some(secret) = secret else { return Ok(()) };
        let file = self.folder.join(name);
        self.text.set(path, &quoted(&file.to_string_lossy()))?;
        self.secrets.insert(file, secret.clone());
        Ok(())
    }

    /// Takes a secret that stands in the text away and keeps it in a file, which a comment in its place names.
    fn retire(&mut self, key: &str, file_key: &str, name: &str) -> Result<(), EditError> {
        let path = ["forward", "flux", key];
        let Some(secret) = self.text.get(&path).map(Secret::new) else { return Ok(()) };
        let is_free = |file: &PathBuf| match self.secrets.get(file) {
            Some(other) => *other == secret,
            None => match std::fs::read_to_string(file) {
                Ok(text) => text.trim() == secret.expose(),
                Err(error) => error.kind() == std::io::ErrorKind::NotFound,
            },
        };
        let names = std::iter::once(format!("{name}.old")).chain((2..=OLD).map(|number| format!("{name}.old{number}")));
        let Some(file) = names.map(|name| self.folder.join(name)).find(is_free) else {
            let wanted = format!("{file_key} = \"…\", with the secret in that file");
            return Err(EditError { key: path.join("."), wanted });
        };
        self.text.retire(&path, file_key, &quoted(&file.to_string_lossy()))?;
        self.kept.insert(file.clone());
        self.secrets.insert(file, secret);
        Ok(())
    }

    /// Makes what was answered about a topic part of it.
    pub(super) fn apply(&mut self, topic: Topic, answers: &Answers) -> Result<(), EditError> {
        if !answers.about(topic) {
            return Ok(());
        }
        match topic {
            Topic::Gateway => self.put(&["gateway", "id"], answers.id.as_ref()),
            Topic::Devices => self.devices(answers),
            Topic::Line => self.put_or_unset(&["forward", "interface"], answers.interface.as_ref()),
            Topic::Flux => self.flux(answers),
            Topic::Limits => self.limits(answers),
        }
    }

    fn devices(&mut self, answers: &Answers) -> Result<(), EditError> {
        const LISTENER: [&str; 2] = ["collect", "listener"];
        const BROKER: [&str; 2] = ["collect", "broker"];
        let here = matches!(answers.place, Some(Place::Listen | Place::Both)) || answers.listen.is_some();
        let there = matches!(answers.place, Some(Place::Broker | Place::Both)) || answers.broker.is_some();
        if here {
            let stands = self.text.get(&LISTENER).is_some();
            let bind = answers.listen.clone().or_else(|| (!stands).then(|| LISTEN.to_owned()));
            self.put(&["collect", "listener", "bind"], bind.as_ref())?;
        }
        if there || self.text.get(&BROKER).is_some() {
            self.put(&["collect", "broker", "url"], answers.broker.as_ref())?;
            let default = self.text.get(&["collect", "broker", "topics"]).is_none();
            if !answers.topics.is_empty() || default {
                let topics = if answers.topics.is_empty() { vec![TOPICS.to_owned()] } else { answers.topics.clone() };
                let all = topics.iter().map(|topic| quoted(topic)).collect::<Vec<_>>().join(", ");
                self.text.set(&["collect", "broker", "topics"], &format!("[{all}]"))?;
            }
            match answers.broker_user.as_deref() {
                Some("") => {
                    self.text.unset(&["collect", "broker", "username"])?;
                    self.text.unset(&["collect", "broker", "password_file"])?;
                }
                _ => self.put(&["collect", "broker", "username"], answers.broker_user.as_ref())?,
            }
            let password = ["collect", "broker", "password_file"];
            self.keep(&password, "broker-password", answers.broker_password.as_ref())?;
            self.put_or_unset(&["collect", "broker", "ca_file"], answers.broker_ca.as_ref())?;
        }
        match answers.place {
            Some(Place::Listen) => self.text.unset(&BROKER),
            Some(Place::Broker) => self.text.unset(&LISTENER),
            _ => Ok(()),
        }
    }

    fn flux(&mut self, answers: &Answers) -> Result<(), EditError> {
        let stands = self.text.get(&["forward", "flux", "kind"]);
        if let Some(kind) = answers.kind {
            self.text.set(&["forward", "flux", "kind"], &quoted(kind.word()))?;
            for key in kind.foreign() {
                if key == "auth_key_id" {
                    self.retire(key, "auth_key_id_file", "auth-key-id")?;
                } else {
                    self.text.unset(&["forward", "flux", key])?;
                }
            }
        }
        let moved = answers.kind.is_some_and(|kind| stands.as_deref() != Some(kind.word()));
        if answers.webhook.is_some() || moved {
            // A `url` is the secret itself where it is a webhook's.
            if stands.as_deref() == Some(Kind::Webhook.word()) {
                self.retire("url", "url_file", "webhook-url")?;
            } else {
                self.text.unset(&["forward", "flux", "url"])?;
            }
        }
        self.keep(&["forward", "flux", "url_file"], "webhook-url", answers.webhook.as_ref())?;
        self.put(&["forward", "flux", "base_url"], answers.base_url.as_ref())?;
        self.put(&["forward", "flux", "app_id"], answers.app.as_ref())?;
        self.put(&["forward", "flux", "channel_id"], answers.channel.as_ref())?;
        if answers.key_id.is_some() {
            self.text.unset(&["forward", "flux", "auth_key_id_file"])?;
        }
        self.put(&["forward", "flux", "auth_key_id"], answers.key_id.as_ref())?;
        self.keep(&["forward", "flux", "auth_key_file"], "auth-key", answers.key.as_ref())?;
        self.put(&["forward", "flux", "url"], answers.unified_url.as_ref())?;
        self.put(&["forward", "flux", "ca_file"], answers.flux_ca.as_ref())
    }

    fn limits(&mut self, answers: &Answers) -> Result<(), EditError> {
        if answers.no_limits {
            self.text.set(&["limits", "events_per_month"], "\"unlimited\"")?;
            for path in [["limits", "bytes_per_month"], ["limits", "rate"], ["provider", "terms"]] {
                self.text.unset(&path)?;
            }
        }
        self.put(&["provider", "terms"], answers.terms.as_ref())?;
        if let Some(events) = &answers.events {
            let number = !events.is_empty() && events.bytes().all(|byte| byte.is_ascii_digit());
            let value = if number { events.clone() } else { quoted(events) };
            self.text.set(&["limits", "events_per_month"], &value)?;
        }
        self.put_or_unset(&["limits", "bytes_per_month"], answers.bytes.as_ref())?;
        self.put_or_unset(&["limits", "rate"], answers.rate.as_ref())
    }

    /// The flags that would answer what is still missing about a topic. `fresh`: there was no configuration.
    pub(super) fn missing(&self, topic: Topic, answers: &Answers, fresh: bool) -> Vec<&'static str> {
        let lacks = |path: &[&str]| self.text.get(path).is_none();
        let flux = |key: &str| lacks(&["forward", "flux", key]);
        match topic {
            Topic::Gateway if lacks(&["gateway", "id"]) => vec!["--id"],
            Topic::Devices if fresh && !answers.about(topic) => vec!["--devices"],
            Topic::Devices if !lacks(&["collect", "broker"]) && lacks(&["collect", "broker", "url"]) => {
                vec!["--broker"]
            }
            Topic::Line if fresh && !answers.about(topic) => vec!["--interface"],
            Topic::Limits if fresh && !answers.about(topic) => vec!["--events-per-month"],
            Topic::Flux => match self.text.get(&["forward", "flux", "kind"]).as_deref() {
                None => vec!["--flux"],
                Some("webhook") if flux("url_file") && flux("url") => vec!["--webhook-file"],
                Some("api") => {
                    let mut missing = Vec::new();
                    for (key, flag) in [("app_id", "--app"), ("channel_id", "--channel")] {
                        missing.extend(flux(key).then_some(flag));
                    }
                    missing.extend((flux("auth_key_id") && flux("auth_key_id_file")).then_some("--auth-key-id"));
                    missing.extend(flux("auth_key_file").then_some("--auth-key-file"));
                    missing
                }
                Some(_) => vec![],
            },
            _ => vec![],
        }
    }

    /// The configuration as it would be.
    pub(super) fn config(&self, name: &str) -> Result<Config, Errors> {
        config::parse_with(self.text.as_str(), name, &self.secrets)
    }

    /// The same with something in the place of what was not asked yet, to try what was.
    pub(super) fn trial(&self, name: &str) -> Result<Config, Errors> {
        let mut trial = self.clone();
        for (path, value) in [(&["gateway", "id"][..], "\"gateway\""), (&["forward", "flux", "kind"], "\"unified\"")] {
            if trial.text.get(path).is_none() {
                // If it cannot be set, it is missed, and said.
                let _ = trial.text.set(path, value);
            }
        }
        trial.config(name)
    }
}

/// A path as the configuration needs it: what is written relative is meant from the folder that one is in.
pub(super) fn located(path: &str) -> String {
    // Only an empty path cannot be made absolute, or one in a folder that was removed meanwhile.
    std::path::absolute(path).map_or_else(|_| path.to_owned(), |path| path.to_string_lossy().into_owned())
}

/// A webhook's URL as it was pasted: without line breaks, spaces and quotes, which consoles, mails and chats put there.
pub(super) fn pasted(text: &str) -> String {
    let around = |c: char| matches!(c, '"' | '\'' | '`' | '“' | '”' | '‘' | '’' | '「' | '」' | '<' | '>' | '(' | ')');
    let kept = |c: &char| !c.is_whitespace() && !c.is_control() && !matches!(c, '\u{200b}'..='\u{200d}' | '\u{feff}');
    text.chars().filter(kept).collect::<String>().trim_matches(around).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draft(text: &str) -> Draft {
        Draft::new(Text::new(text).expect("TOML"), PathBuf::from("/s"))
    }

    fn apply(draft: &mut Draft, answers: &Answers) {
        for topic in Topic::ALL {
            draft.apply(topic, answers).expect("a form that is known");
        }
    }

    #[test]
    fn a_secret_that_no_file_can_be_found_for_stays_where_it_is() {
        let mut it = draft("[forward.flux]\nkind = \"webhook\"\nurl = \"https://h/x\"\n");
        it.folder = PathBuf::from("/dev/null");
        let error = it.apply(Topic::Flux, &Answers { kind: Some(Kind::Unified), ..Answers::default() });
        assert!(error.is_err_and(|error| error.to_string().contains("forward.flux.url")));
        assert!(it.text.as_str().contains("\nurl = \"https://h/x\""));
    }

    #[test]
    fn answers_make_a_configuration_that_is_accepted() {
        let mut it = draft("");
        let answers = Answers {
            id: Some("gw-1".into()),
            place: Some(Place::Both),
            broker: Some("mqtt://127.0.0.1:1884".into()),
            broker_user: Some("t".into()),
            broker_password: Some(Secret::new("p")),
            interface: Some("wwan0".into()),
            kind: Some(Kind::Api),
            app: Some("a".into()),
            channel: Some("c".into()),
            key_id: Some("keyId-x".into()),
            key: Some(Secret::new("secret-y")),
            events: Some("500".into()),
            bytes: Some("1 MB".into()),
            rate: Some("512 kbit/s".into()),
            ..Answers::default()
        };
        assert_eq!(it.missing(Topic::Flux, &Answers::default(), true), ["--flux"]);
        apply(&mut it, &answers);
        let config = it.config("t").expect("accepted");
        assert_eq!(config.forward.interface.as_deref(), Some("wwan0"));
        assert!(config.collect.listener.is_some() && config.collect.broker.is_some());
        assert!(!it.text.as_str().contains("secret-y"));
        assert_eq!(it.secrets.len(), 2);
        let known = |file: &PathBuf| SECRETS.iter().any(|name| file.ends_with(name));
        assert!(it.secrets.keys().all(known), "{:?}", it.secrets.keys());
    }

    #[test]
    fn another_kind_leaves_nothing_of_the_one_before_and_no_secret_in_the_text() {
        let mut it =
            draft("[forward.flux]\nkind = \"webhook\"\nurl = \"https://x/incoming_webhooks/a/b\"\n[gateway]\nid='g'\n");
        apply(&mut it, &Answers { kind: Some(Kind::Unified), ..Answers::default() });
        assert!(it.config("t").is_ok() && !it.text.as_str().contains("incoming"), "{}", it.text.as_str());
        let webhook = Some(Secret::new("https://x.test/a"));
        apply(&mut it, &Answers { kind: Some(Kind::Webhook), webhook, ..Answers::default() });
        assert!(it.config("t").is_ok(), "{}", it.text.as_str());
        apply(
            &mut it,
            &Answers {
                no_limits: true,
                place: Some(Place::Broker),
                broker: Some("mqtts://b".into()),
                ..Answers::default()
            },
        );
        apply(&mut it, &Answers { place: Some(Place::Listen), interface: Some(String::new()), ..Answers::default() });
        let config = it.config("t").expect("accepted");
        assert!(config.collect.listener.is_some() && config.collect.broker.is_none());
    }

    #[test]
    fn a_pasted_url_is_what_was_meant() {
        for text in ["\"https://a/b/c\"\n", " 「https://a/\n b/c」", "\u{feff}https://a/b\r\n/c\n\n", "`https://a/b/c`"]
        {
            assert_eq!(pasted(text), "https://a/b/c", "{text:?}");
        }
    }
}
