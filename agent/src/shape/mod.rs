//! The gate: what leaves the gateway leaves through here.
//!
//! [`wire`] is the one place that opens a socket to the outside; [`limits`] says what all who may limit it come to, and
//! [`pace`] what of that the wire needs to know. The token bucket will stand between the two without a caller of `wire`
//! noticing: it acts inside the stream that it hands out. [`budget`] is asked before each request.

pub mod budget;
pub mod limits;
pub mod pace;
pub mod wire;
