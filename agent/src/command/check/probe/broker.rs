//! The broker to subscribe on: whether it can be reached, takes the credentials, grants the topics, and what it keeps.

use tidegate::code::Code;
use tidegate::collect::broker::examine::{self, Seen, Unseen};
use tidegate::config::Broker;
use tidegate::config::units::format_size;
use tidegate::gateway::of_file;
use tidegate::language::IntoValue as _;
use tidegate::message;
use tidegate::watch::Status;

use super::block_on;
use super::mosquitto::{self, Limits};
use super::reach::{Presented, Time};
use crate::command::check::Tell;
use crate::command::check::finding::{Finding, Id, Subject};

/// Messages that Mosquitto keeps for a client that is away, unless configured (mosquitto.conf(5), `max_queued_messages`).
const QUEUED: u64 = 1000;

/// Messages that it has under way to a client, unless configured (`max_inflight_messages`).
const INFLIGHT: u64 = 20;

/// Below this a queue is short: an hour of one message a second, the time of a longer restart or repair.
const ENOUGH: u64 = 3600;

/// The same in bytes, with readings of 300 bytes: about a MiB.
const ENOUGH_BYTES: u64 = 1 << 20;

/// Connects as a client of its own and looks; takes twice the time that connecting may at the most, and 5 s. What the service is
/// connected to already is not tried again. `clock_is_right`: see [`super::clock::is_right`].
pub(in crate::command) fn look(broker: &Broker, clock_is_right: bool, service: Option<&Status>, tell: Tell<'_>) {
    let what = || Id::Broker.of(message!("broker {url}", url = &broker.url));
    let by_service = service.and_then(|status| status.broker.as_ref());
    let connected = by_service.is_some_and(|state| state.connected && state.url == broker.url);
    if let Some(state) = by_service.filter(|_| connected) {
        tell(Finding::good(
            what(),
            message!("the service is connected to it; {count} collected", count = state.collected),
        ));
    }
    let clock = Time::now(clock_is_right);
    match block_on(examine::look(&of_file::broker(broker))) {
        None => tell(Finding::unknown(what(), message!("the system refuses what is needed to connect"), None)),
        // The service's connection may be older than that.
        Some(Err(unseen @ Unseen::Distrusted { .. })) => tell(failed(certificate_of(broker), broker, &unseen, clock)),
        Some(Err(unseen)) if connected => {
            // It may admit the service's client id alone, and the service is in.
            let said = message!("its limits could not be asked: {why}", why = why(&unseen));
            tell(Finding::unknown(what(), said, None));
        }
        Some(Err(unseen)) => tell(failed(what(), broker, &unseen, clock)),
        Some(Ok(seen)) => {
            if !connected {
                tell(Finding::good(what(), message!("it can be reached and takes the credentials")));
            }
            if broker.tls {
                let certificate = seen.certificate.as_ref();
                let (what, host) = (certificate_of(broker), broker.host.as_str());
                tell(Presented { what, host, certificate, clock }.trusted());
            }
            topics(broker, &seen, tell);
            limits(broker, &seen, tell);
        }
    }
}

fn certificate_of(broker: &Broker) -> Subject {
    Id::BrokerTls.of(message!("TLS with {host}", host = &broker.host))
}

fn why(unseen: &Unseen) -> String {
    match unseen {
        Unseen::Files(text)
        | Unseen::Tls(text)
        | Unseen::Refused(text)
        | Unseen::ClientId(text)
        | Unseen::Busy(text)
        | Unseen::NoName(text)
        | Unseen::NoConnection(text)
        | Unseen::Lost(text)
        | Unseen::Distrusted { why: text, .. }
        | Unseen::Certificate { why: text, .. } => text.clone(),
        Unseen::OtherKind => "TLS".into(),
        Unseen::Silent => "timeout".into(),
    }
}

fn failed(what: Subject, broker: &Broker, unseen: &Unseen, clock: Time) -> Finding {
    let (host, port) = (&broker.host, broker.port);
    match unseen {
        Unseen::Files(text) => Finding::bad(
            what,
            message!("a certificate or key for it cannot be used: {why}", why = text),
            Code::BrokerUnreachable,
            message!("correct ca_file, client_certificate or client_key in [collect.broker]"),
        ),
        Unseen::Distrusted { distrust, certificate, why } => {
            let authority = message!(
                "write the CA that has issued it as ca_file in [collect.broker]; whoever runs the broker has it; see that nobody else answers in its place"
            );
            Presented { what, host, certificate: certificate.as_ref(), clock }.distrusted(*distrust, why, authority)
        }
        Unseen::Certificate { .. } | Unseen::Refused(_) | Unseen::ClientId(_) => refused(what, broker, unseen),
        Unseen::Tls(text) => Finding::bad(
            what,
            message!("no TLS with it: {why}", why = text),
            Code::BrokerUnreachable,
            message!("see what the broker's log says of it, and that its TLS is of version 1.2 or 1.3"),
        ),
        Unseen::OtherKind => other_kind(what, broker),
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
        Unseen::NoName(text) => Finding::bad(
            what,
            message!("the name {host} cannot be resolved: {why}", host = host, why = text),
            Code::Names,
            message!(
                "see that url in [collect.broker] is spelt right; a name that no name server knows can be written into /etc/hosts, or the broker's address into url"
            ),
        ),
        Unseen::NoConnection(text) => Finding::bad(
            what,
            message!("no connection to {host} port {port}: {why}", host = host, port = port, why = text),
            Code::BrokerUnreachable,
            message!("see that the broker runs, that host and port are right and that no firewall is between"),
        ),
        Unseen::Lost(text) => Finding::bad(
            what,
            message!(
                "{host} port {port} takes the connection and ends it at once: {why}",
                host = host,
                port = port,
                why = text
            ),
            Code::BrokerUnreachable,
            message!("see the broker's log for why, and that an MQTT broker and nothing else has that port"),
        ),
    }
}

fn refused(what: Subject, broker: &Broker, unseen: &Unseen) -> Finding {
    let (said, next) = match unseen {
        Unseen::ClientId(code) => {
            let said = message!(
                "it does not take this check's client id ({code}); that of the service was not tried",
                code = code
            );
            let next = message!("start the service, then see `tidegate status`");
            return Finding::unknown(what, said, Some(next));
        }
        Unseen::Certificate { said: true, why } if broker.client_certificate.is_none() => (
            message!("it asks for a certificate of this gateway, and none is configured ({why})", why = why),
            message!(
                "have whoever runs the broker issue one; write it as client_certificate and its key as client_key in [collect.broker]"
            ),
        ),
        Unseen::Certificate { why, .. } if broker.client_certificate.is_none() => (
            message!(
                "it breaks the handshake off: most likely it asks for a certificate of this gateway ({why})",
                why = why
            ),
            message!(
                "have whoever runs the broker issue one; write it as client_certificate and its key as client_key in [collect.broker]"
            ),
        ),
        Unseen::Certificate { why, .. } => (
            message!("it refuses the certificate of this gateway ({why})", why = why),
            message!(
                "see that client_certificate in [collect.broker] has not ended and is from the CA that the broker knows; the broker's log says more"
            ),
        ),
        _ if broker.username.is_none() => (
            message!("it refuses a client without user name and password ({code})", code = why(unseen)),
            message!(
                "write username and password_file in [collect.broker], or let clients in without them at the broker"
            ),
        ),
        _ => (
            message!("it refuses the user name or password ({code})", code = why(unseen)),
            message!("correct username and password_file in [collect.broker], or the broker's users and access rules"),
        ),
    };
    Finding::bad(what, said, Code::BrokerRefuses, next)
}

/// It speaks TLS and was asked without, or the other way round.
fn other_kind(what: Subject, broker: &Broker) -> Finding {
    let address = broker.url.split_once("://").map_or(broker.url.as_str(), |(_, rest)| rest);
    // Without a port the URL would lead elsewhere with the other word.
    let address = if broker.url.ends_with(&format!(":{}", broker.port)) {
        address.to_owned()
    } else {
        format!("{}:{}", address.trim_end_matches('/'), broker.port)
    };
    let (said, right) = if broker.tls {
        (message!("it answers there, and without TLS"), format!("mqtt://{address}"))
    } else {
        (message!("it answers there, and with TLS only"), format!("mqtts://{address}"))
    };
    let next = if broker.tls {
        message!(
            "write url = \"{url}\" in [collect.broker], or the port on which it speaks TLS (mostly 8883)",
            url = right
        )
    } else {
        message!(
            "write url = \"{url}\" in [collect.broker], with the broker's CA as ca_file, or the port on which it speaks without TLS (mostly 1883)",
            url = right
        )
    };
    Finding::bad(what, said, Code::BrokerUnreachable, next)
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
fn limits(broker: &Broker, seen: &Seen, tell: Tell<'_>) {
    let what = Id::BrokerLimits.of(message!("broker, limits"));
    let version = seen.version.clone().unwrap_or_default();
    if !version.to_lowercase().contains("mosquitto") {
        let said = message!("the broker does not say what it is; what it keeps while Tidegate is away is not known");
        let next = message!("see in its manual how many messages it queues for a client that is away");
        return tell(Finding::unknown(what, said, Some(next)));
    }
    let found = mosquitto::limits(&broker.host, broker.port);
    let lasting = judge_lasting(Id::BrokerPersistence.of(message!("broker, restart")), &found);
    tell(judge_limits(what, &version, found));
    lasting.into_iter().for_each(tell);
}

/// Whether what the broker keeps outlives a restart of its own: it runs on this machine, so mostly both restart together. Nothing is said
/// where nothing is known; the line on its limits says that.
fn judge_lasting(what: Subject, limits: &Limits) -> Option<Finding> {
    let (set, known) = match limits {
        Limits::Known(set) => (set, true),
        Limits::Perhaps(set) => (set, false),
        Limits::Changed(_) | Limits::Unknown => return None,
    };
    if set.persistence == Some(true) {
        let said = message!("what it keeps outlives a restart of it (persistence true)");
        return known.then(|| Finding::good(what, said));
    }
    let next = set.place.as_ref().map_or_else(
        || {
            message!(
                "start the broker with a configuration file (mosquitto -c FILE) that says persistence true and persistence_location"
            )
        },
        |place| {
            message!(
                "write persistence true and, if none is set yet, a persistence_location that it may write to into {path}, and restart the broker",
                path = place.display()
            )
        },
    );
    let file = || set.file.as_ref().map_or_else(|| "mosquitto".to_owned(), |file| file.display().to_string());
    Some(match (known, set.persistent_plugin) {
        (true, false) => Finding::attention(
            what,
            message!(
                "what it keeps for Tidegate is in its memory alone: it is lost when the broker or the machine restarts"
            ),
            Code::BrokerLimits,
            next,
        ),
        (true, true) => {
            Finding::unknown(what, message!("whether what it keeps outlives a restart of it is up to its plugin"), None)
        }
        (false, _) => Finding::unknown(
            what,
            message!("if it reads {file}, what it keeps for Tidegate is lost when it restarts", file = file()),
            Some(next),
        ),
    })
}

fn judge_limits(what: Subject, version: &str, limits: Limits) -> Finding {
    let (set, known) = match limits {
        Limits::Known(set) => (set, true),
        Limits::Perhaps(set) => (set, false),
        Limits::Changed(file) => {
            let said = message!(
                "{version}; {file} was changed after the broker had started: what it keeps while Tidegate is away is not known",
                version = version,
                file = file.display()
            );
            return Finding::unknown(what, said, Some(message!("restart the broker, then check again")));
        }
        Limits::Unknown => {
            let said = message!(
                "{version}; its settings cannot be read from here: unless they were raised, it has {inflight} messages under way and keeps {queued} while Tidegate is away, and silently drops the rest",
                version = version,
                inflight = INFLIGHT,
                queued = QUEUED,
            );
            let next = message!(
                "see that max_queued_messages in the broker's configuration is raised, to 100000 for instance; max_inflight_messages limits the rate, not what is kept"
            );
            return Finding::unknown(what, said, Some(next));
        }
    };
    let bytes = set.queued_bytes.unwrap_or(0);
    // 0 is no limit.
    let few_bytes = bytes != 0 && bytes < ENOUGH_BYTES;
    let raise = set.place.as_ref().map_or_else(
        || {
            message!(
                "start the broker with a configuration file (mosquitto -c FILE) that says max_queued_messages 100000"
            )
        },
        |place| {
            let path = place.display();
            if few_bytes {
                return message!(
                    "write max_queued_messages 100000 and max_queued_bytes 0 (no limit) into {path} and restart the broker; max_inflight_messages limits the rate, not what is kept",
                    path = path
                );
            }
            message!(
                "write max_queued_messages 100000 into {path} and restart the broker; max_inflight_messages limits the rate, not what is kept",
                path = path
            )
        },
    );
    let (queued, inflight) = (set.queued.unwrap_or(QUEUED), set.inflight.unwrap_or(INFLIGHT));
    let source = || set.file.as_ref().map_or_else(|| "mosquitto".to_owned(), |file| file.display().to_string());
    let short = few_bytes || queued != 0 && queued < ENOUGH;
    let count = if queued == 0 { "∞".to_owned() } else { queued.to_string() };
    let count = if bytes == 0 {
        count.into_value()
    } else {
        message!("{count} (all of them at most {bytes})", count = count, bytes = format_size(bytes)).into_value()
    };
    if !known {
        let said = message!(
            "{version}; if it reads {file}, it has {inflight} messages under way and keeps {queued} while Tidegate is away",
            version = version,
            file = source(),
            inflight = inflight,
            queued = count,
        );
        return Finding::unknown(what, said, short.then_some(raise));
    }
    if short {
        let said = message!(
            "{version} has {inflight} messages under way and keeps {queued} while Tidegate is away, and silently drops the rest",
            version = version,
            inflight = inflight,
            queued = count,
        );
        return Finding::attention(what, said, Code::BrokerLimits, raise);
    }
    Finding::good(
        what,
        message!(
            "{version} has {inflight} messages under way and keeps {queued} while Tidegate is away",
            version = version,
            inflight = inflight,
            queued = count
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::mosquitto::Settings;
    use super::*;
    use crate::command::check::finding::Outcome;

    #[test]
    fn limits_are_judged_by_what_the_broker_is_known_to_have_read_and_by_nothing_else() {
        let judged =
            |limits| judge_limits(Id::BrokerLimits.of(message!("broker, limits")), "mosquitto version 2.0.21", limits);
        let set = |queued, inflight| Settings {
            queued,
            inflight,
            file: Some("/m.conf".into()),
            place: Some("/p".into()),
            ..Settings::default()
        };
        let result = |limits| judged(limits).result;
        assert_eq!(result(Limits::Unknown), Outcome::Unknown);
        assert_eq!(result(Limits::Changed("/m.conf".into())), Outcome::Unknown);
        assert_eq!(result(Limits::Known(Settings::default())), Outcome::Attention);
        assert_eq!(result(Limits::Known(set(None, Some(100)))), Outcome::Attention);
        assert_eq!(result(Limits::Known(set(Some(0), None))), Outcome::Good);
        assert_eq!(result(Limits::Known(set(Some(100_000), Some(20)))), Outcome::Good);
        let bytes = |bytes| Limits::Known(Settings { queued_bytes: Some(bytes), ..set(Some(100_000), None) });
        assert_eq!(result(bytes(0)), Outcome::Good);
        assert_eq!(result(bytes(16 << 20)), Outcome::Good);
        let few = judged(bytes(64 << 10));
        assert_eq!(few.result, Outcome::Attention);
        assert!(few.said.to_string().contains("keeps 100000 (all of them at most 64KiB)"), "{}", few.said);
        assert!(few.next.expect("what to do").to_string().contains("max_queued_bytes 0"));
        let perhaps = judged(Limits::Perhaps(set(Some(10), None)));
        assert_eq!((perhaps.result, perhaps.code), (Outcome::Unknown, None));
        assert!(perhaps.said.to_string().contains("if it reads /m.conf"), "{}", perhaps.said);
        let next = judged(Limits::Known(set(None, None))).next.expect("what to do").to_string();
        assert!(next.contains("into /p "), "{next}");
    }

    #[test]
    fn a_queue_that_is_in_memory_alone_is_told_and_never_as_bad() {
        let judged = |limits: &Limits| judge_lasting(Id::BrokerPersistence.of(message!("broker, restart")), limits);
        let set = |persistence, persistent_plugin| Settings { persistence, persistent_plugin, ..Settings::default() };
        let known = |set| judged(&Limits::Known(set)).map(|finding| finding.result);
        assert_eq!(known(set(Some(true), false)), Some(Outcome::Good));
        assert_eq!(known(set(Some(false), false)), Some(Outcome::Attention));
        assert_eq!(known(set(None, false)), Some(Outcome::Attention), "it has its default, which is not to");
        assert_eq!(known(set(None, true)), Some(Outcome::Unknown));
        let perhaps = |set| judged(&Limits::Perhaps(set)).map(|finding| finding.result);
        assert_eq!((perhaps(set(Some(true), false)), perhaps(set(None, false))), (None, Some(Outcome::Unknown)));
        assert_eq!(judged(&Limits::Unknown), None);
        assert_eq!(judged(&Limits::Changed("/m.conf".into())), None);
    }
}
