//! What a person near the gateway should know: texts for the subscribers of `tidegate/alarm`.
//!
//! An alarm is in force from when it is raised until it is ended, each subject on its own. Who subscribes meanwhile is
//! told at once: otherwise whoever comes because something is wrong would hear of it only when it is over.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;

/// Alarms a slow subscriber may be behind before it misses some: an alarm is a sentence, and sixteen changes of state
/// within the time a client takes to read are more than there are.
const BEHIND: usize = 16;

/// What an alarm is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subject {
    /// Nothing can be stored.
    Store,
    /// Nothing is delivered.
    Delivery,
}

/// A text for the subscribers of `tidegate/alarm`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alarm(pub Arc<str>);

/// The alarms, shared by who raises them and who publishes them.
#[derive(Debug, Clone)]
pub struct Alarms {
    sender: broadcast::Sender<Alarm>,
    /// In force, in the order in which they were raised. Held while something is sent and while someone subscribes, so
    /// that no subscriber misses an alarm or hears it twice.
    current: Arc<Mutex<Vec<(Subject, Alarm)>>>,
}

impl Default for Alarms {
    fn default() -> Self {
        Self { sender: broadcast::Sender::new(BEHIND), current: Arc::default() }
    }
}

impl Alarms {
    /// Tells an alarm that is in force from now on, instead of the one before of this subject. Says how many were told.
    pub fn raise(&self, subject: Subject, alarm: Alarm) -> usize {
        self.tell(subject, Some(alarm.clone()), alarm)
    }

    /// Tells that the alarm is over. Says how many were told.
    pub fn end(&self, subject: Subject, alarm: Alarm) -> usize {
        self.tell(subject, None, alarm)
    }

    /// The alarms in force, and all that follow.
    pub fn subscribe(&self) -> Heard {
        let current = self.current();
        Heard { there: current.iter().map(|(_, alarm)| alarm.clone()).collect(), coming: self.sender.subscribe() }
    }

    fn tell(&self, subject: Subject, in_force: Option<Alarm>, alarm: Alarm) -> usize {
        let mut current = self.current();
        current.retain(|(known, _)| *known != subject);
        current.extend(in_force.map(|alarm| (subject, alarm)));
        // An error means that nobody listens.
        self.sender.send(alarm).unwrap_or(0)
    }

    fn current(&self) -> MutexGuard<'_, Vec<(Subject, Alarm)>> {
        // It is changed without a call that could panic, so it is whole if a holder does.
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What one subscriber hears: first what was in force when it began to listen.
#[derive(Debug)]
pub struct Heard {
    there: VecDeque<Alarm>,
    coming: broadcast::Receiver<Alarm>,
}

impl Heard {
    /// The next alarm. Dropped before it is there, nothing is missed.
    ///
    /// # Errors
    /// When some were missed, or when there will be none any more.
    pub async fn next(&mut self) -> Result<Alarm, RecvError> {
        match self.there.pop_front() {
            Some(alarm) => Ok(alarm),
            None => self.coming.recv().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_comes_later_hears_of_each_subject_what_is_in_force() {
        let (alarms, alarm) = (Alarms::default(), |text: &str| Alarm(text.into()));
        alarms.raise(Subject::Delivery, alarm("nothing is delivered"));
        alarms.raise(Subject::Store, alarm("the disk is full"));
        alarms.raise(Subject::Delivery, alarm("still nothing"));
        let mut heard = alarms.subscribe();
        alarms.end(Subject::Store, alarm("there is room"));
        for text in ["the disk is full", "still nothing", "there is room"] {
            assert_eq!(heard.next().await, Ok(alarm(text)));
        }
        assert_eq!(alarms.subscribe().next().await, Ok(alarm("still nothing")));
    }
}
