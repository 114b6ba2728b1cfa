//! Reading the file, for fuzzing.

use super::{chain, read, report};

/// Reads bytes as a file, and shows what they come to.
///
/// # Panics
/// If the reading is not bounded by the bytes, or a chain is called whole that is not.
pub fn outages(bytes: &[u8]) {
    let found = read(bytes);
    assert!(found.entries as usize <= bytes.len());
    let rows = report::rows(&found.tally, None);
    let _ = report::csv(&rows, found.is_whole());
    if found.is_whole() && !bytes.is_empty() {
        // Every byte belongs to a line that follows from the one before.
        let lines: Vec<_> = chain::lines(bytes).collect();
        assert_eq!(lines.iter().map(|line| line.len).sum::<usize>(), bytes.len());
        assert!(lines[0].follows(chain::START));
    }
}
