//! What a session keeps of QoS 2, so that a message arrives once, whatever happens to connections and nodes.
//!
//! Both directions have two rounds. *Inbound*, the packet id of a message that was taken is held until the client
//! releases it: while it is held, a message with this id is a repetition. *Outbound*, a durable message has a packet id
//! of the twin's: the client has the message when it says so, the id is released when that is committed, and it is free
//! again when the client says that it heard of the release.

use crate::input::Message;

/// How many packet ids of a client may be held: it has to release one before it is given more.
pub const HELD_MAX: usize = 1_024;
/// How many outbound handshakes may be open. Past it, messages of QoS 2 wait for the client.
pub const OPEN_MAX: usize = 64;
/// The highest packet id that a twin gives out; those above are the gateway's, for messages that are not durable.
pub const PACKET_MAX: u16 = 32_767;

/// The handshakes of a session.
#[derive(Debug, Clone, PartialEq, Eq, Default, minicbor::Encode, minicbor::Decode)]
pub struct Handshakes {
    /// The client's packet ids whose messages are taken and that it has not released.
    #[n(0)]
    held: Vec<u16>,
    /// The twin's, in the order the messages were sent.
    #[n(1)]
    open: Vec<Handshake>,
    /// The packet id that was given out last.
    #[n(2)]
    last: u16,
}

/// An outbound handshake that is not complete.
#[derive(Debug, Clone, Copy, PartialEq, Eq, minicbor::Encode, minicbor::Decode)]
pub struct Handshake {
    /// The packet id.
    #[n(0)]
    pub packet: u16,
    /// What it is about.
    #[n(1)]
    pub message: Message,
    /// The client has the message, or it is given up: what is left is to free the id.
    #[n(2)]
    pub released: bool,
}

/// The packet that a durable message goes in, under QoS 2.
#[derive(Debug, Clone, Copy, PartialEq, Eq, minicbor::Encode, minicbor::Decode)]
pub struct Packet {
    /// Its id.
    #[n(0)]
    pub id: u16,
    /// The same message went under this id before: a client that has it drops it.
    #[n(1)]
    pub again: bool,
}

impl Handshakes {
    /// Those of a session that holds these packet ids and has these handshakes open.
    pub fn of(held: Vec<u16>, open: Vec<Handshake>) -> Self {
        let last = open.last().map_or(0, |open| open.packet);
        Self { held, open, last }
    }

    /// The client's packet ids that are held.
    pub fn held(&self) -> &[u16] {
        &self.held
    }

    /// Those of the twin that are not complete, in the order the messages were sent.
    pub fn open(&self) -> &[Handshake] {
        &self.open
    }

    /// The open handshake about a message that the client may not have.
    pub fn about(&self, message: Message) -> Option<&Handshake> {
        self.open.iter().find(|open| open.message == message && !open.released)
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.held.is_empty() && self.open.is_empty()
    }

    /// A packet id for the next message. While anything is open, an id comes again as late as possible.
    pub(crate) fn next_packet(&self) -> u16 {
        let after = |packet: u16| if packet >= PACKET_MAX { 1 } else { packet + 1 };
        let mut packet = after(self.last);
        while self.open.iter().any(|open| open.packet == packet) {
            packet = after(packet);
        }
        packet
    }

    pub(crate) fn hold(&mut self, packet: u16) {
        if !self.held.contains(&packet) {
            self.held.push(packet);
        }
    }

    pub(crate) fn let_go(&mut self, packet: u16) {
        self.held.retain(|held| *held != packet);
    }

    pub(crate) fn begin(&mut self, packet: u16, message: Message) {
        self.last = packet;
        self.open.push(Handshake { packet, message, released: false });
    }

    pub(crate) fn release(&mut self, packet: u16) {
        let open = self.open.iter_mut().filter(|open| open.packet == packet);
        open.for_each(|open| open.released = true);
    }

    pub(crate) fn complete(&mut self, packet: u16) {
        self.open.retain(|open| open.packet != packet);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packet_id_comes_again_as_late_as_possible_and_never_while_it_is_open() {
        let mut handshakes = Handshakes::default();
        for version in 0..3 {
            handshakes.begin(handshakes.next_packet(), Message::Desired(version));
        }
        handshakes.complete(1);
        assert_eq!(handshakes.next_packet(), 4);

        handshakes.last = PACKET_MAX;
        assert_eq!(handshakes.next_packet(), 1);
        handshakes.last = 1;
        assert_eq!(handshakes.next_packet(), 4, "2 and 3 are open");
    }
}
