//! What the provider says while the gateway runs, apart from answers to telemetry.
//!
//! Today it holds [`metadata`], which asks the SIM's metadata service for the line's speed class and status. The provider's
//! notices (status page, signed messages) and the machine that makes a stance of all of it come here too: pure, with the
//! time handed in, so that they can be tested over years in a second.
//!
//! Control walks one way: this room hands values on, `gateway` makes documents of limits of them, `shape` merges those.
//! Nothing here waits for telemetry, and telemetry never waits for an answer to anything here.

mod ask;
pub mod input;
pub mod machine;
pub mod metadata;
pub mod page;
pub mod question;
