//! Lives under a service manager: says when devices can connect, what it does, that it lives, and that it ends.
//!
//! # Constraints
//! - **The start never times out.** `READY=1` is said once devices can connect; or, where the store cannot be opened now,
//!   as soon as that is known and the control socket says why: the agent tries again by itself, and a restart would do no
//!   better. A recovery that takes long has the time limit put off, for [`RECOVERY_LIMIT`] at most.
//! - **`WATCHDOG=1` means that it works**, not that a timer runs: it is said from the one thread that everything
//!   asynchronous shares, and only after the task that turns notices and answers into what may leave, and the journal's
//!   writer, have come round ([`watchdog`]). A full disk is no reason for a restart, a disk that does not answer is one:
//!   the new process finds out whether the disk or the old process was at fault.
//! - The end is bounded by the rooms' own limits (some 25 s if each is used up); while it lasts, the manager's time limit is
//!   put off, for [`STOP_LIMIT`] at most.
//! - Without a manager none of this runs.
//!
//! # How it works
//! One task ([`keep`]) looks at the rooms each [`LOOK_EVERY`], and sooner when they are up or when an answer to the
//! watchdog's question comes; it writes datagrams and nothing else. What a reload or a stop says, `serve` has said.
//! Source: `sd_notify(3)` and `systemd.service(5)` of systemd 252.

mod notify;
mod watchdog;

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch as channel;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use self::notify::{extend, status, watchdog_limit};
use self::watchdog::{Answered, Watchdog};
use super::{Rooms, Shared};
use crate::pulse::Question;

pub(super) use self::notify::Notifier;

/// How often the rooms are looked at: what is shown is for people.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// How often before it is ready: the start of whatever comes after it waits.
const LOOK_OFTEN: Duration = Duration::from_millis(50);

/// Shortest time between two status lines: each is a signal on the system's bus.
const SAY_EVERY: Duration = Duration::from_secs(5);

/// How much further the manager's time limit is put off at a time; three looks fit into it several times over.
const EXTEND_BY: Duration = Duration::from_secs(30);

/// How often it is put off.
const EXTEND_EVERY: Duration = Duration::from_secs(5);

/// How long the start may be put off while the store is read. A gigabyte from a card of 10 MB/s takes two minutes, and a
/// start reads a part of it. After that it counts as started, which is not ready: killing it would only begin again.
const RECOVERY_LIMIT: Duration = Duration::from_secs(300);

/// How long the stop may be put off: four times what the rooms' own limits come to.
const STOP_LIMIT: Duration = Duration::from_secs(100);

/// What the service manager is told.
#[derive(Debug)]
pub(super) struct Service {
    notifier: Arc<Notifier>,
    stopping: CancellationToken,
    task: Option<JoinHandle<()>>,
}

impl Service {
    /// Begins. `up`: whether devices can connect. The control socket must be served by now.
    pub(super) fn start(shared: &Arc<Shared>, up: channel::Receiver<bool>) -> Self {
        let notifier = Arc::new(Notifier::from_environment());
        let stopping = CancellationToken::new();
        let limit = {
            let variable = |name| std::env::var(name).ok();
            let (usec, pid) = (variable("WATCHDOG_USEC"), variable("WATCHDOG_PID"));
            watchdog_limit(usec.as_deref(), pid.as_deref(), std::process::id())
        };
        let task = notifier.is_heard().then(|| {
            let keeper = Keeper::new(Arc::clone(shared), Arc::clone(&notifier), limit, stopping.clone());
            tokio::spawn(keeper.run(up))
        });
        Self { notifier, stopping, task }
    }

    /// The configuration is being read again.
    pub(super) fn reloading(&self) {
        let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
        let usec = i128::from(now.tv_sec) * 1_000_000 + i128::from(now.tv_nsec) / 1_000;
        self.notifier.tell(&["RELOADING=1", &format!("MONOTONIC_USEC={usec}")]);
    }

    /// It was, or could not be: the configuration in force is in force.
    pub(super) fn reloaded(&self) {
        self.notifier.tell(&["READY=1"]);
    }

    /// It ends.
    pub(super) fn stopping(&self) {
        self.notifier.tell(&["STOPPING=1", &status("finishing what was acknowledged")]);
        self.stopping.cancel();
    }

    /// It has ended.
    pub(super) fn stopped(&self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

/// Whether the manager is told now that the start is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Start {
    /// Not yet.
    Wait,
    /// Yes.
    Over,
}

/// `up`: devices can connect; `refused`: the store cannot be opened now; `since`: how long it has tried.
fn started(up: bool, refused: bool, since: Duration) -> Start {
    if up || refused || since >= RECOVERY_LIMIT { Start::Over } else { Start::Wait }
}

/// What the rooms are at, as the status line says it.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Condition {
    /// The store is being opened; why it could not be, the last time.
    Opening(Option<String>),
    /// Devices can connect.
    Up {
        /// Why nothing is acknowledged, if nothing is.
        withheld: Option<String>,
        /// Records that wait.
        waiting: u64,
        /// Whether there is a changed configuration that cannot be used.
        bad_config: bool,
    },
}

impl Condition {
    fn of(shared: &Shared) -> Self {
        let stats = match &*shared.rooms() {
            Rooms::Opening { problem } => return Self::Opening(problem.as_ref().map(ToString::to_string)),
            Rooms::Running { store, .. } => store.stats(),
        };
        Self::Up {
            withheld: stats.withheld().map(|why| why.to_string()),
            waiting: stats.lanes.iter().map(|lane| lane.waiting).sum(),
            bad_config: shared.loaded().error.is_some(),
        }
    }

    fn text(&self) -> String {
        match self {
            Self::Opening(None) => "opening the store; devices cannot connect yet".into(),
            Self::Opening(Some(why)) => format!("devices cannot connect: the store cannot be opened: {why}"),
            Self::Up { withheld, waiting, bad_config } => {
                let first = withheld.as_ref().map_or_else(
                    || format!("devices can connect, {waiting} records wait"),
                    |why| format!("nothing is acknowledged: {why}; {waiting} records wait"),
                );
                let config = if *bad_config { "; the changed configuration cannot be used" } else { "" };
                format!("{first}{config}; see tidegate status")
            }
        }
    }
}

/// What one round of the watchdog asked.
#[derive(Debug, Default)]
struct Asked {
    control: Option<Question>,
    journal: Option<Question>,
}

impl Asked {
    /// What has answered; what was not asked needs not. Nothing needs to while the rooms end one after the other: that has
    /// limits of its own.
    fn answered(&self, stopping: bool) -> Answered {
        let answered = |question: &Option<Question>| stopping || question.as_ref().is_none_or(Question::is_answered);
        Answered { control: answered(&self.control), journal: answered(&self.journal) }
    }

    /// Waits until something that has not answered does.
    async fn change(&mut self) {
        tokio::select! {
            () = waits(self.control.as_mut()) => {}
            () = waits(self.journal.as_mut()) => {}
        }
    }
}

/// Waits for an answer that has not come; for ever if none is to come.
async fn waits(question: Option<&mut Question>) {
    match question.filter(|question| !question.is_answered()) {
        Some(question) => question.wait().await,
        None => std::future::pending().await,
    }
}

struct Keeper {
    shared: Arc<Shared>,
    notifier: Arc<Notifier>,
    stopping: CancellationToken,
    watchdog: Option<Watchdog>,
    asked: Asked,
    /// An answer was overdue, and the log says so.
    overdue: bool,
    begun: Instant,
    ready: bool,
    stop_since: Option<Instant>,
    extended: Option<Instant>,
    said: Option<(String, Instant)>,
}

impl Keeper {
    fn new(shared: Arc<Shared>, notifier: Arc<Notifier>, limit: Option<Duration>, stopping: CancellationToken) -> Self {
        Self {
            shared,
            notifier,
            stopping,
            watchdog: limit.map(Watchdog::new),
            asked: Asked::default(),
            overdue: false,
            begun: Instant::now(),
            ready: false,
            stop_since: None,
            extended: None,
            said: None,
        }
    }

    async fn run(mut self, mut up: channel::Receiver<bool>) {
        loop {
            let now = Instant::now();
            if self.stopping.is_cancelled() {
                let since = *self.stop_since.get_or_insert(now);
                self.extend(now, since, STOP_LIMIT);
            } else {
                self.say(now, *up.borrow());
            }
            let wake = self.watch(now).min(now + if self.ready { LOOK_EVERY } else { LOOK_OFTEN });
            let (ready, stopped) = (self.ready, self.stop_since.is_some());
            tokio::select! {
                () = tokio::time::sleep_until(wake.into()) => {}
                // The sender goes with the supervisor; then only the end is left to be said.
                Ok(()) = up.changed(), if !ready => {}
                () = self.asked.change() => {}
                () = self.stopping.cancelled(), if !stopped => {}
            }
        }
    }

    /// Says that the start is over, and what the rooms are at.
    fn say(&mut self, now: Instant, up: bool) {
        let condition = Condition::of(&self.shared);
        let text = condition.text();
        if !self.ready {
            let refused = matches!(condition, Condition::Opening(Some(_)));
            if started(up, refused, now - self.begun) == Start::Wait {
                self.extend(now, self.begun, RECOVERY_LIMIT);
            } else {
                self.ready = true;
                self.notifier.tell(&["READY=1", &status(&text)]);
                self.said = Some((text, now));
                return;
            }
        }
        let news = self.said.as_ref().is_none_or(|(said, at)| *said != text && now - *at >= SAY_EVERY);
        if news {
            self.notifier.tell(&[&status(&text)]);
            self.said = Some((text, now));
        }
    }

    /// Puts the manager's time limit off, as long as `since` is not further back than `limit`.
    fn extend(&mut self, now: Instant, since: Instant, limit: Duration) {
        let due = self.extended.is_none_or(|at| now - at >= EXTEND_EVERY);
        if due && now - since < limit {
            self.notifier.tell(&[&extend(EXTEND_BY)]);
            self.extended = Some(now);
        }
    }

    /// Takes the watchdog's turn; says when it is to be taken again at the latest.
    fn watch(&mut self, now: Instant) -> Instant {
        let far = now + LOOK_EVERY;
        let Some(watchdog) = &mut self.watchdog else { return far };
        let answered = self.asked.answered(self.stop_since.is_some());
        let turn = watchdog.turn(now, answered);
        if turn.feed {
            self.notifier.tell(&["WATCHDOG=1"]);
            if std::mem::take(&mut self.overdue) {
                tracing::info!("everything answers the watchdog again");
            }
        }
        if turn.overdue {
            self.overdue = true;
            tracing::error!(
                missing = answered.missing(),
                "no answer to the watchdog; if none comes, the service manager restarts Tidegate"
            );
        }
        if turn.ask {
            self.ask();
            // What needs not be asked has answered already.
            return now;
        }
        turn.wake
    }

    fn ask(&mut self) {
        let store = match &*self.shared.rooms() {
            Rooms::Opening { .. } => None,
            Rooms::Running { store, .. } => Some(store.clone()),
        };
        self.asked = match store {
            Some(store) if self.stop_since.is_none() => {
                Asked { control: Some(self.shared.stance.ask()), journal: Some(store.ask()) }
            }
            _ => Asked::default(),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_start_is_over_when_devices_can_connect_or_when_waiting_for_that_has_no_end() {
        let soon = Duration::from_secs(1);
        assert_eq!(started(false, false, soon), Start::Wait, "the store is being read");
        assert_eq!(started(true, false, soon), Start::Over);
        assert_eq!(started(false, true, soon), Start::Over, "the disk refuses, and it is tried again");
        assert_eq!(started(false, false, RECOVERY_LIMIT), Start::Over, "begun again, it would take as long");
    }

    #[test]
    fn the_status_line_says_first_what_a_person_must_know() {
        let up = |withheld: Option<&str>, bad_config| Condition::Up {
            withheld: withheld.map(str::to_owned),
            waiting: 7,
            bad_config,
        };
        assert_eq!(up(None, false).text(), "devices can connect, 7 records wait; see tidegate status");
        let text = up(Some("no space"), true).text();
        assert!(text.starts_with("nothing is acknowledged: no space; 7 records wait; the changed"), "{text}");
        let text = Condition::Opening(Some("cannot lock /x".into())).text();
        assert!(text.starts_with("devices cannot connect") && text.ends_with("cannot lock /x"), "{text}");
    }

    #[tokio::test]
    async fn what_was_not_asked_and_what_ends_needs_not_answer() {
        let pulse = crate::pulse::Pulse::default();
        let mut asked = Asked { control: None, journal: Some(pulse.ask()) };
        assert_eq!(asked.answered(false), Answered { control: true, journal: false });
        assert_eq!(asked.answered(true), Answered { control: true, journal: true });
        pulse.answer();
        assert_eq!(asked.answered(false), Answered { control: true, journal: true });
        asked.journal = Some(pulse.ask());
        pulse.answer();
        assert!(tokio::time::timeout(LOOK_OFTEN, asked.change()).await.is_err(), "it has answered: nothing changes");
    }
}
