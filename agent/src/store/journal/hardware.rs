//! On which hardware the store was written.
//!
//! A store whose card was copied into another gateway would number its records as the original goes on to do: so where
//! the hardware is another one, a new epoch is drawn. What the hardware is, is for the caller to say, as words of the
//! form `key=fingerprint`: only like is compared with like, so that another source of the number (a setting was
//! changed, or something can no longer be read) is not taken for other hardware.
//!
//! In the ledger: a map from key to fingerprint. It goes to flash with the new epoch, in one frame: an opening that is cut
//! short has changed neither, and the next one finds the same.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Keys remembered at most: five of a board and a few interfaces. Beyond them those not met now are forgotten.
const KEYS: usize = 16;

/// Fingerprints by key.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Hardware(BTreeMap<String, String>);

/// How the hardware found compares with the one known.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Met {
    /// Nothing is to be written.
    Same,
    /// The same as far as it was known, with keys that were not.
    New,
    /// Another; the keys by which that shows.
    Other(String),
}

impl Hardware {
    /// Compares with what is found now, and takes that over.
    pub(super) fn meet(&mut self, found: &str) -> Met {
        let words = found.split_ascii_whitespace().filter_map(|word| word.split_once('='));
        let found: BTreeMap<&str, &str> =
            words.filter(|(key, print)| !key.is_empty() && !print.is_empty()).take(KEYS).collect();
        let differs = |(key, print): &(&&str, &&str)| self.0.get(**key).is_some_and(|known| known != **print);
        let other: Vec<&str> = found.iter().filter(differs).map(|(key, _)| *key).collect();
        if !other.is_empty() {
            let told = other.join(", ");
            // What was not met now was the other hardware's.
            self.0 = found.iter().map(|(key, print)| ((*key).to_owned(), (*print).to_owned())).collect();
            return Met::Other(told);
        }
        let new = found.keys().any(|key| !self.0.contains_key(*key));
        for (key, print) in &found {
            self.0.insert((*key).to_owned(), (*print).to_owned());
        }
        if self.0.len() > KEYS {
            self.0.retain(|key, _| found.contains_key(key.as_str()));
        }
        if new { Met::New } else { Met::Same }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_like_is_compared_with_like() {
        let mut known = Hardware::default();
        assert_eq!(known.meet(""), Met::Same);
        assert_eq!(known.meet("board/cpu=1 board/device-tree=2"), Met::New);
        assert_eq!(known.meet("board/cpu=1"), Met::Same);
        assert_eq!(known.meet("network/eth0=9"), Met::New, "another source is not other hardware");
        assert_eq!(known.meet(""), Met::Same, "what is not told is not judged");
        assert_eq!(known.meet("network/eth0=9 board/cpu=1 board/device-tree=2"), Met::Same);
        assert_eq!(known.meet("board/cpu=3 board/device-tree=2"), Met::Other("board/cpu".into()));
        assert_eq!(known.meet("board/cpu=3 board/device-tree=2"), Met::Same, "once");
        assert_eq!(known.meet("network/eth0=8"), Met::New, "that of the hardware before is forgotten");
        assert_eq!(known.meet("board/cpu=4 board/device-tree=5"), Met::Other("board/cpu, board/device-tree".into()));
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut known = Hardware::default();
        for number in 0..100 {
            known.meet(&format!("network/eth{number}=1"));
            assert!(known.0.len() <= KEYS);
        }
        assert_eq!(known.meet("network/eth99=2"), Met::Other("network/eth99".into()));
        assert_eq!(known.meet("no words of the form = at= =all"), Met::Same);
    }
}
