//! MQTT 3.1.1 as a load generator speaks it: packets made of templates, answers told apart without copies.
//!
//! It is written by hand for speed alone. A client library that allocates for each message uses more of the processor
//! than the node it is to measure; this writes a publish with one copy and two patches, and reads a PUBACK in four
//! bytes. It is no general client: what a broker never answers to these requests it does not know.

/// The largest packet that is taken from a broker.
const PACKET_BYTES_MAX: usize = 1 << 20;
/// The first value of the counter in a payload; it has as many digits for ever.
const COUNTER_FIRST: u64 = 1_000_000_000;
const COUNTER_DIGITS: usize = 10;
/// The smallest payload: `{"n":1000000000}`.
pub(super) const PAYLOAD_BYTES_MIN: usize = 6 + COUNTER_DIGITS;

pub(super) const PING: [u8; 2] = [0xC0, 0];

pub(super) const DISCONNECT: [u8; 2] = [0xE0, 0];

/// A CONNECT with a clean session; the username is the client id.
pub(super) fn connect(id: &str, password: Option<&str>, keep_alive_s: u16) -> Vec<u8> {
    let mut body = b"\x00\x04MQTT\x04".to_vec();
    body.push(if password.is_some() { 0xC2 } else { 0x82 });
    body.extend(keep_alive_s.to_be_bytes());
    text(&mut body, id);
    text(&mut body, id);
    if let Some(password) = password {
        text(&mut body, password);
    }
    packet(0x10, &body)
}

/// A SUBSCRIBE to one filter.
pub(super) fn subscribe(id: u16, filter: &str, qos: u8) -> Vec<u8> {
    let mut body = id.to_be_bytes().to_vec();
    text(&mut body, filter);
    body.push(qos);
    packet(0x82, &body)
}

/// A PUBLISH that is sent again and again, each time with another packet id and another number in it.
#[derive(Debug, Clone)]
pub(super) struct Publish {
    packet: Vec<u8>,
    /// Where the packet id is; QoS 0 has none.
    id_at: Option<usize>,
    /// Where the number is, if it has one.
    counter_at: Option<usize>,
}

impl Publish {
    /// A JSON object of `bytes`, at least [`PAYLOAD_BYTES_MIN`], with another number each time.
    pub(super) fn new(topic: &str, bytes: usize, qos: u8) -> Self {
        let payload = payload(bytes.max(PAYLOAD_BYTES_MIN), 0);
        let publish = Self::fixed(topic, &payload, qos);
        let counter_at = publish.packet.len() - payload.len() + b"{\"n\":".len();
        Self { counter_at: Some(counter_at), ..publish }
    }

    /// Always the same payload.
    pub(super) fn fixed(topic: &str, payload: &[u8], qos: u8) -> Self {
        let mut body = Vec::new();
        text(&mut body, topic);
        let id_at = (qos > 0).then_some(body.len());
        body.extend(id_at.map(|_| [0; 2]).iter().flatten());
        body.extend(payload);
        let packet = packet(0x30 | qos << 1, &body);
        let head = packet.len() - body.len();
        Self { packet, id_at: id_at.map(|at| head + at), counter_at: None }
    }

    /// Appends it.
    pub(super) fn write(&self, out: &mut Vec<u8>, id: u16, n: u64) {
        let at = out.len();
        out.extend_from_slice(&self.packet);
        let packet = &mut out[at..];
        if let Some(at) = self.id_at {
            packet[at..at + 2].copy_from_slice(&id.to_be_bytes());
        }
        let Some(at) = self.counter_at else { return };
        let mut counter = COUNTER_FIRST + n % (9 * COUNTER_FIRST);
        for digit in packet[at..at + COUNTER_DIGITS].iter_mut().rev() {
            *digit = b'0' + (counter % 10) as u8;
            counter /= 10;
        }
    }
}

/// What a broker says.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Packet<'a> {
    /// With its return code: 0 lets in.
    ConnAck(u8),
    /// With its return code: 0x80 refuses.
    SubAck(u8),
    PubAck(u16),
    PubRec(u16),
    PubComp(u16),
    /// With its packet id, unless it is QoS 0.
    Publish {
        id: Option<u16>,
        topic: &'a [u8],
        payload: &'a [u8],
    },
    Pong,
}

/// What came is not MQTT as it is asked for here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Malformed;

/// Tells packets apart in what was read; keeps the beginning of one that is not there whole.
#[derive(Debug, Default)]
pub(super) struct Splitter {
    begun: Vec<u8>,
}

impl Splitter {
    /// Gives each whole packet away.
    pub(super) fn take(&mut self, bytes: &[u8], mut give: impl FnMut(Packet<'_>)) -> Result<(), Malformed> {
        if self.begun.is_empty() {
            let used = split(bytes, &mut give)?;
            self.begun.extend_from_slice(&bytes[used..]);
            return Ok(());
        }
        self.begun.extend_from_slice(bytes);
        let used = split(&self.begun, &mut give)?;
        self.begun.drain(..used);
        Ok(())
    }
}

/// Gives the whole packets away; how many bytes those are.
fn split(bytes: &[u8], give: &mut impl FnMut(Packet<'_>)) -> Result<usize, Malformed> {
    let mut at = 0;
    while let Some(frame) = next(&bytes[at..])? {
        give(packet_of(frame.first, frame.body)?);
        at += frame.length;
    }
    Ok(at)
}

/// A packet that is there whole.
struct Frame<'a> {
    first: u8,
    /// What follows its length.
    body: &'a [u8],
    /// Of all of it.
    length: usize,
}

/// The first packet, if it is there whole.
fn next(bytes: &[u8]) -> Result<Option<Frame<'_>>, Malformed> {
    let (mut length, mut at) = (0, 1);
    loop {
        let Some(&byte) = bytes.get(at) else { return Ok(None) };
        length |= usize::from(byte & 0x7F) << (7 * (at - 1));
        at += 1;
        if byte < 0x80 {
            break;
        }
        if at > 4 {
            return Err(Malformed);
        }
    }
    if length > PACKET_BYTES_MAX {
        return Err(Malformed);
    }
    let body = bytes.get(at..at + length);
    Ok(body.map(|body| Frame { first: bytes[0], body, length: at + length }))
}

fn packet_of(first: u8, body: &[u8]) -> Result<Packet<'_>, Malformed> {
    let id = |at: usize| body.get(at..at + 2).map(|id| u16::from_be_bytes([id[0], id[1]])).ok_or(Malformed);
    let code = |at: usize| body.get(at).copied().ok_or(Malformed);
    Ok(match first >> 4 {
        2 => Packet::ConnAck(code(1)?),
        3 => {
            let topic_end = 2 + usize::from(id(0)?);
            let topic = body.get(2..topic_end).ok_or(Malformed)?;
            let (id, payload_at) =
                if first & 0b110 == 0 { (None, topic_end) } else { (Some(id(topic_end)?), topic_end + 2) };
            Packet::Publish { id, topic, payload: body.get(payload_at..).ok_or(Malformed)? }
        }
        4 => Packet::PubAck(id(0)?),
        5 => Packet::PubRec(id(0)?),
        7 => Packet::PubComp(id(0)?),
        9 => Packet::SubAck(code(2)?),
        13 => Packet::Pong,
        _ => return Err(Malformed),
    })
}

/// A packet of two bytes after its length: PUBACK 0x40, PUBREL 0x62.
pub(super) fn acknowledgement(first: u8, id: u16) -> [u8; 4] {
    let [high, low] = id.to_be_bytes();
    [first, 2, high, low]
}

/// A JSON object of `bytes`, at least [`PAYLOAD_BYTES_MIN`], with the nth number in it.
pub(super) fn payload(bytes: usize, n: u64) -> Vec<u8> {
    let (begin, end) = (format!("{{\"n\":{},\"pad\":\"", COUNTER_FIRST + n % (9 * COUNTER_FIRST)), "\"}");
    match bytes.checked_sub(begin.len() + end.len()) {
        Some(pad) => format!("{begin}{}{end}", "x".repeat(pad)).into_bytes(),
        // Too short for a member to fill it.
        None => format!("{}{}}}", &begin[..5 + COUNTER_DIGITS], " ".repeat(bytes - PAYLOAD_BYTES_MIN))
            .into_bytes(),
    }
}

fn packet(first: u8, body: &[u8]) -> Vec<u8> {
    let mut packet = vec![first];
    let mut length = body.len();
    loop {
        let more = if length >= 0x80 { 0x80 } else { 0 };
        packet.push((length & 0x7F) as u8 | more);
        length >>= 7;
        if more == 0 {
            break;
        }
    }
    packet.extend(body);
    packet
}

fn text(body: &mut Vec<u8>, text: &str) {
    let length = u16::try_from(text.len()).expect("the generator's names are short");
    body.extend(length.to_be_bytes());
    body.extend(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is given away when the bytes come in parts of this size.
    fn taken(bytes: &[u8], part: usize) -> Result<Vec<String>, Malformed> {
        let (mut splitter, mut packets) = (Splitter::default(), Vec::new());
        for part in bytes.chunks(part) {
            splitter.take(part, |packet| packets.push(format!("{packet:?}")))?;
        }
        Ok(packets)
    }

    #[test]
    fn answers_are_the_same_however_they_are_cut() {
        let mut bytes =
            b"\x20\x02\x00\x00\x90\x03\x00\x01\x80\x40\x02\x01\x02\x50\x02\x00\x03\x70\x02\x00\x03\xD0\x00"
                .to_vec();
        bytes.extend(packet(0x30, b"\x00\x01thello"));
        bytes.extend(packet(0x32, b"\x00\x01t\x00\x09hello"));

        let whole = taken(&bytes, bytes.len()).unwrap();

        assert_eq!(
            whole[..6],
            ["ConnAck(0)", "SubAck(128)", "PubAck(258)", "PubRec(3)", "PubComp(3)", "Pong"]
        );
        assert!(whole[7].starts_with("Publish { id: Some(9)"), "{whole:?}");
        for part in 1..bytes.len() {
            assert_eq!(taken(&bytes, part).unwrap(), whole, "in parts of {part}");
        }
    }

    #[test]
    fn what_is_no_answer_is_malformed() {
        for bytes in
            [&b"\x40\x01\x00"[..], b"\x20\x00", b"\x30\x02\x00\x09", b"\x40\xFF\xFF\xFF\xFF\x01", b"\x10\x00"]
        {
            assert_eq!(taken(bytes, bytes.len()), Err(Malformed), "{bytes:?}");
        }
    }

    #[test]
    fn a_publish_has_the_size_that_was_asked_for_and_a_number_of_its_own() {
        for bytes in [PAYLOAD_BYTES_MIN, 20, 24, 25, 300, 20_000] {
            for qos in 0..=2 {
                let publish = Publish::new("twins/me/reported", bytes, qos);
                let mut out = vec![1, 2];
                publish.write(&mut out, 7, 42);

                let Frame { first, body, length } = next(&out[2..]).unwrap().unwrap();
                assert_eq!((length, first), (publish.packet.len(), 0x30 | qos << 1));
                let Packet::Publish { id, topic, payload } = packet_of(first, body).unwrap() else {
                    panic!()
                };
                assert_eq!((id, topic), ((qos > 0).then_some(7), &b"twins/me/reported"[..]));
                assert_eq!(payload.len(), bytes);
                let payload: serde_json::Value = serde_json::from_slice(payload).unwrap();
                assert_eq!(payload["n"], 1_000_000_042);
            }
        }
    }
}
