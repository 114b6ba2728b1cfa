//! The power goes, or the disk fails, at any point while records go and are told of: no gap is lost once its data is.

use super::*;
use crate::store::disk::simulated::{Call, Fault, SimulatedDisk};

/// A store at its limit, with all that was published; the next records evict.
fn at_the_limit(seed: u64) -> (SimulatedDisk, Arc<SetClock>, BTreeMap<String, u64>) {
    let (disk, clock) = (SimulatedDisk::new(), clock());
    disk.seed(seed);
    let dynamic: Arc<dyn Disk> = Arc::new(disk.clone());
    let (mut gateway, _) = Gateway::open(&dynamic, &clock, options());
    let published = gateway.overflow(BULK, 1);
    gateway.driven.close();
    (disk, clock, published)
}

/// Publishes further, so that segments are evicted and told of; says what was answered, and what may be stored.
fn go_on(gateway: &mut Gateway, turns: u64) -> (BTreeMap<String, u64>, u64) {
    let (mut answered, mut doubtful) = (BTreeMap::new(), 0);
    for turn in 0..turns {
        let device = format!("d-{}", turn % 3);
        if gateway.publish(BULK, &device, 10_000) {
            *answered.entry(device).or_default() += 1;
        } else {
            doubtful += 1;
        }
        gateway.clock.advance(20_000);
    }
    (answered, doubtful)
}

/// All that was published and answered is there, or told of; says of how many the device was not told.
fn hold(
    disk: &SimulatedDisk,
    clock: &Arc<SetClock>,
    published: &BTreeMap<String, u64>,
    doubtful: u64,
    when: &str,
) -> u64 {
    let mut told = ToldEvents::new();
    let dynamic: Arc<dyn Disk> = Arc::new(disk.clone());
    let (mut gateway, _) = Gateway::open(&dynamic, clock, options());
    gateway.deliver_gaps(&mut told);
    let counted = added(&sums(&told, "evicted", "count"), &gateway.left(BULK));
    let unnamed = counted.get("").copied().unwrap_or(0);
    for (device, published) in published {
        let counted = unnamed + counted.get(device).copied().unwrap_or(0);
        assert!(
            counted >= *published,
            "{when}: {device} published {published}, {counted} are there or told of: {told:?}"
        );
    }
    let sum = |counts: &BTreeMap<String, u64>| counts.values().sum::<u64>();
    let (published, counted) = (sum(published), sum(&counted));
    assert!(
        (published..=published + doubtful).contains(&counted),
        "{when}: {published} published, {counted} there or told of: {told:?}"
    );
    unnamed
}

#[test]
fn a_power_cut_at_any_call_leaves_every_record_there_or_told_of_once() {
    for seed in 0..2 {
        let (disk, clock, before) = at_the_limit(seed);
        let now = clock.now();
        let mut calls = 0;
        loop {
            let fork = disk.fork();
            fork.seed(1000 * seed + u64::from(calls));
            clock.set(now);
            let dynamic: Arc<dyn Disk> = Arc::new(fork.clone());
            let (mut gateway, _) = Gateway::open(&dynamic, &clock, options());
            fork.die_after(calls);
            let (answered, doubtful) = go_on(&mut gateway, 12);
            let over = !fork.is_dead();
            drop(gateway);
            let published = added(&before, &answered);
            let unnamed = hold(&fork.cut(), &clock, &published, doubtful, &format!("seed {seed}, call {calls}"));
            assert_eq!(unnamed, 0, "a disk that can be read tells every device");
            if over {
                assert!(calls > 50, "only {calls} calls");
                break;
            }
            calls += 1;
        }
    }
}

#[test]
fn a_call_that_fails_once_loses_no_gap_and_doubles_none() {
    let (disk, clock, before) = at_the_limit(9);
    let now = clock.now();
    let calls = [
        Call::Sync,
        Call::Write,
        Call::ShortWrite,
        Call::SyncFolder,
        Call::Create,
        Call::Remove,
        Call::Read,
        Call::Open,
    ];
    for call in calls {
        for (part, skip) in
            ["lane-critical", "lane-bulk", "control"].into_iter().flat_map(|part| (0..8).map(move |skip| (part, skip)))
        {
            let fork = disk.fork();
            clock.set(now);
            let dynamic: Arc<dyn Disk> = Arc::new(fork.clone());
            let (mut gateway, _) = Gateway::open(&dynamic, &clock, options());
            fork.fail(Fault { call, part, errno: 5, skip, times: 1 });
            let (answered, doubtful) = go_on(&mut gateway, 15);
            fork.calm();
            gateway.driven.close();
            drop(gateway.store);
            let published = added(&before, &answered);
            let when = format!("{call:?} of {part} after {skip}");
            let unnamed = hold(&fork, &clock, &published, doubtful, &when);
            assert!(unnamed == 0 || matches!(call, Call::Read | Call::Open), "{when}: {unnamed} without a device");
        }
    }
}
