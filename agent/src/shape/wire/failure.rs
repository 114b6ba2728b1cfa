//! How an attempt to reach somebody failed, as evidence of whose fault it is.

use super::error::trouble;
use super::{Stage, Trouble, WireError};

/// How an attempt failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// No connection came about.
    Connecting {
        /// How far it came.
        stage: Stage,
        /// What became of the last step.
        trouble: Trouble,
        /// What the system said (`errno(3)`).
        errno: Option<i32>,
    },
    /// A connection was there and ended before the answer was whole.
    Cut,
    /// A connection was there and no answer came in time.
    Silent,
    /// There was an answer, with this status.
    Answered(u16),
}

impl Failure {
    /// How a connection that was there broke, by what the system said of it, if it did.
    pub fn broken(error: &(dyn std::error::Error + 'static)) -> Self {
        let mut cause = Some(error);
        while let Some(error) = cause {
            if let Some(error) = error.downcast_ref::<std::io::Error>() {
                return match trouble(error) {
                    trouble @ (Trouble::NoWay | Trouble::HostUnreachable) => {
                        Self::Connecting { stage: Stage::Tcp, trouble, errno: error.raw_os_error() }
                    }
                    Trouble::Silence => Self::Silent,
                    _ => Self::Cut,
                };
            }
            cause = error.source();
        }
        Self::Cut
    }
}

impl From<&WireError> for Failure {
    fn from(error: &WireError) -> Self {
        Self::Connecting { stage: error.stage(), trouble: error.trouble(), errno: error.errno() }
    }
}
