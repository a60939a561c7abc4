//! Messages on their way to the device: those that wait for room, and those that the device has not acknowledged.

use std::collections::{HashMap, VecDeque};

use twins::input;

use super::super::options::UNACKNOWLEDGED_BYTES_MAX;
use super::codec::{Codec, TooLarge};
use super::packet::Message;

/// How many messages may be unacknowledged by the device, whatever its receive maximum.
const IN_FLIGHT_MAX: usize = 128;
/// How many may wait for room.
const WAITING_MAX: usize = 256;

#[derive(Debug, Default)]
pub(super) struct Outbox {
    waiting: VecDeque<Letter>,
    /// Packet ids of earlier connections that wait to be released.
    releases: VecDeque<u16>,
    /// By packet id: the bytes of the message, and what it acknowledges.
    in_flight: HashMap<u16, (usize, Option<input::Message>)>,
    /// Of all that waits or is in flight.
    bytes: usize,
    /// Under QoS 0, what is written counts as acknowledged.
    written: Vec<input::Message>,
}

/// A message, and what the device acknowledges by acknowledging it.
#[derive(Debug)]
pub(super) struct Letter {
    pub(super) message: Message,
    pub(super) acknowledges: Option<input::Message>,
    /// What of the twin it tells.
    pub(super) tells: Option<input::Message>,
}

/// The device does not acknowledge what it is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Full;

impl Outbox {
    pub(super) fn push(&mut self, letter: Letter) -> Result<(), Full> {
        if self.waiting.len() >= WAITING_MAX || self.bytes >= UNACKNOWLEDGED_BYTES_MAX {
            return Err(Full);
        }
        self.bytes += letter.message.payload.len();
        self.waiting.push_back(letter);
        Ok(())
    }

    /// Packet ids whose messages the device has since an earlier connection: they are released before all else.
    pub(super) fn push_releases(&mut self, packets: impl Iterator<Item = u16>) {
        self.releases.extend(packets);
    }

    /// Sends what there is room for. Returns the letters that are larger than the client takes.
    pub(super) fn send(&mut self, codec: &mut Codec, out: &mut Vec<u8>) -> Vec<Letter> {
        while let Some(packet) = self.releases.front().filter(|_| self.has_room(codec)).copied() {
            if !codec.release_again(packet, out) {
                break;
            }
            self.releases.pop_front();
            self.in_flight.insert(packet, (0, None));
        }
        let mut too_large = Vec::new();
        while let Some(letter) = self.waiting.front() {
            let acknowledged = letter.message.qos > 0;
            if acknowledged && !(self.has_room(codec) && self.releases.is_empty()) {
                break;
            }
            let sent = codec.publish(&letter.message, out);
            let Some(letter) = self.waiting.pop_front() else { break };
            let bytes = letter.message.payload.len();
            if let Ok(Some(id)) = sent {
                self.in_flight.insert(id, (bytes, letter.acknowledges));
                continue;
            }
            self.bytes -= bytes;
            match sent {
                Ok(_) => self.written.extend(letter.acknowledges),
                Err(TooLarge) => too_large.push(letter),
            }
        }
        too_large
    }

    /// Whether it has a message, sent or not, that the device has not acknowledged.
    pub(super) fn has(&self, message: input::Message) -> bool {
        let waiting = self.waiting.iter().filter_map(|letter| letter.tells);
        let sent = self.in_flight.values().filter_map(|(_, acknowledges)| *acknowledges);
        waiting.chain(sent).chain(self.written.iter().copied()).any(|has| has == message)
    }

    fn has_room(&self, codec: &Codec) -> bool {
        self.in_flight.len() < IN_FLIGHT_MAX && codec.vacancy() != Some(0)
    }

    /// The device has a message of QoS 2, whose packet id is still to be released: what that acknowledges.
    pub(super) fn received(&mut self, id: u16) -> Option<input::Message> {
        let (bytes, acknowledged) = self.in_flight.get_mut(&id)?;
        self.bytes -= std::mem::take(bytes);
        acknowledged.take()
    }

    /// A packet is done: what that acknowledges.
    pub(super) fn acknowledged(&mut self, id: u16) -> Option<input::Message> {
        let (bytes, acknowledged) = self.in_flight.remove(&id)?;
        self.bytes -= bytes;
        acknowledged
    }

    /// Everything that was sent is written: what that acknowledges.
    pub(super) fn written(&mut self) -> Vec<input::Message> {
        std::mem::take(&mut self.written)
    }
}
