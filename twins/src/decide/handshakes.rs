//! QoS 2, on the twin's side: a message is taken once, and goes out once.

use crate::handshake::{HELD_MAX, OPEN_MAX, Packet};
use crate::input::{Input, Message};
use crate::rejection::{Code, Rejection};
use crate::reply::Reply;
use crate::session::{Session, Topic};
use crate::transition::Change;

use super::draft::Draft;

impl Draft<'_> {
    /// Takes an input, unless it came under a packet id that the session holds: then it was taken before. One that is
    /// refused is not held, since it has no effect that could come twice.
    pub(super) fn take_once(&mut self, input: &Input) -> Result<Reply, Rejection> {
        let (Some(packet), Some(mark)) = (self.header.packet, self.header.mark) else { return self.once(input) };
        let epoch = mark.epoch;
        let held = self.twin().sessions().at(epoch).map_or(&[][..], Session::held);
        if held.contains(&packet) {
            return self.repeated().unwrap_or(Ok(Reply::Done));
        }
        if held.len() >= HELD_MAX {
            let why = format!("{HELD_MAX} packet ids of QoS 2 are held; release them with PUBREL");
            return Err(Rejection::new(Code::TooMany, why));
        }
        let reply = self.once(input)?;
        self.change(Change::Held { epoch, packet });
        Ok(reply)
    }

    pub(super) fn let_go(&mut self, packet: u16) -> Result<Reply, Rejection> {
        let epoch = self.epoch()?;
        if self.twin().sessions().at(epoch).is_some_and(|session| session.held().contains(&packet)) {
            self.change(Change::LetGo { epoch, packet });
        }
        Ok(Reply::Done)
    }

    pub(super) fn complete(&mut self, packet: u16) -> Result<Reply, Rejection> {
        let epoch = self.epoch()?;
        let open = self.twin().sessions().at(epoch).and_then(|session| session.handshakes.as_ref());
        if open.is_some_and(|all| all.open().iter().any(|open| open.packet == packet)) {
            self.change(Change::HandshakeCompleted { epoch, packet });
        }
        Ok(Reply::Done)
    }

    /// The packet of a message under QoS 2: the one it had on an earlier connection, or a new one.
    pub(super) fn packet(&mut self, epoch: u64, message: Message) -> Option<Packet> {
        let session = self.twin().sessions().at(epoch)?;
        let handshakes = session.handshakes.as_ref();
        if let Some(open) = handshakes.and_then(|all| all.about(message)) {
            return Some(Packet { id: open.packet, again: true });
        }
        let id = handshakes.map_or(1, |all| all.next_packet());
        self.change(Change::HandshakeBegun { epoch, packet: id, message });
        Some(Packet { id, again: false })
    }

    /// Whether the client has to complete handshakes before it is sent this message under QoS 2. One that has a packet id
    /// from an earlier connection waits for nothing.
    pub(super) fn is_shaking(&self, epoch: u64, message: Message) -> bool {
        let session = self.twin().sessions().at(epoch);
        let handshakes = session.and_then(|session| session.handshakes.as_ref());
        handshakes.is_some_and(|all| all.open().len() >= OPEN_MAX && all.about(message).is_none())
    }

    /// The client has a message: its packet id is to be released.
    pub(super) fn release(&mut self, epoch: u64, message: Message) {
        let session = self.twin().sessions().at(epoch);
        let open = session.and_then(|session| session.handshakes.as_ref()?.about(message));
        if let Some(packet) = open.map(|open| open.packet) {
            self.change(Change::HandshakeReleased { epoch, packet });
        }
    }

    /// A session is resumed; its last connection was `before`. A packet id is for one message: where that will not come
    /// again as it was, the id is given up. A client that has the message hears of the release and is content.
    pub(super) fn give_up_packets(&mut self, epoch: u64, before: u64) {
        let twin = self.twin();
        let Some(session) = twin.sessions().at(epoch) else { return };
        let Some(handshakes) = &session.handshakes else { return };
        let unsure = || handshakes.open().iter().filter(|open| !open.released);
        let changes = unsure().filter(|open| matches!(open.message, Message::Desired(_))).count();
        let comes_again = |message| match message {
            Message::Command(id) => twin.commands().is_sent(id, before),
            // Only the difference to the section as it is now can be told, which one message made.
            Message::Desired(version) => {
                let listens = session.subscription(Topic::Desired).is_some_and(|listens| listens.qos == 2);
                listens && changes == 1 && version == twin.desired().version()
            }
        };
        let given_up = unsure().filter(|open| !comes_again(open.message)).map(|open| open.packet);
        for packet in given_up.collect::<Vec<_>>() {
            self.change(Change::HandshakeReleased { epoch, packet });
        }
    }
}
