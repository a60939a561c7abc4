//! The session step: MQTT without I/O. Bytes, mail and time go in; bytes, inputs and an end come out.
//!
//! ```text
//! received(bytes) ─┐                        ┌─> bytes to write, then `written`
//! mail(replies,    ├─> Session ─> Actions ──┼─> inputs to submit, then `mail`
//!      deliveries) │                        ├─> random bytes to make, then `challenged`
//!                  │                        ├─> a login to present, then `admitted`
//!                  │                        ├─> applications for a key to make, then `applied`
//! timeout(now)    ─┘                        └─> responses to hand on, then `responded`
//! ```
//!
//! The life of a session: silent until its CONNECT, admitted or not, connecting until its twin has committed that,
//! connected, and ending until the twin has heard of its end. What is said is a [`Queue`] in the order it was said;
//! acknowledgements leave in that order, each when the twin has committed the input.

mod acknowledge;
mod answer;
mod challenge;
mod close;
mod codec;
mod connect;
mod credentials;
mod deliver;
mod filter;
mod login;
mod outbox;
mod packet;
mod pause;
mod publish;
mod queue;
mod reason;
mod refusal;
mod subscribe;
mod topic;
mod will;

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Buf, Bytes};
use runtime::mailbox::Mail;
use runtime::path::step;
use runtime::router::{Response, Submission};
use twins::header::{Header, Mark, Principal, Transport};
use twins::id::TwinId;
use twins::input::Input;
use twins::json::Json;
use twins::name::Name;
use twins::session::Subscription;
use twins::trust::Proof;

use super::Options;
use crate::quotas::Account;
use answer::{Own, Then};
use challenge::Again;
use codec::Codec;
use credentials::Application;
use login::Rights;
use outbox::Outbox;
use packet::{Connect, Packet};
use pause::Pauses;
use queue::Queue;
use reason::Reason;

pub(super) use close::End;
pub(super) use login::{Admitted, Login};

/// Where a connection is, and what it is called if its client does not say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Origin {
    /// The node and its generation.
    pub(super) node: (u64, u64),
    /// The way it came.
    pub(super) transport: Transport,
    /// The client's address.
    pub(super) address: Name,
    /// The same without the port.
    pub(super) ip: IpAddr,
    /// The client id of a client that gives none.
    pub(super) client: Name,
}

/// What is to be done now. All of it, in this order.
#[derive(Debug, Default)]
pub(super) struct Actions {
    /// To be presented; the answer goes to [`Session::admitted`].
    pub(super) login: Option<Login>,
    /// Random bytes are to be made; they go to [`Session::challenged`].
    pub(super) challenge: bool,
    /// To be submitted; the answers come by mail.
    pub(super) submissions: Vec<Submission>,
    /// To be made; what comes of each goes to [`Session::applied`].
    pub(super) applications: Vec<Application>,
    /// To be handed on; whether anybody still waited goes to [`Session::responded`].
    pub(super) responses: Vec<Respond>,
    /// To be written; then [`Session::written`] is called.
    pub(super) bytes: Vec<u8>,
    /// The socket is to be closed.
    pub(super) close: bool,
}

/// A device's answer to a request.
#[derive(Debug)]
pub(super) struct Respond {
    pub(super) token: u64,
    pub(super) twin: TwinId,
    pub(super) id: Name,
    pub(super) response: Response,
}

/// One connection's protocol.
pub(super) struct Session {
    options: Arc<Options>,
    origin: Origin,
    /// What the client showed in the handshake, its own certificate first.
    certificates: Arc<[Bytes]>,
    codec: Codec,
    phase: Phase,
    device: Option<Device>,
    /// What it takes is taken of this.
    account: Option<Account>,
    /// What a client said at first that was let in by a challenge.
    method: Option<Box<Connect>>,
    /// How far it is with that, where it authenticates anew.
    again: Option<Again>,
    /// What was read and has to wait: at most one read.
    unread: Bytes,
    /// When the client was accepted, last heard, or began to be heard again.
    heard: Instant,
    keep_alive: Option<Duration>,
    pauses: Pauses,
    queue: Queue<Then, Own>,
    outbox: Outbox,
    subscriptions: Vec<Subscription>,
    /// The client's packet ids of QoS 2 that it has not released, and whether they came over this connection.
    unreleased: HashMap<u16, bool>,
    actions: Actions,
    end: Option<End>,
    /// The node stops: nothing more is read, and what was said may be answered until then.
    draining: Option<Instant>,
}

#[derive(Debug)]
enum Phase {
    /// No CONNECT yet.
    Silent,
    /// The client is asked for an answer, since a time.
    Challenged {
        connect: Box<Connect>,
        random: Option<[u8; 32]>,
        since: Instant,
    },
    /// The login is being presented.
    Admitting(Box<Connect>),
    /// The twin is being told.
    Connecting(Box<Connect>),
    Connected,
    /// The socket is closed or about to be; the twin is being told, but no longer than this.
    Ending(Instant),
    Over,
}

/// The device of an admitted connection.
#[derive(Debug)]
struct Device {
    twin: TwinId,
    client: Name,
    principal: Principal,
    /// What it has proved.
    proof: Proof,
    rights: Rights,
    /// The connection's number, given by the twin.
    epoch: u64,
    /// The number of the last input.
    n: u64,
    /// Its session outlives the connection.
    kept: bool,
}

impl Session {
    /// A connection from `origin`, accepted `now`.
    pub(super) fn new(options: Arc<Options>, origin: Origin, now: Instant) -> Self {
        let codec = Codec::new(options.packet_bytes_max());
        Self {
            options,
            origin,
            certificates: Arc::default(),
            codec,
            phase: Phase::Silent,
            device: None,
            account: None,
            method: None,
            again: None,
            unread: Bytes::new(),
            heard: now,
            keep_alive: None,
            pauses: Pauses::default(),
            queue: Queue::new(),
            outbox: Outbox::default(),
            subscriptions: Vec::new(),
            unreleased: HashMap::new(),
            actions: Actions::default(),
            end: None,
            draining: None,
        }
    }

    /// The client has shown these certificates before it said anything.
    pub(super) fn shown(&mut self, certificates: Arc<[Bytes]>) {
        self.certificates = certificates;
    }

    /// Whether more may be read now.
    pub(super) fn listens(&self) -> bool {
        self.unread.is_empty() && self.has_room()
    }

    /// Takes one whole read. To be called while it [`listens`](Self::listens).
    pub(super) fn received(&mut self, now: Instant, bytes: &[u8]) {
        // Who has not sent a whole CONNECT gains no time by its parts.
        if !matches!(self.phase, Phase::Silent) {
            self.heard = now;
        }
        let taken = self.parse(now, bytes);
        self.hold(Bytes::copy_from_slice(&bytes[taken..]));
        self.go_on(now);
    }

    /// Takes the mail, and leaves `mail` empty.
    pub(super) fn mail(&mut self, now: Instant, mail: &mut Vec<Mail>) {
        for mail in mail.drain(..) {
            match mail {
                Mail::Reply { token, outcome } => {
                    self.queue.answer(now, token, outcome);
                    self.settle(now);
                }
                Mail::Delivery { epoch, what } => self.deliver(now, epoch, what),
                Mail::Redelivery { epoch, what } => self.deliver_again(now, epoch, what),
                Mail::Again => self.hurry(now),
            }
        }
        self.go_on(now);
    }

    /// Another node leads the twin's shard now: what was not taken is handed over again at once.
    fn hurry(&mut self, now: Instant) {
        self.queue.hurry(now);
        if let Some(device) = &self.device {
            self.actions.submissions.extend(self.queue.again(now, &device.twin));
        }
    }

    /// A response was handed on; `waited` says whether anybody still waited for it.
    pub(super) fn responded(&mut self, now: Instant, token: u64, waited: bool) {
        self.queue.answer_own(token, Own::Heard(waited));
        self.go_on(now);
    }

    /// What came of an application for a key.
    pub(super) fn applied(&mut self, now: Instant, token: u64, reply: Json) {
        self.queue.answer_own(token, Own::Said(reply));
        self.go_on(now);
    }

    /// The bytes of the last actions are written.
    pub(super) fn written(&mut self, now: Instant) {
        for message in self.outbox.written() {
            self.tell(now, Input::Acknowledge(message), Then::Nothing);
        }
        self.go_on(now);
    }

    /// When to call [`timeout`](Self::timeout), at the latest.
    pub(super) fn next_timeout(&self) -> Option<Instant> {
        let deadline = match &self.phase {
            Phase::Silent => Some(self.heard + self.options.connect_timeout),
            Phase::Challenged { since, .. } => Some(*since + self.options.connect_timeout),
            Phase::Admitting(_) | Phase::Connecting(_) => self.queue.deadline(self.options.answer_timeout),
            Phase::Connected => {
                let quiet =
                    self.keep_alive.filter(|_| self.listens()).map(|keep_alive| self.heard + keep_alive);
                [self.queue.deadline(self.options.answer_timeout), quiet].into_iter().flatten().min()
            }
            Phase::Ending(until) => Some(*until),
            Phase::Over => None,
        };
        let draining = self.draining.filter(|_| matches!(self.phase, Phase::Connected));
        [deadline, self.queue.pause(), self.pauses.until, draining].into_iter().flatten().min()
    }

    /// Time has passed.
    pub(super) fn timeout(&mut self, now: Instant) {
        if let Some(device) = &self.device {
            self.actions.submissions.extend(self.queue.again(now, &device.twin));
        }
        self.resume(now);
        match &self.phase {
            Phase::Silent if self.heard + self.options.connect_timeout <= now => {
                self.close(now, Reason::Protocol, "no CONNECT in time");
            }
            Phase::Challenged { since, .. } if *since + self.options.connect_timeout <= now => {
                self.close(now, Reason::Protocol, "no answer to the challenge in time");
            }
            Phase::Connected if self.draining.is_some_and(|until| until <= now) => self.drained(now),
            Phase::Admitting(_) | Phase::Connecting(_) | Phase::Connected => self.give_up(now),
            Phase::Ending(until) if *until <= now => self.phase = Phase::Over,
            Phase::Silent | Phase::Challenged { .. } | Phase::Ending(_) | Phase::Over => {}
        }
    }

    /// What is to be done now; to be asked after each step until there is nothing.
    pub(super) fn actions(&mut self) -> Actions {
        std::mem::take(&mut self.actions)
    }

    /// How many packets came and went since this was last asked.
    pub(super) fn packets(&mut self) -> [u64; 2] {
        std::mem::take(&mut self.codec.packets)
    }

    /// Whether nothing is left to do.
    pub(super) fn is_over(&self) -> bool {
        matches!(self.phase, Phase::Over)
    }

    /// The device and its connection's number, once there is one.
    pub(super) fn who(&self) -> Option<(&TwinId, &Name, u64)> {
        self.device.as_ref().map(|device| (&device.twin, &device.client, device.epoch))
    }

    /// Why it ended, once it has.
    pub(super) fn end(&self) -> Option<&End> {
        self.end.as_ref()
    }

    /// Whether packets are taken now: what is in flight, and how fast it comes, is bounded whatever the client does.
    fn has_room(&self) -> bool {
        matches!(self.phase, Phase::Silent | Phase::Challenged { random: Some(_), .. } | Phase::Connected)
            && self.draining.is_none()
            && self.pauses.until.is_none()
            && self.queue.len() < usize::from(self.options.in_flight_max.get())
            && self.queue.bytes() < self.options.in_flight_bytes_max
    }

    /// Takes packets while there is room; returns how many bytes were taken.
    fn parse(&mut self, now: Instant, bytes: &[u8]) -> usize {
        let mut rest = bytes;
        while !rest.is_empty() && self.has_room() {
            let before = rest.len();
            let read = self.codec.read(&mut rest, &mut self.actions.bytes);
            let (whole, length) = (u64::from(read.is_some()), before - rest.len());
            let until = self.account.as_ref().and_then(|account| account.take(now, whole, length));
            self.pauses.until(until);
            match read {
                None => {}
                Some(Ok(packet)) => {
                    let twin = self.device.as_ref().map(|device| tracing::field::display(&device.twin));
                    let span = step!("2.packet", twin);
                    span.in_scope(|| self.take(now, packet));
                }
                Some(Err(reason)) => self.close(now, reason, ""),
            }
        }
        bytes.len() - rest.len()
    }

    fn take(&mut self, now: Instant, packet: Packet) {
        if let (Phase::Challenged { .. }, false) = (&self.phase, packet.is_of_authentication()) {
            return self.close(now, Reason::Protocol, "the challenge is to be answered first");
        }
        match packet {
            Packet::Connect(connect) => self.connect(now, connect),
            Packet::Publish(publish) => self.publish(now, publish),
            Packet::Puback { id, refused } => self.acknowledged(now, id, refused),
            Packet::Pubrec { id, refused } => self.recorded(now, id, refused),
            Packet::Pubrel(id) => self.released(now, id),
            Packet::Pubcomp(id) => self.completed(now, id),
            Packet::Subscribe(subscribe) => self.subscribe(now, subscribe),
            Packet::Unsubscribe { id, filters } => self.unsubscribe(now, id, filters),
            Packet::Ping => {}
            Packet::Disconnect { with_will, expiry_s } => self.disconnected(now, with_will, expiry_s),
            Packet::Auth(auth) => self.authenticate(now, auth),
            Packet::Other(name) => self.close(now, Reason::Protocol, &format!("{name} has no place here")),
        }
    }

    /// Gives the answers whose turn it is, and takes what was waiting for them.
    fn go_on(&mut self, now: Instant) {
        self.settle(now);
        while !self.unread.is_empty() && self.has_room() {
            // While it did not listen the client could not be heard.
            self.heard = now;
            let mut unread = std::mem::take(&mut self.unread);
            let taken = self.parse(now, &unread);
            unread.advance(taken);
            self.hold(unread);
            self.settle(now);
        }
    }

    /// Keeps what has to wait; what follows the end of a connection is nothing.
    fn hold(&mut self, unread: Bytes) {
        if !matches!(self.phase, Phase::Ending(_) | Phase::Over) {
            self.unread = unread;
        }
    }

    /// An input of this session, in its place.
    fn tell(&mut self, now: Instant, input: Input, then: Then) {
        self.tell_at(now, input, Header::default(), then);
    }

    /// An input of this session, in its place, with what its header has beside that.
    fn tell_at(&mut self, now: Instant, input: Input, header: Header, then: Then) {
        let Some(device) = &mut self.device else { return };
        device.n += 1;
        let mark = Some(Mark { epoch: device.epoch, n: device.n });
        self.submit(now, input, Header { mark, ..header }, then);
    }

    /// An input without a place: it changes nothing, or is about the session itself.
    fn submit(&mut self, now: Instant, input: Input, header: Header, then: Then) {
        let Some(device) = &self.device else { return };
        let (principal, transport) = (device.principal.clone(), self.origin.transport);
        let header = Header { principal, transport, ..header };
        self.actions.submissions.extend(self.queue.push(now, &device.twin, (header, input), then));
    }
}
