//! The two ways to the endpoint: a connection for the lanes that go first, and one for all others.
//!
//! A record of a first lane never waits behind a body half sent: its class has a connection of its own, and the gate
//! (`shape::bucket`) gives it the next bytes. On a slow line making a connection takes longer than it may, so while the
//! others send there, the first lanes' connection is made before it is needed ([`Way::may_warm`]). Requests of both
//! go side by side; what is answered to either is judged for both.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::batch::Batch;
use super::handle::Checked;
use super::http::{Exchange, Link, Tokens};
use super::plan::Side;
use crate::shape::pace::Pace;
use crate::shape::wire::{Class, Wire};
use crate::store::Store;

/// Rates in bytes a second below which a connection is made before it is needed: a TLS handshake is about 1,500 bytes up
/// and 4,500 down, and with a full bucket before it none of a second's budget shall go into it. At this rate it takes a
/// tenth of a second; from there on only the line's round trips count. Keeping it costs a handshake each time that an idle
/// connection grows too old, under 1 % of 32 kbit/s, and only while others send.
const WARM_BELOW: u64 = 64_000;

/// Pause after a connection could not be made beforehand.
const WARM_AGAIN: Duration = Duration::from_secs(30);

/// The classes, the one that goes first first.
pub(super) const CLASSES: [Class; 2] = [Class::Critical, Class::Other];

/// A link for a class that is not connected yet.
pub(super) fn new_link(store: &Store, wire: &Wire, config: &Checked, tokens: &Arc<Tokens>, class: Class) -> Link {
    let options = &config.options;
    let (wire, clock) = (wire.for_class(class), Arc::clone(store.clock()));
    let limits = (options.answer_timeout, options.idle_limit);
    Link::new(wire, clock, config.endpoint.clone(), limits, Arc::clone(tokens)).until(options.until_ms)
}

/// What came of a request.
pub(super) struct Reply {
    pub(super) link: Link,
    pub(super) batch: Batch,
    pub(super) lane: usize,
    pub(super) side: Side,
    pub(super) exchange: Exchange,
    /// It was sent to see whether anything is taken.
    pub(super) probe: bool,
}

/// A link that is back.
pub(super) enum Back {
    /// From a request.
    Reply(Box<Reply>),
    /// From making its connection; says whether there is one.
    Warmed(Box<Link>, bool),
}

/// Something under way that needs the link.
type Errand = Pin<Box<dyn Future<Output = Back> + Send>>;

/// One way.
pub(super) struct Way {
    /// At home while nothing is under way.
    pub(super) link: Option<Link>,
    /// The request under way was begun before the last reload.
    pub(super) overtaken: bool,
    errand: Option<Errand>,
    requests: bool,
    warm_at: Option<Instant>,
}

impl Way {
    /// A way with a link that is at home.
    pub(super) fn new(link: Link) -> Self {
        Self { link: Some(link), overtaken: false, errand: None, requests: false, warm_at: None }
    }

    /// Whether a request is under way.
    pub(super) fn is_asking(&self) -> bool {
        self.errand.is_some() && self.requests
    }

    /// Sends a batch of a stream.
    pub(super) fn send(&mut self, mut link: Link, batch: Batch, (lane, side): (usize, Side), probe: bool) {
        self.requests = true;
        self.errand = Some(Box::pin(async move {
            let exchange = link.send(&batch).await;
            Back::Reply(Box::new(Reply { link, batch, lane, side, exchange, probe }))
        }));
    }

    /// Whether a connection is worth making before it is needed: the others send, and the line is slow.
    pub(super) fn may_warm(&self, others: &Way, pace: Pace, now: Instant) -> bool {
        let slow = pace.up.is_some_and(|rate| rate.bytes_per_second() < WARM_BELOW);
        let due = self.warm_at.is_none_or(|at| at <= now);
        slow && due && others.is_asking() && self.link.as_ref().is_some_and(|link| !link.is_warm())
    }

    /// Makes the connection.
    pub(super) fn warm(&mut self) {
        let Some(mut link) = self.link.take() else { return };
        self.requests = false;
        self.errand = Some(Box::pin(async move {
            let made = link.warm().await;
            Back::Warmed(Box::new(link), made)
        }));
    }

    /// The link is back from making a connection.
    pub(super) fn warmed(&mut self, link: Link, made: bool, now: Instant) {
        self.link = Some(link);
        self.warm_at = (!made).then(|| now + WARM_AGAIN);
    }

    /// Ends a connection that nothing is under way on.
    pub(super) fn hang_up(&mut self) {
        if let Some(link) = &mut self.link {
            link.hang_up();
        }
    }

    /// What is under way, to let it end.
    pub(super) async fn take_request(&mut self) -> Option<Back> {
        if !self.is_asking() {
            self.errand = None;
            return None;
        }
        let errand = self.errand.take()?;
        Some(errand.await)
    }

    /// Waits for what is under way, for ever if nothing is.
    pub(super) async fn back(&mut self) -> Back {
        match &mut self.errand {
            Some(errand) => {
                let back = errand.await;
                self.errand = None;
                back
            }
            None => std::future::pending().await,
        }
    }
}
