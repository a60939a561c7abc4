//! One device of the fleet, without its socket: it says samples, each with a `mid`, and says again over its next
//! connection, to whichever node, what was not acknowledged over the one before.

use std::collections::VecDeque;
use std::time::Duration;

use crate::bench::client::Counts;
use crate::bench::load::nanos;
use crate::bench::swarm::Speaks;
use crate::bench::wire::{self, Malformed, Packet, Publish, Splitter};

use super::judge::Ack;

/// What is sampled: the number of the sample, so that each can be told from each other.
pub(super) const CHANNEL: &str = "serial";
/// Where a node says why it refused.
const ERRORS: &str = "twins/me/errors";
/// Longer than the measurement: it finds by itself that a connection is dead.
const KEEP_ALIVE_S: u16 = 3_600;
/// How long it waits for an answer before it tries another node: longer than a shard may be without a leader.
const PATIENCE: Duration = Duration::from_secs(5);

/// A device. What it says waits in it until it is acknowledged.
pub(super) struct Device {
    number: usize,
    name: String,
    password: Option<String>,
    /// How many samples may be in flight.
    window: usize,
    state: State,
    splitter: Splitter,
    out: Vec<u8>,
    /// How much of `out` is sent.
    sent: usize,
    /// When its connection was begun.
    begun: u64,
    /// How many samples it has said.
    said: u64,
    /// Those that are not acknowledged, oldest first.
    open: VecDeque<Sample>,
    acks: Vec<Ack>,
    /// How often it said one again.
    again: u64,
    /// Why a connection ended; the last time.
    trouble: Option<String>,
}

/// A sample that is not acknowledged.
#[derive(Debug, Clone, Copy)]
struct Sample {
    serial: u64,
    /// When it was taken.
    due: u64,
    /// When it was written over the connection that is there.
    written: Option<u64>,
    is_repeated: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Connecting,
    Subscribing,
    Open,
    Closed,
}

impl Device {
    /// A device that is about to connect for the first time.
    pub(super) fn new(number: usize, name: &str, password: Option<&str>, window: u16) -> Self {
        let mut device = Self {
            number,
            name: name.to_owned(),
            password: password.map(str::to_owned),
            window: window.into(),
            state: State::Closed,
            splitter: Splitter::default(),
            out: Vec::new(),
            sent: 0,
            begun: 0,
            said: 0,
            open: VecDeque::new(),
            acks: Vec::new(),
            again: 0,
            trouble: None,
        };
        device.connect(0);
        device
    }

    /// Begins with a CONNECT; nothing is in flight.
    pub(super) fn connect(&mut self, now: u64) {
        self.state = State::Connecting;
        self.splitter = Splitter::default();
        self.out = wire::connect(&self.name, self.password.as_deref(), KEEP_ALIVE_S);
        (self.sent, self.begun) = (0, now);
        for sample in &mut self.open {
            sample.is_repeated |= sample.written.take().is_some();
        }
    }

    /// Takes a sample, which is sent when its turn comes.
    pub(super) fn say(&mut self, now: u64) {
        self.said += 1;
        self.open.push_back(Sample { serial: self.said, due: now, written: None, is_repeated: false });
    }

    /// Whether it has waited too long for an answer.
    pub(super) fn is_stuck(&self, now: u64) -> bool {
        let since = match self.state {
            State::Closed => None,
            State::Connecting | State::Subscribing => Some(self.begun),
            State::Open => self.open.front().and_then(|sample| sample.written),
        };
        since.is_some_and(|since| now.saturating_sub(since) > nanos(PATIENCE))
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn said(&self) -> u64 {
        self.said
    }

    pub(super) fn unacked(&self) -> usize {
        self.open.len()
    }

    pub(super) fn acks(&self) -> &[Ack] {
        &self.acks
    }

    pub(super) fn again(&self) -> u64 {
        self.again
    }

    pub(super) fn trouble(&self) -> Option<&str> {
        self.trouble.as_deref()
    }

    fn hear(&mut self, packet: &Packet<'_>, now: u64, counts: &mut Counts) {
        match *packet {
            Packet::ConnAck(0) => {
                self.state = State::Subscribing;
                self.out.extend(wire::subscribe(1, ERRORS, 0));
            }
            Packet::ConnAck(code) => self.close(&format!("CONNECT was refused with code {code}"), counts),
            Packet::SubAck(_) => self.state = State::Open,
            Packet::PubAck(id) => self.settle(id, now, counts),
            Packet::Publish { payload, .. } => counts.refused(&String::from_utf8_lossy(payload)),
            Packet::PubRec(_) | Packet::PubComp(_) | Packet::Pong => {
                self.close("it answered what was not asked", counts);
            }
        }
    }

    fn settle(&mut self, id: u16, now: u64, counts: &mut Counts) {
        let in_flight = |sample: &Sample| sample.written.is_some() && packet_id(sample.serial) == id;
        let Some(at) = self.open.iter().position(in_flight) else {
            return self.close("it acknowledged what was not sent", counts);
        };
        if let Some(Sample { serial, due, written: Some(written), .. }) = self.open.remove(at) {
            self.acks.push(Ack { device: self.number, serial, written, at: now });
            counts.acknowledged(due, now);
        }
    }
}

impl Speaks for Device {
    fn is_open(&self) -> bool {
        self.state == State::Open
    }

    fn is_closed(&self) -> bool {
        self.state == State::Closed
    }

    fn fill(&mut self, now: u64) {
        if self.state != State::Open {
            return;
        }
        // Acknowledgements come in order, so that those in flight are the first.
        let in_flight = self.open.iter().filter(|sample| sample.written.is_some()).count();
        let room = self.window.saturating_sub(in_flight);
        for sample in self.open.iter_mut().filter(|sample| sample.written.is_none()).take(room) {
            let topic = format!("twins/me/telemetry/{CHANNEL}?mid={}", sample.serial);
            let publish = Publish::fixed(&topic, sample.serial.to_string().as_bytes(), 1);
            publish.write(&mut self.out, packet_id(sample.serial), 0);
            sample.written = Some(now);
            self.again += u64::from(sample.is_repeated);
        }
    }

    fn out(&self) -> &[u8] {
        &self.out[self.sent..]
    }

    fn was_sent(&mut self, bytes: usize) {
        self.sent += bytes;
        if self.sent == self.out.len() {
            self.out.clear();
            self.sent = 0;
        }
    }

    fn take(&mut self, bytes: &[u8], now: u64, counts: &mut Counts) {
        let mut splitter = std::mem::take(&mut self.splitter);
        let taken = splitter.take(bytes, |packet| self.hear(&packet, now, counts));
        self.splitter = splitter;
        if taken == Err(Malformed) {
            self.close("it does not answer as MQTT 3.1.1 does", counts);
        }
    }

    /// Nothing is lost: what is open is said again.
    fn close(&mut self, why: &str, _: &mut Counts) {
        if self.state != State::Closed {
            self.state = State::Closed;
            self.trouble = Some(why.to_owned());
        }
    }
}

/// The packet id of a sample: as long as fewer than 65,535 are in flight, no two have the same.
fn packet_id(serial: u64) -> u16 {
    (serial % u64::from(u16::MAX)) as u16 + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    /// CONNACK and SUBACK.
    const LET_IN: &[u8] = b"\x20\x02\x00\x00\x90\x03\x00\x01\x00";

    fn bench() -> (Device, Counts) {
        (Device::new(3, "d", None, 2), Counts { from: 0, ..Counts::new() })
    }

    /// What it sends, with its topics and numbers readable.
    fn sent(device: &mut Device, now: u64) -> String {
        device.fill(now);
        let text = String::from_utf8_lossy(device.out()).into_owned();
        device.was_sent(device.out().len());
        text
    }

    fn puback(serial: u64) -> [u8; 4] {
        wire::acknowledgement(0x40, packet_id(serial))
    }

    #[test]
    fn a_sample_is_said_with_its_mid_when_the_device_is_let_in() {
        let (mut device, mut counts) = bench();
        device.say(10);
        assert!(!sent(&mut device, 10).contains("telemetry"));

        device.take(LET_IN, 20, &mut counts);
        let said = sent(&mut device, 30);
        device.take(&puback(1), 70, &mut counts);

        assert!(said.ends_with("twins/me/telemetry/serial?mid=1\0\u{2}1"), "{said:?}");
        assert_eq!(device.acks(), [Ack { device: 3, serial: 1, written: 30, at: 70 }]);
        assert_eq!((device.unacked(), counts.acked, device.again()), (0, 1, 0));
    }

    #[test]
    fn a_window_holds_samples_back_and_they_are_not_forgotten() {
        let (mut device, mut counts) = bench();
        device.take(LET_IN, 0, &mut counts);
        (0..3).for_each(|_| device.say(0));

        let said = sent(&mut device, 1);
        assert!(said.contains("?mid=2") && !said.contains("?mid=3"), "{said:?}");
        device.take(&puback(1), 2, &mut counts);

        assert!(sent(&mut device, 3).contains("?mid=3"));
    }

    #[test]
    fn what_was_not_acknowledged_is_said_again_over_the_next_connection_in_its_order() {
        let (mut device, mut counts) = bench();
        device.take(LET_IN, 0, &mut counts);
        (0..2).for_each(|_| device.say(0));
        let _lost = sent(&mut device, 1);
        device.take(&puback(1), 2, &mut counts);

        device.close("the target closed the connection", &mut counts);
        device.say(5);
        device.connect(10);
        device.take(LET_IN, 11, &mut counts);
        let said = sent(&mut device, 12);
        device.take(&[puback(2), puback(3)].concat(), 20, &mut counts);

        let (again, new) = (said.find("?mid=2"), said.find("?mid=3"));
        assert!(again.is_some() && again < new && !said.contains("?mid=1"), "{said:?}");
        assert_eq!((device.again(), device.unacked(), counts.errors), (1, 0, 0));
        assert_eq!(device.acks()[1], Ack { device: 3, serial: 2, written: 12, at: 20 }, "of the second time");
        assert_eq!(device.trouble(), Some("the target closed the connection"));
    }

    #[test]
    fn who_hears_nothing_for_too_long_is_stuck() {
        let (mut device, mut counts) = bench();
        let patience = nanos(PATIENCE);
        assert!(!device.is_stuck(patience) && device.is_stuck(patience + 1));

        device.take(LET_IN, 0, &mut counts);
        assert!(!device.is_stuck(2 * patience), "it waits for nothing");
        device.say(0);
        let _said = sent(&mut device, patience);
        assert!(!device.is_stuck(2 * patience) && device.is_stuck(2 * patience + 1));
        device.close("", &mut counts);
        assert!(!device.is_stuck(3 * patience), "it is about to connect again");
    }

    #[test]
    fn what_is_refused_or_makes_no_sense_is_not_passed_over() {
        let (mut device, mut counts) = bench();
        device.take(b"\x20\x02\x00\x05", 0, &mut counts);
        assert_eq!((device.is_closed(), device.trouble()), (true, Some("CONNECT was refused with code 5")));

        let (mut device, mut counts) = bench();
        device.take(LET_IN, 0, &mut counts);
        device.take(b"\x30\x06\x00\x01ewhy", 0, &mut counts);
        assert_eq!((counts.errors, counts.why.as_deref()), (1, Some("why")));
        device.take(&puback(9), 0, &mut counts);
        assert_eq!((device.is_closed(), device.trouble()), (true, Some("it acknowledged what was not sent")));
    }
}
