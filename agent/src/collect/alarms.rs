//! What a person near the gateway should know: texts for the subscribers of `tidegate/alarm`.
//!
//! An alarm is in force from when it is raised until it is ended. Who subscribes meanwhile is told at once: otherwise
//! whoever comes because something is wrong would hear of it only when it is over.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::broadcast;

/// Alarms a slow subscriber may be behind before it misses some: an alarm is a sentence, and sixteen changes of state
/// within the time a client takes to read are more than there are.
const BEHIND: usize = 16;

/// A text for the subscribers of `tidegate/alarm`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alarm(pub Arc<str>);

/// The alarms, shared by who raises them and who publishes them.
#[derive(Debug, Clone)]
pub struct Alarms {
    sender: broadcast::Sender<Alarm>,
    /// Held while something is sent and while someone subscribes, so that no subscriber misses an alarm or hears it
    /// twice.
    current: Arc<Mutex<Option<Alarm>>>,
}

impl Default for Alarms {
    fn default() -> Self {
        Self { sender: broadcast::Sender::new(BEHIND), current: Arc::default() }
    }
}

impl Alarms {
    /// Tells an alarm that is in force from now on, instead of the one before. Says how many were told.
    pub fn raise(&self, alarm: Alarm) -> usize {
        self.tell(Some(alarm.clone()), alarm)
    }

    /// Tells that the alarm is over. Says how many were told.
    pub fn end(&self, alarm: Alarm) -> usize {
        self.tell(None, alarm)
    }

    /// The alarm in force, and all that follow.
    pub fn subscribe(&self) -> (Option<Alarm>, broadcast::Receiver<Alarm>) {
        let current = self.current();
        (current.clone(), self.sender.subscribe())
    }

    fn tell(&self, in_force: Option<Alarm>, alarm: Alarm) -> usize {
        let mut current = self.current();
        *current = in_force;
        // An error means that nobody listens.
        self.sender.send(alarm).unwrap_or(0)
    }

    fn current(&self) -> MutexGuard<'_, Option<Alarm>> {
        // It is replaced as a whole, so it is whole if a holder panics.
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
