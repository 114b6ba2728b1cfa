//! Asking a loop whether it still turns.
//!
//! A thread that hangs in the disk, or a task that waits for what never comes, looks from outside like one that has
//! nothing to do. So it is asked: who watches takes a [`Question`], the loop answers whatever was asked each time it comes
//! round ([`Pulse::answer`]), and must be woken for it if it sleeps. An answer says that the loop was at its head after
//! the question: what it had in hand before is done.

use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::watch;

/// What a loop and those who watch it share.
#[derive(Debug)]
pub struct Pulse {
    asked: AtomicU64,
    answered: watch::Sender<u64>,
}

impl Default for Pulse {
    fn default() -> Self {
        Self { asked: AtomicU64::new(0), answered: watch::Sender::new(0) }
    }
}

impl Pulse {
    /// Asks. Whoever owns the loop wakes it afterwards.
    pub fn ask(&self) -> Question {
        let number = self.asked.fetch_add(1, Ordering::AcqRel) + 1;
        Question { number, answered: self.answered.subscribe() }
    }

    /// Answers all that was asked by now: for the loop, each time it comes round. Costs next to nothing.
    pub fn answer(&self) {
        let asked = self.asked.load(Ordering::Acquire);
        self.answered.send_if_modified(|answered| std::mem::replace(answered, asked) != asked);
    }
}

/// What was asked, and whether it was answered.
#[derive(Debug)]
pub struct Question {
    number: u64,
    answered: watch::Receiver<u64>,
}

impl Question {
    /// Whether the loop has come round since.
    pub fn is_answered(&self) -> bool {
        *self.answered.borrow() >= self.number
    }

    /// Waits until it has; for ever if the loop is gone.
    pub async fn wait(&mut self) {
        let number = self.number;
        if self.answered.wait_for(|answered| *answered >= number).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_answer_is_for_all_that_was_asked_before_it_and_for_nothing_after() {
        let pulse = Pulse::default();
        let (mut first, second) = (pulse.ask(), pulse.ask());
        assert!(!first.is_answered() && !second.is_answered());
        pulse.answer();
        let third = pulse.ask();
        first.wait().await;
        assert!(first.is_answered() && second.is_answered() && !third.is_answered());
    }
}
