use std::num::NonZeroU64;

use proptest::prelude::*;
use tidegate_protocol::terms::{Bound, Limit, Quota, Share, Source, Terms};

use super::*;

mod month;

/// 2026-11-01T00:00:00Z.
const NOVEMBER: u64 = 1_793_491_200_000;
const DAY: u64 = 86_400_000;
const MINUTE: u64 = 60_000;

fn stamp(since: u64) -> Stamp {
    Stamp { wall_ms: NOVEMBER + since, uptime_ms: since, boot: 1, trusted: true }
}

fn event() -> Cost {
    Cost { events: 1, ..Cost::default() }
}

fn number(number: u64) -> NonZeroU64 {
    NonZeroU64::new(number).expect("not 0")
}

fn limits(bounds: impl IntoIterator<Item = Bound>) -> Limits {
    let source = || Source::Operator { file: "test".into(), line: 1 };
    Limits::merge([&Terms::new(bounds.into_iter().map(|bound| Limit::new(bound, source())))])
}

fn events(amount: u64) -> Bound {
    Bound::EventsPerMonth(Quota::Events(number(amount)))
}

fn budgets(bounds: impl IntoIterator<Item = Bound>, kept: &[Kept], now: &Stamp) -> Budgets {
    let mut budgets = Budgets::new(Calendar::Utc, kept, now);
    budgets.limit(&limits(bounds), now);
    budgets
}

/// Sends as long as it is permitted; says how many requests that were.
fn burst(budgets: &mut Budgets, class: Class, now: &Stamp) -> u64 {
    let mut count = 0;
    while let Ok(permit) = budgets.take(class, event(), now) {
        budgets.settle(permit, Outcome::Counted, now);
        count += 1;
    }
    count
}

/// Adds notes to what was noted before, as the store does.
fn keep(kept: &mut Vec<Kept>, notes: Vec<Kept>) {
    for note in notes {
        kept.retain(|one| one.kind != note.kind);
        kept.push(note);
    }
}

fn used(budgets: &mut Budgets, kind: Kind, now: &Stamp) -> u64 {
    let figures = budgets.figures(now);
    figures.iter().find(|figure| figure.kind == kind.key()).expect("shown").used
}

#[test]
fn of_two_events_a_minute_the_second_is_kept_for_lanes_that_go_first_and_said_to_be() {
    let now = stamp(22 * DAY);
    let two = Bound::EventsPerMinute(NonZeroU64::new(2).expect("some"));
    let mut budgets = budgets([two], &[], &now);
    assert_eq!(burst(&mut budgets, Class::Other, &now), 1);
    assert_eq!(budgets.ask(Class::Other, event(), &now).map_err(|it| it.reason), Err(Reason::Reserved));
    let minute = |budgets: &mut Budgets| {
        let figures = budgets.figures(&now);
        figures.into_iter().find(|it| it.kind == Kind::EventsPerMinute.key()).map(|it| (it.used, it.reserved))
    };
    assert_eq!(minute(&mut budgets), Some((1, 1)));
    assert_eq!(burst(&mut budgets, Class::First, &now), 1);
    assert_eq!(budgets.ask(Class::First, event(), &now).map_err(|it| it.reason), Err(Reason::Spent));
    assert_eq!(minute(&mut budgets), Some((2, 0)));
}

#[test]
fn of_five_events_four_are_for_all_and_one_for_lanes_that_go_first() {
    let now = stamp(22 * DAY);
    let mut budgets = budgets([events(5)], &[], &now);
    assert_eq!(burst(&mut budgets, Class::Other, &now), 4);
    let refused = budgets.ask(Class::Other, event(), &now).expect_err("kept for others");
    assert_eq!((refused.kind, refused.reason), (Kind::EventsPerMonth, Reason::Reserved));
    assert_eq!(burst(&mut budgets, Class::First, &now), 1);
    let refused = budgets.ask(Class::First, event(), &now).expect_err("spent");
    assert_eq!((refused.reason, refused.wait_ms), (Reason::Spent, Some(8 * DAY)));
    assert_eq!(budgets.figures(&now)[0].ends_ms, Some(NOVEMBER + 30 * DAY));
    // The next month begins with all of it.
    assert_eq!(budgets.ask(Class::Other, event(), &stamp(30 * DAY - 1)).map_err(|it| it.wait_ms), Err(Some(1)));
    assert_eq!(burst(&mut budgets, Class::Other, &stamp(30 * DAY)), 4);
}

#[test]
fn the_share_is_taken_first() {
    let now = stamp(0);
    let share = Share::of_millionths(250_000).expect("a quarter");
    let mut budgets = budgets([events(10_000), Bound::Share(share)], &[], &now);
    assert_eq!(budgets.figures(&now)[0].amount, Some(2_500));
}

#[test]
fn until_the_time_is_known_use_counts_against_the_last_period_and_nothing_turns_over() {
    let wrong = |uptime_ms| Stamp { wall_ms: 4_000_000 + uptime_ms, uptime_ms, boot: 2, trusted: false };
    let october = (2026 - 1970) * 12 + 9;
    let kept = Kept { kind: "events_per_month".into(), period: Some(october), used: 9_998, ..Kept::default() };
    let mut budgets = budgets([events(10_000)], &[kept], &wrong(0));
    assert_eq!(burst(&mut budgets, Class::First, &wrong(0)), 2);
    // Three months by the uptime, two centuries by the clock that nobody trusts.
    let later = Stamp { wall_ms: NOVEMBER * 5, ..wrong(90 * DAY) };
    let refused = budgets.ask(Class::First, event(), &later).expect_err("spent");
    assert_eq!((refused.reason, refused.wait_ms), (Reason::Spent, None));
    let right = Stamp { wall_ms: NOVEMBER, trusted: true, ..later };
    assert_eq!(budgets.ask(Class::First, event(), &right), Ok(()));
    assert_eq!(used(&mut budgets, Kind::EventsPerMonth, &right), 0);
}

#[test]
fn what_was_used_before_the_time_was_ever_known_counts_when_it_is() {
    let unknown = Stamp { wall_ms: 0, uptime_ms: 5, boot: 1, trusted: false };
    let mut budgets = budgets([events(100)], &[], &unknown);
    let sent = burst(&mut budgets, Class::Other, &unknown);
    let now = stamp(10);
    assert_eq!(used(&mut budgets, Kind::EventsPerMonth, &now), sent);
    assert_eq!(budgets.notes(Urgency::Last, &now)[0].period, Some((2026 - 1970) * 12 + 10));
}

#[test]
fn a_clock_that_is_put_back_changes_nothing_and_one_that_was_years_ahead_does_not_stop_the_months() {
    let now = stamp(DAY);
    let mut first = budgets([events(10)], &[], &now);
    let sent = burst(&mut first, Class::Other, &now);
    let back = Stamp { wall_ms: NOVEMBER - 40 * DAY, uptime_ms: 2 * DAY, boot: 1, trusted: true };
    let long_after = Stamp { uptime_ms: back.uptime_ms + DAY, wall_ms: back.wall_ms + DAY, ..back };
    for now in [back, long_after] {
        assert_eq!(used(&mut first, Kind::EventsPerMonth, &now), sent);
    }
    // An earlier run believed that it was 2098.
    let kept = Kept { kind: "events_per_month".into(), period: Some(128 * 12), used: 10, ..Kept::default() };
    let mut second = budgets([events(10)], &[kept], &now);
    assert_eq!(second.ask(Class::First, event(), &now).map_err(|it| it.reason), Err(Reason::Spent));
    assert_eq!(second.ask(Class::First, event(), &stamp(30 * DAY)), Ok(()));
}

/// Sends an event that is answered so.
fn settled(budgets: &mut Budgets, outcome: Outcome, now: &Stamp) {
    let permit = budgets.take(Class::Other, event(), now).expect("open");
    budgets.settle(permit, outcome, now);
}

#[test]
fn a_quota_answer_rests_until_the_month_turns_and_asks_once_a_day() {
    let begin = 20 * DAY;
    let now = stamp(begin);
    // Also where the plan is said to have no quota.
    for bound in [events(10_000), Bound::EventsPerMonth(Quota::Unlimited)] {
        let mut budgets = budgets([bound], &[], &now);
        settled(&mut budgets, Outcome::Quota, &now);
        assert_eq!(used(&mut budgets, Kind::EventsPerMonth, &now), 0, "turned away");
        let mut asked = Vec::new();
        for minute in 0..10 * 24 * 60 {
            let now = stamp(begin + minute * MINUTE);
            let Err(refused) = budgets.ask(Class::First, event(), &now) else {
                asked.push(minute);
                settled(&mut budgets, Outcome::Quota, &now);
                continue;
            };
            let ends = 30 * DAY - now.uptime_ms;
            assert!(refused.reason == Reason::Told && refused.wait_ms.is_some_and(|wait| wait <= ends), "{refused:?}");
        }
        assert_eq!(asked, (1..10).map(|day| day * 24 * 60).collect::<Vec<_>>());
        // The month turns: it goes in that moment.
        assert_eq!(budgets.ask(Class::Other, event(), &stamp(30 * DAY - 1)).map_err(|it| it.wait_ms), Err(Some(1)));
        assert_eq!(budgets.ask(Class::Other, event(), &stamp(30 * DAY)), Ok(()));
        assert!(!budgets.figures(&stamp(30 * DAY))[0].told);
    }
}

#[test]
fn whoever_bought_more_has_it_asked_at_once_and_an_acceptance_ends_the_rest() {
    let now = stamp(0);
    let mut budgets = budgets([events(10_000)], &[], &now);
    settled(&mut budgets, Outcome::Quota, &now);
    assert!(budgets.notes(Urgency::Alone, &now).iter().any(|kept| kept.told), "at once");
    budgets.ask_again();
    let question = budgets.take(Class::Other, event(), &now).expect("one asks again");
    let refused = budgets.ask(Class::First, event(), &now).expect_err("one at a time");
    assert_eq!((refused.reason, refused.wait_ms), (Reason::Told, None));
    let kept = budgets.notes(Urgency::Last, &now);
    assert!(kept[0].told && kept[0].used == 1, "{kept:?}");
    budgets.settle(question, Outcome::Counted, &now);
    assert_eq!(budgets.ask(Class::First, event(), &now), Ok(()), "it was not answered: once more");
    settled(&mut budgets, Outcome::Accepted, &now);
    assert_eq!(budgets.ask(Class::First, event(), &now), Ok(()));
    // A start is no reason to ask: a gateway that starts over and over would ask over and over.
    let later = Stamp { boot: 2, ..stamp(DAY) };
    let mut after = super::tests::budgets([events(10_000)], &kept, &later);
    assert_eq!(
        after.ask(Class::First, event(), &later).map_err(|it| (it.reason, it.wait_ms)),
        Err((Reason::Told, Some(DAY)))
    );
}

#[test]
fn in_no_window_of_a_minute_are_there_more_and_either_side_leaves_the_other_some() {
    let mut budgets = budgets([Bound::EventsPerMinute(number(30))], &[], &stamp(0));
    assert_eq!(burst(&mut budgets, Class::First, &stamp(0)), 27);
    assert_eq!(burst(&mut budgets, Class::Other, &stamp(0)), 0);
    assert_eq!(burst(&mut budgets, Class::Other, &stamp(61_000)), 27);
    assert_eq!(burst(&mut budgets, Class::First, &stamp(61_000)), 3);
    let refused = budgets.ask(Class::First, event(), &stamp(62_500)).expect_err("full");
    assert_eq!((refused.kind, refused.wait_ms), (Kind::EventsPerMinute, Some(59_500)));
    assert_eq!(budgets.ask(Class::First, event(), &stamp(122_000)), Ok(()));
}

#[test]
fn bytes_expected_are_set_aside_and_bytes_seen_are_counted() {
    let now = stamp(0);
    let bytes = Cost { events: 1, bytes: 60_000, spare: 0 };
    let mut budgets = budgets([Bound::BytesPerDay(number(200_000)), Bound::BytesPerHour(number(150_000))], &[], &now);
    let permit = budgets.take(Class::Other, bytes, &now).expect("open");
    assert_eq!(used(&mut budgets, Kind::BytesPerDay, &now), 60_000);
    budgets.count_bytes(Class::Other, 61_234, &now);
    budgets.settle(permit, Outcome::Accepted, &now);
    assert_eq!(used(&mut budgets, Kind::BytesPerDay, &now), 61_234);
    let permit = budgets.take(Class::Other, bytes, &now).expect("open");
    budgets.count_bytes(Class::Other, 60_000, &now);
    budgets.settle(permit, Outcome::Accepted, &now);
    let refused = budgets.ask(Class::Other, bytes, &now).expect_err("the hour is full");
    assert_eq!((refused.kind, refused.wait_ms), (Kind::BytesPerHour, Some(61 * MINUTE)));
    let next = stamp(61 * MINUTE);
    assert_eq!(budgets.ask(Class::Other, bytes, &next).map_err(|it| it.kind), Ok(()));
}

#[test]
fn what_is_noted_is_what_a_later_start_counts() {
    let now = stamp(0);
    let bounds = || [events(10_000), Bound::BytesPerHour(number(1_000_000))];
    let mut before = budgets(bounds(), &[], &now);
    burst(&mut before, Class::Other, &now);
    before.count_bytes(Class::Other, 5_000, &now);
    let open = before.take(Class::First, Cost { events: 1, bytes: 700, spare: 0 }, &now).expect("open");
    assert!(before.notes(Urgency::Alone, &now).is_empty(), "neither a hundredth nor a minute");
    let kept = before.notes(Urgency::Along, &stamp(NOTE_ALONG_MS));
    let mut after = budgets(bounds(), &kept, &now);
    for kind in [Kind::EventsPerMonth, Kind::BytesPerHour] {
        let (before, after) = (used(&mut before, kind, &now), used(&mut after, kind, &now));
        assert!(after >= before && after <= before + 700, "{kind:?}: {before} {after}");
    }
    before.settle(open, Outcome::Free, &now);
    // A restart over and over does not get ahead of the pace by more than one burst.
    let (mut sent, mut kept) = (0, kept);
    for _ in 0..20 {
        keep(&mut kept, after.notes(Urgency::Last, &now));
        after = budgets(bounds(), &kept, &now);
        sent += burst(&mut after, Class::Other, &now);
    }
    assert!(sent <= 13, "{sent}");
}

#[test]
fn a_loop_in_a_lane_that_goes_first_leaves_the_others_nearly_half_of_the_month() {
    let mut budgets = budgets([events(10_000)], &[], &stamp(0));
    let (mut first, mut others) = (0, 0);
    for minute in 0..30 * 24 * 60 {
        let now = stamp(minute * MINUTE);
        first += burst(&mut budgets, Class::First, &now);
        others += burst(&mut budgets, Class::Other, &now);
    }
    assert!(others > 4_000 && first > 4_000 && first + others <= 10_000, "{first} {others}");
}

#[test]
fn what_is_only_counted_is_noted_within_a_minute_too_and_with_the_first_commit_that_goes_anyway() {
    let mut all = budgets([Bound::EventsPerMonth(Quota::Unlimited)], &[], &stamp(0));
    let kinds = |notes: Vec<Kept>| notes.into_iter().map(|kept| kept.kind).collect::<Vec<_>>();
    all.count_bytes(Class::Other, 1, &stamp(0));
    assert_eq!(all.notes(Urgency::Alone, &stamp(0)), []);
    assert!(all.note_in(&stamp(0)).is_some_and(|wait| wait < MINUTE));
    assert!(kinds(all.clone().notes(Urgency::Alone, &stamp(NOTE_ALONE_MS))).contains(&"bytes_per_month".into()));
    assert!(kinds(all.notes(Urgency::Along, &stamp(5))).contains(&"bytes_per_month".into()));
    all.count_bytes(Class::Other, 1, &stamp(10));
    assert_eq!(all.notes(Urgency::Along, &stamp(11)), [], "not with each of many");
    assert_eq!(all.notes(Urgency::Along, &stamp(5 + NOTE_ALONG_MS)).len(), 1);
}

/// What is noted of the month's events by itself.
fn note(budgets: &mut Budgets, now: u64) -> Option<u64> {
    let notes = budgets.notes(Urgency::Alone, &stamp(now));
    notes.iter().find(|kept| kept.kind == Kind::EventsPerMonth.key()).map(|kept| kept.used)
}

/// A month of bytes whose requests cost less, or more, than is expected of them.
#[test]
fn a_month_of_bytes_is_used_though_requests_cost_other_than_expected() {
    let amount = 100_000_000;
    for (expected, real) in [(60_000, 12_000), (60_000, 55_000), (60_000, 90_000)] {
        let mut all = budgets([Bound::BytesPerMonth(number(amount))], &[], &stamp(0));
        let cost = Cost { events: 1, bytes: expected, spare: 30_000 };
        let (mut now, mut days) = (0, [0; 30]);
        while now < 30 * DAY {
            match all.take(Class::Other, cost, &stamp(now)) {
                Ok(permit) => {
                    all.count_bytes(Class::Other, real, &stamp(now));
                    all.settle(permit, Outcome::Accepted, &stamp(now));
                    days[(now / DAY) as usize] += real;
                }
                Err(refused) => now += refused.wait_ms.expect("the time is known"),
            }
        }
        let sum: u64 = days.iter().sum();
        assert!((amount / 100 * 99..=amount).contains(&sum), "{expected} {real}: {sum}");
        let even = amount / 30 / 4 * 3..amount / 30 / 2 * 3;
        assert!(days.iter().all(|day| even.contains(day)), "{expected} {real}: {days:?}");
    }
}

#[test]
fn who_waits_for_a_pace_of_bytes_looks_seldom() {
    for amount in [1_000_000, 500_000_000, 5_000_000_000_000] {
        let mut all = budgets([Bound::BytesPerMonth(number(amount))], &[], &stamp(0));
        let cost = Cost { events: 1, bytes: amount / 50, spare: 0 };
        let (mut now, mut looks, mut sent) = (0, 0, 0);
        while now < 10 * DAY {
            looks += 1;
            match all.take(Class::Other, cost, &stamp(now)) {
                Ok(permit) => {
                    all.count_bytes(Class::Other, cost.bytes, &stamp(now));
                    all.settle(permit, Outcome::Accepted, &stamp(now));
                    sent += 1;
                }
                Err(refused) => now += refused.wait_ms.expect("the time is known"),
            }
        }
        assert!(looks < 300 && sent > 10, "{amount}: {looks} looks for {sent}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// Traffic of both classes at random, with restarts, wrong clocks and jumps of a trusted clock that last less than an
    /// hour: in no day and no month is more used than it has.
    #[test]
    fn no_period_is_ever_exceeded(
        amount in 1..3_000_u64,
        per_day in 2_000..200_000_u64,
        steps in prop::collection::vec(
            (0..12_u8, 0..40 * 3_600_000_u64, 1..2_000_u64, -3_000_000_000_000_i64..3_000_000_000_000), 1..300,
        ),
    ) {
        let bounds = || [events(amount), Bound::BytesPerDay(number(per_day)), Bound::EventsPerDay(number(40))];
        let (mut uptime, mut boot, mut wrong) = (0_u64, 1, None);
        let (mut all, mut kept) = (budgets(bounds(), &[], &stamp(0)), Vec::new());
        let mut counts = std::collections::BTreeMap::new();
        let (mut months, mut days) = (std::collections::BTreeMap::new(), std::collections::BTreeMap::new());
        for (what, pause, size, jump) in steps {
            // A jump is put right before it has stood for an hour.
            uptime += if wrong.is_some() { pause % 3_000_000 } else { pause };
            let right = NOVEMBER + uptime;
            let now = Stamp { wall_ms: right.saturating_add_signed(wrong.take().unwrap_or(0)), uptime_ms: uptime, boot, trusted: true };
            match what {
                0 => {
                    keep(&mut kept, all.notes(Urgency::Last, &now));
                    boot += 1;
                    let asleep = Stamp { wall_ms: jump.unsigned_abs(), trusted: false, boot, ..now };
                    all = budgets(bounds(), &kept, &asleep);
                }
                1 => {
                    // A boot's first trusted time is right: nothing else could tell.
                    all.time(&Stamp { wall_ms: right, ..now });
                    wrong = Some(jump);
                }
                _ => {
                    let class = if what < 6 { Class::First } else { Class::Other };
                    let trusted = what % 3 > 0 || now.wall_ms == right;
                    let now = Stamp { trusted, ..now };
                    let cost = Cost { events: 1, bytes: size, spare: 0 };
                    let count = if what % 2 == 0 { 20 } else { 1 };
                    for _ in 0..count {
                        let Ok(permit) = all.take(class, cost, &now) else { break };
                        all.count_bytes(Class::Other, size, &now);
                        all.settle(permit, Outcome::Counted, &now);
                        *months.entry(Span::Month.at(Calendar::Utc, right)).or_insert(0) += 1;
                        *counts.entry(Span::Day.at(Calendar::Utc, right)).or_insert(0) += 1;
                        *days.entry(Span::Day.at(Calendar::Utc, right)).or_insert(0) += size;
                    }
                }
            }
        }
        prop_assert!(months.values().all(|used| *used <= amount), "{months:?} of {amount}");
        prop_assert!(counts.values().all(|used| *used <= 40), "{counts:?}");
        prop_assert!(days.values().all(|used| *used <= per_day), "{days:?} of {per_day}");
    }

    /// Who is refused and comes back when told to is permitted, perhaps after being told again as the reserve shrinks; and
    /// was not permitted a millisecond before.
    #[test]
    fn nothing_is_withheld_longer_than_it_must(
        amount in 1..20_000_u64, begin in 0..29 * DAY, trusted in any::<bool>(),
        requests in prop::collection::vec((any::<bool>(), 0..40 * MINUTE), 1..80),
    ) {
        let at = |since: u64| Stamp { trusted, ..stamp(begin + since) };
        let mut all = budgets([events(amount), Bound::EventsPerMinute(number(7))], &[], &at(0));
        let mut now = 0;
        for (first, pause) in requests {
            now += pause;
            let class = if first { Class::First } else { Class::Other };
            let mut again = 0;
            while let Err(refused) = all.ask(class, event(), &at(now)) {
                let Some(wait) = refused.wait_ms else {
                    prop_assert!(!trusted, "{refused:?}");
                    return Ok(());
                };
                prop_assert!(wait > 0);
                prop_assert!(all.clone().ask(class, event(), &at(now + wait - 1)).is_err(), "{refused:?}");
                now += wait;
                again += 1;
                prop_assert!(again < 50, "{refused:?}");
            }
            let permit = all.take(class, event(), &at(now)).expect("it was asked");
            all.settle(permit, Outcome::Counted, &at(now));
        }
    }

    /// Whatever the others did, lanes that go first have what is kept for them.
    #[test]
    fn the_reserve_is_there_for_lanes_that_go_first(
        amount in 2..50_000_u64, hours in prop::collection::vec(1..30_u64, 1..40),
    ) {
        let mut all = budgets([events(amount)], &[], &stamp(0));
        let mut now = 0;
        for pause in hours {
            now += pause * 3_600_000;
            burst(&mut all, Class::Other, &stamp(now));
            let figures = all.figures(&stamp(now)).remove(0);
            let left = figures.left().expect("limited");
            prop_assert!(left >= figures.reserved && figures.reserved > 0, "{figures:?}");
        }
        let figures = all.figures(&stamp(now)).remove(0);
        let mut first = all.clone();
        prop_assert!(burst(&mut first, Class::First, &stamp(now)) >= (figures.reserved / 2).max(1), "{figures:?}");
    }

    /// A power cut at any moment forgets no more than a hundredth, or what was used within a minute.
    #[test]
    fn little_is_forgotten(steps in prop::collection::vec((0..20_000_u64, 1..40_u8), 1..200)) {
        let mut all = budgets([events(10_000)], &[], &stamp(0));
        let (mut now, mut noted, mut log) = (0, 0, Vec::new());
        for (pause, count) in steps {
            // Whoever is to note by itself is woken for that.
            let due = all.note_in(&stamp(now)).map(|wait| now + wait).filter(|due| *due <= now + pause);
            for moment in [due, Some(now + pause)].into_iter().flatten() {
                now = moment;
                noted = note(&mut all, now).unwrap_or(noted);
            }
            for _ in 0..count {
                let Ok(permit) = all.take(Class::First, event(), &stamp(now)) else { break };
                all.settle(permit, Outcome::Counted, &stamp(now));
                log.push(now);
                noted = note(&mut all, now).unwrap_or(noted);
                let forgotten = log.len() as u64 - noted;
                let recent = log.iter().filter(|at| **at + MINUTE > now).count() as u64;
                prop_assert!(forgotten <= 100 || forgotten <= recent, "{forgotten} {recent}");
            }
        }
    }

    /// Whoever stops where it is told to never exceeds a budget of bytes, whatever was expected: in no hour, no day and no
    /// month, with bytes that nobody asked for and looks that come late.
    #[test]
    fn no_budget_of_bytes_is_exceeded_by_what_nobody_expected(
        hour in 20_000..200_000_u64, day in 50_000..500_000_u64, month in 100_000..3_000_000_u64,
        steps in prop::collection::vec((0..4_u8, 0..3 * 3_600_000_u64, 0..60_000_u64), 1..400),
    ) {
        let bounds = [Bound::BytesPerHour(number(hour)), Bound::BytesPerDay(number(day)), Bound::BytesPerMonth(number(month))];
        let mut all = budgets(bounds, &[], &stamp(0));
        let (mut now, mut ceilings, mut total, mut seen) = (27 * DAY, [0_u64; 2], 0_u64, 0_u64);
        let mut passed: Vec<(u64, u64)> = Vec::new();
        for (what, pause, bytes) in steps {
            // The wire counts, up to where it was told at the last look, at any moment until the next.
            let class = if what < 2 { Class::First } else { Class::Other };
            let most = ceilings[usize::from(class == Class::Other)].saturating_sub(total);
            total += bytes.min(most);
            passed.push((now, bytes.min(most)));
            now += if what % 2 == 0 { pause } else { pause % 30_000 };
            all.count_bytes(class, total - seen, &stamp(now));
            seen = total;
            ceilings = [Class::First, Class::Other].map(|class| total + all.room(class, &stamp(now)).expect("limited"));
        }
        for (at, _) in &passed {
            let within = |from: u64, below: u64| passed.iter().filter(|(at, _)| (from..below).contains(at)).map(|(_, bytes)| bytes).sum::<u64>();
            prop_assert!(within(*at, at + 3_600_000) <= hour);
            prop_assert!(within(at / DAY * DAY, at / DAY * DAY + DAY) <= day);
            let begin = if *at < 30 * DAY { 0 } else { 30 * DAY };
            prop_assert!(within(begin, begin + 30 * DAY) <= month);
        }
    }
}
