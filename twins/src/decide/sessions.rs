//! Connections that begin and end, and what they listen to.

use crate::input::Message;
use crate::name::Name;
use crate::queue::Step;
use crate::rejection::{Code, Rejection};
use crate::reply::{Closed, Delivery, Reply};
use crate::session::{CONNECTIONS_MAX, Connect, SUBSCRIPTIONS_MAX, Subscription, Topic};
use crate::transition::Change;

use super::draft::Draft;

impl Draft<'_> {
    pub(super) fn connect(&mut self, connect: &Connect, register: Option<&Name>) -> Result<Reply, Rejection> {
        let before = self.twin().sessions().of(&connect.client).map(|session| {
            let connected = session.connection.is_some();
            (session.epoch, connected, session.kept)
        });
        let others = self.twin().sessions().connected().filter(|session| session.client != connect.client).count();
        if others >= CONNECTIONS_MAX {
            let why = format!("`{}` has {CONNECTIONS_MAX} connections, which is the most", self.id.id());
            return Err(Rejection::new(Code::TooMany, why));
        }
        if let (false, Some(kind)) = (self.twin().exists(), register) {
            self.change(Change::Created { kind: kind.clone() });
        }
        if let Some((epoch, true, _)) = before {
            self.output(epoch, Delivery::Close(Closed::TakenOver));
            self.change(Change::Disconnected { epoch, reason: Name::trusted("taken over") });
        }
        let present = connect.resumes && before.is_some_and(|(_, _, kept)| kept);
        let epoch = self.twin().sessions().next_epoch();
        self.change(Change::Connected(connect.clone()));
        let subscriptions = self.twin().sessions().at(epoch).map(|session| session.subscriptions.clone());
        Ok(Reply::Connected { epoch, present, subscriptions: subscriptions.unwrap_or_default() })
    }

    pub(super) fn disconnect(&mut self, epoch: u64, reason: &Name) -> Result<Reply, Rejection> {
        if self.twin().sessions().at(epoch).is_some() {
            self.change(Change::Disconnected { epoch, reason: reason.clone() });
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

    pub(super) fn acknowledge(&mut self, message: Message) -> Result<Reply, Rejection> {
        let epoch = self.epoch()?;
        match message {
            Message::Desired(version) => self.change(Change::DesiredAcknowledged { epoch, version }),
            Message::Command(id) => {
                if self.twin().commands().is_sent(id, epoch) {
                    self.step(id, Step::Delivered);
                }
            }
        }
        Ok(Reply::Done)
    }

    /// The session that the input came by.
    fn epoch(&self) -> Result<u64, Rejection> {
        let outside = || Rejection::new(Code::SessionEnded, "only a session can say this");
        self.header.mark.map(|mark| mark.epoch).ok_or_else(outside)
    }
}
