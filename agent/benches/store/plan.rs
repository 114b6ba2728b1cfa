//! Which steps are taken, in which order, and how large they are.

use crate::child::{Figures, Order, Step, order};
use crate::place::{self, Place};
use crate::queue::{Contender, Outcome};
use crate::readings::Readings;
use std::collections::BTreeMap;
use std::path::Path;

pub(crate) const MIB: u64 = 1024 * 1024;

/// How much is measured.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) rounds: usize,
    /// Bytes of bodies appended, read and drained in a round.
    pub(crate) backlog: u64,
    /// Commits in a row with 20 records, and with one.
    pub(crate) commits: u64,
    /// The limit at which records are evicted.
    pub(crate) limit: u64,
    /// Backlogs with which it is opened.
    pub(crate) reopen: Vec<u64>,
    /// Openings of each.
    pub(crate) openings: usize,
}

/// A figure of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Measure {
    Saturated,
    Twenty,
    One,
    Read,
    Evict,
    Drain,
    /// Opened with so many MiB waiting.
    Reopen(u64),
    /// Bytes left on disk, in [`Figures::bytes`].
    Left,
}

/// What was measured, round by round.
pub(crate) type All = BTreeMap<(Contender, Measure), Vec<Figures>>;

impl Plan {
    /// Below five minutes on a disk that syncs in a millisecond.
    pub(crate) fn full() -> Self {
        Self {
            rounds: 3,
            backlog: 64 * MIB,
            commits: 1000,
            limit: 64 * MIB,
            reopen: vec![16 * MIB, 128 * MIB, 512 * MIB],
            openings: 3,
        }
    }

    /// About a minute.
    pub(crate) fn quick() -> Self {
        Self {
            rounds: 1,
            backlog: 16 * MIB,
            commits: 200,
            limit: 24 * MIB,
            reopen: vec![4 * MIB, 32 * MIB, 128 * MIB],
            openings: 1,
        }
    }

    pub(crate) fn run(&self, place: &Place) -> Outcome<All> {
        let readings = Readings::load()?;
        let mut all = All::new();
        for round in 1..=self.rounds {
            let mut group = 1;
            for contender in Contender::ALL {
                eprintln!("round {round} of {}: {}", self.rounds, contender.word());
                let folder = place.folder("round")?;
                let mut turn = Turn { contender, folder: &folder, readings: &readings, group, all: &mut all };
                self.round(&mut turn)?;
                group = turn.group;
                std::fs::remove_dir_all(&folder)?;
            }
        }
        for contender in Contender::ALL.into_iter().filter(|one| *one != Contender::Bare) {
            eprintln!("reopening: {}", contender.word());
            let folder = place.folder("reopen")?;
            let group = mean_group(&all);
            let mut turn = Turn { contender, folder: &folder, readings: &readings, group, all: &mut all };
            self.reopen(&mut turn)?;
            std::fs::remove_dir_all(&folder)?;
        }
        Ok(all)
    }

    fn round(&self, turn: &mut Turn<'_>) -> Outcome<()> {
        let count = turn.readings.count(self.backlog);
        let appended = turn.step("main", Step::Saturate, 0, count, turn.group, 0)?;
        if turn.contender == Contender::Ours {
            turn.group = (appended.records / appended.groups.max(1)).max(1);
        }
        turn.keep(Measure::Saturated, appended);
        let read = turn.step("main", Step::Read, 0, count, 1, 0)?;
        turn.keep(Measure::Read, read);
        for (measure, group) in [(Measure::Twenty, 20), (Measure::One, 1)] {
            let name = if group == 1 { "one" } else { "twenty" };
            let appended = turn.step(name, Step::Append, 0, self.commits * group, group, 0)?;
            turn.keep(measure, appended);
        }
        if turn.contender == Contender::Bare {
            return Ok(());
        }
        let drained = turn.step("main", Step::Drain, 0, count, 1, 0)?;
        turn.keep(Measure::Drain, drained);
        let left = place::occupied(&turn.folder.join("main"))?;
        turn.keep(Measure::Left, Figures { bytes: left, ..Figures::default() });
        // Filled beyond the limit first, so that it evicts from the first measured record on.
        let full = turn.readings.count(self.limit * 9 / 8);
        let evicted = turn.step("evict", Step::Evict, full, count, turn.group, self.limit)?;
        turn.keep(Measure::Evict, evicted);
        Ok(())
    }

    fn reopen(&self, turn: &mut Turn<'_>) -> Outcome<()> {
        let mut from = 0;
        for bytes in &self.reopen {
            let count = turn.readings.count(*bytes);
            turn.step("main", Step::SaturateAndDie, from, count - from, turn.group, 0)?;
            from = count;
            for _ in 0..self.openings {
                let opened = turn.step("main", Step::Reopen, 0, 0, 1, 0)?;
                turn.keep(Measure::Reopen(bytes / MIB), opened);
            }
        }
        Ok(())
    }
}

/// Records in a group at saturation, as they formed.
fn mean_group(all: &All) -> u64 {
    let rounds = all.get(&(Contender::Ours, Measure::Saturated));
    let (records, groups) = rounds
        .into_iter()
        .flatten()
        .fold((0, 0), |(records, groups), one| (records + one.records, groups + one.groups));
    (records / groups.max(1)).max(1)
}

/// One contender's turn in a round.
struct Turn<'a> {
    contender: Contender,
    folder: &'a Path,
    readings: &'a Readings,
    group: u64,
    all: &'a mut All,
}

impl Turn<'_> {
    fn step(&self, name: &str, step: Step, from: u64, count: u64, group: u64, limit: u64) -> Outcome<Figures> {
        let folder = self.folder.join(name);
        if !folder.exists() {
            std::fs::create_dir(&folder)?;
        }
        let contender = self.contender.word().to_owned();
        order(&Order { contender, step, folder, from, count, group, limit })
    }

    fn keep(&mut self, measure: Measure, figures: Figures) {
        self.all.entry((self.contender, measure)).or_default().push(figures);
    }
}
