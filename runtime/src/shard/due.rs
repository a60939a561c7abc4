//! Timers and deadlines: an index of when time alone changes a twin, and the inputs that tell it so.
//!
//! The index is made of committed twins; the timer itself is part of the twin. So an entry may be early or twice, and
//! the twin then has nothing to do; it is never missing. Its front is in memory: see [`super::window`].

use std::ops::Bound;

use twins::id::TwinId;
use twins::input::Input;
use twins::time::Timestamp;
use twins::twin::Twin;

use crate::log::Tenure;
use crate::path::step;
use crate::store::{self, Home, Space, StateStore, Timer};

use super::resident::Slot;
use super::work::Work;
use super::{Action, Failed, Shard, window};

/// How many twins hear at once that something is due. After a long stop a whole fleet is: the rest waits until these
/// are read and on their way to the log, so that neither a turn nor a batch nor memory grows with them.
const AT_ONCE: usize = 256;

impl Shard {
    /// Time has passed.
    pub(crate) fn tick(&mut self, now: Timestamp) -> Result<(), Failed> {
        self.pass(now);
        if self.stream_full && self.time() >= self.due_after {
            self.flush_stream()?;
        }
        if !self.leads() {
            return self.turn();
        }
        if self.fell_back && !self.stream_full && self.now >= self.due_after {
            self.fell_back = false;
            self.end_the_gone();
        }
        for _ in 0..AT_ONCE {
            if self.next_due().is_none_or(|due| due > self.now) {
                break;
            }
            let Some((_, id)) = self.due.pop() else { break };
            let shard = self.setting.number;
            let _span = step!("10.due", shard, twin = %id).entered();
            self.one(Work::internal(id, Input::Due));
        }
        self.turn()
    }

    /// Ends the connections whose gateway has gone and could not have their end written, for want of room. That a client
    /// took its leave is forgotten by then, so its will is said.
    fn end_the_gone(&mut self) {
        let gone = self.mailboxes.iter().flat_map(|(id, all)| {
            let closed = all.iter().filter(|(_, mailbox)| mailbox.is_closed());
            closed.map(|(epoch, _)| (id.clone(), *epoch))
        });
        for (twin, epoch) in gone.collect::<Vec<_>>() {
            self.one(Work::cut_off(twin, epoch));
        }
    }

    /// When the next twin is to hear that something is due; `None` also while enough have heard and are not
    /// done, and while the channels to other shards are full.
    pub(super) fn next_due(&self) -> Option<Timestamp> {
        let has_room = self.forming.decisions.len() + self.loading < AT_ONCE && !self.is_full(1);
        self.due.first().filter(|_| has_room).map(|(due, _)| (*due).max(self.due_after))
    }

    /// Has the next rows of the index read when those in memory run out.
    pub(super) fn look_ahead(&mut self) {
        if !self.due.runs_out() {
            return;
        }
        let rows = self.unwritten_rows();
        if let Some(after) = self.due.read_on(rows) {
            self.actions.push_back(Action::ReadDue { tenure: self.tenure, after: Some(after) });
        }
    }

    /// The rows of the twins whose images the state store lacks.
    pub(super) fn unwritten_rows(&self) -> Vec<window::Row> {
        let row = |id: &TwinId| match self.twins.get(id) {
            Some(Slot::Resident(resident)) => Some((resident.due?, id.clone())),
            _ => None,
        };
        self.dirty.iter().chain(&self.writing).filter_map(row).collect()
    }

    /// The next rows of the index were read.
    pub(crate) fn due_read(
        &mut self,
        now: Timestamp,
        tenure: Tenure,
        rows: Vec<window::Row>,
    ) -> Result<(), Failed> {
        self.pass(now);
        // What was asked for in an earlier tenure is not what comes next any more.
        if tenure == self.tenure {
            self.due.take(rows);
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

/// The rows of the index that the state store has after one, or its first; at most as many as are read at once. Blocks.
pub(super) fn rows(
    store: &dyn StateStore,
    home: Home,
    after: Option<&window::Row>,
) -> Result<Vec<window::Row>, store::Error> {
    let after = after.map(|(due, twin)| Timer { due: *due, twin: twin.clone() }.key());
    let from = after.as_ref().map_or(Bound::Unbounded, |key| Bound::Excluded(key.as_slice()));
    let keys = store.keys(home, Space::Timer, (from, Bound::Unbounded), window::READ)?;
    // One that is left out would make the rows look like the last ones.
    let timers: Option<Vec<_>> = keys.iter().map(|key| Timer::parse(key)).collect();
    let why = || "one is no timer".to_owned();
    let shard = home.shard;
    let timers = timers.ok_or_else(|| store::Error::Unread { shard, space: Space::Timer, why: why() })?;
    Ok(timers.into_iter().map(|Timer { due, twin }| (due, twin)).collect())
}
