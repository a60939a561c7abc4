//! Requests: asked of the device over its newest connection that listens, answered now or not at all.
//!
//! They change no twin and are not journaled. Whoever asks waits outside; what waits here is forgotten when the answer
//! comes, the connection ends, or the caller gives up.

use tokio::sync::oneshot;
use twins::body::Body;
use twins::header::Trace;
use twins::id::TwinId;
use twins::name::Name;
use twins::rejection::{Code, Rejection};
use twins::reply::Delivery;
use twins::session::Topic;
use twins::time::Timestamp;
use twins::trust::Standing;

use crate::error::Error;
use crate::mailbox::Mail;
use crate::path::step;
use crate::router::{REQUESTS_MAX, Response};

use super::resident::{Slot, Waiting};
use super::{Failed, Shard};

/// A question to a device.
pub(crate) struct Asked {
    pub(crate) twin: TwinId,
    /// The id that the answer will carry.
    pub(crate) id: Name,
    pub(crate) name: Name,
    pub(crate) payload: Body,
    pub(crate) trace: Option<Trace>,
    pub(crate) answer: oneshot::Sender<Result<Response, Error>>,
}

/// A question that was handed to a connection.
pub(super) struct Pending {
    id: Name,
    epoch: u64,
    answer: oneshot::Sender<Result<Response, Error>>,
}

impl Pending {
    /// Nobody will hear the answer.
    pub(super) fn fail(self, error: Error) {
        // Whoever asked may have given up.
        drop(self.answer.send(Err(error)));
    }
}

impl Shard {
    /// Asks the device, as soon as its twin is here.
    pub(crate) fn request(&mut self, now: Timestamp, asked: Asked) -> Result<(), Failed> {
        self.pass(now);
        match self.twins.get(&asked.twin) {
            _ if !self.leads() => self.ask(asked),
            Some(Slot::Resident(_)) => self.ask(asked),
            _ => self.load(&asked.twin.clone(), Some(Waiting::Asked(asked))),
        }
        self.turn()
    }

    pub(super) fn ask(&mut self, asked: Asked) {
        let Asked { twin, id, name, payload, trace, answer } = asked;
        let shard = self.setting.number;
        let _span = step!("11.request" in trace, shard, %twin, request = %id).entered();
        if answer.is_closed() {
            return;
        }
        if !self.leads() {
            drop(answer.send(Err(self.not_leading())));
            return;
        }
        match self.listener(&twin) {
            // Another node may know better.
            Err(rejection) => self.when_sure(Box::new(move |sure| {
                drop(answer.send(Err(sure.err().unwrap_or(rejection.into()))));
            })),
            Ok((epoch, mailbox)) => {
                let what = Delivery::Request { id: id.clone(), name, payload, trace };
                mailbox.put([Mail::Delivery { epoch, what }]);
                self.pending.entry(twin).or_default().push(Pending { id, epoch, answer });
            }
        }
    }

    /// The device answered. Returns whether anybody still waited.
    pub(crate) fn respond(&mut self, twin: &TwinId, id: &Name, response: Response) -> bool {
        let shard = self.setting.number;
        let _span = step!("13.response", shard, %twin, request = %id).entered();
        let pending = self.take_pending(twin, id);
        pending.is_some_and(|pending| pending.answer.send(Ok(response)).is_ok())
    }

    /// Whoever asked gave up.
    pub(crate) fn forget(&mut self, twin: &TwinId, id: &Name) {
        self.take_pending(twin, id);
    }

    /// Fails what was asked over connections that `lives` does not know any more.
    pub(super) fn drop_pending(&mut self, twin: &TwinId, lives: impl Fn(u64) -> bool) {
        let Some(all) = self.pending.remove(twin) else { return };
        let (alive, ended): (Vec<_>, Vec<_>) = all.into_iter().partition(|pending| lives(pending.epoch));
        for pending in ended {
            let _gave_up = pending.answer.send(Err(not_connected(twin).into()));
        }
        if !alive.is_empty() {
            self.pending.insert(twin.clone(), alive);
        }
    }

    /// The newest committed connection that listens to requests, and its mailbox.
    fn listener(
        &mut self,
        twin: &TwinId,
    ) -> Result<(u64, std::sync::Arc<crate::mailbox::Mailbox>), Rejection> {
        let waiting = self.pending.get_mut(twin).map_or(0, |all| {
            // Not everybody who gives up says so.
            all.retain(|pending| !pending.answer.is_closed());
            all.len()
        });
        let unknown = || Rejection::new(Code::UnknownTwin, format!("no twin `{}`", twin.id()));
        let resident =
            self.resident(twin).filter(|resident| resident.committed.exists()).ok_or_else(unknown)?;
        resident.used = true;
        let is_cut_off = resident.committed.trust().standing() != Standing::Enabled;
        let epoch = resident.committed.sessions().newest(Topic::Requests).map(|session| session.epoch);
        let epoch = epoch.filter(|_| !is_cut_off);
        let epoch = epoch.ok_or_else(|| not_connected(twin))?;
        let mailboxes = self.mailboxes.get(twin).into_iter().flatten();
        let mailbox = mailboxes.filter(|(of, _)| *of == epoch).map(|(_, mailbox)| mailbox.clone()).next();
        let mailbox = mailbox.ok_or_else(|| not_connected(twin))?;
        if waiting >= REQUESTS_MAX {
            let why = format!("{REQUESTS_MAX} requests to `{}` wait for an answer", twin.id());
            return Err(Rejection::new(Code::TooMany, why));
        }
        Ok((epoch, mailbox))
    }

    fn take_pending(&mut self, twin: &TwinId, id: &Name) -> Option<Pending> {
        let all = self.pending.get_mut(twin)?;
        let index = all.iter().position(|pending| pending.id == *id)?;
        let pending = all.swap_remove(index);
        if all.is_empty() {
            self.pending.remove(twin);
        }
        Some(pending)
    }
}

fn not_connected(twin: &TwinId) -> Rejection {
    Rejection::new(Code::NotConnected, format!("no connection of `{}` listens to requests", twin.id()))
}
