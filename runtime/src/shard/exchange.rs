//! Effects between shards (steps 9 and 10): what a batch adds to the channels and takes from them, and both ends.
//!
//! A channel is one ordered pair of shards, also a shard and itself. What goes in follows from the log: the calls of the
//! batch's transitions in order, then its refusals. That a parcel is taken is part of the batch that holds what was
//! decided on it, whatever that is, so each has its effect once, and one that is refused, or whose handler panics, does
//! not come again. What comes from other shards is never refused by admission; where that makes more than the channels
//! hold, calls are refused, and those who called hear of it.

use std::collections::BTreeMap;
use std::sync::Arc;

use twins::id::TwinId;
use twins::rejection::{Code, Rejection};
use twins::reply::Reply;
use twins::transition::Transition;

use crate::node::shard_of;
use crate::path::step;
use crate::store::{Home, Space, StateStore};

use super::commit::Release;
use super::decide::FORMING_BYTES_MAX;
use super::entry::{Batch, Reached, Refusal};
use super::inbox::Inbox;
use super::outbox::{self, BYTES_MAX, Outbox, PARCELS_MAX};
use super::parcel::Parcel;
use super::resident::Slot;
use super::work::{Answer, Asker};
use super::{Action, Failed, Shard, Timestamp};

/// How many parcels one batch takes.
const AT_ONCE: usize = 1_024;
/// How many of them from one shard, at one turn.
const AT_ONCE_FROM_ONE: usize = 128;

/// The name of the row of [`Heads`].
const HEADS: &[u8] = b"channels";

/// How far the channels had come at the last checkpoint.
#[derive(Debug, Clone, PartialEq, Eq, Default, minicbor::Encode, minicbor::Decode)]
struct Heads {
    /// The next number of each channel to a shard.
    #[n(0)]
    next: BTreeMap<u32, u64>,
    /// How far the channel from each shard is taken.
    #[n(1)]
    taken: BTreeMap<u32, u64>,
}

impl Heads {
    fn read(store: &dyn StateStore, home: Home) -> Result<Self, String> {
        let row = store.get(home, Space::Mark, HEADS).map_err(|error| error.to_string())?;
        let heads = row.map(|row| minicbor::decode(&row).map_err(|error| format!("channels: {error}")));
        heads.unwrap_or_else(|| Ok(Self::default()))
    }

    fn row(&self) -> Vec<u8> {
        minicbor::to_vec(self).expect("writing to memory does not fail")
    }
}

/// What a batch does to the channels.
#[derive(Debug, Default)]
pub(super) struct Exchange {
    /// The calls of its transitions, each with the shard that it is for.
    calls: Vec<(u32, Arc<Parcel>)>,
    /// Refusals of what it took.
    refusals: Vec<(u32, Arc<Parcel>)>,
    /// How far it took from each shard.
    taken: BTreeMap<u32, u64>,
    /// How far other shards have what this one sent.
    acknowledged: Vec<Reached>,
    /// How many parcels it took.
    count: usize,
    /// The bytes of what it sends.
    bytes: usize,
}

impl Exchange {
    /// Whether nothing in it needs the log.
    pub(super) fn is_empty(&self) -> bool {
        self.taken.is_empty() && self.acknowledged.is_empty()
    }

    /// Takes note of the calls of a transition. Returns their bytes.
    pub(super) fn send(&mut self, slots: &[u32], id: &TwinId, transition: &Transition) -> usize {
        let before = self.bytes;
        for parcel in Parcel::of(id, transition) {
            self.bytes += parcel.bytes();
            self.calls.push((shard_of(slots, &parcel.to), parcel.into()));
        }
        self.bytes - before
    }

    /// What an entry does.
    pub(super) fn of(batch: &Batch, slots: &[u32]) -> Self {
        let mut exchange = Self::default();
        for decided in &batch.decisions {
            exchange.send(slots, &decided.twin, &decided.transition);
        }
        let refusals = batch.refusals.iter().map(|refusal| (refusal.shard, refusal.parcel.clone().into()));
        exchange.refusals.extend(refusals);
        exchange.taken.extend(batch.taken.iter().map(|taken| (taken.shard, taken.n)));
        exchange.acknowledged.clone_from(&batch.acknowledged);
        exchange
    }

    /// The part of it that an entry says: the rest follows from the transitions.
    pub(super) fn entry(&self) -> (Vec<Reached>, Vec<Reached>, Vec<Refusal>) {
        let taken = self.taken.iter().map(|(shard, n)| Reached { shard: *shard, n: *n });
        let refusal =
            |(shard, parcel): &(u32, Arc<Parcel>)| Refusal { shard: *shard, parcel: (**parcel).clone() };
        (taken.collect(), self.acknowledged.clone(), self.refusals.iter().map(refusal).collect())
    }
}

impl Shard {
    /// Parcels of another shard have come.
    pub(crate) fn receive(
        &mut self,
        now: Timestamp,
        from: u32,
        first: u64,
        parcels: Vec<Arc<Parcel>>,
    ) -> Result<(), Failed> {
        self.pass(now);
        if self.finishing || !self.leads() {
            return Ok(());
        }
        if let Some(n) = self.inbox.receive(from, first, parcels) {
            self.actions.push_back(Action::Acknowledge { to: from, n });
        }
        self.turn()
    }

    /// Another shard has everything through a number.
    pub(crate) fn acknowledged(&mut self, now: Timestamp, by: u32, n: u64) -> Result<(), Failed> {
        self.pass(now);
        if !self.leads() {
            return Ok(());
        }
        if !self.outbox.acknowledged(self.now, Reached { shard: by, n }) {
            let shard = self.setting.number;
            tracing::error!(
                shard,
                by,
                n,
                "a shard has taken more effects than were sent; was one of them restored?"
            );
        }
        self.turn()
    }

    /// Decides on what other shards sent, as far as the batch has room.
    pub(super) fn take_parcels(&mut self) {
        for from in self.inbox.in_turn() {
            for _ in 0..AT_ONCE_FROM_ONE {
                if self.forming.exchange.count >= AT_ONCE || self.forming.bytes >= FORMING_BYTES_MAX {
                    return;
                }
                if !self.take_parcel(from) {
                    break;
                }
            }
        }
    }

    /// Decides on the first parcel of a shard. `false`: there is none, or its twin is being read.
    fn take_parcel(&mut self, from: u32) -> bool {
        let Some(first) = self.inbox.waiting(from).next() else { return false };
        if first.unreadable.is_none() && !self.is_here(&first.parcel.to) {
            self.read_ahead(from);
            return false;
        }
        let Some((n, waiting)) = self.inbox.pop(from) else { return false };
        let parcel = waiting.parcel;
        let (shard, trace) = (self.setting.number, parcel.trace);
        let _span = step!("10.effect" in trace, shard, from, n, twin = %parcel.to).entered();
        let refusal = match waiting.unreadable {
            Some(refusal) => Some(refusal),
            None if parcel.makes_more() && self.is_full(2) => {
                let why = format!("shard {} has too much under way", self.setting.number);
                Some(Rejection::new(Code::TooMany, why))
            }
            None => self.decide_parcel(&parcel),
        };
        let exchange = &mut self.forming.exchange;
        exchange.taken.insert(from, n);
        exchange.count += 1;
        if let Some(back) = refusal.and_then(|refusal| parcel.refused(&refusal)) {
            exchange.bytes += back.bytes();
            self.forming.bytes += back.bytes();
            exchange.refusals.push((from, back.into()));
        }
        true
    }

    fn is_here(&self, id: &TwinId) -> bool {
        matches!(self.twins.get(id), Some(Slot::Resident(_)))
    }

    /// Reads the twins that the next parcels of a shard are for.
    fn read_ahead(&mut self, from: u32) {
        let next = self.inbox.waiting(from).take(AT_ONCE_FROM_ONE);
        let ids: Vec<_> =
            next.filter(|waiting| waiting.unreadable.is_none()).map(|w| w.parcel.to.clone()).collect();
        for id in ids {
            if !self.twins.contains_key(&id) {
                self.load(&id, None);
            }
        }
    }

    fn decide_parcel(&mut self, parcel: &Parcel) -> Option<Rejection> {
        let (reply, outputs) = self.decide_on(&parcel.to, &parcel.input(), parcel.header())?;
        if !outputs.is_empty() {
            let (outcome, answer) = (Ok(Reply::Done), Answer::new(0, Asker::Nobody));
            let (twin, trace) = (parcel.to.clone(), parcel.trace);
            let release = Release { twin, outcome, answer, outputs, permit: None, trace };
            self.forming.releases.push(release);
        }
        reply.err()
    }

    /// A batch is committed, here or before a restart.
    pub(super) fn exchange(&mut self, exchange: Exchange) {
        let Exchange { calls, refusals, taken, acknowledged, .. } = exchange;
        calls.into_iter().chain(refusals).for_each(|(to, parcel)| self.outbox.append(to, parcel));
        acknowledged.into_iter().for_each(|reached| self.outbox.truncate(reached));
        taken.into_iter().for_each(|(from, n)| self.inbox.commit(from, n));
    }

    /// Tells other shards what of theirs a batch that is committed took.
    pub(super) fn acknowledge(&mut self, exchange: &Exchange) {
        let taken = exchange.taken.iter().map(|(from, n)| Action::Acknowledge { to: *from, n: *n });
        self.actions.extend(taken);
    }

    /// Hands over what other shards may have.
    pub(super) fn hand_over(&mut self) {
        if self.finishing {
            return;
        }
        let shard = self.setting.number;
        let handed = self.outbox.hand(self.now).map(|(to, first, parcels)| {
            for (n, parcel) in (first..).zip(&parcels) {
                let trace = parcel.trace;
                step!("9.call" in trace, shard, to, n, twin = %parcel.to);
            }
            Action::Hand { to, first, parcels }
        });
        self.actions.extend(handed);
    }

    /// The acknowledgements that the next batch carries.
    pub(super) fn carry_acknowledgements(&mut self) {
        let is_batch = !self.forming.is_empty();
        self.forming.exchange.acknowledged = self.outbox.take_untruncated(self.now, is_batch);
    }

    /// When something is to be done for the channels.
    pub(super) fn next_exchange(&self) -> Option<Timestamp> {
        let truncation = self.outbox.next_truncation().filter(|_| self.flying.is_none());
        [self.outbox.next_again(), truncation].into_iter().flatten().min()
    }

    /// Whether the channels, with what is decided and not committed, hold so many times what they should.
    pub(super) fn is_full(&self, times: usize) -> bool {
        let (mut parcels, mut bytes) = self.outbox.size();
        let flying = self.flying.as_ref().map(|flying| &flying.exchange);
        for exchange in flying.into_iter().chain([&self.forming.exchange]) {
            parcels += exchange.calls.len() + exchange.refusals.len();
            bytes += exchange.bytes;
        }
        parcels >= times * PARCELS_MAX || bytes >= times * BYTES_MAX
    }

    /// How far the channels have come, as a row of the checkpoint.
    pub(super) fn heads(&self) -> Option<Vec<u8>> {
        let heads = Heads { next: self.outbox.next(), taken: self.inbox.taken() };
        (heads != Heads::default()).then(|| heads.row())
    }
}

/// Writes how far the channels have come.
pub(super) fn put_heads(batch: &mut crate::store::Batch, heads: Vec<u8>) {
    batch.put(Space::Mark, HEADS, heads);
}

/// The channels as the last checkpoint has them. Blocks.
pub(super) fn read(store: &dyn StateStore, home: Home) -> Result<(Outbox, Inbox), String> {
    let heads = Heads::read(store, home)?;
    Ok((Outbox::read(store, home, &heads.next)?, Inbox::from(heads.taken)))
}

/// Makes both ends of every channel agree, in a store that was restored: each of its shards is as a checkpoint of its
/// own left it. What the receiver has taken is not sent again; what the sender no longer has is not waited for. Blocks.
pub(crate) fn reconcile(store: &dyn StateStore, shards: impl Iterator<Item = u32>) -> Result<(), String> {
    let home = |shard: u32| store.home(shard).map_err(|error| error.to_string());
    let before: BTreeMap<u32, Heads> =
        shards.map(|shard| Ok((shard, Heads::read(store, home(shard)?)?))).collect::<Result<_, String>>()?;
    let mut after = before.clone();
    for (from, heads) in &before {
        let held = outbox::numbers(store, home(*from)?).map_err(|error| error.to_string())?;
        let mut gone = crate::store::Batch::new();
        for (to, next) in &heads.next {
            let taken = before.get(to).and_then(|heads| heads.taken.get(from)).copied().unwrap_or(0);
            let held = held.get(to).map_or(&[][..], Vec::as_slice);
            held.iter()
                .filter(|n| **n <= taken)
                .for_each(|n| gone.delete(Space::Outbox, outbox::key(*to, *n)));
            if taken >= *next {
                after.entry(*from).or_default().next.insert(*to, taken + 1);
            }
            let first = held.first().copied().unwrap_or(*next);
            if taken + 1 < first {
                after.entry(*to).or_default().taken.insert(*from, first - 1);
            }
        }
        store.write(home(*from)?, gone).map_err(|error| error.to_string())?;
    }
    for (to, heads) in &before {
        // What was taken of a shard that remembers no channel begins there anew.
        for (from, taken) in &heads.taken {
            after.entry(*from).or_default().next.entry(*to).or_insert(taken + 1);
        }
    }
    for (shard, heads) in after {
        let mut batch = crate::store::Batch::new();
        put_heads(&mut batch, heads.row());
        store.write(home(shard)?, batch).map_err(|error| error.to_string())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::store::Batch;
    use crate::store::memory::Memory;

    use super::*;

    /// Shard 0 has sent the parcels `held` of those before `next` to shard 1, which has taken so many. Restored, it
    /// keeps this many, and the next that it sends is the one after what shard 1 has taken, with them.
    #[track_caller]
    fn check(held: std::ops::Range<u64>, taken: u64, kept: usize) {
        let store = Memory::new();
        let id = TwinId::in_default_tenant("a").unwrap();
        let cause =
            twins::header::Cause { twin: id.clone(), generation: 1, sequence: 1, ordinal: 0, hops: 1 };
        let (method, argument) = (twins::name::Name::fixed("m"), twins::json::Json::null());
        let content = super::super::parcel::Content::Call { method, argument };
        let parcel = Parcel { to: id, cause, trace: None, content };
        let mut sender = Batch::new();
        for n in held.clone() {
            sender.put(Space::Outbox, outbox::key(1, n), minicbor::to_vec(&parcel).unwrap());
        }
        if held.end > 1 {
            let next = BTreeMap::from([(1, held.end)]);
            put_heads(&mut sender, Heads { next, ..Heads::default() }.row());
        }
        store.write(Home::first(0), sender).unwrap();
        let mut receiver = Batch::new();
        if taken > 0 {
            let taken = BTreeMap::from([(0, taken)]);
            put_heads(&mut receiver, Heads { taken, ..Heads::default() }.row());
        }
        store.write(Home::first(1), receiver).unwrap();

        reconcile(&store, 0..2).unwrap();

        let (outbox, _) = read(&store, Home::first(0)).unwrap();
        let (_, inbox) = read(&store, Home::first(1)).unwrap();
        let next = outbox.next().get(&1).copied().unwrap_or(1);
        let taken = inbox.taken().get(&0).copied().unwrap_or(0);
        assert_eq!((outbox.size().0, next - 1 - kept as u64), (kept, taken));
    }

    #[test]
    fn the_ends_of_a_restored_channel_agree() {
        check(1..1, 0, 0);
        check(3..6, 2, 3);
        check(3..6, 4, 1);
        check(3..6, 5, 0);
        check(3..6, 9, 0);
        check(6..6, 2, 0);
        check(4..6, 1, 2);
        check(1..1, 7, 0);
    }
}
