//! One stream's course through refusals: what to try next, and when a record may be put aside. Pure.
//!
//! # The rule
//! A refused record is put aside only when **another record is accepted at that time**; else the endpoint is at
//! fault, and records wait. "At that time" is taken strictly, in this order: the record is refused *alone*; then
//! another one, of this lane or any other, is accepted; then the record is tried alone once more and refused again.
//! An endpoint that refuses everything for a while therefore puts nothing aside: when it recovers, the second
//! try is accepted. The price is one request more per bad record.
//!
//! # How a batch is taken apart
//! A refused batch is halved, and the halves are tried in order, until single records are refused: they are
//! *suspects*. Then what is left of the batch is tried; what is accepted *proves* that the endpoint takes records,
//! and each suspect gets its second try. Where nothing of the batch is left, one more record of the lane is tried,
//! alone, as soon as there is one; and all the while other lanes go on, and an acceptance there counts just as much.
//! Where there is nothing else to try, the suspects themselves are tried again, at growing intervals.
//!
//! While [`ORDERED_SUSPECTS`] suspects or more stand unproven, records are tried alone at doubling distance instead of in order, up to
//! the stream's newest: a device that published a long run of bad records shall not cost a request for each of them
//! before a good one is found.
//!
//! A batch that **arrived but was not taken** (HTTP 207, `"result":"ng"`) is not halved, since nothing says that a
//! record is bad, and each repeat may trigger the flow and cost an event. It is tried [`NOT_TAKEN_TRIES`] times,
//! then it is a suspect as a whole.
//!
//! A lane has two streams (see `plan`), each with a course of its own; what either delivers proves the endpoint to both.
//!
//! # Order
//! Within a stream, records are delivered in order of `seq`, but for this: a suspect that is accepted after all was overtaken by
//! what proved the endpoint: one record, or what was left of its batch.
//!
//! # Bounds
//! At most [`FREE_REFUSALS`] requests are refused in a row before each further one waits for the stream's back-off.
//! From [`SEARCH_SUSPECTS`] suspects on, every other try is one of the suspects again; there are at most
//! [`MAX_SUSPECTS`] of them.
//!
//! All of this is in memory: after a restart, what was not acknowledged is sent again, marked `replayed`.

use std::collections::VecDeque;

use super::spans::{Span, Spans};

/// Times a batch is sent that arrives and is not taken, before it becomes a suspect; with the last try, once another
/// batch was accepted, it costs three events.
pub(super) const NOT_TAKEN_TRIES: u8 = 2;

/// Refusals in a row that are not paced: halving 500 records down to one takes ten requests, 5,000 take fourteen.
pub(super) const FREE_REFUSALS: u32 = 16;

/// Suspects from which on records are tried at doubling distance: three bad ones in a row, found while order is kept,
/// are more common than a run of hundreds.
const ORDERED_SUSPECTS: usize = 4;

/// Suspects from which on every other try is one of them again: by then a record 65,536 further on was refused too,
/// and the endpoint is more likely at fault than each of these.
pub(super) const SEARCH_SUSPECTS: usize = 16;

/// Suspects at most, 24 bytes each. Reached after days of paced refusals, it means that only the
/// suspects and the other lanes are tried.
pub(super) const MAX_SUSPECTS: usize = 1000;

/// What of a stream was never tried: what `owed` holds from `from` up to `below`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Untried<'a> {
    pub(super) owed: &'a Spans,
    pub(super) from: u64,
    /// No record exists from here on, or it is not this stream's.
    pub(super) below: u64,
}

impl Untried<'_> {
    fn first(&self) -> Option<u64> {
        self.owed.next_from(self.from).map(|span| span.from).filter(|seq| *seq < self.below)
    }

    /// The lowest from `target` on, else the highest.
    fn near(&self, target: u64) -> Option<u64> {
        let on = self.owed.next_from(target.max(self.from)).map(|span| span.from).filter(|seq| *seq < self.below);
        on.or_else(|| {
            let all = Span { from: self.from, below: self.below };
            self.owed.within(all).last().map(|span| span.below - 1)
        })
    }
}

/// What to try next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// Nothing stands in the way: the next batch.
    Fresh,
    /// This, which was tried before or is part of what was.
    Again {
        /// The records; as many of them as fit one request.
        span: Span,
        /// It must wait for the lane's back-off.
        paced: bool,
    },
    /// This one record, which was never tried, ahead of its turn.
    Beyond {
        /// Its sequence number.
        seq: u64,
        /// It must wait for the lane's back-off.
        paced: bool,
    },
    /// Nothing, until the try that is under way is settled.
    Wait,
}

/// What came of a try.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It was taken.
    Accepted,
    /// It was refused for what it is. `first` and `last` are the records it held.
    Refused { first: u64, last: u64 },
    /// It arrived and was not taken.
    NotTaken,
    /// Nothing was said of it.
    Unjudged,
    /// It held no record: all were evicted or damaged.
    Empty,
}

/// How long the lane shall wait before a paced try.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pace {
    /// As before.
    Same,
    /// The back-off's next delay.
    Short,
    /// The next delay between probes: each try may cost an event.
    Long,
}

/// What follows from an outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Settled {
    /// What is done with, accepted, put aside or gone, and is to be acknowledged.
    pub(super) done: Option<Span>,
    /// What was tried is to be put aside.
    pub(super) put_aside: bool,
    /// How long to wait.
    pub(super) pace: Pace,
}

#[derive(Debug, Clone, Copy)]
struct Piece {
    span: Span,
    not_taken: u8,
}

impl Piece {
    fn again(&self, paced: bool) -> Next {
        Next::Again { span: self.span, paced: paced || self.not_taken > 0 }
    }

    fn alone(&self, seq: u64, paced: bool) -> Next {
        Next::Again { span: Span { from: seq, below: seq + 1 }, paced: paced || self.not_taken > 0 }
    }
}

#[derive(Debug, Clone, Copy)]
struct Suspect {
    span: Span,
    /// Another record was accepted since it was refused.
    proven: bool,
    costly: bool,
}

#[derive(Debug, Clone)]
enum Trying {
    Piece(Piece),
    Suspect(Suspect),
}

impl Trying {
    fn span(&mut self) -> &mut Span {
        match self {
            Trying::Piece(piece) => &mut piece.span,
            Trying::Suspect(suspect) => &mut suspect.span,
        }
    }
}

/// The course of one stream of a lane.
#[derive(Debug, Clone, Default)]
pub(super) struct Course {
    /// To be tried again, in order, disjoint.
    todo: VecDeque<Piece>,
    /// Refused alone; in order.
    suspects: Vec<Suspect>,
    trying: Option<Trying>,
    /// Refusals since any record was last accepted.
    refusals: u32,
    /// Which suspect is next when all are tried in turn.
    turn: usize,
    /// With many suspects: whether one of them, or something else, is tried next.
    alternate: bool,
}

impl Course {
    /// Whether a try is under way.
    pub(super) fn is_trying(&self) -> bool {
        self.trying.is_some()
    }

    /// Whether nothing stands in the way of the next batch.
    pub(super) fn is_clear(&self) -> bool {
        self.trying.is_none() && self.suspects.is_empty() && self.todo.is_empty()
    }

    /// Whether what was tried keeps it busy: all of it but suspects that wait for proof.
    pub(super) fn is_busy(&self) -> bool {
        self.trying.is_some() || !self.todo.is_empty() || self.suspects.iter().any(|suspect| suspect.proven)
    }

    /// Suspects there are, a second try under way included.
    pub(super) fn suspects(&self) -> usize {
        self.suspects.len() + usize::from(matches!(self.trying, Some(Trying::Suspect(_))))
    }

    /// Whether a record was refused since another was last accepted, so that either may be at fault.
    pub(super) fn is_in_doubt(&self) -> bool {
        let tried = matches!(&self.trying, Some(Trying::Suspect(suspect)) if !suspect.proven);
        tried || self.suspects.iter().any(|suspect| !suspect.proven)
    }

    /// What to try next; `untried` says what else the stream has.
    pub(super) fn next<'a>(&self, untried: impl FnOnce() -> Untried<'a>) -> Next {
        if self.trying.is_some() {
            return Next::Wait;
        }
        if let Some(suspect) = self.suspects.iter().find(|suspect| suspect.proven) {
            return Next::Again { span: suspect.span, paced: false };
        }
        let paced = self.refusals > FREE_REFUSALS;
        let Some(first) = self.suspects.first() else {
            return self.todo.front().map_or(Next::Fresh, |piece| piece.again(paced));
        };
        let count = self.suspects.len();
        let many = if self.suspects.iter().any(|suspect| suspect.costly) { 2 } else { SEARCH_SUSPECTS };
        let search = if count >= MAX_SUSPECTS || (count >= many && self.alternate) {
            None
        } else if count < ORDERED_SUSPECTS {
            self.in_order(paced, untried())
        } else {
            self.far_ahead(first.span.from.saturating_add(1 << count.min(40)), paced, untried())
        };
        search.unwrap_or(Next::Again { span: self.suspects[self.turn % count].span, paced: true })
    }

    fn in_order(&self, paced: bool, untried: Untried<'_>) -> Option<Next> {
        let beyond = || untried.first().map(|seq| Next::Beyond { seq, paced });
        self.todo.front().map(|piece| piece.again(paced)).or_else(beyond)
    }

    /// One record alone: the one at `target`, or the nearest to it that is left.
    fn far_ahead(&self, target: u64, paced: bool, untried: Untried<'_>) -> Option<Next> {
        if let Some(piece) = self.todo.iter().find(|piece| piece.span.below > target) {
            return Some(piece.alone(target.max(piece.span.from), paced));
        }
        let beyond = || untried.near(target).map(|seq| Next::Beyond { seq, paced });
        beyond().or_else(|| self.todo.back().map(|piece| piece.alone(piece.span.below - 1, paced)))
    }

    /// A fresh batch of these records is about to be sent. Only after [`Next::Fresh`].
    pub(super) fn begin_fresh(&mut self, span: Span) {
        self.trying = Some(Trying::Piece(Piece { span, not_taken: 0 }));
    }

    /// What [`Course::next`] named, and not [`Next::Fresh`], is about to be loaded. `skipped` is what the stream has
    /// that was never tried and lies before what [`Next::Beyond`] names.
    pub(super) fn begin(&mut self, next: Next, skipped: impl IntoIterator<Item = Span>) {
        match next {
            Next::Fresh | Next::Wait => {}
            Next::Beyond { seq, .. } => {
                skipped.into_iter().for_each(|span| self.put_back(Piece { span, not_taken: 0 }));
                self.trying = Some(Trying::Piece(Piece { span: Span { from: seq, below: seq + 1 }, not_taken: 0 }));
            }
            Next::Again { span, .. } => {
                if let Some(at) = self.suspects.iter().position(|suspect| suspect.span.from == span.from) {
                    self.turn = at + 1;
                    self.trying = Some(Trying::Suspect(self.suspects.remove(at)));
                    return;
                }
                let Some(at) = self.todo.iter().position(|piece| piece.span.below > span.from) else { return };
                let Some(piece) = self.todo.remove(at) else { return };
                // What stands before and behind the part that is tried stays.
                for rest in [Span { from: span.below, ..piece.span }, Span { below: span.from, ..piece.span }] {
                    if rest.from < rest.below {
                        self.todo.insert(at, Piece { span: rest, ..piece });
                    }
                }
                self.trying = Some(Trying::Piece(Piece { span, ..piece }));
            }
        }
    }

    /// What is being tried ends here: the rest of it did not fit one request.
    pub(super) fn ends_at(&mut self, below: u64) {
        let Some(mut trying) = self.trying.take() else { return };
        let whole = *trying.span();
        trying.span().below = below.min(whole.below);
        if below < whole.below {
            let rest = Span { from: below, below: whole.below };
            match &trying {
                Trying::Piece(piece) => self.put_back(Piece { span: rest, ..*piece }),
                Trying::Suspect(suspect) => self.suspect(Suspect { span: rest, ..*suspect }),
            }
        }
        self.trying = Some(trying);
    }

    /// Another record, of this lane or another, was accepted just now, before whatever this lane tries next is sent.
    pub(super) fn prove(&mut self) {
        self.refusals = 0;
        if let Some(Trying::Suspect(suspect)) = &mut self.trying {
            // It was read and has not left yet.
            suspect.proven = true;
        }
        for suspect in &mut self.suspects {
            suspect.proven = true;
        }
    }

    /// Another endpoint is used from now on: what the one before took proves nothing about it.
    pub(super) fn change_endpoint(&mut self) {
        self.refusals = 0;
        if let Some(Trying::Suspect(suspect)) = &mut self.trying {
            suspect.proven = false;
        }
        for suspect in &mut self.suspects {
            suspect.proven = false;
        }
    }

    /// Settles what was tried. After [`Outcome::Accepted`] all streams are to be told by [`Course::prove`].
    pub(super) fn settle(&mut self, outcome: Outcome) -> Settled {
        let mut settled = Settled { done: None, put_aside: false, pace: Pace::Same };
        let Some(mut trying) = self.trying.take() else { return settled };
        let span = *trying.span();
        self.alternate = !self.alternate;
        if let Outcome::Refused { .. } | Outcome::NotTaken = outcome {
            self.refusals = self.refusals.saturating_add(1);
        }
        match (outcome, trying) {
            (Outcome::Accepted | Outcome::Empty, _) => settled.done = Some(span),
            (Outcome::Unjudged, Trying::Piece(piece)) => self.put_back(piece),
            (Outcome::Unjudged, Trying::Suspect(suspect)) => self.suspect(suspect),
            (Outcome::Refused { .. } | Outcome::NotTaken, Trying::Suspect(suspect)) if suspect.proven => {
                settled.put_aside = true;
                settled.done = Some(span);
            }
            (Outcome::Refused { .. } | Outcome::NotTaken, Trying::Suspect(suspect)) => {
                settled.pace = if suspect.costly { Pace::Long } else { Pace::Short };
                self.suspect(suspect);
            }
            (Outcome::Refused { first, last }, Trying::Piece(piece)) => settled.pace = self.refused(piece, first, last),
            (Outcome::NotTaken, Trying::Piece(piece)) => settled.pace = self.not_taken(piece),
        }
        settled
    }

    /// Gives away what waits to be tried again, for the stream behind to do it: what was not taken and the suspects to
    /// `other`, with what is known of them; the rest, which is only to be sent, is returned. Not while a try is under
    /// way.
    pub(super) fn hand_over(&mut self, other: &mut Course) -> Vec<Span> {
        let mut plain = Vec::new();
        for piece in self.todo.drain(..) {
            if piece.not_taken > 0 {
                other.put_back(piece);
            } else {
                plain.push(piece.span);
            }
        }
        self.suspects.drain(..).for_each(|suspect| other.suspect(suspect));
        plain
    }

    /// These records no longer wait: what was to be tried again of them is not.
    pub(super) fn drop_span(&mut self, gone: Span) {
        let rest = |span: Span| {
            let left = Span { from: span.from, below: span.below.min(gone.from) };
            let right = Span { from: span.from.max(gone.below), below: span.below };
            [left, right].into_iter().filter(|part| part.from < part.below)
        };
        self.todo = self.todo.iter().flat_map(|piece| rest(piece.span).map(|span| Piece { span, ..*piece })).collect();
        self.suspects =
            self.suspects.iter().flat_map(|one| rest(one.span).map(|span| Suspect { span, ..*one })).collect();
    }

    /// Halves what was refused, or suspects it if it is one record.
    fn refused(&mut self, piece: Piece, first: u64, last: u64) -> Pace {
        let Span { from, below } = piece.span;
        if first == last {
            self.suspect(Suspect { span: piece.span, proven: false, costly: false });
            return Pace::Short;
        }
        let middle = first + (last - first).div_ceil(2);
        self.put_back(Piece { span: Span { from: middle, below }, not_taken: 0 });
        self.put_back(Piece { span: Span { from, below: middle }, not_taken: 0 });
        if self.refusals > FREE_REFUSALS { Pace::Short } else { Pace::Same }
    }

    /// Repeats what was not taken, or suspects all of it if that was done often enough.
    fn not_taken(&mut self, mut piece: Piece) -> Pace {
        piece.not_taken += 1;
        if piece.not_taken < NOT_TAKEN_TRIES {
            self.put_back(piece);
            return Pace::Short;
        }
        self.suspect(Suspect { span: piece.span, proven: false, costly: true });
        Pace::Long
    }

    fn put_back(&mut self, piece: Piece) {
        let at = self.todo.partition_point(|other| other.span.from < piece.span.from);
        self.todo.insert(at, piece);
    }

    fn suspect(&mut self, suspect: Suspect) {
        let at = self.suspects.partition_point(|other| other.span.from < suspect.span.from);
        self.suspects.insert(at, suspect);
    }
}

#[cfg(test)]
mod tests;
