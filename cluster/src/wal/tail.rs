//! Which entries' payloads are in memory: the ones written last, up to a limit in bytes.

use std::collections::VecDeque;

pub(crate) struct Tail {
    limit: usize,
    bytes: usize,
    entries: VecDeque<(u32, u64, usize)>,
}

impl Tail {
    pub(crate) fn new(limit: usize) -> Self {
        Self { limit, bytes: 0, entries: VecDeque::new() }
    }

    /// Adds an entry, and gives those that must leave memory for it, perhaps itself.
    pub(crate) fn push(&mut self, group: u32, index: u64, bytes: usize) -> Vec<(u32, u64)> {
        // An empty payload takes a place too.
        let bytes = bytes.max(1);
        self.entries.push_back((group, index, bytes));
        self.bytes += bytes;
        let mut leaving = Vec::new();
        while self.bytes > self.limit
            && let Some((group, index, bytes)) = self.entries.pop_front()
        {
            self.bytes -= bytes;
            leaving.push((group, index));
        }
        leaving
    }
}
