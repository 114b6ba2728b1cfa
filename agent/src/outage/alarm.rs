//! When people near the gateway have to be told that nothing is delivered (clause 10.1(4)(3): who depends on Flux keeps
//! people safe when it stops). Pure: what is seen and the time are handed in.
//!
//! The alarm is raised when records have waited for the set time and none was delivered meanwhile. While nothing waits there
//! is no failure, and no alarm. It is over with the next delivery, or when nothing waits any more. That it is in force
//! is kept in the ledger, so a restart neither forgets it nor leaves a horn sounding; the time counts on, too: from the last
//! delivery, as far as the ledger and the records' own times tell. What a restart finds in force is not raised again: who
//! begins to listen is told of it ([`State::Found`]), and it is repeated when that would have been due. After a boot that
//! is at once, because the power cut has silenced what sounded.

use std::time::Duration;

use crate::clock::Stamp;

/// When to say it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// After so long without a delivery while something waits.
    pub after: Duration,
    /// And again so often while it lasts.
    pub repeat: Duration,
}

/// What is known of earlier runs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Earlier {
    /// The alarm was in force.
    pub raised: bool,
    /// When it was raised, if that is known.
    pub raised_at: Option<Stamp>,
    /// The last delivery.
    pub delivered: Option<Stamp>,
    /// When the interval began that is open.
    pub out_since: Option<Stamp>,
    /// What of it is proved, in ms.
    pub out_ms: u64,
}

/// What is seen now.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Seen {
    /// Records wait that might be sent: not those that the operator's own windows hold back.
    pub waiting: bool,
    /// How long the oldest of them has waited, in ms, if that is known.
    pub oldest_ms: Option<u64>,
    /// Records delivered since the start.
    pub delivered: u64,
}

/// What the alarm is now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum State {
    /// It begins.
    Raised,
    /// A restart found it in force, and it is not due yet to be repeated: only who listens anew need hear of it.
    Found,
    /// It goes on.
    Repeated,
    /// It is over.
    Recovered,
}

impl State {
    /// A word for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Raised => "raised",
            // To who hears of it, it is the same.
            Self::Found | Self::Repeated => "repeated",
            Self::Recovered => "recovered",
        }
    }
}

/// Something to be said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signal {
    /// What the alarm is now.
    pub state: State,
    /// For how long nothing was delivered while something waited, in ms.
    pub quiet_ms: u64,
    /// Why it is over, if it is: `delivered`, `nothing waits` or `switched off`.
    pub over: &'static str,
}

/// Watches what is delivered.
#[derive(Debug, Clone)]
pub struct Watch {
    earlier: Option<Earlier>,
    /// Since when nothing was delivered while something waits, and how long it had been so then.
    quiet: Option<(Stamp, u64)>,
    delivered: u64,
    raised: bool,
    said: Option<Stamp>,
}

impl Watch {
    /// Goes on from earlier runs.
    pub fn resume(earlier: Earlier) -> Self {
        Self { earlier: Some(earlier), quiet: None, delivered: 0, raised: earlier.raised, said: None }
    }

    /// Whether the alarm is in force.
    pub fn raised(&self) -> bool {
        self.raised
    }

    /// Looks at how things stand; says what has to be said. Without settings there is no alarm.
    pub fn look(&mut self, settings: Option<&Settings>, seen: &Seen, now: &Stamp) -> Option<Signal> {
        let before_ms = self.quiet_ms(now);
        let delivered = seen.delivered > self.delivered;
        self.delivered = seen.delivered;
        let earlier = self.earlier.take();
        if delivered || !seen.waiting {
            self.quiet = None;
            let over = if delivered { "delivered" } else { "nothing waits" };
            return self.recover(before_ms, over);
        }
        let begun = (*now, earlier.map_or(0, |earlier| earlier.quiet_ms(seen, now)));
        self.quiet.get_or_insert(begun);
        let quiet_ms = self.quiet_ms(now);
        let Some(settings) = settings else { return self.recover(quiet_ms, "switched off") };
        let ms = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        let passed = |since: &Stamp| now.uptime_ms.saturating_sub(since.uptime_ms);
        let state = match &self.said {
            _ if !self.raised && quiet_ms < ms(settings.after) => return None,
            _ if !self.raised => State::Raised,
            Some(said) if passed(said) < ms(settings.repeat) => return None,
            Some(_) => State::Repeated,
            None => match earlier.and_then(|earlier| earlier.said(settings.repeat, now)) {
                Some(said) => {
                    self.said = Some(said);
                    return Some(Signal { state: State::Found, quiet_ms, over: "" });
                }
                None => State::Repeated,
            },
        };
        (self.raised, self.said) = (true, Some(*now));
        Some(Signal { state, quiet_ms, over: "" })
    }

    fn recover(&mut self, quiet_ms: u64, over: &'static str) -> Option<Signal> {
        self.said = None;
        std::mem::take(&mut self.raised).then_some(Signal { state: State::Recovered, quiet_ms, over })
    }

    fn quiet_ms(&self, now: &Stamp) -> u64 {
        self.quiet.map_or(0, |(since, before)| before.saturating_add(now.uptime_ms.saturating_sub(since.uptime_ms)))
    }
}

impl Earlier {
    /// When the alarm in force was said last, if that was in this boot: it was raised, and repeated as often as it had to be.
    /// The stamp's uptime alone counts.
    fn said(&self, repeat: Duration, now: &Stamp) -> Option<Stamp> {
        let raised_at = self.raised_at.filter(|at| at.boot == now.boot)?;
        let repeat = u64::try_from(repeat.as_millis()).unwrap_or(u64::MAX).max(1);
        let age = now.uptime_ms.saturating_sub(raised_at.uptime_ms);
        Some(Stamp { uptime_ms: now.uptime_ms - age % repeat, ..*now })
    }

    /// For how long nothing was delivered while something waited when this run began: not since before the last delivery,
    /// and as long as the oldest record waits or the open interval lasts, as far as these can be known; what of the interval is
    /// proved, in any case.
    fn quiet_ms(&self, seen: &Seen, now: &Stamp) -> u64 {
        let at_most = self.delivered.map_or(u64::MAX, |delivered| delivered.age_ms(now).unwrap_or(0));
        let out_ms = self.out_since.and_then(|since| since.age_ms(now)).unwrap_or(0);
        seen.oldest_ms.unwrap_or(0).max(out_ms).min(at_most).max(self.out_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MINUTE: u64 = 60_000;

    fn settings() -> Settings {
        Settings { after: Duration::from_secs(600), repeat: Duration::from_secs(1_800) }
    }

    fn at(minute: u64) -> Stamp {
        Stamp { wall_ms: 0, uptime_ms: minute * MINUTE, boot: 1, trusted: false }
    }

    fn waiting(delivered: u64) -> Seen {
        Seen { waiting: true, oldest_ms: None, delivered }
    }

    fn said(watch: &mut Watch, seen: Seen, minute: u64) -> Option<(State, u64)> {
        watch.look(Some(&settings()), &seen, &at(minute)).map(|signal| (signal.state, signal.quiet_ms / MINUTE))
    }

    #[test]
    fn it_is_raised_after_the_set_time_repeated_and_over_with_a_delivery() {
        let mut watch = Watch::resume(Earlier::default());
        assert_eq!(said(&mut watch, waiting(0), 0), None);
        assert_eq!(said(&mut watch, waiting(0), 9), None);
        assert_eq!(said(&mut watch, waiting(0), 10), Some((State::Raised, 10)));
        assert_eq!(said(&mut watch, waiting(0), 39), None);
        assert_eq!(said(&mut watch, waiting(0), 40), Some((State::Repeated, 40)));
        assert_eq!(said(&mut watch, waiting(1), 41), Some((State::Recovered, 41)));
        assert_eq!(said(&mut watch, waiting(1), 42), None);
        assert_eq!(said(&mut watch, waiting(1), 52), Some((State::Raised, 10)), "something still waits");
    }

    #[test]
    fn nothing_to_deliver_is_no_failure() {
        let mut watch = Watch::resume(Earlier::default());
        let nothing = Seen::default();
        for minute in 0..100 {
            assert_eq!(said(&mut watch, nothing, minute), None);
        }
        assert_eq!(said(&mut watch, waiting(0), 100), None);
        assert_eq!(said(&mut watch, waiting(0), 110), Some((State::Raised, 10)));
        let over = watch.look(Some(&settings()), &nothing, &at(111)).expect("it is over");
        assert_eq!((over.state, over.over), (State::Recovered, "nothing waits"));
    }

    #[test]
    fn after_a_restart_the_time_counts_on_from_the_last_delivery() {
        let earlier = Earlier { delivered: Some(at(3)), out_since: Some(at(4)), ..Earlier::default() };
        let mut watch = Watch::resume(earlier);
        assert_eq!(said(&mut watch, waiting(0), 13), None);
        assert_eq!(said(&mut watch, waiting(0), 14), Some((State::Raised, 10)));
        // A record older than the last delivery, as of a lane that is held, does not make it longer.
        let mut watch = Watch::resume(Earlier { delivered: Some(at(3)), ..Earlier::default() });
        let old = Seen { oldest_ms: Some(60 * MINUTE), ..waiting(0) };
        assert_eq!(said(&mut watch, old, 12), None);
        assert_eq!(said(&mut watch, old, 13), Some((State::Raised, 10)));
        // Across boots without a right clock only what is proved counts.
        let other = Stamp { boot: 2, ..at(3) };
        let mut watch = Watch::resume(Earlier { delivered: Some(other), out_ms: 9 * MINUTE, ..Earlier::default() });
        assert_eq!(said(&mut watch, waiting(0), 0), None);
        assert_eq!(said(&mut watch, waiting(0), 1), Some((State::Raised, 10)));
    }

    #[test]
    fn an_alarm_in_force_outlives_a_restart_and_is_over_with_the_first_delivery_after_it() {
        let earlier = Earlier { raised: true, ..Earlier::default() };
        let mut watch = Watch::resume(earlier);
        assert_eq!(said(&mut watch, waiting(1), 0).map(|said| said.0), Some(State::Recovered));
        let mut watch = Watch::resume(earlier);
        assert_eq!(
            said(&mut watch, waiting(0), 0).map(|said| said.0),
            Some(State::Repeated),
            "nobody knows since when"
        );
        assert_eq!(said(&mut watch, waiting(0), 1), None);
        assert_eq!(watch.look(None, &waiting(0), &at(2)).map(|signal| signal.over), Some("switched off"));
    }

    #[test]
    fn restarts_of_one_boot_do_not_hasten_its_repeats_and_a_boot_has_it_said_at_once() {
        let earlier = Earlier { raised: true, raised_at: Some(at(100)), ..Earlier::default() };
        // Raised after 100 minutes, repeated each 30.
        for minute in [100, 101, 129, 130, 131, 159] {
            let mut watch = Watch::resume(earlier);
            assert_eq!(said(&mut watch, waiting(0), minute).map(|said| said.0), Some(State::Found), "{minute}");
            let due = 100 + (minute - 100) / 30 * 30 + 30;
            assert_eq!(said(&mut watch, waiting(0), due - 1).filter(|_| due - 1 > minute), None);
            assert_eq!(said(&mut watch, waiting(0), due).map(|said| said.0), Some(State::Repeated), "{minute}");
        }
        let booted = Stamp { boot: 2, ..at(1) };
        let signal = Watch::resume(earlier).look(Some(&settings()), &waiting(0), &booted).expect("it is said");
        assert_eq!((signal.state, signal.state.word()), (State::Repeated, "repeated"));
    }

    proptest! {
        #[test]
        fn raised_and_recovered_take_turns_and_nothing_is_said_more_often_than_it_may(
            steps in proptest::collection::vec((1_u64..20, any::<bool>(), 0_u64..2), 1..200),
        ) {
            let mut watch = Watch::resume(Earlier::default());
            let (mut minute, mut delivered, mut raised, mut last) = (0, 0, false, 0);
            let mut quiet_since = None;
            for (minutes, waits, more) in steps {
                minute += minutes;
                delivered += more;
                let seen = Seen { waiting: waits, oldest_ms: None, delivered };
                if more > 0 || !waits {
                    quiet_since = None;
                } else {
                    quiet_since.get_or_insert(minute);
                }
                match said(&mut watch, seen, minute).map(|said| said.0) {
                    Some(State::Recovered) => {
                        prop_assert!(raised && quiet_since.is_none());
                        raised = false;
                    }
                    Some(State::Raised) => {
                        prop_assert!(!raised && quiet_since.is_some_and(|since| minute - since >= 10));
                        (raised, last) = (true, minute);
                    }
                    Some(State::Found) => prop_assert!(false, "there was no restart"),
                    Some(State::Repeated) => {
                        prop_assert!(raised && minute - last >= 30);
                        last = minute;
                    }
                    None => prop_assert!(raised || quiet_since.is_none_or(|since| minute - since < 10)),
                }
            }
        }
    }
}
