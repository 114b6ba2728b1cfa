//! What has to hold, and when it is looked at.

use super::model::{Id, Kept, effect};
use super::run::{Held, Run, ensure, is_payload};
use super::*;
use std::collections::BTreeSet;

const NAMES: [&str; 3] = ["critical", "normal", "bulk"];

/// What a store says of itself after recovery, the epoch left out.
#[derive(Debug, PartialEq)]
struct Found {
    records: Vec<Vec<(Id, u64)>>,
    ranges: Vec<(Ranges, Ranges)>,
    sessions: Vec<KeptSession>,
    counters: (u64, u64),
}

/// Without what lies below a number.
fn above(ranges: &Ranges, from: u64) -> Ranges {
    let mut ranges = ranges.clone();
    ranges.remove(0, from);
    ranges
}

impl Run {
    /// After every turn of the writer: what was just answered, and nothing else, is there and reads as it was handed
    /// in; what waits is what was answered, or what the changes on their way make of it.
    pub(super) fn after_turn(&mut self) -> Held {
        let answered = self.model.answered();
        for lane in 0..3_u8 {
            let index = usize::from(lane);
            let (front, next) = self.driven().lane(index);
            let first = self.model.next[index];
            let fresh = answered.iter().filter(|(one, _)| *one == lane).map(|(_, number)| *number);
            for number in fresh {
                let seq = self.model.next[index];
                self.model.next[index] += 1;
                self.model.kept[index].push(Kept::new(seq, number));
            }
            ensure(self.model.next[index] == next, || {
                format!("{}: {next} records are committed, {} answered", NAMES[index], self.model.next[index])
            })?;
            if first < next {
                self.read_fresh(lane, first)?;
            }
            self.compare_ranges(lane)?;
            self.forget_below(lane, front)?;
        }
        Ok(())
    }

    /// Reads what was just answered, and names it.
    fn read_fresh(&mut self, lane: u8, first: u64) -> Held {
        let epoch = self.driven().epoch();
        for Kept { seq, number, .. } in self.model.from(lane, first).to_vec() {
            self.name(&(epoch.clone(), lane, seq), number)?;
        }
        match self.read_all(self.store(), lane, first) {
            Ok(read) => {
                let same = read.iter().map(|(id, number)| (id.2, *number));
                let expected = self.model.from(lane, first).iter().map(|one| (one.seq, one.number));
                ensure(same.eq(expected), || format!("{}: {read:?} read from {first} on", NAMES[usize::from(lane)]))
            }
            Err(_) if self.disk.failed() > self.failed => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Notes what an id names.
    pub(super) fn name(&mut self, id: &Id, number: u64) -> Held {
        let named = *self.model.ids.entry(id.clone()).or_insert(number);
        ensure(named == number, || format!("{id:?} names {named} and {number}"))
    }

    /// What waits and what was never sent is as it was answered, or as some of what is on its way makes it. Below the
    /// oldest segment nothing is asked: nothing there can be delivered.
    fn compare_ranges(&self, lane: u8) -> Held {
        let (index, of) = (usize::from(lane), LaneId(lane));
        let (front, _) = self.driven().lane(index);
        let state = &self.model.state;
        let (now, all) =
            (self.store().waiting(of), self.model.may_be(state.waiting[index].clone(), effect::waiting(lane)));
        let cursor = now.first();
        let same = all.iter().any(|one| *one == now) || all.iter().any(|one| above(one, front) == above(&now, front));
        ensure(same, || format!("{}: {now:?} waits from {front} on ({cursor}), not {all:?}", NAMES[index]))?;
        let (now, all) =
            (self.store().unsent(of), self.model.may_be(state.unsent[index].clone(), effect::unsent(lane)));
        let same = all.iter().any(|one| *one == now) || all.iter().any(|one| above(one, front) == above(&now, front));
        ensure(same, || format!("{}: {now:?} is unsent from {front} on, not {all:?}", NAMES[index]))
    }

    /// Segments are gone: nothing of them waited, or there was no room and the oldest went.
    fn forget_below(&mut self, lane: u8, front: u64) -> Held {
        let index = usize::from(lane);
        if self.model.kept[index].first().is_none_or(|one| one.seq >= front) {
            return Ok(());
        }
        let all = self.model.may_be(self.model.state.waiting[index].clone(), effect::waiting(lane));
        let kept = &mut self.model.kept[index];
        let gone = kept.drain(..kept.partition_point(|one| one.seq < front));
        let evicted = gone.filter(|one| !one.delivered && all.iter().all(|waiting| waiting.contains(one.seq))).count();
        self.model.evicted += evicted as u64;
        self.model.state.waiting[index].remove(0, front);
        self.model.state.unsent[index].remove(0, front);
        ensure(evicted == 0 || self.shape.evicts, || format!("{evicted} of {} are gone", NAMES[index]))
    }

    /// All from a number on.
    fn read_all(&self, store: &Store, lane: u8, from: u64) -> Result<Vec<(Id, u64)>, String> {
        let (mut reader, mut from, mut read) = (store.reader(LaneId(lane)), from, vec![]);
        loop {
            let chunk = reader.read(from, ALL).map_err(|error| format!("lane {lane}: {error:?}"))?;
            let Some(last) = chunk.last_seq() else { return Ok(read) };
            for one in chunk.iter() {
                let number = one.payload.first_chunk().map_or(u64::MAX, |bytes| u64::from_le_bytes(*bytes));
                let size = self.model.sizes.get(number as usize);
                ensure(size.is_some_and(|size| is_payload(one.payload, number, *size)), || {
                    format!("lane {lane}: {} was never written like that", one.seq)
                })?;
                read.push(((one.epoch.to_owned(), lane, one.seq), number));
            }
            from = last + 1;
        }
    }

    /// Nothing is on its way: all that is kept is there, and the figures agree.
    pub(super) fn check(&mut self) -> Held {
        let stats = self.store().stats();
        for lane in 0..3_u8 {
            let (index, (front, _)) = (usize::from(lane), self.driven().lane(usize::from(lane)));
            let read = self.read_all(self.store(), lane, front)?;
            let (read, kept) = (read.iter().map(|(id, number)| (id.2, *number)), &self.model.kept[index]);
            let same = read.clone().eq(kept.iter().map(|one| (one.seq, one.number)));
            ensure(same, || format!("{}: {:?} are there, not {kept:?}", NAMES[index], read.collect::<Vec<_>>()))?;
            self.compare_ranges(lane)?;
            let waiting = self.store().waiting(LaneId(lane));
            let said = kept.iter().filter(|one| waiting.contains(one.seq)).count() as u64;
            ensure(stats.lanes[index].waiting == said, || {
                format!("{}: {} said to wait, not {said}", NAMES[index], stats.lanes[index].waiting)
            })?;
            let damaged = stats.lanes[index].damaged;
            ensure(damaged == 0 || !self.shape.exact, || format!("{}: {damaged} said to be damaged", NAMES[index]))?;
        }
        let counted: u64 = stats.lanes.iter().map(|lane| lane.evicted).sum();
        ensure(counted >= self.model.evicted, || format!("{counted} counted, {} evicted", self.model.evicted))?;
        ensure(counted == 0 || self.shape.evicts, || format!("{counted} said to be evicted"))?;
        let used = self.disk.used();
        ensure(used <= stats.max_size, || format!("{used} bytes are used"))?;
        if self.model.open.is_empty() {
            let (refused, aside) = (self.model.state.refused, self.model.state.aside);
            ensure((stats.refused, stats.put_aside) == (refused, aside), || {
                format!("{} refused and {} put aside, not {refused} and {aside}", stats.refused, stats.put_aside)
            })?;
            self.compare_sessions(&self.driven().sessions())?;
        }
        Ok(())
    }

    /// The power is cut now, and again after so many calls of each recovery.
    pub(super) fn cut(&mut self, again: &[u32]) -> Held {
        self.driven = None;
        let doubts = |name: &str| self.disk.doubts(std::path::Path::new(&format!("/store/lane-{name}")));
        self.doubted = NAMES.map(doubts);
        let mut disk = self.disk.cut();
        if again.is_empty() {
            return self.reopen(disk, false);
        }
        let direct = self.recovered(&disk)?;
        for calls in again {
            disk.die_after(*calls);
            drop(self.open(&disk));
            disk = disk.cut();
        }
        let after = self.recovered(&disk)?;
        ensure(direct == after, || format!("recovery finds {direct:?}, and after another cut {after:?}"))?;
        self.reopen(disk, false)
    }

    /// What recovery would find on a disk that works.
    fn recovered(&self, disk: &SimulatedDisk) -> Result<Found, String> {
        let disk = disk.fork();
        disk.calm();
        let ((driven, store), opened) = self.open(&disk).map_err(|error| format!("it does not open: {error:?}"))?;
        let records = |lane| self.read_all(&store, lane, store.cursor(LaneId(lane)));
        let records = (0..3).map(records).collect::<Result<Vec<_>, _>>()?;
        let ranges = (0..3).map(|lane| (store.waiting(LaneId(lane)), store.unsent(LaneId(lane)))).collect();
        let stats = store.stats();
        drop((driven, store));
        Ok(Found { records, ranges, sessions: opened.sessions, counters: (stats.refused, stats.put_aside) })
    }

    /// Opens what the disk holds, at first with the faults that are to come.
    pub(super) fn reopen(&mut self, disk: SimulatedDisk, clean: bool) -> Held {
        self.driven = None;
        let (before, mut disk) = (disk.failed(), disk);
        let result = self.open(&disk);
        if result.is_err() && disk.failed() == before {
            return Err(format!("it does not open: {:?}", result.err()));
        }
        let (driven, opened) = match result {
            Ok(opened) if disk.failed() == before => opened,
            result => {
                // What a sync that failed should have kept is handed out and may still be lost: no process lives on
                // with that here, so that what follows can be judged exactly.
                drop(result);
                disk = if disk.is_dead() { disk.cut() } else { disk.killed() };
                disk.calm();
                self.open(&disk).map_err(|error| format!("it does not open on a disk that works: {error:?}"))?
            }
        };
        disk.calm();
        (self.driven, self.failed, self.failed_before) = (Some(driven), disk.failed(), before);
        self.disk = disk;
        ensure(!clean || self.failed > before || !opened.new_epoch, || {
            format!("a new epoch for nothing: {:?}", opened.report)
        })?;
        for lane in 0..3_u8 {
            self.compare_ranges(lane)?;
            self.compare_lane(lane, &opened)?;
        }
        self.compare_counters()?;
        self.compare_sessions(&opened.sessions)?;
        self.adopt(&opened);
        self.check()
    }

    fn compare_counters(&mut self) -> Held {
        let (found, state) = (self.store().stats(), &self.model.state);
        let now = (found.refused, found.put_aside);
        let all = self.model.may_be((state.refused, state.aside), effect::counters);
        ensure(all.contains(&now), || format!("refused and put aside: {now:?}, not {all:?}"))
    }

    fn compare_sessions(&self, kept: &[KeptSession]) -> Held {
        let state = &self.model.state;
        let open = self.model.open.iter().flat_map(|one| &one.changes);
        let open = open.filter_map(|fact| if let Fact::Session(id, _) = fact { Some(*id) } else { None });
        let ids: BTreeSet<u64> =
            kept.iter().map(|one| one.record.id).chain(state.sessions.keys().copied()).chain(open).collect();
        for id in ids {
            let now = kept.iter().find(|one| one.record.id == id);
            let (record, all) = (now.map(|one| one.record.clone()), state.sessions.get(&id).cloned());
            let all = self.model.may_be(all, effect::session(id));
            ensure(all.contains(&record), || format!("session {id}: {record:?}, not {all:?}"))?;
            for packet_id in 1..5 {
                let has = now.is_some_and(|one| one.unreleased.contains(&packet_id));
                let answered = (state.sessions.contains_key(&id), state.unreleased.contains(&(id, packet_id)));
                let all = self.model.may_be(answered, effect::unreleased(id, packet_id));
                ensure(all.iter().any(|one| one.1 == has), || {
                    format!("packet {packet_id} of {id}: {has}, not {all:?}")
                })?;
            }
        }
        Ok(())
    }

    /// What was answered is all there, then of what was not answered at most a beginning, once.
    fn compare_lane(&mut self, lane: u8, opened: &Opened) -> Held {
        let index = usize::from(lane);
        let ((front, next), cursor) = (self.driven().lane(index), self.store().cursor(LaneId(lane)));
        self.forget_below(lane, front)?;
        // Below the cursor, a removed file may be there again or not.
        let from = cursor.max(front);
        let found = self.read_all(self.store(), lane, from)?;
        let known = self.model.from(lane, from);
        let same = found.iter().zip(known).all(|((id, number), one)| one.is(id.2, *number));
        ensure(same && found.len() >= known.len(), || {
            format!("lane {lane}: {found:?} are there, not {known:?}: {:?}", opened.report)
        })?;
        let fresh = &found[known.len()..];
        let doubtful = self.model.doubtful(lane);
        let numbers = fresh.iter().map(|(_, number)| number);
        if self.shape.exact && !self.doubted[index] {
            let same = doubtful.starts_with(&numbers.copied().collect::<Vec<_>>());
            ensure(same, || format!("{fresh:?} does not begin {doubtful:?} of lane {lane}: {:?}", opened.report))?;
        } else {
            let mut places = self.model.ghosts[index].iter().chain(&doubtful);
            for one in numbers {
                ensure(places.any(|place| place == one), || format!("{fresh:?} is not of {doubtful:?} in order"))?;
            }
        }
        self.model.ghosts[index].extend(doubtful);
        let all: BTreeSet<u64> = found.iter().map(|(_, number)| *number).collect();
        ensure(all.len() == found.len(), || format!("lane {lane} holds a record twice"))?;
        let fresh: Vec<Kept> = fresh.iter().map(|(id, number)| Kept::new(id.2, *number)).collect();
        self.model.kept[index].extend(fresh);
        self.model.next[index] = next;
        self.forget_kept_below(lane, front)?;
        found.into_iter().try_for_each(|(id, number)| self.name(&id, number))
    }

    /// What is below the cursor is on the disk as it was, or gone.
    fn forget_kept_below(&mut self, lane: u8, front: u64) -> Held {
        let there = self.read_all(self.store(), lane, front)?;
        let mut kept = Vec::with_capacity(there.len());
        for (id, number) in there {
            let known = self.model.find(lane, id.2);
            ensure(known.is_none_or(|known| known.number == number), || format!("{id:?} is {number}, not {known:?}"))?;
            kept.push(known.unwrap_or(Kept { delivered: true, ..Kept::new(id.2, number) }));
        }
        self.model.kept[usize::from(lane)] = kept;
        Ok(())
    }

    /// What was in doubt is as it was found.
    fn adopt(&mut self, opened: &Opened) {
        let found = self.store().stats();
        let ranges: Vec<_> =
            (0..3).map(|lane| (self.store().waiting(LaneId(lane)), self.store().unsent(LaneId(lane)))).collect();
        let state = &mut self.model.state;
        for (lane, (waiting, unsent)) in ranges.into_iter().enumerate() {
            let kept = self.model.kept[lane].iter_mut();
            kept.filter(|one| !waiting.contains(one.seq)).for_each(|one| one.delivered = true);
            (state.waiting[lane], state.unsent[lane]) = (waiting, unsent);
        }
        (state.refused, state.aside) = (found.refused, found.put_aside);
        state.sessions = opened.sessions.iter().map(|one| (one.record.id, one.record.clone())).collect();
        state.unreleased = opened
            .sessions
            .iter()
            .flat_map(|one| one.unreleased.iter().map(|packet_id| (one.record.id, *packet_id)))
            .collect();
        for slot in &mut self.sessions {
            *slot = slot.filter(|id| state.sessions.contains_key(id));
        }
        self.model.open.clear();
    }
}
