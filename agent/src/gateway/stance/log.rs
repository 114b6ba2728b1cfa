//! The file of the log of notices: when it may be written, and how.
//!
//! # On disk
//! `notices` in the store's folder: what [`Log::encode`] makes, at most [`LOG_BYTES`], replaced whole by a rename, so that a
//! power cut leaves the one before or this one. It may be written [`LOG_AT_ONCE`] times at once and then every [`LOG_EVERY`]. One
//! that cannot be read is empty: the stance itself is in the control lane.

use std::fs;
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::chain::chain;
use crate::config::Config;
use crate::provider::input::Entry;
use crate::provider::machine::{LOG_BYTES, Log};
use crate::regular;

/// The log's name in the store's folder.
const LOG: &str = "notices";

/// The log is written at most so often: 64 KiB each time, and a provider that has lost its mind may say much.
const LOG_EVERY: Duration = Duration::from_secs(10);

/// So many times it may be written at once: news comes in threes (an answer, what follows from it, the status page's word).
const LOG_AT_ONCE: u32 = 5;

/// How often the log may be written: [`LOG_AT_ONCE`] times at once, so that a power cut after one piece of news takes none
/// of it, and every [`LOG_EVERY`] when there is no end of news.
#[derive(Debug)]
pub(super) struct Writes {
    /// When all that was written is paid for.
    paid: Instant,
    started: Instant,
}

impl Writes {
    pub(super) fn new(now: Instant) -> Self {
        Self { paid: now, started: now }
    }

    /// From when on it may be written again.
    pub(super) fn due(&self) -> Instant {
        // An early boot's instants begin at 0.
        self.paid.checked_sub(LOG_EVERY * (LOG_AT_ONCE - 1)).unwrap_or(self.started)
    }

    pub(super) fn wrote(&mut self, now: Instant) {
        // What a person did is written whether or not it was due; that makes others wait no longer.
        self.paid = (self.paid.max(now) + LOG_EVERY).min(now + LOG_EVERY * LOG_AT_ONCE);
    }
}

/// Where it is.
pub(super) fn path(config: &Config) -> PathBuf {
    config.store.path.join(LOG)
}

/// The log of notices of a store's folder, the oldest entry first, whether or not an agent runs. Empty if there is none.
///
/// # Errors
/// If there is one that cannot be read.
pub fn notices_of(folder: &Path) -> io::Result<Vec<Entry>> {
    match bytes(&folder.join(LOG)) {
        Ok(bytes) => Ok(Log::decode(&bytes).entries().cloned().collect()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

fn bytes(path: &Path) -> io::Result<Vec<u8>> {
    let mut out = Vec::new();
    regular::open(path)?.take(LOG_BYTES as u64 + 1).read_to_end(&mut out)?;
    Ok(out)
}

/// The log at `path`. One that cannot be read is empty, which is said.
pub(super) fn read(path: &Path) -> Log {
    match bytes(path) {
        Ok(bytes) => Log::decode(&bytes),
        Err(error) => {
            if error.kind() != io::ErrorKind::NotFound {
                tracing::warn!(path = %path.display(), %error, "the log of notices cannot be read; it begins anew");
            }
            Log::default()
        }
    }
}

/// Puts the log in the place of the one before, in one step that survives a power cut; says whether that was done.
/// `again`: it could not be written the last time either, which was said.
pub(super) async fn write(path: &Path, bytes: Vec<u8>, again: bool) -> bool {
    let path = path.to_owned();
    let shown = path.display().to_string();
    let done = tokio::task::spawn_blocking(move || {
        let fresh = path.with_extension("new");
        let mut file = fs::File::create(&fresh)?;
        file.write_all(&bytes)?;
        file.sync_all()?;
        fs::rename(&fresh, &path)?;
        path.parent().map_or(Ok(()), |folder| fs::File::open(folder)?.sync_all())
    })
    .await;
    let result = done.unwrap_or_else(|error| Err(io::Error::other(error)));
    if let (Err(error), false) = (&result, again) {
        tracing::warn!(path = shown, error = chain(error), "the log of notices cannot be written now");
    }
    result.is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_pieces_of_news_are_written_at_once_and_endless_ones_at_a_pace() {
        let start = Instant::now();
        let mut writes = Writes::new(start);
        for _ in 0..LOG_AT_ONCE {
            assert!(writes.due() <= start);
            writes.wrote(start);
        }
        assert_eq!(writes.due(), start + LOG_EVERY);
        writes.wrote(start + LOG_EVERY);
        assert_eq!(writes.due(), start + 2 * LOG_EVERY);
        // What was not used up comes back.
        let later = start + 20 * LOG_EVERY;
        writes.wrote(later);
        assert!(writes.due() <= later);
    }

    #[test]
    fn a_person_who_does_much_makes_nobody_else_wait_longer() {
        let now = Instant::now();
        let mut writes = Writes::new(now);
        for _ in 0..1_000 {
            writes.wrote(now);
        }
        assert_eq!(writes.due(), now + LOG_EVERY);
    }
}
