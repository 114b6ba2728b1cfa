//! The broker to subscribe on: whether it can be reached, takes the credentials, grants the topics, and what it keeps.

use std::path::Path;

use tidegate::code::Code;
use tidegate::collect::broker::examine::{self, Seen, Unseen};
use tidegate::config::Broker;
use tidegate::gateway::of_file;
use tidegate::message;
use tidegate::watch::Status;

use super::block_on;
use crate::command::check::Tell;
use crate::command::check::finding::{Finding, Id, Subject};

/// Messages that Mosquitto keeps for a client that is away, unless configured (mosquitto.conf(5), `max_queued_messages`).
const QUEUED: u64 = 1000;

/// Messages that it has under way to a client, unless configured (`max_inflight_messages`).
const INFLIGHT: u64 = 20;

/// Below this a queue is short: an hour of one message a second, the time of a longer restart or repair.
const ENOUGH: u64 = 3600;

/// Where Debian's Mosquitto has its configuration.
const MOSQUITTO: &str = "/etc/mosquitto";

/// Files of it that are read at most.
const FILES: usize = 64;

/// Connects as a client of its own and looks; takes twice the time that connecting may at the most. What the service is connected
/// to already is not tried again.
pub(in crate::command) fn look(broker: &Broker, service: Option<&Status>, tell: Tell<'_>) {
    let what = || Id::Broker.of(message!("broker {url}", url = &broker.url));
    let by_service = service.and_then(|status| status.broker.as_ref());
    if let Some(state) = by_service.filter(|state| state.connected && state.url == broker.url) {
        tell(Finding::good(
            what(),
            message!("the service is connected to it; {count} collected", count = state.collected),
        ));
    }
    match block_on(examine::look(&of_file::broker(broker))) {
        None => tell(Finding::unknown(what(), message!("the system refuses what is needed to connect"), None)),
        Some(Err(unseen)) if by_service.is_some_and(|state| state.connected) => {
            // It may admit the service's client id alone, and the service is in.
            let said = message!("its limits could not be asked: {why}", why = why(&unseen));
            tell(Finding::unknown(what(), said, None));
        }
        Some(Err(unseen)) => tell(failed(what(), broker, &unseen)),
        Some(Ok(seen)) => {
            if by_service.is_none_or(|state| !state.connected) {
                tell(Finding::good(what(), message!("it can be reached and takes the credentials")));
            }
            topics(broker, &seen, tell);
            tell(limits(broker, &seen));
        }
    }
}

fn why(unseen: &Unseen) -> String {
    match unseen {
        Unseen::Files(text) | Unseen::Tls(text) | Unseen::Refused(text) | Unseen::Busy(text) | Unseen::Lost(text) => {
            text.clone()
        }
        Unseen::Silent => "timeout".into(),
    }
}

fn failed(what: Subject, broker: &Broker, unseen: &Unseen) -> Finding {
    let (host, port) = (&broker.host, broker.port);
    match unseen {
        Unseen::Files(text) => Finding::bad(
            what,
            message!("a certificate or key for it cannot be used: {why}", why = text),
            Code::BrokerUnreachable,
            message!("correct ca_file, client_certificate or client_key in [collect.broker]"),
        ),
        Unseen::Tls(text) => Finding::bad(
            what,
            message!("no TLS with it: {why}", why = text),
            Code::BrokerUnreachable,
            message!(
                "see that ca_file is the CA of the broker, that its certificate names {host}, and that the clock is right",
                host = host
            ),
        ),
        Unseen::Refused(code) => Finding::bad(
            what,
            message!("it refuses the user name or password ({code})", code = code),
            Code::BrokerRefuses,
            message!("correct username and password_file in [collect.broker], or the broker's users and access rules"),
        ),
        Unseen::Busy(code) => Finding::attention(
            what,
            message!("it cannot serve now ({code})", code = code),
            Code::BrokerUnreachable,
            message!("see the broker's log; Tidegate tries again by itself"),
        ),
        Unseen::Silent => Finding::bad(
            what,
            message!("nobody answers at {host} port {port}", host = host, port = port),
            Code::BrokerUnreachable,
            message!("see that the broker runs, that host and port are right and that no firewall is between"),
        ),
        Unseen::Lost(text) => Finding::bad(
            what,
            message!("no connection to {host} port {port}: {why}", host = host, port = port, why = text),
            Code::BrokerUnreachable,
            message!("see that the broker runs, that host and port are right and that no firewall is between"),
        ),
    }
}

fn topics(broker: &Broker, seen: &Seen, tell: Tell<'_>) {
    let what = || Id::BrokerTopics.of(message!("broker, topics"));
    for (filter, reason) in &seen.refused {
        tell(Finding::bad(
            what(),
            message!("it refuses {filter} ({reason}): nothing is collected by it", filter = filter, reason = reason),
            Code::BrokerRefuses,
            message!(
                "let the user read that topic in the broker's access rules, or correct topics in [collect.broker]"
            ),
        ));
    }
    for filter in &seen.lowered {
        tell(Finding::attention(
            what(),
            message!("it grants {filter} at QoS 0 only: what it sends may be lost on the way", filter = filter),
            Code::BrokerLimits,
            message!("raise max_qos of the broker's listener"),
        ));
    }
    for filter in &seen.untried {
        let said = message!(
            "{filter} is shared with other clients; it was not tried, to take nobody's messages",
            filter = filter
        );
        tell(Finding::unknown(what(), said, None));
    }
    if seen.refused.is_empty() && seen.lowered.is_empty() && seen.untried.len() < broker.topics.len() {
        let count = broker.topics.len() - seen.untried.len();
        tell(Finding::good(what(), message!("it grants all {count} at QoS 1", count = count)));
    }
}

/// What the broker keeps while Tidegate is away. Its limits cannot be asked over MQTT: they are read where it runs on this machine.
fn limits(broker: &Broker, seen: &Seen) -> Finding {
    let what = Id::BrokerLimits.of(message!("broker, limits"));
    let version = seen.version.clone().unwrap_or_default();
    if !version.to_lowercase().contains("mosquitto") {
        let said = message!("the broker does not say what it is; what it keeps while Tidegate is away is not known");
        let next = message!("see in its manual how many messages it queues for a client that is away");
        return Finding::unknown(what, said, Some(next));
    }
    let near = matches!(broker.host.as_str(), "localhost" | "::1") || broker.host.starts_with("127.");
    judge_limits(what, &version, near.then(|| configured(Path::new(MOSQUITTO))).flatten())
}

fn judge_limits(what: Subject, version: &str, set: Option<(Option<u64>, Option<u64>)>) -> Finding {
    let raise = || {
        message!(
            "write max_queued_messages 100000 into {path} and restart the broker; max_inflight_messages {inflight} limits the rate, not what is kept",
            path = "/etc/mosquitto/conf.d/tidegate.conf",
            inflight = INFLIGHT,
        )
    };
    let Some((queued, inflight)) = set else {
        return Finding::unknown(
            what,
            message!(
                "{version}; its settings cannot be read from here: unless they were raised, it has {inflight} messages under way and keeps {queued} while Tidegate is away, and silently drops the rest",
                version = version,
                inflight = INFLIGHT,
                queued = QUEUED,
            ),
            Some(raise()),
        );
    };
    let (queued, inflight) = (queued.unwrap_or(QUEUED), inflight.unwrap_or(INFLIGHT));
    // 0 is no limit.
    if queued != 0 && queued < ENOUGH {
        return Finding::attention(
            what,
            message!(
                "{version} has {inflight} messages under way and keeps {queued} while Tidegate is away, and silently drops the rest",
                version = version,
                inflight = inflight,
                queued = queued,
            ),
            Code::BrokerLimits,
            raise(),
        );
    }
    let queued = if queued == 0 { "∞".to_owned() } else { queued.to_string() };
    Finding::good(
        what,
        message!(
            "{version} has {inflight} messages under way and keeps {queued} while Tidegate is away",
            version = version,
            inflight = inflight,
            queued = queued
        ),
    )
}

/// `max_queued_messages` and `max_inflight_messages` in the configuration of a Mosquitto on this machine, the last of each;
/// `None` if it cannot be read.
fn configured(folder: &Path) -> Option<(Option<u64>, Option<u64>)> {
    let mut text = std::fs::read_to_string(folder.join("mosquitto.conf")).ok()?;
    let mut more: Vec<_> = match std::fs::read_dir(folder.join("conf.d")) {
        Ok(entries) => entries.flatten().map(|entry| entry.path()).collect(),
        Err(_) => Vec::new(),
    };
    more.sort();
    for path in more.into_iter().filter(|path| path.extension().is_some_and(|end| end == "conf")).take(FILES) {
        text.push('\n');
        text.push_str(&std::fs::read_to_string(path).ok()?);
    }
    let last = |key: &str| {
        let of_line = |line: &str| line.trim().strip_prefix(key)?.strip_prefix([' ', '\t'])?.trim().parse().ok();
        text.lines().filter_map(of_line).next_back()
    };
    Some((last("max_queued_messages"), last("max_inflight_messages")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::check::finding::Outcome;

    #[test]
    fn mosquittos_limits_are_read_from_its_files_or_not_judged() {
        let folder = tempfile::tempdir().expect("a folder");
        assert_eq!(configured(folder.path()), None);
        std::fs::write(folder.path().join("mosquitto.conf"), "max_queued_messages 10\n# max_inflight_messages 5\n")
            .expect("a file");
        assert_eq!(configured(folder.path()), Some((Some(10), None)));
        std::fs::create_dir(folder.path().join("conf.d")).expect("a folder");
        std::fs::write(folder.path().join("conf.d/x.conf"), " max_queued_messages\t0\nmax_inflight_messages 50")
            .expect("a file");
        std::fs::write(folder.path().join("conf.d/x.bak"), "max_queued_messages 7").expect("a file");
        assert_eq!(configured(folder.path()), Some((Some(0), Some(50))));
        let result =
            |set| judge_limits(Id::BrokerLimits.of(message!("broker, limits")), "mosquitto version 2.0.21", set).result;
        assert_eq!(result(None), Outcome::Unknown);
        assert_eq!(result(Some((None, None))), Outcome::Attention);
        assert_eq!(result(Some((Some(0), None))), Outcome::Good);
        assert_eq!(result(Some((Some(100_000), Some(20)))), Outcome::Good);
    }
}
