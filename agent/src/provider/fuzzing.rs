//! What services of the provider say, for fuzzing.

use super::machine::{LOG_BYTES, LOG_ENTRIES, Log};
use super::metadata::Subscriber;
use super::page::{ENTRIES, Page};
use super::statuspage::Document;
use crate::glob::Glob;

/// Longest text of a page in bytes: 120 characters, each escaped at most.
const LONGEST: usize = 120 * 10 + 3;

/// Reads a document of a status page for components that a pattern, if it is one, is found in.
///
/// # Panics
/// If more is kept than is bounded, or a text that could not be shown, or the same bytes are read in two ways.
pub fn statuspage(body: &[u8], pattern: &str) {
    let globs: Vec<Glob> = [pattern, "*"].into_iter().filter_map(|text| Glob::new(text).ok()).collect();
    for globs in [&globs[..], &globs[..1], &[]] {
        let Ok(document) = Document::read(body, globs) else { continue };
        assert_eq!(Document::read(body, globs).ok().as_ref(), Some(&document));
        let (mut page, mut twice) = (Page::default(), document.clone());
        twice.add(&document);
        for document in [document, twice] {
            document.onto(&mut page);
            assert!(page.maintenances.len() <= ENTRIES && page.incidents.len() <= ENTRIES);
            let texts = page.maintenances.iter().flat_map(|it| [&it.id, &it.name]);
            let texts = texts.chain(page.incidents.iter().flat_map(|it| [&it.id, &it.name, &it.impact]));
            for text in texts {
                assert!(text.len() <= LONGEST && !text.chars().any(|c| c.is_control() || "<>".contains(c)), "{text:?}");
            }
            assert!(page.maintenances.iter().all(|it| it.until_ms.is_none_or(|until| until > it.from_ms)));
        }
    }
}

/// Reads an answer of the metadata service.
///
/// # Panics
/// If a word is kept that is none.
pub fn subscriber(body: &[u8]) {
    let Ok(told) = Subscriber::read(body) else { return };
    let action = told.expiry.as_ref().map(|expiry| &expiry.action);
    for word in told.speed_class.iter().chain(&told.status).chain(action) {
        assert!(word.len() <= 64 && word.is_ascii(), "{word:?}");
    }
    let mut known = Subscriber::default();
    known.learn(told.clone());
    assert_eq!(known, told);
}

/// Reads the file of the log of notices.
///
/// # Panics
/// If more is kept than is bounded, or the newest entries are not written as they were read.
pub fn log(bytes: &[u8]) {
    let read = Log::decode(bytes);
    assert!(read.entries().len() <= LOG_ENTRIES);
    let written = read.encode();
    assert!(written.len() <= LOG_BYTES, "{} bytes", written.len());
    let again = Log::decode(&written);
    // The oldest may have had no room.
    assert!(again.entries().rev().eq(read.entries().rev().take(again.entries().len())));
    assert!(read.entries().len() == 0 || again.entries().len() > 0);
}
