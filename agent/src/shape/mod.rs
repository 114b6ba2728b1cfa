//! The gate: what leaves the gateway leaves through here.
//!
//! [`wire`] is the one place that opens a socket to the outside; [`limits`] says what all who may limit it come to, and
//! [`pace`] what of that the wire needs to know. The token bucket and the budgets will stand between the two without a
//! caller of `wire` noticing: they act inside the stream it hands out.

pub mod limits;
pub mod pace;
pub mod wire;
