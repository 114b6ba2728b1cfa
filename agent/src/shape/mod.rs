//! The gate: what leaves the gateway leaves through here.
//!
//! [`wire`] is the one place that opens a socket to the outside; [`limits`] says what all who may limit it come to, and
//! [`pace`] what of that the wire needs to know. The token [`bucket`] says when bytes may pass. No caller of `wire` notices:
//! it acts inside the stream that is handed out. [`budget`] is asked before each request.

pub mod bucket;
pub mod budget;
pub mod limits;
pub mod pace;
pub mod wire;
