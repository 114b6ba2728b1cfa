//! Which retained messages are news.
//!
//! A broker sends the retained message of every topic again after each SUBSCRIBE (MQTT 3.1.1, section 3.8.4), and
//! Tidegate subscribes anew after every reconnect. Taken at face value, each reconnect would store an old reading of
//! every topic once more, and each would cost an event. So the last payload seen on a topic is remembered by its
//! hash, and a retained message that equals it is a repeat: acknowledged and counted, not stored. One that differs
//! was published while nobody listened, and is stored.
//!
//! What is remembered is bounded and lives as long as the process: after a restart each retained message is stored
//! once. In doubt it is stored twice, never dropped.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};

/// Topics remembered in each of two generations: 4,096 in all, four times what the busiest gateways seen have, at
/// 16 bytes each and the table's overhead about 150 KiB.
const GENERATION: usize = 2048;

/// The last payload seen on each topic, by hash.
#[derive(Debug, Default)]
pub(super) struct LastSeen {
    hasher: RandomState,
    young: HashMap<u64, u64>,
    old: HashMap<u64, u64>,
}

impl LastSeen {
    /// Remembers the payload and says whether it equals the one last seen on this topic.
    pub(super) fn repeats(&mut self, topic: &str, payload: &[u8]) -> bool {
        let (topic, payload) = (self.hasher.hash_one(topic), self.hasher.hash_one(payload));
        let before = self.young.get(&topic).or_else(|| self.old.get(&topic)).copied();
        if self.young.len() >= GENERATION && !self.young.contains_key(&topic) {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(topic, payload);
        before == Some(payload)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payload_repeats_only_the_last_one_of_its_own_topic() {
        let mut seen = LastSeen::default();
        assert!(!seen.repeats("a", b"1"));
        assert!(!seen.repeats("b", b"1"));
        assert!(seen.repeats("a", b"1"));
        assert!(!seen.repeats("a", b"2"));
        assert!(!seen.repeats("a", b"1"));
    }

    #[test]
    fn what_is_remembered_is_bounded_and_keeps_the_latest_topics() {
        let mut seen = LastSeen::default();
        for topic in 0..20_000 {
            seen.repeats(&topic.to_string(), b"x");
        }
        assert!(seen.young.len() + seen.old.len() <= 2 * GENERATION);
        assert!(seen.repeats("19999", b"x"));
        assert!(seen.repeats(&(20_000 - GENERATION).to_string(), b"x"));
        assert!(!seen.repeats("0", b"x"));
    }
}
