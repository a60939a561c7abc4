//! Packets from and to bytes, for both versions. The codec crate is named in this folder only.
//!
//! It keeps what the protocol wants kept: packet ids, the client's receive maximum and maximum packet size, topic
//! aliases. Keep-alive, acknowledgements and the order of things are the session's.

mod publish;
mod read;
mod write;

use mqtt_protocol_core::mqtt::common::{Cursor, HashSet};
use mqtt_protocol_core::mqtt::connection::{ConnectionOptions, Event};
use mqtt_protocol_core::mqtt::packet::{GenericPacketTrait, Packet as Coded};
use mqtt_protocol_core::mqtt::result_code::MqttError;
use mqtt_protocol_core::mqtt::{Connection, Version, role};

use super::packet::Packet;
use super::reason::Reason;

/// One connection's codec.
pub(super) struct Codec {
    connection: Connection<role::Server>,
    /// The last bytes were the beginning of a packet.
    inside: bool,
    /// The client wants reasons in words on every packet, not only where it cannot refuse them.
    explains: bool,
    /// The packet id that was last given to a message whose twin gave it none.
    last: u16,
    /// Topics that the client knows by a number: its place here, from 1.
    aliases: Vec<String>,
    /// How many of them the client takes.
    aliases_max: usize,
    /// How many packets came and went since they were last counted.
    pub(super) packets: [u64; 2],
}

/// A message is larger than the client takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TooLarge;

impl Codec {
    /// Refuses packets of more than `packet_bytes_max` bytes by their header, before it makes room for them.
    pub(super) fn new(packet_bytes_max: u32) -> Self {
        let options = ConnectionOptions::new().maximum_packet_size_recv(packet_bytes_max);
        let mut connection = Connection::with_options(Version::Undetermined, options);
        connection.set_auto_ping_response(true);
        let (last, aliases, aliases_max) = (u16::MAX, Vec::new(), 0);
        Self { connection, inside: false, explains: true, last, aliases, aliases_max, packets: [0; 2] }
    }

    /// Whether the client speaks MQTT 5.
    pub(super) fn is_v5(&self) -> bool {
        self.connection.get_protocol_version() == Version::V5_0
    }

    /// Takes at most one packet from the front of `bytes`, and moves them on past it. `None` takes all: it goes on with
    /// the next ones. What the protocol answers by itself is appended to `out`.
    ///
    /// After an error the client must hear no more than what is in `out`.
    pub(super) fn read(&mut self, bytes: &mut &[u8], out: &mut Vec<u8>) -> Option<Result<Packet, Reason>> {
        let begins = bytes.first().filter(|_| !self.inside);
        if begins.is_some_and(|&first| !has_right_flags(first)) {
            return Some(Err(Reason::Malformed));
        }
        let mut cursor = Cursor::new(*bytes);
        let events = self.connection.recv(&mut cursor);
        self.inside = events.is_empty();
        *bytes = &bytes[usize::try_from(cursor.position()).unwrap_or(bytes.len()).min(bytes.len())..];
        let mut read = None;
        for event in events {
            match event {
                Event::NotifyPacketReceived(packet) => {
                    self.packets[0] += 1;
                    // It would answer a repetition by itself, before the twin has committed the message.
                    self.connection.restore_qos2_publish_handled(HashSet::default());
                    let understood = self.understand(&packet);
                    if let (Err(reason), true) = (&understood, is_connect(&packet)) {
                        self.turn_away(*reason, "", out);
                    }
                    read = Some(understood);
                }
                Event::RequestSendPacket { packet, .. } => {
                    self.packets[1] += 1;
                    append(&packet, out);
                }
                Event::NotifyError(error) => {
                    if error == MqttError::UnsupportedProtocolVersion && !self.is_v5() {
                        out.extend_from_slice(&REFUSED_VERSION);
                    }
                    return Some(Err(of_error(error)));
                }
                Event::RequestClose
                | Event::RequestTimerReset { .. }
                | Event::RequestTimerCancel(_)
                | Event::NotifyPacketIdReleased(_) => {}
            }
        }
        read
    }
}

/// The CONNACK of 3.1.1 for a protocol level that is not served; clients of older levels understand it too.
const REFUSED_VERSION: [u8; 4] = [0x20, 0x02, 0x00, 0x01];

/// Whether the first byte of a packet has the flags that its type has to have, which the codec does not look at.
fn has_right_flags(first: u8) -> bool {
    let (kind, flags) = (first >> 4, first & 0x0F);
    match kind {
        // A message that nobody acknowledges is never a repetition. Its quality of service is the codec's to check.
        3 => flags & 0b1110 != 0b1000,
        6 | 8 | 10 => flags == 0b0010,
        _ => flags == 0,
    }
}

fn is_connect(packet: &Coded) -> bool {
    matches!(packet, Coded::V3_1_1Connect(_) | Coded::V5_0Connect(_))
}

fn append(packet: &Coded, out: &mut Vec<u8>) {
    for part in packet.to_buffers() {
        out.extend_from_slice(&part);
    }
}

fn of_error(error: MqttError) -> Reason {
    match error {
        MqttError::ProtocolError => Reason::Protocol,
        MqttError::UnsupportedProtocolVersion => Reason::Version,
        MqttError::ClientIdentifierNotValid => Reason::ClientId,
        MqttError::BadUserNameOrPassword => Reason::Credentials,
        MqttError::ReceiveMaximumExceeded => Reason::ReceiveMaximum,
        MqttError::TopicAliasInvalid => Reason::TopicAlias,
        MqttError::PacketTooLarge => Reason::PacketTooLarge,
        _ => Reason::Malformed,
    }
}
