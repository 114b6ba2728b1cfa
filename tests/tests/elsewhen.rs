//! A gateway without a clock battery starts in 1980 or so: the windows of maintenances count from the provider's own time, and
//! where nobody tells it, nothing is shut for longer than it was announced for.
#![forbid(unsafe_code)]

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tidegate_tests::agent::{Agent, Setup};
use tidegate_tests::certs;
use tidegate_tests::elsewhen::{Elsewhen, IN_1980};
use tidegate_tests::flux::{Answer, Flux};
use tidegate_tests::office::Office;
use tidegate_tests::stance::{
    WHILE, apply, delivered, ground, has_notice, publish, sends_nothing, stance, until_stance,
};
use tidegate_tests::wait;

/// A gateway that was switched on two seconds ago, for the time of this number, and whose clock stands in 1980.
struct Gateway {
    flux: Flux,
    office: Office,
    agent: Agent,
    /// Kept: the boot that the agent sees is a file of this.
    sight: Elsewhen,
}

impl Gateway {
    /// One that reaches Flux over TLS, whose answers tell it the time.
    fn over_tls() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let certs = certs::make(folder.path());
        let flux = Flux::start_tls(&certs);
        let mut setup = Setup::webhook(&flux);
        let copy = setup.folder().join("authority.pem");
        std::fs::copy(&certs.ca, &copy).expect("copied");
        setup.set("forward.flux", "ca_file", &format!("\"{}\"", copy.display()));
        Self::start(flux, setup)
    }

    /// One that reaches Flux without TLS: nobody tells it the time.
    fn in_the_dark() -> Self {
        let flux = Flux::start();
        let setup = Setup::webhook(&flux);
        Self::start(flux, setup)
    }

    fn start(flux: Flux, mut setup: Setup) -> Self {
        let office = Office::new("ops");
        setup.set("provider.notices", "keys", &format!("[\"{}\"]", office.key));
        setup.set("provider.resume", "spread", "\"1s\"").set("provider.resume", "ramp", "\"0s\"");
        let sight = booted(&mut setup, 1);
        Self { flux, office, agent: setup.start(), sight }
    }

    /// The power goes and comes back: another boot, in 1980 again.
    fn power_cut(&mut self, number: u32) {
        self.agent.kill();
        self.sight = booted(&mut self.agent.setup, number);
        self.agent.start();
    }

    fn apply(&self, name: &str, toml: &str) {
        apply(&self.agent, &self.office, name, toml);
    }

    /// Flux says from now on that it is so much later than this machine says.
    fn tells_the_time(&self, later: Duration) {
        let date = httpdate::fmt_http_date(SystemTime::now() + later);
        self.flux.answer_all(Answer::status(200).with_header("date", &date));
    }

    fn is_in_1980(&self) -> bool {
        let status = self.agent.status();
        let shown = status["now_ms"].as_u64().expect("a time");
        shown / 1_000 < IN_1980 + 86_400 && status["clock"]["trusted"] == false
    }

    fn ahead(&self) -> usize {
        self.agent.status()["stance"]["ahead"].as_array().map_or(0, Vec::len)
    }
}

/// The agent's next start is in this boot.
fn booted(setup: &mut Setup, number: u32) -> Elsewhen {
    let sight = Elsewhen::at(IN_1980).booted(number);
    setup.within(&sight.within().iter().map(String::as_str).collect::<Vec<_>>());
    sight
}

#[test]
fn with_a_clock_in_1980_a_window_ahead_one_under_way_and_one_past_are_told_apart_by_when_notices_were_issued() {
    let mut gateway = Gateway::in_the_dark();
    assert!(gateway.is_in_1980());
    gateway.apply("past", "id = \"past\"\nkind = \"maintenance\"\nissued = \"-3h\"\nfrom = \"-2h\"\nuntil = \"-1h\"\n");
    publish(&gateway.agent, "telemetry", "1");
    // As far as it is known it is three hours ago, and what began two hours ago is ahead.
    delivered(&gateway.agent, &gateway.flux, 1);
    assert_eq!((stance(&gateway.agent).as_str(), gateway.ahead()), ("open", 1));
    gateway.apply("ahead", "id = \"ahead\"\nkind = \"maintenance\"\nfrom = \"+2h\"\nuntil = \"+3h\"\n");
    wait::until("one is past and one ahead", wait::BOUND, || gateway.ahead() == 1);
    assert_eq!(stance(&gateway.agent), "open");
    gateway.apply("now", "id = \"now\"\nkind = \"maintenance\"\nfrom = \"-1m\"\nuntil = \"+12s\"\n");
    until_stance(&gateway.agent, "maintenance");
    assert!(gateway.ahead() == 1);
    sends_nothing(&gateway.agent, &gateway.flux);

    // A power cut: no longer by uptime than it was announced for.
    gateway.power_cut(2);
    let up = Instant::now();
    assert_eq!(stance(&gateway.agent), "maintenance");
    delivered(&gateway.agent, &gateway.flux, 2);
    // A second to come back in, and one for a busy machine.
    assert!(up.elapsed() < Duration::from_secs(12 + 2), "after {:?}", up.elapsed());
    until_stance(&gateway.agent, "open");
    assert_eq!(gateway.ahead(), 1);
    gateway.flux.assert_sound();
}

#[test]
fn the_time_that_an_answer_tells_begins_a_window_that_was_ahead_and_ends_nothing_that_holds() {
    let mut gateway = Gateway::over_tls();
    gateway.apply("ahead", "id = \"ahead\"\nkind = \"maintenance\"\nfrom = \"+2h\"\nuntil = \"+4h\"\n");
    assert_eq!((stance(&gateway.agent).as_str(), gateway.ahead()), ("open", 1));
    gateway.tells_the_time(Duration::from_secs(3 * 3_600));
    publish(&gateway.agent, "telemetry", "1");
    delivered(&gateway.agent, &gateway.flux, 1);
    until_stance(&gateway.agent, "maintenance");
    let until = ground(&gateway.agent)["until_ms"].as_u64().expect("an end");
    let now = gateway.agent.number("/now_ms");
    assert!((3_500_000..=3_601_000).contains(&(until - now)), "an hour is left of it: {until} at {now}");
    let real = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_millis() as u64;
    assert!(now.abs_diff(real + 3 * 3_600_000) < 60_000, "by the provider's time");
    has_notice(&gateway.agent, "sending stops");
    sends_nothing(&gateway.agent, &gateway.flux);

    // Power comes back in 1980, and nobody tells the time: it holds, and nothing was ahead that it would begin.
    gateway.power_cut(2);
    assert!(gateway.is_in_1980());
    assert_eq!(stance(&gateway.agent), "maintenance");
    wait::never("anything is sent", WHILE, || gateway.flux.requests() > 1);

    // The time service has found its server, and it was another day.
    gateway.apply("over", "id = \"ahead\"\nkind = \"withdrawn\"\nissued = \"+1m\"\n");
    delivered(&gateway.agent, &gateway.flux, 2);
    gateway.flux.assert_sound();
}
