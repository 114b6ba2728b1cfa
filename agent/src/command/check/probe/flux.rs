//! The way to Flux, and what can be said of the credential: name, TCP, TLS, HTTP, token.
//!
//! No event is made: see [`tidegate::forward::examine`]. What only an event shows is taken from what the service says, or is not
//! judged; [`event`] makes one for who asks for it.

use std::time::Duration;

use tidegate::chain::chain;
use tidegate::clock::now_ms;
use tidegate::code::Code;
use tidegate::config::{Config, FluxTarget, Forward, Layout};
use tidegate::forward::examine::{self, Answered, Said};
use tidegate::gateway::of_file;
use tidegate::language::Message;
use tidegate::message;
use tidegate::shape::wire::Wire;
use tidegate::watch::Status;
use tidegate::watch::render::time;

use super::block_on;
use super::reach::{self, Time};
use crate::command::check::Tell;
use crate::command::check::finding::{Finding, Id};

/// Longest time that an answer may take here, whatever `[forward] timeout` says: a person waits.
const PATIENCE: Duration = Duration::from_secs(20);

/// By so much the clock may differ from the server's before that is said, in ms: signatures and tokens bear minutes.
const OFF_MS: u64 = 120_000;

/// Goes to Flux as the service does, and asks for a token if the kind of endpoint needs one. `clock_is_right`: see
/// [`super::clock::is_right`].
pub(in crate::command) fn look(forward: &Forward, clock_is_right: bool, service: Option<&Status>, tell: Tell<'_>) {
    let Some(wire) = door(forward, tell) else { return };
    let flux = of_file::flux(&forward.target);
    let target = match examine::target(&flux) {
        Ok(target) => target,
        Err(error) => return tell(unusable(&error.to_string())),
    };
    let limit = forward.timeout.min(PATIENCE);
    let clock = Time::now(clock_is_right);
    let way = async {
        let stream = reach::go(&wire, &target, clock, tell).await?;
        tell(answered(&target.host, target.tls, examine::ping(&flux, stream, limit).await, clock));
        let token = examine::token(&flux, wire.clone(), limit).await;
        // What was said last goes out before the runtime ends.
        Some(token)
    };
    match block_on(way) {
        None => {
            tell(Finding::unknown(
                Id::Flux.of(message!("Flux")),
                message!("the system refuses what is needed to connect"),
                None,
            ));
        }
        Some(None) => {}
        Some(Some(Err(error))) => tell(unusable(&error.to_string())),
        Some(Some(Ok(token))) => {
            if let Some(said) = token {
                tell(granted(said));
            }
            tell(credential(forward, service));
        }
    }
}

/// The way into the app of `[forward.flux_next]`, if there is one, is not tried: it may not be there yet.
fn door(forward: &Forward, tell: Tell<'_>) -> Option<Wire> {
    match of_file::door(forward) {
        Ok(options) => Some(Wire::new(options)),
        Err(error) => {
            tell(unusable(&chain(&error)));
            None
        }
    }
}

fn unusable(error: &str) -> Finding {
    Finding::bad(
        Id::Flux.of(message!("Flux")),
        message!("the configuration cannot be used: {error}", error = error),
        Code::ConfigWrong,
        message!("correct [forward] and [forward.flux]"),
    )
}

fn answered(host: &str, tls: bool, said: Result<Answered, String>, clock: Time) -> Finding {
    let what = Id::Http.of(message!("HTTP with {host}", host = host));
    match said {
        Ok(Answered { server_ms: Some(server), .. }) if tls && server.abs_diff(clock.now_ms) > OFF_MS => {
            Finding::attention(
                what,
                message!(
                    "it answers, and says that it is {server}; this clock shows {now}",
                    server = time(server),
                    now = time(clock.now_ms)
                ),
                Code::Clock,
                message!("set the clock: timedatectl set-ntp true; then check again"),
            )
        }
        Ok(Answered { status, .. }) => {
            Finding::good(what, message!("it answers (HTTP {status} to a question that is no event)", status = status))
        }
        Err(why) => Finding::unknown(
            what,
            message!("connected, and no answer to a question that is no event: {why}", why = why),
            Some(message!("the way is there; see whether events arrive: tidegate check --send-event")),
        ),
    }
}

fn granted(said: Said) -> Finding {
    let what = Id::Token.of(message!("token"));
    match said {
        Said::Yes => Finding::good(what, message!("the authentication key was accepted, and a token given")),
        Said::NoToken(answered) | Said::No(answered) => match answered.status {
            429 | 500.. => Finding::unknown(
                what,
                message!("the API cannot judge the key now: {answer}", answer = answered.message),
                Some(message!("wait a minute and check again")),
            ),
            _ => Finding::bad(
                what,
                message!("the API refuses the authentication key: {answer}", answer = answered.message),
                Code::TokenRefused,
                message!(
                    "see in the console that the key belongs to the user and is active; write its id into auth_key_id and its secret into auth_key_file; see that base_url is the right coverage"
                ),
            ),
        },
        Said::Nothing(why) => Finding::unknown(
            what,
            message!("no answer to the request for a token: {why}", why = why),
            Some(message!("wait a minute and check again")),
        ),
    }
}

/// What is known of whether Flux takes events by this endpoint, without sending one.
fn credential(forward: &Forward, service: Option<&Status>) -> Finding {
    let what = Id::FluxEvents.of(message!("Flux takes events"));
    let try_it = || Some(message!("send one, which counts as an event: tidegate check --send-event"));
    let same = service.filter(|status| status.endpoint.contains(&forward.target.origin()));
    let Some(status) = same else {
        let said: Message = match forward.target {
            FluxTarget::Webhook { .. } => message!("whether the webhook's URL is right shows only with an event"),
            FluxTarget::Api { .. } => {
                message!("whether the key's user may send to this app and channel shows only with an event")
            }
            FluxTarget::Unified { .. } => {
                message!("whether the SIM's group leads to a Flux app shows only with an event")
            }
        };
        return Finding::unknown(what, said, try_it());
    };
    let verdict = &status.verdict;
    match (verdict.word.as_str(), verdict.last_accepted_ms) {
        ("accepted", Some(last)) => {
            Finding::good(what, message!("the service delivered last at {time}", time = time(last)))
        }
        ("misconfigured", _) => Finding::bad(
            what,
            message!("Flux refuses what the service sends: {reason}", reason = &verdict.reason),
            Code::EndpointWrong,
            message!("correct the endpoint's URL or credential in the configuration, then reload"),
        ),
        ("suspended", _) => Finding::bad(
            what,
            message!("Flux refuses what it used to take: {reason}", reason = &verdict.reason),
            Code::Suspended,
            message!("see in the console that contract, app, channel and key are active"),
        ),
        ("ended", _) => Finding::bad(
            what,
            message!("the service has ended: {reason}", reason = &verdict.reason),
            Code::Ended,
            message!("see in the console; what is stored stays: tidegate buffer export"),
        ),
        ("quota", _) => Finding::attention(
            what,
            message!("the account has used up its events: {reason}", reason = &verdict.reason),
            Code::QuotaSpent,
            message!("records are kept until it is raised or the month is over; see the usage in the console"),
        ),
        (_, Some(last)) => Finding::attention(
            what,
            message!(
                "the service delivered last at {time}, and now: {reason}",
                time = time(last),
                reason = &verdict.reason
            ),
            Code::FluxUnusable,
            message!("wait: Tidegate tries again by itself; see `tidegate status`"),
        ),
        (_, None) => Finding::unknown(what, message!("the service has not delivered anything yet"), try_it()),
    }
}

/// Sends one event, which counts as such, and tells what Flux said of it.
pub(in crate::command) fn event(config: &Config, tell: Tell<'_>) {
    let what = || Id::TestEvent.of(message!("test event"));
    let forward = &config.forward;
    let Some(wire) = door(forward, tell) else { return };
    let now = tidegate::clock::text::format(now_ms());
    let event = serde_json::json!({"gateway": config.gateway.id, "test": "tidegate check", "time": now});
    let body = match forward.batch.layout {
        Layout::Array => serde_json::json!([&event]),
        Layout::Single => event.clone(),
    };
    let flux = of_file::flux(&forward.target);
    let limit = forward.timeout.min(PATIENCE);
    let sent = examine::event(&flux, wire, limit, &config.provider.rules, body.to_string().into_bytes());
    tell(match block_on(sent) {
        None => Finding::unknown(what(), message!("the system refuses what is needed to connect"), None),
        Some(Err(error)) => unusable(&error.to_string()),
        Some(Ok(Said::Yes)) => {
            Finding::good(what(), message!("Flux took it: see in the app's log {event}", event = event.to_string()))
        }
        Some(Ok(Said::NoToken(answered))) => granted(Said::NoToken(answered)),
        Some(Ok(Said::No(answered))) => match answered.status {
            408 | 425 | 429 | 500.. => Finding::attention(
                what(),
                message!("Flux could not take it now: {answer}", answer = answered.message),
                Code::FluxUnusable,
                message!("wait a minute and check again"),
            ),
            _ => Finding::bad(
                what(),
                message!("Flux refused it: {answer}", answer = answered.message),
                Code::EndpointWrong,
                message!(
                    "correct the endpoint's URL or credential; see in the console that app and channel are active and the event source is right"
                ),
            ),
        },
        Some(Ok(Said::Nothing(why))) => Finding::attention(
            what(),
            message!("nobody knows whether it arrived: {why}", why = why),
            Code::NoConnection,
            message!("see what stands above of the way to Flux"),
        ),
    });
}
