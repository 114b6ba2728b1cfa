//! Restarts, and what is read of bytes that somebody else wrote.

use ciborium::Value;

use super::*;

/// The bytes of a machine with a change made to its state.
fn with(bench: &Bench, change: impl FnOnce(&mut Vec<(Value, Value)>)) -> Vec<u8> {
    let (version, mut state): (u16, Value) = ciborium::from_reader(&bench.machine.encode()[..]).expect("a state");
    if let Value::Map(map) = &mut state {
        change(map);
    }
    let mut bytes = Vec::new();
    ciborium::into_writer(&(version, state), &mut bytes).expect("written");
    bytes
}

fn text(text: &str) -> Value {
    Value::Text(text.into())
}

#[test]
fn a_restart_between_any_two_steps_changes_nothing() {
    let steps = [
        notice("m", START, works(START + HOUR, START + 2 * HOUR)),
        answer(Means::Throttled),
        notice("e", START, Content::Emergency { from_ms: 0, until_ms: Some(START + 3 * HOUR) }),
        answer(Means::Suspended),
        hold(Some(4 * HOUR)),
        sim("suspended", Some((START + 9 * HOUR, "terminate"))),
        notice("t", START, Content::TermsChanged { version: "v".into(), effective_ms: START, url: "u".into() }),
        planned(START, START + 5 * HOUR, Progress::InProgress),
        Input::TryNow,
        answer(Means::Accepted),
        notice("m", START + 1, Content::Withdrawn),
    ];
    let holds = Settings { on_terms_change: OnTermsChange::Hold, ..settings() };
    let (mut one, mut other) = (Bench::fresh(holds.clone()), Bench::fresh(holds));
    for step in steps {
        for bench in [&mut one, &mut other] {
            bench.tell(step.clone());
            bench.run(37 * MINUTE);
        }
        other.restart();
        assert_eq!(one.view(), other.view(), "after {step:?}");
    }
    assert_eq!(one.log, other.log, "and nothing is logged twice");
}

#[test]
fn a_restart_neither_resets_nor_hastens_probes() {
    let mut bench = Bench::new();
    bench.tell(answer(Means::Suspended));
    let mut probes = Vec::new();
    for quarter in 0..4 * 24 * 7_u64 {
        bench.run(15 * MINUTE);
        bench.restart();
        if bench.view().probe > probes.len() as u64 {
            probes.push(quarter / 4);
        }
    }
    // 1 to 2 h, 2 to 4, 4 to 8, 8 to 16, then 12 to 24.
    assert!((9..=18).contains(&probes.len()), "{probes:?}");
    assert!(probes.windows(2).skip(4).all(|pair| pair[1] - pair[0] >= 11), "{probes:?}");
}

#[test]
fn what_an_answer_asks_to_wait_outlives_a_restart_and_ends_with_its_time_an_answer_or_the_endpoint() {
    let left = |bench: &Bench| bench.view().rest_until_ms.map(|until| until - bench.now.uptime_ms);
    let asked = |means, wait| {
        let mut bench = Bench::new();
        bench.machine.kept();
        bench.tell(waiting(means, Some(wait)));
        assert!(bench.machine.is_dirty());
        bench.pass(SECOND);
        bench.restart();
        bench
    };
    for (means, wait, expected) in [
        (Means::Throttled, 20 * SECOND, 19 * SECOND),
        (Means::Throttled, 9_999 * DAY, HOUR - SECOND),
        (Means::Maintenance, 8 * SECOND, 7 * SECOND),
        (Means::Maintenance, 9_999 * DAY, DAY - SECOND),
    ] {
        assert_eq!(left(&asked(means, wait)), Some(expected), "{means:?} {wait}");
        let mut bench = asked(means, wait);
        for says_nothing in [Means::Transient, Means::OwnLine, Means::Unreachable] {
            bench.tell(answer(says_nothing));
        }
        assert_eq!(left(&bench), Some(expected));
        bench.restart();
        bench.pass(expected);
        assert_eq!(left(&bench), None, "its time has come");
        for ends in [answer(Means::Accepted), answer(Means::Poison), Input::Endpoint { fingerprint: 9 }] {
            let mut bench = asked(means, wait);
            bench.tell(Input::Endpoint { fingerprint: 8 });
            bench.tell(ends);
            assert_eq!(left(&bench), None);
        }
    }
}

#[test]
fn starting_again_and_again_does_not_press_an_endpoint_that_refuses_and_another_is_tried_at_once() {
    for means in [Means::Misconfigured, Means::Suspended, Means::Ended] {
        let mut bench = Bench::new();
        bench.tell(Input::Endpoint { fingerprint: 7 });
        // This one never accepted anything.
        bench.tell(Input::Endpoint { fingerprint: 8 });
        bench.machine.kept();
        bench.tell(answer(means));
        assert!(bench.machine.is_dirty(), "{means:?}");
        for passed in 1..=12 {
            bench.pass(5 * SECOND);
            bench.restart();
            bench.tell(Input::Endpoint { fingerprint: 8 });
            let left = bench.view().rest_until_ms.map(|until| until - bench.now.uptime_ms);
            let expected = MINUTE - passed * 5 * SECOND;
            assert_eq!(left, (expected > 0).then_some(expected), "{means:?}");
        }
        bench.tell(answer(means));
        bench.tell(Input::Endpoint { fingerprint: 9 });
        assert_eq!(bench.view().rest_until_ms, None, "{means:?}");
    }
}

#[test]
fn a_wait_that_is_shorter_than_a_restart_is_not_worth_a_write() {
    let mut bench = Bench::new();
    bench.machine.kept();
    bench.tell(waiting(Means::Maintenance, Some(SECOND)));
    assert!(!bench.machine.is_dirty());
}

#[test]
fn while_a_429_asks_to_wait_it_is_shown_until_when_though_its_limit_binds_no_longer() {
    let mut bench = Bench::new();
    bench.tell(waiting(Means::Throttled, Some(HOUR)));
    bench.restart();
    bench.run(50 * MINUTE);
    assert_eq!((bench.stance(), bench.per_minute()), (Stance::Restricted, None));
    bench.run(10 * MINUTE);
    assert_eq!(bench.stance(), Stance::Open);
}

#[test]
fn bytes_that_are_no_state_and_those_of_a_newer_version_make_it_cautious_and_are_said() {
    let mut newer = Vec::new();
    ciborium::into_writer(&(99_u16, "whatever that is"), &mut newer).expect("written");
    let whole = Bench::new().machine.encode();
    for bytes in [&b""[..], b"nonsense", &newer, &whole[..whole.len() - 1], &vec![0xa0; STATE_BYTES + 1]] {
        let mut bench = Bench::new();
        bench.machine = Machine::restore(bytes, settings());
        assert!(bench.machine.is_dirty());
        bench.pass(0);
        assert_eq!(bench.log.last().map(|entry| entry.what.as_str()), Some("state"));
        assert_eq!(bench.stance(), Stance::Maintenance);
        bench.run(MINUTE);
        assert_eq!(bench.view().probe, 1, "within a minute one event shows how things are");
        bench.tell(answer(Means::Suspended));
        assert_eq!(bench.stance(), Stance::Suspended, "it is not known that nothing was delivered");
        bench.tell(answer(Means::Accepted));
        assert_eq!((bench.stance(), bench.per_minute()), (Stance::Restricted, Some(1)));
    }
    assert!(Machine::restore(&newer, settings()).turn(&Bench::new().now)[0].text.contains("newer version 99"));
}

#[test]
fn fields_that_are_not_known_are_passed_over_and_missing_ones_have_their_first_value() {
    let mut bench = Bench::new();
    bench.tell(answer(Means::Suspended));
    let bytes = with(&bench, |map| {
        map.push((text("of_a_newer_version"), text("something")));
        map.retain(|(key, _)| *key != text("sim") && *key != text("incidents"));
    });
    let restored = Machine::restore(&bytes, settings());
    assert_eq!(restored.view(&bench.now), bench.view());
}

#[test]
fn of_what_was_announced_that_which_cannot_be_read_is_left_out_and_said() {
    let mut bench = Bench::new();
    bench.tell(notice("end", START, Content::End { at_ms: START }));
    bench.tell(notice("m", START, works(START, START + HOUR)));
    let bytes = with(&bench, |map| {
        for (key, value) in map {
            if let (true, Value::Array(items)) = (*key == text("announced"), value) {
                items[1] = text("of a newer version");
            }
        }
    });
    bench.machine = Machine::restore(&bytes, settings());
    bench.pass(0);
    assert_eq!((bench.stance(), bench.view().grounds.len()), (Stance::Ended, 1));
    assert!(bench.log.iter().any(|entry| entry.text.contains("1 of the notices")));
}

#[test]
fn the_state_is_bounded_whatever_is_announced() {
    let mut bench = Bench::new();
    for number in 0..200 {
        let mut long = notice(&format!("{number:064}"), START, works(START + number * MINUTE, START + DAY));
        if let Input::Notice { notice, key, .. } = &mut long {
            notice.why = "\u{1F30A}".repeat(125);
            *key = "k".repeat(300);
        }
        bench.tell(long);
        assert!(bench.machine.encode().len() <= STATE_BYTES);
    }
    assert!(bench.view().ahead.len() >= 30, "{}", bench.view().ahead.len());
}

#[test]
fn what_was_withdrawn_cannot_be_brought_again_however_many_notices_came_since() {
    for many in [10, 63, 64, 65, 200] {
        for content in [Content::Information, works(START - DAY, START - HOUR), Content::End { at_ms: START + DAY }] {
            let mut bench = Bench::new();
            let end = || notice("victim", START - HOUR, Content::End { at_ms: START - HOUR });
            bench.tell(end());
            assert_eq!(bench.stance(), Stance::Ended);
            bench.tell(notice("victim", START - HOUR + MINUTE, Content::Withdrawn));
            bench.pass(30 * MINUTE);
            assert_eq!(bench.stance(), Stance::Open);
            for number in 0..many {
                bench.tell(notice(&format!("n-{number}"), START - HOUR + 2 * MINUTE + number, content.clone()));
                bench.pass(10);
            }
            bench.restart();
            bench.tell(end());
            assert_eq!(bench.stance(), Stance::Open, "{many} {content:?}: {}", bench.did());
            assert!(bench.did().starts_with("nothing: "), "{}", bench.did());
            // What is new is taken in as ever.
            bench.tell(notice("new", bench.now.wall_ms, Content::End { at_ms: START }));
            assert_eq!(bench.stance(), Stance::Ended);
        }
    }
}

#[test]
fn a_notice_that_is_larger_than_all_that_is_kept_is_refused_and_said() {
    let mut bench = Bench::new();
    // Every third minute, and another third on each day.
    let days = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
    let minutes = (0..7 * 480).map(|at| (at % 7, at / 7 * 3 + at % 7 % 3));
    let time = |minute: usize| format!("{:02}:{:02}", minute / 60, minute % 60);
    let windows: Vec<String> =
        minutes.map(|(day, minute)| format!("{} {}-{}", days[day], time(minute), time(minute + 1))).collect();
    let windows = tidegate_protocol::terms::Windows::parse(windows.iter().map(String::as_str)).expect("windows");
    let content = Content::Restriction { from_ms: 0, until_ms: None, limits: vec![Bound::Windows(windows)] };
    bench.tell(notice("r", START, content));
    assert!(bench.machine.encode().len() <= STATE_BYTES);
    assert_eq!(bench.stance(), Stance::Open);
    assert!(bench.did().contains("larger"), "{}", bench.did());
}

#[test]
fn what_has_to_last_is_dirty_until_it_is_kept_and_then_every_five_minutes_while_something_is_dated() {
    let mut bench = Bench::new();
    bench.machine.kept();
    bench.tell(answer(Means::Accepted));
    bench.pass(DAY);
    assert!(!bench.machine.is_dirty(), "nothing new");
    bench.tell(notice("m", START, works(START + 9 * DAY, START + 10 * DAY)));
    assert!(bench.machine.is_dirty());
    bench.machine.kept();
    bench.pass(CHECKPOINT_MS - 1);
    assert!(!bench.machine.is_dirty());
    assert_eq!(bench.machine.wake_in_ms(&bench.now), Some(1));
    bench.pass(1);
    assert!(bench.machine.is_dirty());
}
