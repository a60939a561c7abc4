//! What an operator may set of MQTT.

use std::num::{NonZeroU16, NonZeroU32, NonZeroUsize};
use std::time::Duration;

use twins::handshake::HELD_MAX;

/// What a packet may have beside its payload: topic, properties, and a client's name and password.
const OVERHEAD_BYTES: usize = 4 << 10;

/// What an unanswered packet takes beside its payload: its topic, its place in the queue and in the shard.
const ENTRY_BYTES: usize = 1 << 10;
/// The topics that a client may name by numbers: 8 of at most 1 KiB, and one of 64 KiB, which ends the connection.
const ALIASES_BYTES: usize = 72 << 10;
/// A twin with sections of full size, all of whose members have times.
const DOCUMENT_BYTES: usize = 4 << 20;
/// The most that is read at once.
pub(super) const READ_BYTES: usize = 64 << 10;
/// The bytes of all that a device was told and has not acknowledged. More than a twin has in flight, so that only a
/// device that asks for documents and calls methods without ever acknowledging the answers gets here.
pub(super) const UNACKNOWLEDGED_BYTES_MAX: usize = 8 << 20;
/// Past so many bytes that are not written yet, answers wait: a question is far smaller than the document that answers
/// it.
pub(super) const UNWRITTEN_BYTES_MAX: usize = 256 << 10;

/// Limits of MQTT.
///
/// The memory of one connection is at most [`connection_bytes_max`](Self::connection_bytes_max): with the defaults 22
/// MiB for a device that never acknowledges what it asks for, and 2 MiB for one that only speaks. An idle connection has
/// none of it: about 4 KiB with its task, and 28 KiB more with TLS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// How many connections there may be at once; one more is closed as soon as it is accepted. Default 50,000, which
    /// is 200 MB when all are idle. Where the system grants fewer file descriptors, it is three quarters of those that
    /// are not kept for files.
    pub connections_max: NonZeroUsize,
    /// How many connections begin a second. The others are accepted and not read before their turn, those of the next 5 s;
    /// the rest waits in the system's queue, and what does not fit there is tried again by their TCP. Default 1,000. Too
    /// small lets a fleet wait for long after a restart; too large lets those who come back delay the answers to those who
    /// are there.
    pub connects_per_s: NonZeroU32,
    /// How long a connection may take to send its CONNECT. Default 10 s. Too short cuts off slow links; too long lets
    /// anybody hold connections for nothing.
    pub connect_timeout: Duration,
    /// The largest payload in bytes. Default 256 KiB. A packet of 4 KiB more is refused by its header, before it is read.
    pub payload_bytes: usize,
    /// How many packets of a device may be unanswered at once: the receive maximum of MQTT 5. Past it nothing more is
    /// read, whatever the version and the quality of service, and the keep-alive stands still. Default 256. Too small
    /// makes a device wait for each commit; larger costs memory and little else. Of messages of QoS 2 that are not
    /// [released](twins::handshake::HELD_MAX), there may be 1,024.
    pub in_flight_max: NonZeroU16,
    /// How many bytes of payload may be unanswered at once; past it nothing more is read. Default 1 MiB.
    pub in_flight_bytes_max: usize,
    /// How long an answer may take, retries included, and how long the device may take to read one. Then the connection
    /// is closed with a reason. Default 20 s. Too short gives up on a shard that would have recovered.
    pub answer_timeout: Duration,
    /// How long a session of MQTT 5 is kept without a connection, at most; a client that asks for longer is told. Default
    /// 30 days. (3.1.1 cannot be told: its sessions are kept until there are
    /// [too many](twins::session::KEPT_MAX).) Too short makes devices that are away for long hear everything anew; too
    /// long keeps the sessions of those that never return.
    pub session_expiry_max: Duration,
    /// The longest keep-alive, also for clients that ask for none; MQTT 5 tells them. Default 20 min. (A client of 3.1.1
    /// keeps what it asked for, since it cannot be told.) A device that vanished is taken for present half as long
    /// again, but no longer than `vanished_timeout`.
    pub keep_alive_max: Duration,
    /// How long the other end of a TCP connection may give no sign of life, whatever the keep-alive of MQTT: the system
    /// asks for one from half of the time on. Default 10 min. Too short wakes radios that sleep, and cuts off links that
    /// pause; too long takes devices for present that are gone.
    pub vanished_timeout: Duration,
    /// How long the ends of connections may take at [`stop`](super::Listener::stop), before they are cut off. Default
    /// 5 s.
    pub stop_timeout: Duration,
}

impl Options {
    /// The memory of one connection in bytes, at worst. What it said: one packet that has not arrived whole, one read
    /// that waits, what is in flight (`in_flight_bytes_max`, one packet more, and 1 KiB for each of `in_flight_max`
    /// packets) and topic aliases. What it is told: 8 MiB that it has not acknowledged and one document of 4 MiB, twice
    /// while they are written, and answers of 256 KiB.
    #[must_use]
    pub fn connection_bytes_max(&self) -> usize {
        let packet = self.payload_bytes + OVERHEAD_BYTES;
        let in_flight =
            self.in_flight_bytes_max + packet + usize::from(self.in_flight_max.get()) * ENTRY_BYTES;
        let said = packet + READ_BYTES + in_flight + ALIASES_BYTES;
        let told = 2 * (UNACKNOWLEDGED_BYTES_MAX + DOCUMENT_BYTES) + UNWRITTEN_BYTES_MAX;
        said + told
    }

    /// The largest packet, in bytes.
    pub(super) fn packet_bytes_max(&self) -> u32 {
        u32::try_from(self.payload_bytes + OVERHEAD_BYTES).unwrap_or(u32::MAX)
    }

    /// The receive maximum that clients are told.
    pub(super) fn receive_max(&self) -> u16 {
        self.in_flight_max.get().min(u16::try_from(HELD_MAX).unwrap_or(u16::MAX))
    }

    /// Seconds, of which the last value means for ever.
    pub(super) fn session_expiry_max_s(&self) -> u32 {
        u32::try_from(self.session_expiry_max.as_secs()).unwrap_or(u32::MAX)
    }
}

impl Default for Options {
    fn default() -> Self {
        Self {
            connections_max: const { NonZeroUsize::new(50_000).unwrap() },
            connects_per_s: const { NonZeroU32::new(1_000).unwrap() },
            connect_timeout: Duration::from_secs(10),
            payload_bytes: 256 << 10,
            in_flight_max: const { NonZeroU16::new(256).unwrap() },
            in_flight_bytes_max: 1 << 20,
            answer_timeout: Duration::from_secs(20),
            session_expiry_max: Duration::from_secs(30 * 24 * 60 * 60),
            keep_alive_max: Duration::from_secs(20 * 60),
            vanished_timeout: Duration::from_secs(10 * 60),
            stop_timeout: Duration::from_secs(5),
        }
    }
}
