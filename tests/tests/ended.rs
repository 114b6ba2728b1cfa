//! What 410 over TLS ends, and what leads out of it: nothing that happens by itself, nor a reload or `tidegate resume`, but
//! another endpoint, or a signed notice that withdraws it.
#![forbid(unsafe_code)]

use std::time::Duration;

use serde_json::Value;
use tidegate_tests::agent::Agent;
use tidegate_tests::certs;
use tidegate_tests::flux::{Answer, Flux};
use tidegate_tests::office::Office;
use tidegate_tests::stance::{apply, publish, setup, stance, until_stance};
use tidegate_tests::wait::{self, BOUND};

const WHILE: Duration = Duration::from_millis(1500);

/// A gateway that delivered one record over TLS, and was then told that the endpoint is gone.
fn ended(office: &Office) -> (tempfile::TempDir, Flux, Agent) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let certs = certs::make(folder.path());
    let flux = Flux::start_tls(&certs);
    let mut setup = setup(&flux, office);
    setup.set("forward.flux", "ca_file", &format!("\"{}\"", certs.ca.display()));
    let agent = setup.start();
    publish(&agent, "telemetry", "1");
    flux.wait_for(1, BOUND);
    flux.answer_all(Answer::status(410));
    publish(&agent, "telemetry", "2");
    until_stance(&agent, "ended");
    flux.answer_all(Answer::Accept);
    (folder, flux, agent)
}

fn notices(agent: &Agent) -> Vec<Value> {
    let output = agent.command(&["notices", "--json"]);
    serde_json::from_slice(&output.stdout).expect("JSON")
}

#[track_caller]
fn sends_nothing(agent: &Agent, flux: &Flux, payload: &str) {
    let before = flux.connections();
    publish(agent, "telemetry", payload);
    wait::never("something is sent", WHILE, || flux.connections() > before || flux.requests() > 2);
    assert_eq!(stance(agent), "ended");
}

#[test]
fn nothing_leads_out_by_itself_and_status_says_what_does_until_a_signed_notice_withdraws_the_answer() {
    let office = Office::new("ops");
    let (_folder, flux, mut agent) = ended(&office);
    let ground = agent.status()["stance"]["grounds"][0].clone();
    let says = |part: &str| ground["advice"].as_str().is_some_and(|advice| advice.contains(part));
    assert!(ground["source"] == "answer of Flux" && ground["clause"] == "5.3", "{ground}");
    for part in ["buffer export", "configure the new one and reload", "--withdraw answers", "neither a reload nor"] {
        assert!(says(part), "{part}: {ground}");
    }
    assert!(
        notices(&agent).iter().any(
            |entry| entry["what"] == "ended" && entry["text"].as_str().is_some_and(|it| it.starts_with("HTTP 410"))
        )
    );
    sends_nothing(&agent, &flux, "3");
    agent.reload();
    assert!(agent.command(&["resume"]).status.success());
    sends_nothing(&agent, &flux, "4");
    agent.kill();
    agent.start();
    sends_nothing(&agent, &flux, "5");

    apply(
        &agent,
        &office,
        "w",
        "id = \"answers\"\nkind = \"withdrawn\"\nwhy = \"a mistake of ours\"\nissued = \"+1s\"\n",
    );
    flux.wait_for(5, BOUND);
    until_stance(&agent, "open");
    let withdrawn = notices(&agent).into_iter().find(|entry| entry["what"] == "withdrawn").expect("logged");
    assert!(withdrawn["did"].as_str().is_some_and(|did| did.contains("at a moment of its own")), "{withdrawn}");
    flux.assert_sound();

    // What was said once lifts no later answer.
    flux.answer_all(Answer::status(410));
    publish(&agent, "telemetry", "6");
    until_stance(&agent, "ended");
    let again = office.path("w.notice");
    agent.command(&["notice", "apply", tidegate_tests::office::text(&again)]);
    assert_eq!(stance(&agent), "ended");
}

#[test]
fn another_endpoint_leads_out_after_a_reload() {
    let office = Office::new("ops");
    let (_folder, flux, mut agent) = ended(&office);
    // The same app behind another webhook, which is another credential.
    let url = flux.webhook_url().replace("s3cr3tpath", "another");
    agent.setup.set("forward.flux", "url", &format!("\"{url}\""));
    agent.reload();
    flux.wait_for(2, BOUND);
    until_stance(&agent, "open");
    flux.look(|log| assert!(log.requests.last().is_some_and(|last| last.path.ends_with("/another"))));
    flux.assert_sound();
}
