//! Some things through time: what is shown ahead, the way back, probes, limits, clocks, and what is written down.

use super::*;

#[test]
fn what_is_announced_is_shown_ahead_with_its_window_clause_and_source() {
    let mut bench = Bench::new();
    bench.tell(window());
    let view = bench.view();
    assert_eq!((view.grounds.len(), view.ahead.len()), (0, 1));
    let ahead = &view.ahead[0];
    assert_eq!((ahead.since_ms, ahead.until_ms), (START + HOUR, Some(START + 2 * HOUR)));
    assert_eq!(ahead.clause.map(|clause| clause.to_string()).as_deref(), Some("5.2(1)"));
    assert_eq!(ahead.source.to_string(), "notice m-1, key ops");
    assert_eq!(ahead.cause.to_string(), "works on the service: as agreed");
    assert_eq!(bench.machine.wake_in_ms(&bench.now).map(|wait| wait <= HOUR), Some(true));
}

#[test]
fn each_gateway_comes_back_at_a_moment_of_its_own_within_the_resume_period() {
    let mut moments = Vec::new();
    for gateway in 0..50 {
        let mut bench = Bench::fresh(Settings { gateway: format!("gw-{gateway}"), ..settings() });
        bench.tell(window());
        bench.run(2 * HOUR);
        assert_eq!(bench.stance(), Stance::Maintenance);
        let back = bench.view().grounds[0].until_ms;
        moments.push(until_open(&mut bench, 10 * MINUTE));
        assert!(
            back.is_some_and(|back| back <= bench.now.wall_ms && back + SECOND > bench.now.wall_ms),
            "as it was shown"
        );
    }
    moments.sort_unstable();
    moments.dedup();
    assert!(moments.len() > 40, "{moments:?}");
    assert!(moments[0] < 2 * MINUTE && moments[moments.len() - 1] > 8 * MINUTE, "{moments:?}");
}

#[test]
fn a_notice_says_over_how_long_gateways_come_back() {
    let content = Content::Maintenance {
        from_ms: START,
        until_ms: START + HOUR,
        cause: Interruption::Upstream,
        resume_s: Some(5),
    };
    let mut bench = Bench::new();
    bench.tell(notice("m-1", START, content));
    bench.run(HOUR);
    until_open(&mut bench, 5 * SECOND);
}

#[test]
fn after_an_answer_that_the_quota_is_used_up_the_probe_that_is_shown_is_the_one_that_comes_a_day_later() {
    let mut bench = Bench::new();
    bench.tell(answer(Means::Quota));
    let shown = bench.view().probe_at_ms.expect("one is to come");
    assert!(shown >= bench.now.uptime_ms + DAY, "an hour or two would be too soon: {shown}");
    bench.run(shown - bench.now.uptime_ms - 1);
    assert_eq!(bench.view().probe, 0);
    bench.run(1);
    assert_eq!(bench.view().probe, 1);
    bench.tell(answer(Means::Quota));
    assert!(bench.view().probe_at_ms.is_some_and(|at| at >= bench.now.uptime_ms + DAY), "and again");
    // The operator bought more.
    bench.run(HOUR);
    bench.tell(Input::TryNow);
    assert_eq!(bench.view().probe, 2);
}

#[test]
fn a_quota_that_names_its_end_is_asked_neither_before_nor_later_whatever_the_clock_shows() {
    for trusted in [true, false] {
        let mut bench = Bench::new();
        bench.now.trusted = trusted;
        bench.machine = Machine::new(settings());
        bench.tell(waiting(Means::Quota, Some(3 * DAY)));
        assert_eq!(bench.view().probe_at_ms, None, "with its end telemetry goes on");
        bench.run(DAY);
        // The clock is set.
        (bench.now.trusted, bench.now.wall_ms) = (true, START + 400 * DAY);
        bench.run(2 * DAY - SECOND);
        assert_eq!((bench.stance(), bench.view().probe), (Stance::Quota, 0));
        assert_eq!(
            bench.view().grounds[0].until_ms.map(|until| until / 2_000),
            Some((bench.now.wall_ms + SECOND) / 2_000)
        );
        bench.run(2 * SECOND);
        assert_eq!(until_open(&mut bench, 10 * MINUTE) / (11 * MINUTE), 0);
    }
}

#[test]
fn on_the_way_back_the_events_a_minute_double_ten_times_and_then_are_not_limited() {
    let mut bench = Bench::new();
    bench.tell(window());
    bench.run(2 * HOUR);
    until_open(&mut bench, 10 * MINUTE);
    let mut seen = Vec::new();
    while let Some(limit) = bench.per_minute() {
        seen.push(limit);
        bench.pass(MINUTE);
    }
    assert_eq!(seen, [1, 2, 4, 8, 16, 32, 64, 128, 256, 512]);
    assert_eq!(bench.stance(), Stance::Open);
}

#[test]
fn nothing_probes_within_an_announced_window_and_answers_in_it_make_no_ground() {
    let mut bench = Bench::new();
    bench.tell(window());
    bench.run(HOUR);
    for _ in 0..10 {
        bench.tell(waiting(Means::Maintenance, Some(DAY)));
        bench.run(MINUTE);
    }
    assert_eq!((bench.view().grounds.len(), bench.view().probe), (1, 0));
    bench.run(50 * MINUTE);
    until_open(&mut bench, 10 * MINUTE);
}

#[test]
fn what_answers_made_before_an_announced_window_is_probed_at_the_moment_of_coming_back() {
    let mut bench = Bench::new();
    bench.tell(waiting(Means::Maintenance, Some(5 * MINUTE)));
    bench.tell(planned(START, START + HOUR, Progress::InProgress));
    bench.run(50 * MINUTE);
    assert_eq!(bench.view().probe, 0, "while the page says that it is under way");
    bench.tell(planned(START, START + HOUR, Progress::Completed));
    let back = bench
        .view()
        .grounds
        .iter()
        .find_map(|ground| ground.until_ms.filter(|_| ground.cause.to_string().contains("way back")));
    bench.run(back.expect("its own moment") - bench.now.wall_ms);
    assert_eq!(bench.view().probe, 1);
    bench.run(50 * SECOND);
    assert_eq!(bench.view().probe, 1, "the next is a minute away at least");
    bench.tell(answer(Means::Accepted));
    assert_eq!(bench.telemetry(), Telemetry::All);
}

#[test]
fn a_long_wait_that_an_answer_asks_for_is_kept_to_and_then_one_event_shows_whether_it_is_over() {
    let mut bench = Bench::new();
    bench.tell(waiting(Means::Maintenance, Some(4 * HOUR)));
    bench.run(4 * HOUR - SECOND);
    assert_eq!(bench.view().probe, 0);
    bench.run(10 * MINUTE + SECOND);
    assert_eq!(bench.view().probe, 1);
    bench.tell(waiting(Means::Maintenance, Some(HOUR)));
    bench.run(HOUR - MINUTE);
    assert_eq!(bench.view().probe, 1, "it said so again");
    let mut bench = Bench::new();
    bench.tell(waiting(Means::Maintenance, Some(9_999 * DAY)));
    bench.run(DAY + 10 * MINUTE);
    assert_eq!(bench.view().probe, 1, "a wait of years counts as one of a day");
}

#[test]
fn a_page_that_forgets_to_say_completed_is_probed_beyond_the_planned_end_at_an_own_moment() {
    let mut bench = Bench::new();
    bench.tell(planned(START, START + HOUR, Progress::InProgress));
    let mut probed = None;
    for minute in 1..=75_u64 {
        bench.run(MINUTE);
        bench.tell(planned(START, START + HOUR, Progress::InProgress));
        probed = probed.or((bench.view().probe == 1).then_some(minute));
    }
    assert!(probed.is_some_and(|minute| (60..=71).contains(&minute)), "{probed:?}");
    assert_eq!(bench.stance(), Stance::Maintenance, "the provider's word is followed until then");
    bench.tell(answer(Means::Accepted));
    assert_eq!(bench.stance(), Stance::Restricted);
}

#[test]
fn a_refusal_by_what_never_accepted_anything_is_a_mistake_and_logged_once() {
    let mut bench = Bench::fresh(settings());
    assert!(!bench.machine.delivered());
    for _ in 0..5 {
        bench.tell(answer(Means::Suspended));
        bench.tell(answer(Means::Ended));
        bench.tell(answer(Means::Misconfigured));
    }
    assert_eq!((bench.stance(), bench.log.len()), (Stance::Open, 1), "{:?}", bench.log);
    bench.tell(answer(Means::Accepted));
    assert!(bench.machine.delivered());
    bench.tell(answer(Means::Suspended));
    assert_eq!(bench.stance(), Stance::Suspended);
}

#[test]
fn a_rule_is_the_operators_word_where_nothing_was_ever_accepted_too() {
    let fresh = || Bench::fresh(settings());
    for (means, stance) in [
        (Means::Suspended, Stance::Suspended),
        (Means::Ended, Stance::Ended),
        (Means::Quota, Stance::Quota),
        (Means::Throttled, Stance::Restricted),
        (Means::Misconfigured, Stance::Open),
        (Means::Poison, Stance::Open),
        (Means::Transient, Stance::Open),
    ] {
        let mut bench = fresh();
        bench.tell(by_rule(means));
        assert_eq!(bench.stance(), stance, "{means:?}");
        bench.restart();
        assert_eq!(bench.stance(), stance, "{means:?}, after a restart");
        let said: Vec<&str> = bench.log.iter().map(|entry| entry.what.as_str()).collect();
        let expected: &[&str] = match means {
            Means::Suspended => &["suspended"],
            Means::Ended => &["ended"],
            Means::Quota => &["quota"],
            Means::Throttled => &["throttled"],
            Means::Misconfigured => &["misconfigured"],
            _ => &[],
        };
        assert_eq!(said, expected, "{means:?}");
    }
    // Another rule, or none any more: what the old one made does not stand beside what is said now.
    for then in [by_rule(Means::Misconfigured), answer(Means::Misconfigured), answer(Means::Suspended)] {
        let mut bench = fresh();
        bench.tell(by_rule(Means::Suspended));
        bench.tell(then);
        bench.run(HOUR);
        assert_eq!(bench.stance(), Stance::Open);
        assert!(bench.did().contains("slowly at first") || bench.log.iter().any(|one| one.what == "misconfigured"));
    }
    // Where records were accepted only a rule makes a mistake of what was a suspension.
    let mut bench = Bench::new();
    bench.tell(answer(Means::Suspended));
    bench.tell(answer(Means::Misconfigured));
    assert_eq!(bench.stance(), Stance::Suspended);
    bench.tell(by_rule(Means::Misconfigured));
    bench.run(HOUR);
    assert_eq!(bench.stance(), Stance::Open);
    assert!(!bench.log.iter().any(|one| one.did.contains("never accepted")), "{:?}", bench.log);
}

#[test]
fn endpoints_that_accepted_are_remembered_when_they_come_back() {
    let mut bench = Bench::fresh(settings());
    bench.tell(Input::Endpoint { fingerprint: 7 });
    bench.tell(answer(Means::Accepted));
    bench.tell(Input::Endpoint { fingerprint: 8 });
    assert!(!bench.machine.delivered());
    bench.restart();
    bench.tell(Input::Endpoint { fingerprint: 7 });
    assert!(bench.machine.delivered());
}

#[test]
fn what_a_technician_is_told_names_the_clause_and_what_to_do() {
    let mut bench = Bench::new();
    bench.tell(answer(Means::Suspended));
    let advice = bench.view().grounds[0].advice.to_string();
    for part in ["5.1(3)", "unpaid", "card", "false", "broken"] {
        assert!(advice.contains(part), "{part} in {advice}");
    }
    let mut bench = Bench::new();
    bench.tell(sim("suspended", None));
    assert!(bench.view().grounds[0].advice.to_string().contains("reboot the modem"));
    bench.tell(notice("e", START, Content::End { at_ms: START }));
    assert!(bench.view().grounds[0].advice.to_string().contains("buffer export"));
}

#[test]
fn what_the_sim_stops_and_that_it_stops_it_no_more_is_written_down_each_once() {
    let mut bench = Bench::new();
    let mut seen = Vec::new();
    let expiry = |at| Some((at, "suspend"));
    for (status, expiry, pass) in [
        ("suspended", None, MINUTE),
        ("suspended", None, MINUTE),
        ("active", None, MINUTE),
        ("active", expiry(START + HOUR), HOUR),
        ("inactive", expiry(START + HOUR), MINUTE),
        ("suspended", expiry(START + HOUR), MINUTE),
        ("suspended", expiry(START + 2 * HOUR), MINUTE),
        ("active", expiry(START + 2 * HOUR), MINUTE),
    ] {
        let before = bench.log.len();
        bench.tell(sim(status, expiry));
        bench.restart();
        bench.run(pass);
        seen.extend(bench.log[before..].iter().map(|one| {
            let did = if one.did.starts_with("sending stops") { "stops" } else { one.did.as_str() };
            format!("{} {} {did}", one.what, one.text)
        }));
    }
    let expected = [
        "sim suspended stops",
        "sim active sending goes on",
        "expiry suspend stops",
        "sim inactive stops",
        "sim suspended stops",
        "expiry suspend sending goes on",
        "sim active sending goes on",
    ];
    assert_eq!(seen, expected);
}

#[test]
fn that_flux_accepts_over_a_sim_that_is_said_to_be_suspended_is_written_down_once() {
    let mut bench = Bench::new();
    bench.tell(sim("suspended", Some((START, "suspend"))));
    let before = bench.log.len();
    for _ in 0..2 {
        bench.tell(answer(Means::Accepted));
        bench.pass(MINUTE);
    }
    assert_eq!(bench.did(), "sending goes on");
    assert_eq!(bench.log.len(), before + 1, "{:?}", &bench.log[before..]);
}

#[test]
fn a_quota_that_names_a_short_wait_is_asked_no_sooner_than_a_probe() {
    let least = u64::try_from(settings().probe.0.as_millis()).expect("an hour");
    for wait in [0, 1, SECOND, 5 * MINUTE] {
        let mut bench = Bench::new();
        bench.tell(waiting(Means::Quota, Some(wait)));
        bench.run(least - SECOND);
        assert_eq!((bench.stance(), bench.telemetry(), bench.view().probe), (Stance::Quota, Telemetry::Nothing, 0));
        bench.run(2 * SECOND);
        until_open(&mut bench, 11 * MINUTE);
    }
}

#[test]
fn what_answers_and_the_operator_stop_is_written_down_with_its_clause_and_until_when() {
    let month = settings().calendar.month_end_ms(START);
    let rows = [
        (hold(Some(HOUR)), None, Some(START + HOUR), "nothing is sent"),
        (hold(None), None, None, "nothing is sent"),
        (waiting(Means::Quota, Some(2 * DAY)), Some("10.1(6)"), Some(START + 2 * DAY), "until the time that it names"),
        (answer(Means::Quota), Some("10.1(6)"), Some(month), "rarely one event"),
        (waiting(Means::Maintenance, Some(HOUR)), Some("5.2(1)"), Some(START + HOUR), "now and then one event"),
        (answer(Means::Suspended), Some("5.1(3)"), None, "rarely one event"),
        (answer(Means::Ended), Some("5.3"), None, "records are kept"),
    ];
    for (input, clause, until, did) in rows {
        let mut bench = Bench::new();
        let shown = format!("{input:?}");
        bench.tell(input);
        let entry = bench.log.last().expect("an entry");
        assert_eq!((entry.clause.as_deref(), entry.from_ms, entry.until_ms), (clause, Some(START), until), "{shown}");
        assert!(entry.did.contains(did), "{shown}: {entry:?}");
        let ground = bench.view().grounds.pop().expect("a ground");
        assert_eq!(ground.until_ms, until, "as status shows it");
    }
}

#[test]
fn a_withdrawal_of_what_is_not_known_says_so() {
    let mut bench = Bench::new();
    bench.tell(notice("m-1", START, Content::Withdrawn));
    assert_eq!(bench.did(), "nothing: nothing is known under this id; what was issued before no longer counts");
    bench.tell(notice("i-1", START, Content::Information));
    assert_eq!(bench.did(), "nothing: it is for people to know");
}

#[test]
fn a_reload_brings_one_probe_at_once_and_none_within_a_window_or_when_held() {
    let mut bench = Bench::new();
    bench.tell(answer(Means::Suspended));
    bench.tell(Input::TryNow);
    bench.tell(Input::TryNow);
    assert_eq!(bench.view().probe, 1);
    bench.pass(MINUTE);
    bench.tell(hold(None));
    bench.tell(Input::TryNow);
    assert_eq!(bench.view().probe, 1);
    bench.tell(Input::Resume);
    bench.tell(notice("m", START, works(START, START + HOUR)));
    bench.tell(Input::TryNow);
    assert_eq!(bench.view().probe, 1);
}

#[test]
fn an_answers_time_is_kept_to_over_a_restart_and_a_reload_brings_one_probe_before_it() {
    for means in [Means::Maintenance, Means::Quota] {
        let mut bench = Bench::new();
        bench.tell(Input::Endpoint { fingerprint: 8 });
        bench.tell(waiting(means, Some(10 * MINUTE)));
        bench.restart();
        bench.tell(Input::Endpoint { fingerprint: 8 });
        assert_eq!(bench.view().probe, 0, "{means:?}: a restart is nobody's word");
        bench.tell(Input::TryNow);
        assert_eq!(bench.view().probe, 1, "{means:?}: it may be over, or more may have been bought");
    }
    let mut bench = Bench::new();
    bench.tell(Input::Endpoint { fingerprint: 8 });
    bench.tell(waiting(Means::Maintenance, Some(10 * MINUTE)));
    bench.tell(Input::Endpoint { fingerprint: 9 });
    assert_eq!(bench.view().rest_until_ms, None, "the other asked for nothing");
}

#[test]
fn a_quota_that_is_spent_ends_with_the_month_in_japan() {
    let mut bench = Bench::new();
    bench.tell(answer(Means::Quota));
    // 2026-11-30T15:00:00Z is midnight in Japan.
    assert_eq!(bench.view().grounds[0].until_ms, Some(1_796_050_800_000));
}

#[test]
fn being_throttled_is_followed_down_at_once_and_up_slowly_and_notices_can_only_tighten_it() {
    let mut bench = Bench::new();
    bench.tell(answer(Means::Throttled));
    assert_eq!(bench.per_minute(), Some(20), "half of the forty that had left");
    bench.pass(10 * SECOND);
    bench.tell(answer(Means::Throttled));
    assert_eq!(bench.per_minute(), Some(10));
    bench.run(5 * MINUTE);
    assert_eq!(bench.per_minute(), Some(16));
    let limits = vec![Bound::EventsPerMinute(std::num::NonZeroU64::new(3).expect("not 0"))];
    bench.tell(notice("r", START, Content::Restriction { from_ms: 0, until_ms: None, limits }));
    assert_eq!((bench.per_minute(), bench.view().grounds.len()), (Some(3), 2));
    bench.run(HOUR);
    assert_eq!((bench.per_minute(), bench.view().grounds.len()), (Some(3), 1));
}

#[test]
fn the_log_says_what_was_received_from_whom_and_what_was_done() {
    let mut bench = Bench::new();
    bench.tell(window());
    bench.run(3 * HOUR);
    let told: Vec<(&str, &str)> = bench.log.iter().map(|entry| (entry.what.as_str(), entry.did.as_str())).collect();
    assert_eq!(
        told,
        [
            ("maintenance", "it is noted, and shown ahead"),
            ("maintenance", "sending stops"),
            ("maintenance", "it is over; this gateway goes on at a moment of its own"),
            ("maintenance", "sending goes on, slowly at first"),
        ]
    );
    let first = &bench.log[0];
    assert_eq!((first.id.as_str(), first.source.as_str()), ("m-1", "notice m-1, key ops (file)"));
    assert_eq!((first.from_ms, first.until_ms), (Some(START + HOUR), Some(START + 2 * HOUR)));
    assert_eq!(first.clause.as_deref(), Some("5.2(1)"));
    bench.tell(window());
    assert_eq!(bench.did(), "nothing: it is known");
    bench.tell(notice("m-1", START - 1, Content::Information));
    assert_eq!(bench.did(), "nothing: a later one stands");
}

#[test]
fn an_accepted_probe_under_a_notice_that_suspends_is_told_once() {
    let mut bench = Bench::new();
    bench.tell(notice("s", START, Content::Suspension { from_ms: 0, cause: Breach::Other }));
    let probe = || {
        Input::Answer(Answer {
            means: Means::Accepted,
            by_rule: false,
            wait_ms: None,
            reason: String::new(),
            probe: true,
            per_minute: None,
        })
    };
    bench.tell(probe());
    assert!(bench.did().contains("withdraw"), "{}", bench.did());
    let entries = bench.log.len();
    bench.tell(probe());
    assert_eq!(bench.log.len(), entries);
}

#[test]
fn terms_that_nobody_asked_for_are_not_accepted_instead_of_those_that_something_waits_for() {
    let terms = || Content::TermsChanged { version: "2027-01".into(), effective_ms: START + HOUR, url: String::new() };
    let holds = Settings { on_terms_change: OnTermsChange::Hold, ..settings() };
    let accept = |version: &str| Input::AcceptTerms { version: version.into() };
    let mut bench = Bench::fresh(holds);
    bench.tell(accept("2026-07"));
    assert_eq!(bench.did(), "noted: no notice asked for it yet");
    bench.tell(notice("t", START, terms()));
    for _ in 0..2 {
        // Ahead, and then while they hold.
        let (before, entries) = (bench.machine.encode(), bench.log.len());
        assert_eq!(bench.machine.asked_instead("2027-1"), ["2027-01"]);
        bench.tell(accept("2027-1"));
        assert_eq!((bench.machine.encode(), bench.log.len()), (before, entries), "nothing changes");
        assert_eq!(bench.machine.asked_instead("2026-07"), [""; 0], "those were accepted before");
        bench.run(2 * HOUR);
    }
    assert_eq!(bench.stance(), Stance::Held);
    let mut ahead = Bench::fresh(bench.machine.settings.clone());
    ahead.tell(notice("t", START, terms()));
    for (one, did) in [(&mut bench, "what waited for it goes on"), (&mut ahead, "noted: nothing waits for it")] {
        one.tell(accept("2027-01"));
        assert_eq!(one.did(), did);
        one.run(2 * HOUR);
        assert_eq!(one.stance(), Stance::Open);
    }
    // Where nothing waits for a person there is nothing to mistype.
    let mut bench = Bench::new();
    bench.tell(notice("t", START, terms()));
    assert_eq!(bench.machine.asked_instead("2027-1"), [""; 0]);
}

#[test]
fn that_the_time_of_another_identifier_has_come_is_not_said_to_be_the_change_itself() {
    let mut bench = Bench::new();
    bench.tell(notice("i", START, Content::Identity { effective_ms: START + HOUR }));
    bench.run(HOUR);
    assert_eq!(bench.did(), "its time has come; an entry of its own says from when the other identity is used");
}

#[test]
fn another_identifier_is_used_from_its_time_on() {
    let mut bench = Bench::new();
    bench.tell(notice("i", START, Content::Identity { effective_ms: START + HOUR }));
    let identity = |bench: &Bench| bench.machine.identity(&bench.now).map(|one| (one.effective_ms, one.due));
    assert_eq!(identity(&bench), Some((START + HOUR, false)));
    bench.run(HOUR);
    bench.restart();
    assert_eq!(identity(&bench), Some((START + HOUR, true)));
    bench.run(30 * DAY);
    assert_eq!(identity(&bench), Some((START + HOUR, true)), "it stays so");
    bench.tell(notice("i", START + 1, Content::Withdrawn));
    assert_eq!(identity(&bench), None);
}

#[test]
fn of_more_than_can_be_kept_the_least_harmful_is_forgotten_and_that_is_said() {
    let mut bench = Bench::new();
    bench.tell(notice("end", START, Content::End { at_ms: START }));
    for day in 1..=90 {
        let from = START + day * DAY;
        bench.tell(notice(&format!("m-{day}"), START, works(from, from + HOUR)));
    }
    let view = bench.view();
    assert_eq!(view.grounds[0].stance, Stance::Ended);
    assert!(view.ahead.len() < 64 && view.ahead[0].since_ms == START + DAY, "the nearest are kept");
    assert!(bench.log.iter().any(|entry| entry.what == "dropped" && entry.id == "m-90"));
}
