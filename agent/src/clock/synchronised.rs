//! Asks the system's time services whether the clock is synchronised, until one of them says so.
//!
//! Two are asked. systemd-timesyncd touches a marker file when it first has set the clock; the file lies on `/run`, so it
//! is gone with the boot, and looking costs a microsecond. systemd-timedated knows of other services too (it reads the
//! kernel's `STA_UNSYNC` flag, which chrony and ntpd clear), but is asked over D-Bus, for which `timedatectl` is run:
//! that is seldom, bounded in time, and its absence is no error.

use std::future::Future;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::{Source, SystemClock};
use crate::program::{Environment, Keep, Program};

/// How often the marker is looked for: a record received in the second before it is found gets its time put right later.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// When timedated is asked again after the first time: a machine that boots is mostly synchronised within seconds.
const ASK_AGAIN: Duration = Duration::from_secs(10);

/// How often it is asked then: each time starts two processes.
const ASK_EVERY: Duration = Duration::from_secs(60);

/// How often once an authenticated answer has told the time: nothing but exactness is to be gained.
const ASK_SELDOM: Duration = Duration::from_secs(600);

/// Longest time that `timedatectl` may take. D-Bus starts timedated first, which takes a slow machine a second.
const ASK_LIMIT: Duration = Duration::from_secs(5);

/// Whom to ask.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The file that is there once the clock is synchronised.
    pub marker: PathBuf,
    /// Whether timedated is asked.
    pub timedated: bool,
}

/// The system's time services.
pub trait TimeServices {
    /// Whether the marker is there.
    fn has_marker(&self, path: &Path) -> bool;

    /// Whether timedated says that the clock is synchronised; `false` if it cannot be asked.
    fn timedated(&self) -> impl Future<Output = bool> + Send;
}

/// Those of this machine.
#[derive(Debug, Clone, Copy, Default)]
pub struct ThisMachine;

impl TimeServices for ThisMachine {
    fn has_marker(&self, path: &Path) -> bool {
        path.exists()
    }

    async fn timedated(&self) -> bool {
        let timedatectl = Program {
            name: "timedatectl",
            arguments: &["show", "--property=NTPSynchronized", "--value"],
            environment: Environment::Bare,
            time: ASK_LIMIT,
            // "yes" or "no" and a newline.
            bytes: 16,
            keep: Keep::First,
        };
        timedatectl.run().await.is_ok_and(|said| said.status.success() && said.output.trim_ascii() == b"yes")
    }
}

/// Whether the marker is there now: for the start, before the first record comes in.
pub fn look(clock: &SystemClock, settings: &Settings, services: &impl TimeServices) -> bool {
    let found = services.has_marker(&settings.marker);
    if found {
        clock.synchronised(Source::Marker);
    }
    found
}

/// Asks until the clock is synchronised. `settings` says anew before each look whom to ask.
pub async fn wait(clock: &SystemClock, settings: impl Fn() -> Settings, services: impl TimeServices) {
    let (started, mut ask_at) = (Instant::now(), Instant::now());
    loop {
        let settings = settings();
        if look(clock, &settings, &services) {
            return;
        }
        if settings.timedated && Instant::now() >= ask_at {
            if services.timedated().await {
                clock.synchronised(Source::Timedated);
                return;
            }
            ask_at = Instant::now() + pause(started.elapsed(), clock.trust().is_some());
        }
        sleep(LOOK_EVERY).await;
    }
}

/// How long to wait before timedated is asked again.
fn pause(running_for: Duration, told: bool) -> Duration {
    match (running_for < ASK_AGAIN, told) {
        (true, _) => ASK_AGAIN,
        (false, false) => ASK_EVERY,
        (false, true) => ASK_SELDOM,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{Clock as _, now_ms};
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicBool, Ordering};
    use tokio::time::timeout;

    /// Services that say what they are told to, and note when they are asked.
    #[derive(Debug, Default)]
    struct Told {
        marker: AtomicBool,
        timedated: AtomicBool,
        asked: Mutex<Vec<Instant>>,
    }

    impl TimeServices for &Told {
        fn has_marker(&self, _: &Path) -> bool {
            self.marker.load(Ordering::Relaxed)
        }

        async fn timedated(&self) -> bool {
            self.asked.lock().expect("no holder panics").push(Instant::now());
            self.timedated.load(Ordering::Relaxed)
        }
    }

    fn asking(timedated: bool) -> impl Fn() -> Settings {
        move || Settings { marker: PathBuf::from("/there"), timedated }
    }

    #[tokio::test(start_paused = true)]
    async fn timedated_is_asked_at_once_after_ten_seconds_and_then_each_minute() {
        let (told, clock, started) = (Told::default(), SystemClock::new(), Instant::now());
        let limit = Duration::from_secs(200);
        assert!(timeout(limit, wait(&clock, asking(true), &told)).await.is_err());
        assert!(!clock.now().trusted);
        let asked: Vec<u64> =
            told.asked.lock().expect("no holder panics").iter().map(|at| (*at - started).as_secs()).collect();
        assert_eq!(asked, [0, 10, 70, 130, 190]);
    }

    #[tokio::test(start_paused = true)]
    async fn it_is_asked_seldom_once_an_answer_has_told_the_time_and_still_counts_for_more() {
        let (told, clock) = (Told::default(), SystemClock::new());
        clock.told(now_ms().max(1_800_000_000_000), 600);
        let limit = Duration::from_secs(1_000);
        assert!(timeout(limit, wait(&clock, asking(true), &told)).await.is_err());
        assert_eq!(told.asked.lock().expect("no holder panics").len(), 3);
        told.timedated.store(true, Ordering::Relaxed);
        wait(&clock, asking(true), &told).await;
        assert_eq!(clock.trust().map(|trust| trust.source), Some(Source::Timedated));
    }

    #[tokio::test(start_paused = true)]
    async fn the_marker_is_found_within_a_second_and_timedated_is_not_asked_if_it_should_not_be() {
        let (told, clock) = (Told::default(), SystemClock::new());
        let marks = async {
            sleep(Duration::from_secs(100)).await;
            told.marker.store(true, Ordering::Relaxed);
            Instant::now()
        };
        let (marked, ()) = tokio::join!(marks, wait(&clock, asking(false), &told));
        assert!(marked.elapsed() <= LOOK_EVERY);
        assert_eq!(clock.trust().map(|trust| trust.source), Some(Source::Marker));
        assert!(told.asked.lock().expect("no holder panics").is_empty());
    }

    #[tokio::test]
    async fn this_machine_answers_in_time_whatever_it_has_installed() {
        let started = std::time::Instant::now();
        let _either = ThisMachine.timedated().await;
        assert!(started.elapsed() < ASK_LIMIT + Duration::from_secs(5));
        let folder = tempfile::tempdir().expect("a temporary folder");
        assert!(!ThisMachine.has_marker(&folder.path().join("synchronised")));
        assert!(ThisMachine.has_marker(folder.path()));
    }
}
