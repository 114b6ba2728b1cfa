use proptest::prelude::*;

use super::*;

const LIMITS: Limits = Limits { max_sessions: 3, max_age_s: 100 };

fn at(seconds: u64) -> Now {
    Now { monotonic_ms: seconds * 1_000, wall_ms: 1_000_000 + seconds * 1_000 }
}

fn empty() -> Sessions {
    Sessions::restore(LIMITS, Vec::new(), 1, at(0)).0
}

fn kept(id: u64, client: &str, disconnected_ms: Option<u64>, unreleased: &[u16]) -> KeptSession {
    let record = SessionRecord { id, client_id: client.into(), expiry_s: 50, disconnected_ms, subscribed: false };
    KeptSession { record, unreleased: unreleased.to_vec() }
}

#[test]
fn a_new_session_is_committed_before_it_is_promised() {
    let granted = empty().join("a", false, u32::MAX, at(0)).expect("room");
    assert!(granted.wait && !granted.present);
    assert_eq!(granted.expiry_s, LIMITS.max_age_s);
    let record =
        SessionRecord { id: 1, client_id: "a".into(), expiry_s: 100, disconnected_ms: None, subscribed: false };
    assert_eq!(granted.changes, [Change::Session(record)]);
}

#[test]
fn a_session_is_found_again_with_what_was_not_released() {
    let mut table = empty();
    let mut session = table.join("a", false, 50, at(0)).expect("room").session.expect("lasting");
    session.unreleased.insert(7);
    let left = table.leave("a", session, 50, at(10));
    let record = SessionRecord {
        id: 1,
        client_id: "a".into(),
        expiry_s: 50,
        disconnected_ms: Some(1_010_000),
        subscribed: false,
    };
    assert_eq!(left, Some(Change::Session(record)));
    let granted = table.join("a", false, 50, at(20)).expect("room");
    assert!(granted.present && !granted.wait);
    assert!(granted.session.expect("lasting").unreleased.contains(7));
}

#[test]
fn a_session_is_found_again_after_a_restart() {
    let (mut table, changes) = Sessions::restore(LIMITS, vec![kept(9, "a", None, &[3, 4])], 5, at(0));
    assert_eq!(changes, []);
    let granted = table.join("a", false, 50, at(1)).expect("room");
    assert!(granted.present);
    let session = granted.session.expect("lasting");
    assert_eq!((session.id, session.unreleased.len()), (9, 2));
    assert_eq!(table.join("b", false, 50, at(1)).expect("room").session.expect("lasting").id, 10);
}

#[test]
fn a_clean_start_ends_the_old_session_before_it_is_answered() {
    let (mut table, _) = Sessions::restore(LIMITS, vec![kept(9, "a", None, &[3])], 10, at(0));
    let granted = table.join("a", true, 0, at(1)).expect("room");
    assert_eq!(
        granted,
        Granted { session: None, present: false, expiry_s: 0, changes: vec![Change::SessionEnd { id: 9 }], wait: true }
    );
    assert!(table.is_empty());
}

#[test]
fn a_clean_start_may_begin_a_new_lasting_session() {
    let (mut table, _) = Sessions::restore(LIMITS, vec![kept(9, "a", None, &[3])], 10, at(0));
    let granted = table.join("a", true, 60, at(1)).expect("room");
    assert_eq!(granted.changes.len(), 2);
    let session = granted.session.expect("lasting");
    assert!(session.id == 10 && session.unreleased.is_empty() && !granted.present);
}

#[test]
fn a_session_ends_when_its_time_is_over() {
    let mut table = empty();
    let session = table.join("a", false, 50, at(0)).expect("room").session.expect("lasting");
    assert_eq!(table.expire(at(1_000)), [], "a connected one has no age");
    table.leave("a", session, 50, at(1_000));
    assert_eq!(table.expire(at(1_049)), []);
    assert!(!table.join("a", false, 50, at(1_050)).expect("room").present, "not found even before it was cleared away");
    let session = table.join("b", false, 50, at(0)).expect("room").session.expect("lasting");
    table.leave("b", session, 50, at(2_000));
    assert_eq!(table.expire(at(2_050)), [Change::SessionEnd { id: 3 }]);
}

#[test]
fn a_disconnect_may_shorten_or_end_a_session() {
    let mut table = empty();
    let session = table.join("a", false, 50, at(0)).expect("room").session.expect("lasting");
    assert_eq!(table.leave("a", session, 0, at(1)), Some(Change::SessionEnd { id: 1 }));
    assert!(!table.join("a", false, 50, at(2)).expect("room").present);
}

#[test]
fn the_session_longest_alone_makes_room() {
    let mut table = empty();
    for (client, left) in [("a", 1), ("b", 2), ("c", 3)] {
        let session = table.join(client, false, 90, at(0)).expect("room").session.expect("lasting");
        table.leave(client, session, 90, at(left));
    }
    let granted = table.join("d", false, 90, at(5)).expect("room");
    assert_eq!(granted.changes[0], Change::SessionEnd { id: 1 });
    assert_eq!(table.len(), 3);
}

#[test]
fn a_connected_session_never_makes_room() {
    let mut table = empty();
    for client in ["a", "b", "c"] {
        assert!(table.join(client, false, 90, at(0)).is_ok());
    }
    assert_eq!(table.join("d", false, 90, at(0)), Err(Full(3)));
    assert!(table.join("d", true, 0, at(0)).is_ok(), "a session that does not last needs no room");
}

#[test]
fn too_many_at_start_end_with_those_longest_gone() {
    let found = vec![
        kept(1, "a", None, &[]),
        kept(2, "b", Some(5), &[]),
        kept(3, "c", Some(3), &[]),
        kept(4, "d", Some(4), &[]),
        kept(5, "e", Some(9), &[]),
    ];
    let (table, changes) = Sessions::restore(LIMITS, found, 6, at(0));
    assert_eq!(changes, [Change::SessionEnd { id: 3 }, Change::SessionEnd { id: 4 }]);
    assert_eq!(table.len(), 3);
}

/// What a client does next.
#[derive(Debug, Clone)]
enum Step {
    Join {
        client: u8,
        clean: bool,
        expiry_s: u32,
    },
    Publish {
        client: u8,
        id: u16,
    },
    Release {
        client: u8,
        id: u16,
    },
    Leave {
        client: u8,
    },
    Wait {
        seconds: u64,
    },
    Expire,
    /// The power is cut; the store knows what was committed.
    Restart,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let client = 0_u8..6;
    let expiry = prop::sample::select(vec![0, 10, 60, u32::MAX]);
    prop::collection::vec(
        prop_oneof![
            (client.clone(), any::<bool>(), expiry).prop_map(|(client, clean, expiry_s)| Step::Join {
                client,
                clean,
                expiry_s
            }),
            (client.clone(), 1_u16..5).prop_map(|(client, id)| Step::Publish { client, id }),
            (client.clone(), 1_u16..5).prop_map(|(client, id)| Step::Release { client, id }),
            client.prop_map(|client| Step::Leave { client }),
            (0_u64..40).prop_map(|seconds| Step::Wait { seconds }),
            Just(Step::Expire),
            Just(Step::Restart),
        ],
        1..120,
    )
}

/// What a store makes of the changes.
#[derive(Default)]
struct Disk(HashMap<u64, KeptSession>);

impl Disk {
    fn commit(&mut self, changes: &[Change]) {
        for change in changes {
            match change {
                Change::Session(record) => {
                    let kept = KeptSession { record: record.clone(), unreleased: Vec::new() };
                    self.0.entry(record.id).or_insert(kept).record = record.clone();
                }
                Change::SessionEnd { id } => {
                    assert!(self.0.remove(id).is_some(), "only what is known ends");
                }
                other => panic!("a session table does not make {other:?}"),
            }
        }
    }
}

proptest! {
    /// Whatever clients do, the table and the disk say the same, no bound is passed, no number is used twice, and a
    /// client that comes back in time finds exactly what it had not released.
    #[test]
    fn what_was_promised_is_kept(steps in steps()) {
        let mut table = empty();
        let mut disk = Disk::default();
        let mut held: HashMap<String, (Session, u32)> = HashMap::new();
        let mut expected: HashMap<String, (u64, PacketIds, u64, u32)> = HashMap::new();
        let mut used = std::collections::HashSet::new();
        let mut now = 0;
        for step in steps {
            match step {
                Step::Join { client, clean, expiry_s } => {
                    let name = format!("c{client}");
                    if held.contains_key(&name) {
                        continue;
                    }
                    let before = expected.remove(&name);
                    match table.join(&name, clean, expiry_s, at(now)) {
                        Ok(granted) => {
                            disk.commit(&granted.changes);
                            prop_assert!(granted.expiry_s <= LIMITS.max_age_s);
                            if let (Some((id, unreleased, since, life)), false) = (before, clean) {
                                let evicted = !granted.present && now - since < u64::from(life);
                                prop_assert!(!evicted, "forgotten in time");
                                if let (Some(session), true) = (&granted.session, granted.present) {
                                    prop_assert_eq!(session.id, id);
                                    prop_assert_eq!(&session.unreleased, &unreleased);
                                }
                            }
                            if let Some(session) = granted.session {
                                prop_assert!(granted.present || used.insert(session.id), "a number used twice");
                                held.insert(name, (session, granted.expiry_s));
                            }
                            // Whoever made room is no longer expected.
                            expected.retain(|_, (id, ..)| disk.0.contains_key(id));
                        }
                        Err(Full(count)) => prop_assert_eq!(count, LIMITS.max_sessions),
                    }
                }
                Step::Publish { client, id } => {
                    if let Some((session, _)) = held.get_mut(&format!("c{client}")) {
                        if session.unreleased.insert(id) {
                            disk.0.get_mut(&session.id).expect("held sessions are on disk").unreleased.push(id);
                        }
                    }
                }
                Step::Release { client, id } => {
                    if let Some((session, _)) = held.get_mut(&format!("c{client}")) {
                        session.unreleased.remove(id);
                        disk.0.get_mut(&session.id).expect("held").unreleased.retain(|other| *other != id);
                    }
                }
                Step::Leave { client } => {
                    let name = format!("c{client}");
                    if let Some((session, expiry_s)) = held.remove(&name) {
                        let (id, unreleased) = (session.id, session.unreleased.clone());
                        disk.commit(&table.leave(&name, session, expiry_s, at(now)).into_iter().collect::<Vec<_>>());
                        if expiry_s > 0 {
                            expected.insert(name, (id, unreleased, now, expiry_s));
                        }
                    }
                }
                Step::Wait { seconds } => now += seconds,
                Step::Expire => {
                    disk.commit(&table.expire(at(now)));
                    expected.retain(|_, (_, _, since, life)| now - *since < u64::from(*life));
                }
                Step::Restart => {
                    for (name, (session, expiry_s)) in held.drain() {
                        if expiry_s > 0 {
                            expected.insert(name, (session.id, session.unreleased, now, expiry_s));
                        }
                    }
                    for (_, _, since, _) in expected.values_mut() {
                        *since = now;
                    }
                    let found = disk.0.values().cloned().collect();
                    let next = used.iter().max().map_or(1, |id| id + 1);
                    let (restored, changes) = Sessions::restore(LIMITS, found, next, at(now));
                    disk.commit(&changes);
                    table = restored;
                }
            }
            prop_assert!(table.len() <= LIMITS.max_sessions);
            prop_assert_eq!(table.len(), disk.0.len());
        }
    }

    #[test]
    fn packet_ids_are_a_set(
        operations in prop::collection::vec((any::<bool>(), 0_u16..200), 0..400),
        many in any::<bool>(),
    ) {
        let mut set = PacketIds::default();
        let mut model = std::collections::BTreeSet::new();
        if many {
            for id in 10_000..15_000 {
                set.insert(id);
                model.insert(id);
            }
        }
        for (insert, id) in operations {
            if insert {
                prop_assert_eq!(set.insert(id), model.insert(id));
            } else {
                prop_assert_eq!(set.remove(id), model.remove(&id));
            }
            prop_assert_eq!(set.contains(id), model.contains(&id));
        }
        prop_assert_eq!(set.len(), model.len());
        prop_assert_eq!(set, model.into_iter().collect());
    }
}
