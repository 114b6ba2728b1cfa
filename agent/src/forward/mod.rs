//! Batches → Flux: reads the store's lanes, posts batches, and acknowledges what was accepted.

mod backoff;
mod course;
mod endpoint;
mod handle;
mod lanes;
mod options;
mod secret;
mod size;
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
        let (sender, reload) = watch::channel(Arc::new(checked));
        let stats = Arc::new(Mutex::new(Stats::default()));
        let handle = Handle { stats, reload: Arc::new(sender), wire: wire.clone() };
        Ok((Self { store, wire, handle: handle.clone(), reload }, handle))
    }

    /// Runs until `stop`; then the request in flight may still be answered and acknowledged, within a bound.
    pub async fn run(self, stop: CancellationToken) {
        stop.cancelled().await;
        drop((self.store, self.wire, self.handle, self.reload));
    }
}
