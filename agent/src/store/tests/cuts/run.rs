//! The real journal beside the model, step by step.

use super::model::{Fact, Model, Open};
use super::*;
use crate::clock::SetClock;
use crate::store::journal::driven::Driven;
use std::sync::atomic::{AtomicU64, Ordering};

/// A byte limit that is never met by the records of one run, of any shape that does not evict.
const ROOMY: u64 = 8 * 1024 * 1024;

/// Submissions that were framed before their commit's turn, in all runs of this process.
static FRAMED_AHEAD: AtomicU64 = AtomicU64::new(0);

pub(super) fn framed_ahead() -> u64 {
    FRAMED_AHEAD.load(Ordering::Relaxed)
}

pub(super) type Held = Result<(), String>;

pub(super) struct Run {
    pub(super) shape: Shape,
    pub(super) disk: SimulatedDisk,
    /// The writer goes before the handle, which waits for it.
    pub(super) driven: Option<(Driven, Store)>,
    pub(super) model: Model,
    pub(super) sessions: [Option<u64>; 3],
    next_session: u64,
    /// Errors that the disk had given when the store was opened.
    pub(super) failed: u64,
    /// Before it was opened.
    pub(super) failed_before: u64,
    /// A sync of the lane's folder, or of a file in it, failed before the last cut: what was taken back may come back.
    pub(super) doubted: [bool; 3],
    /// First numbers of each lane's segments, as they were last seen.
    pub(super) firsts: [Vec<u64>; 3],
    /// There was no room for a time: what is kept may have gone early.
    pub(super) was_full: bool,
    /// What was replayed and is perhaps not answered yet, by lane.
    pub(super) replayed: [Vec<(u64, u64)>; 3],
    pub(super) clock: Arc<SetClock>,
}

pub(super) fn ensure(holds: bool, what: impl FnOnce() -> String) -> Held {
    if holds { Ok(()) } else { Err(what()) }
}

/// What stands for the number of a gap record, which the store itself puts into lane 0; the rest tells its payload.
const GAP: u64 = 1 << 63;

pub(super) fn is_gap(number: u64) -> bool {
    number & GAP != 0
}

/// The payload's own number, if it is what was handed in under that number.
pub(super) fn number_of(record: &RecordRef<'_>, sizes: &[u32]) -> Option<u64> {
    if record.topic == tidegate_protocol::gap::TOPIC {
        return Some(GAP | u64::from(crc32c::crc32c(record.payload)));
    }
    let number = u64::from_le_bytes(*record.payload.first_chunk()?);
    is_payload(record.payload, number, *sizes.get(number as usize)?).then_some(number)
}

fn payload(number: u64, size: u32) -> Vec<u8> {
    let mut bytes = vec![number as u8; 8 + size as usize];
    bytes[..8].copy_from_slice(&number.to_le_bytes());
    bytes
}

/// Whether bytes are what [`payload`] makes; without making it, for this is asked a hundred million times.
fn is_payload(bytes: &[u8], number: u64, size: u32) -> bool {
    let Some((head, rest)) = bytes.split_first_chunk::<8>() else { return false };
    let same = rest.first().is_none_or(|first| *first == number as u8 && rest[1..] == rest[..rest.len() - 1]);
    *head == number.to_le_bytes() && rest.len() == size as usize && same
}

impl Run {
    pub(super) fn new(shape: Shape) -> Result<Self, String> {
        let disk = if shape.exact { SimulatedDisk::exact() } else { SimulatedDisk::new() };
        let clock = Arc::new(SetClock::at(stamp(1_000)));
        let (model, sessions) = (Model::default(), [None; 3]);
        let mut run = Self {
            shape,
            disk,
            driven: None,
            model,
            sessions,
            next_session: 0,
            failed: 0,
            failed_before: 0,
            doubted: [false; 3],
            firsts: Default::default(),
            was_full: false,
            replayed: Default::default(),
            clock,
        };
        let (driven, _) = run.open(&run.disk).map_err(|error| format!("{error:?}"))?;
        run.driven = Some(driven);
        Ok(run)
    }

    /// Opens what a disk holds.
    pub(super) fn open(&self, disk: &SimulatedDisk) -> Result<((Driven, Store), Opened), StoreError> {
        let max_size = if self.shape.evicts { MIN_MAX_SIZE } else { ROOMY };
        let mut options = Options { max_size, clock: self.clock.clone(), ..options() };
        if self.shape.keeps {
            options.keep_delivered = KEEP;
            options.lanes[2].max_age = Some(MAX_AGE);
        }
        let (mut driven, opened) = Driven::open(options, Arc::new(disk.clone()), self.shape.segment_size)?;
        if let Some(bytes) = self.shape.commit_bytes {
            driven.limit_commits(bytes);
        }
        let in_flight = Arc::new(tokio::sync::Semaphore::new(IN_FLIGHT_BYTES));
        let store = Store { inner: Arc::new(Inner { shared: driven.shared(), in_flight }) };
        Ok(((driven, store), opened))
    }

    /// Takes all steps; hands back the disk, which knows what it did.
    pub(super) fn all(mut self, steps: &[Numbered]) -> Result<SimulatedDisk, String> {
        for (index, (seed, step)) in steps.iter().enumerate() {
            self.disk.seed(*seed);
            self.step(step).map_err(|what| format!("step {index}, {step:?}: {what}"))?;
        }
        self.calm()?;
        self.step(&Step::Close)?;
        Ok(self.disk)
    }

    pub(super) fn store(&self) -> &Store {
        &self.driven.as_ref().expect("a store is open between steps").1
    }

    pub(super) fn driven(&self) -> &Driven {
        &self.driven.as_ref().expect("a store is open between steps").0
    }

    fn step(&mut self, step: &Step) -> Held {
        match step {
            Step::Put { records, turn } => return self.put(records, vec![], *turn),
            Step::Publish { .. } | Step::Release { .. } => return self.qos2(step),
            Step::Session { session, disconnected_ms } => return self.session(*session, *disconnected_ms),
            Step::SessionEnd { session } => {
                let Some(id) = self.sessions[usize::from(*session)].take() else { return Ok(()) };
                return self.change(Change::SessionEnd { id }, Fact::Session(id, None));
            }
            Step::Acknowledge { lane, span, with } => return self.acknowledge(*lane, *span, *with),
            Step::Sent { lane, span } => {
                let ((from, below), of) = (self.span(*lane, *span), LaneId(*lane));
                return self.change(Change::Sent { lane: of, from, below }, Fact::Sent(*lane, from, below));
            }
            Step::Replay { lane, span } => {
                let ((from, below), of) = (self.span(*lane, *span), LaneId(*lane));
                self.replayed[usize::from(*lane)].push((from, below));
                return self.change(Change::Replay { lane: of, from, below }, Fact::Replayed(*lane, from, below));
            }
            Step::PutAside { lane, part } => {
                let seq = self.place(*lane, *part);
                let change = Change::PutAside { lane: LaneId(*lane), seq, reason: "x".into() };
                return self.change(change, Fact::Aside(*lane, seq));
            }
            Step::Refused { count } => {
                let refusal = Refusal { cause: "topic".into(), who: "x".into(), count: *count };
                return self.change(Change::Refused(refusal), Fact::Refused(u64::from(*count)));
            }
            Step::Read { lane, part, records, bytes } => return self.read_some(*lane, *part, *records, *bytes),
            Step::Turn => return self.turn(),
            Step::Fail { call, part, errno, skip, times } => {
                // A write that takes nothing is taken for want of room.
                self.was_full |= *errno == 28 || *call == Call::ShortWrite;
                self.disk.fail(Fault { call: *call, part, errno: *errno, skip: *skip, times: *times });
            }
            Step::Pass { ms } => self.clock.advance(*ms),
            Step::Full { room } => {
                self.was_full = true;
                self.disk.leave_room(*room);
            }
            Step::ReadOnly => self.disk.make_read_only(),
            Step::Calm => return self.calm(),
            Step::Die { after } => self.disk.die_after(*after),
            Step::Cut { again } => return self.cut(again),
            Step::Kill if self.disk.is_dead() => return self.cut(&[]),
            Step::Kill => {
                self.driven = None;
                return self.reopen(self.disk.killed(), false);
            }
            Step::Close => return self.close(),
        }
        Ok(())
    }

    /// Hands a submission in, and takes the writer's turn.
    fn submit(&mut self, mut submission: Submission, records: Vec<(u8, u64)>, changes: Vec<Fact>, turn: bool) -> Held {
        let done = submission.on_commit();
        self.store().submit(submission);
        self.model.open.push(Open { done, records, changes });
        if turn { self.turn() } else { Ok(()) }
    }

    fn change(&mut self, change: Change, fact: Fact) -> Held {
        let mut submission = Submission::new();
        submission.change(change);
        self.submit(submission, vec![], vec![fact], true)
    }

    fn push(&mut self, submission: &mut Submission, lane: u8, size: u32, origin: Option<Origin>) -> (u8, u64) {
        let number = self.model.sizes.len() as u64;
        self.model.sizes.push(size);
        let stamp = self.clock.now();
        self.model.received.push(stamp.uptime_ms);
        submission.push(LaneId(lane), &NewRecord { stamp, origin, ..record(&payload(number, size)) });
        (lane, number)
    }

    fn put(&mut self, records: &[(u8, u32)], changes: Vec<(Change, Fact)>, turn: bool) -> Held {
        let (mut submission, mut facts) = (Submission::new(), vec![]);
        let records = records.iter().map(|(lane, size)| self.push(&mut submission, *lane, *size, None)).collect();
        for (change, fact) in changes {
            submission.change(change);
            facts.push(fact);
        }
        self.submit(submission, records, facts, turn)
    }

    fn qos2(&mut self, step: &Step) -> Held {
        let (Step::Publish { session, packet_id, .. } | Step::Release { session, packet_id }) = step else {
            return Ok(());
        };
        let Some(session) = self.sessions[usize::from(*session)] else { return Ok(()) };
        let origin = Origin { session, packet_id: *packet_id };
        let mut open = self.model.open.iter().flat_map(|one| &one.changes);
        if matches!(step, Step::Release { .. }) && open.any(|fact| *fact == Fact::Unreleased(origin, true)) {
            // A client releases only what was answered.
            return Ok(());
        }
        let (mut submission, mut records, mut facts) = (Submission::new(), vec![], vec![]);
        if let Step::Publish { lane, .. } = step {
            records.push(self.push(&mut submission, *lane, 10, Some(origin)));
            // Using a packet id again releases what it named before, and the two may be cut apart.
            facts.extend([Fact::Unreleased(origin, false), Fact::Unreleased(origin, true)]);
        }
        if !matches!(step, Step::Publish { release: false, .. }) {
            submission.change(Change::Release(origin));
            facts.push(Fact::Unreleased(origin, false));
        }
        self.submit(submission, records, facts, true)
    }

    fn session(&mut self, slot: u8, disconnected_ms: Option<u64>) -> Held {
        let id = *self.sessions[usize::from(slot)].get_or_insert_with(|| {
            self.next_session += 1;
            self.next_session - 1
        });
        let record = SessionRecord { disconnected_ms, ..super::super::session(id) };
        self.change(Change::Session(record.clone()), Fact::Session(id, Some(record)))
    }

    /// A sequence number so many 255ths into what is on the disk, 255 being behind all of it.
    fn place(&self, lane: u8, part: u8) -> u64 {
        let kept = &self.model.kept[usize::from(lane)];
        let behind = self.model.next[usize::from(lane)];
        kept.get(kept.len() * usize::from(part) / 255).map_or(behind, |one| one.seq)
    }

    fn span(&self, lane: u8, (from, below): (u8, u8)) -> (u64, u64) {
        let from = if from == 0 { 0 } else { self.place(lane, from) };
        (from, self.place(lane, below))
    }

    fn acknowledge(&mut self, lane: u8, span: (u8, u8), with: Option<u32>) -> Held {
        let (from, below) = self.span(lane, span);
        let change = Change::Acknowledge { lane: LaneId(lane), from, below };
        let records: Vec<_> = with.map(|size| (lane, size)).into_iter().collect();
        self.put(&records, vec![(change, Fact::Acknowledged(lane, from, below))], true)
    }

    fn turn(&mut self) -> Held {
        if let Some((driven, _)) = &mut self.driven {
            let before = driven.framed_ahead();
            driven.turn();
            FRAMED_AHEAD.fetch_add(driven.framed_ahead() - before, Ordering::Relaxed);
        }
        self.after_turn()
    }

    /// A read as a forwarder makes it: what is there from some place on, in order, without a gap.
    fn read_some(&mut self, lane: u8, part: u8, records: u8, bytes: u32) -> Held {
        let from = self.place(lane, part);
        let mut reader = self.store().reader(LaneId(lane));
        let limit = ReadLimit { records: usize::from(records), bytes: bytes as usize };
        let Ok(chunk) = reader.read(from, limit) else {
            return ensure(self.disk.failed() > self.failed, || "a read fails though the disk does not".into());
        };
        let expected = self.model.from(lane, from);
        ensure(chunk.len() <= expected.len() && (!chunk.is_empty() || expected.is_empty()), || {
            format!("{} read from {from} on, {expected:?} expected", chunk.len())
        })?;
        for (read, one) in chunk.iter().zip(expected) {
            let number = number_of(&read, &self.model.sizes);
            ensure(number.is_some_and(|number| one.is(read.seq, number)), || {
                format!("{} read, which is {number:?}; {one:?} expected", read.seq)
            })?;
        }
        Ok(())
    }

    /// The disk recovers; the writer catches up; all is as the model says.
    fn calm(&mut self) -> Held {
        if self.disk.is_dead() {
            return self.cut(&[]);
        }
        self.disk.calm();
        for _ in 0..1000 {
            self.turn()?;
            if self.model.open.is_empty() {
                break;
            }
        }
        let reason = self.store().stats().stalled;
        ensure(self.model.open.is_empty(), || format!("still not answered: {reason:?}"))?;
        self.check()
    }

    fn close(&mut self) -> Held {
        if self.disk.is_dead() {
            return self.cut(&[]);
        }
        // What is answered while it closes counts, and may be evicted in a later turn.
        while !self.driven.as_mut().is_none_or(|(driven, _)| driven.turn_to_close()) {
            self.after_turn()?;
        }
        if let Some((driven, store)) = self.driven.take() {
            self.take_answers(&store)?;
            drop(driven);
        }
        if self.disk.is_dead() {
            return self.cut(&[]);
        }
        // What recovery could not tidy up it finds again.
        let clean = self.model.open.is_empty() && self.disk.failed() == self.failed_before;
        self.reopen(self.disk.clone(), clean)
    }
}
