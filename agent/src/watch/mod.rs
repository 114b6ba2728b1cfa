//! What the agent shows of itself: logs, the control socket that `tidegate status` and `tidegate buffer` ask, and the
//! Prometheus page.
//!
//! # Constraints
//! - Looking never disturbs: figures are asked for through one function ([`Source`]) that `gateway` supplies and that
//!   must be quick; connections, requests and answers are bounded in number, size and time.
//! - A technician reads it in the field: every figure stands beside its limit, and every state beside its reason and
//!   what to do.
//! - This room knows no other. [`Status`] is plain values that `gateway` fills; what is asked of the buffer passes through
//!   as JSON that `gateway` answers ([`control::Streams`]).
//!
//! # Where it touches wire and disk
//! [`control`] makes a Unix socket (mode 0660) and replaces one that nobody answers on; [`metrics`] listens on a
//! loopback address. Neither keeps anything.

pub mod control;
pub mod log;
pub mod metrics;
pub mod render;
mod status;

#[cfg(test)]
mod tests;

pub use status::{
    BrokerState, BudgetStatus, BudgetsStatus, ByUptimeStatus, ClockStatus, Connections, Counts, DateStatus,
    DeviceStatus, DevicesStatus, DrainStatus, FlashStatus, GroundStatus, HeldStatus, InboxStatus, LaneStatus,
    LimitSource, LimitStatus, LineStatus, NextIdentity, NoticeStatus, OldestWaiting, OutageStatus, RefusedCount,
    RefusedNotice, STARTING, SimStatus, StanceStatus, Status, StatusPageStatus, StoreStatus, TermsFileStatus,
    TermsStatus, Usage, VerdictStatus,
};

use std::sync::Arc;

/// Gives the figures as they stand. Called for each request, on the runtime's thread: it must not block.
pub type Source = Arc<dyn Fn() -> Status + Send + Sync>;
