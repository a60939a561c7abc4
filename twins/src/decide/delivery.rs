//! What waits for the device, handed to the connection that listens for it.
//!
//! Nothing here is remembered apart from the twin: the queue knows which command was sent to which session, the
//! session knows which desired version it was told. So whatever happens to a gateway or a leader, deciding anything
//! about the twin picks up where the log says it stood.

use crate::command::State;
use crate::input::Message;
use crate::queue::{ATTEMPTS_MAX, Step};
use crate::reply::Delivery;
use crate::session::{DESIRED_IN_FLIGHT_MAX, Topic};
use crate::transition::Change;

use super::draft::Draft;

impl Draft<'_> {
    pub(super) fn deliver(&mut self) {
        if self.is_cut_off() {
            return;
        }
        self.deliver_command();
        self.deliver_desired();
    }

    /// Hands on the head of the queue. Commands that expired or died on the way make room for the next.
    fn deliver_command(&mut self) {
        while let Some(head) = self.twin().commands().head() {
            let (id, qos) = (head.id, |epoch| self.qos(epoch, Topic::Commands));
            if head.deadline <= self.header.received {
                self.step(id, Step::Expired);
                continue;
            }
            // Whoever was sent it and is still there will acknowledge it, or go.
            if head.state == State::Sent && qos(head.epoch).is_some() {
                return;
            }
            let Some(session) = self.twin().sessions().newest(Topic::Commands) else { return };
            let epoch = session.epoch;
            // It is on its way over this very connection, whatever was unsubscribed meanwhile.
            if head.state == State::Sent && head.epoch == epoch {
                return;
            }
            let in_packet = qos(epoch) == Some(2);
            if in_packet && self.is_shaking(epoch, Message::Command(id)) {
                return;
            }
            if head.attempt >= ATTEMPTS_MAX {
                self.step(id, Step::Dead);
                continue;
            }
            let mut delivery = Delivery::Command {
                id,
                name: head.name.clone(),
                payload: head.payload.clone(),
                deadline: head.deadline,
                attempt: head.attempt + 1,
                trace: head.trace,
                packet: None,
            };
            self.step(id, Step::Sent(epoch));
            if let (Delivery::Command { packet, .. }, true) = (&mut delivery, in_packet) {
                *packet = self.packet(epoch, Message::Command(id));
            }
            self.output(epoch, delivery);
            return;
        }
    }

    /// Tells the newest listener of desired changes what it lacks.
    fn deliver_desired(&mut self) {
        let Some(session) = self.twin().sessions().newest(Topic::Desired) else { return };
        let version = self.twin().desired().version();
        let told = session.desired.told();
        let is_told = told == Some(version) || session.desired.unsent == Some(version);
        if is_told || session.desired.in_flight.len() >= DESIRED_IN_FLIGHT_MAX {
            return;
        }
        let epoch = session.epoch;
        if self.qos(epoch, Topic::Desired) == Some(2) && self.is_shaking(epoch, Message::Desired(version)) {
            return;
        }
        self.tell_desired(epoch, told);
    }

    /// A client subscribed. At QoS 0 nothing is known of what it has; else it is told what it lacks.
    pub(super) fn tell_desired_again(&mut self, epoch: u64, qos: u8) {
        if qos == 0 && !self.is_cut_off() && self.twin().sessions().newest(Topic::Desired).is_some_and(|newest| newest.epoch == epoch) {
            self.tell_desired(epoch, None);
        }
    }

    fn tell_desired(&mut self, epoch: u64, told: Option<u64>) {
        let desired = self.twin().desired();
        let version = desired.version();
        let difference = told.and_then(|told| desired.difference(told));
        let full = difference.is_none();
        let patch = difference.unwrap_or_else(|| desired.document().clone().into());
        self.change(Change::DesiredSent { epoch, version });
        let mut packet = None;
        match self.qos(epoch, Topic::Desired) {
            // Under QoS 0 nobody acknowledges: what was written counts as known.
            Some(0) => self.change(Change::DesiredAcknowledged { epoch, version }),
            Some(2) => packet = self.packet(epoch, Message::Desired(version)),
            _ => {}
        }
        self.output(epoch, Delivery::Desired { version, patch, full, packet });
    }

    /// At which quality of service a connection listens to `topic`.
    fn qos(&self, epoch: u64, topic: Topic) -> Option<u8> {
        let session = self.twin().sessions().at(epoch)?;
        session.subscription(topic).map(|subscription| subscription.qos)
    }
}
