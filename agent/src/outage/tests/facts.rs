//! What single facts do.

use super::*;

/// Tells each fact at its minute, with heartbeats in between; gives the accounts of the intervals.
fn told(facts: &[(u64, Fact)]) -> Tally {
    let mut tally = Tally::default();
    let mut ledger = ledger(&at(0));
    let mut before = 0;
    let mut n = 0;
    let mut take = |entry: Option<Entry>| {
        if let Some(entry) = entry {
            n += 1;
            tally.take(&Entry { n, ..entry });
        }
    };
    for (minute, fact) in facts {
        for minute in before + 1..*minute {
            take(ledger.tell(Fact::Heartbeat, &at(minute * MINUTE)));
        }
        take(ledger.tell(fact.clone(), &at(minute * MINUTE)));
        before = *minute;
    }
    take(ledger.tell(Fact::Stopping, &at(before * MINUTE)));
    tally
}

fn stretches(account: &Account) -> Vec<(Class, u64)> {
    account.so_far().iter().map(|stretch| (stretch.class, stretch.ms / MINUTE)).collect()
}

#[test]
fn an_interval_is_from_the_first_failed_attempt_to_the_first_success_and_keeps_the_success_before_it() {
    let tally = told(&[
        (1, Fact::Delivered),
        (10, failed(Class::Provider)),
        (20, failed(Class::Provider)),
        (70, Fact::Delivered),
        (71, Fact::Delivered),
    ]);
    let account = &tally.intervals[&1];
    assert_eq!(tally.intervals.len(), 1);
    assert_eq!(
        (account.from, account.until(), account.last_success),
        (at(10 * MINUTE), at(70 * MINUTE), Some(at(MINUTE)))
    );
    assert_eq!((account.proved_ms(), account.uninterrupted_ms()), (HOUR, HOUR));
    assert_eq!((account.attempts, account.widest_ms), (2, 50 * MINUTE));
    assert_eq!(account.ended, Some(Ended { at: at(70 * MINUTE), how: How::Delivered }));
    assert_eq!(tally.delivered, Some(at(70 * MINUTE)));
}

#[test]
fn an_answer_that_shows_that_flux_works_ends_an_interval() {
    let tally = told(&[(10, failed(Class::Provider)), (30, Fact::Answered)]);
    assert_eq!(tally.intervals[&1].ended, Some(Ended { at: at(30 * MINUTE), how: How::Answered }));
    assert_eq!(tally.delivered, None);
}

#[test]
fn between_attempts_of_different_classes_the_lesser_counts_and_own_faults_break_what_can_be_claimed() {
    let tally = told(&[
        (0, failed(Class::Provider)),
        (30, failed(Class::Provider)),
        (40, failed(Class::OwnLine)),
        (50, failed(Class::Provider)),
        (60, failed(Class::Unknown)),
        (70, Fact::Delivered),
    ]);
    let account = &tally.intervals[&1];
    assert_eq!(stretches(account), [(Class::Provider, 30), (Class::OwnLine, 20), (Class::Unknown, 20)]);
    let runs: Vec<(u64, u64)> =
        account.claimable().iter().map(|run| (run.ms / MINUTE, run.unknown_ms / MINUTE)).collect();
    assert_eq!(runs, [(30, 0), (20, 20)]);
    assert_eq!((account.proved_ms(), account.uninterrupted_ms()), (70 * MINUTE, 30 * MINUTE));
}

#[test]
fn a_broken_own_line_makes_every_attempt_the_own_lines_until_it_is_whole() {
    let tally = told(&[
        (0, failed(Class::Provider)),
        (10, failed(Class::Provider)),
        (20, Fact::OwnLine(Some("wwan0 has no carrier".into()))),
        (30, failed(Class::Provider)),
        (40, Fact::OwnLine(None)),
        (50, failed(Class::Provider)),
        (60, Fact::Delivered),
    ]);
    let account = &tally.intervals[&1];
    assert_eq!(stretches(account), [(Class::Provider, 10), (Class::OwnLine, 40), (Class::Provider, 10)]);
    assert!(account.evidence.iter().any(|noted| noted.what.line == "wwan0 has no carrier"), "{:?}", account.evidence);
}

#[test]
fn what_was_announced_or_refused_by_the_providers_word_cannot_be_claimed() {
    let window = Window { from_ms: at(20 * MINUTE).wall_ms, until_ms: Some(at(40 * MINUTE).wall_ms) };
    let mut facts = vec![(0, Fact::Announced(vec![window]))];
    facts.extend((1..=5).map(|ten| (ten * 10, failed(Class::Provider))));
    facts.push((60, Fact::Delivered));
    let account = &told(&facts).intervals[&1];
    assert_eq!(
        stretches(account),
        [(Class::Provider, 0), (Class::Announced, 30), (Class::Provider, 20)]
            .into_iter()
            .filter(|stretch| stretch.1 > 0)
            .collect::<Vec<_>>()
    );
    // A stop by the provider's word counts without an attempt, however long it lasts.
    let stop = Evidence::new(Stage::Stance, Class::Provider, "maintenance, by notice m-1");
    let tally =
        told(&[(0, Fact::Barred(stop)), (600, Fact::Unbarred), (610, failed(Class::Provider)), (630, Fact::Delivered)]);
    assert_eq!(stretches(&tally.intervals[&1]), [(Class::Announced, 610), (Class::Provider, 20)]);
}

#[test]
fn an_attempt_counts_for_an_hour_and_a_quarter_and_then_nothing_was_tried() {
    let tally = told(&[(0, failed(Class::Provider)), (300, failed(Class::Provider)), (310, Fact::Delivered)]);
    let account = &tally.intervals[&1];
    assert_eq!(account.proved_ms(), 85 * MINUTE);
    let hole = &account.holes[0];
    assert_eq!((hole.why, hole.from, hole.until), (Why::Untried, at(75 * MINUTE), at(300 * MINUTE)));
    assert_eq!(hole.ms, Some(225 * MINUTE));
}

#[test]
fn silence_of_more_than_five_minutes_is_not_counted() {
    let mut ledger = ledger(&at(0));
    ledger.tell(failed(Class::Provider), &at(0));
    live(&mut ledger, 0, 11 * MINUTE);
    ledger.tell(Fact::Heartbeat, &at(100 * MINUTE));
    ledger.tell(failed(Class::Provider), &at(110 * MINUTE));
    ledger.tell(Fact::Heartbeat, &at(112 * MINUTE));
    let account = ledger.open().expect("an interval");
    assert_eq!((account.proved_ms(), account.holes.len(), account.holes[0].why), (12 * MINUTE, 1, Why::Asleep));
    assert_eq!((account.holes[0].from, account.holes[0].until), (at(10 * MINUTE), at(110 * MINUTE)));
}

#[test]
fn a_day_is_written_in_a_hundred_entries_and_a_line_that_flaps_once_a_minute() {
    let mut steady = ledger(&at(0));
    let mut entries = usize::from(steady.tell(failed(Class::Provider), &at(0)).is_some());
    for minute in 1..1440 {
        entries += usize::from(steady.tell(failed(Class::Provider), &at(minute * MINUTE)).is_some());
    }
    assert!((90..=100).contains(&entries), "{entries}");
    let mut flapping = ledger(&at(0));
    let mut entries = 0;
    for second in 0..3600 {
        let fact = if second % 2 == 0 { failed(Class::OwnLine) } else { Fact::Delivered };
        entries += usize::from(flapping.tell(fact, &at(second * 1000)).is_some());
    }
    assert!(entries <= 2 * 60 + 2, "{entries}");
}

#[test]
fn evidence_is_the_first_each_change_and_one_a_quarter_of_an_hour() {
    let mut facts: Vec<(u64, Fact)> = (0..60).map(|minute| (minute, failed(Class::Provider))).collect();
    let other = Evidence { status: Some(503), ..Evidence::new(Stage::Http, Class::Provider, "unavailable") };
    facts.push((60, Fact::Failed(other)));
    let tally = told(&facts);
    let noted: Vec<(u64, Stage, u64)> = tally.intervals[&1]
        .evidence
        .iter()
        .map(|noted| (noted.at.uptime_ms / MINUTE, noted.what.stage, noted.before))
        .collect();
    let tcp = Stage::Tcp;
    assert_eq!(noted, [(0, tcp, 0), (15, tcp, 14), (30, tcp, 14), (45, tcp, 14), (60, Stage::Http, 14)]);
}

#[test]
fn the_operators_restart_breaks_nothing_and_what_ran_out_unseen_is_not_claimed() {
    let mut tally = Tally::default();
    let mut first = ledger(&at(0));
    tally.take(&first.tell(failed(Class::Provider), &at(0)).expect("an entry"));
    for entry in live(&mut first, 0, 60 * MINUTE) {
        tally.take(&entry);
    }
    // Killed here: the last entry is of the 45th minute.
    let mut second = Ledger::resume(&tally, &at(70 * MINUTE));
    second.tell(Fact::Started, &at(70 * MINUTE));
    second.tell(failed(Class::Provider), &at(71 * MINUTE));
    second.tell(Fact::Heartbeat, &at(75 * MINUTE));
    tally.take(&second.tell(Fact::Delivered, &at(80 * MINUTE)).expect("an entry"));
    let account = &tally.intervals[&1];
    assert_eq!(tally.intervals.len(), 1);
    assert_eq!((account.proved_ms(), account.uninterrupted_ms()), (54 * MINUTE, 54 * MINUTE));
    let hole = &account.holes[0];
    assert_eq!((hole.why, hole.from, hole.until), (Why::Down, at(45 * MINUTE), at(71 * MINUTE)));
    // Where the first attempt after the start succeeds, it ends where it was last seen.
    let mut third = Ledger::resume(&tally, &at(90 * MINUTE));
    third.tell(Fact::Started, &at(90 * MINUTE));
    tally.take(&third.tell(failed(Class::Provider), &at(91 * MINUTE)).expect("an entry"));
    let mut fourth = Ledger::resume(&tally, &at(200 * MINUTE));
    fourth.tell(Fact::Started, &at(200 * MINUTE));
    tally.take(&fourth.tell(Fact::Delivered, &at(201 * MINUTE)).expect("an entry"));
    let account = &tally.intervals[&2];
    assert_eq!((account.until(), account.proved_ms()), (at(91 * MINUTE), 0));
    assert_eq!(account.ended, Some(Ended { at: at(201 * MINUTE), how: How::Delivered }));
}

#[test]
fn a_wall_clock_that_jumps_changes_no_length_and_one_that_becomes_right_puts_times_right() {
    let stamp = |uptime_ms: u64, wall_ms, trusted| Stamp { wall_ms, uptime_ms, boot: 7, trusted };
    let mut tally = Tally::default();
    let mut ledger = Ledger::resume(&tally, &stamp(0, 5_000, false));
    ledger.tell(Fact::Started, &stamp(0, 5_000, false));
    ledger.tell(failed(Class::Provider), &stamp(MINUTE, 65_000, false));
    ledger.tell(failed(Class::Provider), &stamp(5 * MINUTE, 4_000_000_000_000, false));
    let end = at(0).wall_ms + 9 * MINUTE;
    tally.take(&ledger.tell(Fact::Delivered, &stamp(9 * MINUTE, end, true)).expect("an entry"));
    let account = &tally.intervals[&1];
    assert_eq!(account.proved_ms(), 8 * MINUTE);
    assert_eq!(tally.time(&account.from), (end - 8 * MINUTE, Quality::Corrected));
    assert_eq!(tally.time(&account.until()), (end, Quality::Right));
}

#[test]
fn what_is_claimed_is_whole_days_of_uninterrupted_time() {
    for (hours, days) in [(23, 0), (24, 1), (47, 1), (48, 2)] {
        let mut facts: Vec<(u64, Fact)> = (0..hours * 2).map(|half| (half * 30, failed(Class::Provider))).collect();
        facts.push((hours * 60, Fact::Delivered));
        let tally = told(&facts);
        let row = &report::rows(&tally, None)[0];
        assert_eq!(row.claims.iter().map(|claim| claim.days).sum::<u64>(), days, "{hours} h");
        assert_eq!(row.claims.len(), usize::from(days > 0));
        for claim in &row.claims {
            assert_eq!((claim.clause, claim.uninterrupted_ms), ("15.2(2)", hours * HOUR));
            let last = calendar::last_day(calendar::day(row.from.ms)).to_string();
            assert_eq!(claim.last_day.as_deref(), Some(last.as_str()));
        }
    }
    // 20 h and 20 h with a broken own line between them are no 24 h.
    let mut facts: Vec<(u64, Fact)> = (0..40).map(|half| (half * 30, failed(Class::Provider))).collect();
    facts.push((1200, failed(Class::OwnLine)));
    facts.extend((41..81).map(|half| (half * 30, failed(Class::Provider))));
    let row = &report::rows(&told(&facts), None)[0];
    assert!(row.proved_ms > 39 * HOUR && row.uninterrupted_ms < 20 * HOUR && row.claims.is_empty(), "{row:?}");
    assert!(row.cannot_prove.iter().any(|text| text.to_string().contains("own line")), "{:?}", row.cannot_prove);
}

#[test]
fn entries_of_a_later_version_are_passed_over_and_unknown_words_understood_as_other() {
    let later =
        r#"{"n":2,"at":{"wall_ms":1,"uptime_ms":1,"boot":1,"trusted":false},"run":0,"what":"tomorrow","number":[1]}"#;
    assert_eq!(serde_json::from_str::<Entry>(later).expect("an entry").what, What::Later);
    let stage: Evidence =
        serde_json::from_str(r#"{"stage":"quic","class":"unknown","reason":"","new":1}"#).expect("evidence");
    assert_eq!(stage.stage, Stage::Other);
}
