//! What must hold of a notice whatever bytes come in: for the fuzz target, and for a test that changes real ones.

use tidegate_protocol::notice::{Content, Keys, Now, SigningKey, open, peek, wire};

use super::{parse, write};
use crate::provider::inbox::follows;

/// Reads the bytes as an envelope, as what is in one, and as a person's file.
///
/// # Panics
/// If an envelope is believed that no key signed, or something is not read as it is written.
pub fn notice(bytes: &[u8]) {
    let key = SigningKey::from_seed(&[1; 32], Some("ops")).expect("a key");
    let keys = Keys::new(vec![key.public().clone()]).expect("one key");
    let error = open(bytes, &keys, "gw-1", Now::AtLeast(0)).expect_err("nobody signed it");
    assert!(!error.to_string().is_empty());
    let _ = peek(bytes);
    if let Ok(text) = std::str::from_utf8(bytes) {
        if let Err(errors) = parse(text, "fuzz.toml", 1_795_336_200_000) {
            assert!(!errors.to_string().is_empty());
        }
    }
    let Ok(read) = wire::read(bytes) else { return };
    let notice = read.notice;
    assert_eq!(notice.check(), Ok(()));
    assert_eq!(wire::read(&wire::write(&notice)).map(|again| again.notice), Ok(notice.clone()));
    assert!(!follows(&notice.content).to_string().chars().any(char::is_control));
    let text = write(&notice);
    assert!(!text.chars().any(|c| c.is_control() && c != '\n'), "{text:?}");
    // A kind that is not known cannot be written, and a set of windows may be more than a person's file takes.
    let can_be_written = !matches!(notice.content, Content::Unknown { .. }) && !text.contains("windows");
    if can_be_written {
        assert_eq!(parse(&text, "again.toml", 0), Ok(notice), "{text}");
    }
}
