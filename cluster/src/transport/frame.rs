//! Frames: what travels on a stream between two nodes, as bytes, and how they are read from whoever sends them.
//!
//! ```text
//! "TwfN" | version u8 | channel u8 | kind u8 | 0 u8 | length u32 | CRC-32 of bytes 4..12 and the body | body
//! ```
//!
//! Numbers are little-endian. The body of [`Kind::Messages`] is messages back to back, each `length u32 | bytes`; so all
//! that waits on a lane leaves in one frame. A frame's length is looked at before its body is, against the limit of its
//! channel, and memory is taken only for what has arrived: a length that lies costs nothing.
//!
//! A [`Decoder`] is given pieces as they come and knows no stream: the fuzz tests are its other driver.

use crate::wire::Lane;
use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::refusal::Refusal;

const MAGIC: [u8; 4] = *b"TwfN";
/// The length of a frame's head.
pub const HEAD_BYTES: usize = 16;
/// The version that frames have until two nodes have agreed on one, and that of the layout above.
pub const VERSION_FIRST: u8 = 1;
/// Pieces in which a body is read, and what is taken for one before any of it has arrived.
pub(super) const PIECE_BYTES: usize = 64 << 10;
/// What stands before each message of a frame.
const MESSAGE_HEAD_BYTES: usize = 4;
/// Messages up to this length are copied together; longer ones travel as they are.
const COPIED_MAX: usize = 4 << 10;

/// What a stream is for: a lane, or one bulk transfer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Channel {
    /// A lane, open as long as the connection.
    Lane(Lane),
    /// A bulk stream.
    Bulk,
}

/// What a frame says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Messages of those who use the wire.
    Messages,
    /// Who this is: the first on the pulse, both ways.
    Hello,
    /// The other side is believed; from now on its messages are heard.
    Welcome,
    /// A sign of life with the clock and the durable number.
    Ping,
    /// What a bulk stream is: its first frame.
    Opening,
    /// The answer to a bulk stream that was taken.
    Taken,
    /// The answer to one that was not, with the reason as text.
    NotTaken,
}

/// A whole frame, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// What it says.
    pub kind: Kind,
    /// Its body.
    pub body: Bytes,
}

impl Channel {
    fn code(self) -> u8 {
        match self {
            Self::Lane(Lane::Pulse) => 0,
            Self::Lane(Lane::Log) => 1,
            Self::Lane(Lane::Forward) => 2,
            Self::Bulk => 3,
        }
    }

    /// The longest body on it.
    pub fn body_bytes_max(self) -> usize {
        match self {
            Self::Lane(Lane::Pulse) | Self::Bulk => 1 << 20,
            Self::Lane(Lane::Forward) => 4 << 20,
            // An entry of a log is at most about 17 MiB.
            Self::Lane(Lane::Log) => 64 << 20,
        }
    }

    /// The longest message that it can carry.
    pub fn message_bytes_max(self) -> usize {
        self.body_bytes_max() - MESSAGE_HEAD_BYTES
    }
}

impl Kind {
    const ALL: [Self; 7] =
        [Self::Messages, Self::Hello, Self::Welcome, Self::Ping, Self::Opening, Self::Taken, Self::NotTaken];

    fn code(self) -> u8 {
        self as u8
    }

    fn of(code: u8) -> Option<Self> {
        Self::ALL.get(usize::from(code)).copied()
    }

    /// The longest body of this kind, whatever its channel allows.
    fn body_bytes_max(self) -> usize {
        match self {
            Self::Messages | Self::Taken => usize::MAX,
            Self::Hello | Self::Welcome | Self::Ping | Self::NotTaken => 4 << 10,
            Self::Opening => 64 << 10,
        }
    }

    /// Whether a frame of this kind may come on that channel.
    fn is_on(self, channel: Channel) -> bool {
        match self {
            Self::Messages => channel != Channel::Bulk,
            Self::Hello | Self::Welcome | Self::Ping => channel == Channel::Lane(Lane::Pulse),
            Self::Opening | Self::Taken | Self::NotTaken => channel == Channel::Bulk,
        }
    }
}

/// One frame with that body.
pub fn whole(version: u8, channel: Channel, kind: Kind, body: &[u8]) -> Bytes {
    let mut out = BytesMut::with_capacity(HEAD_BYTES + body.len());
    out.put_slice(&head(version, channel, kind, [body]));
    out.put_slice(body);
    out.freeze()
}

/// What one message adds to a frame.
pub(super) fn message_bytes(message: &Bytes) -> usize {
    MESSAGE_HEAD_BYTES + message.len()
}

/// One frame of messages, as the pieces to write. Their sum is at most what the channel allows.
pub fn of_messages(version: u8, channel: Channel, messages: &[Bytes]) -> Vec<Bytes> {
    let mut pieces = vec![Bytes::new()];
    let mut small = BytesMut::new();
    for message in messages {
        let length = u32::try_from(message.len()).expect("the queue took only what fits into a frame");
        small.put_u32_le(length);
        if message.len() <= COPIED_MAX {
            small.put_slice(message);
        } else {
            pieces.push(small.split().freeze());
            pieces.push(message.clone());
        }
    }
    if !small.is_empty() {
        pieces.push(small.freeze());
    }
    let head = head(version, channel, Kind::Messages, pieces.iter().map(|piece| &piece[..]));
    pieces[0] = Bytes::copy_from_slice(&head);
    pieces
}

fn head<'a>(
    version: u8,
    channel: Channel,
    kind: Kind,
    body: impl IntoIterator<Item = &'a [u8], IntoIter: Clone>,
) -> [u8; HEAD_BYTES] {
    let body = body.into_iter();
    let length = body.clone().map(<[u8]>::len).sum::<usize>();
    let mut head = [0; HEAD_BYTES];
    head[..4].copy_from_slice(&MAGIC);
    head[4..8].copy_from_slice(&[version, channel.code(), kind.code(), 0]);
    head[8..12].copy_from_slice(&u32::try_from(length).expect("a body is within its limit").to_le_bytes());
    let mut sum = crc32fast::Hasher::new();
    sum.update(&head[4..12]);
    body.for_each(|piece| sum.update(piece));
    head[12..].copy_from_slice(&sum.finalize().to_le_bytes());
    head
}

/// The messages of a frame's body. All of it is looked at first, so that nothing of a malformed frame is heard.
pub fn messages(body: Bytes) -> Result<impl Iterator<Item = Bytes>, Refusal> {
    let mut rest = &body[..];
    while !rest.is_empty() {
        let length = rest.try_get_u32_le().map_err(|_| Refusal::Malformed("a message without a length"))?;
        match usize::try_from(length) {
            Ok(1..) if length as usize <= rest.len() => rest.advance(length as usize),
            _ => return Err(Refusal::Malformed("a message that is empty, or longer than its frame")),
        }
    }
    let mut rest = body;
    Ok(std::iter::from_fn(move || {
        let length = rest.try_get_u32_le().ok()?;
        Some(rest.split_to(length as usize))
    }))
}

/// Puts the frames of one stream together.
#[derive(Debug)]
pub struct Decoder {
    channel: Channel,
    version: u8,
    head: [u8; HEAD_BYTES],
    /// How much of the head is there; all of it while a body is being read.
    headed: usize,
    body: BytesMut,
}

impl Decoder {
    /// For a stream of that channel, whose frames have that version.
    pub fn new(channel: Channel, version: u8) -> Self {
        Self { channel, version, head: [0; HEAD_BYTES], headed: 0, body: BytesMut::new() }
    }

    /// The two nodes have agreed: frames have this version from now on.
    pub fn agreed(&mut self, version: u8) {
        self.version = version;
    }

    /// Whether the stream may end here.
    pub fn is_between_frames(&self) -> bool {
        self.headed == 0
    }

    /// Takes from `piece`, up to the end of a frame, and returns that frame. `None`: all was taken, and more is needed.
    ///
    /// # Errors
    /// When it is no frame that may come here. Nothing more can be read of the stream.
    pub fn feed(&mut self, piece: &mut Bytes) -> Result<Option<Frame>, Refusal> {
        if self.headed < HEAD_BYTES {
            let taken = piece.split_to(piece.len().min(HEAD_BYTES - self.headed));
            self.head[self.headed..][..taken.len()].copy_from_slice(&taken);
            self.headed += taken.len();
            if self.headed < HEAD_BYTES {
                return Ok(None);
            }
            let (_, length) = self.check_head()?;
            self.body.reserve(if length <= piece.len() { 0 } else { length.min(PIECE_BYTES) });
        }
        let (kind, length) = self.check_head()?;
        let missing = length - self.body.len();
        let taken = piece.split_to(piece.len().min(missing));
        let body = match taken.len() == missing {
            true if self.body.is_empty() => taken,
            is_whole => {
                self.body.extend_from_slice(&taken);
                if !is_whole {
                    return Ok(None);
                }
                self.body.split().freeze()
            }
        };
        let mut sum = crc32fast::Hasher::new();
        sum.update(&self.head[4..12]);
        sum.update(&body);
        if sum.finalize().to_le_bytes() != self.head[12..] {
            return Err(Refusal::Damaged);
        }
        self.headed = 0;
        Ok(Some(Frame { kind, body }))
    }

    /// What the head says, if that may come here.
    fn check_head(&self) -> Result<(Kind, usize), Refusal> {
        let [version, channel, kind, zero] = [self.head[4], self.head[5], self.head[6], self.head[7]];
        if self.head[..4] != MAGIC {
            return Err(Refusal::Malformed("something that is not a frame"));
        }
        if version != self.version {
            return Err(Refusal::Malformed("a frame of another version than the one agreed on"));
        }
        if channel != self.channel.code() || zero != 0 {
            return Err(Refusal::Malformed("a frame on the wrong stream"));
        }
        let kind = Kind::of(kind).filter(|kind| kind.is_on(self.channel));
        let kind = kind.ok_or(Refusal::Malformed("a frame of a kind that does not belong there"))?;
        let length = u32::from_le_bytes(self.head[8..12].try_into().expect("these are four bytes"));
        let max = self.channel.body_bytes_max().min(kind.body_bytes_max());
        match usize::try_from(length) {
            Ok(bytes) if bytes <= max => Ok((kind, bytes)),
            _ => Err(Refusal::TooLarge { bytes: u64::from(length), max: max as u64 }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: Channel = Channel::Lane(Lane::Log);

    fn decoded(mut bytes: Bytes) -> Result<Vec<Frame>, Refusal> {
        let mut decoder = Decoder::new(LOG, VERSION_FIRST);
        let mut frames = Vec::new();
        while let Some(frame) = decoder.feed(&mut bytes)? {
            frames.push(frame);
        }
        Ok(frames)
    }

    #[test]
    fn messages_of_any_size_come_out_of_a_frame_as_they_went_in() {
        let sent: Vec<_> = [1, 4_096, 4_097, 100_000, 7].map(|n: usize| Bytes::from(vec![n as u8; n])).into();

        let bytes = of_messages(VERSION_FIRST, LOG, &sent).concat();
        let frames = decoded(bytes.into()).unwrap();

        let [frame] = &frames[..] else { panic!("{} frames", frames.len()) };
        assert_eq!(messages(frame.body.clone()).unwrap().collect::<Vec<_>>(), sent);
    }

    #[test]
    fn the_bytes_of_a_frame_are_these() {
        let bytes = of_messages(VERSION_FIRST, LOG, &[Bytes::from_static(b"hi")]).concat();

        assert_eq!(&bytes[..12], b"TwfN\x01\x01\x00\x00\x06\x00\x00\x00");
        assert_eq!(&bytes[12..16], crc32fast::hash(&[&bytes[4..12], &bytes[16..]].concat()).to_le_bytes());
        assert_eq!(&bytes[16..], b"\x02\x00\x00\x00hi");
    }

    #[test]
    fn a_length_that_lies_takes_no_memory() {
        let mut head = whole(VERSION_FIRST, LOG, Kind::Messages, &[1]).to_vec();
        head[8..12].copy_from_slice(&(64_u32 << 20).to_le_bytes());
        let mut decoder = Decoder::new(LOG, VERSION_FIRST);

        let frame = decoder.feed(&mut head.into()).unwrap();

        assert_eq!(frame, None);
        assert!(decoder.body.capacity() <= 2 * PIECE_BYTES);
    }

    #[test]
    fn what_is_longer_than_its_channel_allows_is_refused_by_its_head() {
        let mut head = whole(VERSION_FIRST, LOG, Kind::Messages, &[]).to_vec();
        head[8..12].copy_from_slice(&u32::MAX.to_le_bytes());

        let refused = decoded(head.into()).unwrap_err();

        assert_eq!(refused, Refusal::TooLarge { bytes: u64::from(u32::MAX), max: 64 << 20 });
    }

    #[test]
    fn a_flipped_bit_is_found() {
        let mut bytes = of_messages(VERSION_FIRST, LOG, &[Bytes::from_static(b"hello")]).concat();
        bytes[HEAD_BYTES + 6] ^= 1;

        assert_eq!(decoded(bytes.into()).unwrap_err(), Refusal::Damaged);
    }

    #[test]
    fn an_empty_message_is_refused_and_so_is_one_that_goes_past_its_frame() {
        for body in [&b"\x00\x00\x00\x00"[..], b"\x01\x00\x00\x00", b"\x01\x00"] {
            assert!(messages(Bytes::copy_from_slice(body)).is_err(), "{body:?}");
        }
    }
}
