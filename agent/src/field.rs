//! How a field within a JSON payload is named, and how a number is rounded. Known to every room, as `secret` is: the
//! configuration judges what the rules of [`collect::fields`](crate::collect::fields) then apply.

mod decimal;
mod path;

pub use decimal::{Step, StepFault, canonical};
pub use path::{Path, PathFault, Segment, member};
