//! What the files say: everything that is wrong with a configuration, or what it was understood to mean, and what it
//! would change. Touches neither network nor service.

use std::error::Error;
use std::fmt::{self, Write as _};
use std::path::Path;

use tidegate::code::Code;
use tidegate::config::kept::Places;
use tidegate::config::units::{format_duration, format_size};
use tidegate::config::{
    self, Clock, Config, Forward, Lane, Layout, Listener, LoadError, LogLevel, LogTarget, MqttVersion, Order, Policy,
};
use tidegate::field::Path as Field;
use tidegate::watch::render::number;
use tidegate_protocol::notice::PublicKey;
use tidegate_protocol::terms::Terms;

use super::change;
use crate::command::{Failure, print};

/// Checks and prints. The path `-` is standard input, which is compared with nothing.
pub(super) fn run(path: &Path, places: &Places) -> Result<(), Failure> {
    const STDIN: &str = "standard input";
    if path == Path::new("-") {
        return judged(&config::load_from(std::io::stdin().lock(), STDIN)?, STDIN, "");
    }
    let name = path.display().to_string();
    let read = config::text(path).and_then(|text| Ok((config::parse(&text, &name)?, text)));
    match read {
        Ok((config, text)) => judged(&config, &name, &change::against_kept(&config, &text, places)),
        Err(error) => Err(Refused { error, instead: change::instead(places) }.into()),
    }
}

/// A file that cannot be used, and what would be used instead.
#[derive(Debug)]
pub(in crate::command) struct Refused {
    error: LoadError,
    instead: Option<String>,
}

impl Refused {
    /// The file's own.
    pub(in crate::command) fn code(&self) -> Code {
        self.error.code()
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.error)?;
        self.instead.iter().try_for_each(|instead| write!(f, "\n{instead} ({})", Code::ConfigKept))
    }
}

impl Error for Refused {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.error.source()
    }
}

/// Prints what a configuration was understood to mean, and what it changes; fails if the terms file that it names cannot
/// be used. The agent itself starts without it.
fn judged(config: &Config, source: &str, changes: &str) -> Result<(), Failure> {
    let terms = config.provider.terms.as_deref().map(config::terms::load).transpose();
    let but = if terms.is_err() { ", but its terms file is not" } else { "" };
    let heading = format!("{source} is fine{but}");
    let understood = understood(config, terms.as_ref().ok().and_then(Option::as_ref), &heading);
    print(&(understood + changes))?;
    terms.map(|_| ()).map_err(Failure::from)
}

/// What a configuration was understood to mean, a line each, and its warnings.
fn understood(config: &Config, terms: Option<&Terms>, heading: &str) -> String {
    let mut out = format!("{heading}\n");
    let mut line = |name: &str, text: String| {
        let _ = writeln!(out, "  {name:<10}{text}");
    };
    line("gateway", config.gateway.id.clone());
    if let Some(listener) = &config.collect.listener {
        line("listener", self::listener(listener));
    }
    if let Some(broker) = &config.collect.broker {
        let version = match broker.protocol {
            MqttVersion::V311 => "3.1.1",
            MqttVersion::V5 => "5",
        };
        let topics = broker.topics.join(", ");
        line("broker", format!("{} as {} (MQTT {version}), subscribing to {topics}", broker.url, broker.client_id));
    }
    for rule in &config.collect.rules {
        line("rule", format!("{} → {}", rule.topic, rule.lane));
    }
    line("", others(config));
    for rule in &config.collect.fields {
        line("fields", fields(rule));
    }
    for text in store(&config.store) {
        line("store", text);
    }
    for lane in &config.lanes {
        line("lane", self::lane(lane));
    }
    line("order", order(&config.forward));
    let target = &config.forward.target;
    line("flux", format!("{} {}", target.kind().as_str(), target.origin()));
    let batch = &config.forward.batch;
    let layout = match batch.layout {
        Layout::Array => "a JSON array each",
        Layout::Single => "one event each",
    };
    let (bytes, age) = (format_size(batch.max_bytes as u64), format_duration(batch.max_age));
    line("batch", format!("{} records, {bytes} or {age}, {layout}", number(batch.max_records as u64)));
    let backoff = &config.forward.backoff;
    let [min, max, probe_min, probe_max] =
        [backoff.min, backoff.max, backoff.probe_min, backoff.probe_max].map(format_duration);
    line("back-off", format!("{min} to {max}; where somebody must act first, {probe_min} to {probe_max}"));
    line("alarm", alarm(&config.alarm));
    for text in limits(config, terms) {
        line("limits", text);
    }
    line("notices", notices(&config.provider.notices));
    line("clock", clock(&config.clock));
    line("control", config.control.socket.display().to_string());
    line("metrics", config.metrics.bind.map_or_else(|| "none".into(), |bind| format!("http://{bind}/metrics")));
    line("log", format!("{} to {}", level(config.log.level), log_target(config.log.target)));
    if !config.warnings.is_empty() {
        let count = config.warnings.len();
        let _ = writeln!(out, "{count} warning{}", if count == 1 { "" } else { "s" });
        for warning in &config.warnings {
            let _ = writeln!(out, "  {warning}");
        }
    }
    out
}

/// When people near the gateway are told that nothing is delivered.
fn alarm(alarm: &config::Alarm) -> String {
    let Some(after) = alarm.after else {
        return "none: nobody near the gateway is told when nothing is delivered ([alarm] after)".into();
    };
    let (after, repeat) = (format_duration(after), format_duration(alarm.repeat));
    let command = alarm.command.as_ref().map_or_else(String::new, |words| format!(", and runs {}", words.join(" ")));
    format!("after {after} without a delivery while records wait, again every {repeat}{command}")
}

/// What becomes of the topics and devices that nothing names.
fn others(config: &Config) -> String {
    let topics = config.collect.default_lane.as_ref().map_or_else(
        || "other topics are refused and counted".to_owned(),
        |lane| format!("other topics → {lane}, the whole topic being the device"),
    );
    let allow = &config.collect.allow;
    let devices = allow.devices.as_ref().or(config.collect.devices.as_ref());
    let lists = [
        ("devices", devices),
        ("client ids", allow.client_ids.as_ref()),
        ("user names", allow.usernames.as_ref()),
        ("certificates", allow.certificates.as_ref()),
    ];
    lists.iter().filter_map(|(what, list)| Some((what, (*list)?.len()))).fold(topics, |text, (what, count)| {
        format!("{text}; {what} not among the {count} listed are refused and counted")
    })
}

/// What a rule for fields does.
fn fields(rule: &config::FieldRule) -> String {
    let named = |paths: &[Field]| paths.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let round: Vec<Field> = rule.round.iter().map(|(path, _)| path.clone()).collect();
    let lists = [("drops", &rule.drop), ("pseudonymises", &rule.pseudonymise), ("rounds", &round)];
    let mut does: Vec<String> = rule.keep_only.iter().map(|paths| format!("keeps only {}", named(paths))).collect();
    does.extend(
        lists.iter().filter(|(_, paths)| !paths.is_empty()).map(|(does, paths)| format!("{does} {}", named(paths))),
    );
    let otherwise = if rule.store_untreated { "stored as it is" } else { "refused" };
    format!("{}: {}; what cannot be treated is {otherwise}", rule.topic, does.join(", "))
}

fn store(store: &config::Store) -> [String; 3] {
    let (max, min, free) = (format_size(store.max_size), store.min_size, format_size(store.keep_free));
    let kept = if store.keep_delivered.is_zero() {
        "delivered records go at once".into()
    } else {
        format!("delivered records are kept for {}", format_duration(store.keep_delivered))
    };
    let full = match store.policy {
        Policy::DropOldest => "when full the oldest go",
        Policy::Refuse => "when full nothing is acknowledged",
    };
    let endurance =
        store.flash_endurance.map_or_else(String::new, |bytes| format!("; flash for {}", format_size(bytes)));
    [
        format!("{}, up to {max}, {full}; {kept}", store.path.display()),
        format!("leaves {free} and {} inodes free, gives way down to {min}", number(store.keep_free_inodes)),
        format!(
            "commits within {}, hardware told by {}{endurance}",
            format_duration(store.commit_within),
            store.hardware
        ),
    ]
}

fn lane(lane: &Lane) -> String {
    let place = if lane.first { "goes first" } else { "shares" };
    let age = lane.max_age.map_or_else(|| "any age".into(), |age| format!("up to {} old", format_duration(age)));
    format!("{}: {place}, weight {}, reserve {}, {age}", lane.name, lane.weight, lane.reserve)
}

fn order(forward: &Forward) -> String {
    match forward.order {
        Order::OldestFirst => "oldest first".into(),
        Order::LiveFirst => format!("live first, {}% for a backlog", forward.backlog_share),
    }
}

/// What limits what may leave, as far as files say it. `terms`: the terms file, if there is one and it can be used.
fn limits(config: &Config, terms: Option<&Terms>) -> Vec<String> {
    let stated = config.limits.stated.iter().map(|stated| format!("{} {}", stated.bound.kind().key(), stated.bound));
    let mut lines: Vec<String> = stated.collect();
    let provider = &config.provider;
    if let (Some(path), Some(terms)) = (&provider.terms, terms) {
        let limits: Vec<String> =
            terms.limits().iter().map(|limit| format!("{} {}", limit.bound.kind().key(), limit.bound)).collect();
        lines.push(format!("those of {}: {}", path.display(), limits.join(", ")));
        if terms.unknown_count > 0 {
            let (count, names) = (terms.unknown_count, terms.unknown.join(", "));
            lines.push(format!("{count} of its keys are not known to this version and have no effect: {names}"));
        }
    }
    let metadata = &provider.metadata;
    lines.push(if metadata.enabled {
        format!("the SIM's speed class, asked of {} every {}", metadata.url, format_duration(metadata.every))
    } else {
        "no speed class: no metadata service is asked".to_owned()
    });
    lines.push(format!("months and days by {}", config.limits.calendar.as_str()));
    lines
}

fn notices(notices: &config::Notices) -> String {
    let Some(keys) = &notices.keys else { return "no signed notice is believed".to_owned() };
    let names: Vec<&str> = keys.all().iter().map(PublicKey::kid).collect();
    let folder = notices.folder.as_ref().map_or_else(String::new, |folder| format!(", also in {}", folder.display()));
    format!("those that {} signed{folder}", names.join(", "))
}

fn clock(clock: &Clock) -> String {
    let marker = clock.synchronised_marker.display();
    let timedated = if clock.timedated { " or timedated says so" } else { "" };
    format!("right once {marker} is there{timedated}")
}

fn listener(listener: &Listener) -> String {
    let mut addresses: Vec<String> = listener.bind.iter().map(ToString::to_string).collect();
    addresses.extend(listener.tls.iter().map(|tls| format!("{} (TLS)", tls.bind)));
    let who = match (listener.passwords_file.is_some(), listener.allow_anonymous) {
        (true, false) => "with passwords",
        (true, true) => "with or without passwords",
        (false, true) => "without passwords",
        (false, false) => "with client certificates",
    };
    format!(
        "{} {who}, up to {} connections, packets up to {}",
        addresses.join(" and "),
        number(listener.max_connections as u64),
        format_size(u64::from(listener.max_packet_size))
    )
}

fn level(level: LogLevel) -> &'static str {
    match level {
        LogLevel::Error => "error",
        LogLevel::Warn => "warn",
        LogLevel::Info => "info",
        LogLevel::Debug => "debug",
        LogLevel::Trace => "trace",
    }
}

fn log_target(target: LogTarget) -> &'static str {
    match target {
        LogTarget::Stderr => "standard error",
        LogTarget::Journald => "the journal",
    }
}
