//! What a reload changes, and what of it needs a restart.

use std::collections::BTreeMap;

use super::keys::{KEYS, is_live};
use super::model::{Config, FieldRule, FluxTarget};
use crate::code::Code;

/// The keys in which two configurations differ, in alphabetical order.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Changes {
    /// Can take effect now.
    pub applied: Vec<&'static str>,
    /// Take effect at the next start.
    pub needs_restart: Vec<&'static str>,
}

impl Changes {
    /// Whether nothing differs.
    pub fn is_empty(&self) -> bool {
        self.applied.is_empty() && self.needs_restart.is_empty()
    }
}

/// Compares two configurations. Lanes are the store's, so with other lanes than before the rules that name them take
/// effect at the next start too. A secret file whose content has changed counts as its key (`forward.flux.url`,
/// `collect.broker.password_file`). Certificate files are not compared: their users open them again on a reload.
pub fn changes(old: &Config, new: &Config) -> Changes {
    let (old, new) = (facts(old), facts(new));
    let mut changes = Changes::default();
    let keys: std::collections::BTreeSet<&'static str> = old.keys().chain(new.keys()).copied().collect();
    let other_lanes = old.get("lane.name") != new.get("lane.name");
    for key in keys {
        if old.get(key) == new.get(key) {
            continue;
        }
        if is_live(key) && !(other_lanes && NAME_LANES.contains(&key)) {
            changes.applied.push(key);
        } else {
            changes.needs_restart.push(key);
        }
    }
    changes
}

/// The keys whose files were changed since the service manager has handed them over, which only a start does: what was read of them
/// is what stood there before.
pub fn stale(new: &Config) -> impl Iterator<Item = &'static str> {
    let said = |key: &&'static str| {
        new.warnings.iter().any(|warning| warning.code == Code::RestartNeeded && warning.key == **key)
    };
    KEYS.iter().map(|key| key.path).filter(said)
}

/// Keys whose values name lanes, or are given lane by lane.
const NAME_LANES: [&str; 6] =
    ["collect.default_lane", "collect.rule.topic", "collect.rule.lane", "lane.first", "lane.weight", "lane.windowed"];

type Facts = BTreeMap<&'static str, String>;

/// Each key's value as a text that differs if the value does. Holds secrets; never leaves this file.
pub(super) fn facts(config: &Config) -> Facts {
    let mut facts = Facts::new();
    let mut put = |key, value: &dyn std::fmt::Debug| {
        facts.insert(key, format!("{value:?}"));
    };
    put("gateway.id", &config.gateway.id);
    put("collect.default_lane", &config.collect.default_lane);
    put("collect.devices", &config.collect.devices);
    put("collect.allow.devices", &config.collect.allow.devices);
    put("collect.allow.client_ids", &config.collect.allow.client_ids);
    put("collect.allow.usernames", &config.collect.allow.usernames);
    put("collect.allow.certificates", &config.collect.allow.certificates);
    put("collect.rule.topic", &config.collect.rules.iter().map(|rule| &rule.topic).collect::<Vec<_>>());
    put("collect.rule.lane", &config.collect.rules.iter().map(|rule| &rule.lane).collect::<Vec<_>>());
    put("collect.fields.topic", &each(config, |rule| &rule.topic));
    put("collect.fields.keep_only", &each(config, |rule| &rule.keep_only));
    put("collect.fields.drop", &each(config, |rule| &rule.drop));
    put("collect.fields.pseudonymise", &each(config, |rule| &rule.pseudonymise));
    put("collect.fields.round", &each(config, |rule| &rule.round));
    put("collect.fields.otherwise", &each(config, |rule| rule.store_untreated));
    put("collect.pseudonyms.key_file", &config.collect.pseudonym_key.as_ref().map(super::Secret::expose));
    put("clock.synchronised_marker", &config.clock.synchronised_marker);
    put("clock.timedated", &config.clock.timedated);
    let date = &config.clock.date;
    put("clock.date.enabled", &date.enabled);
    put("clock.date.url", &date.url);
    put("clock.date.after", &date.after);
    put("clock.date.ca_file", &date.ca_file);
    put("alarm.after", &config.alarm.after);
    put("alarm.repeat", &config.alarm.repeat);
    put("alarm.command", &config.alarm.command);
    put("alarm.command_timeout", &config.alarm.command_timeout);
    put("alarm.topic", &config.alarm.topic);
    put("control.socket", &config.control.socket);
    put("metrics.bind", &config.metrics.bind);
    put("log.level", &config.log.level);
    put("log.target", &config.log.target);
    store(config, &mut facts);
    listener(config, &mut facts);
    broker(config, &mut facts);
    forward(config, &mut facts);
    limits(config, &mut facts);
    facts
}

/// One thing of each rule for fields.
fn each<'a, T>(config: &'a Config, of: fn(&'a FieldRule) -> T) -> Vec<T> {
    config.collect.fields.iter().map(of).collect()
}

/// Lines are no facts: a limit that only moved within the file has not changed.
fn limits(config: &Config, facts: &mut Facts) {
    for stated in &config.limits.stated {
        let kind = stated.bound.kind();
        let path = ["limits.", kind.key()].concat();
        if let Some(key) = KEYS.iter().find(|key| key.path == path) {
            facts.insert(key.path, format!("{:?}", stated.bound));
        }
    }
    let mut put = |key, value: &dyn std::fmt::Debug| {
        facts.insert(key, format!("{value:?}"));
    };
    put("limits.calendar", &config.limits.calendar);
    put("limits.events_count", &config.limits.events_count);
    let provider = &config.provider;
    put("provider.terms", &provider.terms);
    put("provider.metadata.enabled", &provider.metadata.enabled);
    put("provider.metadata.url", &provider.metadata.url);
    put("provider.metadata.every", &provider.metadata.every);
    let page = &provider.statuspage;
    put("provider.statuspage.enabled", &page.enabled);
    put("provider.statuspage.url", &page.url);
    put("provider.statuspage.components", &page.components);
    put("provider.statuspage.every", &page.every);
    put("provider.statuspage.bytes_per_day", &page.bytes_per_day);
    put("provider.statuspage.interface", &page.interface);
    put("provider.statuspage.ca_file", &page.ca_file);
    let rules = &provider.rules;
    put("provider.rule.status", &rules.iter().map(|rule| rule.status).collect::<Vec<_>>());
    put("provider.rule.means", &rules.iter().map(|rule| rule.means).collect::<Vec<_>>());
    put("provider.rule.body", &rules.iter().map(|rule| &rule.body).collect::<Vec<_>>());
    put("provider.rule.header", &rules.iter().map(|rule| &rule.header).collect::<Vec<_>>());
    put("provider.rule.kinds", &rules.iter().map(|rule| &rule.kinds).collect::<Vec<_>>());
    put("provider.notices.keys", &provider.notices.keys);
    put("provider.notices.folder", &provider.notices.folder);
    put("provider.speed_class.name", &provider.speed_classes.iter().map(|class| &class.name).collect::<Vec<_>>());
    put("provider.resume.spread", &provider.resume.spread);
    put("provider.resume.ramp", &provider.resume.ramp);
    put("provider.probe.min", &provider.probe.min);
    put("provider.probe.max", &provider.probe.max);
    put("terms.on_change", &provider.on_terms_change);
    put("provider.speed_class.rate", &provider.speed_classes.iter().map(|class| class.rate).collect::<Vec<_>>());
}

fn store(config: &Config, facts: &mut Facts) {
    let mut put = |key, value: &dyn std::fmt::Debug| {
        facts.insert(key, format!("{value:?}"));
    };
    let store = &config.store;
    put("store.path", &store.path);
    put("store.max_size", &store.max_size);
    put("store.min_size", &store.min_size);
    put("store.keep_free", &store.keep_free);
    put("store.keep_free_inodes", &store.keep_free_inodes);
    put("store.policy", &store.policy);
    put("store.keep_delivered", &store.keep_delivered);
    put("store.commit_within", &store.commit_within);
    put("store.flash_endurance", &store.flash_endurance);
    put("store.hardware", &store.hardware);
    let lanes = &config.lanes;
    put("lane.name", &lanes.iter().map(|lane| &lane.name).collect::<Vec<_>>());
    put("lane.first", &lanes.iter().map(|lane| lane.first).collect::<Vec<_>>());
    put("lane.weight", &lanes.iter().map(|lane| lane.weight).collect::<Vec<_>>());
    put("lane.windowed", &lanes.iter().map(|lane| lane.windowed).collect::<Vec<_>>());
    put("lane.reserve", &lanes.iter().map(|lane| lane.reserve).collect::<Vec<_>>());
    put("lane.max_age", &lanes.iter().map(|lane| lane.max_age).collect::<Vec<_>>());
}

fn listener(config: &Config, facts: &mut Facts) {
    let mut put = |key, value: &dyn std::fmt::Debug| {
        facts.insert(key, format!("{value:?}"));
    };
    let Some(listener) = &config.collect.listener else { return };
    put("collect.listener.bind", &listener.bind);
    if let Some(tls) = &listener.tls {
        put("collect.listener.tls_bind", &tls.bind);
        put("collect.listener.tls_certificate", &tls.certificate);
        put("collect.listener.tls_key", &tls.key);
        put("collect.listener.tls_client_ca", &tls.client_ca);
        put("collect.listener.tls_require_client_certificate", &tls.require_client_certificate);
    }
    put("collect.listener.passwords_file", &listener.passwords_file);
    put("collect.listener.allow_anonymous", &listener.allow_anonymous);
    put("collect.listener.max_connections", &listener.max_connections);
    put("collect.listener.max_packet_size", &listener.max_packet_size);
    put("collect.listener.max_sessions", &listener.max_sessions);
    put("collect.listener.session_max_age", &listener.session_max_age);
    put("collect.listener.connect_timeout", &listener.connect_timeout);
    put("collect.listener.receive_maximum", &listener.receive_maximum);
}

fn broker(config: &Config, facts: &mut Facts) {
    let mut put = |key, value: &dyn std::fmt::Debug| {
        facts.insert(key, format!("{value:?}"));
    };
    let Some(broker) = &config.collect.broker else { return };
    put("collect.broker.url", &broker.url);
    put("collect.broker.topics", &broker.topics);
    put("collect.broker.client_id", &broker.client_id);
    put("collect.broker.protocol", &broker.protocol);
    put("collect.broker.username", &broker.username);
    put("collect.broker.password_file", &broker.password.as_ref().map(super::Secret::expose));
    put("collect.broker.ca_file", &broker.ca_file);
    put("collect.broker.client_certificate", &broker.client_certificate.as_ref().map(|pair| &pair.0));
    put("collect.broker.client_key", &broker.client_certificate.as_ref().map(|pair| &pair.1));
    put("collect.broker.keep_alive", &broker.keep_alive);
    put("collect.broker.session_expiry", &broker.session_expiry);
    put("collect.broker.inflight", &broker.inflight);
    put("collect.broker.max_packet_size", &broker.max_packet_size);
}

/// The keys of a target: kind, URL, and those of the API.
type TargetKeys = [&'static str; 8];

const PRESENT: TargetKeys = [
    "forward.flux.kind",
    "forward.flux.url",
    "forward.flux.base_url",
    "forward.flux.app_id",
    "forward.flux.channel_id",
    "forward.flux.auth_key_id",
    "forward.flux.auth_key_file",
    "forward.flux.token_timeout",
];

const NEXT: TargetKeys = [
    "forward.flux_next.kind",
    "forward.flux_next.url",
    "forward.flux_next.base_url",
    "forward.flux_next.app_id",
    "forward.flux_next.channel_id",
    "forward.flux_next.auth_key_id",
    "forward.flux_next.auth_key_file",
    "forward.flux_next.token_timeout",
];

fn target(target: &FluxTarget, keys: &TargetKeys, put: &mut dyn FnMut(&'static str, &dyn std::fmt::Debug)) {
    let [kind, url, base, app, channel, key_id, key, timeout] = *keys;
    put(kind, &target.kind());
    match target {
        FluxTarget::Webhook { url: hook } => put(url, &hook.expose()),
        FluxTarget::Unified { url: unified } => put(url, unified),
        FluxTarget::Api { base_url, app_id, channel_id, auth_key_id, auth_key, token_timeout } => {
            put(base, base_url);
            put(app, app_id);
            put(channel, channel_id);
            put(key_id, &auth_key_id.expose());
            put(key, &auth_key.expose());
            put(timeout, token_timeout);
        }
    }
}

fn forward(config: &Config, facts: &mut Facts) {
    let mut put = |key, value: &dyn std::fmt::Debug| {
        facts.insert(key, format!("{value:?}"));
    };
    let forward = &config.forward;
    put("forward.order", &forward.order);
    put("forward.backlog_share", &forward.backlog_share);
    put("forward.interface", &forward.interface);
    target(&forward.target, &PRESENT, &mut put);
    if let Some(next) = &forward.next {
        put("forward.flux_next.from", &next.from_ms);
        target(&next.target, &NEXT, &mut put);
    }
    put("forward.flux.ca_file", &forward.ca_file);
    put("forward.flux.client_certificate", &forward.client_certificate.as_ref().map(|pair| &pair.0));
    put("forward.flux.client_key", &forward.client_certificate.as_ref().map(|pair| &pair.1));
    put("forward.flux.connect_timeout", &forward.connect_timeout);
    put("forward.flux.timeout", &forward.timeout);
    put("forward.flux.replayed_after", &forward.replayed_after);
    put("forward.flux.batch.max_records", &forward.batch.max_records);
    put("forward.flux.batch.max_bytes", &forward.batch.max_bytes);
    put("forward.flux.batch.max_age", &forward.batch.max_age);
    put("forward.flux.batch.layout", &forward.batch.layout);
    put("forward.backoff.min", &forward.backoff.min);
    put("forward.backoff.max", &forward.backoff.max);
    put("forward.backoff.probe_min", &forward.backoff.probe_min);
    put("forward.backoff.probe_max", &forward.backoff.probe_max);
}
