//! The questions, one topic after the other. What the file says already is offered as the answer, and each answer is judged by the
//! configuration's rules when it is given: a wrong one is asked for again, and nothing else.

use tidegate::config::Secret;
use tidegate::language::Message;
use tidegate::message;
use tidegate::provider::line::{Links, System};

use super::answers::{Answers, Draft, Kind, LISTEN, Place, TOPICS, Topic, located, pasted};
use super::edit::EditError;
use super::prove::Proof;
use super::terminal::{Stop, Terminal};
use crate::command::Failure;

/// What interfaces of modems are called: WWAN, PPP, and USB modems that look like a LAN.
const MODEMS: [&str; 3] = ["wwan", "ppp", "usb"];

/// Events in a month on a new account's plan.
const EVENTS: &str = "10000";

/// What is written to take away what stands, where Enter keeps it.
const NONE: &str = "-";

/// The questions about one topic, and what is known when they are asked.
pub(super) struct Questions<'a> {
    pub(super) topic: Topic,
    pub(super) terminal: &'a mut Terminal,
    pub(super) proof: &'a Proof,
    /// What the answers become part of.
    pub(super) draft: &'a Draft,
    /// Whose answers are offered: the draft, or what it was with the answers that are to be corrected.
    pub(super) offered: &'a Draft,
    /// The answers that are to be corrected.
    pub(super) before: &'a Answers,
    /// The answers.
    pub(super) answers: Answers,
}

impl Questions<'_> {
    /// Asks what was not answered yet.
    pub(super) fn ask(mut self) -> Result<Answers, Failure> {
        match self.topic {
            Topic::Gateway => self.gateway(),
            Topic::Devices => self.devices(),
            Topic::Line => self.line(),
            Topic::Flux => self.flux(),
            Topic::Limits => self.limits(),
        }?;
        Ok(self.answers)
    }

    fn offered(&self, path: &[&str]) -> Option<String> {
        self.offered.text.get(path)
    }

    /// Asks one thing until the configuration would take the answer as the value of `key`.
    fn until_taken(
        &mut self,
        key: &str,
        mut ask: impl FnMut(&mut Terminal, &mut Answers) -> Result<(), Stop>,
    ) -> Result<(), Failure> {
        loop {
            ask(self.terminal, &mut self.answers)?;
            let mut tried = self.draft.clone();
            tried.apply(self.topic, &self.answers).map_err(EditError::words)?;
            if self.proof.refused(&tried, &|own| own == key)?.is_empty() {
                return Ok(());
            }
        }
    }

    fn gateway(&mut self) -> Result<(), Failure> {
        let present = self.offered(&["gateway", "id"]);
        let question = message!("Name of this gateway (letters A-Z, digits, . _ -)");
        self.until_taken("gateway.id", |terminal, answers| {
            answers.id = Some(terminal.ask(&question, present.as_deref())?);
            Ok(())
        })
    }

    fn devices(&mut self) -> Result<(), Failure> {
        let has = |table: &str| self.offered(&["collect", table]).is_some();
        let present = match (has("listener"), has("broker")) {
            (true, true) => 2,
            (false, true) => 1,
            _ => 0,
        };
        let places = [
            message!("they connect to this gateway"),
            message!("they connect to an MQTT broker that is there already"),
            message!("both"),
        ];
        let place = if let Some(place) = self.answers.place {
            place
        } else {
            let at = self.terminal.choose(&message!("Where are the devices?"), &places, Some(present))?;
            [Place::Listen, Place::Broker, Place::Both][at]
        };
        self.answers.place = Some(place);
        if place != Place::Broker && self.answers.listen.is_none() {
            let now = self.offered(&["collect", "listener", "bind"]);
            let question = message!("Address and port for the devices (0.0.0.0 is every interface)");
            self.until_taken("collect.listener.bind", |terminal, answers| {
                let listen = terminal.ask(&question, Some(now.as_deref().unwrap_or(LISTEN)))?;
                let port_alone = listen.bytes().all(|byte| byte.is_ascii_digit());
                answers.listen = Some(if port_alone { format!("0.0.0.0:{listen}") } else { listen });
                Ok(())
            })?;
        }
        if place != Place::Listen && self.answers.broker.is_none() {
            self.broker()?;
        }
        Ok(())
    }

    fn broker(&mut self) -> Result<(), Failure> {
        self.broker_url()?;
        let get = |key: &str| self.offered(&["collect", "broker", key]);
        let (ca, topics, user) = (get("ca_file"), get("topics"), get("username").unwrap_or_default());
        let stands = get("password_file").is_some();
        if self.answers.broker.as_deref().is_some_and(|url| url.starts_with("mqtts:")) {
            self.until_taken("collect.broker.ca_file", |terminal, answers| {
                let ca = match &ca {
                    None => terminal
                        .ask(&message!("File with the CA of its certificate (empty: the system's)"), Some(""))?,
                    Some(ca) => {
                        let question =
                            message!("File with the CA of its certificate ({none}: the system's)", none = NONE);
                        or_none(terminal.ask(&question, Some(ca))?)
                    }
                };
                answers.broker_ca = Some(ca).map(|ca| located(&ca));
                Ok(())
            })?;
        }
        if self.answers.broker.as_deref().is_some_and(|url| url.starts_with("mqtt:")) && ca.is_some() {
            // It would be refused without TLS, and was not asked about.
            self.answers.broker_ca = Some(String::new());
        }
        if self.answers.topics.is_empty() && topics.is_none() {
            self.until_taken("collect.broker.topics", |terminal, answers| {
                answers.topics = vec![terminal.ask(&message!("Topics to subscribe"), Some(TOPICS))?];
                Ok(())
            })?;
        }
        if self.answers.broker_user.is_some() {
            return Ok(());
        }
        self.until_taken("collect.broker.username", |terminal, answers| {
            answers.broker_user = Some(if user.is_empty() {
                terminal.ask(&message!("User name for the broker (empty: none)"), Some(""))?
            } else {
                let question = message!("User name for the broker ({none}: none)", none = NONE);
                or_none(terminal.ask(&question, Some(&user))?)
            });
            Ok(())
        })?;
        if self.answers.broker_user.as_deref() != Some("") {
            let question = if stands {
                message!("Password for the broker (not shown; empty: as it is):")
            } else {
                message!("Password for the broker (not shown):")
            };
            let before = self.before.broker_password.clone();
            self.until_taken("collect.broker.password_file", |terminal, answers| {
                let password = alone(terminal, &question, stands, str::to_owned)?;
                answers.broker_password = password.or_else(|| before.clone());
                Ok(())
            })?;
        }
        Ok(())
    }

    /// Host, TLS and port of the broker: its URL.
    fn broker_url(&mut self) -> Result<(), Failure> {
        let now = self.offered(&["collect", "broker", "url"]).unwrap_or_else(|| "mqtt://127.0.0.1".into());
        let (mut tls, now, mut port) = broker_parts(&now);
        let mut host = String::new();
        self.until_taken("collect.broker.url", |terminal, answers| {
            let answer = terminal.ask(&message!("Host name or address of the broker"), Some(&now))?;
            // Somebody may paste all of it here.
            let (with_tls, named, with_port) = broker_parts(&answer);
            if answer.contains("://") {
                tls = with_tls;
            }
            port = with_port.or(port.take());
            answers.broker = Some(format!("mqtt://{named}:1883"));
            host = named;
            Ok(())
        })?;
        let tls = self.terminal.agree(&message!("Does it speak TLS (y/n)?"), tls)?;
        let usual = if tls { "8883" } else { "1883" };
        let port = port.filter(|port| port != "1883" && port != "8883").unwrap_or_else(|| usual.to_owned());
        self.until_taken("collect.broker.url", |terminal, answers| {
            let port = terminal.ask(&message!("Port of the broker"), Some(&port))?;
            answers.broker = Some(format!("{}://{host}:{port}", if tls { "mqtts" } else { "mqtt" }));
            Ok(())
        })
    }

    fn line(&mut self) -> Result<(), Failure> {
        let now = self.offered(&["forward", "interface"]);
        let Links { interfaces, .. } = System::default().look();
        let modem = interfaces.iter().find(|one| MODEMS.iter().any(|begin| one.name.starts_with(begin)));
        let lines = [
            message!("a SIM: everything goes through the modem's interface"),
            message!("the LAN, or whatever leads out"),
        ];
        let default = usize::from(now.is_none() && modem.is_none());
        let question = message!("How does this gateway reach the outside?");
        if self.terminal.choose(&question, &lines, Some(default))? != 0 {
            self.answers.interface = Some(String::new());
            return Ok(());
        }
        let names = interfaces.iter().map(|one| one.name.as_str()).filter(|name| *name != "lo").collect::<Vec<_>>();
        let question = message!("The modem's interface (here are: {names})", names = names.join(", "));
        let offered = now.or_else(|| modem.map(|one| one.name.clone()));
        self.until_taken("forward.interface", |terminal, answers| {
            answers.interface = Some(terminal.ask(&question, offered.as_deref())?);
            Ok(())
        })
    }

    fn flux(&mut self) -> Result<(), Failure> {
        let present = self.offered(&["forward", "flux", "kind"]);
        let present = present.and_then(|word| Kind::WORDS.iter().position(|(one, _)| *one == word));
        let kind = if let Some(kind) = self.answers.kind {
            kind
        } else {
            let kinds = [
                message!("an incoming webhook: its URL from the user console (Show Webhook URL)"),
                message!("the API, with an authentication key"),
                message!("Unified Endpoint, over a SORACOM SIM or Arc"),
            ];
            let question = message!("How does this gateway reach Flux?");
            Kind::WORDS[self.terminal.choose(&question, &kinds, Some(present.unwrap_or(0)))?].1
        };
        self.answers.kind = Some(kind);
        match kind {
            Kind::Webhook if self.answers.webhook.is_none() => {
                let present = present.is_some_and(|at| Kind::WORDS[at].1 == Kind::Webhook);
                let inline = present && self.offered(&["forward", "flux", "url"]).is_some();
                let stands = inline || self.offered(&["forward", "flux", "url_file"]).is_some();
                let question = if stands {
                    message!("The webhook's whole URL (not shown; empty: as it is):")
                } else {
                    message!("Paste the webhook's whole URL (not shown):")
                };
                let before = self.before.webhook.clone();
                self.until_taken("forward.flux.url_file", |terminal, answers| {
                    answers.webhook = alone(terminal, &question, stands, pasted)?.or_else(|| before.clone());
                    Ok(())
                })
            }
            Kind::Api => self.api(),
            Kind::Unified | Kind::Webhook => Ok(()),
        }
    }

    fn api(&mut self) -> Result<(), Failure> {
        let get = |key: &str| self.offered(&["forward", "flux", key]);
        let (base_url, app, channel) = (get("base_url"), get("app_id"), get("channel_id"));
        let (key_id, names_key_id) = (get("auth_key_id"), get("auth_key_id_file").is_some());
        let stands = get("auth_key_file").is_some();
        if self.answers.base_url.is_none() {
            let now = base_url.clone().unwrap_or_else(|| "https://api.soracom.io".into());
            let question = message!("API of the coverage (Global: {global})", global = "https://g.api.soracom.io");
            self.until_taken("forward.flux.base_url", |terminal, answers| {
                let base = terminal.ask(&question, Some(&now))?;
                answers.base_url = Some(base).filter(|base| *base != now || base_url.is_some());
                Ok(())
            })?;
        }
        if self.answers.app.is_none() {
            self.until_taken("forward.flux.app_id", |terminal, answers| {
                answers.app = Some(terminal.ask(&message!("Id of the Flux app"), app.as_deref())?);
                Ok(())
            })?;
        }
        if self.answers.channel.is_none() {
            self.until_taken("forward.flux.channel_id", |terminal, answers| {
                answers.channel = Some(terminal.ask(&message!("Id of its channel"), channel.as_deref())?);
                Ok(())
            })?;
        }
        if self.answers.key_id.is_none() && !names_key_id {
            let question = message!("Id of the authentication key (keyId-…)");
            self.until_taken("forward.flux.auth_key_id", |terminal, answers| {
                answers.key_id = Some(terminal.ask(&question, key_id.as_deref())?);
                Ok(())
            })?;
        }
        if self.answers.key.is_none() {
            let question = if stands {
                message!("Secret of the authentication key (secret-…, not shown; empty: as it is):")
            } else {
                message!("Secret of the authentication key (secret-…, not shown):")
            };
            let before = self.before.key.clone();
            self.until_taken("forward.flux.auth_key_file", |terminal, answers| {
                answers.key = alone(terminal, &question, stands, str::to_owned)?.or_else(|| before.clone());
                Ok(())
            })?;
        }
        Ok(())
    }

    fn limits(&mut self) -> Result<(), Failure> {
        let [events, bytes, rate] =
            ["events_per_month", "bytes_per_month", "rate"].map(|key| self.offered(&["limits", key]));
        let terms = self.offered(&["provider", "terms"]);
        let stands = events.is_some() || bytes.is_some() || rate.is_some() || terms.is_some();
        let choices = [
            message!("figures that I write"),
            message!("the contract's file with its limits"),
            message!("no limits"),
            message!("as they are"),
        ];
        let (choices, default) = if stands { (&choices[..], 3) } else { (&choices[..3], 0) };
        match self.terminal.choose(&message!("Which limits does the contract set?"), choices, Some(default))? {
            0 => self.figures(&events.unwrap_or_else(|| EVENTS.into()), bytes.as_deref(), rate.as_deref())?,
            1 => {
                let now = terms.unwrap_or_else(|| "/etc/tidegate/terms.toml".into());
                self.until_taken("provider.terms", |terminal, answers| {
                    answers.terms = Some(located(&terminal.ask(&message!("Path of that file"), Some(&now))?));
                    Ok(())
                })?;
            }
            2 => self.answers.no_limits = true,
            _ => {}
        }
        Ok(())
    }

    fn figures(&mut self, events: &str, bytes: Option<&str>, rate: Option<&str>) -> Result<(), Failure> {
        self.until_taken("limits.events_per_month", |terminal, answers| {
            let question = message!("Events in a month, of the whole account (or: unlimited)");
            answers.events = Some(terminal.ask(&question, Some(events))?);
            Ok(())
        })?;
        self.until_taken("limits.bytes_per_month", |terminal, answers| {
            answers.bytes = match bytes {
                None => {
                    filled(terminal.ask(&message!("Bytes in a month, such as 500 MB (empty: no limit)"), Some(""))?)
                }
                Some(now) => {
                    let question = message!("Bytes in a month, such as 500 MB ({none}: no limit)", none = NONE);
                    Some(or_none(terminal.ask(&question, Some(now))?))
                }
            };
            Ok(())
        })?;
        self.until_taken("limits.rate", |terminal, answers| {
            answers.rate = match rate {
                None => filled(terminal.ask(&message!("Rate, such as 512 kbit/s (empty: no limit)"), Some(""))?),
                Some(now) => {
                    let question = message!("Rate, such as 512 kbit/s ({none}: no limit)", none = NONE);
                    Some(or_none(terminal.ask(&question, Some(now))?))
                }
            };
            Ok(())
        })
    }
}

/// Whether a broker's address is one with TLS, its host, and its port if there is one. An IPv6 address is taken without brackets
/// (RFC 3986, 3.2.2) where no port stands behind it.
fn broker_parts(address: &str) -> (bool, String, Option<String>) {
    let (scheme, rest) = address.split_once("://").unwrap_or(("mqtt", address));
    let rest = rest.trim_end_matches('/');
    let is_port = |port: &str| !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
    let (host, port) = match rest.rsplit_once(':').filter(|(_, port)| is_port(port)) {
        Some((host, port)) if !host.contains(':') || host.ends_with(']') => (host, Some(port.to_owned())),
        _ => (rest, None),
    };
    let bare = host.contains(':') && !host.starts_with('[');
    (scheme == "mqtts", if bare { format!("[{host}]") } else { host.to_owned() }, port)
}

/// An answer, if there is one.
fn filled(answer: String) -> Option<String> {
    Some(answer).filter(|answer| !answer.is_empty())
}

/// An answer that is empty if it takes away what stands.
fn or_none(answer: String) -> String {
    if answer == NONE { String::new() } else { answer }
}

/// Asks for a secret until there is one and no more of it; `None` if it stays as it is. `of` makes it of what was typed or pasted.
fn alone(
    terminal: &mut Terminal,
    question: &Message,
    may_be_empty: bool,
    of: fn(&str) -> String,
) -> Result<Option<Secret>, Stop> {
    loop {
        let secret = of(&terminal.hidden(question, may_be_empty)?);
        // A URL that a console has broken into lines is one again by now.
        if secret.lines().count() <= 1 && secret.matches("://").count() <= 1 {
            return Ok(filled(secret).map(Secret::new));
        }
        terminal.say(&message!("that is more than one secret; paste one alone"))?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broker_is_what_was_meant_however_it_is_written() {
        for (address, tls, host, port) in [
            ("b.example", false, "b.example", None),
            ("b.example:8884", false, "b.example", Some("8884")),
            ("mqtts://b.example/", true, "b.example", None),
            ("mqtt://10.0.0.1:1884", false, "10.0.0.1", Some("1884")),
            ("fd00::1", false, "[fd00::1]", None),
            ("mqtts://[fd00::1]:8884", true, "[fd00::1]", Some("8884")),
            ("[fd00::1]", false, "[fd00::1]", None),
        ] {
            assert_eq!(broker_parts(address), (tls, host.to_owned(), port.map(str::to_owned)), "{address}");
        }
    }
}
