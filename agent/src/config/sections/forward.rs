//! `[forward]`: the Flux endpoint, batches, back-off.

use std::time::Duration;

use super::super::address::{self, Url};
use super::super::model::{Backoff, Batch, FluxTarget, Forward, Kind, Layout, NextFlux, Order};
use super::super::reader::{Section, Value, found_text};
use super::super::surroundings::Content;
use super::super::terms::DEVELOPER_EVENTS;
use super::{DAY, KIB, MIB, pair};
use crate::clock::text as time;
use crate::language::Message;
use crate::message;
use crate::secret::Secret;
use tidegate_protocol::units::format_count;

const WEBHOOK_KEYS: [&str; 1] = ["url_file"];
const API_KEYS: [&str; 7] =
    ["base_url", "app_id", "channel_id", "auth_key_id", "auth_key_id_file", "auth_key_file", "token_timeout"];

/// Where an app's events are posted unless configured (SORACOM API, Japan coverage).
const API: &str = "https://api.soracom.io";
/// Unified Endpoint: plain HTTP within the SORACOM line; no HTTPS is documented.
const UNIFIED: &str = "http://uni.soracom.io/";

/// `events`: what this gateway may have in a month as far as the configuration says; `None` for any number.
pub(super) fn forward(root: &Section<'_>, events: Option<u64>) -> Forward {
    let section = root.section("forward");
    let orders = [("oldest-first", Order::OldestFirst), ("live-first", Order::LiveFirst)];
    let order = section.word("order", &orders).unwrap_or(Order::OldestFirst);
    // With nothing for either side it would be another order, not a share.
    let backlog_share = section.percent("backlog_share", &(1..=99), 20);
    let interface = interface(&section);
    let flux = section.section("flux");
    let target = self::target(&flux);
    let next = next(section.section("flux_next"), &target);
    let ca_file = flux.file("ca_file", Content::Certificates).map(|(path, _)| path);
    let client_certificate = pair(&flux, "client_certificate", "client_key");
    let seconds = Duration::from_secs;
    let connect_timeout = flux.duration("connect_timeout", &(seconds(1)..=seconds(300)), seconds(10));
    let timeout = flux.duration("timeout", &(seconds(1)..=seconds(600)), seconds(60));
    let replayed_after = flux.duration("replayed_after", &(seconds(1)..=365 * DAY), seconds(540));
    let batch_section = flux.section("batch");
    let batch = batch(batch_section, events);
    if replayed_after <= batch.max_age {
        flux.warn(
            "replayed_after",
            message!("events are marked `replayed` after a wait that batch.max_age alone can cause"),
            message!("write a replayed_after longer than batch.max_age"),
        );
    }
    flux.finish();
    let backoff = backoff(section.section("backoff"));
    section.finish();
    Forward {
        order,
        backlog_share,
        interface,
        target,
        next,
        ca_file,
        client_certificate,
        connect_timeout,
        timeout,
        replayed_after,
        batch,
        backoff,
    }
}

/// `[forward.flux_next]`, if it is there. `present`: the target until then.
fn next(section: Section<'_>, present: &FluxTarget) -> Option<NextFlux> {
    const ADVICE: Message =
        message!("write from = \"2026-12-01T00:00:00+09:00\", the time that the provider has announced");
    if !section.is_there() {
        return None;
    }
    let mut from_ms = None;
    match section.get("from") {
        None => section.missing("from", ADVICE),
        Some(value) => {
            if let Some(text) = value.time_text(ADVICE) {
                // What is counted from now would be another time at each start.
                let absolute = !text.trim().starts_with(['+', '-']) && text.trim() != "now";
                from_ms = time::parse(&text, 0).ok().filter(|_| absolute);
                if from_ms.is_none() {
                    value.problem(found_text(&text), ADVICE);
                }
            }
        }
    }
    let target = target(&section);
    if target == *present && section.has("kind") {
        section.warn(
            "",
            message!("it says the same as [forward.flux]"),
            message!("remove it, or correct what differs from that time on"),
        );
    }
    section.finish();
    Some(NextFlux { from_ms: from_ms?, target })
}

/// A network interface's name, as the kernel takes it: at most 15 bytes, no `/`, no white space.
pub(super) fn interface(section: &Section<'_>) -> Option<String> {
    const ADVICE: Message = message!("write the interface's name, such as \"wwan0\", as `ip link` shows it");
    let (text, value) = section.text("interface", ADVICE)?;
    let plain = |byte: u8| byte.is_ascii_graphic() && byte != b'/';
    if text.is_empty() || text.len() > 15 || !text.bytes().all(plain) {
        value.problem(found_text(text), ADVICE);
    }
    Some(text.to_owned())
}

fn target(flux: &Section<'_>) -> FluxTarget {
    let kinds = [("webhook", Kind::Webhook), ("api", Kind::Api), ("unified", Kind::Unified)];
    let kind = flux.word("kind", &kinds);
    if kind.is_none() && !flux.has("kind") {
        flux.missing(
            "kind",
            message!("write kind = \"webhook\" (with url_file), \"api\" (with app_id, channel_id, auth_key_id, auth_key_file) or \
             \"unified\" (over a SORACOM line, nothing else needed)"),
        );
    }
    match kind {
        Some(Kind::Webhook) => {
            misfits(flux, "webhook", &API_KEYS);
            FluxTarget::Webhook { url: webhook_url(flux) }
        }
        Some(Kind::Api) => {
            misfits(flux, "api", &["url"]);
            misfits(flux, "api", &WEBHOOK_KEYS);
            api(flux)
        }
        Some(Kind::Unified) => {
            misfits(flux, "unified", &API_KEYS);
            misfits(flux, "unified", &WEBHOOK_KEYS);
            FluxTarget::Unified { url: unified_url(flux) }
        }
        None => unknown_kind(flux),
    }
}

/// Judges what can be judged while the kind is wrong or missing: the keys that stand there say which one is meant, and
/// those that stand beside them are only taken note of.
fn unknown_kind(flux: &Section<'_>) -> FluxTarget {
    let meant = if flux.has("url_file") {
        FluxTarget::Webhook { url: webhook_url(flux) }
    } else if API_KEYS.iter().any(|key| flux.has(key)) {
        api(flux)
    } else {
        FluxTarget::Unified { url: unified_url(flux) }
    };
    for key in ["url"].into_iter().chain(WEBHOOK_KEYS).chain(API_KEYS) {
        let _ = flux.get(key);
    }
    meant
}

fn misfits(flux: &Section<'_>, kind: &str, keys: &[&'static str]) {
    for key in keys {
        if let Some(value) = flux.get(key) {
            let fits = match *key {
                "url" => message!("kind = \"webhook\" or \"unified\" (for api, write base_url)"),
                "url_file" => message!("kind = \"webhook\""),
                _ => message!("kind = \"api\""),
            };
            value.problem(
                message!("does not belong to kind = \"{kind}\"", kind = kind),
                message!("remove it; it goes with {fits}", fits = fits),
            );
        }
    }
}

fn webhook_url(flux: &Section<'_>) -> Secret {
    const ADVICE: Message = message!(
        "write url_file = \"/etc/tidegate/secrets/webhook.url\" and put the webhook's URL into that file: whoever \
                          knows the URL can post"
    );
    let inline = flux.text("url", message!("write the URL in quotes"));
    let from_file = flux.secret_file("url_file");
    match (flux.has("url"), flux.has("url_file")) {
        (true, true) => {
            if let Some((_, value)) = &inline {
                value.problem(
                    message!("both url and url_file are given"),
                    message!("remove url, which anyone who reads this file can see"),
                );
            }
        }
        (false, false) => flux.missing("url_file", ADVICE),
        _ => {}
    }
    if let Some((text, value)) = inline {
        if let Some(url) = hook(text, &value) {
            if !url.is_loopback() {
                value.warn(message!("the webhook's URL is a secret and stands in the configuration"), ADVICE);
            }
        }
        return Secret::new(text);
    }
    let Some((secret, value)) = from_file else { return Secret::new("") };
    let _ = hook(secret.expose(), &value);
    secret
}

/// What the path of a webhook at SORACOM begins with; the channel's part and the secret follow.
const HOOK: &str = "/v1/flux/incoming_webhooks/";

/// Judges a webhook's URL: as any other, and whether it is one that SORACOM would have shown.
fn hook(text: &str, value: &Value<'_>) -> Option<Url> {
    if text.contains('…') {
        value.problem(
            message!("the URL has `…` in it, which stands for a part of it in the documents"),
            message!("write the whole URL as the user console shows it (Show Webhook URL)"),
        );
        return None;
    }
    let url = http_url(text, value)?;
    let soracom = url.host.to_ascii_lowercase().ends_with(".soracom.io");
    let rest = url.path.strip_prefix(HOOK).unwrap_or_default();
    if soracom && rest.split('/').filter(|part| !part.is_empty()).count() < 2 {
        value.warn(
            message!("the URL is SORACOM's and not a webhook's, which has the path {path}…/…", path = HOOK),
            message!("copy it anew from the user console (Event Source, Incoming Webhook, Show Webhook URL)"),
        );
    }
    Some(url)
}

/// Judges an endpoint's URL, which may be a secret; warns if it would cross a network in the clear.
fn http_url(text: &str, value: &Value<'_>) -> Option<Url> {
    match address::url(text, &["https", "http"]) {
        Ok(url) => {
            if url.scheme == "http" && !url.is_loopback() {
                value.warn(
                    message!("the URL is http, so the secret and the telemetry can be read on the way"),
                    message!("write https, unless the path is protected otherwise"),
                );
            }
            Some(url)
        }
        Err(fault) => {
            value.problem(fault.found, fault.advice);
            None
        }
    }
}

fn unified_url(flux: &Section<'_>) -> String {
    let Some((text, value)) = flux.text("url", message!("write the URL in quotes, or leave it out")) else {
        return UNIFIED.into();
    };
    if let Err(fault) = address::url(text, &["http", "https"]) {
        value.problem(fault.found, fault.advice);
    }
    text.to_owned()
}

fn api(flux: &Section<'_>) -> FluxTarget {
    let mut base_url = API.to_owned();
    if let Some((text, value)) =
        flux.text("base_url", message!("write \"https://api.soracom.io\" or \"https://g.api.soracom.io\""))
    {
        match http_url(text, &value) {
            Some(url) if url.path == "/" => text.trim_end_matches('/').clone_into(&mut base_url),
            Some(_) => value.problem(
                message!("the URL has a path"),
                message!("write scheme and host only: the path follows from app_id and channel_id"),
            ),
            None => {}
        }
    }
    let app_id = part_of_path(flux, "app_id", message!("write the Flux app's id, as the user console shows it"));
    let channel_id = part_of_path(flux, "channel_id", message!("write the id of the channel that the events go to"));
    let auth_key_id = auth_key_id(flux);
    let auth_key = flux.secret_file("auth_key_file");
    if let Some((secret, value)) = &auth_key {
        if secret.expose().contains('…') {
            value.problem(
                message!("the secret in the file has `…` in it"),
                message!("write the whole secret as the user console showed it"),
            );
        }
    }
    if auth_key.is_none() && !flux.has("auth_key_file") {
        flux.missing(
            "auth_key_file",
            message!("write the path of a file with the secret half of the authentication key"),
        );
    }
    // SORACOM gives a token 24 h by default and 48 h at most; one renewed more often than every 5 minutes would run
    // into the rate limit of POST /v1/auth.
    let day = Duration::from_secs(86_400);
    FluxTarget::Api {
        base_url,
        app_id,
        channel_id,
        auth_key_id,
        auth_key: auth_key.map_or_else(|| Secret::new(""), |(secret, _)| secret),
        token_timeout: flux.duration("token_timeout", &(Duration::from_secs(300)..=2 * day), day),
    }
}

fn auth_key_id(flux: &Section<'_>) -> Secret {
    let inline = flux.text("auth_key_id", message!("write the id (keyId-…) in quotes"));
    let from_file = flux.secret_file("auth_key_id_file");
    match (flux.has("auth_key_id"), flux.has("auth_key_id_file")) {
        (true, true) => {
            if let Some((_, value)) = &inline {
                value.problem(
                    message!("both auth_key_id and auth_key_id_file are given"),
                    message!("remove one of them"),
                );
            }
        }
        (false, false) => {
            flux.missing("auth_key_id", message!("write the key's id (keyId-…), or auth_key_id_file with its path"));
        }
        _ => {}
    }
    if let Some((text, value)) = inline {
        if text.is_empty() || text.contains(char::is_whitespace) || text.contains(char::is_control) {
            value.problem(
                message!("it is empty or contains white space"),
                message!("write the id as the user console shows it"),
            );
        }
        if text.contains('…') {
            value
                .problem(message!("the id has `…` in it"), message!("write the whole id as the user console shows it"));
        }
        if text.starts_with("secret-") {
            value.problem(
                message!("this is the secret half of the key"),
                message!("write the id (keyId-…) here, and the secret into auth_key_file"),
            );
        }
        return Secret::new(text);
    }
    from_file.map_or_else(|| Secret::new(""), |(secret, _)| secret)
}

/// An id that becomes one segment of the request's path.
fn part_of_path(flux: &Section<'_>, key: &'static str, advice: Message) -> String {
    let Some((text, value)) = flux.text(key, &advice) else {
        if !flux.has(key) {
            flux.missing(key, advice);
        }
        return String::new();
    };
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '~');
    if text.is_empty() || text.len() > 128 || !text.chars().all(plain) || text.chars().all(|c| c == '.') {
        value.problem(found_text(text), message!("{advice}: letters, digits, `-`, `_`", advice = advice));
    }
    text.to_owned()
}

fn batch(section: Section<'_>, quota: Option<u64>) -> Batch {
    let max_records = section.integer("max_records", &(1..=10_000), 500) as usize;
    let max_bytes = section.size("max_bytes", &(KIB..=4 * MIB), 64 * KIB) as usize;
    let max_age = section.duration("max_age", &(Duration::ZERO..=DAY), Duration::from_secs(270));
    let layout = section.word("layout", &[("array", Layout::Array), ("single", Layout::Single)]);
    let layout = layout.unwrap_or(Layout::Array);
    let month = 31.0 * 86_400.0;
    let events = month / max_age.as_secs_f64().max(0.001);
    if let Some(quota) = quota {
        warn_of_events(&section, layout, events, quota);
    }
    section.finish();
    Batch { max_records, max_bytes, max_age, layout }
}

/// `events`: of a month in which a batch closes by its age only. `quota`: this gateway's, of a month.
fn warn_of_events(section: &Section<'_>, layout: Layout, events: f64, quota: u64) {
    let shown = format_count(quota);
    let plan = if quota == DEVELOPER_EVENTS.get() {
        message!("a Developer plan stops all apps after {shown} events a month", shown = shown)
    } else {
        message!("this gateway's part is {shown} events a month", shown = shown)
    };
    if layout == Layout::Single {
        section.warn(
            "layout",
            message!("every record is an event of its own, and {plan}", plan = plan),
            message!("write \"array\", or [limits] events_per_month as the plan has it"),
        );
    } else if events > quota as f64 {
        // Rounded up to ten seconds, so that the shortest age that fits is one that people write.
        let age = (31.0 * 86_400.0 / quota.max(1) as f64 / 10.0).ceil() * 10.0;
        section.warn(
            "max_age",
            message!("one batch each max_age would be up to {events} events a month, but {plan}; so after the first few \
                 requests batches wait longer than max_age, as long as the month's pace makes them", events = format!("{events:.0}"), plan = plan),
            message!("leave it if that is meant; write \"{age}s\" to have all wait the same, or [limits] events_per_month as \
                 the plan has it", age = format!("{age:.0}")),
        );
    }
}

fn backoff(section: Section<'_>) -> Backoff {
    let hour = Duration::from_secs(3600);
    let min = section.duration("min", &(Duration::from_millis(10)..=hour), Duration::from_secs(1));
    let max = section.duration("max", &(Duration::from_millis(10)..=24 * hour), Duration::from_secs(300));
    if let (true, Some(value)) = (max < min, section.get("max").or_else(|| section.get("min"))) {
        value.problem(
            message!("max is shorter than min"),
            message!("write min = \"1s\" and max = \"5m\", or a longer max"),
        );
    }
    let probe = Duration::from_millis(100)..=24 * hour;
    let probe_min = section.duration("probe_min", &probe, Duration::from_secs(60));
    let probe_max = section.duration("probe_max", &probe, hour);
    let shorter = probe_max < probe_min;
    if let (true, Some(value)) = (shorter, section.get("probe_max").or_else(|| section.get("probe_min"))) {
        value.problem(
            message!("probe_max is shorter than probe_min"),
            message!("write probe_min = \"60s\" and probe_max = \"1h\""),
        );
    }
    section.finish();
    Backoff { min, max, probe_min, probe_max }
}
