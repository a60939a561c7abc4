//! The sessions of a device: they live with its twin, so that a gateway holds no truth.
//!
//! A session is (device, client id). It has an epoch for each connection; inputs of an ended epoch are refused. A
//! session that was asked to be kept outlives its connection, with its subscriptions, with what the device has
//! acknowledged and with the handshakes of QoS 2, until its expiry.

use std::time::Duration;

use crate::handshake::Handshakes;
use crate::header::Transport;
use crate::name::Name;
use crate::time::Timestamp;
use crate::trust::Proof;
use crate::will::Will;

/// How many connections a device may have at once.
pub const CONNECTIONS_MAX: usize = 4;
/// How many sessions without a connection are kept; the one that was connected longest ago goes first.
pub const KEPT_MAX: usize = 8;
/// How many subscriptions a session may have.
pub const SUBSCRIPTIONS_MAX: usize = 32;
/// How many desired messages a session may have unacknowledged. Past it, changes wait and are told together.
pub const DESIRED_IN_FLIGHT_MAX: usize = 16;

/// A session.
#[derive(Debug, Clone, PartialEq, Eq, minicbor::Encode, minicbor::Decode)]
pub struct Session {
    /// The client id.
    #[n(0)]
    pub client: Name,
    /// The number of its newest connection among all connections of the twin: later is newer.
    #[n(1)]
    pub epoch: u64,
    /// The number of the last input that this epoch has had.
    #[n(2)]
    pub n: u64,
    /// Whether it outlives its connection.
    #[n(3)]
    pub kept: bool,
    /// Its connection, while there is one.
    #[n(4)]
    pub connection: Option<Connection>,
    /// What it listens to.
    #[n(5)]
    pub subscriptions: Vec<Subscription>,
    /// Which desired version it knows.
    #[n(6)]
    pub desired: Known,
    /// When its last connection began or ended.
    #[n(7)]
    pub since: Timestamp,
    /// What is open of QoS 2; absent while nothing is.
    #[n(8)]
    pub handshakes: Option<Box<Handshakes>>,
    /// What is to be said when the connection ends without a goodbye.
    #[n(9)]
    pub will: Option<Box<Will>>,
    /// How many seconds a kept session outlives its connection; absent is for ever.
    #[n(10)]
    pub expiry_s: Option<u32>,
    /// When it ends, while it is without a connection.
    #[n(11)]
    pub ends: Option<Timestamp>,
    /// What its newest connection proved of the device.
    #[n(12)]
    pub proof: Proof,
}

/// A connection, and the gateway that holds it.
#[derive(Debug, Clone, PartialEq, Eq, minicbor::Encode, minicbor::Decode)]
pub struct Connection {
    /// The node whose gateway holds it.
    #[n(0)]
    pub node: u64,
    /// That node's generation: a later one has ended this connection.
    #[n(1)]
    pub generation: u64,
    /// The way it came.
    #[n(2)]
    pub transport: Transport,
    /// The device's address.
    #[n(3)]
    pub address: Name,
}

/// Something a session listens to. A filter with a wildcard that selects several things is several subscriptions.
#[derive(Debug, Clone, PartialEq, Eq, minicbor::Encode, minicbor::Decode)]
pub struct Subscription {
    /// The topic filter as the client spelled it.
    #[n(0)]
    pub filter: Name,
    /// What it selects.
    #[n(1)]
    pub topic: Topic,
    /// At which quality of service: 0, 1 or 2.
    #[n(2)]
    pub qos: u8,
    /// The number that the client wants to see on what comes by it.
    #[n(3)]
    pub identifier: Option<u32>,
}

/// What a device can listen to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, minicbor::Encode, minicbor::Decode)]
#[cbor(index_only)]
pub enum Topic {
    /// Desired changes.
    #[n(0)]
    Desired,
    /// Commands.
    #[n(1)]
    Commands,
    /// Requests that wait for an answer.
    #[n(2)]
    Requests,
    /// Answers of methods.
    #[n(3)]
    Methods,
    /// The twin's document, where asked for.
    #[n(4)]
    Document,
    /// Why a publish was refused.
    #[n(5)]
    Errors,
    /// What was asked about the device's own credentials.
    #[n(6)]
    Credentials,
}

/// Which version of the desired section a session knows.
#[derive(Debug, Clone, PartialEq, Eq, Default, minicbor::Encode, minicbor::Decode)]
pub struct Known {
    /// The last version that the device acknowledged.
    #[n(0)]
    pub acknowledged: Option<u64>,
    /// The versions sent on this connection that it has not acknowledged, oldest first.
    #[n(1)]
    pub in_flight: Vec<u64>,
    /// Up to this version, what was told on this connection was too large to be sent, or told on top of that: the next
    /// version is told anew.
    #[n(2)]
    pub unsent: Option<u64>,
}

impl Subscription {
    /// Whether `newer` is the same subscription, made again.
    pub fn is_replaced_by(&self, newer: &Self) -> bool {
        self.filter == newer.filter && self.topic == newer.topic
    }
}

impl Known {
    /// A version was not sent. What was told on top of it, the client cannot have understood; and where that counted as
    /// known already, under QoS 0, nothing is known of what it has.
    pub(crate) fn unsend(&mut self, version: u64) {
        self.unsent = self.told().max(Some(version));
        self.in_flight.retain(|sent| *sent < version);
        self.acknowledged = self.acknowledged.filter(|acknowledged| *acknowledged < version);
    }

    /// The newest version that was told, acknowledged or not.
    pub fn told(&self) -> Option<u64> {
        self.in_flight.last().copied().or(self.acknowledged)
    }
}

impl Session {
    /// The subscription that selects `topic`, the best one where there are several.
    pub fn subscription(&self, topic: Topic) -> Option<&Subscription> {
        self.subscriptions.iter().filter(|subscription| subscription.topic == topic).max_by_key(|s| s.qos)
    }

    /// The client's packet ids that are held.
    pub fn held(&self) -> &[u16] {
        self.handshakes.as_ref().map_or(&[], |handshakes| handshakes.held())
    }

    /// About how much memory it takes, in bytes.
    pub(crate) fn bytes(&self) -> usize {
        let handshakes = self.handshakes.as_ref();
        let handshakes = handshakes.map_or(0, |all| 64 + 2 * all.held().len() + 40 * all.open().len());
        let will = self.will.as_ref().map_or(0, |will| 128 + will.bytes());
        240 + 80 * self.subscriptions.len() + handshakes + will
    }

    /// Changes the handshakes. A session without any keeps none.
    pub(crate) fn shake(&mut self, change: impl FnOnce(&mut Handshakes)) {
        let mut handshakes = self.handshakes.take().unwrap_or_default();
        change(&mut handshakes);
        self.handshakes = Some(handshakes).filter(|handshakes| !handshakes.is_empty());
    }

    /// When time alone changes it.
    fn next_due(&self) -> Option<Timestamp> {
        let will = self.will.as_ref().and_then(|will| will.due);
        let proof = self.connection.as_ref().and_then(|_| self.proof.ends());
        [self.ends, will, proof].into_iter().flatten().min()
    }
}

/// All sessions of a twin. Cheap to clone while there are few, which there are.
#[derive(Debug, Clone, PartialEq, Eq, Default, minicbor::Encode, minicbor::Decode)]
pub struct Sessions {
    #[n(0)]
    all: Vec<Session>,
    /// The last epoch given out.
    #[n(1)]
    epoch: u64,
    /// When a connection ended last, whether its session was kept or not.
    #[n(2)]
    ended: Option<Timestamp>,
}

impl Sessions {
    /// All, connected and kept.
    pub fn iter(&self) -> impl Iterator<Item = &Session> {
        self.all.iter()
    }

    /// Those with a connection.
    pub fn connected(&self) -> impl Iterator<Item = &Session> {
        self.all.iter().filter(|session| session.connection.is_some())
    }

    /// The session of a client id.
    pub fn of(&self, client: &str) -> Option<&Session> {
        self.all.iter().find(|session| session.client.as_str() == client)
    }

    /// The session whose connection has this epoch.
    pub fn at(&self, epoch: u64) -> Option<&Session> {
        self.connected().find(|session| session.epoch == epoch)
    }

    /// The newest connection that listens to `topic`. One that has shown no more than an activation key hears nothing of
    /// the twin.
    pub fn newest(&self, topic: Topic) -> Option<&Session> {
        let listens = |session: &&Session| {
            session.subscription(topic).is_some() && !session.proof.is_of_activation()
        };
        self.connected().filter(listens).max_by_key(|session| session.epoch)
    }

    /// When a connection ended last.
    pub fn last_ended(&self) -> Option<Timestamp> {
        self.ended
    }

    /// The epoch of the next connection.
    pub(crate) fn next_epoch(&self) -> u64 {
        self.epoch + 1
    }

    /// No session, but the epochs go on: those of an earlier generation never mean a later one's.
    pub(crate) fn ended(&self) -> Self {
        Self { epoch: self.epoch, ..Self::default() }
    }

    /// When time alone changes one of them.
    pub(crate) fn next_due(&self) -> Option<Timestamp> {
        self.all.iter().filter_map(Session::next_due).min()
    }

    /// The session whose will is to be said by now.
    pub(crate) fn will_due(&self, now: Timestamp) -> Option<u64> {
        let is_due = |session: &&Session| session.will.as_ref().is_some_and(|w| w.due.is_some_and(|due| due <= now));
        self.all.iter().find(is_due).map(|session| session.epoch)
    }

    /// The sessions whose time is over by now.
    pub(crate) fn expired(&self, now: Timestamp) -> Vec<u64> {
        let over = self.all.iter().filter(|session| session.ends.is_some_and(|ends| ends <= now));
        over.map(|session| session.epoch).collect()
    }

    /// The session that has to go because there are too many without a connection.
    pub(crate) fn crowded_out(&self) -> Option<u64> {
        let kept = || self.all.iter().filter(|session| session.connection.is_none());
        let oldest = kept().map(|session| session.epoch).min();
        oldest.filter(|_| kept().count() > KEPT_MAX)
    }

    pub(crate) fn at_mut(&mut self, epoch: u64) -> Option<&mut Session> {
        self.known_mut(epoch).filter(|session| session.connection.is_some())
    }

    /// The session whose newest connection has this epoch, or had it.
    pub(crate) fn known(&self, epoch: u64) -> Option<&Session> {
        self.all.iter().find(|session| session.epoch == epoch)
    }

    pub(crate) fn known_mut(&mut self, epoch: u64) -> Option<&mut Session> {
        self.all.iter_mut().find(|session| session.epoch == epoch)
    }

    /// A connection begins: in the kept session of its client id, or in a new one.
    pub(crate) fn connect(&mut self, connect: &Connect, at: Timestamp) {
        self.epoch += 1;
        let before = self.all.iter().position(|session| session.client == connect.client);
        let before = before.map(|index| self.all.remove(index)).filter(|_| connect.resumes);
        let (subscriptions, acknowledged, handshakes) = before.map_or_else(Default::default, |session| {
            (session.subscriptions, session.desired.acknowledged, session.handshakes)
        });
        self.all.push(Session {
            client: connect.client.clone(),
            epoch: self.epoch,
            n: 0,
            kept: connect.keep,
            connection: Some(connect.connection.clone()),
            subscriptions,
            desired: Known { acknowledged, ..Known::default() },
            since: at,
            handshakes,
            will: connect.will.clone(),
            expiry_s: connect.expiry_s,
            ends: None,
            proof: connect.proof.clone(),
        });
    }

    /// A connection ends; its session stays where it is kept.
    pub(crate) fn disconnect(&mut self, epoch: u64, at: Timestamp) {
        let Some(session) = self.at_mut(epoch) else { return };
        session.connection = None;
        session.since = at;
        session.desired.in_flight = Vec::new();
        session.desired.unsent = None;
        session.ends = session.expiry_s.map(|expiry_s| at + Duration::from_secs(expiry_s.into()));
        self.ended = Some(at);
        self.all.retain(|session| session.connection.is_some() || session.kept);
    }

    /// A session without a connection is no more.
    pub(crate) fn end(&mut self, epoch: u64) {
        self.all.retain(|session| session.epoch != epoch || session.connection.is_some());
    }
}

/// A connection that begins.
#[derive(Debug, Clone, PartialEq, Eq, minicbor::Encode, minicbor::Decode)]
pub struct Connect {
    /// The client id.
    #[n(0)]
    pub client: Name,
    /// Whether the session is to outlive the connection.
    #[n(1)]
    pub keep: bool,
    /// Whether it goes on with a kept session, if there is one.
    #[n(2)]
    pub resumes: bool,
    /// Where it is.
    #[n(3)]
    pub connection: Connection,
    /// How many seconds a kept session outlives the connection; absent is for ever.
    #[n(4)]
    pub expiry_s: Option<u32>,
    /// What is to be said when it ends without a goodbye.
    #[n(5)]
    pub will: Option<Box<Will>>,
    /// What was proved of the device.
    #[n(6)]
    pub proof: Proof,
}
