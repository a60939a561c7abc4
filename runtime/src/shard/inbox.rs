//! The inbox: for each shard that sends parcels, how many are taken, and those that wait.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use twins::id::TwinId;
use twins::rejection::Rejection;

use super::outbox::WINDOW;
use super::parcel::Parcel;

/// All lanes of a shard. What waits is at most a window of each, and is the sender's to send again.
#[derive(Debug, Default)]
pub(super) struct Inbox {
    lanes: BTreeMap<u32, Lane>,
    /// How many parcels wait.
    waiting: usize,
    /// Whose turn it was last.
    last: u32,
}

/// What one shard sends.
#[derive(Debug, Default)]
struct Lane {
    /// Everything through this is taken and committed.
    taken: u64,
    /// Everything through this is decided.
    decided: u64,
    /// The parcels after that.
    waiting: VecDeque<Waiting>,
}

/// A parcel that waits.
#[derive(Debug, Clone)]
pub(super) struct Waiting {
    pub(super) parcel: Arc<Parcel>,
    /// Its twin cannot be read.
    pub(super) unreadable: Option<Rejection>,
}

impl Inbox {
    /// One that has taken so much of each shard.
    pub(super) fn from(taken: BTreeMap<u32, u64>) -> Self {
        let lane = |taken| Lane { taken, decided: taken, waiting: VecDeque::new() };
        let lanes = taken.into_iter().map(|(from, taken)| (from, lane(taken))).collect();
        Self { lanes, ..Self::default() }
    }

    /// Takes in what is next, as far as there is room; what is a repetition or leaves a gap is not taken in. Where the
    /// sender repeats what is taken, returns how far it is taken: the sender did not hear of it.
    pub(super) fn receive(&mut self, from: u32, first: u64, parcels: Vec<Arc<Parcel>>) -> Option<u64> {
        let lane = self.lanes.entry(from).or_default();
        for (n, parcel) in (first..).zip(parcels) {
            if n == lane.decided + lane.waiting.len() as u64 + 1 && (lane.waiting.len() as u64) < WINDOW {
                lane.waiting.push_back(Waiting { parcel, unreadable: None });
                self.waiting += 1;
            }
        }
        (first <= lane.taken).then_some(lane.taken)
    }

    /// The shards whose parcels wait; the one after whoever had the last turn is first.
    pub(super) fn in_turn(&mut self) -> Vec<u32> {
        if self.waiting == 0 {
            return Vec::new();
        }
        let waiting = self.lanes.iter().filter(|(_, lane)| !lane.waiting.is_empty());
        let mut shards: Vec<u32> = waiting.map(|(shard, _)| *shard).collect();
        let place = shards.partition_point(|shard| *shard <= self.last);
        shards.rotate_left(place);
        self.last = shards.first().copied().unwrap_or(0);
        shards
    }

    /// The parcels of a shard that wait, in order.
    pub(super) fn waiting(&self, from: u32) -> impl Iterator<Item = &Waiting> {
        self.lanes.get(&from).into_iter().flat_map(|lane| &lane.waiting)
    }

    /// The first parcel of a shard is being decided on. Returns it with its number.
    pub(super) fn pop(&mut self, from: u32) -> Option<(u64, Waiting)> {
        let lane = self.lanes.get_mut(&from)?;
        let waiting = lane.waiting.pop_front()?;
        lane.decided += 1;
        self.waiting -= 1;
        Some((lane.decided, waiting))
    }

    /// A twin cannot be read: what waits for it will be refused.
    pub(super) fn refuse(&mut self, twin: &TwinId, why: &Rejection) {
        if self.waiting == 0 {
            return;
        }
        let waiting = self.lanes.values_mut().flat_map(|lane| &mut lane.waiting);
        for waiting in waiting.filter(|waiting| waiting.parcel.to == *twin) {
            waiting.unreadable = Some(why.clone());
        }
    }

    /// That everything through a number is taken is committed.
    pub(super) fn commit(&mut self, from: u32, n: u64) {
        let lane = self.lanes.entry(from).or_default();
        lane.taken = lane.taken.max(n);
        lane.decided = lane.decided.max(n);
    }

    /// Forgets what was decided and will never be committed, and what waits behind it: it will be sent again.
    pub(super) fn fall_back(&mut self) {
        self.waiting = 0;
        for lane in self.lanes.values_mut() {
            lane.waiting.clear();
            lane.decided = lane.taken;
        }
    }

    /// Forgets what waits: it will be sent again.
    pub(super) fn drop_waiting(&mut self) {
        self.waiting = 0;
        self.lanes.values_mut().for_each(|lane| lane.waiting.clear());
    }

    /// How far each shard's parcels are taken.
    pub(super) fn taken(&self) -> BTreeMap<u32, u64> {
        self.lanes.iter().map(|(from, lane)| (*from, lane.taken)).collect()
    }

    /// Whether nothing waits.
    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.waiting == 0
    }
}
