//! Regressions, as the model found them.

use super::*;

fn holds(steps: &[Numbered]) {
    holds_in(steps, SMALL);
}

fn holds_in(steps: &[Numbered], shape: Shape) {
    assert_eq!(try_run(steps, shape).err(), None);
}

#[test]
fn a_segment_that_was_noted_and_never_made_costs_one_epoch_and_not_one_at_each_start() {
    for seed in 0..64 {
        let put = Step::Put { records: vec![(0, 522), (0, 483)], turn: true };
        holds_in(&[(seed, Step::Die { after: 4 }), (seed, put)], Shape { exact: false, ..SMALL });
    }
}

#[test]
fn a_release_handed_in_with_its_publish_is_not_lost_on_a_full_disk() {
    holds(&[
        (1, Step::Session { session: 0, disconnected_ms: None }),
        (2, Step::Full { room: 674 }),
        (3, Step::Publish { session: 0, packet_id: 2, lane: 1, release: true }),
    ]);
}

#[test]
fn nothing_is_appended_below_a_segment_that_was_begun_and_taken_back() {
    for seed in 0..64 {
        holds(&[
            (seed, Step::Put { records: vec![(1, 10)], turn: true }),
            (seed, Step::Acknowledge { lane: 1, span: (0, 255), with: None }),
            (seed, Step::Full { room: 0 }),
            (seed, Step::Put { records: vec![(0, 10)], turn: true }),
            (seed, Step::Fail { call: Call::Sync, part: "control", errno: 5, skip: 0, times: 1 }),
            (seed, Step::Turn),
            (seed, Step::Calm),
            (seed, Step::Put { records: vec![(1, 20)], turn: true }),
            (seed, Step::Cut { again: vec![] }),
        ]);
    }
}

#[test]
fn a_publish_that_waits_behind_the_end_of_its_session_is_kept_for_nobody() {
    holds(&[
        (1, Step::Session { session: 0, disconnected_ms: None }),
        (2, Step::Fail { call: Call::Write, part: "lane-", errno: 28, skip: 0, times: 2 }),
        (3, Step::Publish { session: 0, packet_id: 1, lane: 1, release: false }),
        (4, Step::SessionEnd { session: 0 }),
        (5, Step::Calm),
        (6, Step::Close),
    ]);
}

#[test]
fn a_packet_id_used_again_is_released_by_one_release_whatever_a_cut_left() {
    for seed in 0..256 {
        holds(&[
            (seed, Step::Session { session: 0, disconnected_ms: None }),
            (seed, Step::Publish { session: 0, packet_id: 1, lane: 2, release: false }),
            (seed, Step::Die { after: 1 + seed as u32 % 8 }),
            (seed, Step::Publish { session: 0, packet_id: 1, lane: 1, release: false }),
            (seed, Step::Cut { again: vec![] }),
            (seed, Step::Release { session: 0, packet_id: 1 }),
            (seed, Step::Close),
        ]);
    }
}

#[test]
fn a_segment_that_was_begun_and_taken_back_does_not_come_back_after_a_restart() {
    for seed in 0..256 {
        holds(&[
            (seed, Step::Fail { call: Call::Sync, part: "lane-normal", errno: 30, skip: 0, times: 3 }),
            (seed, Step::Put { records: vec![(1, 103), (0, 583)], turn: true }),
            (seed, Step::Close),
            (seed, Step::Cut { again: vec![] }),
        ]);
    }
}

#[test]
fn an_unreleased_publish_of_a_segment_whose_successor_was_never_noted_outlasts_its_delivery() {
    for seed in 0..512 {
        holds(&[
            (seed, Step::Session { session: 0, disconnected_ms: None }),
            (seed, Step::Put { records: vec![(2, 590), (2, 590), (2, 590), (2, 590)], turn: true }),
            (seed, Step::Publish { session: 0, packet_id: 2, lane: 2, release: false }),
            (seed, Step::Put { records: vec![(2, 590), (2, 590)], turn: true }),
            (seed, Step::Die { after: 1 + seed as u32 % 8 }),
            (seed, Step::Put { records: vec![(2, 590)], turn: true }),
            (seed, Step::Cut { again: vec![] }),
            (seed, Step::Acknowledge { lane: 2, span: (0, 255), with: None }),
            (seed, Step::Close),
        ]);
    }
}

#[test]
fn a_replay_that_ends_in_a_removed_segment_brings_nothing_of_it_back() {
    // Three segments, the second of which is delivered and removed.
    let large = || Step::Put { records: vec![(2, 590); 4], turn: true };
    for below in 1..=255 {
        holds(&[
            (1, large()),
            (2, large()),
            (3, large()),
            (4, large()),
            (5, Step::Acknowledge { lane: 2, span: (80, 176), with: None }),
            (6, Step::Close),
            (7, Step::Replay { lane: 2, span: (0, below) }),
        ]);
    }
}
