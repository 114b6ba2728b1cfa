//! Random sequences of what callers and the disk can do, against a model of a few lines.
//!
//! Held: what was acknowledged is read back, equal and in order, until it is acknowledged by the reader or evicted;
//! nothing is read that was not handed in; no id names two records; cursor, sessions, unreleased packet ids, budgets and
//! what is kept by name are what was committed last; what was committed before a crash is there after it.

use super::*;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet, HashMap};

#[derive(Debug, Clone)]
enum Step {
    Put { lane: u8, sizes: Vec<u16> },
    Acknowledge { lane: u8, part: u8 },
    Qos2 { packet_id: u16 },
    Release { packet_id: u16 },
    Budget { kind: u8, used: u64 },
    Keep { name: u8, size: u16 },
    Crash { keep: u16 },
    Close,
    FailSync { which: u8 },
    Full,
    Room,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0..3_u8, prop::collection::vec(0..40_000_u16, 1..6)).prop_map(|(lane, sizes)| Step::Put { lane, sizes }),
        3 => (0..3_u8, any::<u8>()).prop_map(|(lane, part)| Step::Acknowledge { lane, part }),
        2 => (1..6_u16).prop_map(|packet_id| Step::Qos2 { packet_id }),
        2 => (1..6_u16).prop_map(|packet_id| Step::Release { packet_id }),
        1 => (0..3_u8, any::<u64>()).prop_map(|(kind, used)| Step::Budget { kind, used }),
        2 => (0..40_u8, prop_oneof![Just(0), 1..17_000_u16]).prop_map(|(name, size)| Step::Keep { name, size }),
        2 => prop_oneof![Just(0), any::<u16>()].prop_map(|keep| Step::Crash { keep }),
        1 => Just(Step::Close),
        1 => (0..5_u8).prop_map(|which| Step::FailSync { which }),
        1 => Just(Step::Full),
        1 => Just(Step::Room),
    ]
}

/// A byte limit that is never met.
const ROOMY: u64 = 1 << 30;

type Id = (String, u8, u64);
/// Lane and the payload's own number.
type Records = Vec<(u8, u64)>;

#[derive(Debug, Default)]
struct Model {
    /// Acknowledged and not yet delivered, in order, per lane: the payload's own number.
    waiting: [Vec<u64>; 3],
    /// Handed in and not answered; may or may not be found after a crash.
    doubtful: [Vec<u64>; 3],
    unreleased: BTreeSet<u16>,
    /// Packet ids whose state was being changed when the power went.
    unsure: BTreeSet<u16>,
    /// Every id that was ever read, with what it named.
    ids: HashMap<Id, u64>,
    sizes: BTreeMap<u64, usize>,
    /// Acknowledged, never delivered, and no longer there.
    evicted: u64,
    next: u64,
    /// What of budgets was used.
    budgets: BTreeMap<String, u64>,
    /// What others keep.
    kept: BTreeMap<String, Vec<u8>>,
}

struct Run {
    disk: FaultyDisk,
    store: Store,
    model: Model,
    open: Vec<(oneshot::Receiver<Committed>, Records)>,
    /// The byte limit, and whether records may be evicted under it.
    max_size: u64,
}

fn payload(number: u64, size: usize) -> Vec<u8> {
    let mut bytes = number.to_le_bytes().to_vec();
    bytes.resize(8 + size, number as u8);
    bytes
}

/// The store itself puts gap records into lane 0.
fn is_gap(payload: &[u8]) -> bool {
    payload.starts_with(b"{\"cause\":")
}

impl Run {
    fn new(max_size: u64) -> Self {
        let disk = FaultyDisk::default();
        let (store, _) = open_with(&disk, Options { max_size, ..options() });
        let run = Self { disk, store, model: Model::default(), open: Vec::new(), max_size };
        change(&run.store, Change::Session(session(1)));
        run
    }

    fn all(mut self, steps: &[Step]) -> Self {
        for step in steps {
            self.step(step);
        }
        self.step(&Step::Room);
        self.step(&Step::Close);
        self
    }

    fn step(&mut self, step: &Step) {
        match step {
            Step::Put { lane, sizes } => self.put(*lane, sizes, None),
            Step::Qos2 { packet_id } => self.put(1, &[10], Some(*packet_id)),
            Step::Release { packet_id } => {
                // Control records get through even on a full disk.
                change(&self.store, Change::Release(Origin { session: 1, packet_id: *packet_id }));
                self.model.unreleased.remove(packet_id);
            }
            Step::Budget { kind, used } => {
                let kind = format!("budget-{kind}");
                change(
                    &self.store,
                    Change::Budget(BudgetUse { kind: kind.clone(), used: *used, ..BudgetUse::default() }),
                );
                self.model.budgets.insert(kind, *used);
            }
            Step::Keep { name, size } => self.keep(*name, usize::from(*size)),
            Step::Acknowledge { lane, part } => self.acknowledge(*lane, *part),
            Step::Crash { keep } => self.crash(usize::from(*keep)),
            Step::Close => {
                self.store.close();
                self.settle();
                self.reopen(self.disk.clone(), false);
            }
            Step::FailSync { which } => {
                let part = ["lane-critical", "lane-normal", "lane-bulk", "control", ""][usize::from(*which)];
                self.disk.set(|faults| faults.sync = Some((part.into(), 1)));
            }
            Step::Full => self.disk.set(|faults| faults.write = Some(("lane-".into(), 28))),
            Step::Room => {
                self.disk.set(|faults| faults.write = None);
                for (done, records) in std::mem::take(&mut self.open) {
                    wait(done);
                    self.stored(&records);
                }
                self.check();
            }
        }
    }

    /// Names come and go, beyond their number too, and values beyond their size.
    fn keep(&mut self, name: u8, size: usize) {
        let name = format!("{name:0>64}");
        let value: Vec<u8> = (0..size).map(|place| (place as u64 ^ self.model.next) as u8).collect();
        change(&self.store, Change::Kept(Kept { name: name.clone(), value: value.clone() }));
        let kept = &mut self.model.kept;
        if value.is_empty() {
            kept.remove(&name);
        } else if value.len() <= 16 * 1024 && (kept.contains_key(&name) || kept.len() < 32) {
            kept.insert(name, value);
        }
    }

    fn put(&mut self, lane: u8, sizes: &[u16], packet_id: Option<u16>) {
        let (mut submission, mut records) = (Submission::new(), Vec::new());
        for size in sizes {
            let number = self.model.next;
            self.model.next += 1;
            self.model.sizes.insert(number, usize::from(*size));
            let payload = payload(number, usize::from(*size));
            let origin = packet_id.map(|packet_id| Origin { session: 1, packet_id });
            submission.push(LaneId(lane), &NewRecord { origin, ..record(&payload) });
            records.push((lane, number));
        }
        self.model.doubtful[usize::from(lane)].extend(records.iter().map(|(_, number)| number));
        if let Some(packet_id) = packet_id {
            self.model.unsure.insert(packet_id);
        }
        let done = send(&self.store, submission);
        if self.is_full() {
            self.open.push((done, records));
            return;
        }
        wait(done);
        self.stored(&records);
        if let Some(packet_id) = packet_id {
            self.model.unsure.remove(&packet_id);
            self.model.unreleased.insert(packet_id);
        }
    }

    fn is_full(&self) -> bool {
        let mut full = false;
        self.disk.set(|faults| full = faults.write.is_some());
        full
    }

    fn stored(&mut self, records: &[(u8, u64)]) {
        for (lane, number) in records {
            self.model.waiting[usize::from(*lane)].push(*number);
            self.model.doubtful[usize::from(*lane)].retain(|doubtful| doubtful != number);
        }
    }

    /// Whoever was answered in time is stored, the others are in doubt.
    fn settle(&mut self) {
        for (mut done, records) in std::mem::take(&mut self.open) {
            if done.try_recv().is_ok() {
                self.stored(&records);
            }
        }
    }

    fn acknowledge(&mut self, lane: u8, part: u8) {
        let read = self.read(lane);
        let count = read.len() * usize::from(part) / 255;
        let Some((id, _)) = count.checked_sub(1).map(|last| &read[last]) else { return };
        let below = id.2 + 1;
        change(&self.store, Change::Acknowledge { lane: LaneId(lane), from: 0, below });
        let gone: BTreeSet<u64> = read[..count].iter().map(|(_, number)| *number).collect();
        self.model.waiting[usize::from(lane)].retain(|number| !gone.contains(number));
        assert_eq!(self.store.cursor(LaneId(lane)), below);
    }

    fn crash(&mut self, keep: usize) {
        let after = self.disk.crash(keep);
        self.disk.set(|faults| faults.write = Some((String::new(), 5)));
        self.settle();
        self.reopen(after, true);
    }

    fn reopen(&mut self, disk: FaultyDisk, crashed: bool) {
        disk.set(|faults| *faults = super::super::disk::faulty::Faults::default());
        let (store, opened) = open_with(&disk, Options { max_size: self.max_size, ..options() });
        (self.disk, self.store) = (disk, store);
        assert!(crashed || !opened.new_epoch, "{:?}", opened.report);
        let kept = &opened.sessions[0];
        let (kept, unsure): (BTreeSet<_>, _) = (kept.unreleased.iter().copied().collect(), &self.model.unsure);
        let known = |set: &BTreeSet<u16>| set.difference(unsure).copied().collect::<BTreeSet<_>>();
        assert_eq!(known(&kept), known(&self.model.unreleased));
        self.model.unreleased = kept;
        self.model.unsure.clear();
        let budgets = self.store.budgets().into_iter().map(|one| (one.kind, one.used));
        assert_eq!(budgets.collect::<BTreeMap<_, _>>(), self.model.budgets);
        for name in (0..40).map(|name| format!("{name:0>64}")) {
            assert_eq!(self.store.kept(&name).as_ref(), self.model.kept.get(&name), "{name}");
        }
        // What was in doubt is there now, or never will be.
        for lane in 0..3_u8 {
            let found: Vec<u64> = self.read(lane).into_iter().map(|(_, number)| number).collect();
            let model = &mut self.model;
            let doubtful = std::mem::take(&mut model.doubtful[usize::from(lane)]);
            let waiting = &mut model.waiting[usize::from(lane)];
            let expected: Vec<u64> = found.iter().copied().filter(|number| !doubtful.contains(number)).collect();
            let gone = waiting.len().saturating_sub(expected.len());
            assert!(gone == 0 || self.max_size < ROOMY, "lane {lane}: {:?}", opened.report);
            assert_eq!(expected, waiting[gone..], "lane {lane}: {:?}", opened.report);
            model.evicted += gone as u64;
            *waiting = found;
        }
        self.check();
    }

    /// What is waiting, from the cursor on; held against everything ever read.
    fn read(&mut self, lane: u8) -> Vec<(Id, u64)> {
        let from = self.store.cursor(LaneId(lane));
        let mut read = Vec::new();
        for (epoch, seq, bytes) in read_from(&self.store, LaneId(lane), from) {
            if is_gap(&bytes) {
                continue;
            }
            let number = bytes.first_chunk().map(|bytes| u64::from_le_bytes(*bytes)).expect("a payload has its number");
            assert_eq!(bytes, payload(number, self.model.sizes[&number]), "what is read was written");
            let id = (epoch, lane, seq);
            let named = *self.model.ids.entry(id.clone()).or_insert(number);
            assert_eq!(named, number, "{id:?} names two records");
            read.push((id, number));
        }
        assert!(read.windows(2).all(|pair| pair[0].0.2 < pair[1].0.2));
        read
    }

    fn check(&mut self) {
        for lane in 0..3_u8 {
            let read: Vec<u64> = self.read(lane).into_iter().map(|(_, number)| number).collect();
            if self.open.is_empty() {
                let waiting = &mut self.model.waiting[usize::from(lane)];
                let gone = waiting.len().saturating_sub(read.len());
                assert!(gone == 0 || self.max_size < ROOMY, "lane {lane}");
                assert_eq!(read, waiting[gone..], "lane {lane}");
                waiting.drain(..gone);
                self.model.evicted += gone as u64;
                let all = read_from(&self.store, LaneId(lane), self.store.cursor(LaneId(lane)));
                let gaps = all.iter().filter(|(_, _, bytes)| is_gap(bytes)).count();
                assert_eq!(self.store.stats().lanes[usize::from(lane)].waiting, (read.len() + gaps) as u64);
            }
        }
    }
}

/// Runs of each: a few seconds' worth, or as many as are asked for.
fn cases() -> u32 {
    std::env::var("PROPTEST_CASES").ok().and_then(|text| text.parse().ok()).unwrap_or(40)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), max_shrink_iters: 2000, ..ProptestConfig::default() })]

    #[test]
    fn the_store_does_what_the_model_says(steps in prop::collection::vec(step(), 1..60)) {
        Run::new(ROOMY).all(&steps);
    }

    #[test]
    fn under_a_byte_limit_only_the_oldest_go_and_all_of_them_are_counted(steps in prop::collection::vec(step(), 1..150)) {
        let run = Run::new(MIN_MAX_SIZE).all(&steps);
        let counted: u64 = run.store.stats().lanes.iter().map(|lane| lane.evicted).sum();
        // What was evicted before its submitter was answered, or read back in doubt, is counted too.
        prop_assert!(counted >= run.model.evicted, "{counted} counted, {} gone", run.model.evicted);
        let used: u64 = run.disk.paths("").iter().map(|path| run.disk.bytes(path).len() as u64).sum();
        prop_assert!(used <= MIN_MAX_SIZE, "{used} bytes");
    }
}
