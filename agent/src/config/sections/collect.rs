//! `[collect]`: listener, broker, rules.

mod allow;
mod fields;

pub(super) use fields::fields;

use std::net::SocketAddr;
use std::time::Duration;

use super::super::address;
use super::super::error::shown;
use super::super::keys::nearest;
use super::super::model::{Broker, Collect, Lane, Listener, MqttVersion, Rule, Tls};
use super::super::pattern;
use super::super::reader::{Section, Value, found_text};
use super::super::surroundings::Content;
use super::{DAY, KIB, MIB, pair, warn_of_any_port};
use crate::language::Message;
use crate::message;

/// Most rules: each publish on a new topic is compared with all of them.
const MAX_RULES: usize = 256;

/// Most topic filters: one SUBSCRIBE carries them all, and no broker seen refuses a packet of that size.
const MAX_TOPICS: usize = 64;

/// Longest MQTT client identifier taken here. A broker must take 23 bytes (MQTT 3.1.1, section 3.1.3.1) and all
/// known ones take more than this.
const MAX_CLIENT_ID: usize = 128;

/// Bounds of the largest packet. A record must fit the memory between devices and flash several times over.
const PACKET_SIZE: std::ops::RangeInclusive<u64> = KIB..=MIB;
const DEFAULT_PACKET_SIZE: u64 = 256 * KIB;

const RULE_TOPIC: Message = message!("write a pattern such as \"devices/{{device}}/telemetry\"");

pub(super) fn collect(root: &Section<'_>, gateway_id: &str, lanes: &[Lane]) -> Collect {
    let section = root.section("collect");
    let listener = section.section("listener");
    let broker = section.section("broker");
    let default_lane = section.get("default_lane").and_then(|value| lane(&value, lanes));
    let devices = allow::devices(&section);
    let rules = rules(&section, lanes);
    let broker_there = broker.is_there();
    let broker = broker_there.then(|| self::broker(broker, gateway_id, &rules, default_lane.is_some())).flatten();
    let listener_there = listener.is_there() || !broker_there;
    let listener = listener_there.then(|| self::listener(listener));
    if let (Some((broker, value)), Some(listener)) = (&broker, &listener) {
        let own = [listener.bind, listener.tls.as_ref().map(|tls| tls.bind)];
        let loopback =
            broker.host == "localhost" || broker.host.parse().is_ok_and(|ip: std::net::IpAddr| ip.is_loopback());
        if loopback && own.iter().flatten().any(|address| address.port() == broker.port && broker.port != 0) {
            value.problem(
                message!("port {port} of this machine is Tidegate's own listener", port = broker.port),
                message!("name the broker's port, or move the listener with `bind` in [collect.listener]"),
            );
        }
    }
    let allow = allow::allow(&section, listener.as_ref());
    let (fields, pseudonym_key) = fields(&section);
    section.finish();
    let broker = broker.map(|(broker, _)| broker);
    Collect { listener, broker, default_lane, devices, allow, rules, fields, pseudonym_key }
}

/// The lanes' names as a message lists them.
fn listed(lanes: &[Lane]) -> String {
    let list: Vec<String> = lanes.iter().map(|lane| shown(&lane.name).to_string()).collect();
    list.join(", ")
}

fn lane(value: &Value<'_>, lanes: &[Lane]) -> Option<String> {
    let advice = message!("write one of {words}", words = listed(lanes));
    let text = value.text(&advice)?;
    let names: Vec<&str> = lanes.iter().map(|lane| lane.name.as_str()).collect();
    // A lane whose name is missing, which is said there, may be the one that is meant.
    if names.contains(&text) || names.contains(&"") {
        return Some(text.to_owned());
    }
    let advice = match nearest(text, &names) {
        Some(near) => message!("{advice} (perhaps \"{near}\")", advice = advice, near = near),
        None => advice,
    };
    value.problem(message!("{what} is not a lane", what = shown(text)), advice);
    None
}

/// The rules that stand when the file has none.
pub(super) fn default_rules() -> Vec<Rule> {
    [
        ("devices/{device}/alarm/#", "critical"),
        ("devices/{device}/telemetry/#", "normal"),
        ("devices/{device}/bulk/#", "bulk"),
    ]
    .map(|(topic, lane)| Rule { topic: topic.into(), lane: lane.into() })
    .into()
}

fn rules(section: &Section<'_>, lanes: &[Lane]) -> Vec<Rule> {
    let Some(tables) = section.sections("rule") else {
        let rules = default_rules();
        let known = |name: &str| lanes.iter().any(|lane| lane.name == name || lane.name.is_empty());
        if let Some(rule) = rules.iter().find(|rule| !known(&rule.lane)) {
            let found = message!(
                "missing, and the default rules use the lane {lane}, which is not configured",
                lane = format!("{:?}", rule.lane)
            );
            section.problem(
                "rule",
                found,
                message!("write [[collect.rule]] for the lanes there are: {what}", what = listed(lanes)),
            );
        }
        return rules;
    };
    let mut rules: Vec<Rule> = Vec::new();
    for (index, table) in tables.into_iter().enumerate() {
        if index == MAX_RULES {
            table.missing(
                "topic",
                message!("one rule too many: at most {most}; join some with `+` or `#`", most = MAX_RULES),
            );
            break;
        }
        let topic = table.text("topic", RULE_TOPIC);
        if let Some((text, value)) = &topic {
            if let Err(advice) = pattern::rule(text) {
                value.problem(found_text(text), advice);
            } else if rules.iter().any(|rule| rule.topic == *text) {
                value.warn(
                    message!("{what} stands in an earlier rule", what = shown(text)),
                    message!("remove one: the first that matches wins"),
                );
            }
        } else if !table.has("topic") {
            table.missing("topic", RULE_TOPIC);
        }
        let lane_value = table.get("lane");
        let lane = lane_value.as_ref().and_then(|value| lane(value, lanes));
        if lane_value.is_none() {
            table.missing("lane", message!("write lane = with one of {what}", what = listed(lanes)));
        }
        rules.push(Rule {
            topic: topic.map_or_else(String::new, |(text, _)| text.to_owned()),
            lane: lane.unwrap_or_default(),
        });
        table.finish();
    }
    rules
}

fn bind<'a>(section: &Section<'a>, key: &'static str, port: u16) -> Option<(SocketAddr, Value<'a>)> {
    let (text, value) = section.text(key, message!("write \"127.0.0.1:{port}\"", port = port))?;
    match address::socket_address(text, port) {
        Ok(address) => {
            warn_of_any_port(address, &value);
            Some((address, value))
        }
        Err(advice) => {
            value.problem(found_text(text), advice);
            None
        }
    }
}

fn listener(section: Section<'_>) -> Listener {
    let plain = bind(&section, "bind", 1883);
    let tls = tls(&section);
    let plain_address = match &plain {
        Some((address, value)) => {
            if tls.as_ref().is_some_and(|tls| tls.bind == *address && address.port() != 0) {
                value.problem(
                    message!("{address} is the address of tls_bind", address = address),
                    message!("give each an address of its own"),
                );
            }
            Some(*address)
        }
        None if section.has("tls_bind") && !section.has("bind") => None,
        None => Some(SocketAddr::from(([127, 0, 0, 1], 1883))),
    };
    let passwords_file = section.file("passwords_file", Content::Passwords).map(|(path, _)| path);
    let certificates = tls.as_ref().is_some_and(|tls| tls.require_client_certificate);
    let allow_anonymous = section.boolean("allow_anonymous").unwrap_or(!section.has("passwords_file"));
    if !allow_anonymous && !section.has("passwords_file") && !certificates {
        section.missing("passwords_file", message!("write it, or nobody can connect: allow_anonymous is false"));
    }
    let listener = Listener {
        bind: plain_address,
        tls,
        passwords_file,
        allow_anonymous,
        max_connections: section.integer("max_connections", &(1..=65_535), 1000) as usize,
        max_packet_size: section.size("max_packet_size", &PACKET_SIZE, DEFAULT_PACKET_SIZE) as u32,
        max_sessions: section.integer("max_sessions", &(1..=100_000), 4096) as usize,
        session_max_age: section.duration("session_max_age", &(Duration::from_secs(60)..=365 * DAY), 7 * DAY),
        connect_timeout: section.duration(
            "connect_timeout",
            &(Duration::from_secs(1)..=Duration::from_secs(300)),
            Duration::from_secs(10),
        ),
        receive_maximum: section.integer("receive_maximum", &(1..=65_535), 256) as u16,
    };
    warn_of_open_doors(&listener, plain.as_ref().map(|(_, value)| value));
    section.finish();
    listener
}

fn warn_of_open_doors(listener: &Listener, bind: Option<&Value<'_>>) {
    let (Some(value), Some(address)) = (bind, listener.bind) else { return };
    if address.ip().is_loopback() {
        return;
    }
    if listener.allow_anonymous {
        value.warn(
            message!("{address} takes telemetry from anyone who can reach it", address = address),
            message!("write passwords_file, or use tls_bind with client certificates, unless the network is closed"),
        );
    } else if listener.passwords_file.is_some() {
        value.warn(
            message!("passwords cross the network to {address} in the clear", address = address),
            message!("use tls_bind, unless the network is closed"),
        );
    }
}

fn tls(section: &Section<'_>) -> Option<Tls> {
    let address = bind(section, "tls_bind", 8883);
    let certificate = section.file("tls_certificate", Content::Certificates);
    let key = section.file("tls_key", Content::Key);
    let client_ca = section.file("tls_client_ca", Content::Certificates);
    let require = section.boolean("tls_require_client_certificate").unwrap_or(false);
    if !section.has("tls_bind") {
        let first = [&certificate, &key, &client_ca].into_iter().flatten().next();
        if let Some((_, value)) = first {
            value.problem(
                message!("stands without tls_bind"),
                message!("write tls_bind = \"0.0.0.0:8883\", or remove this"),
            );
        }
        return None;
    }
    for (name, found) in [("tls_certificate", &certificate), ("tls_key", &key)] {
        if found.is_none() && !section.has(name) {
            section.missing(name, message!("write the path of its PEM file: tls_bind needs it"));
        }
    }
    if let (Some((certificate, _)), Some(key)) = (&certificate, &key) {
        section.belongs(certificate, key);
    }
    if require && !section.has("tls_client_ca") {
        section.missing("tls_client_ca", message!("write the CA's PEM file: tls_require_client_certificate needs it"));
    }
    Some(Tls {
        bind: address?.0,
        certificate: certificate?.0,
        key: key?.0,
        client_ca: client_ca.map(|(path, _)| path),
        require_client_certificate: require,
    })
}

fn broker<'a>(
    section: Section<'a>,
    gateway_id: &str,
    rules: &[Rule],
    has_default_lane: bool,
) -> Option<(Broker, Value<'a>)> {
    let url = broker_url(&section);
    let topics = topics(&section, rules, has_default_lane);
    let username = section.text("username", message!("write the user name in quotes")).map(|(text, _)| text.to_owned());
    let password = section.secret_file("password_file");
    if let (Some((_, value)), false) = (&password, section.has("username")) {
        value.problem(message!("stands without username"), message!("write username too, or remove this"));
    }
    let ca_file = section.file("ca_file", Content::Certificates).map(|(path, _)| path);
    let client_certificate = pair(&section, "client_certificate", "client_key");
    if let Some((BrokerUrl { tls: false, .. }, _)) = &url {
        for value in ["ca_file", "client_certificate", "client_key"].iter().filter_map(|key| section.get(key)) {
            value.problem(
                message!("stands with a URL without TLS"),
                message!("write the url with mqtts://, or remove this"),
            );
        }
    }
    let versions = [("3.1.1", MqttVersion::V311), ("5", MqttVersion::V5)];
    let client_id = client_id(&section, gateway_id);
    let protocol = section.word("protocol", &versions).unwrap_or(MqttVersion::V311);
    let range = Duration::from_secs(5)..=Duration::from_secs(65_535);
    let keep_alive = section.duration("keep_alive", &range, Duration::from_secs(30));
    let session_expiry = section.duration("session_expiry", &(Duration::from_secs(60)..=365 * DAY), 7 * DAY);
    let inflight = section.integer("inflight", &(1..=65_535), 100) as u16;
    let max_packet_size = section.size("max_packet_size", &PACKET_SIZE, DEFAULT_PACKET_SIZE) as u32;
    section.finish();
    let (BrokerUrl { text, host, port, tls }, value) = url?;
    let broker = Broker {
        url: text,
        host,
        port,
        tls,
        topics,
        client_id,
        protocol,
        username,
        password: password.map(|(secret, _)| secret),
        ca_file,
        client_certificate,
        keep_alive,
        session_expiry,
        inflight,
        max_packet_size,
    };
    Some((broker, value))
}

struct BrokerUrl {
    text: String,
    host: String,
    port: u16,
    tls: bool,
}

fn broker_url<'a>(section: &Section<'a>) -> Option<(BrokerUrl, Value<'a>)> {
    const ADVICE: Message = message!("write url = \"mqtt://127.0.0.1:1884\", or mqtts:// for TLS");
    let Some((text, value)) = section.text("url", ADVICE) else {
        if !section.has("url") {
            section.missing("url", ADVICE);
        }
        return None;
    };
    let url = match address::url(text, &["mqtt", "mqtts"]) {
        Ok(url) if url.path == "/" => url,
        Ok(_) => {
            value.problem(
                message!("the URL has a path"),
                message!("remove what stands behind the host: topics stand in `topics`"),
            );
            return None;
        }
        Err(fault) => {
            value.problem(fault.found, fault.advice);
            return None;
        }
    };
    if url.scheme == "mqtts" && url.host.contains(':') {
        value.problem(
            message!("TLS to an IPv6 address is not possible here"),
            message!("write the broker's host name, as its certificate has it"),
        );
    }
    let tls = url.scheme == "mqtts";
    // The ports that IANA has registered for MQTT, without and with TLS.
    let port = url.port.unwrap_or(if tls { 8883 } else { 1883 });
    Some((BrokerUrl { text: text.to_owned(), host: url.host, port, tls }, value))
}

fn topics(section: &Section<'_>, rules: &[Rule], has_default_lane: bool) -> Vec<String> {
    const ADVICE: Message = message!("write topics = [\"devices/#\"]");
    let Some(value) = section.get("topics") else {
        section.missing("topics", ADVICE);
        return Vec::new();
    };
    let elements = value.elements(ADVICE);
    if !(1..=MAX_TOPICS).contains(&elements.len()) && value.is_array() {
        value.problem(
            message!("found {count} topics", count = elements.len()),
            message!("write 1 to {most}", most = MAX_TOPICS),
        );
    }
    let mut topics = Vec::new();
    for element in elements {
        let Some(topic) = element.text(message!("write each topic in quotes")) else { continue };
        if let Err(advice) = pattern::filter(topic) {
            element.problem(found_text(topic), advice);
        } else if !has_default_lane && !rules.iter().any(|rule| pattern::meet(topic, &rule.topic)) {
            element.warn(
                message!("no rule matches any topic of {what}, so all of it is refused", what = shown(topic)),
                message!("write a [[collect.rule]] for it, or default_lane in [collect]"),
            );
        }
        topics.push(topic.to_owned());
    }
    topics
}

fn client_id(section: &Section<'_>, gateway_id: &str) -> String {
    let default = format!("tidegate-{gateway_id}");
    let advice = message!(
        "write 1 to {most} visible characters, the same at every start, used by no other client",
        most = MAX_CLIENT_ID
    );
    let Some((text, value)) = section.text("client_id", &advice) else { return default };
    if text.is_empty() || text.len() > MAX_CLIENT_ID || text.contains(|c: char| c.is_control() || c.is_whitespace()) {
        value.problem(found_text(text), advice);
        return default;
    }
    text.to_owned()
}
