//! The timers of a twin that are armed: each fires once, at or after its time.

use crate::name::Name;
use crate::time::Timestamp;

/// How many timers may be armed at once.
pub const TIMERS_MAX: usize = 64;

/// The armed timers. Few, so a list sorted by name serves.
#[derive(Debug, Clone, PartialEq, Eq, Default, minicbor::Encode, minicbor::Decode)]
#[cbor(transparent)]
pub struct Timers(#[n(0)] Vec<Timer>);

/// An armed timer.
#[derive(Debug, Clone, PartialEq, Eq, minicbor::Encode, minicbor::Decode)]
pub struct Timer {
    /// Its name, `name/key` for a keyed one.
    #[n(0)]
    pub name: Name,
    /// When it fires.
    #[n(1)]
    pub due: Timestamp,
}

impl Timers {
    /// All of them, by name.
    pub fn iter(&self) -> impl Iterator<Item = &Timer> {
        self.0.iter()
    }

    /// How many are armed.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether none is armed.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether this one is armed.
    pub fn contains(&self, name: &str) -> bool {
        self.find(name).is_ok()
    }

    /// When the next one fires.
    pub fn next_due(&self) -> Option<Timestamp> {
        self.0.iter().map(|timer| timer.due).min()
    }

    /// The one that fires next, if that is not after `now`: the earliest, among equals the first by name.
    pub(crate) fn due(&self, now: Timestamp) -> Option<&Timer> {
        self.0.iter().filter(|timer| timer.due <= now).min_by_key(|timer| timer.due)
    }

    /// Arms a timer, or moves it.
    pub(crate) fn arm(&mut self, name: &Name, due: Timestamp) {
        match self.find(name) {
            Ok(index) => self.0[index].due = due,
            Err(index) => self.0.insert(index, Timer { name: name.clone(), due }),
        }
    }

    /// Takes a timer away, whether it fired or not.
    pub(crate) fn disarm(&mut self, name: &str) {
        if let Ok(index) = self.find(name) {
            self.0.remove(index);
        }
    }

    fn find(&self, name: &str) -> Result<usize, usize> {
        self.0.binary_search_by(|timer| timer.name.as_str().cmp(name))
    }
}
