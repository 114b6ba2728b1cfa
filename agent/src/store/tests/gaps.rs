//! What a flow is told of records that it will never see.

mod cuts;
mod expiry;

use super::*;
use crate::clock::SetClock;
use crate::store::disk::Disk;
use crate::store::journal::driven::Driven;
use std::collections::BTreeMap;
use tidegate_protocol::gap::{DEVICE, TOPIC};

/// Segments of this size, so that a few records fill one.
const SEGMENT: u64 = 4096;

/// A store whose writer and clock move when told.
struct Gateway {
    /// The writer goes before the handle, which waits for it.
    driven: Driven,
    store: Store,
    clock: Arc<SetClock>,
}

/// What a flow has been told, by `(epoch, seq)` of the gap event, so that a repeat of it counts once.
type ToldEvents = BTreeMap<(String, u64), serde_json::Value>;

fn clock() -> Arc<SetClock> {
    Arc::new(SetClock::at(stamp(1_000_000)))
}

impl Gateway {
    fn open(disk: &Arc<dyn Disk>, clock: &Arc<SetClock>, options: Options) -> (Self, Opened) {
        let clock = clock.clone();
        let options = Options { max_size: MIN_MAX_SIZE, clock: clock.clone(), ..options };
        let (driven, opened) = Driven::open(options, disk.clone(), Some(SEGMENT)).expect("the store opens");
        let in_flight = Arc::new(tokio::sync::Semaphore::new(IN_FLIGHT_BYTES));
        let store = Store { inner: Arc::new(Inner { shared: driven.shared(), in_flight }) };
        (Self { driven, store, clock }, opened)
    }

    /// Hands one record in and takes a turn; whether it was answered.
    fn publish(&mut self, lane: LaneId, device: &str, bytes: usize) -> bool {
        let mut one = Submission::new();
        let payload = vec![b'x'; bytes];
        one.push(lane, &NewRecord { device, payload: &payload, stamp: self.clock.now(), ..record(b"") });
        let mut done = send(&self.store, one);
        self.driven.turn();
        done.try_recv().is_ok()
    }

    fn change(&mut self, change: Change) {
        let mut one = Submission::new();
        one.change(change);
        self.store.submit(one);
        self.driven.turn();
    }

    /// Publishes of three devices until so many records were evicted; how many each device published.
    fn overflow(&mut self, lane: LaneId, evicted: u64) -> BTreeMap<String, u64> {
        let mut published = BTreeMap::new();
        while self.evicted() < evicted {
            let device = format!("d-{}", published.values().sum::<u64>() % 3);
            assert!(self.publish(lane, &device, 10_000));
            *published.entry(device).or_default() += 1;
            self.clock.advance(5_000);
        }
        published
    }

    fn evicted(&self) -> u64 {
        self.store.stats().lanes.iter().map(|lane| lane.evicted).sum()
    }

    /// Gap events that wait in lane 0.
    fn told(&self) -> ToldEvents {
        let (mut events, mut reader) = (ToldEvents::new(), self.store.reader(CRITICAL));
        let mut from = self.store.cursor(CRITICAL);
        loop {
            let chunk = reader.read(from, ALL).expect("the lane can be read");
            let Some(last) = chunk.last_seq() else { return events };
            for one in chunk.iter().filter(|one| one.topic == TOPIC) {
                assert_eq!(one.device, DEVICE);
                let payload = serde_json::from_slice(one.payload).expect("a gap record is JSON");
                events.insert((one.epoch.to_owned(), one.seq), payload);
            }
            from = last + 1;
        }
    }

    /// Delivers lane 0, minute by minute, until nothing more is told.
    fn deliver_gaps(&mut self, told: &mut ToldEvents) {
        for _ in 0..20 {
            self.clock.advance(60_000);
            self.driven.turn();
            told.append(&mut self.told());
            let below = self.store.stats().lanes[0].next;
            self.change(Change::Acknowledge { lane: CRITICAL, from: 0, below });
            if self.store.stats().gaps_pending == 0 {
                return;
            }
        }
        panic!("gaps are told again and again: {told:?}");
    }

    /// Records of each device that wait in a lane.
    fn left(&self, lane: LaneId) -> BTreeMap<String, u64> {
        let (waiting, mut reader) = (self.store.waiting(lane), self.store.reader(lane));
        let (mut from, mut left) = (waiting.first(), BTreeMap::new());
        loop {
            let chunk = reader.read(from, ALL).expect("the lane can be read");
            let Some(last) = chunk.last_seq() else { return left };
            for one in chunk.iter().filter(|one| one.topic != TOPIC && waiting.contains(one.seq)) {
                *left.entry(one.device.to_owned()).or_default() += 1;
            }
            from = last + 1;
        }
    }
}

fn faulty() -> (FaultyDisk, Arc<dyn Disk>) {
    let disk = FaultyDisk::default();
    (disk.clone(), Arc::new(disk))
}

/// The sum of a figure over all events of a cause, by device; of those without one under `""`.
fn sums(told: &ToldEvents, cause: &str, figure: &str) -> BTreeMap<String, u64> {
    let mut sums = BTreeMap::new();
    for event in told.values().filter(|event| event["cause"] == cause) {
        let device = event["device"].as_str().unwrap_or_default().to_owned();
        *sums.entry(device).or_default() += event[figure].as_u64().unwrap_or(0);
    }
    sums
}

fn added(one: &BTreeMap<String, u64>, other: &BTreeMap<String, u64>) -> BTreeMap<String, u64> {
    let mut sum = one.clone();
    for (device, count) in other {
        *sum.entry(device.clone()).or_default() += count;
    }
    sum
}

#[test]
fn what_is_evicted_is_told_by_device_and_no_more_than_once_a_minute_each() {
    let (_, disk) = faulty();
    let (mut gateway, _) = Gateway::open(&disk, &clock(), options());
    let published = gateway.overflow(BULK, 3);
    gateway.driven.turn();
    let first = gateway.told();
    assert!(!first.is_empty(), "the first is told at once");
    let published = added(&published, &gateway.overflow(BULK, 60));
    assert_eq!(gateway.told().len(), 3, "one for each device, while it waits");
    let mut told = ToldEvents::new();
    gateway.deliver_gaps(&mut told);
    assert_eq!(added(&sums(&told, "evicted", "count"), &gateway.left(BULK)), published);
    assert_eq!(sums(&told, "evicted", "bytes").values().sum::<u64>(), 10_000 * gateway.evicted());
    assert_eq!(sums(&told, "evicted", "perhaps_delivered").values().sum::<u64>(), 0);
    let stats = gateway.store.stats();
    assert_eq!((stats.gaps_told, stats.gaps_pending), (told.len() as u64, 0));
    let (lanes, epochs): (Vec<_>, Vec<_>) = told.values().map(|one| (&one["lane"], &one["epoch"])).unzip();
    assert!(lanes.iter().all(|lane| *lane == "bulk") && epochs.iter().all(|epoch| **epoch == stats.epoch), "{told:?}");
    let last = told.values().filter_map(|one| one["last_seq"].as_u64()).max();
    assert_eq!(last, Some(gateway.store.cursor(BULK) - 1));
}

#[test]
fn what_had_been_given_to_the_wire_is_told_as_perhaps_delivered() {
    let (_, disk) = faulty();
    let (mut gateway, _) = Gateway::open(&disk, &clock(), options());
    for _ in 0..5 {
        gateway.publish(BULK, "d-0", 10_000);
    }
    gateway.change(Change::Sent { lane: BULK, from: 0, below: 4 });
    gateway.change(Change::Acknowledge { lane: BULK, from: 0, below: 1 });
    gateway.overflow(BULK, 30);
    let mut told = ToldEvents::new();
    gateway.deliver_gaps(&mut told);
    assert_eq!(sums(&told, "evicted", "count").values().sum::<u64>(), gateway.evicted());
    assert_eq!(sums(&told, "evicted", "perhaps_delivered").values().sum::<u64>(), 3);
    assert!(told.values().any(|one| one["first_seq"] == 1), "what was acknowledged is no gap: {told:?}");
}

#[test]
fn more_devices_than_are_told_apart_are_told_together() {
    let (_, disk) = faulty();
    let (mut gateway, _) = Gateway::open(&disk, &clock(), options());
    let mut published = 0;
    while gateway.evicted() == 0 {
        let mut many = Submission::new();
        for number in 0..100 {
            let device = format!("sensor-{number}");
            many.push(
                BULK,
                &NewRecord { device: &device, payload: &[0; 100], stamp: gateway.clock.now(), ..record(b"") },
            );
            published += 1;
        }
        gateway.store.submit(many);
        gateway.driven.turn();
    }
    let mut told = ToldEvents::new();
    gateway.deliver_gaps(&mut told);
    let by_device = sums(&told, "evicted", "count");
    assert_eq!(by_device.values().sum::<u64>(), gateway.evicted());
    assert!(by_device.len() > 32 && by_device[""] > 0, "{} told apart", by_device.len());
    assert_eq!(gateway.left(BULK).values().sum::<u64>() + gateway.evicted(), published);
}

#[test]
fn refusals_and_records_put_aside_are_told_with_who_and_why() {
    let (_, disk) = faulty();
    let (mut gateway, _) = Gateway::open(&disk, &clock(), options());
    for (who, cause, count) in [("pump", "topic", 3), ("pump", "topic", 4), ("pump", "size", 1), ("", "topic", 2)] {
        gateway.change(Change::Refused(Refusal { cause: cause.into(), who: who.into(), count }));
    }
    gateway.publish(NORMAL, "valve", 77);
    gateway.change(Change::Sent { lane: NORMAL, from: 0, below: 1 });
    gateway.change(Change::PutAside { lane: NORMAL, seq: 0, reason: "422".into() });
    gateway.change(Change::Acknowledge { lane: NORMAL, from: 0, below: 1 });
    // Of what is no longer there, and of gap records, nothing is told.
    gateway.change(Change::PutAside { lane: NORMAL, seq: 0, reason: "422".into() });
    let gap = *gateway.told().keys().map(|(_, seq)| seq).next().expect("something is told");
    gateway.change(Change::PutAside { lane: CRITICAL, seq: gap, reason: "422".into() });
    gateway.change(Change::Acknowledge { lane: CRITICAL, from: gap, below: gap + 1 });
    let mut told = ToldEvents::new();
    gateway.deliver_gaps(&mut told);
    assert_eq!(sums(&told, "put-aside", "count"), BTreeMap::from([("valve".to_owned(), 1)]));
    let aside: Vec<_> = told.values().filter(|one| one["cause"] == "put-aside").collect();
    assert_eq!((&aside[0]["bytes"], &aside[0]["perhaps_delivered"]), (&77.into(), &serde_json::Value::Null));
    let reasons: std::collections::BTreeSet<_> =
        told.values().filter(|one| one["cause"] == "refused").map(|one| one["reason"].as_str()).collect();
    assert!(reasons.contains(&Some("size")) && reasons.contains(&Some("topic")), "{told:?}");
    let refused = sums(&told, "refused", "count");
    assert_eq!(refused[""], 2);
    assert_eq!(refused["pump"], 8 - 3, "the first was put aside itself, and is forgotten");
}

#[test]
fn damage_is_told_wherever_it_is_found_and_a_damaged_gap_record_is_told_again() {
    let (faulty, disk) = faulty();
    let clock = clock();
    let (mut gateway, _) = Gateway::open(&disk, &clock, options());
    for number in 0..60 {
        assert!(gateway.publish(NORMAL, &format!("d-{}", number % 2), 1000));
    }
    gateway.change(Change::Refused(Refusal { cause: "topic".into(), who: "pump".into(), count: 5 }));
    gateway.driven.turn();
    assert_eq!(gateway.told().len(), 1);
    gateway.driven.close();
    drop(gateway.store);
    // One byte within an older segment, one whole segment's heads, and the gap record, which lane 0 has alone.
    let paths = faulty.paths("lane-normal");
    for (path, range) in
        [(&paths[1], 2000..2001), (&paths[3], 0..1024), (&faulty.paths("lane-critical")[0], 1100..1101)]
    {
        let mut bytes = faulty.bytes(path);
        bytes[range].iter_mut().for_each(|byte| *byte ^= 0x55);
        faulty.replace(path, &bytes);
    }
    let (mut gateway, opened) = Gateway::open(&disk, &clock, options());
    let left = gateway.left(NORMAL);
    gateway.driven.turn();
    let mut told = ToldEvents::new();
    gateway.deliver_gaps(&mut told);
    let damaged = gateway.store.stats().lanes[1].damaged;
    assert!(damaged > 2, "{:?}", opened.report);
    assert_eq!(left.values().sum::<u64>() + damaged, 60);
    let sums_told = sums(&told, "damaged", "count");
    assert_eq!(sums_told, BTreeMap::from([(String::new(), damaged)]), "of lane normal alone: {told:?}");
    assert_eq!(sums(&told, "refused", "count"), BTreeMap::from([("pump".to_owned(), 5)]));
    assert!(told.values().all(|one| one["perhaps_told"].is_null()), "it was never sent");
}

#[test]
fn gap_records_that_are_evicted_are_told_again_and_make_no_gap() {
    let (_, disk) = faulty();
    let (mut gateway, _) = Gateway::open(&disk, &clock(), options());
    let published = gateway.overflow(CRITICAL, 300);
    assert!(gateway.store.stats().gaps_told > 3, "some were told and evicted");
    assert_eq!(gateway.store.stats().gaps_pending, 3);
    let mut told = ToldEvents::new();
    told.append(&mut gateway.told());
    let left = gateway.left(CRITICAL);
    gateway.change(Change::Sent { lane: CRITICAL, from: 0, below: gateway.store.stats().lanes[0].next });
    gateway.deliver_gaps(&mut told);
    assert_eq!(added(&sums(&told, "evicted", "count"), &left), published);
}

#[test]
fn a_store_that_loses_nothing_tells_nothing() {
    let (_, disk) = faulty();
    let (mut gateway, _) = Gateway::open(&disk, &clock(), options());
    for _ in 0..50 {
        gateway.publish(NORMAL, "d-0", 100);
        gateway.clock.advance(60_000);
    }
    let stats = gateway.store.stats();
    assert_eq!((stats.gaps_told, stats.gaps_pending, stats.lanes[0].next), (0, 0, 0));
}
