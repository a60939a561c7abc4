//! Connections that outlive the leader of their shard: they are attached to the one that leads now.
//!
//! Where the twin has a session of that connection, its mailbox is known from then on, and it is told again what it may
//! not have had. That is what is committed when it is sure that this node leads: what is committed later comes behind it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use twins::decide::redeliver;
use twins::id::TwinId;
use twins::reply::{Closed, Delivery};
use twins::time::Timestamp;

use crate::mailbox::{Mail, Mailbox};
use crate::meter;

use super::resident::{Slot, Waiting};
use super::work::Work;
use super::{Failed, Shard};

/// A connection that is to be attached.
pub(crate) struct Attaching {
    pub(crate) twin: TwinId,
    pub(crate) epoch: u64,
    /// The node and its generation that hold it.
    pub(crate) from: (u64, u64),
    pub(crate) mailbox: Arc<Mailbox>,
    pub(crate) attending: Arc<Attending>,
}

/// Whoever waits until all connections of a gateway are attached.
pub(crate) struct Attending {
    left: AtomicUsize,
    then: Option<Box<dyn FnOnce(bool) + Send + Sync>>,
}

impl Attending {
    /// Waits for so many. `then` hears whether all of them were attended to, once there is none left.
    pub(crate) fn new(count: usize, then: impl FnOnce(bool) + Send + Sync + 'static) -> Arc<Self> {
        Arc::new(Self { left: AtomicUsize::new(count), then: Some(Box::new(then)) })
    }
}

impl Drop for Attending {
    fn drop(&mut self) {
        if let Some(then) = self.then.take() {
            then(self.left.load(Ordering::Acquire) == 0);
        }
    }
}

impl Attaching {
    /// It was attended to: it is attached, or closed.
    fn done(&self) {
        self.attending.left.fetch_sub(1, Ordering::AcqRel);
    }

    /// The connection has no session here.
    pub(super) fn close(self, why: Closed) {
        self.mailbox.put([Mail::Delivery { epoch: self.epoch, what: Delivery::Close(why) }]);
        self.done();
    }
}

impl Shard {
    /// Connections of a gateway, this node's or another's, are to be attached.
    pub(crate) fn attach(&mut self, now: Timestamp, all: Vec<Attaching>) -> Result<(), Failed> {
        self.pass(now);
        all.into_iter().for_each(|attaching| self.attach_one(attaching));
        self.turn()
    }

    /// Attaches a connection when its twin is here, and it is sure that this node leads. One that is dropped instead comes
    /// again.
    pub(super) fn attach_one(&mut self, attaching: Attaching) {
        if !self.leads() {
            return;
        }
        match self.twins.get(&attaching.twin) {
            Some(Slot::Resident(_)) => self.when_sure_attach(attaching),
            _ => self.load(&attaching.twin.clone(), Some(Waiting::Attaching(attaching.into()))),
        }
    }

    pub(super) fn attach_now(&mut self, attaching: Attaching) {
        let Some(resident) = self.resident(&attaching.twin) else { return self.attach_one(attaching) };
        resident.used = true;
        let twin = resident.committed.clone();
        let Attaching { epoch, from, .. } = attaching;
        let session = twin.sessions().at(epoch);
        let is_of = |of: &twins::session::Connection| (of.node, of.generation) == from;
        if !session.is_some_and(|session| session.connection.as_ref().is_some_and(is_of)) {
            return attaching.close(Closed::Unavailable);
        }
        let mailboxes = self.mailboxes.entry(attaching.twin.clone()).or_default();
        match mailboxes.iter_mut().find(|(of, _)| *of == epoch) {
            Some((_, mailbox)) => *mailbox = attaching.mailbox.clone(),
            None => {
                mailboxes.push((epoch, attaching.mailbox.clone()));
                meter::add(&self.setting.meter.connections, 1);
            }
        }
        let again = redeliver(&twin, epoch).into_iter().map(|what| Mail::Redelivery { epoch, what });
        let again: Vec<_> = again.collect();
        if !again.is_empty() {
            attaching.mailbox.put(again);
        }
        attaching.done();
        if attaching.mailbox.is_closed() {
            self.one(Work::cut_off(attaching.twin, epoch));
        }
    }

    /// Connections of other nodes may have gone without a word.
    pub(crate) fn let_go_of_closed(&mut self, now: Timestamp) -> Result<(), Failed> {
        self.pass(now);
        let closed = |(twin, all): (&TwinId, &Vec<(u64, Arc<Mailbox>)>)| {
            let closed = all.iter().filter(|(_, mailbox)| mailbox.is_closed());
            closed.map(|(epoch, _)| (twin.clone(), *epoch)).collect::<Vec<_>>()
        };
        let closed: Vec<_> = self.mailboxes.iter().flat_map(closed).collect();
        for (twin, epoch) in closed {
            self.one(Work::cut_off(twin, epoch));
        }
        self.turn()
    }
}
