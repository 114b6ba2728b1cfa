//! What the whole-system tests and the side-by-side benchmarks stand on: a Flux that does as it is told, MQTT
//! clients with exact control, real brokers and clients, the real binary, and disks that fill up.
//!
//! Everything here blocks, on purpose: a test reads as the sequence of things that happen, and what must go on
//! beside it (the Flux, the brokers, the agent) has its own thread or process. Nothing waits by sleeping alone;
//! everything waits for a condition, with a bound ([`wait`]). A helper that cannot do its work panics with what was
//! tried and on what, because that is how a test fails.
#![forbid(unsafe_code)]

pub mod agent;
pub mod backlog;
pub mod bench;
pub mod certs;
pub mod checked;
pub mod container;
pub mod device;
pub mod elsewhen;
pub mod fleet;
pub mod flux;
pub mod forgetful;
pub mod japanese;
pub mod lookalike;
pub mod metadata;
pub mod mqtt;
pub mod netns;
pub mod newcomer;
pub mod office;
pub mod ports;
pub mod readings;
pub mod rng;
pub mod stance;
pub mod statuspage;
pub mod terminal;
mod told;
pub mod tools;
pub mod wait;
