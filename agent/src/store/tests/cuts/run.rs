//! The real journal beside the model, step by step.

use super::model::{Fact, Id, Model, State, Waiting};
use super::*;
use crate::store::journal::driven::Driven;
use std::collections::BTreeSet;

/// A byte limit that is never met.
const ROOMY: u64 = 1 << 30;

/// The number of a record that was answered while the store was being closed: seen when it is opened again.
const UNNUMBERED: u64 = u64::MAX;

const NAMES: [&str; 3] = ["critical", "normal", "bulk"];

type Held = Result<(), String>;

/// What a store says of itself after recovery, the epoch left out.
#[derive(Debug, PartialEq)]
struct Found {
    records: Vec<Vec<(Id, u64)>>,
    cursors: Vec<(u64, u64)>,
    sessions: Vec<KeptSession>,
    counters: (u64, u64),
}

pub(super) struct Run {
    shape: Shape,
    disk: SimulatedDisk,
    /// The writer goes before the handle, which waits for it.
    driven: Option<(Driven, Store)>,
    model: Model,
    sessions: [Option<u64>; 3],
    next_session: u64,
    /// Errors that the disk had given when the store was opened.
    failed: u64,
}

fn ensure(holds: bool, what: impl FnOnce() -> String) -> Held {
    if holds { Ok(()) } else { Err(what()) }
}

/// The store itself puts these into lane 0.
fn is_gap(record: &RecordRef<'_>) -> bool {
    record.topic == tidegate_protocol::gap::TOPIC
}

fn payload(number: u64, size: u32) -> Vec<u8> {
    let mut bytes = number.to_le_bytes().to_vec();
    bytes.resize(8 + size as usize, number as u8);
    bytes
}

fn open(shape: Shape, disk: &SimulatedDisk) -> Result<((Driven, Store), Opened), StoreError> {
    let max_size = if shape.evicts { MIN_MAX_SIZE } else { ROOMY };
    let (driven, opened) = Driven::open(Options { max_size, ..options() }, Arc::new(disk.clone()), shape.segment_size)?;
    let in_flight = Arc::new(tokio::sync::Semaphore::new(IN_FLIGHT_BYTES));
    let store = Store { inner: Arc::new(Inner { shared: driven.shared(), in_flight }) };
    Ok(((driven, store), opened))
}

impl Run {
    pub(super) fn new(shape: Shape) -> Result<Self, String> {
        let disk = SimulatedDisk::new();
        let (driven, _) = open(shape, &disk).map_err(|error| format!("{error:?}"))?;
        let model = Model::default();
        let (driven, sessions) = (Some(driven), [None; 3]);
        Ok(Self { shape, disk, driven, model, sessions, next_session: 0, failed: 0 })
    }

    pub(super) fn all(mut self, steps: &[Numbered]) -> Held {
        for (index, (seed, step)) in steps.iter().enumerate() {
            self.disk.seed(*seed);
            self.step(step).map_err(|what| format!("step {index}, {step:?}: {what}"))?;
        }
        self.calm()?;
        self.step(&Step::Close)
    }

    fn store(&self) -> &Store {
        &self.driven.as_ref().expect("a store is open between steps").1
    }

    fn step(&mut self, step: &Step) -> Held {
        match step {
            Step::Put { lane, sizes, turn } => return self.put(*lane, sizes, vec![], *turn),
            Step::Publish { .. } | Step::Release { .. } => return self.qos2(step),
            Step::Session { session, disconnected_ms } => return self.session(*session, *disconnected_ms),
            Step::SessionEnd { session } => {
                let Some(id) = self.sessions[usize::from(*session)].take() else { return Ok(()) };
                return self.change(Change::SessionEnd { id }, Fact::Session(id, None));
            }
            Step::Acknowledge { lane, part, with } => return self.acknowledge(*lane, *part, *with),
            Step::Sent { lane, part } => {
                let below = self.place(*lane, *part);
                return self.change(Change::Sent { lane: LaneId(*lane), from: 0, below }, Fact::Sent(*lane, below));
            }
            Step::PutAside { lane, part } => {
                let change =
                    Change::PutAside { lane: LaneId(*lane), seq: self.place(*lane, *part), reason: "x".into() };
                return self.change(change, Fact::Aside);
            }
            Step::Refused { count } => {
                let refusal = Refusal { cause: "topic".into(), who: "x".into(), count: *count };
                return self.change(Change::Refused(refusal), Fact::Refused(u64::from(*count)));
            }
            Step::Read { lane, part, records, bytes } => return self.read_some(*lane, *part, *records, *bytes),
            Step::Turn => return self.turn(),
            Step::Fail { call, part, errno, skip, times } => {
                self.disk.fail(Fault { call: *call, part, errno: *errno, skip: *skip, times: *times });
            }
            Step::Full { room } => self.disk.leave_room(*room),
            Step::ReadOnly => self.disk.make_read_only(),
            Step::Calm => return self.calm(),
            Step::Die { after } => self.disk.die_after(*after),
            Step::Cut { again } => return self.cut(again),
            Step::Kill if self.disk.is_dead() => return self.cut(&[]),
            Step::Kill => {
                self.driven = None;
                let disk = self.disk.killed();
                disk.calm();
                return self.reopen(disk, false);
            }
            Step::Close => return self.close(),
        }
        Ok(())
    }

    /// Hands a submission in, and takes the writer's turn.
    fn submit(&mut self, mut submission: Submission, records: Vec<(u8, u64)>, changes: Vec<Fact>, turn: bool) -> Held {
        let done = submission.on_commit();
        self.store().submit(submission);
        self.model.open.push(Waiting { done, records, changes });
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
        submission.push(LaneId(lane), &NewRecord { origin, ..record(&payload(number, size)) });
        (lane, number)
    }

    fn put(&mut self, lane: u8, sizes: &[u32], changes: Vec<(Change, Fact)>, turn: bool) -> Held {
        let (mut submission, mut facts) = (Submission::new(), vec![]);
        let records = sizes.iter().map(|size| self.push(&mut submission, lane, *size, None)).collect();
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

    /// A sequence number so many 255ths into what waits, 255 being behind all of it.
    fn place(&self, lane: u8, part: u8) -> u64 {
        let waiting = &self.model.waiting[usize::from(lane)];
        let index = waiting.len() * usize::from(part) / 255;
        let last = waiting.back().map_or_else(|| self.store().cursor(LaneId(lane)), |(seq, _)| seq + 1);
        waiting.get(index).map_or(last, |(seq, _)| *seq)
    }

    fn acknowledge(&mut self, lane: u8, part: u8, with: Option<u32>) -> Held {
        let below = self.place(lane, part);
        let change = (Change::Acknowledge { lane: LaneId(lane), from: 0, below }, Fact::Cursor(lane, below));
        self.put(lane, with.as_slice(), vec![change], true)
    }

    fn turn(&mut self) -> Held {
        if let Some((driven, _)) = &mut self.driven {
            driven.turn();
        }
        self.take_answers()
    }

    /// What was just answered can be read, is what was handed in, and is numbered upwards.
    fn take_answers(&mut self) -> Held {
        let answered = self.model.answered();
        for lane in 0..3_u8 {
            let mut expected: Vec<u64> =
                answered.iter().filter(|(one, _)| *one == lane).map(|(_, number)| *number).collect();
            if !expected.is_empty() {
                let next = self.store().stats().lanes[usize::from(lane)].next;
                let first = next.saturating_sub(expected.len() as u64);
                for (seq, number) in (first..).zip(expected.drain(..)) {
                    let epoch = self.store().stats().epoch;
                    self.name(&(epoch, lane, seq), number)?;
                    self.model.waiting[usize::from(lane)].push_back((seq, number));
                }
            }
            self.trim(lane)?;
        }
        Ok(())
    }

    /// Notes what an id names.
    fn name(&mut self, id: &Id, number: u64) -> Held {
        let named = *self.model.ids.entry(id.clone()).or_insert(number);
        ensure(named == number, || format!("{id:?} names {named} and {number}"))
    }

    /// Drops what lies below the cursor from the model, and sees that the cursor has a right to be there.
    fn trim(&mut self, lane: u8) -> Held {
        let index = usize::from(lane);
        let (cursor, allowed) = (self.store().cursor(LaneId(lane)), self.model.may_be(|state| state.cursor[index]));
        let most = allowed.last().copied().unwrap_or(0);
        let waiting = &mut self.model.waiting[index];
        let evicted = waiting.iter().filter(|(seq, _)| *seq < cursor && *seq >= most).count() as u64;
        waiting.retain(|(seq, _)| *seq >= cursor);
        self.model.evicted += evicted;
        ensure(evicted == 0 || self.shape.evicts, || format!("the cursor of lane {lane} is {cursor}: {allowed:?}"))?;
        ensure(self.shape.evicts || allowed.contains(&cursor), || format!("cursor {cursor} of {lane}: {allowed:?}"))?;
        ensure(cursor >= self.model.state.cursor[index], || format!("the cursor of lane {lane} went back to {cursor}"))
    }

    /// A read as a forwarder makes it: nothing but what waits, in order, without a gap.
    fn read_some(&mut self, lane: u8, part: u8, records: u8, bytes: u32) -> Held {
        let from = self.place(lane, part);
        let mut reader = self.store().reader(LaneId(lane));
        let limit = ReadLimit { records: usize::from(records), bytes: bytes as usize };
        let Ok(chunk) = reader.read(from, limit) else {
            return ensure(self.disk.failed() > self.failed, || "a read fails though the disk does not".into());
        };
        let expected: Vec<_> =
            self.model.waiting[usize::from(lane)].iter().filter(|(seq, _)| *seq >= from).copied().collect();
        let read: Vec<_> = chunk.iter().filter(|one| !is_gap(one)).map(|one| (one.seq, one.payload.to_vec())).collect();
        ensure(read.len() <= expected.len() && (!chunk.is_empty() || expected.is_empty()), || {
            format!("{} read from {from} on, {expected:?} expected", read.len())
        })?;
        for ((seq, bytes), (wanted, number)) in read.iter().zip(&expected) {
            let same = *bytes == payload(*number, self.model.sizes[*number as usize]);
            ensure(seq == wanted && same, || format!("{seq} read, {wanted} expected, the same bytes: {same}"))?;
        }
        Ok(())
    }

    /// All from the cursor on.
    fn read_all(&self, store: &Store, lane: u8) -> Result<Vec<(Id, u64)>, String> {
        let (mut reader, mut from, mut read) = (store.reader(LaneId(lane)), store.cursor(LaneId(lane)), vec![]);
        loop {
            let chunk = reader.read(from, ALL).map_err(|error| format!("lane {lane}: {error:?}"))?;
            let Some(last) = chunk.last_seq() else { return Ok(read) };
            for one in chunk.iter().filter(|one| !is_gap(one)) {
                let number = one.payload.first_chunk().map_or(u64::MAX, |bytes| u64::from_le_bytes(*bytes));
                let size = self.model.sizes.get(number as usize);
                ensure(size.is_some_and(|size| one.payload == payload(number, *size)), || {
                    format!("lane {lane}: {} was never written like that", one.seq)
                })?;
                read.push(((one.epoch.to_owned(), lane, one.seq), number));
            }
            from = last + 1;
        }
    }

    /// Gap records that wait in a lane.
    fn gap_records(&self, lane: u8) -> Result<u64, String> {
        let (waiting, mut reader) = (self.store().waiting(LaneId(lane)), self.store().reader(LaneId(lane)));
        let (mut from, mut count) = (waiting.first(), 0);
        loop {
            let chunk = reader.read(from, ALL).map_err(|error| format!("lane {lane}: {error:?}"))?;
            let Some(last) = chunk.last_seq() else { return Ok(count) };
            count += chunk.iter().filter(|one| is_gap(one) && waiting.contains(one.seq)).count() as u64;
            from = last + 1;
        }
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

    /// Nothing is on its way: all that waits is there, and the figures agree.
    fn check(&mut self) -> Held {
        for lane in 0..3_u8 {
            let (index, read) = (usize::from(lane), self.read_all(self.store(), lane)?);
            let read: Vec<(u64, u64)> = read.into_iter().map(|(id, number)| (id.2, number)).collect();
            let waiting = &self.model.waiting[index];
            ensure(*waiting == read, || format!("{}: {read:?} are there, not {waiting:?}", NAMES[index]))?;
            if self.model.open.is_empty() {
                let said = self.store().stats().lanes[index].waiting;
                let all = read.len() as u64 + self.gap_records(lane)?;
                ensure(said == all, || format!("{}: {said} said to wait, not {all}", NAMES[index]))?;
            }
        }
        let stats = self.store().stats();
        let counted: u64 = stats.lanes.iter().map(|lane| lane.evicted).sum();
        ensure(counted >= self.model.evicted, || format!("{counted} counted, {} evicted", self.model.evicted))?;
        let used = self.disk.used();
        ensure(used <= stats.max_size, || format!("{used} bytes are used"))
    }

    fn close(&mut self) -> Held {
        if self.disk.is_dead() {
            return self.cut(&[]);
        }
        if let Some((driven, store)) = self.driven.take() {
            driven.close();
            drop(store);
            // What was answered while it closed counts.
            for (lane, number) in self.model.answered() {
                self.model.waiting[usize::from(lane)].push_back((UNNUMBERED, number));
            }
        }
        if self.disk.is_dead() {
            return self.cut(&[]);
        }
        let clean = self.model.open.is_empty() && self.disk.failed() == self.failed;
        self.disk.calm();
        self.reopen(self.disk.clone(), clean)
    }

    fn cut(&mut self, again: &[u32]) -> Held {
        self.driven = None;
        let mut disk = self.disk.cut();
        let direct = match open(self.shape, &disk.fork()) {
            Ok((driven, opened)) => self.found(&driven.1, &opened)?,
            Err(error) => return Err(format!("recovery fails on a disk that works: {error:?}")),
        };
        for calls in again {
            disk.die_after(*calls);
            drop(open(self.shape, &disk));
            disk = disk.cut();
        }
        let ((driven, store), opened) = open(self.shape, &disk.fork()).map_err(|error| format!("{error:?}"))?;
        let after = self.found(&store, &opened)?;
        drop((driven, store));
        ensure(direct == after, || format!("recovery finds {direct:?}, and after another cut {after:?}"))?;
        self.reopen(disk, false)
    }

    fn found(&self, store: &Store, opened: &Opened) -> Result<Found, String> {
        let records = (0..3).map(|lane| self.read_all(store, lane)).collect::<Result<Vec<_>, _>>()?;
        let cursors = (0..3).map(|lane| (store.cursor(LaneId(lane)), store.sent(LaneId(lane)))).collect();
        let stats = store.stats();
        Ok(Found { records, cursors, sessions: opened.sessions.clone(), counters: (stats.refused, stats.put_aside) })
    }

    fn reopen(&mut self, disk: SimulatedDisk, clean: bool) -> Held {
        self.driven = None;
        let (driven, opened) = open(self.shape, &disk).map_err(|error| format!("{error:?}"))?;
        (self.driven, self.failed) = (Some(driven), disk.failed());
        self.disk = disk;
        ensure(!clean || !opened.new_epoch, || format!("a new epoch for nothing: {:?}", opened.report))?;
        self.compare_state(&opened)?;
        for lane in 0..3_u8 {
            self.compare_lane(lane, &opened)?;
        }
        self.model.open.clear();
        self.check()
    }

    fn compare_state(&mut self, opened: &Opened) -> Held {
        let stats = self.store().stats();
        for lane in 0..3_u8 {
            self.trim(lane)?;
            let (index, sent) = (usize::from(lane), self.store().sent(LaneId(lane)));
            let allowed = self.model.may_be(|state| state.sent[index]);
            let cursor = self.store().cursor(LaneId(lane));
            ensure(allowed.contains(&sent) || sent == cursor, || format!("sent {sent} in {lane}: {allowed:?}"))?;
            (self.model.state.cursor[index], self.model.state.sent[index]) = (cursor, sent);
        }
        let allowed = self.model.may_be(|state| state.refused);
        ensure(allowed.contains(&stats.refused), || format!("{} refused, not {allowed:?}", stats.refused))?;
        let allowed = self.model.may_be(|state| state.aside);
        ensure(allowed.contains(&stats.put_aside), || format!("{} put aside, not {allowed:?}", stats.put_aside))?;
        (self.model.state.refused, self.model.state.aside) = (stats.refused, stats.put_aside);
        self.compare_sessions(&opened.sessions)
    }

    fn compare_sessions(&mut self, kept: &[KeptSession]) -> Held {
        let mut now = State { ..self.model.state.clone() };
        (now.sessions, now.unreleased) = Default::default();
        for one in kept {
            now.sessions.insert(one.record.id, one.record.clone());
            now.unreleased.extend(one.unreleased.iter().map(|packet_id| (one.record.id, *packet_id)));
        }
        for id in 0..self.next_session {
            let has = |state: &State| state.sessions.get(&id).map(|one| (one.client_id.clone(), one.disconnected_ms));
            let allowed = self.model.may_be(has);
            ensure(allowed.contains(&has(&now)), || format!("session {id}: {:?}, not {allowed:?}", has(&now)))?;
            for packet_id in 1..6 {
                let has = |state: &State| state.unreleased.contains(&(id, packet_id));
                let allowed = self.model.may_be(has);
                ensure(allowed.contains(&has(&now)), || format!("packet {packet_id} of {id}: {}", has(&now)))?;
            }
        }
        for slot in &mut self.sessions {
            *slot = slot.filter(|id| now.sessions.contains_key(id));
        }
        self.model.state = now;
        Ok(())
    }

    /// What was answered is all there, then at most what was in doubt, once.
    fn compare_lane(&mut self, lane: u8, opened: &Opened) -> Held {
        let (index, found) = (usize::from(lane), self.read_all(self.store(), lane)?);
        let (known, doubtful) = (self.model.waiting[index].clone(), self.model.doubtful(lane));
        let at = found.len().min(known.len());
        for ((id, number), (seq, wanted)) in found.iter().zip(&known) {
            let same = number == wanted && (id.2 == *seq || *seq == UNNUMBERED);
            ensure(same, || format!("{id:?} is {number}, not {wanted} at {seq}: {:?}", opened.report))?;
        }
        ensure(at == known.len(), || format!("lane {lane}: {:?} lost: {:?}", known.range(at..), opened.report))?;
        let mut places = doubtful.iter();
        for (id, number) in &found[at..] {
            ensure(places.any(|one| one == number), || format!("{id:?} is {number}, not of {doubtful:?} in order"))?;
        }
        self.model.waiting[index] = found.iter().map(|(id, number)| (id.2, *number)).collect();
        self.model.ghosts[index] = doubtful;
        let all: BTreeSet<u64> = found.iter().map(|(_, number)| *number).collect();
        ensure(all.len() == found.len(), || format!("lane {lane} holds a record twice"))?;
        found.into_iter().try_for_each(|(id, number)| self.name(&id, number))
    }
}
