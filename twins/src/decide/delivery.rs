//! What waits for the device, handed to the connection that listens for it.
//!
//! Nothing here is remembered apart from the twin: the queue knows which command was sent to which session, the
//! session knows which desired version it was told. So whatever happens to a gateway or a leader, deciding anything
//! about the twin picks up where the log says it stood.

use crate::command::State;
use crate::input::Message;
use crate::queue::{ATTEMPTS_MAX, Step};
use crate::reply::Delivery;
use crate::handshake::Packet;
use crate::session::{DESIRED_IN_FLIGHT_MAX, Session, Topic};
use crate::transition::Change;
use crate::trust::Standing;
use crate::twin::Twin;

use super::draft::Draft;

/// What was handed to the connection with this epoch and is not acknowledged: told again, word by word as far as it is
/// known, after whoever told it is gone. Nothing is decided by that. The connection may have all of it: it drops a command
/// whose id, and a desired change whose version, it has had.
///
/// A desired change is told as the whole section as it is now: what was told on top of what the connection lacks is not
/// known any more, and the next difference holds on top of the whole.
pub fn redeliver(twin: &Twin, epoch: u64) -> Vec<Delivery> {
    let Some(session) = twin.sessions().at(epoch).filter(|_| twin.trust().standing() == Standing::Enabled)
    else {
        return Vec::new();
    };
    let head = twin.commands().head().filter(|head| head.state == State::Sent && head.epoch == epoch);
    let command = head.map(|head| Delivery::Command {
        id: head.id,
        name: head.name.clone(),
        payload: head.payload.clone(),
        deadline: head.deadline,
        attempt: head.attempt,
        trace: head.trace,
        packet: packet_of(session, Message::Command(head.id)),
    });
    let desired = session.desired.in_flight.iter().map(|version| Delivery::Desired {
        version: *version,
        patch: twin.desired().document().clone().into(),
        full: true,
        packet: packet_of(session, Message::Desired(*version)),
    });
    command.into_iter().chain(desired).collect()
}

/// The packet that a message was sent in, under QoS 2.
fn packet_of(session: &Session, message: Message) -> Option<Packet> {
    let open = session.handshakes.as_ref()?.about(message)?;
    Some(Packet { id: open.packet, again: true })
}

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
