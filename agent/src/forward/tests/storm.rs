//! Everything that can go wrong, mixed.

use super::*;

/// One of everything that can go wrong, at random: whatever comes, good records arrive, in order where nothing is bad,
/// and only bad ones are put aside.
async fn storm(seed: u64) {
    let mut jitter = backoff::Jitter::new(seed);
    let mut percent = move || jitter.between(Duration::ZERO, Duration::from_micros(99)).as_micros();
    let bad = |lane: &str, seq: u64| lane == "normal" && seq % 97 == 13;
    let flux = flux::Flux::start(move |seen, _| {
        let lane = seen.header("x-tidegate-lane").unwrap_or_default().to_owned();
        match percent() {
            0..10 => Reply::Cut,
            10..15 => status(500),
            15..18 => status(404),
            _ if seen.body.len() > 20_000 => status(413),
            _ if seen.seqs().iter().any(|seq| bad(&lane, *seq)) => status(400),
            18..22 => Reply::Slow(Duration::from_millis(3)),
            _ => status(200),
        }
    })
    .await;
    let mut options = webhook(&flux);
    options.backoff = DelayRange { min: Duration::from_millis(1), max: Duration::from_millis(4) };
    options.probe = DelayRange { min: Duration::from_millis(2), max: Duration::from_millis(8) };
    let bench = Bench::start(options);
    for round in 0..20 {
        for lane in 0..3 {
            bench.publish(lane, numbers(round * 50..round * 50 + 50));
        }
        tokio::time::sleep(Duration::from_millis(seed % 7)).await;
    }
    let bad_ones = (0..1000).filter(|seq| bad("normal", *seq)).count() as u64;
    bench.until_settled(bad_ones).await;
    assert_eq!(bench.stop().await, 0);
    for name in ["critical", "normal", "bulk"] {
        let mut of_lane = flux.accepted();
        of_lane.retain(|seen| seen.header("x-tidegate-lane") == Some(name));
        // Gap records take numbers of `critical`, so what counts is what the records say.
        let events = of_lane.iter().flat_map(flux::Seen::events);
        let mut arrived: Vec<u64> = events.filter_map(|event| event["payload"]["n"].as_u64()).collect();
        if name == "normal" {
            arrived.sort_unstable();
        }
        assert_eq!(arrived, (0..1000).filter(|seq| !bad(name, *seq)).collect::<Vec<_>>(), "{name}, seed {seed}");
    }
}

#[tokio::test]
async fn whatever_goes_wrong_good_records_arrive_and_only_bad_ones_are_put_aside() {
    for seed in 0..6 {
        storm(seed).await;
    }
}
