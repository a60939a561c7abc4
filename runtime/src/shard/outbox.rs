//! The outbox: for each shard a channel of parcels that are committed here and not known to be committed there.
//!
//! Parcels are numbered from 1, without gaps, in the order of the log. They are handed over a window at a time, and
//! again when nothing is heard of them; the receiver takes each number once, and says how far it got; what it has goes
//! by an entry of this shard's log. Until then everything is here, and in the checkpoint.

use std::collections::{BTreeMap, VecDeque};
use std::ops::{Bound, Range};
use std::sync::Arc;
use std::time::Duration;

use twins::time::Timestamp;

use crate::store::{self, Home, Space, StateStore};

use super::entry::Reached;
use super::parcel::Parcel;
use super::recovery::all_keys;

/// How many parcels of one channel are under way at once.
pub(super) const WINDOW: u64 = 256;
/// How many parcels all channels of a shard hold together before the shard takes nothing more from outside.
pub(super) const PARCELS_MAX: usize = 10_000;
/// And how many bytes they have: at worst, and by estimate, twice this in memory for each shard.
pub(super) const BYTES_MAX: usize = 4 * 1024 * 1024;
/// What was handed over and not acknowledged is handed over again after this.
const AGAIN_AFTER: Duration = Duration::from_secs(1);
/// An acknowledgement waits so long for a batch that it can be part of, before it makes one of its own.
const LINGER: Duration = Duration::from_millis(50);
/// Rows read at once in recovery.
const ROWS_AT_ONCE: usize = 256;

/// All channels of a shard.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    channels: BTreeMap<u32, Channel>,
    /// Of all channels together.
    parcels: usize,
    bytes: usize,
    /// When acknowledgements go to the log on their own.
    truncate_at: Option<Timestamp>,
}

/// The parcels for one shard.
#[derive(Debug)]
struct Channel {
    /// The number of the first parcel here.
    first: u64,
    parcels: VecDeque<Arc<Parcel>>,
    /// The receiver has everything through this.
    acknowledged: u64,
    /// Everything through this was handed over.
    handed: u64,
    /// When what is handed over and not acknowledged is handed over again.
    again_at: Timestamp,
    /// The numbers of the rows that the state store has.
    stored: Range<u64>,
}

/// The rows that a checkpoint changes.
#[derive(Debug)]
pub(super) struct Rows(Vec<(Vec<u8>, Option<Arc<Parcel>>)>);

impl Outbox {
    /// Reads what the last checkpoint has. `next` has each channel's next number. Blocks.
    pub(super) fn read(
        store: &dyn StateStore,
        home: Home,
        next: &BTreeMap<u32, u64>,
    ) -> Result<Self, String> {
        let mut outbox = Self::default();
        let mut last: Vec<u8> = Vec::new();
        let mut parcels = BTreeMap::<u32, VecDeque<Arc<Parcel>>>::new();
        loop {
            let after = (Bound::Excluded(last.as_slice()), Bound::Unbounded);
            let rows = store.scan(home, Space::Outbox, after, ROWS_AT_ONCE);
            let rows = rows.map_err(|error| error.to_string())?;
            let Some((key, _)) = rows.last() else { break };
            last.clone_from(key);
            for (key, value) in rows {
                let to = key.first_chunk().map(|to| u32::from_be_bytes(*to));
                let parcel: Parcel =
                    minicbor::decode(&value).map_err(|error| format!("a parcel: {error}"))?;
                outbox.count(&parcel);
                parcels.entry(to.ok_or("a parcel without a number")?).or_default().push_back(parcel.into());
            }
        }
        for (to, next) in next {
            let parcels = parcels.remove(to).unwrap_or_default();
            let first = next.checked_sub(parcels.len() as u64).filter(|first| *first > 0);
            let first = first.ok_or_else(|| format!("channel {to} has more parcels than were sent"))?;
            outbox.channels.insert(*to, Channel { parcels, stored: first..*next, ..Channel::from(first) });
        }
        Ok(outbox)
    }

    /// A parcel is committed.
    pub(super) fn append(&mut self, to: u32, parcel: Arc<Parcel>) {
        self.count(&parcel);
        self.channels.entry(to).or_insert_with(|| Channel::from(1)).parcels.push_back(parcel);
    }

    fn count(&mut self, parcel: &Parcel) {
        self.parcels += 1;
        self.bytes += parcel.bytes();
    }

    /// That the receiver has everything through a number is committed.
    pub(super) fn truncate(&mut self, Reached { shard, n }: Reached) {
        let Some(channel) = self.channels.get_mut(&shard) else { return };
        while channel.first <= n {
            let Some(parcel) = channel.parcels.pop_front() else { break };
            channel.first += 1;
            self.parcels -= 1;
            self.bytes -= parcel.bytes();
        }
        channel.acknowledge(n.min(channel.next() - 1));
    }

    /// The receiver says that it has everything through a number. Returns whether that can be.
    pub(super) fn acknowledged(&mut self, now: Timestamp, Reached { shard, n }: Reached) -> bool {
        let Some(channel) = self.channels.get_mut(&shard).filter(|channel| n < channel.next()) else {
            return n == 0;
        };
        if n > channel.acknowledged {
            channel.acknowledge(n);
            channel.again_at = now + AGAIN_AFTER;
            self.truncate_at.get_or_insert(now + LINGER);
        }
        true
    }

    /// The acknowledgements that the log does not have; `is_batch` says that they can go with something else.
    pub(super) fn take_untruncated(&mut self, now: Timestamp, is_batch: bool) -> Vec<Reached> {
        if self.truncate_at.is_none_or(|at| at > now && !is_batch) {
            return Vec::new();
        }
        self.truncate_at = None;
        self.untruncated().collect()
    }

    fn untruncated(&self) -> impl Iterator<Item = Reached> {
        let known = self.channels.iter().filter(|(_, channel)| channel.acknowledged >= channel.first);
        known.map(|(shard, channel)| Reached { shard: *shard, n: channel.acknowledged })
    }

    /// The log did not take a batch; its acknowledgements are tried again.
    pub(super) fn fall_back(&mut self, now: Timestamp) {
        let waits = self.untruncated().next().is_some();
        self.truncate_at = waits.then(|| now + AGAIN_AFTER);
    }

    /// What was handed over and not acknowledged may have been lost: it is handed over again.
    pub(super) fn begin_again(&mut self) {
        self.channels.values_mut().for_each(|channel| channel.handed = channel.acknowledged);
    }

    /// What is to be handed over: to whom, the number of the first, and the parcels.
    pub(super) fn hand(&mut self, now: Timestamp) -> impl Iterator<Item = (u32, u64, Vec<Arc<Parcel>>)> {
        let channels = self.channels.iter_mut();
        channels
            .filter_map(move |(to, channel)| channel.hand(now).map(|(first, parcels)| (*to, first, parcels)))
    }

    /// When something is to be handed over again.
    pub(super) fn next_again(&self) -> Option<Timestamp> {
        let waiting = self.channels.values().filter(|channel| channel.handed > channel.acknowledged);
        waiting.map(|channel| channel.again_at).min()
    }

    /// When acknowledgements go to the log.
    pub(super) fn next_truncation(&self) -> Option<Timestamp> {
        self.truncate_at
    }

    /// How many parcels it holds, and their bytes.
    pub(super) fn size(&self) -> (usize, usize) {
        (self.parcels, self.bytes)
    }

    /// Whether nothing is left in it.
    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.parcels == 0
    }

    /// Each channel's next number.
    pub(super) fn next(&self) -> BTreeMap<u32, u64> {
        self.channels.iter().map(|(to, channel)| (*to, channel.next())).collect()
    }

    /// What the state store lacks, and what it need not have any more. From here on it counts as written.
    pub(super) fn cut(&mut self) -> Rows {
        let mut rows = Vec::new();
        for (to, channel) in &mut self.channels {
            let now = channel.first..channel.next();
            let gone = channel.stored.start..channel.stored.end.min(now.start);
            rows.extend(gone.map(|n| (key(*to, n), None)));
            let new = channel.stored.end.max(now.start)..now.end;
            let parcel = |n: u64| channel.parcels[(n - now.start) as usize].clone();
            rows.extend(new.map(|n| (key(*to, n), Some(parcel(n)))));
            channel.stored = now;
        }
        Rows(rows)
    }
}

impl Rows {
    pub(super) fn write(self, batch: &mut store::Batch) {
        for (key, parcel) in self.0 {
            match parcel {
                Some(parcel) => {
                    let row = minicbor::to_vec(&*parcel).expect("writing to memory does not fail");
                    batch.put(Space::Outbox, key, row);
                }
                None => batch.delete(Space::Outbox, key),
            }
        }
    }
}

impl Channel {
    /// An empty one whose next number is `first`.
    fn from(first: u64) -> Self {
        let (parcels, again_at) = (VecDeque::new(), Timestamp::ZERO);
        Self { first, parcels, acknowledged: first - 1, handed: first - 1, again_at, stored: first..first }
    }

    fn next(&self) -> u64 {
        self.first + self.parcels.len() as u64
    }

    fn acknowledge(&mut self, n: u64) {
        self.acknowledged = self.acknowledged.max(n);
        self.handed = self.handed.max(n);
    }

    fn hand(&mut self, now: Timestamp) -> Option<(u64, Vec<Arc<Parcel>>)> {
        if self.handed > self.acknowledged && self.again_at <= now {
            self.handed = self.acknowledged;
        }
        let until = (self.acknowledged + WINDOW).min(self.next() - 1);
        if until <= self.handed {
            return None;
        }
        let from = std::mem::replace(&mut self.handed, until) + 1;
        // What was handed over before does not wait longer because more comes.
        if from == self.acknowledged + 1 {
            self.again_at = now + AGAIN_AFTER;
        }
        let places = (from - self.first) as usize..=(until - self.first) as usize;
        Some((from, self.parcels.range(places).cloned().collect()))
    }
}

/// The key of a row: the receiver, 4 bytes big-endian, then the number, 8 bytes big-endian.
pub(super) fn key(to: u32, n: u64) -> Vec<u8> {
    [to.to_be_bytes().as_slice(), &n.to_be_bytes()].concat()
}

/// The numbers of the parcels that the state store has of a shard, in order, for each shard that they are for. Blocks.
pub(super) fn numbers(store: &dyn StateStore, home: Home) -> Result<BTreeMap<u32, Vec<u64>>, store::Error> {
    let mut numbers = BTreeMap::<u32, Vec<u64>>::new();
    for row in all_keys(store, home, Space::Outbox)? {
        if let Some((to, n)) = row.split_first_chunk().and_then(|(to, n)| Some((to, n.first_chunk()?))) {
            numbers.entry(u32::from_be_bytes(*to)).or_default().push(u64::from_be_bytes(*n));
        }
    }
    Ok(numbers)
}
