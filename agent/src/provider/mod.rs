//! What the provider says while the gateway runs, apart from answers to telemetry.
//!
//! [`metadata`] asks the SIM's metadata service for the line's speed class and status, [`statuspage`] the provider's status page
//! for maintenances and incidents; [`date`] asks for the time where nothing else tells it. [`machine`] makes a stance of what all of them say: pure, with the time handed in, so that
//! it can be tested over years in a second.
//!
//! Control walks one way: this room hands values on, `gateway` makes documents of limits of them, `shape` merges those.
//! Nothing here waits for telemetry, and telemetry never waits for an answer to anything here.

mod ask;
pub mod date;
#[cfg(feature = "fuzzing")]
pub(crate) mod fuzzing;
pub mod inbox;
pub mod input;
pub mod line;
pub mod machine;
pub mod metadata;
pub mod page;
pub mod question;
pub mod reach;
#[cfg(test)]
mod scripted;
pub mod statuspage;
