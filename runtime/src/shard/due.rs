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

/// How many twins hear at once that something is due. After a long stop a whole fleet is: the rest waits until these
/// are read and on their way to the log, so that neither a turn nor a batch nor memory grows with them.
const AT_ONCE: usize = 256;

impl Shard {
    /// Time has passed.
    pub(crate) fn tick(&mut self, now: Timestamp) -> Result<(), Failed> {
        self.pass(now);
        if self.stream_full && self.now >= self.due_after {
            self.flush_stream()?;
        }
        for _ in 0..AT_ONCE {
            if self.next_due().is_none_or(|due| due > self.now) {
                break;
            }
            let Some((_, id)) = self.due.pop_first() else { break };
            self.one(Work::internal(id, Input::Due));
        }
        self.turn()
    }

    /// When the next twin is to hear that something is due; `None` also while enough have heard and are not done.
    pub(super) fn next_due(&self) -> Option<Timestamp> {
        let has_room = self.forming.decisions.len() + self.loading < AT_ONCE;
        self.due.first().filter(|_| has_room).map(|(due, _)| (*due).max(self.due_after))
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
