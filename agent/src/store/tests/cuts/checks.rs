//! What has to hold, and when it is looked at.

use super::model::{Id, Kept, effect};
use super::run::{Held, Run, ensure, is_gap, number_of};
use super::*;
use std::collections::BTreeSet;

const NAMES: [&str; 3] = ["critical", "normal", "bulk"];

/// Of which lanes a cut may bring back what was taken back.
fn doubts(disk: &SimulatedDisk) -> [bool; 3] {
    NAMES.map(|name| disk.doubts(std::path::Path::new(&format!("/store/lane-{name}"))))
}

/// What a store says of itself after recovery, the epoch left out.
#[derive(Debug, PartialEq)]
struct Found {
    records: Vec<Vec<(Id, u64)>>,
    ranges: Vec<(Ranges, Ranges)>,
    sessions: Vec<KeptSession>,
    counters: (u64, u64),
}

impl Run {
    /// After every turn of the writer: what was just answered, and nothing else, is there and reads as it was handed
    /// in; what waits is what was answered, or what the changes on their way make of it.
    pub(super) fn after_turn(&mut self) -> Held {
        let store = self.store().clone();
        self.take_answers(&store)?;
        self.expire();
        for lane in 0..3_u8 {
            self.forget_removed(lane)?;
            self.compare_ranges(lane)?;
        }
        Ok(())
    }

    /// Takes in what became too old. What does not wait any more for another reason is found by whoever compares.
    fn expire(&mut self) {
        if !self.shape.keeps {
            return;
        }
        let (waiting, unsent) = (self.store().waiting(LaneId(2)), self.store().unsent(LaneId(2)));
        let (now, model, replayed) = (self.clock.now().uptime_ms, &mut self.model, &self.replayed[2]);
        // What is replayed in this turn may have become too old before.
        let recent = |seq: u64| replayed.iter().any(|(from, below)| (*from..*below).contains(&seq));
        let mortal = |kept: &&Kept| recent(kept.seq) || !model.wanted[2].contains(&kept.seq);
        let old = |kept: &&Kept| model.age(kept, now).is_none_or(|age| u128::from(age) > MAX_AGE.as_millis());
        let old: Vec<Kept> = model.kept[2].iter().filter(mortal).filter(old).copied().collect();
        for Kept { seq, delivered, .. } in old {
            if model.state.waiting[2].contains(seq) && !waiting.contains(seq) {
                model.state.waiting[2].remove(seq, seq + 1);
                // What was settled once and is kept no longer cannot be replayed, and does not count.
                model.expired += u64::from(!delivered);
                model.kept[2].iter_mut().filter(|one| one.seq == seq).for_each(|one| one.delivered = true);
            }
            if !unsent.contains(seq) {
                model.state.unsent[2].remove(seq, seq + 1);
            }
        }
    }

    /// Takes in what was answered, reads it, and names it. Gap records come by themselves.
    pub(super) fn take_answers(&mut self, store: &Store) -> Held {
        let answered = self.model.answered();
        for lane in 0..3_u8 {
            let index = usize::from(lane);
            let (first, next) = (self.model.next[index], store.inner.shared.next(index));
            let expected: Vec<u64> =
                answered.iter().filter(|(one, _)| *one == lane).map(|(_, number)| *number).collect();
            if first == next && expected.is_empty() {
                continue;
            }
            let read = self.disk.look(|| self.read_all(store, lane, first))?;
            let same =
                read.iter().map(|(_, number)| *number).filter(|number| !is_gap(*number)).eq(expected.iter().copied());
            let whole = read.iter().map(|(id, _)| id.2).eq(first..next) && (lane == 0 || read.len() == expected.len());
            ensure(same && whole, || {
                format!("{}: {read:?} are there from {first} on, {expected:?} were answered", NAMES[index])
            })?;
            self.model.next[index] = next;
            for (id, number) in read {
                self.model.kept[index].push(Kept::new(id.2, number));
                self.name(&id, number)?;
            }
        }
        Ok(())
    }

    /// Notes what an id names.
    pub(super) fn name(&mut self, id: &Id, number: u64) -> Held {
        let named = *self.model.ids.entry(id.clone()).or_insert(number);
        ensure(named == number, || format!("{id:?} names {named} and {number}"))
    }

    /// What waits and what was never sent is as it was answered, or as some of what is on its way makes it, of all
    /// that is there. Of what is gone nothing is asked: it cannot be delivered.
    fn compare_ranges(&mut self, lane: u8) -> Held {
        let (index, of) = (usize::from(lane), LaneId(lane));
        let (waiting, unsent) = (self.store().waiting(of), self.store().unsent(of));
        let state = &self.model.state;
        let all = self.model.may_be(state.waiting[index].clone(), effect::waiting(lane));
        let same = all.iter().any(|one| self.alike(lane, one, &waiting));
        let same = same || self.is_replayed_in_part(lane, &all, &waiting);
        ensure(same, || format!("{}: {waiting:?} waits, not {all:?}", NAMES[index]))?;
        if all.len() == 1 {
            self.model.state.waiting[index] = waiting;
            self.replayed[index].clear();
        }
        let all = self.model.may_be(self.model.state.unsent[index].clone(), effect::unsent(lane));
        let same = all.iter().any(|one| self.alike(lane, one, &unsent));
        ensure(same, || format!("{}: {unsent:?} is unsent, not {all:?}", NAMES[index]))?;
        if all.len() == 1 {
            self.model.state.unsent[index] = unsent;
        }
        Ok(())
    }

    /// Whether some of what was just replayed does not wait, and nothing else is different: what cannot be read when
    /// that is asked for is left out.
    fn is_replayed_in_part(&self, lane: u8, all: &[Ranges], waiting: &Ranges) -> bool {
        let replayed = &self.replayed[usize::from(lane)];
        let mut kept = self.model.kept[usize::from(lane)].iter().map(|kept| kept.seq);
        self.disk.failed() > self.failed
            && kept.all(|seq| {
                let asked = replayed.iter().any(|(from, below)| (*from..*below).contains(&seq));
                all.iter().any(|one| one.contains(seq) == waiting.contains(seq)) || (asked && !waiting.contains(seq))
            })
    }

    /// Whether two sets hold the same of the records that are there, and all that is still to come.
    fn alike(&self, lane: u8, one: &Ranges, other: &Ranges) -> bool {
        let (kept, next) = (&self.model.kept[usize::from(lane)], self.model.next[usize::from(lane)]);
        let whole = one.contains(next) && other.contains(next);
        one == other || (whole && kept.iter().all(|kept| one.contains(kept.seq) == other.contains(kept.seq)))
    }

    /// Segments are gone: nothing of them waited, or there was no room and the oldest went.
    fn forget_removed(&mut self, lane: u8) -> Held {
        let index = usize::from(lane);
        let now = self.driven().firsts(index);
        let before = std::mem::replace(&mut self.firsts[index], now);
        let now = &self.firsts[index];
        if before.iter().all(|first| now.contains(first)) {
            return Ok(());
        }
        let ends = |first: u64| before.iter().chain(now).copied().filter(|other| *other > first).min();
        let removed = before.iter().copied().filter(|first| !now.contains(first));
        let gone: Vec<(u64, u64)> = removed.map(|first| (first, ends(first).unwrap_or(u64::MAX))).collect();
        let is_gone = |seq: u64| gone.iter().any(|(first, end)| (*first..*end).contains(&seq));
        let (gone, kept) = std::mem::take(&mut self.model.kept[index]).into_iter().partition(|one| is_gone(one.seq));
        self.model.kept[index] = kept;
        self.let_go(lane, &gone)
    }

    /// Records are no longer there: they were delivered, or may have been, or were evicted.
    fn let_go(&mut self, lane: u8, gone: &[Kept]) -> Held {
        let index = usize::from(lane);
        let all = self.model.may_be(self.model.state.waiting[index].clone(), effect::waiting(lane));
        let lost: Vec<&Kept> = gone
            .iter()
            .filter(|one| !one.delivered && !is_gap(one.number) && all.iter().all(|waiting| waiting.contains(one.seq)))
            .collect();
        let now = self.clock.now().uptime_ms;
        let early = |one: &&Kept| self.model.age(one, now).is_some_and(|age| u128::from(age) < KEEP.as_millis());
        let early = gone.iter().find(early).filter(|_| self.shape.keeps && !self.was_full);
        ensure(early.is_none(), || format!("{early:?} of {} is gone before its time", NAMES[index]))?;
        self.model.evicted += lost.len() as u64;
        ensure(lost.is_empty() || self.shape.evicts, || format!("{lost:?} of {} are gone", NAMES[index]))
    }

    /// All from a number on.
    fn read_all(&self, store: &Store, lane: u8, from: u64) -> Result<Vec<(Id, u64)>, String> {
        let (mut reader, mut from, mut read) = (store.reader(LaneId(lane)), from, vec![]);
        loop {
            let chunk = reader.read(from, ALL).map_err(|error| format!("lane {lane}: {error:?}"))?;
            let Some(last) = chunk.last_seq() else { return Ok(read) };
            for one in chunk.iter() {
                let number = number_of(&one, &self.model.sizes);
                let number = number.ok_or_else(|| format!("lane {lane}: {} was never written like that", one.seq))?;
                read.push(((one.epoch.to_owned(), lane, one.seq), number));
            }
            from = last + 1;
        }
    }

    /// Nothing is on its way: all that is kept is there, and the figures agree.
    pub(super) fn check(&mut self) -> Held {
        let stats = self.store().stats();
        for lane in 0..3_u8 {
            let index = usize::from(lane);
            let (read, kept) = (self.read_all(self.store(), lane, 0)?, &self.model.kept[index]);
            let same = read.iter().map(|(id, number)| (id.2, *number)).eq(kept.iter().map(|one| (one.seq, one.number)));
            ensure(same, || format!("{}: {read:?} are there, not {kept:?}", NAMES[index]))?;
            self.compare_ranges(lane)?;
            let waiting = self.store().waiting(LaneId(lane));
            let said = self.model.kept[index].iter().filter(|one| waiting.contains(one.seq)).count() as u64;
            ensure(stats.lanes[index].waiting == said, || {
                let kept = &self.model.kept[index];
                format!(
                    "{}: {:?} of {waiting:?} said to wait, not {said} of {kept:?}",
                    NAMES[index], stats.lanes[index]
                )
            })?;
            let damaged = stats.lanes[index].damaged;
            ensure(damaged == 0 || !self.shape.exact, || format!("{}: {damaged} said to be damaged", NAMES[index]))?;
        }
        let counted: u64 = stats.lanes.iter().map(|lane| lane.evicted).sum();
        ensure(counted >= self.model.evicted, || format!("{counted} counted, {} evicted", self.model.evicted))?;
        ensure(counted == 0 || self.shape.evicts, || format!("{counted} said to be evicted"))?;
        let expired: u64 = stats.lanes.iter().map(|lane| lane.expired).sum();
        ensure(expired >= self.model.expired, || format!("{expired} counted, {} expired", self.model.expired))?;
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
        self.doubted = doubts(&self.disk);
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
                if disk.is_dead() {
                    let more = doubts(&disk);
                    self.doubted.iter_mut().zip(more).for_each(|(doubted, more)| *doubted |= more);
                    disk = disk.cut();
                } else {
                    disk = disk.killed();
                }
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
        self.expire();
        for lane in 0..3_u8 {
            self.compare_lane(lane, &opened)?;
            self.compare_ranges(lane)?;
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
        let found = self.read_all(self.store(), lane, 0)?;
        let known = std::mem::take(&mut self.model.kept[index]);
        let (mut gone, mut kept) = (vec![], Vec::with_capacity(found.len()));
        for one in known {
            match found.binary_search_by_key(&one.seq, |(id, _)| id.2) {
                Ok(at) if found[at].1 == one.number => kept.push(one),
                Ok(at) => return Err(format!("{:?} is there, not {one:?}: {:?}", found[at], opened.report)),
                Err(_) => gone.push(one),
            }
        }
        self.let_go(lane, &gone).map_err(|what| format!("{what}: {:?}", opened.report))?;
        let end = self.model.next[index];
        let mut fresh = vec![];
        for (id, number) in &found {
            self.name(id, *number)?;
            if id.2 >= end {
                fresh.push(*number);
                kept.push(Kept::new(id.2, *number));
            } else if kept.binary_search_by_key(&id.2, |one| one.seq).is_err() {
                // The name of a removed segment is there again.
                kept.push(Kept { delivered: true, ..Kept::new(id.2, *number) });
                kept.sort_unstable_by_key(|one| one.seq);
            }
        }
        self.compare_fresh(lane, &fresh, opened)?;
        let numbers = found.iter().map(|(_, number)| *number).filter(|number| !is_gap(*number));
        let different: BTreeSet<u64> = numbers.clone().collect();
        ensure(different.len() == numbers.count(), || format!("lane {lane} holds a record twice"))?;
        (self.model.kept[index], self.model.next[index]) = (kept, self.driven().lane(index).1);
        self.firsts[index] = self.driven().firsts(index);
        Ok(())
    }

    /// Of what was not answered a beginning is there, and nothing behind it.
    fn compare_fresh(&mut self, lane: u8, fresh: &[u64], opened: &Opened) -> Held {
        let (index, doubtful) = (usize::from(lane), self.model.doubtful(lane));
        let fresh: Vec<u64> = fresh.iter().copied().filter(|number| !is_gap(*number)).collect();
        if self.shape.exact && !self.doubted[index] {
            let same = doubtful.starts_with(&fresh);
            ensure(same, || format!("{fresh:?} does not begin {doubtful:?} of lane {lane}: {:?}", opened.report))?;
        } else {
            let mut places = self.model.ghosts[index].iter().chain(&doubtful);
            for one in &fresh {
                ensure(places.any(|place| place == one), || format!("{fresh:?} is not of {doubtful:?} in order"))?;
            }
        }
        self.model.ghosts[index].extend(doubtful);
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
