//! One step of one contender, in a process of its own; what it measured goes to the parent as a line of JSON.

use crate::place;
use crate::queue::{Contender, Outcome};
use crate::readings::Readings;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Instant;

/// The first argument of a child.
pub(crate) const FLAG: &str = "--child";

/// Limit of bytes on disk where nothing is to be evicted.
const PLENTY: u64 = 16 * 1024 * 1024 * 1024;

/// What is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Step {
    /// Append `count` records from `from` on, in groups of `group`.
    Append,
    /// Append them at saturation.
    Saturate,
    /// The same, and end without closing.
    SaturateAndDie,
    /// With a limit of `limit` bytes: append `from` records first, unmeasured, then `count` more.
    Evict,
    /// Read everything; there must be `count`.
    Read,
    /// Open, and end without closing.
    Reopen,
    /// Remove `count` records.
    Drain,
}

/// A step to be done.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Order {
    pub(crate) contender: String,
    pub(crate) step: Step,
    pub(crate) folder: PathBuf,
    pub(crate) from: u64,
    pub(crate) count: u64,
    pub(crate) group: u64,
    pub(crate) limit: u64,
}

/// What was measured.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub(crate) struct Figures {
    pub(crate) seconds: f64,
    pub(crate) records: u64,
    /// Bytes of their bodies.
    pub(crate) bytes: u64,
    pub(crate) groups: u64,
    /// Bytes given to `write` calls.
    pub(crate) handed: u64,
    /// Bytes written to the medium.
    pub(crate) written: Option<u64>,
    /// Most memory resident at any time.
    pub(crate) peak: u64,
}

/// Has a step done in a child, and waits for it.
pub(crate) fn order(order: &Order) -> Outcome<Figures> {
    let child = Command::new(std::env::current_exe()?)
        .args([FLAG, &serde_json::to_string(order)?])
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()?;
    if !child.status.success() {
        return Err(format!("{} failed: {order:?}", order.contender).into());
    }
    Ok(serde_json::from_slice(&child.stdout)?)
}

/// The child.
pub(crate) fn run(arguments: &[String]) -> Outcome<()> {
    let order: Order = serde_json::from_str(arguments.first().ok_or("no order")?)?;
    let contender = Contender::parse(&order.contender)?;
    let readings = Arc::new(Readings::load()?);
    let max_size = if order.step == Step::Evict { order.limit } else { PLENTY };
    forget_pages(&order.folder)?;
    let mut meter = Meter::start(&order.folder)?;
    let mut queue = contender.open(&order.folder, max_size)?;
    let mut figures = Figures::default();
    // What others may hold in the same bytes on disk, so that all evict from about the same backlog.
    let hold = readings.count(order.limit) * 7 / 8;
    let (from, count) = (order.from, order.count);
    match order.step {
        Step::Reopen => {}
        Step::Evict => {
            queue.saturate(&readings, 0, from, order.group, hold)?;
            meter = Meter::start(&order.folder)?;
            figures.groups = queue.saturate(&readings, from, count, order.group, hold)?;
        }
        Step::Saturate | Step::SaturateAndDie => {
            meter = Meter::start(&order.folder)?;
            figures.groups = queue.saturate(&readings, from, count, order.group, u64::MAX)?;
        }
        Step::Append => {
            meter = Meter::start(&order.folder)?;
            for next in (from..from + count).step_by(order.group as usize) {
                queue.append(&readings, next, order.group.min(from + count - next), 0)?;
                figures.groups += 1;
            }
        }
        Step::Read => {
            meter = Meter::start(&order.folder)?;
            let read = queue.read(&readings)?;
            if read != count {
                return Err(format!("{read} records were read, of {count}").into());
            }
        }
        Step::Drain => {
            meter = Meter::start(&order.folder)?;
            queue.drain(from, count)?;
        }
    }
    meter.stop(&mut figures)?;
    (figures.records, figures.bytes) = (count, readings.bytes(from, count));
    figures.peak = peak()?;
    println!("{}", serde_json::to_string(&figures)?);
    if matches!(order.step, Step::Reopen | Step::SaturateAndDie) {
        // As if it were killed: the next one has to recover.
        std::process::exit(0);
    }
    queue.close()
}

/// Time, bytes handed over and bytes written between two moments.
struct Meter {
    folder: std::fs::File,
    path: PathBuf,
    start: Instant,
    handed: u64,
    written: Option<u64>,
}

impl Meter {
    fn start(path: &Path) -> Outcome<Self> {
        let folder = std::fs::File::open(path)?;
        rustix::fs::syncfs(&folder)?;
        let (written, handed) = (place::written(path), handed()?);
        Ok(Self { folder, path: path.to_owned(), start: Instant::now(), handed, written })
    }

    fn stop(self, figures: &mut Figures) -> Outcome<()> {
        figures.seconds = self.start.elapsed().as_secs_f64();
        figures.handed = handed()? - self.handed;
        rustix::fs::syncfs(&self.folder)?;
        figures.written = place::written(&self.path).zip(self.written).map(|(after, before)| after - before);
        Ok(())
    }
}

/// Bytes that this process gave to `write` calls (`wchar`, man page proc(5)).
fn handed() -> Outcome<u64> {
    let text = std::fs::read_to_string("/proc/self/io")?;
    let field = text.lines().find_map(|line| line.strip_prefix("wchar: "));
    Ok(field.ok_or("no wchar in /proc/self/io")?.trim().parse()?)
}

fn peak() -> Outcome<u64> {
    let text = std::fs::read_to_string("/proc/self/status")?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:")).ok_or("no VmHWM in /proc/self/status")?;
    Ok(line.split_whitespace().next().ok_or("VmHWM is empty")?.parse::<u64>()? * 1024)
}

/// Takes the files' pages out of the cache, so that what is opened is read from the medium.
fn forget_pages(folder: &Path) -> Outcome<()> {
    for path in place::files(folder)? {
        let file = std::fs::File::open(path)?;
        file.sync_all()?;
        rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed)?;
    }
    Ok(())
}
