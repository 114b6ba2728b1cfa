use proptest::prelude::*;

use super::*;
use crate::collect::mapping::Rule;

fn intake(version: Version, session: Option<u64>) -> (Intake, watch::Sender<Arc<Rules>>) {
    let rules = vec![Rule { topic: "d/{device}".into(), lane: LaneId(0) }];
    let (sender, rules) = watch::channel(Arc::new(Rules::new(rules, None).expect("valid")));
    let setup = Setup {
        version,
        session,
        unreleased: PacketIds::default(),
        subscribed: false,
        max_packet_size: 10_000,
        receive_maximum: 65_535,
        expiry_s: 0,
        rules,
        ear: crate::collect::devices::Ear::new(Arc::default()),
        identity: crate::collect::allow::Identity::default(),
    };
    (Intake::new(setup), sender)
}

/// Everything a sequence of rounds came to.
#[derive(Debug, Default, PartialEq)]
struct Sum {
    answers: Vec<u8>,
    at_once: Vec<u8>,
    records: usize,
    bytes: usize,
    refused: [u32; CAUSES],
    repeats: u32,
    credits: u32,
    end: Option<Step>,
}

impl Sum {
    fn add(&mut self, round: &Round) {
        self.answers.extend_from_slice(&round.answers);
        self.at_once.extend_from_slice(&round.at_once);
        self.records += round.submission.records();
        self.bytes += round.submission.bytes();
        for (sum, count) in self.refused.iter_mut().zip(round.refused) {
            *sum += count;
        }
        self.repeats += round.repeats;
        self.credits += round.credits;
    }
}

/// Feeds bytes in pieces, as a socket would give them, and keeps what is left as a connection does.
fn feed(intake: &mut Intake, bytes: &[u8], pieces: &[usize], budget: usize) -> Sum {
    let mut sum = Sum::default();
    let (mut input, mut rest) = (Vec::new(), bytes);
    let mut pieces = pieces.iter().cycle();
    while !rest.is_empty() && sum.end.is_none() {
        let piece = (*pieces.next().expect("endless")).min(rest.len());
        input.extend_from_slice(&rest[..piece]);
        rest = &rest[piece..];
        let mut allowed = budget;
        loop {
            let mut round = Round::default();
            let (taken, step) = intake.take(&input, allowed, Stamp::default(), &mut round);
            assert!(taken <= input.len());
            assert!(round.submission.bytes() <= allowed);
            input.drain(..taken);
            sum.add(&round);
            match step {
                Step::More(_) => break,
                Step::Full(need) => {
                    assert!(need > budget || round.submission.records() > 0, "full, and nothing in it");
                    allowed = need.max(budget);
                }
                step => {
                    sum.end = Some(step);
                    break;
                }
            }
        }
    }
    sum
}

fn packet(first: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first];
    if body.len() < 128 {
        bytes.push(body.len() as u8);
    } else {
        bytes.extend([(body.len() % 128) as u8 | 0x80, (body.len() / 128) as u8]);
    }
    bytes.extend_from_slice(body);
    bytes
}

fn publish(version: Version, qos: u8, id: u16, topic: &str, payload: &[u8]) -> Vec<u8> {
    let mut body = (topic.len() as u16).to_be_bytes().to_vec();
    body.extend_from_slice(topic.as_bytes());
    if qos > 0 {
        body.extend(id.to_be_bytes());
    }
    if version == Version::V5 {
        body.push(0);
    }
    body.extend_from_slice(payload);
    packet(0x30 | (qos << 1), &body)
}

fn packets(version: Version) -> impl Strategy<Value = Vec<Vec<u8>>> {
    let topic = prop::sample::select(vec!["d/a", "d/bb", "other", "d/a/b"]);
    let size = prop_oneof![4 => 0_usize..300, 1 => 4_000_usize..12_000];
    let one = prop_oneof![
        6 => (0_u8..3, 1_u16..6, topic, size)
            .prop_map(move |(qos, id, topic, size)| publish(version, qos, id, topic, &vec![7; size])),
        2 => (1_u16..6).prop_map(|id| packet(0x62, &id.to_be_bytes())),
        1 => Just(vec![0xc0, 0]),
        1 => Just(packet(0x82, match version {
            Version::V3 => b"\0\x01\0\x01a\0",
            Version::V5 => b"\0\x01\0\0\x01a\0",
        })),
    ];
    prop::collection::vec(one, 1..40)
}

proptest! {
    /// However the network cuts the bytes and however small the budget, the same is stored and answered.
    #[test]
    fn how_bytes_arrive_makes_no_difference(
        (version, packets) in prop_oneof![Just(Version::V3), Just(Version::V5)]
            .prop_flat_map(|version| (Just(version), packets(version))),
        pieces in prop::collection::vec(prop_oneof![1_usize..10, 1_usize..5_000], 1..10),
        budget in 1_usize..2_000,
    ) {
        let bytes = packets.concat();
        let whole = feed(&mut intake(version, Some(1)).0, &bytes, &[bytes.len()], usize::MAX);
        let pieces = feed(&mut intake(version, Some(1)).0, &bytes, &pieces, budget);
        prop_assert_eq!(&whole, &pieces);
        if version == Version::V3 {
            prop_assert_eq!(whole.end, None, "all of these are allowed");
        }
    }

    /// A bound that the specification draws: one answer for each packet that wants one, in order.
    #[test]
    fn every_packet_is_answered_once_in_order(packets in packets(Version::V3)) {
        let sum = feed(&mut intake(Version::V3, None).0, &packets.concat(), &[1_000], 1_000_000);
        let mut expected = Vec::new();
        for packet in &packets {
            let start = if packet[1] & 0x80 == 0 { 2 } else { 3 };
            let topic = usize::from(packet.get(start + 1).copied().unwrap_or(0));
            match packet[0] {
                0x32 => expected.extend([&[0x40, 2][..], &packet[start + 2 + topic..start + 4 + topic]].concat()),
                0x34 => expected.extend([&[0x50, 2][..], &packet[start + 2 + topic..start + 4 + topic]].concat()),
                0x62 => expected.extend([&[0x70, 2][..], &packet[2..4]].concat()),
                0x82 => expected.extend([0x90, 3, 0, 1, 0x80]),
                _ => {}
            }
        }
        prop_assert_eq!(sum.answers, expected);
    }

    #[test]
    fn no_bytes_make_it_panic(
        bytes in prop::collection::vec(any::<u8>(), 0..600),
        first in prop::sample::select(vec![0x30_u8, 0x32, 0x34, 0x3d, 0x62, 0x82, 0xa2, 0xe0, 0x10, 0xf0]),
        v5 in any::<bool>(),
    ) {
        let version = if v5 { Version::V5 } else { Version::V3 };
        feed(&mut intake(version, None).0, &bytes, &[7], 500);
        feed(&mut intake(version, None).0, &packet(first, &bytes), &[100], 500);
        // With a topic and properties before the noise it reaches further.
        let mut body = b"\0\x03d/a\0\x01".to_vec();
        body.push(bytes.len().min(100) as u8);
        body.extend_from_slice(&bytes);
        feed(&mut intake(version, None).0, &packet(first, &body), &[1_000], 500);
    }
}

#[test]
fn a_release_of_a_lasting_session_is_a_change_and_of_another_is_none() {
    for (session, changes) in [(Some(3), true), (None, false)] {
        let (mut intake, _rules) = intake(Version::V3, session);
        let mut round = Round::default();
        intake.take(&publish(Version::V3, 2, 5, "d/a", b"x"), 1_000, Stamp::default(), &mut round);
        let mut round = Round::default();
        intake.take(&[0x62, 2, 0, 5], 1_000, Stamp::default(), &mut round);
        assert_eq!(!round.submission.is_empty(), changes, "PUBCOMP must wait for it");
        assert_eq!(round.answers, [0x70, 2, 0, 5]);
    }
}

#[test]
fn refusals_of_a_round_are_one_change_for_each_cause() {
    let (mut intake, _rules) = intake(Version::V3, None);
    let mut round = Round::default();
    let bytes = publish(Version::V3, 1, 1, "other", b"x").repeat(50);
    intake.take(&bytes, 1_000, Stamp::default(), &mut round);
    assert_eq!((round.refused, round.submission.is_empty()), ([50, 0, 0, 0], true));
    round.close("client");
    assert!(!round.submission.is_empty());
    assert_eq!(round.answers.len(), 200);
}

#[test]
fn what_names_a_device_is_refused_as_that_devices_and_all_else_as_the_clients() {
    let (mut intake, sender) = intake(Version::V3, None);
    let rule = Rule { topic: "d/{device}".into(), lane: LaneId(0) };
    let rules = Rules::new(vec![rule], None).expect("valid").only(["a*"]);
    sender.send(Arc::new(rules)).expect("it is heard");
    let mut round = Round::default();
    let topics = ["d/b", "d/b", "other", "d/c"].map(str::to_owned);
    for topic in topics.into_iter().chain((0..2 * DEVICES).map(|n| format!("d/more{n}"))) {
        intake.take(&publish(Version::V3, 1, 1, &topic, b"x"), 1_000, Stamp::default(), &mut round);
    }
    round.close("client");
    let told: Vec<(&str, &str, u32)> = round
        .submission
        .changes()
        .iter()
        .filter_map(|(_, change)| match change {
            Change::Refused(Refusal { cause, who, count }) => Some((cause.as_str(), who.as_str(), *count)),
            _ => None,
        })
        .collect();
    assert_eq!(told[..2], [("device", "b", 2), ("device", "c", 1)]);
    let beyond = DEVICES as u32 + 2;
    assert_eq!(told[DEVICES..], [("topic", "client", 1), ("device", "client", beyond)], "a round is bounded");
    assert_eq!(told.iter().map(|(.., count)| count).sum::<u32>(), round.refused.iter().sum::<u32>());
}

#[test]
fn a_lasting_session_is_kept_anew_each_time_its_subscription_changes_and_only_then() {
    let subscribe = [&[0x82, 19, 0, 1, 0, 14][..], b"tidegate/alarm", &[0]].concat();
    let unsubscribe = [&[0xa2, 18, 0, 2, 0, 14][..], b"tidegate/alarm"].concat();
    let (mut lasting, _rules) = intake(Version::V3, Some(3));
    let kept = |subscribed| record(3, "c", 0, None, subscribed);
    assert_eq!(lasting.changed_subscription("c"), None);
    for (packet, expected) in
        [(&subscribe, Some(kept(true))), (&subscribe, None), (&unsubscribe, Some(kept(false))), (&unsubscribe, None)]
    {
        feed(&mut lasting, packet, &[100], 1_000);
        assert_eq!(lasting.changed_subscription("c"), expected);
    }
    let (mut clean, _rules) = intake(Version::V3, None);
    feed(&mut clean, &subscribe, &[100], 1_000);
    assert_eq!(clean.changed_subscription("c"), None);
}
