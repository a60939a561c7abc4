//! MQTT by hand: the packets of a client, and those of a server taken apart.

pub(super) const CONNACK: u8 = 2;
pub(super) const PUBLISH: u8 = 3;
pub(super) const PUBACK: u8 = 4;
pub(super) const PUBREC: u8 = 5;
pub(super) const PUBREL: u8 = 6;
pub(super) const PUBCOMP: u8 = 7;
pub(super) const SUBACK: u8 = 9;
pub(super) const UNSUBACK: u8 = 11;
pub(super) const PINGRESP: u8 = 13;
pub(super) const DISCONNECT: u8 = 14;

pub(super) struct Connect<'a> {
    pub(super) v5: bool,
    pub(super) client: &'a str,
    pub(super) username: &'a str,
    pub(super) clean: bool,
    pub(super) keep_alive: u16,
    /// Of MQTT 5, as bytes.
    pub(super) properties: &'a [u8],
    pub(super) will: Option<(&'a str, &'a str)>,
}

impl Default for Connect<'_> {
    fn default() -> Self {
        let (client, username) = ("c", "t-1");
        Self { v5: true, client, username, clean: true, keep_alive: 60, properties: &[], will: None }
    }
}

impl Connect<'_> {
    pub(super) fn bytes(&self) -> Vec<u8> {
        let mut body = vec![0, 4, b'M', b'Q', b'T', b'T', if self.v5 { 5 } else { 4 }];
        let will = if self.will.is_some() { 0b0000_1100 } else { 0 };
        body.push(0b1000_0000 | will | if self.clean { 0b10 } else { 0 });
        body.extend(self.keep_alive.to_be_bytes());
        if self.v5 {
            body.push(u8::try_from(self.properties.len()).unwrap());
            body.extend(self.properties);
        }
        text(&mut body, self.client);
        if let Some((topic, payload)) = self.will {
            if self.v5 {
                body.push(0);
            }
            text(&mut body, topic);
            text(&mut body, payload);
        }
        text(&mut body, self.username);
        packet(0x10, &body)
    }
}

/// A publish with QoS 1, or with QoS 0 where `id` is 0.
pub(super) fn publish(v5: bool, topic: &str, payload: &[u8], id: u16) -> Vec<u8> {
    publish_with(if v5 { Some(&[]) } else { None }, topic, payload, id)
}

/// A publish with the properties of MQTT 5.
pub(super) fn publish_with(properties: Option<&[u8]>, topic: &str, payload: &[u8], id: u16) -> Vec<u8> {
    let mut body = Vec::new();
    text(&mut body, topic);
    if id > 0 {
        body.extend(id.to_be_bytes());
    }
    if let Some(properties) = properties {
        body.push(u8::try_from(properties.len()).unwrap());
        body.extend(properties);
    }
    body.extend(payload);
    packet(if id > 0 { 0x32 } else { 0x30 }, &body)
}

pub(super) fn subscribe(v5: bool, id: u16, filters: &[(&str, u8)]) -> Vec<u8> {
    let mut body = id.to_be_bytes().to_vec();
    if v5 {
        body.push(0);
    }
    for (filter, qos) in filters {
        text(&mut body, filter);
        body.push(*qos);
    }
    packet(0x82, &body)
}

pub(super) fn unsubscribe(v5: bool, id: u16, filters: &[&str]) -> Vec<u8> {
    let mut body = id.to_be_bytes().to_vec();
    if v5 {
        body.push(0);
    }
    filters.iter().for_each(|filter| text(&mut body, filter));
    packet(0xA2, &body)
}

/// A publish with QoS 2.
pub(super) fn publish_2(v5: bool, topic: &str, payload: &[u8], id: u16) -> Vec<u8> {
    let mut bytes = publish(v5, topic, payload, id);
    bytes[0] = 0x34;
    bytes
}

pub(super) fn puback(id: u16) -> Vec<u8> {
    packet(0x40, &id.to_be_bytes())
}

pub(super) fn disconnect() -> Vec<u8> {
    packet(0xE0, &[])
}

pub(super) fn ping() -> Vec<u8> {
    packet(0xC0, &[])
}

pub(super) fn packet(first: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first];
    let mut length = body.len();
    loop {
        let more = length >= 128;
        bytes.push((length % 128) as u8 | if more { 0x80 } else { 0 });
        length /= 128;
        if !more {
            break;
        }
    }
    bytes.extend(body);
    bytes
}

fn text(body: &mut Vec<u8>, text: &str) {
    body.extend(u16::try_from(text.len()).unwrap().to_be_bytes());
    body.extend(text.as_bytes());
}

/// A packet of the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Packet {
    first: u8,
    body: Vec<u8>,
    v5: bool,
}

impl Packet {
    pub(super) fn kind(&self) -> u8 {
        self.first >> 4
    }

    /// The reason code, or what stands in its place in 3.1.1.
    pub(super) fn reason(&self) -> u8 {
        let at = match self.kind() {
            CONNACK => 1,
            PUBACK | PUBREC | PUBCOMP => 2,
            _ => 0,
        };
        self.body.get(at).copied().unwrap_or(0)
    }

    /// The reason codes of a SUBACK or UNSUBACK.
    pub(super) fn reasons(&self) -> &[u8] {
        let properties = if self.v5 { 1 + usize::from(self.body[2]) } else { 0 };
        &self.body[2 + properties..]
    }

    /// The packet id of an acknowledgement or of a message with QoS 1.
    pub(super) fn id(&self) -> u16 {
        let at = if self.kind() == PUBLISH { 2 + self.topic().len() } else { 0 };
        u16::from_be_bytes([self.body[at], self.body[at + 1]])
    }

    /// It is said to be a repetition.
    pub(super) fn is_again(&self) -> bool {
        self.first & 8 != 0
    }

    pub(super) fn qos(&self) -> u8 {
        (self.first >> 1) & 3
    }

    pub(super) fn topic(&self) -> &str {
        let length = usize::from(u16::from_be_bytes([self.body[0], self.body[1]]));
        std::str::from_utf8(&self.body[2..2 + length]).unwrap()
    }

    pub(super) fn payload(&self) -> &str {
        let mut at = 2 + self.topic().len() + if self.qos() > 0 { 2 } else { 0 };
        if self.v5 {
            at += 1 + usize::from(self.body[at]);
        }
        std::str::from_utf8(&self.body[at..]).unwrap()
    }

    pub(super) fn body(&self) -> &[u8] {
        &self.body
    }
}

/// Takes apart what a server wrote: whole packets only.
pub(super) fn split(mut bytes: &[u8], v5: bool) -> Vec<Packet> {
    let mut packets = Vec::new();
    while !bytes.is_empty() {
        let (mut length, mut at, mut unit) = (0, 1, 1);
        loop {
            let byte = usize::from(bytes[at]);
            length += (byte % 128) * unit;
            unit *= 128;
            at += 1;
            if byte < 128 {
                break;
            }
        }
        packets.push(Packet { first: bytes[0], body: bytes[at..at + length].to_vec(), v5 });
        bytes = &bytes[at + length..];
    }
    packets
}
