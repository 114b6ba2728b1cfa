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
    /// Who is measured, those whose groups form by themselves first.
    pub(crate) contenders: Vec<Contender>,
    /// Only appending is measured.
    pub(crate) appends_alone: bool,
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

impl Measure {
    /// For who watches.
    fn title(self) -> &'static str {
        match self {
            Self::Saturated => "append at saturation",
            Self::Twenty => "append, 20 records a commit",
            Self::One => "append, 1 record a commit",
            Self::Read => "read",
            Self::Evict => "evict",
            Self::Drain => "drain",
            Self::Reopen(_) => "reopen",
            Self::Left => "left on disk",
        }
    }
}

/// What was measured, round by round.
pub(crate) type All = BTreeMap<(Contender, Measure), Vec<Figures>>;

impl Plan {
    /// Below five minutes on a disk that syncs in a millisecond.
    pub(crate) fn full() -> Self {
        Self {
            rounds: 3,
            contenders: Contender::ALL.to_vec(),
            appends_alone: false,
            backlog: 128 * MIB,
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
            backlog: 32 * MIB,
            commits: 200,
            limit: 24 * MIB,
            reopen: vec![4 * MIB, 32 * MIB, 128 * MIB],
            openings: 1,
            ..Self::full()
        }
    }

    /// Leaves out all but appending, and all but the store and the bare writes that it is measured by.
    pub(crate) fn leave_appends(&mut self) {
        self.appends_alone = true;
        self.contenders = vec![Contender::Ours, Contender::Bare];
    }

    pub(crate) fn run(&self, place: &Place) -> Outcome<All> {
        let readings = Readings::load()?;
        let mut all = All::new();
        for round in 1..=self.rounds {
            let mut order = self.contenders.clone();
            if round % 2 == 0 {
                // Whoever comes second may find the medium busy with what the first has left.
                order.swap(0, 1);
            }
            let folders: Vec<_> = order.iter().map(|one| place.folder(one.word())).collect::<Outcome<_>>()?;
            // Side by side, measure by measure, so that those that are compared find the machine in one state.
            for measure in [Measure::Saturated, Measure::Twenty, Measure::One] {
                eprintln!("round {round} of {}: {}", self.rounds, measure.title());
                for (contender, folder) in order.iter().zip(&folders) {
                    let group = mean_group(&all);
                    let mut turn = Turn { contender: *contender, folder, readings: &readings, group, all: &mut all };
                    self.append(&mut turn, measure)?;
                }
            }
            for (contender, folder) in order.iter().zip(&folders) {
                if !self.appends_alone {
                    eprintln!("round {round} of {}: all else, {}", self.rounds, contender.word());
                    let group = mean_group(&all);
                    let mut turn = Turn { contender: *contender, folder, readings: &readings, group, all: &mut all };
                    self.others(&mut turn)?;
                }
                std::fs::remove_dir_all(folder)?;
            }
        }
        let reopened = self.contenders.iter().filter(|one| !self.appends_alone && **one != Contender::Bare);
        for contender in reopened {
            eprintln!("reopening: {}", contender.word());
            let folder = place.folder("reopen")?;
            let group = mean_group(&all);
            let mut turn = Turn { contender: *contender, folder: &folder, readings: &readings, group, all: &mut all };
            self.reopen(&mut turn)?;
            std::fs::remove_dir_all(&folder)?;
        }
        Ok(all)
    }

    /// Appends as the measure has it; what it appends at saturation stays for [`Plan::others`].
    fn append(&self, turn: &mut Turn<'_>, measure: Measure) -> Outcome<()> {
        let appended = match measure {
            Measure::Twenty => turn.step("twenty", Step::Append, 0, self.commits * 20, 20, 0)?,
            Measure::One => turn.step("one", Step::Append, 0, self.commits, 1, 0)?,
            _ => turn.step("main", Step::Saturate, 0, turn.readings.count(self.backlog), turn.group, 0)?,
        };
        turn.keep(measure, appended);
        Ok(())
    }

    /// Everything but appending.
    fn others(&self, turn: &mut Turn<'_>) -> Outcome<()> {
        let count = turn.readings.count(self.backlog);
        let read = turn.step("main", Step::Read, 0, count, 1, 0)?;
        turn.keep(Measure::Read, read);
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
