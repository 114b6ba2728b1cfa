//! Where bytes from outside come in, for the fuzz targets in `fuzz/`. What they find is a panic: each of these checks
//! what must hold whatever the bytes are. The store as a whole and the configuration need nothing here: their interface is
//! public.

pub use crate::collect::fields::fuzzing::fields;
pub use crate::collect::fuzzing::certificate;
pub use crate::collect::listener::fuzzing::intake;
pub use crate::config::notice::fuzzing::notice;
pub use crate::forward::fuzzing::judge;
pub use crate::outage::fuzzing::outages;
pub use crate::provider::fuzzing::{log, statuspage, subscriber};
pub use crate::provider::machine::fuzzing::run as machine;
pub use crate::shape::wire::resolve::fuzzing::names;
pub use crate::store::fuzzing::decode;
pub use crate::watch::control::fuzzing::control;
