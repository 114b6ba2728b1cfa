//! Flux answers that the account's quota is used up: apps do not execute for the rest of the month, so nothing is sent until
//! it turns but what a person asks for, and then sending goes on by itself.
#![forbid(unsafe_code)]

use std::time::{Duration, Instant};

use tidegate_tests::agent::Setup;
use tidegate_tests::elsewhen::Elsewhen;
use tidegate_tests::flux::{Answer, Flux};
use tidegate_tests::stance::{
    delivered, ground, has_notice, has_outage, publish, said, sends_nothing, survives_a_kill, until_stance,
};
use tidegate_tests::wait;

/// 2027-02-01 00:00 in Japan.
const TURN_S: u64 = 1_801_407_600;

/// 2027-01-12 12:00 in Japan: a day and more before any turn.
const MIDDLE_S: u64 = 1_799_722_800;

/// Before it so much is left when the test begins: what stands below takes six seconds on an idle machine.
const BEFORE_S: u64 = 13;

#[test]
fn after_an_answer_that_the_quota_is_spent_nothing_is_sent_until_the_month_turns() {
    let flux = Flux::start();
    let mut setup = Setup::webhook(&flux);
    // The stance would probe every second; the budget lets one a day.
    setup.set("provider.probe", "min", "\"1s\"").set("provider.probe", "max", "\"2s\"");
    setup.synchronise();
    let clock = Elsewhen::at(TURN_S - BEFORE_S);
    setup.within(&clock.within().iter().map(String::as_str).collect::<Vec<_>>());
    let turn = Instant::now() + Duration::from_secs(BEFORE_S);
    let mut agent = setup.start();
    publish(&agent, "telemetry", "1");
    delivered(&agent, &flux, 1);

    flux.answer_all(Answer::status(402));
    publish(&agent, "telemetry", "2");
    until_stance(&agent, "quota");
    let why = ground(&agent);
    assert_eq!((why["source"].as_str(), why["clause"].as_str()), (Some("answer of Flux"), Some("10.1(6)")), "{why}");
    assert_eq!(why["until_ms"].as_u64(), Some(TURN_S * 1_000), "{why}");
    assert!(why["advice"].as_str().is_some_and(|advice| advice.contains("larger plan")), "{why}");
    assert!(said(&agent, &["status"]).contains("the provider says that the quota is used up"));
    sends_nothing(&agent, &flux);
    survives_a_kill(&mut agent, &flux, "quota");
    has_notice(&agent, "\"quota\"");
    has_outage(&agent, "announced");

    // Somebody may have bought more: one record shows it.
    let before = flux.requests();
    agent.reload();
    flux.wait_for_requests(before + 1);
    sends_nothing(&agent, &flux);
    flux.look(|log| {
        let asked = log.requests.last().expect("one came");
        assert_eq!((asked.events.len(), asked.events[0].payload.get()), (1, "2"), "the oldest alone");
    });

    flux.answer_all(Answer::Accept);
    assert!(Instant::now() < turn, "the machine was too busy to come here before the month's turn");
    delivered(&agent, &flux, 5);
    until_stance(&agent, "open");
    let back = flux.look(|log| log.requests[before + 1].at);
    // The clock counts whole seconds from where it was set.
    assert!(back + Duration::from_secs(1) >= turn, "{:?} before the turn", turn - back);
    flux.assert_sound();
    wait::until("the ledger's interval is over", wait::BOUND, || said(&agent, &["outages"]).contains("Flux took"));
}

#[test]
fn while_the_quota_is_spent_a_day_later_one_record_is_tried_and_not_a_second() {
    let flux = Flux::start();
    let mut setup = Setup::webhook(&flux);
    setup.synchronise();
    let boots = |setup: &mut Setup, later_s: u64, number| {
        let clock = Elsewhen::at(MIDDLE_S + later_s).booted(number);
        setup.within(&clock.within().iter().map(String::as_str).collect::<Vec<_>>());
        clock
    };
    let _first = boots(&mut setup, 0, 1);
    let mut agent = setup.start();
    flux.answer_all(Answer::status(402));
    publish(&agent, "telemetry", "1");
    until_stance(&agent, "quota");
    sends_nothing(&agent, &flux);

    // Switched off for fifty minutes nothing is due, and after a day one probe is.
    let asked = flux.requests();
    agent.kill();
    let _second = boots(&mut agent.setup, 3_000, 2);
    agent.start();
    until_stance(&agent, "quota");
    sends_nothing(&agent, &flux);
    assert_eq!(flux.requests(), asked);
    agent.kill();
    let _third = boots(&mut agent.setup, 26 * 3_600, 3);
    agent.start();
    flux.wait_for_requests(asked + 1);
    flux.look(|log| {
        let tried = log.requests.last().expect("one came");
        assert_eq!((tried.events.len(), tried.events[0].payload.get()), (1, "1"), "the oldest alone");
    });
    until_stance(&agent, "quota");
    sends_nothing(&agent, &flux);
    assert_eq!(flux.requests(), asked + 1);
    flux.assert_sound();
}
