//! Random sequences of what callers, the disk and the power can do, against a model of a few lines.
//!
//! The journal is the real one, its writer's turns taken by the test ([`Driven`]), on a disk that forgets any legal
//! part of what was not synced. Everything follows from a seed, which a failure prints with the fewest steps that
//! show it. Held:
//!
//! - what was answered is read back, equal, in order and under the same id, until acknowledged or evicted;
//! - what was not answered is never read before a restart, and after one is there at most once, behind all that was;
//! - no id that was ever answered or read names two records;
//! - cursors, sent marks, sessions, unreleased packet ids and counters are what was answered last, or what was being
//!   changed when the power went;
//! - a recovery that is cut short and begun again finds the same.
//!
//! `TIDEGATE_MODEL_STEPS` asks for another number of steps, `TIDEGATE_MODEL_SEED` for another first seed.

mod model;
mod run;

use super::*;
use crate::store::disk::simulated::{Call, Dice, Fault, SimulatedDisk};
use run::Run;

/// One thing that happens.
#[derive(Debug, Clone)]
enum Step {
    /// Records are submitted, and the writer gets its turn or not.
    Put {
        lane: u8,
        sizes: Vec<u32>,
        turn: bool,
    },
    /// A QoS 2 publish of one of the sessions, perhaps released at once.
    Publish {
        session: u8,
        packet_id: u16,
        lane: u8,
        release: bool,
    },
    Release {
        session: u8,
        packet_id: u16,
    },
    Session {
        session: u8,
        disconnected_ms: Option<u64>,
    },
    SessionEnd {
        session: u8,
    },
    /// So many 255ths of what waits are acknowledged, with or without a record that comes along.
    Acknowledge {
        lane: u8,
        part: u8,
        with: Option<u32>,
    },
    Sent {
        lane: u8,
        part: u8,
    },
    PutAside {
        lane: u8,
        part: u8,
    },
    Refused {
        count: u32,
    },
    Read {
        lane: u8,
        part: u8,
        records: u8,
        bytes: u32,
    },
    Turn,
    Fail {
        call: Call,
        part: &'static str,
        errno: i32,
        skip: u32,
        times: u32,
    },
    Full {
        room: u64,
    },
    ReadOnly,
    Calm,
    /// The power goes after so many calls.
    Die {
        after: u32,
    },
    /// The power goes now, and again after so many calls of each recovery.
    Cut {
        again: Vec<u32>,
    },
    /// The process ends without warning.
    Kill,
    Close,
}

/// A step, and what the disk decides meanwhile: so that leaving a step out changes nothing about the others.
type Numbered = (u64, Step);

const CALLS: [Call; 15] = [
    Call::Sync,
    Call::Sync,
    Call::Write,
    Call::ShortWrite,
    Call::SyncFolder,
    Call::Create,
    Call::Remove,
    Call::SetLen,
    Call::Open,
    Call::Read,
    Call::List,
    Call::Allocate,
    Call::Rename,
    Call::MakeFolder,
    Call::FreeSpace,
];
const PARTS: [&str; 7] = ["", "lane-", "lane-normal", "control", "aside", "reserve", "lane-bulk"];
const ERRNOS: [i32; 4] = [5, 28, 30, 5];

fn sizes(dice: &mut Dice, largest: usize) -> Vec<u32> {
    (0..=dice.below(4)).map(|_| dice.below(largest) as u32).collect()
}

fn step(dice: &mut Dice, largest: usize) -> Step {
    let (lane, part) = (dice.below(3) as u8, [dice.below(256) as u8, 255][dice.below(2)]);
    let (session, packet_id) = (dice.below(3) as u8, 1 + dice.below(4) as u16);
    match dice.below(100) {
        0..30 => Step::Put { lane, sizes: sizes(dice, largest), turn: dice.below(4) > 0 },
        30..38 => Step::Publish { session, packet_id, lane, release: dice.below(4) == 0 },
        38..42 => Step::Release { session, packet_id },
        42..45 => Step::Session { session, disconnected_ms: dice.coin().then(|| dice.below(9) as u64) },
        45 => Step::SessionEnd { session },
        46..58 => Step::Acknowledge { lane, part, with: (dice.below(3) == 0).then(|| dice.below(largest) as u32) },
        58..61 => Step::Sent { lane, part },
        61..64 => Step::PutAside { lane, part },
        64..66 => Step::Refused { count: dice.below(5) as u32 },
        66..76 => {
            let (records, bytes) = (1 + dice.below(20) as u8, dice.below(4 * largest) as u32);
            Step::Read { lane, part, records, bytes }
        }
        76..82 => Step::Turn,
        82..88 => Step::Fail {
            call: CALLS[dice.below(CALLS.len())],
            part: PARTS[dice.below(PARTS.len())],
            errno: ERRNOS[dice.below(ERRNOS.len())],
            skip: dice.below(4) as u32 * dice.below(3) as u32,
            times: 1 + dice.below(3) as u32 * dice.below(2) as u32,
        },
        88 => Step::Full { room: dice.below(2 * largest) as u64 },
        89 => Step::ReadOnly,
        90..93 => Step::Calm,
        93 => Step::Die { after: dice.below(40) as u32 },
        94..97 => Step::Cut { again: (0..dice.below(3)).map(|_| dice.below(70) as u32).collect() },
        97 => Step::Kill,
        _ => Step::Close,
    }
}

/// How a run is made.
#[derive(Debug, Clone, Copy)]
struct Shape {
    /// Bytes of the largest payload.
    largest: usize,
    /// Segments of that size, so that they roll often; the ordinary size if none is given.
    segment_size: Option<u64>,
    /// Whether the byte limit is met, and records are evicted.
    evicts: bool,
}

const STEPS_A_RUN: usize = 250;

fn steps_of(seed: u64, shape: Shape) -> Vec<Numbered> {
    let mut dice = Dice(seed);
    (0..STEPS_A_RUN).map(|_| (dice.roll(), step(&mut dice, shape.largest))).collect()
}

/// Runs the steps; says what does not hold, if anything.
fn try_run(steps: &[Numbered], shape: Shape) -> Result<(), String> {
    let run = || Run::new(shape).and_then(|run| run.all(steps));
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(run)).unwrap_or_else(|_| Err("it panicked".into()))
}

/// Leaves steps out as long as something still does not hold.
fn shrink(mut steps: Vec<Numbered>, shape: Shape) -> Vec<Numbered> {
    let mut size = steps.len() / 2;
    while size > 0 {
        let (mut at, mut less) = (0, false);
        while at < steps.len() {
            let mut fewer = steps.clone();
            fewer.drain(at..(at + size).min(steps.len()));
            if try_run(&fewer, shape).is_err() {
                (steps, less) = (fewer, true);
            } else {
                at += size;
            }
        }
        if !less || size > 1 {
            size /= 2;
        }
    }
    steps
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// As many runs as make so many steps, or the number asked for.
fn many(steps: u64, first: u64, shape: Shape) {
    let steps = number("TIDEGATE_MODEL_STEPS").unwrap_or(steps);
    let first = number("TIDEGATE_MODEL_SEED").unwrap_or(first);
    let begin = Instant::now();
    for seed in first..first + steps.div_ceil(STEPS_A_RUN as u64) {
        let steps = steps_of(seed, shape);
        if let Err(what) = try_run(&steps, shape) {
            let fewest = shrink(steps, shape);
            let why = try_run(&fewest, shape);
            std::panic::set_hook(Box::new(|info| eprintln!("{info}")));
            panic!("seed {seed}, {shape:?}: {what}\nthe fewest steps: {fewest:#?}\n{why:?}");
        }
    }
    println!("{steps} steps from seed {first} in {:?}", begin.elapsed());
}

const SMALL: Shape = Shape { largest: 600, segment_size: Some(4096), evicts: false };
const LARGE: Shape = Shape { largest: 20_000, segment_size: None, evicts: false };
const EVICTING: Shape = Shape { largest: 40_000, segment_size: None, evicts: true };

#[test]
fn the_journal_does_what_the_model_says_on_a_treacherous_disk() {
    many(8_000, 1, SMALL);
}

#[test]
fn the_journal_does_what_the_model_says_on_a_treacherous_disk_with_other_seeds() {
    many(8_000, 1_000_000_000, SMALL);
}

#[test]
fn large_records_in_ordinary_segments_do_what_the_model_says() {
    many(1_500, 2_000_000_000, LARGE);
}

#[test]
fn under_the_byte_limit_only_the_oldest_go_and_are_counted() {
    many(4_000, 3_000_000_000, EVICTING);
}

/// Regressions, as the model found them.
mod found {
    use super::*;

    fn holds(steps: &[Numbered]) {
        assert_eq!(try_run(steps, SMALL), Ok(()));
    }

    #[test]
    fn a_segment_that_was_noted_and_never_made_costs_one_epoch_and_not_one_at_each_start() {
        holds(&[
            (2_456_704_047_777_500_258, Step::Die { after: 4 }),
            (15_820_476_403_216_610_329, Step::Put { lane: 0, sizes: vec![522, 483], turn: true }),
        ]);
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
                (seed, Step::Put { lane: 1, sizes: vec![10], turn: true }),
                (seed, Step::Acknowledge { lane: 1, part: 255, with: None }),
                (seed, Step::Full { room: 0 }),
                (seed, Step::Put { lane: 0, sizes: vec![10], turn: true }),
                (seed, Step::Fail { call: Call::Sync, part: "control", errno: 5, skip: 0, times: 1 }),
                (seed, Step::Turn),
                (seed, Step::Calm),
                (seed, Step::Put { lane: 1, sizes: vec![20], turn: true }),
                (seed, Step::Cut { again: vec![] }),
            ]);
        }
    }
}
