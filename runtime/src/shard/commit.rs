//! Batches: what is decided forms one while another is in flight; what rests on a batch leaves when it is committed.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use tracing::Span;
use twins::header::Trace;
use twins::id::TwinId;
use twins::reply::{Output, Reply};
use twins::time::Timestamp;
use twins::twin::Twin;

use crate::admission::Permit;
use crate::error::{Error, Outcome};
use crate::log::{self, LogId, Tenure};
use crate::mailbox::Mail;
use crate::meter::{self, Distribution, Tally};
use crate::path::{PATH, step};
use crate::registered;
use crate::stream;
use crate::stream::retention::Upkeep;

use super::entry::{Batch, Decided};
use super::exchange::Exchange;
use super::post::Post;
use super::work::{Answer, Work};
use super::{Action, Failed, Setting, Shard};

/// After the log or the stream was full, how long what is due waits before it is tried again.
const DUE_PAUSE: std::time::Duration = std::time::Duration::from_secs(1);

/// The number of a batch that takes none: no answer rests on it.
const UPKEEP: u64 = u64::MAX;

/// A batch that takes decisions.
pub(super) struct Forming {
    pub(super) number: u64,
    pub(super) decisions: Vec<Decided>,
    /// The records of the decisions, encoded, each with the time it was received.
    pub(super) records: Vec<(Timestamp, Vec<u8>)>,
    /// The bytes of the records, of the inputs and of what behaviours keep and send: about what the entry will have.
    pub(super) bytes: usize,
    pub(super) releases: Vec<Release>,
    /// The devices that it has erased, each before this sequence.
    pub(super) erased: Vec<(TwinId, u64)>,
    /// What it does to the channels.
    pub(super) exchange: Exchange,
    /// What to count once it is committed.
    pub(super) tally: Tally,
}

impl Forming {
    pub(super) fn new(number: u64) -> Self {
        Self {
            number,
            decisions: Vec::new(),
            records: Vec::new(),
            bytes: 0,
            releases: Vec::new(),
            erased: Vec::new(),
            exchange: Exchange::default(),
            tally: Tally::default(),
        }
    }

    /// Whether nothing in it needs the log.
    pub(super) fn is_empty(&self) -> bool {
        self.decisions.is_empty() && self.exchange.is_empty()
    }
}

/// A batch that the log has and has not committed.
pub(super) struct Flying {
    number: u64,
    /// The twins that it changes, as they are when it is committed.
    twins: Vec<(TwinId, Arc<Twin>)>,
    records: Vec<(Timestamp, Vec<u8>)>,
    releases: Vec<Release>,
    erased: Vec<(TwinId, u64)>,
    pub(super) exchange: Exchange,
    bytes: u64,
    /// What it does to the stream.
    upkeep: Upkeep,
    tally: Tally,
    /// From the proposal to the commit.
    spans: Vec<Span>,
    /// Its commit is a proof for what waits for one, before this number.
    proves: u64,
}

impl Flying {
    /// A batch without decisions.
    pub(super) fn upkeep(upkeep: Upkeep, bytes: u64, proves: u64) -> Self {
        let (twins, records, releases, erased) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        let (exchange, tally, spans) = (Exchange::default(), Tally::default(), Vec::new());
        let number = UPKEEP;
        Self { number, twins, records, releases, erased, exchange, bytes, upkeep, tally, spans, proves }
    }
}

/// What leaves when that which it rests on is committed.
pub(super) struct Release {
    pub(super) twin: TwinId,
    pub(super) outcome: Outcome,
    pub(super) answer: Answer,
    pub(super) outputs: Vec<Output>,
    /// Given back when this is dropped.
    pub(super) permit: Option<Permit>,
    /// Of the input.
    pub(super) trace: Option<Trace>,
}

impl Shard {
    /// Holds an answer until the batch with this number is committed, and it is sure that this node leads.
    pub(super) fn when_committed(&mut self, batch: u64, release: Release) {
        if batch == self.forming.number {
            return self.forming.releases.push(release);
        }
        match self.flying.as_mut().filter(|flying| flying.number == batch) {
            Some(_) if self.needs_confirming => self.unsure.behind(release),
            Some(flying) => flying.releases.push(release),
            None if self.needs_confirming => self.unsure.push(release),
            None => self.ready.push(release),
        }
    }

    /// Closes the forming batch and proposes it, unless one is in flight.
    pub(super) fn propose(&mut self) -> Result<(), Failed> {
        if self.flying.is_some() || self.propose_upkeep() {
            return Ok(());
        }
        self.carry_acknowledgements();
        if self.forming.is_empty() {
            return Ok(());
        }
        if self.stream_full {
            self.flush_stream()?;
        }
        if self.stream_full {
            let why = "the disk is full; free some space, then writing goes on by itself".to_owned();
            let error = Error::Unwritten { shard: self.setting.number, why };
            self.fall_back(&error, &error);
            return Ok(());
        }
        let next = Forming::new(self.forming.number + 1);
        let forming = std::mem::replace(&mut self.forming, next);
        let Forming { number, decisions, records, releases, erased, exchange, tally, .. } = forming;
        let mut ids: Vec<_> = decisions.iter().map(|decided| decided.twin.clone()).collect();
        ids.sort_unstable();
        ids.dedup();
        let twins = ids.into_iter().filter_map(|id| {
            let twin = self.resident(&id)?.live.twin().clone();
            Some((id, twin))
        });
        let twins = twins.collect();
        let (taken, acknowledged, refusals) = exchange.entry();
        let traces: BTreeSet<Trace> = match tracing::span_enabled!(target: PATH, tracing::Level::DEBUG) {
            true => decisions.iter().filter_map(|decided| decided.transition.header.trace).collect(),
            false => BTreeSet::new(),
        };
        let (term, stamp) = (self.tenure.term, self.now);
        let batch = Batch { term, stamp, decisions, taken, acknowledged, refusals, ..Batch::default() };
        let payload = Bytes::from(batch.encode());
        let (bytes, upkeep) = (payload.len() as u64, Upkeep::default());
        let (shard, entries) = (self.setting.number, records.len());
        // One for each trace that waits for this batch; what belongs to none waits together.
        let span = |trace| step!("7.commit" in trace, shard, batch = number, records = entries, bytes);
        let spans = match traces.is_empty() {
            true => vec![span(None)],
            false => traces.into_iter().map(|trace| span(Some(trace))).collect(),
        };
        let proves = self.unsure.next();
        self.flying = Some(Flying {
            number,
            twins,
            records,
            releases,
            erased,
            exchange,
            bytes,
            upkeep,
            tally,
            spans,
            proves,
        });
        self.actions.push_back(Action::Propose { tenure: self.tenure, payload, is_upkeep: false });
        Ok(())
    }

    /// The batch in flight is committed.
    pub(crate) fn committed(&mut self, now: Timestamp, tenure: Tenure, id: LogId) -> Result<(), Failed> {
        self.pass(now);
        let Some(mut flying) = self.flying.take_if(|_| tenure == self.tenure) else { return Ok(()) };
        // They end here: the batch is durable.
        flying.spans.clear();
        let (shard, batch, index) = (self.setting.number, flying.number, id.index);
        let _span = step!("8.apply", shard, batch, index).entered();
        self.applied = id.index;
        self.logged += flying.bytes;
        self.dirty_since.get_or_insert(self.now);
        for (received, record) in &flying.records {
            self.stream.append(*received, record).map_err(|error| self.failed(error))?;
        }
        for (twin, sequence) in std::mem::take(&mut flying.erased) {
            self.stream.erase(twin, sequence);
        }
        self.keep_up(flying.upkeep);
        self.setting.meter.committed(flying.bytes, &flying.tally);
        self.flush_stream()?;
        for (twin, committed) in &flying.twins {
            self.commit(twin, committed);
        }
        self.acknowledge(&flying.exchange);
        self.exchange(flying.exchange);
        self.prove(flying.proves);
        self.ready.extend(flying.releases);
        self.unsure.take_behind().into_iter().for_each(|release| self.unsure.push(release));
        self.hand_out();
        self.setting.watches.committed(self.setting.number, &flying.twins);
        flying.twins.iter().for_each(|(twin, committed)| self.drop_ended(twin, committed));
        self.turn()
    }

    /// Shows the stream's new records to readers. On a full disk they wait in memory, and no batch is proposed.
    pub(super) fn flush_stream(&mut self) -> Result<(), Failed> {
        self.stream_full = match self.stream.flush() {
            Ok(()) => {
                self.setting.growth.grew(self.setting.number);
                false
            }
            Err(stream::Error::Full { .. }) => {
                self.due_after = self.time() + DUE_PAUSE;
                true
            }
            Err(error) => return Err(self.failed(error)),
        };
        Ok(())
    }

    /// The log did not take the batch in flight, or nobody knows whether it did.
    pub(crate) fn refused(
        &mut self,
        now: Timestamp,
        tenure: Tenure,
        error: &log::Error,
    ) -> Result<(), Failed> {
        self.pass(now);
        let is_over = self.flying.is_none() || tenure != self.tenure;
        let shard = self.setting.number;
        let unwritten = || Error::Unwritten { shard, why: error.to_string() };
        let unknown = || Error::Unknown { shard, why: error.to_string() };
        let (flying, forming, fatal) = match error {
            log::Error::Full(_) => (unwritten(), unwritten(), false),
            // A log that cannot be led by another node has mistaken this one.
            log::Error::NotLeader { .. } => (unwritten(), unwritten(), !self.needs_confirming),
            // Who leads is told after this.
            log::Error::Deposed { .. } => (unknown(), unwritten(), false),
            log::Error::Unknown(_) | log::Error::Unreadable(_) => (unknown(), unknown(), true),
        };
        // It was given up with its tenure. A log that has stopped is another matter.
        if is_over
            && matches!(
                error,
                log::Error::NotLeader { .. } | log::Error::Deposed { .. } | log::Error::Full(_)
            )
        {
            return Ok(());
        }
        if !fatal && self.flying.take_if(|flying| flying.number == UPKEEP).is_some() {
            self.upkeep_after = self.now + DUE_PAUSE;
            return self.turn();
        }
        self.fall_back(&flying, &forming);
        if fatal {
            return Err(self.failed(error));
        }
        self.due_after = self.now + DUE_PAUSE;
        self.turn()
    }

    /// Drops everything that is decided and not committed. Whoever waits for the batch in flight, and for what came after
    /// it, gets one answer each.
    pub(super) fn fall_back(&mut self, in_flight: &Error, after: &Error) {
        let next = Forming::new(self.forming.number + 1);
        let forming = std::mem::replace(&mut self.forming, next);
        let mut ids: Vec<_> = forming.decisions.into_iter().map(|decided| decided.twin).collect();
        let mut flown = Vec::new();
        if let Some(flying) = self.flying.take() {
            ids.extend(flying.twins.into_iter().map(|(id, _)| id));
            flown = flying.releases;
        }
        flown.extend(self.unsure.take_behind());
        self.inbox.fall_back();
        self.outbox.fall_back(self.now);
        self.fell_back = true;
        self.connections.begin_again();
        self.refuse_all(flown, in_flight);
        self.refuse_all(forming.releases, after);
        for id in ids {
            let Some(resident) = self.resident(&id) else { continue };
            resident.fall_back();
            let committed = resident.committed.clone();
            self.index_due(&id, &committed);
        }
        self.setting.registered.settle(self.setting.number, &self.registered);
    }

    /// Answers all of these with an error.
    pub(super) fn refuse_all(&self, releases: Vec<Release>, error: &Error) {
        let mut post = Post::default();
        for release in releases {
            let (Setting { meter, refusals, .. }, outcome) = (&self.setting, Err(error.clone()));
            meter.answered(refusals, release.answer.what, &outcome);
            post.answer(release.answer, outcome);
        }
    }

    /// A twin's newest committed state becomes this one. Returns whether a device came or went with that.
    pub(super) fn commit(&mut self, id: &TwinId, committed: &Arc<Twin>) -> bool {
        let Some(resident) = self.resident(id) else { return false };
        let had_device = resident.committed.has_device();
        let (before, after) = (resident.bytes, committed.bytes());
        let former = std::mem::replace(&mut resident.committed, committed.clone());
        resident.bytes = after;
        self.bytes = self.bytes + after - before;
        let came_or_went = had_device != committed.has_device();
        if came_or_went {
            registered::count(&mut self.registered, id.tenant(), committed.has_device());
        }
        self.connections.change(id, &former, committed);
        self.dirty.insert(id.clone());
        self.index_due(id, committed);
        came_or_went
    }

    /// Hands out what rests on nothing uncommitted.
    pub(super) fn hand_out(&mut self) {
        if self.ready.is_empty() {
            return;
        }
        let mut post = Post::default();
        let mut begun = Vec::new();
        let (Setting { number: shard, meter, refusals, .. }, now) = (&self.setting, Instant::now());
        let mut latency = Distribution::default();
        for release in self.ready.drain(..) {
            let Release { twin, outcome, answer, outputs, permit, trace } = release;
            let _span = step!("8.answer" in trace, shard, %twin).entered();
            meter.answered(refusals, answer.what, &outcome);
            if let Some(permit) = permit {
                latency.record(now.saturating_duration_since(permit.since()));
            }
            if let (Ok(Reply::Connected { epoch, .. }), Some(mailbox)) = (&outcome, answer.mailbox()) {
                self.mailboxes.entry(twin.clone()).or_default().push((*epoch, mailbox.clone()));
                begun.push((twin.clone(), *epoch, mailbox.clone()));
                meter::add(&meter.connections, 1);
            }
            post.answer(answer, outcome);
            let mailboxes = self.mailboxes.get(&twin);
            for Output { epoch, what } in outputs {
                let mailbox = mailboxes.and_then(|all| all.iter().find(|(of, _)| *of == epoch));
                if let Some((_, mailbox)) = mailbox {
                    // What waited for the device has a trace of its own, which began before.
                    let trace = what.trace().or(trace);
                    step!("11.deliver" in trace, shard, %twin, epoch);
                    post.put(mailbox, Mail::Delivery { epoch, what });
                }
            }
        }
        meter.took(&latency);
        drop(post);
        // A connection that went before this tells nobody of its end: it did not know its epoch. One that goes later
        // finds that in its mailbox.
        for (twin, epoch, _) in begun.into_iter().filter(|(.., mailbox)| mailbox.is_closed()) {
            self.one(Work::cut_off(twin, epoch));
        }
    }

    /// Forgets the mailboxes of connections that are no more, and fails what was asked over them.
    fn drop_ended(&mut self, id: &TwinId, twin: &Twin) {
        if let Some(mailboxes) = self.mailboxes.get_mut(id) {
            let before = mailboxes.len();
            mailboxes.retain(|(epoch, _)| twin.sessions().at(*epoch).is_some());
            let gone = (before - mailboxes.len()) as u64;
            meter::add(&self.setting.meter.connections, gone.wrapping_neg());
            if mailboxes.is_empty() {
                self.mailboxes.remove(id);
            }
        }
        self.drop_pending(id, |epoch| twin.sessions().at(epoch).is_some());
    }
}

/// A shard that ends, by failure or by order, leaves no connection waiting for it.
impl Drop for Shard {
    fn drop(&mut self) {
        let why = "the shard stopped before it was committed".to_owned();
        let unknown = Error::Unknown { shard: self.setting.number, why };
        self.fall_back(&unknown, &unknown);
        self.refuse_unsure(&unknown);
        // Where there are other nodes, connections are attached to whoever leads next.
        if !self.setting.away.is_used() {
            self.let_go();
        }
    }
}
