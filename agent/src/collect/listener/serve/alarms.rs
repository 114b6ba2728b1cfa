//! Alarms to a client that has subscribed to them, between its acknowledgements.

use std::task::{Context, Poll};

use tokio::sync::broadcast::error::RecvError;

use super::super::subscribe::{self, follow, next_alarm};
use super::{MAX_OUT, Serving};
use crate::collect::Alarm;

impl<S> Serving<S> {
    /// Has the next alarm written if there is one; says whether there was.
    pub(super) fn poll_alarms(&mut self, context: &mut Context<'_>) -> bool {
        let Some(alarms) = &mut self.alarms else { return false };
        let Poll::Ready((alarm, heard)) = alarms.poll(context) else { return false };
        match alarm {
            Ok(Alarm(text)) => {
                let packet = subscribe::alarm(&text, self.intake.setup.version);
                // QoS 0: a client that does not read, or takes only small packets, misses it.
                if packet.len() <= self.max_alarm && self.out.len() < MAX_OUT {
                    self.out.extend_from_slice(&packet);
                }
            }
            Err(RecvError::Lagged(_)) => {}
            Err(RecvError::Closed) => {
                self.alarms = None;
                return false;
            }
        }
        alarms.set(next_alarm(heard));
        true
    }

    /// Begins or ends listening for alarms, as the client subscribed; begins with those in force.
    pub(super) fn follow_alarms(&mut self) {
        if self.intake.setup.subscribed != self.alarms.is_some() {
            self.alarms = self.intake.setup.subscribed.then(|| follow(&self.shared.alarms));
        }
    }
}
