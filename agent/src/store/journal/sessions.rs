//! Room for lasting sessions: the listener bounds them; this holds whatever it hands over.

use super::control::Ledger;
use crate::store::SessionRecord;

/// Bytes of client identifiers that all sessions may have together: with the unreleased packet ids they are the
/// largest part of a snapshot, whose frame may have 8 MiB.
const SESSION_BYTES: usize = 3 * 1024 * 1024;

/// What the present commit adds to the sessions of the ledger, and takes from them.
#[derive(Debug, Default)]
pub(super) struct SessionRoom {
    added: usize,
    added_bytes: usize,
    ended: Vec<u64>,
    ended_bytes: usize,
}

impl SessionRoom {
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// Finds room for a session: says which end for it, those longest without a connection first, and whether that is
    /// enough: it is not if all that are left are connected.
    pub(super) fn admit(&mut self, ledger: &Ledger, record: &SessionRecord, limit: usize) -> (Vec<u64>, bool) {
        let new = record.client_id.len();
        let known = ledger.sessions.get(&record.id).filter(|_| !self.ended.contains(&record.id));
        if known.is_some_and(|known| known.client_id.len() >= new) {
            return (Vec::new(), true);
        }
        let bytes: usize = ledger.sessions.values().map(|one| one.client_id.len()).sum();
        let count = ledger.sessions.len();
        let mut ends = Vec::new();
        while count + self.added - self.ended.len() >= limit
            || bytes + self.added_bytes + new - self.ended_bytes > SESSION_BYTES
        {
            let gone = ledger.sessions.values().filter(|one| one.id != record.id && !self.ended.contains(&one.id));
            let oldest = gone.filter_map(|one| Some((one.disconnected_ms?, one.id, one.client_id.len()))).min();
            let Some((_, id, len)) = oldest else { return (ends, false) };
            self.ended.push(id);
            self.ended_bytes += len;
            ends.push(id);
        }
        self.added += 1;
        self.added_bytes += new;
        (ends, true)
    }
}
