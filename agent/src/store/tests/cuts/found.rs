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

#[test]
fn what_a_failed_sync_left_in_the_cache_alone_is_not_taken_for_stored_after_a_kill() {
    for seed in 0..256 {
        holds(&[
            (seed, Step::Fail { call: Call::Sync, part: "lane-critical", errno: 30, skip: 0, times: 2 }),
            (seed, Step::Fail { call: Call::Remove, part: "lane-", errno: 28, skip: 1, times: 1 }),
            (seed, Step::Put { records: vec![(0, 494), (0, 591), (0, 429)], turn: true }),
            (seed, Step::Acknowledge { lane: 1, span: (0, 255), with: None }),
            (seed, Step::Kill),
            (seed, Step::Cut { again: vec![] }),
        ]);
    }
}

#[test]
fn what_earlier_seeds_showed_does_not_come_again() {
    // The first two: a publish unreleased when a snapshot could not be written, and a lane that then began a segment.
    let wild = Shape { exact: false, ..SMALL };
    for (seed, shape) in [
        (3_000_000_294, SMALL),
        (4_000_000_326, wild),
        (273, SMALL),
        (1_000_000_294, SMALL),
        (1_000_001_537, SMALL),
        (2_000_000_475, SMALL),
        (2_000_001_049, SMALL),
        (5_000_000_149, LARGE),
        (6_000_000_036, EVICTING),
        (6_000_000_501, EVICTING),
        (6_000_001_133, EVICTING),
        (6_000_001_228, EVICTING),
        (990_000_442, EVICTING),
    ] {
        holds_in(&steps_of(seed, shape), shape);
    }
}

#[test]
fn a_segment_whose_folder_would_not_sync_does_not_come_back_over_what_a_later_process_stored() {
    for seed in 0..256 {
        holds(&[
            (seed, Step::Put { records: vec![(0, 590); 4], turn: true }),
            (seed, Step::Put { records: vec![(0, 590); 4], turn: true }),
            (seed, Step::Fail { call: Call::SyncFolder, part: "lane-", errno: 5, skip: 0, times: 3 }),
            (seed, Step::Put { records: vec![(0, 236); 4], turn: false }),
            (seed, Step::Session { session: 2, disconnected_ms: None }),
            (seed, Step::Close),
            (seed, Step::Put { records: vec![(0, 524); 4], turn: true }),
            (seed, Step::Cut { again: vec![] }),
        ]);
    }
}

/// Segments of one lane, of which a part is delivered before a restart and a part after it.
fn removed_around_a_restart(before: (u8, u8), after: (u8, u8)) -> Vec<Numbered> {
    let put = || (1, Step::Put { records: vec![(1, 590); 4], turn: true });
    let acknowledge = |span| (2, Step::Acknowledge { lane: 1, span, with: None });
    let mut steps: Vec<Numbered> = (0..10).map(|_| put()).collect();
    steps.extend([acknowledge(before), (3, Step::Close), put(), put(), acknowledge(after)]);
    steps
}

#[test]
fn a_replay_over_removed_segments_brings_nothing_back_whichever_restart_they_were_removed_before() {
    for (first, second) in
        (10..200).step_by(30).flat_map(|first| (10..200).step_by(30).map(move |second| (first, second)))
    {
        let mut steps = removed_around_a_restart((first, first + 55), (second, second + 55));
        steps.push((4, Step::Replay { lane: 1, span: (0, 231) }));
        holds(&steps);
    }
}

#[test]
fn a_replay_whose_segments_cannot_be_read_brings_back_nothing_that_is_gone() {
    for (first, below) in (10..200).step_by(30).flat_map(|first| (55..255).step_by(40).map(move |below| (first, below)))
    {
        let mut steps = removed_around_a_restart((first, first + 55), (200, 210));
        steps.push((4, Step::Fail { call: Call::Read, part: "", errno: 5, skip: 0, times: 1 }));
        steps.push((5, Step::Replay { lane: 1, span: (0, below) }));
        holds(&steps);
    }
}
