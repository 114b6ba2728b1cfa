//! What `status` shows, gathered from the rooms' own figures.

use super::{Rooms, Shared, identity};
use crate::clock::{Clock as _, Stamp, SystemClock};
use crate::collect;
use crate::config::units::{format_duration, format_size};
use crate::config::{self, Config};
use crate::forward;
use crate::language::{IntoValue as _, Message, Value};
use crate::message;
use crate::shape::budget::{Drain, Figures};
use crate::shape::pace::Rate;
use crate::shape::wire::Wire;
use crate::store;
use crate::watch::{
    BrokerState, BudgetStatus, BudgetsStatus, ClockStatus, Connections, Counts, DrainStatus, FlashStatus, HeldStatus,
    LaneStatus, LineStatus, OldestWaiting, RefusedCount, Status, StoreStatus, Usage, VerdictStatus,
};
use std::net::SocketAddr;
use std::time::Instant;

pub(super) fn gather(shared: &Shared) -> Status {
    let now = shared.clock.now();
    let loaded = shared.loaded();
    let config = &loaded.config;
    let collected = shared.stats.snapshot();
    let limits = limits(config);
    let mut status = Status {
        version: env!("CARGO_PKG_VERSION").into(),
        gateway: config.gateway.id.clone(),
        pid: std::process::id(),
        now_ms: now.wall_ms,
        uptime_ms: u64::try_from(shared.started.elapsed().as_millis()).unwrap_or(u64::MAX),
        config: loaded.origin.source.clone(),
        config_file: loaded.origin.file.clone(),
        config_fingerprint: fingerprint(&loaded.origin.text),
        config_kept: loaded.origin.kept_ms.is_some(),
        config_kept_ms: loaded.origin.kept_ms,
        config_loaded_ms: loaded.at.by(&now),
        config_needs_restart: loaded.needs_restart.iter().map(|key| (*key).to_owned()).collect(),
        config_error: loaded.error.as_ref().map(ToString::to_string),
        config_error_lines: loaded.error.as_ref().map_or_else(Vec::new, |why| why.0.clone()),
        endpoint: identity::described(identity::target(shared, config)),
        next_identity: identity::status(shared, config),
        broker: config.collect.broker.as_ref().map(|broker| broker_state(&broker.url, shared)),
        clock: ClockStatus { asks: super::date::status(shared), ..clock(&shared.clock) },
        stance: super::stance::status(shared),
        outage: super::outages::status(shared),
        devices: super::devices::status(shared, &now),
        terms: super::limits::status(shared),
        limits: limits.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect(),
        limit_messages: limits.into_iter().map(|(_, value)| value.into_message()).collect(),
        line: line(&shared.wire, config.forward.batch.max_bytes as u64),
        ..Status::default()
    };
    status.store.path = config.store.path.display().to_string();
    status.store.max_bytes = config.store.max_size;
    match &*shared.rooms() {
        Rooms::Opening { problem } => {
            (status.store.stalled, status.store.stalled_message) = told(problem.clone());
        }
        Rooms::Running { store, forward, plain, tls, .. } => {
            let stored = store.stats();
            let sent = forward.stats();
            let addresses = [*plain, *tls];
            status.listener = config.collect.listener.as_ref().map(|it| listener(it, addresses, &collected));
            status.counts = counts(&collected, &stored, &sent);
            status.oldest_waiting = oldest(&stored);
            status.verdict = verdict(sent, config.forward.batch.max_bytes as u64);
            status.budgets = budgets(forward.budgets(&stored.lanes), &stored, now.wall_ms);
            status.epoch.clone_from(&stored.epoch);
            let ((stalled, stalled_message), (index, index_message)) = (told(stored.withheld()), told(stored.index));
            status.store = StoreStatus {
                path: status.store.path,
                bytes: stored.bytes,
                max_bytes: stored.max_size,
                commits: stored.commits,
                flash: flash(&stored.wear, config.store.flash_endurance),
                stalled,
                stalled_message,
                index,
                index_message,
                code: String::new(),
            };
            status.lanes = stored.lanes.into_iter().map(lane).collect();
        }
    }
    status.mark();
    status
}

/// None of a text that no file says.
fn fingerprint(text: &str) -> String {
    if text.is_empty() { String::new() } else { config::kept::fingerprint(text) }
}

/// `max_bytes`: of a request's body.
fn line(wire: &Wire, max_bytes: u64) -> LineStatus {
    let (counts, pace) = (wire.counts(), wire.pace());
    let at_most = |(rate, round_trip): (Rate, _)| {
        let at_most = rate.with_pauses(max_bytes, round_trip);
        (at_most.saturating_mul(100) < rate.bytes_per_second().saturating_mul(98)).then_some(at_most)
    };
    LineStatus {
        sent: counts.sent,
        received: counts.received,
        estimated: counts.estimated,
        connections: counts.connections,
        rate: pace.up.map(Rate::bytes_per_second),
        rate_down: pace.down.map(Rate::bytes_per_second),
        round_trip_ms: counts.round_trip.map(|time| u64::try_from(time.as_millis()).unwrap_or(u64::MAX)),
        one_at_a_time: pace.up.zip(counts.round_trip).and_then(at_most),
    }
}

/// `endurance`: bytes that may be written to the medium in its life.
fn flash(wear: &store::wear::Wear, endurance: Option<u64>) -> FlashStatus {
    FlashStatus {
        stored: wear.stored,
        written: wear.written,
        ratio: wear.ratio(),
        device_written: wear.device_written,
        device_a_day: wear.device_a_day,
        endurance,
        years: endurance.and_then(|endurance| wear.years(endurance)),
        unknown: wear.unknown.to_string(),
        unknown_message: wear.unknown.clone().into_message(),
    }
}

fn clock(clock: &SystemClock) -> ClockStatus {
    let Some(trust) = clock.trust() else { return ClockStatus::default() };
    let now = clock.now();
    ClockStatus {
        trusted: true,
        source: trust.source.as_str().into(),
        since_ms: Some(Stamp { uptime_ms: trust.since_uptime_ms, ..now }.by(&now)),
        correction_ms: trust.correction_ms,
        code: String::new(),
        asks: None,
    }
}

/// `addresses`: for plain MQTT and over TLS.
fn listener(
    config: &config::Listener,
    [plain, tls]: [Option<SocketAddr>; 2],
    collected: &collect::Snapshot,
) -> Connections {
    let plain = plain.iter().map(ToString::to_string);
    let turned_away = [
        ("client id", collected.unlisted_client_id),
        ("user name", collected.unlisted_user),
        ("certificate", collected.unlisted_certificate),
        ("password", collected.not_authorized),
        ("TLS", collected.tls_failed),
        ("protocol", collected.malformed),
        ("not reading", collected.not_reading),
        ("limit", collected.connections_refused),
    ];
    Connections {
        addresses: plain.chain(tls.iter().map(|address| format!("{address} (TLS)"))).collect(),
        connections: Usage { now: collected.connections, limit: config.max_connections as u64 },
        sessions: Usage { now: collected.sessions, limit: config.max_sessions as u64 },
        turned_away: turned_away.iter().map(|(_, count)| count).sum(),
        turned_away_by: by_cause(turned_away),
        code: String::new(),
    }
}

/// What was counted, without the causes of which there was none.
fn by_cause<const CAUSES: usize>(counts: [(&str, u64); CAUSES]) -> Vec<RefusedCount> {
    let counted = counts.into_iter().filter(|(_, count)| *count > 0);
    counted.map(|(cause, count)| RefusedCount { cause: cause.into(), count }).collect()
}

fn counts(collected: &collect::Snapshot, stored: &store::Stats, sent: &forward::Stats) -> Counts {
    let sum = |figure: fn(&store::LaneStats) -> u64| stored.lanes.iter().map(figure).sum();
    let refused = [
        ("topic", collected.refused_topic),
        ("device", collected.refused_device),
        ("size", collected.refused_size),
        ("fields", collected.refused_fields),
    ];
    Counts {
        collected: collected.collected,
        stored: sum(|lane| lane.stored),
        waiting: sum(|lane| lane.waiting),
        forwarded: sent.forwarded,
        evicted: sum(|lane| lane.evicted),
        damaged: sum(|lane| lane.damaged),
        expired: sum(|lane| lane.expired),
        put_aside: stored.put_aside,
        gaps_pending: stored.gaps_pending,
        gaps_told: stored.gaps_told,
        refused: stored.refused,
        refused_by: by_cause(refused),
        untreated: collected.untreated,
        requests: sent.requests,
        requests_failed: sent.requests.saturating_sub(sent.batches),
        connect_failures: sent.connect_failures,
        token_refusals: sent.token_refusals,
        codes: std::collections::BTreeMap::new(),
    }
}

fn budgets(found: forward::BudgetStanding, stored: &store::Stats, now_ms: u64) -> BudgetsStatus {
    let budget = |figures: Figures| BudgetStatus {
        kind: figures.kind.to_owned(),
        unit: if figures.kind.starts_with("events") { "events" } else { "bytes" }.to_owned(),
        amount: figures.amount,
        used: figures.used,
        left: figures.left(),
        reserved: figures.reserved,
        ends_ms: figures.ends_ms,
        runs_out_ms: figures.runs_out_ms,
        told: figures.told,
    };
    let until = |until: Instant| {
        let wait = until.saturating_duration_since(Instant::now());
        now_ms.saturating_add(u64::try_from(wait.as_millis()).unwrap_or(u64::MAX))
    };
    let held = |held: forward::Held| HeldStatus {
        lane: stored.lanes.get(held.lane).map_or_else(String::new, |lane| lane.name.clone()),
        limit: held.kind.key().to_owned(),
        reason: held.reason.message().to_string(),
        reason_message: Some(held.reason.message()),
        until_ms: held.until.map(until),
        code: String::new(),
    };
    let drain = |drain: Drain| DrainStatus {
        records: drain.load.records,
        events: drain.load.events,
        bytes: drain.load.bytes,
        month_thousandths: drain.share,
        time_ms: drain.time_ms,
    };
    BudgetsStatus {
        budgets: found.figures.into_iter().map(budget).collect(),
        held: found.held.into_iter().map(held).collect(),
        drain: found.drain.map(drain),
    }
}

fn lane(lane: store::LaneStats) -> LaneStatus {
    LaneStatus {
        name: lane.name,
        stored: lane.stored,
        waiting: lane.waiting,
        evicted: lane.evicted,
        damaged: lane.damaged,
        expired: lane.expired,
        bytes: lane.bytes,
        oldest_ms: lane.oldest_ms,
        oldest_age_ms: lane.oldest_age_ms,
        cursor: lane.cursor,
        next: lane.next,
    }
}

/// The oldest of all lanes: that of the greatest age, as long as ages are known, and else of the earliest time.
fn oldest(stored: &store::Stats) -> Option<OldestWaiting> {
    let waiting = stored.lanes.iter().filter_map(|lane| Some((lane.oldest_ms?, lane)));
    let (time_ms, lane) = waiting.max_by_key(|(time_ms, lane)| (lane.oldest_age_ms, std::cmp::Reverse(*time_ms)))?;
    Some(OldestWaiting { lane: lane.name.clone(), time_ms, age_ms: lane.oldest_age_ms })
}

/// `max_bytes`: of a request's body, as configured.
fn verdict(sent: forward::Stats, max_bytes: u64) -> VerdictStatus {
    let standing = sent.verdict;
    VerdictStatus {
        since_ms: (standing.since_ms > 0).then_some(standing.since_ms),
        word: standing.word,
        until_ms: standing.until_ms,
        reason: standing.reason.to_string(),
        reason_message: standing.reason.into_message(),
        advice: standing.advice.to_string(),
        advice_message: standing.advice.into_message(),
        code: standing.code.map_or_else(String::new, |code| code.to_string()),
        last_accepted_ms: sent.last_accepted_ms,
        suspects: sent.suspects,
        learnt_body_limit: Some(sent.body_limit).filter(|limit| *limit < max_bytes),
    }
}

fn broker_state(url: &str, shared: &Shared) -> BrokerState {
    let link = shared.broker.snapshot();
    let mut problem = link.last_error.unwrap_or_default();
    if !link.refused_filters.is_empty() {
        let filters = link.refused_filters.join(", ");
        let refused = message!("the broker refuses {filters}: allow this client to read it", filters = filters);
        problem = refused.into_value();
    } else if link.connected_since_ms.is_some() {
        problem = Value::default();
    }
    BrokerState {
        url: url.into(),
        connected: link.connected_since_ms.is_some(),
        since_ms: link.connected_since_ms.or(link.last_error_ms),
        collected: link.received,
        last_error: problem.to_string(),
        last_error_message: problem.into_message(),
        code: String::new(),
    }
}

/// A reason in English, and as a message.
pub(super) fn told(why: Option<Value>) -> (Option<String>, Option<Message>) {
    (why.as_ref().map(Value::to_string), why.and_then(Value::into_message))
}

/// Limits in force that no figure above stands beside.
fn limits(config: &Config) -> Vec<(Message, Value)> {
    let (batch, backoff) = (&config.forward.batch, &config.forward.backoff);
    let closes = message!(
        "{records} records, {bytes} or {age}",
        records = batch.max_records,
        bytes = format_size(batch.max_bytes as u64),
        age = format_duration(batch.max_age)
    );
    let pauses = message!("{min} to {max}", min = format_duration(backoff.min), max = format_duration(backoff.max));
    let mut limits = vec![
        (message!("batch"), closes.into_value()),
        (message!("back-off"), pauses.into_value()),
        (message!("commit within"), format_duration(config.store.commit_within).into_value()),
        (message!("before flash"), format_size(store::IN_FLIGHT_BYTES as u64).into_value()),
    ];
    if let Some(listener) = &config.collect.listener {
        let unanswered = message!("{count} publishes a client (MQTT 5)", count = listener.receive_maximum);
        let age = message!("{age} without a connection", age = format_duration(listener.session_max_age));
        limits.push((message!("packet"), format_size(listener.max_packet_size.into()).into_value()));
        limits.push((message!("unanswered"), unanswered.into_value()));
        limits.push((message!("session age"), age.into_value()));
    }
    limits
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_limit_is_shown_if_it_was_learnt_and_suspects_always() {
        let sent = |body_limit| {
            let mut sent = forward::Stats::default();
            (sent.body_limit, sent.suspects) = (body_limit, 3);
            sent
        };
        for (limit, shown) in [(65_536, None), (32_768, Some(32_768))] {
            let verdict = verdict(sent(limit), 65_536);
            assert_eq!((verdict.learnt_body_limit, verdict.suspects), (shown, 3));
        }
    }

    #[test]
    fn the_oldest_is_that_of_the_greatest_age_whatever_a_clock_showed() {
        let lane = |name: &str, oldest_ms, oldest_age_ms| store::LaneStats {
            name: name.into(),
            oldest_ms,
            oldest_age_ms,
            ..store::LaneStats::default()
        };
        let now = 1_790_000_000_000;
        let found = |lanes: &[store::LaneStats]| {
            let stats = store::Stats { lanes: lanes.to_vec(), ..store::Stats::default() };
            oldest(&stats).map(|oldest| (oldest.lane, oldest.age_ms))
        };
        let of_1970 = lane("a", Some(5_000), None);
        let (hour, minute) = (lane("b", Some(now), Some(3_600_000)), lane("c", Some(now - 1), Some(60_000)));
        assert_eq!(found(&[of_1970.clone(), minute.clone(), hour]), Some(("b".into(), Some(3_600_000))));
        assert_eq!(found(&[lane("d", Some(6_000), None), of_1970]), Some(("a".into(), None)));
        assert_eq!(found(&[lane("e", None, None)]), None);
    }

    #[test]
    fn attempts_that_sent_nothing_are_counted_beside_requests() {
        let mut sent = forward::Stats::default();
        (sent.requests, sent.batches, sent.connect_failures, sent.token_refusals) = (9, 7, 5, 1);
        let counts = counts(&collect::Snapshot::default(), &store::Stats::default(), &sent);
        let shown = (counts.requests, counts.requests_failed, counts.connect_failures, counts.token_refusals);
        assert_eq!(shown, (9, 2, 5, 1));
    }
}
