//! What was taken in before: so that nobody can bring an old notice again.

use ring::digest;

use super::{Notice, NoticeError, Now, wire};

/// Notices that are remembered. A provider has a handful under way; beyond this the one that expires first is forgotten,
/// for it is the one that can be brought again for the shortest time.
pub const REMEMBERED: usize = 256;

/// Whether a notice is news.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// Nothing was known of its id.
    New,
    /// It takes the place of one with its id that was issued earlier.
    Amends,
    /// It was taken in before: nothing follows.
    Repeat,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    id: String,
    issued_ms: u64,
    expires_ms: u64,
    /// SHA-256 of the whole notice.
    hash: [u8; 32],
}

/// Ids and issue times of the notices that were taken in and have not expired, at most [`REMEMBERED`].
///
/// An entry lasts until its own expiry, or that of whatever its id said before if that is later: until then the older one
/// could be brought again.
#[derive(Debug, Clone, Default)]
pub struct Taken {
    entries: Vec<Entry>,
}

impl Taken {
    /// Takes a notice in: one that [`open`](super::open) let through.
    ///
    /// # Errors
    /// [`NoticeError::Older`] if one with its id was issued later, or at the same time and says something else.
    pub fn take(&mut self, notice: &Notice, now: Now) -> Result<Turn, NoticeError> {
        let (Now::Known(now_ms) | Now::AtLeast(now_ms)) = now;
        self.entries.retain(|entry| entry.expires_ms >= now_ms);
        let hash = hash(notice);
        let (id, issued_ms, mut expires_ms) = (notice.id.clone(), notice.issued_ms, notice.expires_ms);
        let known = self.entries.iter().position(|entry| entry.id == id);
        if let Some(at) = known {
            let entry = &self.entries[at];
            if entry.issued_ms == issued_ms && entry.hash == hash {
                return Ok(Turn::Repeat);
            }
            if entry.issued_ms >= issued_ms {
                return Err(NoticeError::Older { id, issued_ms, known_ms: entry.issued_ms });
            }
            expires_ms = expires_ms.max(entry.expires_ms);
            self.entries.swap_remove(at);
        } else if self.entries.len() >= REMEMBERED {
            let first = self.entries.iter().enumerate().min_by_key(|(_, entry)| entry.expires_ms);
            if let Some((at, _)) = first {
                self.entries.swap_remove(at);
            }
        }
        self.entries.push(Entry { id, issued_ms, expires_ms, hash });
        Ok(if known.is_some() { Turn::Amends } else { Turn::New })
    }

    /// How many are remembered.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether nothing is remembered.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

fn hash(notice: &Notice) -> [u8; 32] {
    let bytes = wire::write(notice);
    let mut hash = [0; 32];
    hash.copy_from_slice(digest::digest(&digest::SHA256, &bytes).as_ref());
    hash
}

#[cfg(test)]
mod tests {
    use super::super::samples::{ISSUED, information};
    use super::*;

    const NOW: Now = Now::Known(ISSUED);

    #[test]
    fn a_repeat_is_told_from_an_amendment_and_an_older_one_is_refused() {
        let mut taken = Taken::default();
        let (first, later) = (information("n-1", ISSUED), information("n-1", ISSUED + 1));
        assert_eq!(taken.take(&first, NOW), Ok(Turn::New));
        assert_eq!(taken.take(&first, NOW), Ok(Turn::Repeat));
        assert_eq!(taken.take(&later, NOW), Ok(Turn::Amends));
        let error = taken.take(&first, NOW).expect_err("older");
        assert_eq!(error, NoticeError::Older { id: "n-1".into(), issued_ms: ISSUED, known_ms: ISSUED + 1 });
        let other = Notice { why: "something else".into(), ..later.clone() };
        assert!(matches!(taken.take(&other, NOW), Err(NoticeError::Older { .. })), "of one time, but not the same");
        assert_eq!(taken.take(&later, NOW), Ok(Turn::Repeat));
        assert_eq!(taken.len(), 1);
    }

    #[test]
    fn what_was_replaced_cannot_come_again_before_it_expires_though_its_successor_has() {
        let mut taken = Taken::default();
        let first = information("n-1", ISSUED);
        let brief = Notice { expires_ms: ISSUED + 10, ..information("n-1", ISSUED + 1) };
        taken.take(&first, NOW).expect("new");
        taken.take(&brief, NOW).expect("amended");
        let after = Now::Known(ISSUED + 11);
        assert!(matches!(taken.take(&first, after), Err(NoticeError::Older { .. })));
        assert_eq!(taken.take(&information("n-2", ISSUED), Now::Known(first.expires_ms + 1)), Ok(Turn::New));
        assert_eq!(taken.len(), 1, "what has expired is forgotten");
    }

    #[test]
    fn it_is_bounded_and_forgets_first_what_expires_first() {
        let mut taken = Taken::default();
        let numbered = |number: u64| Notice {
            expires_ms: ISSUED + 1000 + (number + 7) % 300,
            ..information(&format!("n-{number}"), ISSUED)
        };
        for number in 0..300 {
            assert_eq!(taken.take(&numbered(number), Now::AtLeast(0)), Ok(Turn::New));
        }
        assert_eq!(taken.len(), REMEMBERED);
        assert_eq!(taken.take(&numbered(292), Now::AtLeast(0)), Ok(Turn::Repeat), "expires last of all");
    }
}
