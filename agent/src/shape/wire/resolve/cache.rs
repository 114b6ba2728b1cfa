//! Names that were resolved, for as long as their answers hold. Pure.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

use tokio::time::Instant;

/// Names at most: a gateway talks to a handful.
const NAMES: usize = 32;

/// The longest that an answer is kept, whatever it says: an endpoint that moved is found within an hour.
const LONGEST: Duration = Duration::from_secs(3600);

/// The cache.
#[derive(Debug, Default)]
pub(super) struct Cache(HashMap<String, (Vec<IpAddr>, Instant)>);

impl Cache {
    /// What is known of a name.
    pub(super) fn get(&self, name: &str, now: Instant) -> Option<Vec<IpAddr>> {
        self.0.get(name).filter(|(_, until)| *until > now).map(|(addresses, _)| addresses.clone())
    }

    /// Keeps an answer; one that does not hold for any time is not kept.
    pub(super) fn put(&mut self, name: &str, addresses: &[IpAddr], life: Duration, now: Instant) {
        self.0.retain(|_, (_, until)| *until > now);
        if addresses.is_empty() || life.is_zero() {
            return;
        }
        if self.0.len() >= NAMES && !self.0.contains_key(name) {
            let soonest = self.0.iter().min_by_key(|(_, (_, until))| *until).map(|(name, _)| name.clone());
            soonest.and_then(|name| self.0.remove(&name));
        }
        self.0.insert(name.to_owned(), (addresses.to_vec(), now + life.min(LONGEST)));
    }

    /// Forgets a name, because none of its addresses answers.
    pub(super) fn forget(&mut self, name: &str) {
        self.0.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_hold_for_their_life_and_no_longer_than_an_hour_and_are_few() {
        let (mut cache, now) = (Cache::default(), Instant::now());
        let (address, second) = ([IpAddr::from([192, 0, 2, 1])], Duration::from_secs(1));
        cache.put("short", &address, 30 * second, now);
        cache.put("long", &address, 86_400 * second, now);
        cache.put("never", &address, Duration::ZERO, now);
        assert_eq!(cache.get("short", now + 29 * second), Some(address.to_vec()));
        assert_eq!(cache.get("short", now + 30 * second), None);
        assert!(cache.get("long", now + 3599 * second).is_some() && cache.get("long", now + LONGEST).is_none());
        assert_eq!(cache.get("never", now), None);
        for number in 0..100 {
            cache.put(&format!("n{number}"), &address, (60 + number) * second, now);
        }
        assert_eq!(cache.0.len(), NAMES);
        assert!(cache.get("n99", now).is_some() && cache.get("short", now).is_none());
        cache.forget("n99");
        assert!(cache.get("n99", now).is_none());
    }
}
