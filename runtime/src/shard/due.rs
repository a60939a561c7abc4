//! Timers and deadlines: an index of when time alone changes a twin, and the inputs that tell it so.
//!
//! The index is made of committed twins; the timer itself is part of the twin. So an entry may be early or twice, and
//! the twin then has nothing to do; it is never missing.

use twins::id::TwinId;
use twins::input::Input;
use twins::time::Timestamp;
use twins::twin::Twin;

use super::work::Work;
use super::{Failed, Shard};

impl Shard {
    /// Time has passed.
    pub(crate) fn tick(&mut self, now: Timestamp) -> Result<(), Failed> {
        self.pass(now);
        while self.now >= self.due_after
            && let Some((due, _)) = self.due.first()
            && *due <= self.now
            && let Some((_, id)) = self.due.pop_first()
        {
            self.one(Work::internal(id, Input::Due));
        }
        self.turn()
    }

    /// Keeps the index true for a twin that is here.
    pub(super) fn index_due(&mut self, id: &TwinId, committed: &Twin) {
        let next = committed.next_due();
        let before = self.resident(id).and_then(|resident| std::mem::replace(&mut resident.due, next));
        if let Some(before) = before.filter(|before| Some(*before) != next) {
            self.due.remove(&(before, id.clone()));
        }
        if let Some(next) = next {
            self.due.insert((next, id.clone()));
        }
    }
}
