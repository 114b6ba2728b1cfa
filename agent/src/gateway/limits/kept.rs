//! What is kept over restarts and power cuts of what limits: the SIM's speed class, and the terms file that was good last.
//!
//! Without it a gateway would send as fast as the rest allows until the metadata service answers, and after a bad edit of
//! the terms file as if there were no contract. Limits of the operator need no keeping: they stand in the configuration.
//!
//! Format, in the store's control lane ([`Change::Kept`]), CBOR:
//! ```text
//! limits/line    { url, class, told_ms }        // which service told which class when
//! limits/terms   { path, text, read_ms }        // the file byte for byte
//! ```
//! What cannot be read is taken for not kept: a later version's, or damage that the store let through. A terms file of more
//! than some 16,000 bytes is not kept, and the log says so.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::{Desk, File};
use crate::clock::Clock as _;
use crate::config::terms;
use crate::gateway::Shared;
use crate::store::{Change, Kept, Store, Submission};

const LINE: &str = "limits/line";
const TERMS: &str = "limits/terms";

/// A class that is told again and again is noted so often, so that `when` is about right and flash has nothing to bear.
const NOTE_EVERY_MS: u64 = 24 * 3_600_000;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct KeptLine {
    url: String,
    class: String,
    told_ms: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct KeptTerms {
    path: String,
    text: String,
    read_ms: u64,
}

fn read<T: for<'de> Deserialize<'de>>(store: &Store, name: &str) -> Option<T> {
    ciborium::from_reader(store.kept(name)?.as_slice()).ok()
}

/// Keeps a value, or nothing, under a name; says whether it fits. It is on flash with the store's next commit.
fn write<T: Serialize>(store: &Store, name: &str, value: Option<&T>) -> bool {
    let mut bytes = Vec::new();
    if let Some(value) = value {
        ciborium::into_writer(value, &mut bytes).expect("texts and numbers are CBOR, and a Vec takes all");
    }
    let kept = Kept { name: name.into(), value: bytes };
    if !kept.fits() {
        return false;
    }
    let mut submission = Submission::new();
    submission.change(Change::Kept(kept));
    store.submit(submission);
    true
}

/// Puts into force what was in force before the start, where nothing newer is known. Before the first byte leaves.
pub(in crate::gateway) fn remember(shared: &Shared, store: &Store) {
    let (desk, config) = (&shared.limits, shared.loaded().config);
    let metadata = &config.provider.metadata;
    let line: Option<KeptLine> = read(store, LINE).filter(|_| metadata.enabled);
    if let Some(KeptLine { class, told_ms, .. }) = line.filter(|line| line.url == metadata.url) {
        tracing::info!(class, "the SIM's speed class, as it was told before the start");
        desk.line.send_modify(|line| {
            line.told.speed_class = Some(class);
            line.kept_ms = Some(told_ms);
        });
    }
    desk.file().remember(config.provider.terms.as_deref(), read(store, TERMS));
    note_terms(desk, store, shared.clock.now().wall_ms);
    super::publish(shared, std::time::Instant::now());
}

impl File {
    /// Takes the last good one of an earlier run, if the one that is configured cannot be used.
    fn remember(&mut self, path: Option<&Path>, kept: Option<KeptTerms>) {
        let (Some(_), None, Some(kept)) = (path, &self.terms, kept) else { return };
        match terms::parse(&kept.text, &kept.path) {
            Ok(read) => {
                tracing::warn!(
                    "{} cannot be used; what was read before the start stays in force",
                    path.unwrap_or(Path::new("")).display()
                );
                (self.terms, self.text, self.kept_ms) = (Some(read), Some(kept.text), Some(kept.read_ms));
                self.path = Some(kept.path);
            }
            Err(error) => tracing::warn!(%error, "the terms file that was kept cannot be used by this version"),
        }
    }
}

/// Keeps the terms file that is in force; none, if none is configured.
pub(super) fn note_terms(desk: &Desk, store: &Store, now_ms: u64) {
    let file = desk.file();
    let kept: Option<KeptTerms> = read(store, TERMS);
    let Some((text, path)) = file.text.as_ref().zip(file.path.as_ref()) else {
        // One that is configured and was never good does not take the place of what was.
        if kept.is_some() && file.error.is_none() {
            write::<KeptTerms>(store, TERMS, None);
        }
        return;
    };
    if kept.is_some_and(|kept| kept.text == *text && kept.path == *path) {
        return;
    }
    let now = KeptTerms { path: path.clone(), text: text.clone(), read_ms: now_ms };
    if !write(store, TERMS, Some(&now)) {
        tracing::warn!(
            "{path} is too long to be kept ({} bytes): should it turn bad, it is in force until the next start only",
            text.len()
        );
        write::<KeptTerms>(store, TERMS, None);
    }
}

/// Keeps the class that was told last.
pub(super) fn note_line(shared: &Shared, store: &Store) {
    let line = shared.limits.line.borrow().clone();
    let (Some(class), true) = (line.told.speed_class, line.answered.is_some()) else { return };
    let url = shared.loaded().config.provider.metadata.url.clone();
    let now = KeptLine { url, class, told_ms: shared.clock.now().wall_ms };
    let kept: Option<KeptLine> = read(store, LINE);
    let same = kept.is_some_and(|kept| {
        kept.class == now.class && kept.url == now.url && now.told_ms.abs_diff(kept.told_ms) < NOTE_EVERY_MS
    });
    if !same {
        write(store, LINE, Some(&now));
    }
}

#[cfg(test)]
mod tests {
    use crate::message;

    use super::*;
    use tidegate_protocol::terms::Terms;

    fn kept(text: &str) -> KeptTerms {
        KeptTerms { path: "/old.toml".into(), text: text.into(), read_ms: 7 }
    }

    fn bad() -> File {
        File { error: Some(vec![message!("missing")]), ..File::default() }
    }

    #[test]
    fn what_was_good_before_the_start_is_in_force_if_what_is_configured_is_not() {
        let (good, path) = (kept("[limits]\nrate = \"1 Mbit/s\""), Some(Path::new("/t.toml")));
        let mut file = bad();
        file.remember(path, Some(good.clone()));
        assert!(file.terms.is_some() && file.kept_ms == Some(7) && file.error.is_some());
        let mut file = File { terms: Some(Terms::default()), ..File::default() };
        file.remember(path, Some(good.clone()));
        assert!(file.terms == Some(Terms::default()) && file.kept_ms.is_none(), "the file itself is newer");
        for (path, kept) in [(None, Some(good)), (path, None), (path, Some(kept("[limits]\nrate = 1")))] {
            let mut file = bad();
            file.remember(path, kept);
            assert_eq!(file.terms, None);
        }
    }
}
