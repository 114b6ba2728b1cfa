//! Waiting for a condition, with a bound.

use std::fmt::Display;
use std::time::{Duration, Instant};

/// The usual bound: far longer than anything here takes on an idle machine, and short enough that a test which can
/// no longer pass ends while somebody still looks at it. Two cores shared by several tests are the slow case.
pub const BOUND: Duration = Duration::from_secs(30);

/// How often a condition is looked at: short beside anything waited for, long beside the cost of a look.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// Waits until `condition` gives a value, and returns it; fails the test with `what` after `bound`.
#[track_caller]
pub fn for_value<T>(what: &str, bound: Duration, condition: impl FnMut() -> Option<T>) -> T {
    for_value_or_tell(what, bound, condition, || "")
}

/// The same; a failure also says how things stand then, such as the agent's status.
#[track_caller]
pub fn for_value_or_tell<T, D: Display>(
    what: &str,
    bound: Duration,
    mut condition: impl FnMut() -> Option<T>,
    stand: impl FnOnce() -> D,
) -> T {
    let start = Instant::now();
    loop {
        if let Some(value) = condition() {
            return value;
        }
        assert!(start.elapsed() < bound, "waited {bound:?} in vain until {what}\n{:#}", stand());
        std::thread::sleep(LOOK_EVERY);
    }
}

/// Waits until `condition` holds; fails the test with `what` after `bound`.
#[track_caller]
pub fn until(what: &str, bound: Duration, condition: impl FnMut() -> bool) {
    until_or_tell(what, bound, condition, || "");
}

/// The same; a failure also says how things stand then, such as the agent's status.
#[track_caller]
pub fn until_or_tell<D: Display>(
    what: &str,
    bound: Duration,
    mut condition: impl FnMut() -> bool,
    stand: impl FnOnce() -> D,
) {
    for_value_or_tell(what, bound, || condition().then_some(()), stand);
}

/// Fails if `condition` comes true within `span`: for what must *not* happen, where only time can tell.
#[track_caller]
pub fn never(what: &str, span: Duration, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while start.elapsed() < span {
        assert!(!condition(), "{what}, which must not happen, did after {:?}", start.elapsed());
        std::thread::sleep(LOOK_EVERY);
    }
}
