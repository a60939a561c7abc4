//! Generations: a shard's state is replaced as a whole by making another one beside it, and switching.

use std::collections::{BTreeMap, BTreeSet};

use super::Error;

/// The rows of a shard in one of its generations. A shard keeps the home that it was read from: once another generation
/// is current, nothing that is still written for this one lands in that.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Home {
    /// Whose.
    pub shard: u32,
    /// Which of its states: 0 is the first, and a later one has a higher number.
    pub generation: u32,
}

impl Home {
    /// That of a shard whose state was never replaced.
    #[must_use]
    pub const fn first(shard: u32) -> Self {
        Self { shard, generation: 0 }
    }
}

/// Which generation of each shard is current, and which are being made.
#[derive(Debug, Clone, Default)]
pub(super) struct Homes {
    /// Shards whose state was replaced.
    current: BTreeMap<u32, u32>,
    staged: BTreeSet<Home>,
}

impl Homes {
    pub(super) fn new(current: BTreeMap<u32, u32>) -> Self {
        Self { current, staged: BTreeSet::new() }
    }

    /// The current one.
    pub(super) fn current(&self, shard: u32) -> Home {
        Home { shard, generation: self.current.get(&shard).copied().unwrap_or(0) }
    }

    /// Refuses one that is neither current nor being made.
    pub(super) fn check(&self, home: Home) -> Result<(), Error> {
        match home == self.current(home.shard) || self.staged.contains(&home) {
            true => Ok(()),
            false => Err(Error::Superseded { shard: home.shard, generation: home.generation }),
        }
    }

    pub(super) fn is_staged(&self, home: Home) -> bool {
        self.staged.contains(&home)
    }

    /// One is being made.
    pub(super) fn stage(&mut self, home: Home) {
        self.staged.insert(home);
    }

    /// One that was being made is current.
    pub(super) fn switch(&mut self, home: Home) {
        self.staged.remove(&home);
        self.current.insert(home.shard, home.generation);
    }

    /// One that was being made will not be.
    pub(super) fn discard(&mut self, home: Home) {
        self.staged.remove(&home);
    }

    /// As [`Homes::discard`], for all of them.
    pub(super) fn discard_staged(&mut self) {
        self.staged.clear();
    }
}
