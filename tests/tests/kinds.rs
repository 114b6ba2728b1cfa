//! The three ways into a Flux app.
#![forbid(unsafe_code)]

use std::time::Duration;

use tidegate_tests::agent::{Agent, Setup};
use tidegate_tests::device::Device;
use tidegate_tests::flux::{AUTH_KEY, AUTH_KEY_ID, Answer, Flux};
use tidegate_tests::mqtt::Version;
use tidegate_tests::{certs, wait};

const BOUND: Duration = Duration::from_secs(60);

fn publish(agent: &Agent, device: &str, count: usize) -> Vec<String> {
    let payloads = (0..count).map(|n| format!(r#"{{"n":{n}}}"#));
    Device::new(device, Version::V5).start(agent.address(), payloads).join().acknowledged
}

fn api(flux: &Flux, key: &str) -> Setup {
    let mut setup = Setup::bare();
    let file = setup.folder().join("auth-key");
    std::fs::write(&file, format!("{key}\n")).expect("a file in the temporary folder");
    for (name, value) in [
        ("kind", "api"),
        ("base_url", &flux.base_url()),
        ("app_id", "app-1"),
        ("channel_id", "channel-1"),
        ("auth_key_id", AUTH_KEY_ID),
        ("auth_key_file", &file.display().to_string()),
        ("token_timeout", "2h"),
    ] {
        setup.set("forward.flux", name, &format!("\"{value}\""));
    }
    setup
}

#[test]
fn the_api_is_reached_with_a_token_that_is_renewed_when_it_expires() {
    let flux = Flux::start();
    let agent = api(&flux, AUTH_KEY).start();
    let sent = publish(&agent, "first", 30);
    flux.wait_for(30, BOUND);
    assert_eq!(flux.payloads_of("first"), sent);
    let logins = flux.logins();
    assert_eq!((logins.granted, logins.refused, logins.timeout_s), (1, 0, Some(7200)));
    flux.look(|log| {
        assert!(log.requests.iter().all(|request| request.path == "/v1/flux/apps/app-1/channels/channel-1/messages"));
        let json = |request: &tidegate_tests::flux::Received| {
            request.header("content-type").is_some_and(|value| value.starts_with("application/json"))
        };
        assert!(log.requests.iter().all(json));
    });

    flux.expire_token();
    let sent = publish(&agent, "second", 30);
    flux.wait_for(60, BOUND);
    assert_eq!(flux.payloads_of("second"), sent);
    assert_eq!(flux.logins().granted, 2, "one new token is enough");
    flux.assert_sound();
}

#[test]
fn a_wrong_authentication_key_is_misconfigured_and_nothing_is_lost() {
    let flux = Flux::start();
    let mut agent = api(&flux, "secret-wrong").start();
    let sent = publish(&agent, "waits", 30);
    agent.wait_for_verdict("misconfigured");
    let logins = flux.logins();
    assert!(logins.refused >= 1 && logins.refused < 10, "{} attempts with a wrong key", logins.refused);
    assert!(!agent.log().contains("secret-wrong"), "the key stands in the log");
    std::fs::write(agent.setup.folder().join("auth-key"), AUTH_KEY).expect("a file in the temporary folder");
    agent.reload();
    flux.wait_for(30, BOUND);
    assert_eq!(flux.payloads_of("waits"), sent);
    agent.assert_running();
}

#[test]
fn the_unified_endpoint_is_reached_without_a_credential() {
    let flux = Flux::start();
    let mut setup = Setup::bare();
    setup.set("forward.flux", "kind", "\"unified\"");
    setup.set("forward.flux", "url", &format!("\"{}/\"", flux.base_url()));
    let agent = setup.start();
    let sent = publish(&agent, "line", 30);
    flux.wait_for(30, BOUND);
    assert_eq!(flux.payloads_of("line"), sent);
    flux.look(|log| assert!(log.requests.iter().all(|request| request.path == "/")));
    flux.assert_sound();
}

#[test]
fn a_webhooks_url_comes_from_a_file_and_is_shown_nowhere() {
    let flux = Flux::start();
    let mut setup = Setup::bare();
    let file = setup.folder().join("webhook.url");
    std::fs::write(&file, flux.webhook_url() + "\n").expect("a file in the temporary folder");
    setup.set("forward.flux", "kind", "\"webhook\"");
    setup.set("forward.flux", "url_file", &format!("\"{}\"", file.display()));
    setup.set("log", "level", "\"trace\"");
    let agent = setup.start();
    flux.answer_next([Answer::status(500)]);
    let sent = publish(&agent, "hook", 30);
    flux.wait_for(30, BOUND);
    assert_eq!(flux.payloads_of("hook"), sent);
    let shown = agent.status().to_string() + &agent.log();
    assert!(!shown.contains("s3cr3tpath"), "the webhook's secret path is shown");
}

#[test]
fn https_is_spoken_to_an_endpoint_whose_authority_is_known_and_to_no_other() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let certs = certs::make(folder.path());
    let flux = Flux::start_tls(&certs);
    let mut agent = Setup::webhook(&flux).start();
    let sent = publish(&agent, "private", 30);
    agent.wait_for_verdict("transient");
    assert_eq!((flux.requests(), agent.waiting()), (0, 30), "it spoke to an authority it does not know");
    assert!(flux.connections() > 0, "it did not even try");
    agent.terminate();
    agent.setup.set("forward.flux", "ca_file", &format!("\"{}\"", certs.ca.display()));
    agent.start();
    flux.wait_for(30, BOUND);
    assert_eq!(flux.payloads_of("private"), sent);
    flux.assert_sound();
}

#[test]
fn single_events_go_one_a_request_if_so_configured() {
    let flux = Flux::start();
    let mut setup = Setup::webhook(&flux);
    setup.set("forward.flux.batch", "layout", "\"single\"");
    let agent = setup.start();
    let sent = publish(&agent, "single", 30);
    flux.wait_for(30, BOUND);
    assert_eq!(flux.payloads_of("single"), sent);
    flux.look(|log| assert!(log.requests.iter().all(|request| !request.array && request.events.len() == 1)));
    flux.assert_sound();
}

#[test]
fn a_connection_that_stays_open_carries_request_after_request() {
    let flux = Flux::start();
    let agent = Setup::webhook(&flux).start();
    for round in 1..=5 {
        publish(&agent, "steady", 10);
        flux.wait_for_requests(round);
    }
    wait::until("nothing waits", BOUND, || agent.waiting() == 0);
    let connections = flux.connections();
    assert!(connections <= 2, "{connections} connections for {} requests one after the other", flux.requests());
}
