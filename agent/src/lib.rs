//! Tidegate: an edge gateway agent for SORACOM Flux.
//!
//! Telemetry walks one way: [`collect`] → [`store`] → [`forward`], one hop each, by value. What leaves the gateway
//! leaves through [`shape`]. `gateway` alone knows all rooms; a room knows `tidegate_protocol` and what it is handed.
#![forbid(unsafe_code)]

pub mod answer;
pub mod certificate;
pub mod chain;
pub mod clock;
pub mod code;
pub mod collect;
pub mod config;
mod der;
pub mod field;
pub mod forward;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
pub mod gateway;
pub mod glob;
pub mod hardware;
pub mod language;
pub mod outage;
pub mod processes;
pub mod program;
pub mod provider;
pub mod pulse;
pub mod regular;
pub mod secret;
pub mod shape;
pub mod shown;
pub mod store;
mod texts;
pub mod watch;
