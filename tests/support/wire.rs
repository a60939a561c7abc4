//! MQTT by hand, over TCP or TLS, for what no client library would send.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use super::node::PATIENCE;

pub const CONNECT: u8 = 1;
pub const CONNACK: u8 = 2;
pub const PUBLISH: u8 = 3;
pub const PUBACK: u8 = 4;
pub const SUBACK: u8 = 9;
pub const PINGRESP: u8 = 13;
pub const DISCONNECT: u8 = 14;

/// The property of MQTT 5.
const USER_PROPERTY: u8 = 0x26;

/// What a client says at first.
#[derive(Debug, Clone)]
pub struct Connect<'a> {
    pub v5: bool,
    pub client: &'a str,
    pub username: &'a str,
    pub password: Option<&'a str>,
    pub keep_alive: u16,
    /// Nothing of an earlier session is wanted.
    pub clean: bool,
    /// Set in the flags beside what the rest asks for.
    pub flags: u8,
    /// Of MQTT 5, as bytes: those of the connection, and those of the will.
    pub properties: (&'a [u8], &'a [u8]),
    /// Topic and payload.
    pub will: Option<(&'a str, &'a [u8])>,
}

impl<'a> Connect<'a> {
    pub fn of(v5: bool, device: &'a str) -> Self {
        let (client, username, properties) = (device, device, (&[][..], &[][..]));
        let password = None;
        Self { v5, client, username, password, keep_alive: 60, clean: true, flags: 0, properties, will: None }
    }

    pub fn bytes(&self) -> Vec<u8> {
        let mut body = vec![0, 4, b'M', b'Q', b'T', b'T', if self.v5 { 5 } else { 4 }];
        let will = if self.will.is_some() { 0b0000_0100 } else { 0 };
        let clean = if self.clean { 0b10 } else { 0 };
        let password = if self.password.is_some() { 0b0100_0000 } else { 0 };
        body.push(0b1000_0000 | password | clean | will | self.flags);
        body.extend(self.keep_alive.to_be_bytes());
        let properties = |body: &mut Vec<u8>, properties: &[u8]| {
            if self.v5 {
                body.push(u8::try_from(properties.len()).expect("few properties"));
                body.extend(properties);
            }
        };
        properties(&mut body, self.properties.0);
        string(&mut body, self.client.as_bytes());
        if let Some((topic, payload)) = self.will {
            properties(&mut body, self.properties.1);
            string(&mut body, topic.as_bytes());
            string(&mut body, payload);
        }
        string(&mut body, self.username.as_bytes());
        if let Some(password) = self.password {
            string(&mut body, password.as_bytes());
        }
        packet(0x10, &body)
    }
}

/// A publish with QoS 1, or with QoS 0 where `id` is absent.
pub fn publish(v5: bool, topic: &str, payload: &[u8], id: Option<u16>) -> Vec<u8> {
    said(topic, payload, id, v5.then_some(&[]))
}

/// A publish in MQTT 5, with QoS 1 and user properties.
pub fn publish_with(properties: &[(&str, &str)], topic: &str, payload: &[u8], id: u16) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (name, value) in properties {
        bytes.push(USER_PROPERTY);
        string(&mut bytes, name.as_bytes());
        string(&mut bytes, value.as_bytes());
    }
    said(topic, payload, Some(id), Some(&bytes))
}

fn said(topic: &str, payload: &[u8], id: Option<u16>, properties: Option<&[u8]>) -> Vec<u8> {
    let mut body = Vec::new();
    string(&mut body, topic.as_bytes());
    body.extend(id.iter().flat_map(|id| id.to_be_bytes()));
    if let Some(properties) = properties {
        body.push(
            u8::try_from(properties.len()).ok().filter(|length| *length < 128).expect("few properties"),
        );
        body.extend(properties);
    }
    body.extend(payload);
    packet(if id.is_some() { 0x32 } else { 0x30 }, &body)
}

pub fn subscribe(v5: bool, id: u16, filters: &[(&str, u8)]) -> Vec<u8> {
    let mut body = id.to_be_bytes().to_vec();
    body.extend(v5.then_some(0));
    for (filter, qos) in filters {
        string(&mut body, filter.as_bytes());
        body.push(*qos);
    }
    packet(0x82, &body)
}

/// Any packet: its first byte and what follows its length.
pub fn packet(first: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first];
    let mut length = body.len();
    loop {
        let more = if length >= 128 { 0x80 } else { 0 };
        bytes.push((length % 128) as u8 | more);
        length /= 128;
        if more == 0 {
            break;
        }
    }
    bytes.extend(body);
    bytes
}

fn string(body: &mut Vec<u8>, text: &[u8]) {
    body.extend(u16::try_from(text.len()).expect("a short text").to_be_bytes());
    body.extend(text);
}

/// A packet of the node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packet {
    pub kind: u8,
    pub body: Vec<u8>,
}

impl Packet {
    /// The reason code, or what stands in its place in 3.1.1; 0 where the packet is too short to have one.
    pub fn reason(&self) -> u8 {
        let at = match self.kind {
            CONNACK => 1,
            PUBACK => 2,
            _ => 0,
        };
        self.body.get(at).copied().unwrap_or(0)
    }

    /// The packet id of a PUBLISH with QoS 1.
    pub fn message_id(&self) -> u16 {
        let at = 2 + usize::from(u16::from_be_bytes([self.body[0], self.body[1]]));
        u16::from_be_bytes([self.body[at], self.body[at + 1]])
    }

    /// A user property of a PUBLISH with QoS 1, in MQTT 5, of those that stand behind no other property.
    pub fn user_property(&self, name: &str) -> Option<String> {
        let at = 4 + usize::from(u16::from_be_bytes([self.body[0], self.body[1]]));
        let mut rest = &self.body[at + 1..at + 1 + usize::from(self.body[at])];
        let text = |rest: &mut &[u8]| {
            let (length, text) = rest.split_first_chunk().expect("a length");
            let (text, after) = text.split_at(usize::from(u16::from_be_bytes(*length)));
            *rest = after;
            String::from_utf8(text.to_vec()).expect("it is UTF-8")
        };
        while let Some((&USER_PROPERTY, after)) = rest.split_first() {
            rest = after;
            let (found, value) = (text(&mut rest), text(&mut rest));
            if found == name {
                return Some(value);
            }
        }
        None
    }

    /// The payload of a PUBLISH with QoS 1, in 3.1.1.
    pub fn message(&self) -> serde_json::Value {
        let at = 4 + usize::from(u16::from_be_bytes([self.body[0], self.body[1]]));
        serde_json::from_slice(&self.body[at..]).unwrap_or_default()
    }

    /// The reason codes of a SUBACK.
    pub fn reasons(&self, v5: bool) -> &[u8] {
        let properties = if v5 { 1 + usize::from(self.body[2]) } else { 0 };
        &self.body[2 + properties..]
    }
}

/// A connection, over TCP or what lies on it.
pub struct Wire<S = TcpStream> {
    pub stream: S,
    v5: bool,
    read: Vec<u8>,
    /// The session was there before.
    pub resumed: bool,
}

impl Wire {
    /// A connection over which nothing was said.
    pub fn open(address: SocketAddr, v5: bool) -> Self {
        Self::on(TcpStream::connect(address).expect("the node listens"), v5)
    }

    /// The same over a stream that is there.
    pub fn on(stream: TcpStream, v5: bool) -> Self {
        stream.set_read_timeout(Some(Duration::from_millis(100))).expect("a timeout can be set");
        stream.set_write_timeout(Some(PATIENCE)).expect("a timeout can be set");
        Self::over(stream, v5)
    }

    /// A device that was let in.
    pub fn connect(address: SocketAddr, v5: bool, device: &str) -> Self {
        Self::connect_as(address, &Connect::of(v5, device))
    }

    pub fn connect_as(address: SocketAddr, connect: &Connect<'_>) -> Self {
        let mut wire = Self::open(address, connect.v5);
        let answer = wire.send(&connect.bytes()).next().expect("an answer");
        assert_eq!((answer.kind, answer.reason()), (CONNACK, 0), "{connect:?}");
        wire.resumed = answer.body[0] == 1;
        wire
    }

    /// A second handle on the same connection, to write while the first one reads.
    pub fn second(&self) -> Self {
        let stream = self.stream.try_clone().expect("a descriptor is free");
        Self { stream, v5: self.v5, read: Vec::new(), resumed: self.resumed }
    }

    /// Sends packet by packet without reading, until one is not taken within `patience`; how many were.
    pub fn flood(&mut self, packets: &[Vec<u8>], patience: Duration) -> usize {
        self.stream.set_write_timeout(Some(patience)).expect("a timeout can be set");
        packets.iter().take_while(|packet| self.stream.write_all(packet).is_ok()).count()
    }
}

impl<S: Read + Write> Wire<S> {
    /// A connection over which nothing was said yet; its reads end after a while.
    pub fn over(stream: S, v5: bool) -> Self {
        Self { stream, v5, read: Vec::new(), resumed: false }
    }

    /// Sends, as far as the node takes it: it may have closed the connection already.
    pub fn send(&mut self, bytes: &[u8]) -> &mut Self {
        drop(self.stream.write_all(bytes));
        drop(self.stream.flush());
        self
    }

    pub fn publish(&mut self, topic: &str, payload: &[u8], id: Option<u16>) -> &mut Self {
        self.send(&publish(self.v5, topic, payload, id))
    }

    /// Acknowledges a message.
    pub fn acknowledge(&mut self, message: &Packet) -> &mut Self {
        let id = message.message_id().to_be_bytes();
        self.send(&packet(0x40, &id))
    }

    pub fn subscribe(&mut self, filters: &[(&str, u8)]) -> Packet {
        self.send(&subscribe(self.v5, 1, filters)).next().expect("a SUBACK")
    }

    /// The next packet; `None` when the node has closed the connection.
    pub fn next(&mut self) -> Option<Packet> {
        let end = Instant::now() + PATIENCE;
        loop {
            if let Some((packet, length)) = split(&self.read) {
                self.read.drain(..length);
                return Some(packet);
            }
            let mut part = [0; 4096];
            match self.stream.read(&mut part) {
                Ok(0) => return None,
                Ok(length) => self.read.extend(&part[..length]),
                Err(error) if is_patience(error.kind()) => {
                    assert!(Instant::now() < end, "neither a packet nor an end; so far {:?}", self.read);
                }
                Err(_) => return None,
            }
        }
    }

    /// What the node says before it closes the connection.
    pub fn rest(&mut self) -> Vec<Packet> {
        std::iter::from_fn(|| self.next()).collect()
    }
}

fn is_patience(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted)
}

/// The first packet of `bytes` and its length, once it is there whole.
pub fn split(bytes: &[u8]) -> Option<(Packet, usize)> {
    let (mut length, mut at, mut unit) = (0, 1, 1);
    loop {
        let byte = usize::from(*bytes.get(at)?);
        length += (byte % 128) * unit;
        unit *= 128;
        at += 1;
        if byte < 128 {
            break;
        }
    }
    let body = bytes.get(at..at + length)?.to_vec();
    Some((Packet { kind: bytes[0] >> 4, body }, at + length))
}
