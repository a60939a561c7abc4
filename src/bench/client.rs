//! One connection of a load, without its socket: what it sends when, and what it makes of the answers.
//!
//! In a closed loop it keeps a window of messages in flight. In an open loop each message has a time at which it is
//! meant to be sent, whatever became of those before; its latency counts from then, so that a target that stalls is
//! not spared what would have come meanwhile (what is known as coordinated omission).

use super::latency::Latencies;
use super::swarm::Speaks;
use super::wire::{self, Malformed, Packet, Publish, Splitter};

/// Past so many unsent bytes nothing more is made: the target is slower than the load.
const OUT_BYTES_MAX: usize = 128 << 10;
/// Longer than any measurement.
const KEEP_ALIVE_S: u16 = 3_600;
/// Where a node says why it refused; a broker has nothing there.
const ERRORS: &str = "twins/me/errors";
const TOPIC: &str = "twins/me/reported";
/// What a thermostat says when its room is cold and when it is hot, and what its twin answers it with: the heater is
/// to be on, or off.
const SAMPLES: &str = "twins/me/telemetry/temperature";
const ROOMS: [&[u8]; 2] = [b"18.0", b"25.0"];
const COMMANDS: &str = "twins/me/commands";
/// What has to come before the next sample: the sample's acknowledgement, the command, and the acknowledgement of what
/// the device says about it. They are the bits of [`Client::cycle`].
const SAMPLE: u8 = 1;
const COMMAND: u8 = 2;
const OUTCOME: u8 = 4;
/// The packet ids of a sample and of an outcome.
const SAMPLE_ID: u16 = 1;
const OUTCOME_ID: u16 = 2;

/// What a client says.
#[derive(Debug, Clone, Copy)]
pub(super) struct Speech {
    pub(super) qos: u8,
    /// How many messages may be in flight.
    pub(super) window: u16,
    /// The payload's size in bytes.
    pub(super) payload: usize,
    pub(super) about: About,
}

/// What a client speaks about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum About {
    /// It reports; what it said is done when it is acknowledged.
    Reports,
    /// A thermostat that samples its room; what it said is done when its twin's command has come.
    Loop,
}

/// When a client speaks. Times are nanoseconds since the load began.
#[derive(Debug, Clone, Copy)]
pub(super) enum Pace {
    Silent,
    /// Whenever its window has room.
    Closed,
    /// The first message at a time, then one each so often.
    Open {
        first: u64,
        every: f64,
    },
}

/// What came of all messages of a load.
#[derive(Debug, Clone)]
pub(super) struct Counts {
    /// Sent, and acknowledged, while it was measured.
    pub(super) acked: u64,
    /// Refused, or lost with their connection.
    pub(super) errors: u64,
    /// Of the messages that were to be sent since the measurement began.
    pub(super) latencies: Latencies,
    /// Why something was refused or lost; the first of them.
    pub(super) why: Option<String>,
    /// From when to when is measured.
    pub(super) from: u64,
    pub(super) until: u64,
}

/// A connection.
pub(super) struct Client {
    publish: Publish,
    /// What it says every second time, where that is something else.
    other: Option<Publish>,
    speech: Speech,
    pace: Pace,
    state: State,
    splitter: Splitter,
    out: Vec<u8>,
    /// How much of `out` is sent.
    sent: usize,
    /// Packet ids that are not in flight.
    free: Vec<u16>,
    /// When the message with each packet id was sent, or was to be.
    at: Vec<u64>,
    /// When those of QoS 0 were, that the ping in flight ends.
    burst: Vec<u64>,
    /// How many it has sent, or tried to.
    n: u64,
    /// How many of its subscriptions are not granted yet.
    ungranted: usize,
    /// What has come of the sample in flight.
    cycle: u8,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Connecting,
    Subscribing,
    Open,
    Closed,
}

impl Client {
    /// A client that begins with its CONNECT.
    pub(super) fn new(name: &str, password: Option<&str>, speech: Speech) -> Self {
        let window = usize::from(speech.window);
        let with_ids = speech.qos > 0;
        Self {
            publish: match speech.about {
                About::Reports => Publish::new(TOPIC, speech.payload, speech.qos),
                About::Loop => Publish::fixed(SAMPLES, ROOMS[0], speech.qos),
            },
            other: (speech.about == About::Loop).then(|| Publish::fixed(SAMPLES, ROOMS[1], speech.qos)),
            speech,
            pace: Pace::Silent,
            state: State::Connecting,
            splitter: Splitter::default(),
            out: wire::connect(name, password, KEEP_ALIVE_S),
            sent: 0,
            free: if with_ids { (1..=speech.window).rev().collect() } else { Vec::new() },
            at: if with_ids { vec![0; window + 1] } else { Vec::new() },
            burst: if with_ids { Vec::new() } else { Vec::with_capacity(window) },
            n: 0,
            ungranted: 0,
            cycle: 0,
        }
    }

    /// A client that speaks without listening: it never hears that it is let in, and goes on.
    pub(super) fn deaf(name: &str, password: Option<&str>, speech: Speech) -> Self {
        Self { state: State::Open, ..Self::new(name, password, speech) }
    }

    pub(super) fn set_pace(&mut self, pace: Pace) {
        self.pace = pace;
        self.n = 0;
    }

    /// How many messages have no answer yet.
    pub(super) fn in_flight(&self) -> u64 {
        let with_ids = self.at.len().saturating_sub(1) - self.free.len();
        (with_ids + self.burst.len()) as u64
    }

    /// QoS 0 has no answers. A ping after each window has one, which says that what came before was read.
    fn fill_burst(&mut self, now: u64) {
        if !self.burst.is_empty() {
            return;
        }
        while self.burst.len() < usize::from(self.speech.window)
            && self.out.len() < OUT_BYTES_MAX
            && let Some(at) = self.due(now)
        {
            self.burst.push(at);
            self.publish.write(&mut self.out, 0, self.n);
            self.n += 1;
        }
        if !self.burst.is_empty() {
            self.out.extend_from_slice(&wire::PING);
        }
    }

    /// When the next message is to be sent, if it is by now.
    fn due(&self, now: u64) -> Option<u64> {
        match self.pace {
            Pace::Silent => None,
            Pace::Closed => Some(now),
            Pace::Open { first, every } => {
                let at = first + (self.n as f64 * every) as u64;
                (at <= now).then_some(at)
            }
        }
    }

    fn hear(&mut self, packet: &Packet<'_>, now: u64, counts: &mut Counts) {
        match *packet {
            Packet::PubAck(SAMPLE_ID) if self.speech.about == About::Loop => self.turn(SAMPLE),
            Packet::PubAck(OUTCOME_ID) if self.speech.about == About::Loop => self.turn(OUTCOME),
            Packet::PubAck(id) | Packet::PubComp(id) => self.settle(id, now, counts),
            Packet::PubRec(id) => self.out.extend_from_slice(&wire::acknowledgement(0x62, id)),
            Packet::Pong => self.burst.drain(..).for_each(|at| counts.acknowledged(at, now)),
            Packet::ConnAck(0) => {
                self.state = State::Subscribing;
                self.out.extend(wire::subscribe(1, ERRORS, 0));
                self.ungranted = 1;
                if self.speech.about == About::Loop {
                    self.out.extend(wire::subscribe(2, COMMANDS, 1));
                    self.ungranted = 2;
                }
            }
            Packet::ConnAck(code) => self.close(&format!("CONNECT was refused with code {code}"), counts),
            Packet::SubAck(_) => {
                self.ungranted = self.ungranted.saturating_sub(1);
                if self.ungranted == 0 {
                    self.state = State::Open;
                }
            }
            Packet::Publish { id, topic, payload } => {
                // What is not acknowledged would stop coming.
                if let Some(id) = id {
                    self.out.extend_from_slice(&wire::acknowledgement(0x40, id));
                }
                match topic == COMMANDS.as_bytes() {
                    true => self.obey(payload, now, counts),
                    false => counts.refused(&String::from_utf8_lossy(payload)),
                }
            }
        }
    }

    /// A command has come, which is what the sample was sent for; it is done at once.
    fn obey(&mut self, command: &[u8], now: u64, counts: &mut Counts) {
        let id = String::from_utf8_lossy(command);
        let id = id.split("\"id\":\"").nth(1).and_then(|rest| rest.split('"').next()).unwrap_or_default();
        let outcome = Publish::fixed(&format!("{COMMANDS}/{id}/done"), b"{}", 1);
        outcome.write(&mut self.out, OUTCOME_ID, 0);
        if let Some(&at) = self.at.get(usize::from(SAMPLE_ID)).filter(|_| self.cycle & COMMAND == 0) {
            counts.acknowledged(at, now);
        }
        self.turn(COMMAND);
    }

    /// A step of the cycle from a sample to the next; they come in any order.
    fn turn(&mut self, step: u8) {
        self.cycle |= step;
        if self.cycle == SAMPLE | COMMAND | OUTCOME && self.free.is_empty() {
            self.cycle = 0;
            self.free.push(SAMPLE_ID);
        }
    }

    fn settle(&mut self, id: u16, now: u64, counts: &mut Counts) {
        let known = self.at.get(usize::from(id)).copied().filter(|_| id > 0);
        match known {
            Some(at) if self.free.len() < usize::from(self.speech.window) => {
                self.free.push(id);
                counts.acknowledged(at, now);
            }
            _ => self.close("it acknowledged what was not sent", counts),
        }
    }
}

impl Speaks for Client {
    fn is_open(&self) -> bool {
        self.state == State::Open
    }

    fn is_closed(&self) -> bool {
        self.state == State::Closed
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

    fn fill(&mut self, now: u64) {
        if self.state != State::Open {
            return;
        }
        if self.speech.qos == 0 {
            return self.fill_burst(now);
        }
        while self.out.len() < OUT_BYTES_MAX
            && let Some(at) = self.due(now)
            && let Some(id) = self.free.pop()
        {
            self.at[usize::from(id)] = at;
            let publish = self.other.as_ref().filter(|_| self.n % 2 == 1).unwrap_or(&self.publish);
            publish.write(&mut self.out, id, self.n);
            self.n += 1;
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

    /// What is in flight is lost.
    fn close(&mut self, why: &str, counts: &mut Counts) {
        if self.state == State::Closed {
            return;
        }
        self.state = State::Closed;
        counts.errors += self.in_flight();
        counts.refused(why);
    }
}

impl Counts {
    pub(super) fn new() -> Self {
        Self { acked: 0, errors: 0, latencies: Latencies::new(), why: None, from: u64::MAX, until: u64::MAX }
    }

    pub(super) fn acknowledged(&mut self, at: u64, now: u64) {
        // What was to be sent before is no part of the measurement, however late it is acknowledged.
        if at < self.from {
            return;
        }
        self.latencies.record_ns(now.saturating_sub(at), 1);
        if now < self.until {
            self.acked += 1;
        }
    }

    pub(super) fn refused(&mut self, why: &str) {
        self.errors += 1;
        self.why.get_or_insert_with(|| why.to_owned());
    }

    pub(super) fn add(&mut self, other: Self) {
        self.acked += other.acked;
        self.errors += other.errors;
        self.latencies.add(&other.latencies);
        self.why = self.why.take().or(other.why);
    }
}

#[cfg(test)]
mod tests;
