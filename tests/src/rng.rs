//! Random numbers from a seed that a failing test prints, so that the same run can be had again.

use std::time::{SystemTime, UNIX_EPOCH};

/// `SplitMix64` (Steele, Lea, Flood 2014): one word of state, good enough to choose moments and sizes.
#[derive(Debug, Clone)]
pub struct Rng(u64);

impl Rng {
    /// From `TIDEGATE_TEST_SEED` if it is set, else from the clock; prints the seed, which shows when a test fails.
    #[must_use]
    pub fn seeded(test: &str) -> Self {
        let given = std::env::var("TIDEGATE_TEST_SEED").ok().and_then(|text| text.parse().ok());
        let seed = given.unwrap_or_else(|| {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            now.as_secs() ^ (u64::from(now.subsec_nanos()) << 20) ^ (u64::from(std::process::id()) << 50)
        });
        println!("{test}: TIDEGATE_TEST_SEED={seed} repeats this run");
        Self(seed)
    }

    /// From a seed that needs no telling.
    #[must_use]
    pub fn from_seed(seed: u64) -> Self {
        Self(seed)
    }

    /// The next 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number from `low` up to, not including, `high`.
    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.bits() % (high - low).max(1)
    }
}
