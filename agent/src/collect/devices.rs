//! The devices that were heard: when last, how often, and whether one has fallen silent.
//!
//! # Constraints
//! - **Bounded**: [`MOST`] devices with names of [`NAME`] bytes, some 300 KB in all. Where there are more, the one that was not
//!   heard for longest is forgotten, which is counted.
//! - **Cheap where publishes come in**: an [`Ear`] for each connection keeps its last device, so that a publish is a comparison of
//!   names and an addition; a lock that nobody else holds is taken once for all publishes that arrived together. Memory is
//!   allocated for a device that is new only.
//! - It is kept in memory: it begins anew with the process, and tells the time by the uptime, which never jumps.
//!
//! # What silent means
//! The usual interval is learnt: the longest pause between messages, which each shorter pause makes an eighth more like itself.
//! So it follows at once where a device becomes slower, and a device that sends ten messages together each hour keeps an interval
//! of about a quarter of an hour at the least. A device is silent once nothing was heard for [`TIMES`] times that, and for
//! [`LEAST_MS`] at the least, and only after [`LEARNT`] messages over [`LEAST_MS`]: the first few that come together teach nothing.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

use super::Counter;

/// Devices that are remembered.
pub const MOST: usize = 1000;

/// Bytes of a name that are kept.
pub const NAME: usize = 128;

/// Usual intervals without a message after which a device is silent.
pub const TIMES: u64 = 5;

/// Milliseconds without a message below which no device is silent: a device that sends many times a second may be started anew.
pub const LEAST_MS: u64 = 60_000;

/// Messages from which a usual interval is learnt.
pub const LEARNT: u64 = 4;

/// Milliseconds over which the pace is told.
const WINDOW_MS: u64 = 600_000;

/// The devices, shared by the connections and whoever shows them.
#[derive(Debug, Default)]
pub struct Devices {
    table: Mutex<HashMap<Box<str>, Arc<Device>>>,
    /// Devices that were forgotten in favour of others.
    pub forgotten: Counter,
}

#[derive(Debug)]
struct Device {
    name: Box<str>,
    /// It is no longer in the table.
    forgotten: AtomicBool,
    course: Mutex<Course>,
}

/// What was heard of a device, at one moment. Times are milliseconds of uptime.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heard {
    /// Its name, cut at [`NAME`] bytes.
    pub name: String,
    /// Messages since it is remembered.
    pub messages: u64,
    /// When it was last heard.
    pub last_ms: u64,
    /// Messages an hour at the present pace.
    pub per_hour: u64,
    /// Its usual interval, once it is learnt.
    pub usual_ms: Option<u64>,
    /// Whether it is silent.
    pub silent: bool,
}

/// What one device did. Pure.
#[derive(Debug, Clone, Default)]
struct Course {
    messages: u64,
    first_ms: u64,
    last_ms: u64,
    usual_ms: u64,
    /// The present window's beginning and messages, and those of the one before it.
    window_ms: u64,
    now: u64,
    before: Option<u64>,
}

impl Course {
    /// `count` messages that came together.
    fn heard(&mut self, count: u64, at_ms: u64) {
        if self.messages == 0 {
            (self.first_ms, self.last_ms, self.window_ms) = (at_ms, at_ms, at_ms);
        } else {
            let pause = at_ms.saturating_sub(self.last_ms);
            self.usual_ms = pause.max(self.usual_ms - self.usual_ms / 8 + pause / 8);
        }
        self.roll(at_ms);
        self.messages += count;
        self.now += count;
        self.last_ms = self.last_ms.max(at_ms);
    }

    /// Begins the window that `now_ms` is in.
    fn roll(&mut self, now_ms: u64) {
        let passed = now_ms.saturating_sub(self.window_ms) / WINDOW_MS;
        if passed > 0 {
            self.before = Some(if passed == 1 { self.now } else { 0 });
            self.now = 0;
            self.window_ms += passed * WINDOW_MS;
        }
    }

    /// Messages an hour: of the last ten minutes, the window before this one counted as far as it reaches into them.
    fn per_hour(&self, now_ms: u64) -> u64 {
        let mut at = self.clone();
        at.roll(now_ms);
        let into = now_ms.saturating_sub(at.window_ms);
        match at.before {
            Some(before) => (at.now * WINDOW_MS + before * (WINDOW_MS - into)) / WINDOW_MS * (3_600_000 / WINDOW_MS),
            // One message is no pace.
            None if at.messages < 2 => 0,
            None => at.now * 3_600_000 / into.max(1000),
        }
    }

    fn usual(&self) -> Option<u64> {
        let long_enough = self.last_ms - self.first_ms >= LEAST_MS;
        (self.messages >= LEARNT && long_enough).then_some(self.usual_ms)
    }

    fn is_silent(&self, now_ms: u64) -> bool {
        let quiet = now_ms.saturating_sub(self.last_ms);
        self.usual().is_some_and(|usual| quiet > usual.saturating_mul(TIMES).max(LEAST_MS))
    }
}

/// The end of a name that is kept: as much of it as [`NAME`] bytes hold.
fn short(name: &str) -> &str {
    let mut end = name.len().min(NAME);
    while !name.is_char_boundary(end) {
        end -= 1;
    }
    &name[..end]
}

impl Devices {
    /// The device of that name, which makes room for itself if it is new.
    fn find(&self, name: &str) -> Arc<Device> {
        let name = short(name);
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(device) = table.get(name) {
            return Arc::clone(device);
        }
        if table.len() >= MOST {
            // A look at all of them: some microseconds, for a device that is new and one too many.
            let longest = table.values().min_by_key(|device| device.course().last_ms).cloned();
            if let Some(device) = longest {
                device.forgotten.store(true, Relaxed);
                table.remove(&device.name);
                self.forgotten.add(1);
            }
        }
        let device =
            Arc::new(Device { name: name.into(), forgotten: AtomicBool::new(false), course: Mutex::default() });
        table.insert(name.into(), Arc::clone(&device));
        device
    }

    /// All that are remembered: the silent ones first, then those heard last.
    pub fn heard(&self, now_ms: u64) -> Vec<Heard> {
        let table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        let devices: Vec<Arc<Device>> = table.values().cloned().collect();
        drop(table);
        let of = |device: Arc<Device>| {
            let course = device.course().clone();
            Heard {
                name: device.name.to_string(),
                messages: course.messages,
                last_ms: course.last_ms,
                per_hour: course.per_hour(now_ms),
                usual_ms: course.usual(),
                silent: course.is_silent(now_ms),
            }
        };
        let mut all: Vec<Heard> = devices.into_iter().map(of).filter(|heard| heard.messages > 0).collect();
        all.sort_by(|one, other| {
            let key = |heard: &Heard| (!heard.silent, std::cmp::Reverse(heard.last_ms));
            key(one).cmp(&key(other)).then_with(|| one.name.cmp(&other.name))
        });
        all
    }
}

impl Device {
    fn course(&self) -> std::sync::MutexGuard<'_, Course> {
        self.course.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What one connection hears: the device of its last publish, and how many came since [`Ear::tell`].
#[derive(Debug)]
pub struct Ear {
    devices: Arc<Devices>,
    device: Option<Arc<Device>>,
    count: u64,
    at_ms: u64,
}

impl Ear {
    /// One for a connection.
    pub fn new(devices: Arc<Devices>) -> Self {
        Self { devices, device: None, count: 0, at_ms: 0 }
    }

    /// A publish of a device.
    pub fn hears(&mut self, name: &str, at_ms: u64) {
        let same = self.device.as_ref().is_some_and(|device| *device.name == *short(name));
        if !same {
            self.tell();
            self.device = Some(self.devices.find(name));
        }
        self.count += 1;
        self.at_ms = at_ms;
    }

    /// Makes what was heard known: at the end of what arrived together.
    pub fn tell(&mut self) {
        let count = std::mem::take(&mut self.count);
        let Some(device) = self.device.as_mut().filter(|_| count > 0) else { return };
        if device.forgotten.load(Relaxed) {
            *device = self.devices.find(&device.name);
        }
        device.course().heard(count, self.at_ms);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn course(times: impl IntoIterator<Item = u64>) -> Course {
        let mut course = Course::default();
        times.into_iter().for_each(|at| course.heard(1, at));
        course
    }

    #[test]
    fn a_device_that_pauses_for_several_times_its_interval_is_silent() {
        let steady = course((0..100).map(|n| n * 30_000));
        let last = 99 * 30_000;
        assert_eq!(steady.usual(), Some(30_000));
        assert!(!steady.is_silent(last + 150_000) && steady.is_silent(last + 150_001));
        assert!(!course([0, 10, 20]).is_silent(10_000_000), "nothing is learnt of three messages");
        assert!(!course([0, 10, 20, 30, 40]).is_silent(10_000_000), "nor of some that come together");
        let quick = course((0..=1000).map(|n| n * 100));
        assert!(!quick.is_silent(100_000 + LEAST_MS) && quick.is_silent(100_000 + LEAST_MS + 1));
    }

    #[test]
    fn ten_messages_together_each_hour_are_no_silence() {
        let mut device = Course::default();
        for hour in 0..24_u64 {
            let at = hour * 3_600_000;
            assert!(!device.is_silent(at), "hour {hour}: {device:?}");
            (0..10).for_each(|n| device.heard(1, at + n * 2000));
        }
        assert!(device.is_silent(27 * 3_600_000), "{device:?}");
    }

    #[test]
    fn the_pace_is_that_of_the_last_ten_minutes() {
        let steady = course((0..=120).map(|n| n * 10_000));
        assert!((350..=370).contains(&steady.per_hour(1_200_000)), "{}", steady.per_hour(1_200_000));
        assert_eq!(steady.per_hour(1_200_000 + 2 * WINDOW_MS), 0);
        assert_eq!(course([5]).per_hour(5), 0);
    }

    #[test]
    fn of_too_many_the_one_heard_longest_ago_goes_and_comes_back_when_it_is_heard() {
        let devices = Arc::new(Devices::default());
        let (mut first, mut others) = (Ear::new(Arc::clone(&devices)), Ear::new(Arc::clone(&devices)));
        first.hears("first", 1);
        first.tell();
        for n in 0..MOST {
            others.hears(&format!("d{n}"), 2 + n as u64);
        }
        others.tell();
        let names = |devices: &Devices| devices.heard(5000).into_iter().map(|heard| heard.name).collect::<Vec<_>>();
        let known = names(&devices);
        assert_eq!((known.len(), devices.forgotten.get()), (MOST, 1));
        assert!(!known.contains(&"first".to_owned()) && known[0] == format!("d{}", MOST - 1));
        first.hears("first", 9000);
        first.tell();
        assert!(names(&devices).contains(&"first".to_owned()));
        assert_eq!(devices.forgotten.get(), 2);
        others.hears(&"ü".repeat(NAME), 9001);
        others.tell();
        assert_eq!(names(&devices)[0].len(), NAME);
    }

    proptest! {
        #[test]
        fn every_message_is_counted_and_no_time_breaks_it(times in proptest::collection::vec(any::<u32>(), 1..200)) {
            let course = course(times.iter().map(|at| u64::from(*at)));
            prop_assert_eq!(course.messages, times.len() as u64);
            let last = times.iter().max().map_or(0, |at| u64::from(*at));
            prop_assert_eq!(course.last_ms, last);
            let _ = (course.per_hour(0), course.per_hour(last), course.is_silent(0));
        }
    }
}
