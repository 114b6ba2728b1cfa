//! Budgets of bytes and rates together: the one costs nothing of the other.

use super::down::{Down, begin_down, weigh_down_of};
use super::*;

/// More than any run sends.
const PLENTY: &str = "\"10 GB\"";

/// A full request's body with its headers.
const REQUEST: u64 = 72_000;

/// What at most is left of a budget when the next full request finds no room: as much as that needs, and what the door
/// keeps back.
const UNUSED: u64 = REQUEST + 30_000;

fn with_plenty(mut line: Line) -> Line {
    line.agent.setup.set("limits", "bytes_per_hour", PLENTY);
    line
}

fn up(bits_per_second: u64, tls: bool) -> Weighed {
    let length = Duration::from_secs(20);
    let line = with_plenty(Line::make(bits_per_second, tls, bits_per_second / 8 * (length.as_secs() + 20)));
    weigh_up(line, format!("{bits_per_second} bit/s and a budget of bytes, TLS {tls}"), bits_per_second, length)
}

fn down(bits_per_second: u64, tls: bool, budget: bool) -> Weighed {
    let down = Down { bits_per_second, tls, burst: None, round_trip: None };
    let mut line = begin_down(Pair::make(), down);
    if budget {
        line = with_plenty(line);
    }
    weigh_down_of(line, down, Duration::from_secs(20))
}

#[test]
fn a_budget_of_bytes_that_is_not_used_up_takes_nothing_of_a_rate() {
    let faults: Vec<String> = std::thread::scope(|scope| {
        let ups = [(128_000, false), (128_000, true), (2_000_000, true), (8_000_000, false)];
        let ups = ups.map(|(rate, tls)| scope.spawn(move || up(rate, tls)));
        let downs = [(32_000, false), (128_000, true), (2_000_000, false)];
        let downs = downs.map(|(rate, tls)| scope.spawn(move || down(rate, tls, true)));
        let runs: Vec<_> = ups.into_iter().chain(downs).collect();
        runs.into_iter()
            .flat_map(|run| run.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)).faults())
            .collect()
    });
    assert!(faults.is_empty(), "{faults:#?}");
}

/// Sends until nothing more may leave, and says what passed by the interface's count.
fn to_its_end(amount: u64, bits_per_second: Option<u64>, tls: bool, path: Option<u64>) {
    let what = format!("{amount} bytes, rate {bits_per_second:?}, TLS {tls}, path {path:?}");
    let mut line = Line::make(2_000_000, tls, 16 << 20);
    if let Some(path) = path {
        line.pair.narrow(path);
    }
    let setup = &mut line.agent.setup;
    setup.without("limits").set("limits", "events_per_month", "\"unlimited\"");
    setup.set("limits", "bytes_per_hour", &format!("\"{amount} B\""));
    if let Some(rate) = bits_per_second {
        for way in ["rate", "rate_down"] {
            setup.set("limits", way, &format!("\"{rate} bit/s\""));
        }
    }
    setup.rule("topic = \"devices/{device}/alarm\"\nlane = \"critical\"");
    line.agent.start();
    let used_up = |line: &Line| {
        let held = line.agent.status()["budgets"]["held"].clone();
        held.as_array().is_some_and(|held| held.iter().any(|held| held["limit"] == "bytes_per_hour"))
    };
    wait::until("the budget is used up", Duration::from_secs(90), || used_up(&line));
    let settled = Instant::now() + Duration::from_secs(5);
    wait::until("nothing more passes", wait::BOUND, || Instant::now() >= settled);
    let passed = |line: &Line| {
        let counted = line.pair.counted();
        counted.sent + counted.received
    };
    let at_the_hold = passed(&line);
    // A power cut and a restart give nothing back; a larger budget does, in mid-run, and so does none.
    line.agent.kill();
    line.agent.start();
    wait::until("it is used up still", wait::BOUND, || used_up(&line));
    let after_the_restart = passed(&line);
    let said = line.agent.status();
    let budgets = said["budgets"]["budgets"].clone();
    let hour = budgets.as_array().and_then(|all| all.iter().find(|one| one["kind"] == "bytes_per_hour"));
    let used = hour.and_then(|hour| hour["used"].as_u64()).expect("it is limited");
    println!("{what}: {at_the_hold} passed by the interface, {after_the_restart} after a restart, used {used}");
    assert!(after_the_restart <= amount, "{what}: {after_the_restart}");
    // What the queue of a narrow path drops was sent as far as the kernel tells, and never passed the interface.
    let dropped = if path.is_some() { amount / 5 } else { 0 };
    assert!(at_the_hold + UNUSED + dropped >= amount * 9 / 10, "{what}: {at_the_hold}");
    assert!(used + amount / 50 >= after_the_restart, "{what}: {used} used, {after_the_restart} passed");
    let requests = line.flux.requests();
    line.agent.setup.set("limits", "bytes_per_hour", &format!("\"{} B\"", 2 * amount));
    line.agent.reload();
    line.flux.wait_for_requests(requests + 2);
    wait::until("the larger one is used up", Duration::from_secs(90), || used_up(&line));
    let settled = Instant::now() + Duration::from_secs(5);
    wait::until("nothing more passes", wait::BOUND, || Instant::now() >= settled);
    let twice = passed(&line);
    println!("{what}: {twice} of {} after more was allowed", 2 * amount);
    assert!(twice <= 2 * amount && twice + UNUSED + REQUEST + 2 * dropped >= 2 * amount * 9 / 10, "{what}: {twice}");
    let requests = line.flux.requests();
    line.agent.setup.without("limits").set("limits", "events_per_month", "\"unlimited\"");
    line.agent.reload();
    line.flux.wait_for_requests(requests + 5);
}

#[test]
fn no_more_than_a_budget_passes_whatever_the_rate_and_more_once_more_is_allowed() {
    std::thread::scope(|scope| {
        let runs = [
            (700_000, None, false, None),
            (700_000, None, true, None),
            (700_000, Some(512_000), false, None),
            (700_000, Some(512_000), true, None),
            (200_000, Some(64_000), true, None),
            // Here some is dropped and sent again.
            (400_000, None, true, Some(256_000)),
            (400_000, Some(2_000_000), false, Some(256_000)),
        ];
        let runs = runs.map(|(amount, rate, tls, path)| scope.spawn(move || to_its_end(amount, rate, tls, path)));
        for run in runs {
            run.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        }
    });
}

/// What comes in, in bytes a second, while a budget is set and taken away again; on one connection.
fn with_a_budget_between(rate: Option<u64>) -> [f64; 3] {
    let down = Down { bits_per_second: rate.unwrap_or(2_000_000), tls: false, burst: None, round_trip: None };
    let mut line = begin_down(Pair::make_long(Duration::from_millis(60)), down);
    if rate.is_none() {
        line.agent.setup.without("limits").set("limits", "events_per_month", "\"unlimited\"");
    }
    line.agent.start();
    line.flux.wait_for_requests(3);
    let measure = |line: &Line| {
        // The request under way, and what Linux needs to open a window, are no part of it.
        let begun = Instant::now() + Duration::from_secs(3);
        wait::until("it runs", wait::BOUND, || Instant::now() >= begun);
        let at = |line: &Line| (Instant::now(), line.pair.counted().received);
        let before = at(line);
        let end = Instant::now() + Duration::from_secs(6);
        wait::until("the time is over", wait::BOUND, || Instant::now() >= end);
        let after = at(line);
        (after.1 - before.1) as f64 / (after.0 - before.0).as_secs_f64()
    };
    let limit = |line: &mut Line, budget: Option<&str>| {
        let (mut kept, key) = (line.agent.setup.text(), "bytes_per_hour");
        if let Some(budget) = budget {
            kept = kept.replace("[limits]\n", &format!("[limits]\n{key} = {budget}\n"));
        }
        std::fs::write(line.agent.setup.folder().join("tidegate.toml"), kept).expect("a configuration");
        line.agent.signal_reload();
    };
    let without = measure(&line);
    limit(&mut line, Some(PLENTY));
    let with = measure(&line);
    limit(&mut line, None);
    let again = measure(&line);
    println!("rate {rate:?}: {without:.0} B/s without a budget, {with:.0} with one, {again:.0} without it again");
    println!("{}", line.agent.status()["line"]);
    [without, with, again]
}

#[test]
fn answers_come_as_fast_as_before_once_a_budget_is_taken_away() {
    std::thread::scope(|scope| {
        let runs: Vec<_> =
            [None, Some(512_000), Some(2_000_000)].map(|rate| scope.spawn(move || with_a_budget_between(rate))).into();
        for run in runs {
            let [without, _, again] = run.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            assert!(again >= without * 0.7, "{without} B/s before, {again} afterwards");
        }
    });
}

#[test]
fn an_alarm_passes_a_full_backlog_within_a_second_under_a_budget_of_bytes_too() {
    std::thread::scope(|scope| {
        let make = |tls| with_plenty(Line::make(32_000, tls, 16 << 20));
        let runs: Vec<_> = [false, true].map(|tls| scope.spawn(move || alarms_over(make(tls), tls))).into();
        for run in runs {
            run.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        }
    });
}
