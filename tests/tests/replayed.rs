//! What is kept after its delivery (`keep_delivered`) is sent again on request, as it was stored: under the rules for fields
//! that held when it came, whatever they are now. What a rule dropped is nowhere to be seen.
#![forbid(unsafe_code)]

use std::time::Duration;

use tidegate_tests::agent::{Agent, Setup};
use tidegate_tests::flux::{Answer, Event, Flux};
use tidegate_tests::stance::{delivered, publish, said, until_stance};
use tidegate_tests::wait::{self, BOUND};

/// What a rule drops. Long, so that chance does not write it.
const NAME: &str = "Hanako-Sato-of-Minato";

const RULE: &str =
    "topic = \"devices/{device}/telemetry\"\ndrop = [\"name\"]\npseudonymise = [\"id\"]\nround = { t = 0.5 }";

fn payload(t: &str) -> String {
    format!("{{\"name\":\"{NAME}\",\"id\":7,\"t\":{t}}}")
}

fn setup(flux: &Flux) -> Setup {
    let mut setup = Setup::webhook(flux);
    let key = setup.folder().join("pseudonym.key");
    std::fs::write(&key, "0123456789abcdef0123456789abcdef\n").expect("a key in the temporary folder");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    std::fs::set_permissions(&key, mode).expect("only its owner may read it");
    setup.set("collect.pseudonyms", "key_file", &format!("\"{}\"", key.display()));
    setup.set("store", "keep_delivered", "\"1h\"");
    setup.set("provider.resume", "spread", "\"1s\"").set("provider.resume", "ramp", "\"0s\"");
    setup.synchronise();
    setup
}

/// The records of the last hour are to be sent again.
#[track_caller]
fn replay(agent: &Agent) -> String {
    said(agent, &["buffer", "replay", "--from", "-1h", "--to", "2100-01-01", "--yes"])
}

/// Everything that can be seen of the buffer.
#[track_caller]
fn shown(agent: &Agent) -> String {
    let mut all = said(agent, &["buffer", "inspect", "--all", "--json"]);
    for format in ["ndjson", "csv"] {
        all += &said(agent, &["buffer", "export", "--all", "--format", format]);
    }
    all
}

fn reload(agent: &Agent) {
    let times = || agent.log().matches("configuration read again").count();
    let before = times();
    agent.reload();
    wait::until("the configuration is read again", BOUND, || times() > before);
}

/// The events that were marked as sent before, in the order in which they came.
fn replayed(flux: &Flux) -> Vec<Event> {
    let marked = |event: &&Event| event.replayed;
    flux.look(|log| log.requests.iter().flat_map(|request| &request.events).filter(marked).cloned().collect())
}

#[test]
fn what_is_sent_again_is_what_was_stored_whatever_the_rules_for_fields_are_now() {
    let flux = Flux::start();
    let mut setup = setup(&flux);
    let mut agent = {
        setup.fields(RULE);
        setup.start()
    };
    publish(&agent, "telemetry", &payload("21.74"));
    delivered(&agent, &flux, 1);
    let treated = flux.payloads_of("pump")[0].clone();
    assert!(treated.starts_with("{\"id\":\"p_") && treated.ends_with("\",\"t\":21.5}"), "{treated}");
    assert!(!shown(&agent).contains(NAME), "what is dropped is nowhere");

    // Without the rule what comes is stored as it came, and what was stored stays as it is.
    agent.setup.without_fields();
    reload(&agent);
    publish(&agent, "telemetry", &payload("21.75"));
    delivered(&agent, &flux, 2);
    agent.setup.fields(RULE);
    reload(&agent);
    assert!(shown(&agent).contains(NAME), "what is stored would be found");

    agent.kill();
    agent.start();
    let asked = replay(&agent);
    assert!(asked.starts_with("2 delivered records"), "{asked}");
    wait::until("both come again", BOUND, || replayed(&flux).len() >= 2);
    let again = replayed(&flux);
    flux.look(|log| {
        for (first, again) in log.delivered_events().iter().zip(&again) {
            assert_eq!((first.id(), first.payload.get()), (again.id(), again.payload.get()));
        }
    });
    assert_eq!((again[0].payload.get(), again[1].payload.get()), (treated.as_str(), payload("21.75").as_str()));
    wait::until("nothing waits", BOUND, || agent.waiting() == 0);
    assert_eq!(flux.delivered(), 2, "under their old ids");
}

#[test]
fn what_is_asked_for_again_while_the_provider_lets_nothing_out_waits_like_all_else() {
    let flux = Flux::start();
    let mut agent = setup(&flux).start();
    publish(&agent, "telemetry", "1");
    delivered(&agent, &flux, 1);
    flux.answer_all(Answer::status(403));
    publish(&agent, "telemetry", "2");
    until_stance(&agent, "suspended");
    let before = flux.requests();
    assert!(replay(&agent).starts_with("1 delivered records"));
    agent.kill();
    agent.start();
    until_stance(&agent, "suspended");
    wait::never("it is sent", Duration::from_millis(1_200), || flux.requests() > before);
    assert_eq!(agent.waiting(), 2);
    flux.answer_all(Answer::Accept);
    agent.reload();
    delivered(&agent, &flux, 2);
    wait::until("the one comes again", BOUND, || replayed(&flux).iter().any(|event| event.payload.get() == "1"));
}
