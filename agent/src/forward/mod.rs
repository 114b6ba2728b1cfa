//! Batches → Flux: reads the store's lanes, posts batches, and acknowledges what was accepted.
//!
//! # Constraints
//! - A record leaves the store only when Flux accepted it, or when it was put aside with its reason; it is put aside
//!   only when another record is accepted at that time, because otherwise the endpoint is at fault (`course`).
//! - Delivery is at least once. Before the first byte of a record leaves, the store knows durably that it may have been
//!   sent; a record that was sent before, or waited longer than a set time, says `replayed: true`.
//! - Each request costs an event of the customer's plan, so bodies are as full as the limits and the age allow.
//! - Within a lane, records arrive in order of `seq` but for what `course` names. With `order = "live-first"` a lane has
//!   two streams, what comes in and what waited, and that holds for each of them (`plan`).
//! - Only what waits is ever sent: a lane's files also hold what was delivered or has expired.
//! - Nothing outside is trusted: answers are read up to a size and a time, and shown cut, escaped and with secrets
//!   struck out. A webhook's URL is a secret as a whole; only its host is ever shown.
//!
//! # How it works
//! `pump` is the loop. For each `stream` of each `lane` it has the next batch read and laid out (`batch`) where blocking
//! is allowed, announces it to the store (`ledger`), and sends one at a time over a kept-open connection (`http`,
//! `token`) to the `endpoint`; `lanes` says whose turn it is. The lanes that go first have a connection of their own
//! (`ways`), and requests of theirs and of the others go side by side. `plan` knows what of a lane is to be delivered and which
//! stream's it is. `permit` asks the budgets before each request, and `turns` keeps a dear one from starving. `leave` keeps
//! what the provider's stance lets leave. `verdict` judges the answer; `course` says what follows for the stream, `told` hands
//! on what came of each exchange, `report` says what is logged of it, `gate` and `backoff` when the endpoint may be tried
//! again, `size` how large a body may be.
//! The parts that decide are pure: they are given the time and the randomness and know no socket.
//!
//! # On disk and on the wire
//! Nothing is written but through the store's control lane (`Sent`, `Acknowledge`, `PutAside`, `Budget`). What goes over the wire
//! is described in `http` and in [`tidegate_protocol::event`].
//!
//! # Recovery
//! After a start it goes on with what waits in each lane: the store remembers it as ranges, less exactly what was
//! acknowledged. So what is repeated is what was in flight, or held back by the bound on ranges (`ledger`). What a run
//! knew besides (where live began, back-off, suspects, the learnt size, the token) is learnt again.
//!
//! While it runs, others change what waits: records are evicted, expire, or are to be replayed. The store counts such
//! changes, and before its next commit the pump takes them in. What had been read
//! of them by then, and is not on the wire, is dropped: a flow is told that it is gone.
//!
//! # Memory
//! Per stream, of which a lane has two, at most: a batch being gathered, one ready, one being repeated, and what was read and did not fit, each
//! `max_bytes` or 64 KiB, whichever is more.

pub mod backoff;
mod batch;
mod course;
mod endpoint;
pub mod examine;
#[cfg(feature = "fuzzing")]
pub(crate) mod fuzzing;
mod gate;
mod handle;
mod http;
mod lane;
mod lanes;
mod leave;
mod ledger;
mod options;
mod permit;
mod plan;
mod pump;
mod report;
mod size;
mod spans;
mod stream;
mod token;
mod told;
mod turns;
mod verdict;
mod ways;

pub use crate::secret::Secret;
pub use handle::{Handle, Standing, Stats};
pub use leave::Go;
pub use options::{BatchOptions, DelayRange, EventsCount, Flux, LaneOptions, Layout, Options, OptionsError, Order};
pub use permit::{Held, LEAST_BYTES, Standing as BudgetStanding};
pub use told::{ACCEPTED_EVERY, Told, WAITING as TOLD_WAITING};
pub use verdict::{RateLimit, Verdict};

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use crate::shape::limits::Limits;
use crate::shape::wire::Wire;
use crate::store::Store;
use handle::Checked;

/// Sends what the store holds to Flux until told to stop.
#[derive(Debug)]
pub struct Forwarder {
    store: Store,
    wire: Wire,
    handle: Handle,
    reload: watch::Receiver<Arc<Checked>>,
    limits: watch::Receiver<Arc<Limits>>,
    leave: leave::Leave,
    teller: told::Teller,
    rest: Option<Instant>,
}

impl Forwarder {
    /// A forwarder of `store`'s lanes through `wire`; [`Forwarder::run`] makes it work.
    pub fn new(options: Options, store: Store, wire: Wire) -> Result<(Self, Handle), OptionsError> {
        let checked = Checked::new(options, store.stats().lanes.len())?;
        let stats = Arc::new(Mutex::new(Stats::starting(&checked)));
        let (sender, reload) = watch::channel(Arc::new(checked));
        let limit = Arc::new(watch::Sender::new(None));
        let view = permit::View::new(&store, &reload.borrow().options);
        let handle = Handle { stats, reload: Arc::new(sender), wire: wire.clone(), limit, view };
        let limits = watch::channel(Arc::default()).1;
        let leave = leave::Leave::new(watch::channel(Go::default()).1, 0);
        let teller = told::Teller::default();
        Ok((Self { store, wire, handle: handle.clone(), reload, limits, leave, teller, rest: None }, handle))
    }

    /// What limits requests and their bytes; nothing unless this is called.
    #[must_use]
    pub fn limited_by(self, limits: watch::Receiver<Arc<Limits>>) -> Self {
        Self { limits, ..self }
    }

    /// What the provider's stance lets leave; everything unless this is called. Probes allowed beyond so many `probes` are
    /// sent.
    #[must_use]
    pub fn let_by(self, go: watch::Receiver<Go>, probes: u64) -> Self {
        let leave = leave::Leave::new(go, probes);
        if leave.lets_any() {
            // A quota that was used up when the gateway was switched off is over by the machine's word.
            self.handle.view.ask_again();
        }
        Self { leave, ..self }
    }

    /// For so long the endpoint asked not to be asked, before the gateway was started.
    #[must_use]
    pub fn rested(self, rest: Option<Duration>) -> Self {
        Self { rest: rest.and_then(|rest| Instant::now().checked_add(rest)), ..self }
    }

    /// Says there what comes of exchanges.
    #[must_use]
    pub fn telling(self, to: mpsc::Sender<Told>) -> Self {
        Self { teller: told::Teller::new(to), ..self }
    }

    /// Runs until `stop`; then the request in flight may still be answered and acknowledged, within a bound.
    pub async fn run(mut self, stop: CancellationToken) {
        let config = Arc::clone(&self.reload.borrow_and_update());
        let permits = permit::Permits::new(self.handle.view.clone(), self.wire.clone(), self.limits);
        let neighbours = pump::Neighbours { permits, leave: self.leave, teller: self.teller, rest: self.rest };
        pump::Pump::new(self.store, self.wire, self.handle, config, neighbours).run(self.reload, stop).await;
    }
}

#[cfg(test)]
mod tests;
