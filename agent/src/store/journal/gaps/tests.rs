use super::*;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

fn at(uptime_ms: u64) -> Stamp {
    Stamp { wall_ms: uptime_ms, uptime_ms, boot: 1, trusted: false }
}

fn key(cause: Cause, device: &str) -> Key {
    Key { cause, reason: None, lane: Some("normal".into()), device: Some(device.into()), epoch: Some("k3v9".into()) }
}

fn gap(key: Key, first: u64, count: u64) -> Gap {
    let span = Span {
        seqs: Some((first, first + count - 1)),
        times: Some((at(first), at(first + count - 1))),
        count,
        bytes: 10 * count,
        ..Span::default()
    };
    Gap { key, span }
}

fn total(gaps: &Gaps) -> u64 {
    let spans =
        gaps.known.values().flat_map(|known| known.pending.iter().chain(known.told.as_ref().map(|told| &told.span)));
    spans.map(|span| span.count).sum()
}

#[test]
fn what_goes_is_told_at_once_and_then_once_a_minute_when_the_last_record_was_delivered() {
    let (mut gaps, key) = (Gaps::default(), key(Cause::Evicted, "a"));
    gaps.add(&gap(key.clone(), 0, 5));
    assert_eq!(gaps.due(&at(1_000)).count(), 1);
    gaps.tell(&key, 0, 7, (1, 1_000));
    gaps.add(&gap(key.clone(), 5, 2));
    assert_eq!((gaps.due(&at(999_000)).count(), gaps.wait_ms(&at(999_000))), (0, None), "the last one still waits");
    gaps.deliver(0, 0, 7);
    gaps.deliver(1, 0, 8);
    assert_eq!(gaps.due(&at(999_000)).count(), 0, "others were delivered");
    gaps.deliver(0, 7, 8);
    assert_eq!((gaps.due(&at(60_999)).count(), gaps.wait_ms(&at(60_999))), (0, Some(1)));
    let due: Vec<_> = gaps.due(&at(61_000)).map(|(_, span)| (span.seqs, span.count, span.bytes)).collect();
    assert_eq!(due, [(Some((5, 6)), 2, 20)]);
    let other_boot = Stamp { boot: 2, ..at(5) };
    assert_eq!(gaps.due(&other_boot).count(), 1, "a restart took its time, too");
}

#[test]
fn a_lost_gap_record_is_told_with_the_next_and_says_whether_it_may_have_arrived() {
    for sent in [false, true] {
        let (mut gaps, key) = (Gaps::default(), key(Cause::Evicted, "a"));
        gaps.add(&gap(key.clone(), 0, 5));
        gaps.tell(&key, 0, 7, (1, 0));
        gaps.add(&gap(key.clone(), 9, 1));
        let unsent = Ranges::from(if sent { 8 } else { 7 });
        assert_eq!(gaps.perhaps_sent(0, 0, 100, &unsent), u64::from(sent));
        assert_eq!(gaps.lose(0, 0, 100, &unsent), 1);
        assert!(!gaps.tells(0, 7));
        let (_, span) = gaps.due(&at(60_000)).next().expect("it is due");
        assert_eq!((span.seqs, span.count, span.perhaps_told), (Some((0, 9)), 6, if sent { 5 } else { 0 }));
        assert_eq!(span.times, Some((at(0), at(9))));
    }
}

#[test]
fn a_lane_that_moves_takes_its_gap_records_along_and_one_that_goes_loses_them() {
    let (mut gaps, key) = (Gaps::default(), key(Cause::Evicted, "a"));
    gaps.add(&gap(key.clone(), 0, 5));
    gaps.tell(&key, 0, 7, (1, 0));
    gaps.arrange(|lane| Some(lane + 2));
    assert!(gaps.tells(2, 7));
    gaps.arrange(|_| None);
    assert_eq!(gaps.due(&at(70_000)).count(), 1);
}

#[test]
fn outsiders_cannot_crowd_out_what_the_store_has_to_tell() {
    let mut gaps = Gaps::default();
    for number in 0..10_000 {
        let refusal =
            Key { reason: Some("topic".into()), lane: None, epoch: None, ..key(Cause::Refused, &number.to_string()) };
        let span = Span { count: 1, ..Span::default() };
        gaps.add(&Gap { key: refusal, span });
    }
    assert_eq!((gaps.known.len(), total(&gaps)), (REFUSED_KEYS + 1, 10_000));
    gaps.add(&gap(key(Cause::Evicted, "pump"), 0, 1));
    assert!(gaps.known.contains_key(&key(Cause::Evicted, "pump")));
}

#[test]
fn whatever_is_told_apart_the_keys_are_bounded_and_nothing_is_left_out() {
    let mut gaps = Gaps::default();
    let mut added = 0;
    for number in 0..20_000_u64 {
        let cause = [Cause::Evicted, Cause::Damaged, Cause::Expired, Cause::PutAside][number as usize % 4];
        let lane = Some(format!("lane-{}", number / 7 % 250));
        let epoch = Some(format!("e-{}", number / 3 % 100));
        gaps.add(&gap(Key { lane, epoch, ..key(cause, &(number % 1000).to_string()) }, number, 1 + number % 3));
        added += 1 + number % 3;
        assert!(gaps.known.len() <= KEYS);
    }
    assert_eq!(total(&gaps), added);
    let largest = gaps.known.keys().map(|key| super::super::control::encode_value(key).len()).max();
    assert!(largest.is_some_and(|bytes| bytes < 200));
}

#[derive(Debug, Clone)]
enum Step {
    Add { key: u8, count: u8 },
    Pass { ms: u32 },
    Tell,
    Deliver { part: u8 },
    Lose { part: u8, sent: bool },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..6_u8, 1..20_u8).prop_map(|(key, count)| Step::Add { key, count }),
        3 => (0..50_000_u32).prop_map(|ms| Step::Pass { ms }),
        4 => Just(Step::Tell),
        2 => any::<u8>().prop_map(|part| Step::Deliver { part }),
        1 => (any::<u8>(), any::<bool>()).prop_map(|(part, sent)| Step::Lose { part, sent }),
    ]
}

proptest! {
    #[test]
    fn all_that_goes_is_told_once_and_no_more_often_than_once_a_minute(steps in prop::collection::vec(step(), 0..120)) {
        let (mut gaps, mut now, mut next, mut added) = (Gaps::default(), at(5), 0_u64, 0_u64);
        // What waits in lane 0: number to count; what was delivered; when each key was told last.
        let (mut waiting, mut delivered) = (BTreeMap::<u64, u64>::new(), 0);
        let (mut told_at, mut retold) = (BTreeMap::<Key, u64>::new(), false);
        for one in steps {
            match one {
                Step::Add { key: number, count } => {
                    gaps.add(&gap(key(Cause::Evicted, &number.to_string()), added, u64::from(count)));
                    added += u64::from(count);
                }
                Step::Pass { ms } => now.uptime_ms += u64::from(ms),
                Step::Tell => {
                    let due: Vec<_> = gaps.due(&now).map(|(key, span)| (key.clone(), span.clone())).collect();
                    let keys: BTreeSet<_> = due.iter().map(|(key, _)| key).collect();
                    prop_assert_eq!(keys.len(), due.len());
                    for (key, span) in due {
                        prop_assert!(span.perhaps_told == 0 || retold);
                        prop_assert!(span.seqs.is_some_and(|(first, last)| first <= last && last < added));
                        let last = told_at.insert(key.clone(), now.uptime_ms);
                        prop_assert!(last.is_none_or(|last| now.uptime_ms >= last + BETWEEN_MS));
                        waiting.insert(next, span.count);
                        gaps.tell(&key, 0, next, (1, now.uptime_ms));
                        next += 1;
                    }
                }
                Step::Deliver { part } | Step::Lose { part, .. } => {
                    let below = next * u64::from(part) / 255;
                    let rest = waiting.split_off(&below);
                    let gone = std::mem::replace(&mut waiting, rest);
                    if let Step::Lose { sent, .. } = one {
                        retold |= sent;
                        let unsent = Ranges::from(if sent { below } else { 0 });
                        prop_assert_eq!(gaps.lose(0, 0, below, &unsent), gone.len() as u64);
                    } else {
                        delivered += gone.values().sum::<u64>();
                        gaps.deliver(0, 0, below);
                    }
                }
            }
            prop_assert_eq!(delivered + total(&gaps), added);
            prop_assert!(waiting.keys().all(|seq| gaps.tells(0, *seq)));
        }
        let bytes = super::super::control::encode_value(&gaps);
        let read: Gaps = ciborium::from_reader(&bytes[..]).map_err(|error| TestCaseError::fail(error.to_string()))?;
        prop_assert_eq!(read, gaps);
    }
}
