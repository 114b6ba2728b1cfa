//! How long an answer asks to wait outlives the process that was told so: a start is no way around a rate limit.
#![forbid(unsafe_code)]

use std::time::Duration;

use tidegate_tests::agent::Setup;
use tidegate_tests::flux::{Answer, Flux};
use tidegate_tests::stance::publish;
use tidegate_tests::wait::{self, BOUND};

/// How long it is from the first request to the second.
fn after_the_first(flux: &Flux) -> Option<Duration> {
    flux.look(|log| {
        let mut times = log.requests.iter().map(|request| request.at);
        let first = times.next()?;
        Some(times.next()?.duration_since(first))
    })
}

#[test]
fn what_an_answer_asks_to_wait_is_kept_to_over_kills_and_then_one_request_shows_whether_it_is_over() {
    for status in [429, 503] {
        let flux = Flux::start();
        flux.answer_next([Answer::status(status).with_header("Retry-After", "15")]);
        let mut agent = Setup::webhook(&flux).start();
        publish(&agent, "telemetry", "1");
        flux.wait_for_requests(1);
        assert!(agent.terminate().success());
        agent.start();
        // A loop of restarts.
        for round in 0..3 {
            agent.kill();
            agent.start();
            publish(&agent, "telemetry", &format!("more {round}"));
            wait::until("it says when it tries", BOUND, || agent.status()["verdict"]["until_ms"].is_u64());
            assert_eq!(flux.requests(), 1, "{status}: start {round}");
        }
        flux.wait_for(4, BOUND);
        let waited = after_the_first(&flux).expect("a second request");
        assert!(waited >= Duration::from_secs(15) && waited < Duration::from_secs(40), "{status}: {waited:?}");
        flux.assert_sound();
    }
}

#[test]
fn what_another_endpoint_asked_for_is_not_kept_to() {
    let (flux, other) = (Flux::start(), Flux::start());
    flux.answer_all(Answer::status(429).with_header("Retry-After", "3000"));
    let mut setup = Setup::webhook(&flux);
    setup.set("provider.statuspage", "enabled", "false");
    let mut agent = setup.start();
    publish(&agent, "telemetry", "1");
    flux.wait_for_requests(1);
    assert!(agent.terminate().success());
    agent.setup.set("forward.flux", "url", &format!("\"{}\"", other.webhook_url()));
    agent.start();
    other.wait_for(1, BOUND);
    assert_eq!(flux.requests(), 1);
}
