//! Tests of the gate with a clock that stands still until it is moved.

use std::num::NonZeroU64;

use super::*;

fn rate(bytes_per_second: u64, burst: u64) -> Rate {
    Rate::new(NonZeroU64::new(bytes_per_second).expect("more than nothing"), burst)
}

fn up(rate: Rate) -> Pace {
    Pace { up: Some(rate), down: None }
}

#[test]
fn two_segments_at_a_time_at_low_rates_and_ten_milliseconds_at_high_ones() {
    for (bytes_per_second, burst, expected) in [
        (4_000, 32_768, 3_000),
        (300_000, 32_768, 3_000),
        (1_000_000, 32_768, 10_000),
        (100_000_000, 10_000_000, 65_536),
        // A burst of two packets: one at a time, or the bucket would be full and overflow while the second gathers.
        (4_000, 3_000, 1_500),
        (1_000_000, 8_000, 4_000),
    ] {
        assert_eq!(hand_over(rate(bytes_per_second, burst), 1_500), expected, "{bytes_per_second} B/s, {burst} B");
    }
}

#[tokio::test(start_paused = true)]
async fn who_waits_goes_to_the_millisecond_and_a_new_pace_counts_at_once() {
    let gate = Arc::new(Gate::open());
    gate.pass(Direction::Up, Class::Other, 1_000_000).await;
    gate.set(up(rate(4_000, 3_000)));
    let start = Instant::now();
    gate.pass(Direction::Up, Class::Other, 3_000).await;
    assert_eq!(start.elapsed(), Duration::ZERO, "the burst");
    gate.pass(Direction::Up, Class::Other, 1_000).await;
    assert!(start.elapsed() <= Duration::from_millis(251), "{:?}", start.elapsed());

    let waiting = tokio::spawn({
        let gate = Arc::clone(&gate);
        async move { gate.pass(Direction::Up, Class::Other, 2_000).await }
    });
    tokio::time::sleep(Duration::from_millis(100)).await;
    gate.set(up(rate(400_000, 3_000)));
    let start = Instant::now();
    waiting.await.expect("it passes");
    assert!(start.elapsed() <= Duration::from_millis(5), "{:?}", start.elapsed());

    gate.set(up(rate(1, 3_000)));
    let waiting = tokio::spawn({
        let gate = Arc::clone(&gate);
        async move { gate.pass(Direction::Up, Class::Other, 30_000).await }
    });
    tokio::time::sleep(Duration::from_millis(1)).await;
    gate.set(Pace::default());
    let start = Instant::now();
    waiting.await.expect("nothing is limited any more");
    assert_eq!(start.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn critical_passes_one_that_waits_and_one_that_gives_up_holds_nobody_up() {
    let gate = Arc::new(Gate::open());
    gate.set(up(rate(1_000, 3_000)));
    gate.pass(Direction::Up, Class::Other, 3_000).await;
    let start = Instant::now();
    let pass = |class, bytes| {
        let gate = Arc::clone(&gate);
        tokio::spawn(async move {
            gate.pass(Direction::Up, class, bytes).await;
            start.elapsed()
        })
    };
    let first = pass(Class::Other, 2_000);
    let second = pass(Class::Other, 1_000);
    tokio::time::sleep(Duration::from_millis(500)).await;
    let critical = pass(Class::Critical, 1_000);
    let near = |took: Duration, millis: u64| took.abs_diff(Duration::from_millis(millis)) <= Duration::from_millis(5);
    let took = critical.await.expect("it passes");
    assert!(near(took, 1_000), "{took:?}");
    first.abort();
    let took = second.await.expect("it passes");
    assert!(near(took, 2_000), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn held_back_time_is_known_while_it_lasts_and_after() {
    let gate = Arc::new(Gate::open());
    gate.set(up(rate(1_000, 3_000)));
    gate.pass(Direction::Up, Class::Other, 3_000).await;
    let held = Arc::new(Held::default());
    let mut place = gate.place(Direction::Up, Class::Other, Arc::clone(&held));
    let waiting = tokio::spawn(async move {
        std::future::poll_fn(|cx| place.poll(|_| 2_000, cx)).await;
        tokio::time::sleep(Duration::from_secs(9)).await;
    });
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    assert!(held.total().abs_diff(Duration::from_millis(1_500)) <= Duration::from_millis(5));
    waiting.await.expect("it passes");
    assert!(held.total().abs_diff(Duration::from_secs(2)) <= Duration::from_millis(5));
}

#[tokio::test(start_paused = true)]
async fn what_the_kernel_has_not_sent_takes_up_the_burst_until_it_has() {
    let gate = Arc::new(Gate::open());
    gate.set(up(rate(1_000, 8_000)));
    gate.pass(Direction::Up, Class::Other, 8_000).await;
    gate.unsent(6_000);
    // The line is down for long; when it is back, what was kept leaves first.
    tokio::time::sleep(Duration::from_secs(60)).await;
    gate.unsent(0);
    let start = Instant::now();
    gate.pass(Direction::Up, Class::Other, 2_000).await;
    assert_eq!(start.elapsed(), Duration::ZERO);
    gate.pass(Direction::Up, Class::Other, 1_000).await;
    assert!(start.elapsed().abs_diff(Duration::from_secs(1)) <= Duration::from_millis(5), "{:?}", start.elapsed());
    // However much it keeps, a segment can leave.
    gate.unsent(100_000);
    tokio::time::sleep(Duration::from_secs(60)).await;
    gate.pass(Direction::Up, Class::Other, 1_500).await;
}

#[tokio::test(start_paused = true)]
async fn a_window_is_taken_from_the_bucket_and_what_of_it_was_not_used_is_given_back() {
    let gate = Arc::new(Gate::open());
    let pass = |bytes| gate.pass(Direction::Down, Class::Other, bytes);
    assert_eq!(gate.window(Class::Other, 0, true), None, "nothing is limited");
    gate.pass_window(Class::Other).await;
    gate.set(Pace { up: None, down: Some(rate(1_000, 15_000)) });
    gate.pass_window(Class::Other).await;
    // A segment is kept for letting in, one for critical connections; the fiftieth of a second is 20 bytes.
    assert_eq!(gate.window(Class::Other, 0, true), Some(7));
    assert_eq!(gate.window(Class::Other, 7, false), Some(7), "it is as large as can be");
    assert_eq!(gate.window(Class::Critical, 0, true), Some(1));
    let start = Instant::now();
    pass(3_000).await;
    assert_eq!(start.elapsed(), Duration::ZERO, "15,000 less eight segments");
    // However long it rests, no more gathers.
    tokio::time::sleep(Duration::from_secs(60)).await;
    let start = Instant::now();
    pass(4_000).await;
    assert!(start.elapsed().abs_diff(Duration::from_secs(1)) <= Duration::from_millis(5), "{:?}", start.elapsed());
    // Nothing is left: another connection waits for its window, of one segment.
    let start = Instant::now();
    gate.pass_window(Class::Other).await;
    assert!(
        start.elapsed().abs_diff(Duration::from_millis(1_500)) <= Duration::from_millis(5),
        "{:?}",
        start.elapsed()
    );
    assert_eq!(gate.window(Class::Other, 0, true), Some(1));
    // The first ends with half of its window unused, and what it had can be had by the other, when there are tokens.
    gate.close_window(Class::Other, 7, 5_000);
    assert_eq!(gate.window(Class::Other, 1, false), Some(1));
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(gate.window(Class::Other, 1, false), Some(7));
    let start = Instant::now();
    pass(3_000).await;
    assert_eq!(start.elapsed(), Duration::ZERO, "and again 15,000 less eight segments");
}
