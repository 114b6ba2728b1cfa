//! What the files say: everything that is wrong with a configuration, or what it was understood to mean, and what it
//! would change. Touches neither network nor service.

use std::error::Error;
use std::fmt;
use std::path::Path;

use tidegate::code::Code;
use tidegate::config::kept::Places;
use tidegate::config::units::{format_duration, format_size};
use tidegate::config::{
    self, Clock, Config, Forward, Lane, Layout, Listener, LoadError, LogLevel, LogTarget, MqttVersion, Order, Policy,
};
use tidegate::field::Path as Field;
use tidegate::language::sheet::Sheet;
use tidegate::language::{IntoValue as _, Language, Message, Value, bound};
use tidegate::message;
use tidegate::watch::render::number;
use tidegate_protocol::notice::PublicKey;
use tidegate_protocol::terms::Terms;

use super::change;
use crate::command::{Failure, print};

/// Checks and prints. The path `-` is standard input, which is compared with nothing.
pub(super) fn run(path: &Path, places: &Places, language: Language) -> Result<(), Failure> {
    if path == Path::new("-") {
        let config = config::load_from(std::io::stdin().lock(), config::STANDARD_INPUT)?;
        return judged(&config, message!("standard input").into_value(), "", language);
    }
    let name = path.display().to_string();
    let read = config::text(path).and_then(|text| Ok((config::parse(&text, &name)?, text)));
    match read {
        Ok((config, text)) => {
            judged(&config, name.into_value(), &change::against_kept(&config, &text, places, language), language)
        }
        Err(error) => {
            let (kept, problems) = change::instead(places, language);
            Err(Refused { error, instead: kept, problems }.into())
        }
    }
}

/// A file that cannot be used, and what would be used instead.
#[derive(Debug)]
pub(in crate::command) struct Refused {
    error: LoadError,
    instead: Option<Message>,
    /// What is kept in other places and is not used, and why.
    problems: Vec<Message>,
}

impl Refused {
    /// The file's own; an emptied file of a gateway that ran before is none that was never configured.
    pub(in crate::command) fn code(&self) -> Code {
        if self.is_emptied() { Code::ConfigKept } else { self.error.code() }
    }

    fn is_emptied(&self) -> bool {
        self.instead.is_some() && matches!(self.error, LoadError::NotConfigured { .. })
    }

    /// It in a language.
    pub(in crate::command) fn text(&self, language: Language) -> String {
        let file = match &self.error {
            LoadError::NotConfigured { path } if self.is_emptied() => {
                message!("nothing but comments stands in {path}", path = path).text(language)
            }
            error => error.text(language),
        };
        let instead = self.instead.as_ref().map(|it| format!("\n{} ({})", it.text(language), Code::ConfigKept));
        let problems = self.problems.iter().map(|problem| {
            let line = message!("  not used: {problem}", problem = problem.clone());
            format!("\n{}", line.text(language))
        });
        file + &instead.unwrap_or_default() + &problems.collect::<String>()
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text(Language::English))
    }
}

impl Error for Refused {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.error.source()
    }
}

/// Prints what a configuration was understood to mean, and what it changes; fails if the terms file that it names cannot
/// be used. The agent itself starts without it.
fn judged(config: &Config, source: Value, changes: &str, language: Language) -> Result<(), Failure> {
    let terms = config.provider.terms.as_deref().map(config::terms::load).transpose();
    let heading = if terms.is_ok() {
        message!("{source} is fine", source = source)
    } else {
        message!("{source} is fine, but its terms file is not", source = source)
    };
    let mut out = Sheet::new(language, names(language));
    out.plain(heading);
    understood(config, terms.as_ref().ok().and_then(Option::as_ref), &mut out);
    out.raw(changes);
    print(&out.finish())?;
    terms.map(|_| ()).map_err(Failure::from)
}

/// Cells of the names of what was understood: the column ends where the longest of them does.
fn names(language: Language) -> usize {
    match language {
        Language::English => 10,
        Language::Japanese => 12,
    }
}

/// What a configuration was understood to mean, a line each, and its warnings.
fn understood(config: &Config, terms: Option<&Terms>, out: &mut Sheet) {
    out.line(message!("gateway"), &config.gateway.id);
    collected(config, out);
    for text in store(&config.store) {
        out.line(message!("store"), text);
    }
    for lane in &config.lanes {
        out.line(message!("lane"), self::lane(lane));
    }
    let forward = &config.forward;
    out.line(message!("order"), order(forward));
    out.line(message!("Flux"), format!("{} {}", forward.target.kind().as_str(), forward.target.origin()));
    out.line(message!("batch"), batch(&forward.batch));
    out.line(message!("back-off"), backoff(&forward.backoff));
    out.line(message!("alarm"), alarm(&config.alarm));
    for text in limits(config, terms) {
        out.line(message!("limits"), text);
    }
    out.line(message!("notices"), notices(&config.provider.notices));
    out.line(message!("clock"), clock(&config.clock));
    out.line(message!("control"), config.control.socket.display());
    let metrics = config.metrics.bind.map(|bind| format!("http://{bind}/metrics").into_value());
    out.line(message!("metrics"), metrics.unwrap_or_else(|| message!("none").into_value()));
    out.line(
        message!("log"),
        message!("{level} to {target}", level = level(config.log.level), target = log_target(config.log.target)),
    );
    match config.warnings.len() {
        0 => return,
        1 => out.plain(message!("1 warning")),
        count => out.plain(message!("{count} warnings", count = count)),
    }
    for warning in &config.warnings {
        let text = warning.text(out.language());
        out.plain(format!("  {text}"));
    }
}

/// Where devices are, and what becomes of what they say.
fn collected(config: &Config, out: &mut Sheet) {
    if let Some(listener) = &config.collect.listener {
        out.line(message!("listener"), self::listener(listener));
    }
    if let Some(broker) = &config.collect.broker {
        let version = match broker.protocol {
            MqttVersion::V311 => "3.1.1",
            MqttVersion::V5 => "5",
        };
        let text = message!(
            "{url} as {client} (MQTT {version}), subscribing to {topics}",
            url = &broker.url,
            client = &broker.client_id,
            version = version,
            topics = broker.topics.join(", ")
        );
        out.line(message!("broker"), text);
    }
    for rule in &config.collect.rules {
        out.line(message!("rule"), format!("{} → {}", rule.topic, rule.lane));
    }
    out.line("", others(config));
    for rule in &config.collect.fields {
        let text = fields(rule, out);
        out.line(message!("fields"), text);
    }
}

fn batch(batch: &config::Batch) -> Message {
    let layout = match batch.layout {
        Layout::Array => message!("a JSON array each"),
        Layout::Single => message!("one event each"),
    };
    message!(
        "{records} records, {bytes} or {age}, {layout}",
        records = number(batch.max_records as u64),
        bytes = format_size(batch.max_bytes as u64),
        age = format_duration(batch.max_age),
        layout = layout
    )
}

fn backoff(backoff: &config::Backoff) -> Message {
    message!(
        "{min} to {max}; where somebody must act first, {probe_min} to {probe_max}",
        min = format_duration(backoff.min),
        max = format_duration(backoff.max),
        probe_min = format_duration(backoff.probe_min),
        probe_max = format_duration(backoff.probe_max)
    )
}

/// When people near the gateway are told that nothing is delivered.
fn alarm(alarm: &config::Alarm) -> Message {
    let Some(after) = alarm.after else {
        return message!("none: nobody near the gateway is told when nothing is delivered ([alarm] after)");
    };
    let told = message!(
        "after {after} without a delivery while records wait, again every {repeat}",
        after = format_duration(after),
        repeat = format_duration(alarm.repeat)
    );
    match &alarm.command {
        Some(words) => message!("{told}, and runs {command}", told = told, command = words.join(" ")),
        None => told,
    }
}

/// What becomes of the topics and devices that nothing names.
fn others(config: &Config) -> Message {
    let topics = match &config.collect.default_lane {
        None => message!("other topics are refused and counted"),
        Some(lane) => message!("other topics → {lane}, the whole topic being the device", lane = lane),
    };
    let allow = &config.collect.allow;
    let devices = allow.devices.as_ref().or(config.collect.devices.as_ref());
    let lists = [
        (message!("devices"), devices),
        (message!("client ids"), allow.client_ids.as_ref()),
        (message!("user names"), allow.usernames.as_ref()),
        (message!("certificates"), allow.certificates.as_ref()),
    ];
    lists.into_iter().filter_map(|(what, list)| Some((what, list?.len()))).fold(topics, |text, (what, count)| {
        message!(
            "{text}; {what} not among the {count} listed are refused and counted",
            text = text,
            what = what,
            count = count
        )
    })
}

/// What a rule for fields does.
fn fields(rule: &config::FieldRule, out: &Sheet) -> Message {
    let named = |paths: &[Field]| paths.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let round: Vec<Field> = rule.round.iter().map(|(path, _)| path.clone()).collect();
    let mut does: Vec<Message> = Vec::new();
    does.extend(rule.keep_only.iter().map(|paths| message!("keeps only {fields}", fields = named(paths))));
    if !rule.drop.is_empty() {
        does.push(message!("drops {fields}", fields = named(&rule.drop)));
    }
    if !rule.pseudonymise.is_empty() {
        does.push(message!("pseudonymises {fields}", fields = named(&rule.pseudonymise)));
    }
    if !round.is_empty() {
        does.push(message!("rounds {fields}", fields = named(&round)));
    }
    let (topic, does) = (&rule.topic, out.list(does));
    if rule.store_untreated {
        message!("{topic}: {does}; what cannot be treated is stored as it is", topic = topic, does = does)
    } else {
        message!("{topic}: {does}; what cannot be treated is refused", topic = topic, does = does)
    }
}

fn store(store: &config::Store) -> [Message; 3] {
    let kept = if store.keep_delivered.is_zero() {
        message!("delivered records go at once")
    } else {
        message!("delivered records are kept for {age}", age = format_duration(store.keep_delivered))
    };
    let full = match store.policy {
        Policy::DropOldest => message!("when full the oldest go"),
        Policy::Refuse => message!("when full nothing is acknowledged"),
    };
    let commits = message!(
        "commits within {age}, hardware told by {source}",
        age = format_duration(store.commit_within),
        source = store.hardware.to_string()
    );
    let commits = match store.flash_endurance {
        Some(bytes) => message!("{commits}; flash for {size}", commits = commits, size = format_size(bytes)),
        None => commits,
    };
    [
        message!(
            "{path}, up to {max}, {full}; {kept}",
            path = store.path.display(),
            max = format_size(store.max_size),
            full = full,
            kept = kept
        ),
        message!(
            "leaves {free} and {inodes} inodes free, gives way down to {min}",
            free = format_size(store.keep_free),
            inodes = number(store.keep_free_inodes),
            min = store.min_size.to_string()
        ),
        commits,
    ]
}

fn lane(lane: &Lane) -> Message {
    let place = if lane.first { message!("goes first") } else { message!("shares") };
    let age = match lane.max_age {
        None => message!("any age"),
        Some(age) => message!("up to {age} old", age = format_duration(age)),
    };
    message!(
        "{name}: {place}, weight {weight}, reserve {reserve}, {age}",
        name = &lane.name,
        place = place,
        weight = lane.weight,
        reserve = lane.reserve.to_string(),
        age = age
    )
}

fn order(forward: &Forward) -> Message {
    match forward.order {
        Order::OldestFirst => message!("oldest first"),
        Order::LiveFirst => message!("live first, {share}% for a backlog", share = forward.backlog_share),
    }
}

/// What limits what may leave, as far as files say it. `terms`: the terms file, if there is one and it can be used.
fn limits(config: &Config, terms: Option<&Terms>) -> Vec<Value> {
    let mut lines: Vec<Value> = config.limits.stated.iter().map(|stated| bound::keyed(&stated.bound)).collect();
    let provider = &config.provider;
    if let (Some(path), Some(terms)) = (&provider.terms, terms) {
        let limits = bound::listed(terms.limits().iter().map(|limit| &limit.bound));
        let text = message!("those of {path}: {limits}", path = path.display(), limits = limits);
        lines.push(text.into_value());
        if terms.unknown_count > 0 {
            let text = message!(
                "{count} of its keys are not known to this version and have no effect: {names}",
                count = terms.unknown_count,
                names = terms.unknown.join(", ")
            );
            lines.push(text.into_value());
        }
    }
    let metadata = &provider.metadata;
    let class = if metadata.enabled {
        message!(
            "the SIM's speed class, asked of {url} every {every}",
            url = &metadata.url,
            every = format_duration(metadata.every)
        )
    } else {
        message!("no speed class: no metadata service is asked")
    };
    lines.push(class.into_value());
    lines.push(message!("months and days by {zone}", zone = config.limits.calendar.as_str()).into_value());
    lines
}

fn notices(notices: &config::Notices) -> Message {
    let Some(keys) = &notices.keys else { return message!("no signed notice is believed") };
    let names: Vec<&str> = keys.all().iter().map(PublicKey::kid).collect();
    let names = names.join(", ");
    match &notices.folder {
        None => message!("those that {keys} signed", keys = names),
        Some(folder) => {
            message!("those that {keys} signed, also in {folder}", keys = names, folder = folder.display())
        }
    }
}

fn clock(clock: &Clock) -> Message {
    let marker = clock.synchronised_marker.display();
    if clock.timedated {
        message!("right once {marker} is there or timedated says so", marker = marker)
    } else {
        message!("right once {marker} is there", marker = marker)
    }
}

fn listener(listener: &Listener) -> Message {
    let plain = listener.bind.map(|bind| bind.to_string());
    let tls = listener.tls.as_ref().map(|tls| format!("{} (TLS)", tls.bind));
    let addresses = match (plain, tls) {
        (Some(plain), Some(tls)) => message!("{one} and {other}", one = plain, other = tls).into_value(),
        (one, other) => one.or(other).unwrap_or_default().into_value(),
    };
    let who = match (listener.passwords_file.is_some(), listener.allow_anonymous) {
        (true, false) => message!("with passwords"),
        (true, true) => message!("with or without passwords"),
        (false, true) => message!("without passwords"),
        (false, false) => message!("with client certificates"),
    };
    message!(
        "{addresses} {who}, up to {count} connections, packets up to {size}",
        addresses = addresses,
        who = who,
        count = number(listener.max_connections as u64),
        size = format_size(u64::from(listener.max_packet_size))
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

fn log_target(target: LogTarget) -> Message {
    match target {
        LogTarget::Stderr => message!("standard error"),
        LogTarget::Journald => message!("the journal"),
    }
}
