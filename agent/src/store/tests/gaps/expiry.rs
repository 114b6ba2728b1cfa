//! The age limit.

use super::*;

const HOUR: u64 = 3_600_000;
const TODAY: u64 = 1_795_336_200_000;

fn limited(lane: LaneId, hours: u64) -> Options {
    let mut options = options();
    options.lanes[lane.index()].max_age = Some(Duration::from_millis(hours * HOUR));
    options
}

/// Turns until nothing more goes.
fn settle(gateway: &mut Gateway) {
    for _ in 0..50 {
        gateway.driven.turn();
    }
}

fn expired(gateway: &Gateway) -> Vec<u64> {
    gateway.store.stats().lanes.iter().map(|lane| lane.expired).collect()
}

#[test]
fn records_older_than_their_lane_allows_go_and_are_told_by_device() {
    let (faulty, disk) = faulty();
    let (mut gateway, _) = Gateway::open(&disk, &clock(), limited(NORMAL, 2));
    for number in 0..90 {
        assert!(gateway.publish(NORMAL, &format!("d-{}", number % 3), 500));
        gateway.publish(BULK, "d-9", 10);
        gateway.clock.advance(HOUR / 30);
    }
    settle(&mut gateway);
    // Three hours' worth, of which one is too old; within a segment it is exact.
    let gone = expired(&gateway)[1];
    assert!((29..=31).contains(&gone), "{gone}");
    assert_eq!((expired(&gateway)[2], gateway.store.cursor(NORMAL)), (0, gone));
    assert_eq!(gateway.left(NORMAL).values().sum::<u64>(), 90 - gone);
    let first: u64 = faulty.paths("lane-normal")[0]
        .file_name()
        .and_then(|name| name.to_string_lossy()[..16].parse().ok())
        .expect("a segment's name");
    assert!(first > gone - 10 && first <= gone, "segments that are wholly too old are deleted: {first}");
    let mut told = ToldEvents::new();
    told.append(&mut gateway.told());
    gateway.clock.set(stamp(gateway.clock.now().wall_ms + 100 * HOUR));
    settle(&mut gateway);
    assert_eq!((expired(&gateway)[1], gateway.store.stats().lanes[1].waiting), (90, 0));
    gateway.deliver_gaps(&mut told);
    let thirty = |device: &str| (device.to_owned(), 30);
    assert_eq!(sums(&told, "expired", "count"), BTreeMap::from(["d-0", "d-1", "d-2"].map(thirty)));
    assert_eq!(gateway.store.stats().lanes[2].waiting, 90);
}

#[test]
fn a_clock_that_jumps_from_1970_to_today_expires_nothing_that_is_young() {
    let (_, disk) = faulty();
    let clock = Arc::new(SetClock::at(Stamp { wall_ms: 5_000, uptime_ms: 5_000, boot: 1, trusted: false }));
    let (mut gateway, _) = Gateway::open(&disk, &clock, limited(NORMAL, 2));
    for _ in 0..20 {
        gateway.publish(NORMAL, "d-0", 500);
        clock.advance(1_000);
    }
    clock.set(Stamp { wall_ms: TODAY, uptime_ms: 30_000, boot: 1, trusted: true });
    settle(&mut gateway);
    assert_eq!(expired(&gateway), [0, 0, 0]);
    // By the uptime they do grow old.
    clock.set(Stamp { wall_ms: TODAY + 3 * HOUR, uptime_ms: 3 * HOUR, boot: 1, trusted: true });
    settle(&mut gateway);
    assert_eq!(expired(&gateway), [0, 20, 0]);
}

#[test]
fn within_a_boot_the_uptime_is_enough_and_no_clock_needs_to_be_right() {
    let (_, disk) = faulty();
    let untrusted = |uptime_ms| Stamp { wall_ms: uptime_ms, uptime_ms, boot: 1, trusted: false };
    let clock = Arc::new(SetClock::at(untrusted(0)));
    let (mut gateway, _) = Gateway::open(&disk, &clock, limited(NORMAL, 1));
    gateway.publish(NORMAL, "d-0", 10);
    clock.set(untrusted(HOUR));
    settle(&mut gateway);
    assert_eq!(expired(&gateway)[1], 0, "an hour is not older than an hour");
    clock.set(untrusted(HOUR + 1));
    settle(&mut gateway);
    assert_eq!(expired(&gateway)[1], 1);
}

#[test]
fn across_boots_an_age_is_known_only_with_right_clocks_on_both_sides() {
    for (before, after, goes) in [(true, true, true), (false, true, false), (true, false, false), (false, false, false)]
    {
        let (_, disk) = faulty();
        let clock = Arc::new(SetClock::at(Stamp { wall_ms: TODAY, uptime_ms: 9 * HOUR, boot: 1, trusted: before }));
        let (mut gateway, _) = Gateway::open(&disk, &clock, limited(NORMAL, 2));
        for _ in 0..20 {
            gateway.publish(NORMAL, "d-0", 500);
        }
        gateway.driven.close();
        drop(gateway.store);
        clock.set(Stamp { wall_ms: TODAY + 50 * HOUR, uptime_ms: 10_000, boot: 2, trusted: after });
        let (mut gateway, _) = Gateway::open(&disk, &clock, limited(NORMAL, 2));
        settle(&mut gateway);
        assert_eq!(expired(&gateway)[1], if goes { 20 } else { 0 }, "trusted before {before}, after {after}");
        assert_eq!(gateway.store.waiting(NORMAL).first(), if goes { 20 } else { 0 });
    }
}

#[test]
fn records_of_unknown_age_go_with_later_ones_that_are_too_old() {
    let (_, disk) = faulty();
    let clock = Arc::new(SetClock::at(Stamp { wall_ms: 0, uptime_ms: 1_000, boot: 1, trusted: false }));
    let (mut gateway, _) = Gateway::open(&disk, &clock, limited(NORMAL, 2));
    for _ in 0..30 {
        gateway.publish(NORMAL, "lost-in-time", 500);
    }
    gateway.driven.close();
    drop(gateway.store);
    clock.set(Stamp { wall_ms: 0, uptime_ms: 1_000, boot: 2, trusted: false });
    let (mut gateway, _) = Gateway::open(&disk, &clock, limited(NORMAL, 2));
    settle(&mut gateway);
    for _ in 0..30 {
        gateway.publish(NORMAL, "d-0", 500);
        clock.advance(60_000);
    }
    settle(&mut gateway);
    assert_eq!(expired(&gateway)[1], 0);
    clock.advance(2 * HOUR - 15 * 60_000);
    settle(&mut gateway);
    let gone = expired(&gateway)[1];
    assert!((30 + 14..=30 + 16).contains(&gone), "{gone}");
}

#[test]
fn what_is_to_be_delivered_again_does_not_expire_however_old_it_is() {
    let (_, disk) = faulty();
    let options = || Options { keep_delivered: Duration::from_millis(100 * HOUR), ..limited(NORMAL, 2) };
    let (mut gateway, _) = Gateway::open(&disk, &clock(), options());
    for _ in 0..40 {
        gateway.publish(NORMAL, "d-0", 500);
    }
    gateway.change(Change::Acknowledge { lane: NORMAL, from: 0, below: 40 });
    gateway.clock.advance(3 * HOUR);
    gateway.change(Change::Replay { lane: NORMAL, from: 10, below: 30 });
    for _ in 0..5 {
        gateway.publish(NORMAL, "d-1", 500);
    }
    settle(&mut gateway);
    assert_eq!((expired(&gateway)[1], gateway.store.stats().lanes[1].waiting), (0, 25));
    // A restart does not forget it; what came meanwhile grows old as ever.
    gateway.driven.close();
    drop(gateway.store);
    let clock = gateway.clock;
    clock.advance(3 * HOUR);
    let (mut gateway, _) = Gateway::open(&disk, &clock, options());
    settle(&mut gateway);
    assert_eq!((expired(&gateway)[1], gateway.store.stats().lanes[1].waiting), (5, 20));
    gateway.change(Change::Acknowledge { lane: NORMAL, from: 0, below: 45 });
    gateway.publish(NORMAL, "d-1", 500);
    gateway.clock.advance(3 * HOUR);
    settle(&mut gateway);
    assert_eq!((expired(&gateway)[1], gateway.store.stats().lanes[1].waiting), (6, 0));
}

#[test]
fn what_was_delivered_or_stands_behind_a_hole_does_not_expire_twice() {
    let (_, disk) = faulty();
    let (mut gateway, _) = Gateway::open(&disk, &clock(), limited(NORMAL, 2));
    for _ in 0..40 {
        gateway.publish(NORMAL, "d-0", 500);
    }
    gateway.change(Change::Acknowledge { lane: NORMAL, from: 10, below: 30 });
    gateway.clock.advance(3 * HOUR);
    settle(&mut gateway);
    assert_eq!((expired(&gateway)[1], gateway.store.stats().lanes[1].waiting), (20, 0));
    let mut told = ToldEvents::new();
    gateway.deliver_gaps(&mut told);
    assert_eq!(sums(&told, "expired", "count"), BTreeMap::from([("d-0".to_owned(), 20)]));
}

#[test]
fn an_age_limit_that_is_new_or_shorter_does_not_reach_back() {
    let (_, disk) = faulty();
    let clock = clock();
    let (mut gateway, _) = Gateway::open(&disk, &clock, options());
    for _ in 0..10 {
        assert!(gateway.publish(NORMAL, "d-1", 100));
    }
    drop(gateway);
    clock.advance(100 * HOUR);
    for hours in [50, 5, 60] {
        let (mut gateway, _) = Gateway::open(&disk, &clock, limited(NORMAL, hours));
        settle(&mut gateway);
        assert_eq!((expired(&gateway)[1], gateway.store.stats().lanes[1].waiting), (0, 10), "{hours} h");
    }
    // What comes from now on is under the limit, at this start and at later ones.
    let (mut gateway, _) = Gateway::open(&disk, &clock, limited(NORMAL, 60));
    assert!(gateway.publish(NORMAL, "d-1", 100) && gateway.publish(NORMAL, "d-1", 100));
    drop(gateway);
    clock.advance(61 * HOUR);
    let (mut gateway, _) = Gateway::open(&disk, &clock, limited(NORMAL, 60));
    settle(&mut gateway);
    assert_eq!((expired(&gateway)[1], gateway.store.stats().lanes[1].waiting), (2, 10));
}
