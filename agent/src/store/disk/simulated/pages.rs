//! A file's bytes in pages that copies share until they differ: forks, cuts and versions of a file cost what changed.

use std::sync::Arc;

const PAGE: usize = 4096;

/// Bytes; pages of zeros take no room, those behind the last other one not even an entry.
#[derive(Debug, Clone, Default)]
pub(super) struct Pages {
    len: usize,
    pages: Vec<Option<Arc<[u8; PAGE]>>>,
}

impl Pages {
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Copies from `at` on; says how many bytes there were.
    pub(super) fn read(&self, at: usize, buffer: &mut [u8]) -> usize {
        let count = buffer.len().min(self.len.saturating_sub(at));
        let mut done = 0;
        while done < count {
            let (page, within) = ((at + done) / PAGE, (at + done) % PAGE);
            let some = (PAGE - within).min(count - done);
            match self.pages.get(page) {
                Some(Some(bytes)) => buffer[done..done + some].copy_from_slice(&bytes[within..within + some]),
                _ => buffer[done..done + some].fill(0),
            }
            done += some;
        }
        count
    }

    pub(super) fn write(&mut self, at: usize, bytes: &[u8]) {
        let end = at + bytes.len();
        if self.pages.len() < end.div_ceil(PAGE) {
            self.pages.resize(end.div_ceil(PAGE), None);
        }
        self.len = self.len.max(end);
        let mut done = 0;
        while done < bytes.len() {
            let (page, within) = ((at + done) / PAGE, (at + done) % PAGE);
            let some = (PAGE - within).min(bytes.len() - done);
            let page = self.pages[page].get_or_insert_with(|| Arc::new([0; PAGE]));
            Arc::make_mut(page)[within..within + some].copy_from_slice(&bytes[done..done + some]);
            done += some;
        }
    }

    /// Cuts, or lengthens with zeros.
    pub(super) fn resize(&mut self, len: usize) {
        if len < self.len {
            self.pages.truncate(len.div_ceil(PAGE));
            let last = self.pages.get_mut(len / PAGE);
            if let Some(Some(last)) = last {
                Arc::make_mut(last)[len % PAGE..].fill(0);
            }
        }
        self.len = len;
    }

    pub(super) fn to_vec(&self) -> Vec<u8> {
        let mut bytes = vec![0; self.len];
        self.read(0, &mut bytes);
        bytes
    }
}
