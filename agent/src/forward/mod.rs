//! Batches → Flux: reads the store's lanes, posts batches, and acknowledges what was accepted.

mod backoff;
mod batch;
mod course;
mod endpoint;
mod gate;
mod handle;
mod http;
mod lane;
mod lanes;
mod ledger;
mod options;
mod pump;
mod secret;
mod size;
mod token;
mod verdict;

pub use handle::{Handle, Standing, Stats};
pub use options::{BatchOptions, DelayRange, Flux, LaneOptions, Layout, Options, OptionsError};
pub use secret::Secret;
pub use verdict::Verdict;

use std::sync::{Arc, Mutex};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

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
}

impl Forwarder {
    /// A forwarder of `store`'s lanes through `wire`; [`Forwarder::run`] makes it work.
    pub fn new(options: Options, store: Store, wire: Wire) -> Result<(Self, Handle), OptionsError> {
        let checked = Checked::new(options, store.stats().lanes.len())?;
        let stats = Arc::new(Mutex::new(Stats::starting(&checked)));
        let (sender, reload) = watch::channel(Arc::new(checked));
        let handle = Handle { stats, reload: Arc::new(sender), wire: wire.clone() };
        Ok((Self { store, wire, handle: handle.clone(), reload }, handle))
    }

    /// Runs until `stop`; then the request in flight may still be answered and acknowledged, within a bound.
    pub async fn run(mut self, stop: CancellationToken) {
        let config = Arc::clone(&self.reload.borrow_and_update());
        pump::Pump::new(self.store, self.wire, self.handle, config).run(self.reload, stop).await;
    }
}

#[cfg(test)]
mod tests;
