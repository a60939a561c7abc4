//! The device acknowledges a message: in one round under QoS 1, in two under QoS 2.

use std::time::Instant;

use runtime::path::step;
use twins::handshake::PACKET_MAX;
use twins::input::{Input, Message, Said};
use twins::json::Json;

use super::Session;
use super::answer::{Own, Then};
use super::reason::Reason;

impl Session {
    /// `refused` is MQTT 5's way to say no, which for a command is an outcome. A desired change that is refused was
    /// seen: what the device makes of it, it reports.
    pub(super) fn acknowledged(&mut self, now: Instant, id: u16, refused: bool) {
        let _span = step!("13.acknowledged", packet = id, refused).entered();
        let message = self.outbox.acknowledged(id);
        if let Some(message) = message {
            self.tell(now, heard(message, refused), Then::Nothing);
        }
        self.send(now);
    }

    /// The device has a message of QoS 2. Its packet id is released when the twin knows that: were it released before, a
    /// message that is sent again after a crash would be a new one for the device.
    pub(super) fn recorded(&mut self, now: Instant, id: u16, refused: bool) {
        if refused {
            self.acknowledged(now, id, true);
            return self.complete(now, id);
        }
        let _span = step!("13.recorded", packet = id).entered();
        match self.outbox.received(id) {
            Some(message) => self.tell(now, Input::Acknowledge(message), Then::Release(id)),
            None => self.codec.release(id, &mut self.actions.bytes),
        }
    }

    /// The device knows that a packet id is released.
    pub(super) fn completed(&mut self, now: Instant, id: u16) {
        self.outbox.acknowledged(id);
        self.complete(now, id);
        self.send(now);
    }

    /// What came under a packet id of the twin's is over.
    pub(super) fn complete(&mut self, now: Instant, id: u16) {
        if id <= PACKET_MAX {
            self.tell(now, Input::Complete(id), Then::Nothing);
        }
    }

    /// The device releases a packet id of its own.
    pub(super) fn released(&mut self, now: Instant, id: u16) {
        if self.unreleased.remove(&id).is_some() {
            self.tell(now, Input::Release(id), Then::LetGo { id, reason: Reason::Success });
        } else {
            let then = Then::LetGo { id, reason: Reason::PacketIdentifier };
            self.queue.push_answered(now, then, Own::Done);
        }
        self.settle(now);
    }
}

fn heard(message: Message, refused: bool) -> Input {
    match message {
        Message::Command(id) if refused => {
            let result = Json::of("refused by its acknowledgement").ok();
            Input::Outcome { id, outcome: Said::Rejected, result }
        }
        message => Input::Acknowledge(message),
    }
}
