//! What parts of a configuration come to, each by itself: for commands that look at one part without running a gateway.

use std::sync::Arc;

use super::{GatewayError, options};
use crate::clock::SystemClock;
use crate::collect::broker;
use crate::config::{self, Config};
use crate::forward::Flux;
use crate::shape::wire;
use crate::store;

/// The door to Flux and to the metadata service.
///
/// # Errors
/// A CA or certificate file that cannot be read.
pub fn door(forward: &config::Forward) -> Result<wire::Options, GatewayError> {
    options::wire(forward)
}

/// The door to the status page.
///
/// # Errors
/// A CA file that cannot be read.
pub fn page_door(page: &config::StatusPage, forward: &config::Forward) -> Result<wire::Options, GatewayError> {
    options::page_wire(page, forward)
}

/// The store, as the gateway would open it.
pub fn store(config: &Config) -> store::Options {
    options::store(config, Arc::new(SystemClock::new()))
}

/// The way into the Flux app.
pub fn flux(target: &config::FluxTarget) -> Flux {
    options::flux(target)
}

/// The broker to subscribe on.
pub fn broker(broker: &config::Broker) -> broker::Options {
    options::broker(broker)
}
