//! What a name server answers, for fuzzing.

use super::message::{Family, Said, answer, question};

/// Reads a datagram as the answer to the question for a name; also with the head of the right one, so that more than the
/// head is looked into.
///
/// # Panics
/// If an address is of the other family.
pub fn names(bytes: &[u8], name: &str, v6: bool) {
    let family = if v6 { Family::V6 } else { Family::V4 };
    let Some(asked) = question(7, name, family) else { return };
    let mut answered = asked.clone();
    // The flag of an answer, and room for counts.
    if let Some(flags) = answered.get_mut(2) {
        *flags |= 0x80;
    }
    answered.extend_from_slice(bytes);
    if let (Some(counts), Some(given)) = (answered.get_mut(6..12), bytes.get(..6)) {
        counts.copy_from_slice(given);
    }
    for datagram in [bytes, &answered] {
        if let Some(Said::Addresses(addresses, _)) = answer(datagram, 7, name, family) {
            assert!(addresses.iter().all(|address| address.is_ipv6() == v6), "{addresses:?}");
        }
    }
}
