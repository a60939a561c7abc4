//! Connections that begin and end, and what they listen to.

use crate::input::Message;
use crate::json::Json;
use crate::name::Name;
use crate::queue::Step;
use crate::rejection::{Code, Rejection};
use crate::reply::{Closed, Delivery, Reply};
use crate::session::{CONNECTIONS_MAX, Connect, SUBSCRIPTIONS_MAX, Session, Subscription, Topic};
use crate::transition::Change;
use crate::will::Will;

use super::draft::Draft;

impl Draft<'_> {
    pub(super) fn connect(&mut self, connect: &Connect, register: Option<&Name>) -> Result<Reply, Rejection> {
        self.admit(&connect.proof)?;
        let before = self.twin().sessions().of(&connect.client).cloned();
        let is_of_activation = connect.proof.is_of_activation();
        let is_another = |session: &Session| session.proof.is_of_activation() != is_of_activation;
        if is_of_activation && before.as_ref().is_some_and(is_another) {
            let why = format!("the client id `{}` is that of a session of the active device", connect.client);
            return Err(Rejection::new(Code::NotAuthorized, why));
        }
        // Those of who may be a stranger take no place of the device's.
        let counts = |session: &&Session| {
            session.client != connect.client && session.proof.is_of_activation() == is_of_activation
        };
        let others = self.twin().sessions().connected().filter(counts).count();
        if others >= CONNECTIONS_MAX {
            let why = format!("`{}` has {CONNECTIONS_MAX} connections, which is the most", self.id.id());
            return Err(Rejection::new(Code::TooMany, why));
        }
        if let (false, Some(kind)) = (self.twin().exists(), register) {
            self.change(Change::Created { kind: kind.clone() });
        }
        // Whose time is over has ended, also where nothing has said so yet.
        let now = self.header.received;
        let is_over = |session: &&Session| session.connection.is_none() && session.ends.is_some_and(|ends| ends <= now);
        let over = before.as_ref().filter(is_over).map(|session| session.epoch);
        let present = connect.resumes && over.is_none() && before.as_ref().is_some_and(|session| session.kept);
        if let Some(before) = &before {
            self.give_way(before, present);
        }
        if let Some(epoch) = over {
            self.change(Change::SessionEnded { epoch });
        }
        let epoch = self.twin().sessions().next_epoch();
        self.change(Change::Connected(connect.clone()));
        if let Some(before) = before.filter(|_| present) {
            self.give_up_packets(epoch, before.epoch);
        }
        let session = self.twin().sessions().at(epoch);
        let (subscriptions, handshakes) = session.map_or_else(Default::default, |session| {
            (session.subscriptions.clone(), session.handshakes.as_deref().cloned().unwrap_or_default())
        });
        Ok(Reply::Connected { epoch, present, subscriptions, handshakes })
    }

    /// A session gives way to a newer connection of its client, which resumes it or does not. A will that was to be said
    /// at once is said; one with a delay only where the session ends.
    fn give_way(&mut self, session: &Session, is_resumed: bool) {
        let epoch = session.epoch;
        let connected = session.connection.is_some();
        let now = self.header.received;
        let delayed = |will: &Will| will.due.map_or(will.delay_s > 0, |due| due > now);
        let waits = session.will.as_deref().is_some_and(delayed);
        if !(is_resumed && waits) {
            self.say_will(epoch);
        }
        if connected {
            self.output(epoch, Delivery::Close(Closed::TakenOver));
            self.change(Change::Disconnected { epoch, reason: Name::trusted("taken over") });
        }
    }

    pub(super) fn disconnect(
        &mut self,
        epoch: u64,
        reason: &Name,
        with_will: bool,
        expiry_s: Option<u32>,
    ) -> Result<Reply, Rejection> {
        if self.twin().sessions().at(epoch).is_none() {
            return Ok(Reply::Done);
        }
        if let Some(expiry_s) = expiry_s {
            let (kept, expiry_s) = (expiry_s > 0, Some(expiry_s).filter(|expiry_s| *expiry_s < u32::MAX));
            self.change(Change::ExpiryChanged { epoch, kept, expiry_s });
        }
        if with_will {
            self.time_will(epoch);
        } else {
            self.drop_will(epoch);
        }
        self.change(Change::Disconnected { epoch, reason: reason.clone() });
        while let Some(epoch) = self.twin().sessions().crowded_out() {
            self.say_will(epoch);
            self.change(Change::SessionEnded { epoch });
        }
        Ok(Reply::Done)
    }

    pub(super) fn subscribe(&mut self, subscriptions: &[Subscription]) -> Result<Reply, Rejection> {
        let epoch = self.epoch()?;
        let held = self.twin().sessions().at(epoch).map_or(&[][..], |session| &session.subscriptions);
        let replaced = |before: &&Subscription| subscriptions.iter().any(|newer| before.is_replaced_by(newer));
        if held.len() - held.iter().filter(replaced).count() + subscriptions.len() > SUBSCRIPTIONS_MAX {
            let why = format!("a session has at most {SUBSCRIPTIONS_MAX} subscriptions");
            return Err(Rejection::new(Code::TooMany, why));
        }
        for subscription in subscriptions {
            self.change(Change::Subscribed { epoch, subscription: subscription.clone() });
            if subscription.topic == Topic::Desired {
                self.tell_desired_again(epoch, subscription.qos);
            }
        }
        Ok(Reply::Done)
    }

    pub(super) fn unsubscribe(&mut self, filters: &[Name]) -> Result<Reply, Rejection> {
        let epoch = self.epoch()?;
        for filter in filters {
            self.change(Change::Unsubscribed { epoch, filter: filter.clone() });
        }
        Ok(Reply::Done)
    }

    /// The session goes on by what its device has proved now. That it holds was seen when the input came in.
    pub(super) fn prove(&mut self) -> Result<Reply, Rejection> {
        let epoch = self.epoch()?;
        let Some(proof) = self.header.proof.as_deref().cloned() else {
            return Err(Rejection::new(Code::NotAuthorized, "nothing was proved"));
        };
        self.change(Change::Proved { epoch, proof });
        Ok(Reply::Done)
    }

    pub(super) fn acknowledge(&mut self, message: Message) -> Result<Reply, Rejection> {
        let epoch = self.epoch()?;
        match message {
            Message::Desired(version) => {
                // One that was told on top of what was too large says nothing of what the device has.
                let session = self.twin().sessions().at(epoch);
                if session.is_some_and(|session| session.desired.unsent < Some(version)) {
                    self.change(Change::DesiredAcknowledged { epoch, version });
                }
            }
            Message::Command(id) => {
                if self.twin().commands().is_sent(id, epoch) {
                    self.step(id, Step::Delivered);
                }
            }
        }
        self.release(epoch, message);
        Ok(Reply::Done)
    }

    pub(super) fn unsent(&mut self, version: u64) -> Result<Reply, Rejection> {
        let epoch = self.epoch()?;
        self.change(Change::DesiredUnsent { epoch, version });
        let data = Json::of(&version).unwrap_or_else(|_| Json::null());
        self.announce("desired-too-large", data);
        Ok(Reply::Done)
    }

    /// The session that the input came by.
    pub(super) fn epoch(&self) -> Result<u64, Rejection> {
        let outside = || Rejection::new(Code::SessionEnded, "only a session can say this");
        self.header.mark.map(|mark| mark.epoch).ok_or_else(outside)
    }
}
