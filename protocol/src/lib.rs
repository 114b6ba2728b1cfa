//! What crosses a boundary of Tidegate, and nothing else.
//!
//! This crate holds the shapes that leave or enter the agent: the [`record`] that a publish becomes, the
//! [`event`] a flow sees for it, the [`batch`] that one request carries, and the [`gap`] record that tells of what is
//! gone. It also holds the [`terms`] that limit what may leave, how people write [`units`], the [`notice`]s of the provider
//! and the [`stance`] that follows from them. It does no I/O, reads no clock and knows no async runtime, so the cloud side,
//! the agent and the tests can all use the same definitions.
#![forbid(unsafe_code)]

pub mod batch;
pub mod event;
pub mod gap;
pub mod notice;
pub mod record;
pub mod said;
pub mod stance;
pub mod terms;
pub mod units;

pub use record::{LaneId, RecordRef, SEQ_LIMIT, TimeSource};
