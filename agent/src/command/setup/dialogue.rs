//! The questions, one topic after the other. What the file says already is offered as the answer.

use tidegate::config::Secret;
use tidegate::language::Message;
use tidegate::message;
use tidegate::provider::line::{Links, System};

use super::answers::{Answers, Draft, Kind, LISTEN, Place, TOPICS, Topic, located, pasted};
use super::terminal::{Stop, Terminal};

/// What interfaces of modems are called: WWAN, PPP, and USB modems that look like a LAN.
const MODEMS: [&str; 3] = ["wwan", "ppp", "usb"];

/// Events in a month on a new account's plan.
const EVENTS: &str = "10000";

/// Asks what was not answered yet about a topic.
pub(super) fn ask(topic: Topic, terminal: &mut Terminal, draft: &Draft, answers: &mut Answers) -> Result<(), Stop> {
    match topic {
        Topic::Gateway => gateway(terminal, draft, answers),
        Topic::Devices => devices(terminal, draft, answers),
        Topic::Line => line(terminal, draft, answers),
        Topic::Flux => flux(terminal, draft, answers),
        Topic::Limits => limits(terminal, draft, answers),
    }
}

/// Asks for a secret until there is one and no more of it. `of` makes it of what was typed or pasted.
fn alone(
    terminal: &mut Terminal,
    question: &Message,
    may_be_empty: bool,
    of: fn(&str) -> String,
) -> Result<String, Stop> {
    loop {
        let secret = of(&terminal.hidden(question, may_be_empty)?);
        // A URL that a console has broken into lines is one again by now.
        if secret.lines().count() <= 1 && secret.matches("://").count() <= 1 {
            return Ok(secret);
        }
        terminal.say(&message!("that is more than one secret; paste one alone"))?;
    }
}

fn gateway(terminal: &mut Terminal, draft: &Draft, answers: &mut Answers) -> Result<(), Stop> {
    let present = draft.text.get(&["gateway", "id"]);
    let question = message!("Name of this gateway (letters A-Z, digits, . _ -)");
    answers.id = Some(terminal.ask(&question, present.as_deref())?);
    Ok(())
}

fn devices(terminal: &mut Terminal, draft: &Draft, answers: &mut Answers) -> Result<(), Stop> {
    let has = |table: &str| draft.text.get(&["collect", table]).is_some();
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
    let place = if let Some(place) = answers.place {
        place
    } else {
        let at = terminal.choose(&message!("Where are the devices?"), &places, Some(present))?;
        [Place::Listen, Place::Broker, Place::Both][at]
    };
    answers.place = Some(place);
    if place != Place::Broker && answers.listen.is_none() {
        let now = draft.text.get(&["collect", "listener", "bind"]);
        let question = message!("Address and port for the devices (0.0.0.0 is every interface)");
        let listen = terminal.ask(&question, Some(now.as_deref().unwrap_or(LISTEN)))?;
        answers.listen =
            Some(if listen.bytes().all(|byte| byte.is_ascii_digit()) { format!("0.0.0.0:{listen}") } else { listen });
    }
    if place != Place::Listen && answers.broker.is_none() {
        broker(terminal, draft, answers)?;
    }
    Ok(())
}

fn broker(terminal: &mut Terminal, draft: &Draft, answers: &mut Answers) -> Result<(), Stop> {
    let get = |key: &str| draft.text.get(&["collect", "broker", key]);
    let now = get("url").unwrap_or_else(|| "mqtt://127.0.0.1:1883".into());
    let (tls, rest) =
        now.strip_prefix("mqtts://").map_or((false, now.trim_start_matches("mqtt://")), |rest| (true, rest));
    let (host, port) = rest.rsplit_once(':').unwrap_or((rest, if tls { "8883" } else { "1883" }));
    let host = terminal.ask(&message!("Host name or address of the broker"), Some(host))?;
    let tls = terminal.agree(&message!("Does it speak TLS (y/n)?"), tls)?;
    let port = if port == "8883" || port == "1883" { if tls { "8883" } else { "1883" } } else { port };
    let port = terminal.ask(&message!("Port of the broker"), Some(port))?;
    answers.broker = Some(format!("{}://{host}:{port}", if tls { "mqtts" } else { "mqtt" }));
    if tls {
        let question = message!("File with the CA of its certificate (empty: the system's)");
        let ca = terminal.ask(&question, Some(get("ca_file").as_deref().unwrap_or_default()))?;
        answers.broker_ca = Some(ca).filter(|ca| !ca.is_empty()).map(|ca| located(&ca));
    }
    if answers.topics.is_empty() && get("topics").is_none() {
        answers.topics = vec![terminal.ask(&message!("Topics to subscribe"), Some(TOPICS))?];
    }
    if answers.broker_user.is_none() {
        let now = get("username").unwrap_or_default();
        let user = terminal.ask(&message!("User name for the broker (empty: none)"), Some(&now))?;
        if !user.is_empty() {
            let stands = get("password_file").is_some();
            let question = if stands {
                message!("Password for the broker (not shown; empty: as it is):")
            } else {
                message!("Password for the broker (not shown):")
            };
            let password = alone(terminal, &question, stands, str::to_owned)?;
            answers.broker_password = Some(password).filter(|text| !text.is_empty()).map(Secret::new);
        }
        answers.broker_user = Some(user);
    }
    Ok(())
}

fn line(terminal: &mut Terminal, draft: &Draft, answers: &mut Answers) -> Result<(), Stop> {
    let now = draft.text.get(&["forward", "interface"]);
    let Links { interfaces, .. } = System::default().look();
    let modem = interfaces.iter().find(|one| MODEMS.iter().any(|begin| one.name.starts_with(begin)));
    let lines =
        [message!("a SIM: everything goes through the modem's interface"), message!("the LAN, or whatever leads out")];
    let default = usize::from(now.is_none() && modem.is_none());
    let question = message!("How does this gateway reach the outside?");
    answers.interface = Some(if terminal.choose(&question, &lines, Some(default))? == 0 {
        let names = interfaces.iter().map(|one| one.name.as_str()).filter(|name| *name != "lo").collect::<Vec<_>>();
        let question = message!("The modem's interface (here are: {names})", names = names.join(", "));
        let offered = now.or_else(|| modem.map(|one| one.name.clone()));
        terminal.ask(&question, offered.as_deref())?
    } else {
        String::new()
    });
    Ok(())
}

fn flux(terminal: &mut Terminal, draft: &Draft, answers: &mut Answers) -> Result<(), Stop> {
    let get = |key: &str| draft.text.get(&["forward", "flux", key]);
    let present = get("kind").and_then(|word| Kind::WORDS.iter().position(|(one, _)| *one == word));
    let kind = if let Some(kind) = answers.kind {
        kind
    } else {
        let kinds = [
            message!("an incoming webhook: its URL from the user console (Show Webhook URL)"),
            message!("the API, with an authentication key"),
            message!("Unified Endpoint, over a SORACOM SIM or Arc"),
        ];
        let question = message!("How does this gateway reach Flux?");
        Kind::WORDS[terminal.choose(&question, &kinds, Some(present.unwrap_or(0)))?].1
    };
    answers.kind = Some(kind);
    match kind {
        Kind::Unified => {}
        Kind::Webhook => {
            if answers.webhook.is_none() {
                let stands = get("url_file").is_some();
                let question = if stands {
                    message!("The webhook's whole URL (not shown; empty: as it is):")
                } else {
                    message!("Paste the webhook's whole URL (not shown):")
                };
                let url = alone(terminal, &question, stands, pasted)?;
                answers.webhook = Some(url).filter(|url| !url.is_empty()).map(Secret::new);
            }
        }
        Kind::Api => api(terminal, draft, answers)?,
    }
    Ok(())
}

fn api(terminal: &mut Terminal, draft: &Draft, answers: &mut Answers) -> Result<(), Stop> {
    let get = |key: &str| draft.text.get(&["forward", "flux", key]);
    if answers.base_url.is_none() {
        let now = get("base_url").unwrap_or_else(|| "https://api.soracom.io".into());
        let question = message!("API of the coverage (Global: {global})", global = "https://g.api.soracom.io");
        let base = terminal.ask(&question, Some(&now))?;
        answers.base_url = Some(base).filter(|base| *base != now || get("base_url").is_some());
    }
    if answers.app.is_none() {
        answers.app = Some(terminal.ask(&message!("Id of the Flux app"), get("app_id").as_deref())?);
    }
    if answers.channel.is_none() {
        answers.channel = Some(terminal.ask(&message!("Id of its channel"), get("channel_id").as_deref())?);
    }
    if answers.key_id.is_none() && get("auth_key_id_file").is_none() {
        let question = message!("Id of the authentication key (keyId-…)");
        answers.key_id = Some(terminal.ask(&question, get("auth_key_id").as_deref())?);
    }
    if answers.key.is_none() {
        let stands = get("auth_key_file").is_some();
        let question = if stands {
            message!("Secret of the authentication key (secret-…, not shown; empty: as it is):")
        } else {
            message!("Secret of the authentication key (secret-…, not shown):")
        };
        let key = alone(terminal, &question, stands, str::to_owned)?;
        answers.key = Some(key).filter(|key| !key.is_empty()).map(Secret::new);
    }
    Ok(())
}

fn limits(terminal: &mut Terminal, draft: &Draft, answers: &mut Answers) -> Result<(), Stop> {
    let get = |key: &str| draft.text.get(&["limits", key]);
    let keys = ["events_per_month", "bytes_per_month", "rate"];
    let stands = keys.iter().any(|key| get(key).is_some()) || draft.text.get(&["provider", "terms"]).is_some();
    let choices = [
        message!("figures that I write"),
        message!("the contract's file with its limits"),
        message!("no limits"),
        message!("as they are"),
    ];
    let (choices, default) = if stands { (&choices[..], 3) } else { (&choices[..3], 0) };
    match terminal.choose(&message!("Which limits does the contract set?"), choices, Some(default))? {
        0 => {
            let now = get("events_per_month").unwrap_or_else(|| EVENTS.into());
            let question = message!("Events in a month, of the whole account (or: unlimited)");
            answers.events = Some(terminal.ask(&question, Some(&now))?);
            let optional = |now: Option<String>| now.unwrap_or_default();
            let question = message!("Bytes in a month, such as 500 MB (empty: no limit)");
            let bytes = terminal.ask(&question, Some(&optional(get("bytes_per_month"))))?;
            answers.bytes = Some(bytes).filter(|text| !text.is_empty());
            let question = message!("Rate, such as 512 kbit/s (empty: no limit)");
            let rate = terminal.ask(&question, Some(&optional(get("rate"))))?;
            answers.rate = Some(rate).filter(|text| !text.is_empty());
        }
        1 => {
            let now = draft.text.get(&["provider", "terms"]).unwrap_or_else(|| "/etc/tidegate/terms.toml".into());
            answers.terms = Some(located(&terminal.ask(&message!("Path of that file"), Some(&now))?));
        }
        2 => answers.no_limits = true,
        _ => {}
    }
    Ok(())
}
