//! The gate: what leaves the gateway leaves through here.
//!
//! Today it holds [`wire`], the one place that opens a socket to the outside. Limits, the token bucket and the
//! budgets will stand between the two without a caller of `wire` noticing: they act inside the stream it hands out.

pub mod bucket;
pub mod pace;
pub mod wire;
