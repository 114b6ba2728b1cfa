//! The table, in Markdown.

use crate::child::Figures;
use crate::place::Place;
use crate::plan::{All, MIB, Measure, Plan};
use crate::queue::{Contender, DRAIN_STEP};
use std::fmt::Write as _;

/// A figure of one round.
type Figure = fn(&Figures) -> Option<f64>;

pub(crate) fn markdown(plan: &Plan, place: &Place, all: &All) -> String {
    let mut out = String::new();
    let about = [
        format!("{}, medians of {} rounds", place.file_system, plan.rounds),
        place.no_counter.clone().map_or_else(String::new, |why| format!(" (bytes written are not known: {why})")),
    ];
    let _ = writeln!(out, "{}\n", about.concat());
    out.push_str("| |");
    for contender in &plan.contenders {
        let _ = write!(out, " {} |", contender.title());
    }
    out.push_str("\n|---|");
    out.push_str(&"---:|".repeat(plan.contenders.len()));
    out.push('\n');
    let table = Table { contenders: &plan.contenders, all, out: &mut out };
    table.fill(plan);
    out
}

struct Table<'a> {
    contenders: &'a [Contender],
    all: &'a All,
    out: &'a mut String,
}

const RATE: Figure = |one| Some(one.records as f64 / one.seconds);
const WRITTEN: Figure = |one| Some(one.written? as f64 / one.bytes as f64);
const HANDED: Figure = |one| Some(one.handed as f64 / one.bytes as f64);
const PEAK: Figure = |one| Some(one.peak as f64);

impl Table<'_> {
    fn fill(mut self, plan: &Plan) {
        let ours =
            self.median(Contender::Ours, Measure::Saturated, |one| Some(one.records as f64 / one.groups.max(1) as f64));
        let title = format!("append at saturation, {:.0} records a commit: records/s", ours.unwrap_or(0.0));
        self.row(&title, Measure::Saturated, RATE, thousands);
        self.share(Measure::Saturated);
        self.row("… written to the medium per byte stored", Measure::Saturated, WRITTEN, ratio);
        self.row("… handed to the file system per byte stored", Measure::Saturated, HANDED, ratio);
        for (count, measure) in [("20 records", Measure::Twenty), ("1 record", Measure::One)] {
            self.row(&format!("append, {count} a commit: records/s"), measure, RATE, thousands);
            self.share(measure);
            self.row("… written to the medium per byte stored", measure, WRITTEN, ratio);
        }
        self.row("read all in order: records/s", Measure::Read, RATE, thousands);
        let title = format!("evict, one in and one out at {} MiB: records/s", plan.limit / MIB);
        self.row(&title, Measure::Evict, RATE, thousands);
        self.row("… written to the medium per byte stored", Measure::Evict, WRITTEN, ratio);
        self.row(&format!("drain, {DRAIN_STEP} acknowledged at a time: records/s"), Measure::Drain, RATE, thousands);
        self.row("… written to the medium per byte drained", Measure::Drain, WRITTEN, ratio);
        self.row("left on disk after draining", Measure::Left, |one| Some(one.bytes as f64), mib);
        for bytes in &plan.reopen {
            let title = format!("reopen with {} MiB waiting, after a kill", bytes / MIB);
            self.row(&title, Measure::Reopen(bytes / MIB), |one| Some(one.seconds), seconds);
        }
        let title = format!("peak memory: appending {} MiB", plan.backlog / MIB);
        self.row(&title, Measure::Saturated, PEAK, mib);
        self.row("… reading it", Measure::Read, PEAK, mib);
        self.row("… evicting", Measure::Evict, PEAK, mib);
        let largest = plan.reopen.iter().max().map_or(0, |bytes| bytes / MIB);
        self.row(&format!("… opened with {largest} MiB waiting"), Measure::Reopen(largest), PEAK, mib);
    }

    /// One line; a dash where there is no figure.
    fn row(&mut self, title: &str, measure: Measure, figure: Figure, show: fn(f64) -> String) {
        let cells = self.contenders.iter().map(|one| self.median(*one, measure, figure).map(show)).collect();
        self.line(title, cells);
    }

    /// Rates as a share of the bare one's: the median of what it was in each round, for rounds may differ from each
    /// other by more than contenders do.
    fn share(&mut self, measure: Measure) {
        let rates = |contender| self.all.get(&(contender, measure)).map(|rounds| rounds.iter().filter_map(RATE));
        let share = |contender| {
            let pairs = rates(contender)?.zip(rates(Contender::Bare)?);
            Some(format!("{:.0} %", middle(pairs.map(|(rate, bare)| rate / bare).collect())? * 100.0))
        };
        let cells = self.contenders.iter().map(|one| share(*one)).collect();
        self.line("… of bare `write` + `fdatasync`", cells);
    }

    /// A line, unless there is nothing in it.
    fn line(&mut self, title: &str, cells: Vec<Option<String>>) {
        if cells.iter().all(Option::is_none) {
            return;
        }
        let _ = write!(self.out, "| {title} |");
        for cell in cells {
            let _ = write!(self.out, " {} |", cell.as_deref().unwrap_or("–"));
        }
        self.out.push('\n');
    }

    fn median(&self, contender: Contender, measure: Measure, figure: Figure) -> Option<f64> {
        let rounds = self.all.get(&(contender, measure))?;
        middle(rounds.iter().map(figure).collect::<Option<Vec<f64>>>()?)
    }
}

/// The median; `None` of nothing.
fn middle(mut figures: Vec<f64>) -> Option<f64> {
    figures.sort_by(f64::total_cmp);
    let middle = figures.len() / 2;
    match figures.len() % 2 {
        1 => figures.get(middle).copied(),
        _ => Some(f64::midpoint(*figures.get(middle.checked_sub(1)?)?, *figures.get(middle)?)),
    }
}

/// Three significant digits, thousands parted.
fn thousands(value: f64) -> String {
    let digits = value.abs().max(1.0).log10() as i32;
    let unit = 10_f64.powi((digits - 2).max(0));
    let rounded = (value / unit).round() * unit;
    // Rates are positive.
    #[allow(clippy::cast_sign_loss)]
    tidegate::watch::render::number(rounded as u64)
}

fn ratio(value: f64) -> String {
    format!("{value:.2}")
}

fn mib(bytes: f64) -> String {
    format!("{:.1} MiB", bytes / MIB as f64)
}

fn seconds(value: f64) -> String {
    if value < 1.0 { format!("{:.1} ms", value * 1e3) } else { format!("{value:.2} s") }
}
