//! Every key there is: for suggestions, and for what a reload can change.

use crate::language::{Message, Value, either};
use crate::message;

/// A key of the configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Key {
    /// With its tables: `store.max_size`. Keys of `[[collect.rule]]` are `collect.rule.topic` and so on.
    pub path: &'static str,
    /// Whether a changed value takes effect on SIGHUP; otherwise it needs a restart.
    pub live: bool,
}

const fn live(path: &'static str) -> Key {
    Key { path, live: true }
}

const fn fixed(path: &'static str) -> Key {
    Key { path, live: false }
}

/// All keys, in the order of the default file.
pub const KEYS: &[Key] = &[
    fixed("gateway.id"),
    fixed("collect.listener.bind"),
    fixed("collect.listener.tls_bind"),
    fixed("collect.listener.tls_certificate"),
    fixed("collect.listener.tls_key"),
    fixed("collect.listener.tls_client_ca"),
    fixed("collect.listener.tls_require_client_certificate"),
    fixed("collect.listener.passwords_file"),
    fixed("collect.listener.allow_anonymous"),
    fixed("collect.listener.max_connections"),
    fixed("collect.listener.max_packet_size"),
    fixed("collect.listener.max_sessions"),
    fixed("collect.listener.session_max_age"),
    fixed("collect.listener.connect_timeout"),
    fixed("collect.listener.receive_maximum"),
    fixed("collect.broker.url"),
    fixed("collect.broker.topics"),
    fixed("collect.broker.client_id"),
    fixed("collect.broker.protocol"),
    fixed("collect.broker.username"),
    fixed("collect.broker.password_file"),
    fixed("collect.broker.ca_file"),
    fixed("collect.broker.client_certificate"),
    fixed("collect.broker.client_key"),
    fixed("collect.broker.keep_alive"),
    fixed("collect.broker.session_expiry"),
    fixed("collect.broker.inflight"),
    fixed("collect.broker.max_packet_size"),
    live("collect.default_lane"),
    live("collect.devices"),
    live("collect.allow.devices"),
    live("collect.allow.client_ids"),
    live("collect.allow.usernames"),
    live("collect.allow.certificates"),
    live("collect.rule.topic"),
    live("collect.rule.lane"),
    live("collect.fields.topic"),
    live("collect.fields.keep_only"),
    live("collect.fields.drop"),
    live("collect.fields.pseudonymise"),
    live("collect.fields.round"),
    live("collect.fields.otherwise"),
    live("collect.pseudonyms.key_file"),
    fixed("store.path"),
    fixed("store.max_size"),
    fixed("store.min_size"),
    fixed("store.keep_free"),
    fixed("store.keep_free_inodes"),
    fixed("store.policy"),
    fixed("store.keep_delivered"),
    fixed("store.commit_within"),
    fixed("store.flash_endurance"),
    fixed("store.hardware"),
    fixed("lane.name"),
    live("lane.first"),
    live("lane.weight"),
    live("lane.windowed"),
    fixed("lane.reserve"),
    fixed("lane.max_age"),
    live("forward.order"),
    live("forward.backlog_share"),
    fixed("forward.interface"),
    live("forward.flux.kind"),
    live("forward.flux.url_file"),
    live("forward.flux.url"),
    live("forward.flux.base_url"),
    live("forward.flux.app_id"),
    live("forward.flux.channel_id"),
    live("forward.flux.auth_key_id"),
    live("forward.flux.auth_key_id_file"),
    live("forward.flux.auth_key_file"),
    live("forward.flux.token_timeout"),
    fixed("forward.flux.ca_file"),
    fixed("forward.flux.client_certificate"),
    fixed("forward.flux.client_key"),
    fixed("forward.flux.connect_timeout"),
    live("forward.flux.timeout"),
    live("forward.flux.replayed_after"),
    live("forward.flux.batch.max_records"),
    live("forward.flux.batch.max_bytes"),
    live("forward.flux.batch.max_age"),
    live("forward.flux.batch.layout"),
    live("forward.flux_next.from"),
    live("forward.flux_next.kind"),
    live("forward.flux_next.url_file"),
    live("forward.flux_next.url"),
    live("forward.flux_next.base_url"),
    live("forward.flux_next.app_id"),
    live("forward.flux_next.channel_id"),
    live("forward.flux_next.auth_key_id"),
    live("forward.flux_next.auth_key_id_file"),
    live("forward.flux_next.auth_key_file"),
    live("forward.flux_next.token_timeout"),
    live("forward.backoff.min"),
    live("forward.backoff.max"),
    live("forward.backoff.probe_min"),
    live("forward.backoff.probe_max"),
    live("limits.rate"),
    live("limits.rate_down"),
    live("limits.burst"),
    live("limits.bytes_per_hour"),
    live("limits.bytes_per_day"),
    live("limits.bytes_per_month"),
    live("limits.events_per_minute"),
    live("limits.events_per_day"),
    live("limits.events_per_month"),
    live("limits.share"),
    live("limits.windows"),
    live("limits.calendar"),
    live("limits.events_count"),
    live("provider.terms"),
    live("provider.metadata.enabled"),
    live("provider.metadata.url"),
    live("provider.metadata.every"),
    live("provider.statuspage.enabled"),
    live("provider.statuspage.url"),
    live("provider.statuspage.components"),
    live("provider.statuspage.every"),
    live("provider.statuspage.bytes_per_day"),
    fixed("provider.statuspage.interface"),
    fixed("provider.statuspage.ca_file"),
    live("provider.rule.status"),
    live("provider.rule.means"),
    live("provider.rule.body"),
    live("provider.rule.header"),
    live("provider.rule.kinds"),
    live("provider.notices.keys"),
    live("provider.notices.folder"),
    live("provider.speed_class.name"),
    live("provider.speed_class.rate"),
    live("provider.resume.spread"),
    live("provider.resume.ramp"),
    live("provider.probe.min"),
    live("provider.probe.max"),
    live("terms.on_change"),
    live("alarm.after"),
    live("alarm.repeat"),
    live("alarm.command"),
    live("alarm.command_timeout"),
    fixed("alarm.topic"),
    live("clock.synchronised_marker"),
    live("clock.timedated"),
    live("clock.date.enabled"),
    live("clock.date.url"),
    live("clock.date.after"),
    fixed("clock.date.ca_file"),
    fixed("control.socket"),
    fixed("metrics.bind"),
    live("log.level"),
    fixed("log.target"),
];

/// Keys that had another name, or that people call by another: that one and the right one.
const RENAMED: &[(&str, &str)] = &[("store.commit_delay", "commit_within"), ("lane.share", "weight")];

/// Whether the value of the key at `path` is a secret, or should name a file that holds one: people write the secret
/// itself there by mistake. Such a value stands in no message.
pub(super) fn bears_secret(path: &str) -> bool {
    let name = path.rsplit('.').next().unwrap_or(path);
    ["url", "key", "password"].iter().any(|word| name.contains(word))
}

/// Whether the key at `path` can change while the agent runs.
pub(super) fn is_live(path: &str) -> bool {
    KEYS.iter().any(|key| key.path == path && key.live)
}

/// What may stand in the table at `path`: keys and tables, each once.
pub(super) fn children(path: &str) -> Vec<&'static str> {
    let mut names: Vec<&'static str> = Vec::new();
    for key in KEYS {
        let rest = if path.is_empty() {
            Some(key.path)
        } else {
            key.path.strip_prefix(path).and_then(|rest| rest.strip_prefix('.'))
        };
        let Some(name) = rest.and_then(|rest| rest.split('.').next()) else { continue };
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

/// What to write instead of the unknown `name` in the table at `path`.
pub(super) fn instead_of(path: &str, name: &str) -> Message {
    let here = children(path);
    let renamed = |(old, _): &&(&str, &str)| old.rsplit_once('.') == Some((path, name));
    if let Some((_, new)) = RENAMED.iter().find(renamed) {
        return message!("write `{new}`, as it is called here", new = *new);
    }
    if let Some(near) = nearest(name, &here) {
        return message!("did you mean `{near}`?", near = near);
    }
    let elsewhere: Vec<Value> = KEYS
        .iter()
        .filter_map(|key| key.path.rsplit_once('.'))
        .filter(|(table, last)| *last == name && *table != path)
        .map(|(table, _)| Value::Text(header(table)))
        .collect();
    let list: Vec<String> = here.iter().map(|name| format!("`{name}`")).collect();
    let list = message!("what may stand here: {keys}", keys = list.join(", "));
    if !elsewhere.is_empty() {
        let there = message!("`{name}` belongs in {tables}", name = name, tables = either(&elsewhere));
        // Where little may stand, the name is rather a guess at one of it than a key that slipped into another table.
        return if here.len() <= 3 { message!("{there}; {list}", there = there, list = list) } else { there };
    }
    // A slip of a key of another table is two mistakes at once: only a long name with a small slip tells.
    let all: Vec<&str> = KEYS.iter().filter_map(|key| key.path.rsplit('.').next()).collect();
    let near = nearest(name, &all).filter(|near| near.len() >= 6 && strsim::damerau_levenshtein(near, name) <= 2);
    if let Some(near) = near {
        let table = KEYS.iter().filter_map(|key| key.path.rsplit_once('.')).find(|(_, last)| *last == near);
        let table = table.map_or_else(String::new, |(table, _)| header(table));
        return message!("did you mean `{near}` in {table}? ({list})", near = near, table = table, list = list);
    }
    message!("remove it; {list}", list = list)
}

/// Tables that there may be several of.
pub(super) const ARRAYS: [&str; 5] =
    ["collect.rule", "collect.fields", "lane", "provider.rule", "provider.speed_class"];

/// A table's header as the file writes it.
pub(super) fn header(path: &str) -> String {
    if ARRAYS.contains(&path) { format!("[[{path}]]") } else { format!("[{path}]") }
}

/// The known word that `word` is most likely a slip of. A slip changes, swaps, adds or loses a letter in about
/// three, or takes `-` for `_`.
pub(super) fn nearest<'a>(word: &str, known: &[&'a str]) -> Option<&'a str> {
    /// Longer words are no slip of any key, and comparing costs their length times the key's.
    const LONGEST: usize = 64;
    if word.len() > LONGEST {
        return None;
    }
    let word = word.to_lowercase().replace('-', "_");
    let (distance, near) = known
        .iter()
        .map(|candidate| (strsim::damerau_levenshtein(&word, &candidate.to_lowercase().replace('-', "_")), *candidate))
        .min_by_key(|(distance, _)| *distance)?;
    (distance <= near.chars().count().min(word.chars().count()).div_ceil(3)).then_some(near)
}
