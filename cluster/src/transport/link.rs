//! A link: one connection to one node, from the hello to the end.
//!
//! Both sides say hello on the pulse, judge the other's, and say welcome. Only then is the node reached, and its messages
//! are heard. From there each lane has one task that reads and one that writes; the first that ends, for whatever
//! reason, ends all, and when the last has ended the node is lost. So a link's messages all lie between the two.

use bytes::Bytes;
use quinn::{Connection, SendStream};
use std::io;
use std::sync::Arc;
use tokio::task::{JoinError, JoinSet};
use tokio::time::timeout;

use super::Shared;
use super::authority::{self, Fingerprint, Name};
use super::bulk;
use super::frame::{self, Channel, Frame, Kind, VERSION_FIRST};
use super::hello::{Hello, Ping, Shown};
use super::lane::{LANES, Queue, Traffic};
use super::peers::Place;
use super::refusal::Refusal;
use super::stream::{Ended, Frames};
use crate::wire::{BulkWrite, Contact, Hears, Lane, NotSent};

const PULSE: Channel = Channel::Lane(Lane::Pulse);

/// A connection to a node that is let in.
#[derive(Debug)]
pub(super) struct Link {
    /// What it has said of itself.
    pub(super) hello: Hello,
    /// The certificate that it showed.
    pub(super) fingerprint: Fingerprint,
    /// What both speak.
    version: u8,
    connection: Connection,
    lanes: [Queue; 3],
}

/// A link that is about to begin.
pub(super) struct Greeted {
    link: Arc<Link>,
    pulse: (SendStream, Frames),
    place: Place,
}

impl Link {
    pub(super) fn contact(&self) -> Contact {
        self.hello.contact()
    }

    pub(super) fn send(&self, lane: Lane, message: Bytes) -> Result<(), NotSent> {
        self.lane(lane).put(message)
    }

    pub(super) fn traffic(&self, lane: Lane) -> Traffic {
        self.lane(lane).traffic()
    }

    pub(super) async fn bulk(self: Arc<Self>, what: Bytes) -> io::Result<Box<dyn BulkWrite>> {
        bulk::open(self.connection.clone(), self.version, what).await
    }

    pub(super) fn refuse(&self, why: &Refusal) {
        why.close(&self.connection);
    }

    pub(super) fn address(&self) -> std::net::SocketAddr {
        self.connection.remote_address()
    }

    fn lane(&self, lane: Lane) -> &Queue {
        let place = LANES.iter().position(|listed| *listed == lane).expect("each lane is listed");
        &self.lanes[place]
    }
}

/// Says hello and hears it, both within the time for it. The caller closes the connection with what it is refused with.
pub(super) async fn greet(
    shared: &Arc<Shared>,
    connection: &Connection,
    dialled: bool,
) -> Result<Greeted, Ended> {
    let patience = shared.options.patience;
    let greeted = timeout(patience, exchange(shared, connection, dialled)).await;
    greeted.unwrap_or(Err(Refusal::Late(patience).into()))
}

async fn exchange(shared: &Arc<Shared>, connection: &Connection, dialled: bool) -> Result<Greeted, Ended> {
    let ours = shared.hello();
    let mut out = connection.open_uni().await?;
    drop(out.set_priority(priority(Lane::Pulse)));
    out.write_all(&frame::whole(VERSION_FIRST, PULSE, Kind::Hello, &ours.encode())).await?;

    let mut frames = Frames::new(connection.accept_uni().await?, PULSE, VERSION_FIRST);
    let theirs = match frames.next().await? {
        Some(Frame { kind: Kind::Hello, body }) => Hello::decode(&body)?,
        _ => return Err(Refusal::Malformed("something else before the hello").into()),
    };
    let shown = shown(connection)?;
    let by_smaller = (ours.node < theirs.node) == dialled;
    let roll = shared.roll.borrow().clone();
    let (version, seat) = shared.peers.admit(&ours, &theirs, &shown, &roll, by_smaller, connection)?;
    // Another connection to that node ends first, so that its messages and this one's do not mix.
    let place = seat.wait().await;

    out.write_all(&frame::whole(version, PULSE, Kind::Welcome, &[])).await?;
    frames.agreed(version);
    match frames.next().await? {
        Some(Frame { kind: Kind::Welcome, .. }) => {}
        _ => return Err(Refusal::Malformed("something else before the welcome").into()),
    }
    let options = &shared.options;
    let lanes = LANES.map(|lane| Queue::new(lane, options.queue_bytes(lane)));
    let (connection, fingerprint) = (connection.clone(), shown.fingerprint);
    let link = Arc::new(Link { hello: theirs, fingerprint, version, connection, lanes });
    Ok(Greeted { link, pulse: (out, frames), place })
}

/// Whom the other side's certificate names. TLS has verified that the cluster's authority signed it.
fn shown(connection: &Connection) -> Result<Shown, Refusal> {
    const NO_NODE: &str = "it names no node";
    let identity = connection.peer_identity().ok_or_else(|| Refusal::Tls(NO_NODE.into()))?;
    let chain = identity.downcast::<Vec<rustls::pki_types::CertificateDer<'static>>>();
    let chain = chain.map_err(|_| Refusal::Tls(NO_NODE.into()))?;
    let certificate = chain.first().ok_or_else(|| Refusal::Tls(NO_NODE.into()))?;
    let read = Name::of(certificate).zip(authority::fingerprint(certificate));
    let (name, fingerprint) = read.ok_or_else(|| Refusal::Tls(NO_NODE.into()))?;
    Ok(Shown { name, fingerprint })
}

/// The number that the other side's certificate names.
pub(super) fn named(connection: &Connection) -> Option<u64> {
    shown(connection).ok().map(|shown| shown.name.node)
}

/// What leaves first where not all can: votes, then what clients wait for, then entries.
fn priority(lane: Lane) -> i32 {
    match lane {
        Lane::Pulse => 2,
        Lane::Forward => 1,
        Lane::Log => 0,
    }
}

impl Greeted {
    /// Who is at the other end.
    pub(super) fn node(&self) -> u64 {
        self.link.hello.node
    }

    /// Carries messages until the connection ends.
    pub(super) async fn run(self, shared: &Arc<Shared>, hears: &Arc<dyn Hears>) -> Ended {
        let Self { link, pulse, place } = self;
        let contact = link.contact();
        shared.peers.enter(link.clone());
        // The roll may have changed since the hello was judged, when this link was not among those that it was held against.
        shared.hold_against_roll(&link);
        tracing::info!(node = contact.node, generation = contact.generation, "a node is connected");
        hears.reached(contact);
        let ended = link.clone().carry(pulse, shared, hears).await;
        shared.peers.leave(&link);
        hears.lost(contact.node);
        tracing::info!(node = contact.node, "a node is not connected any more: {ended}");
        drop(place);
        ended
    }
}

impl Link {
    async fn carry(
        self: Arc<Self>,
        (out, frames): (SendStream, Frames),
        shared: &Arc<Shared>,
        hears: &Arc<dyn Hears>,
    ) -> Ended {
        let mut tasks = JoinSet::new();
        tasks.spawn(self.clone().write_pulse(out, shared.clone()));
        tasks.spawn(self.clone().read(Lane::Pulse, frames, shared.clone(), hears.clone()));
        for lane in [Lane::Log, Lane::Forward] {
            match self.connection.open_uni().await {
                Ok(out) => drop(tasks.spawn(self.clone().write(lane, out))),
                Err(error) => {
                    // What they heard comes before whoever hears it is told that the node is lost.
                    tasks.shutdown().await;
                    return Ended::Lost(error);
                }
            }
        }
        // The other side opens its lanes in their order, and each is seen when something comes on it or on a later one.
        let mut opened = LANES.into_iter().skip(1).peekable();
        let ended = loop {
            tokio::select! {
                biased;
                Some(done) = tasks.join_next() => match settled(done) {
                    Ok(()) => {}
                    Err(ended) => break ended,
                },
                stream = self.connection.accept_uni(), if opened.peek().is_some() => match (stream, opened.next()) {
                    (Ok(stream), Some(lane)) => {
                        let frames = Frames::new(stream, Channel::Lane(lane), self.version);
                        tasks.spawn(self.clone().read(lane, frames, shared.clone(), hears.clone()));
                    }
                    (Ok(_), None) => {}
                    (Err(error), _) => break Ended::Lost(error),
                },
                stream = self.connection.accept_bi() => match stream {
                    Ok(stream) => {
                        let (contact, hears) = (self.contact(), hears.clone());
                        let patience = shared.options.patience;
                        tasks.spawn(bulk::take(stream, self.version, contact, hears, patience));
                    }
                    Err(error) => break Ended::Lost(error),
                },
            }
        };
        if let Ended::Refused(why) = &ended {
            self.refuse(why);
        }
        tasks.shutdown().await;
        ended
    }

    async fn read(
        self: Arc<Self>,
        lane: Lane,
        mut frames: Frames,
        shared: Arc<Shared>,
        hears: Arc<dyn Hears>,
    ) -> Result<(), Ended> {
        let contact = self.contact();
        while let Some(frame) = frames.next().await? {
            shared.peers.heard(contact.node);
            match frame.kind {
                Kind::Messages => {
                    frame::messages(frame.body)?.for_each(|message| hears.heard(contact, lane, message));
                }
                Kind::Ping => {
                    let ping = Ping::decode(&frame.body)?;
                    // It was written half a round trip ago.
                    let written =
                        shared.now_ms() - i64::try_from(self.connection.rtt().as_millis() / 2).unwrap_or(0);
                    let ahead = i64::try_from(ping.clock).unwrap_or(i64::MAX).saturating_sub(written);
                    shared.peers.pinged(contact.node, &ping, ahead);
                }
                _ => return Err(Refusal::Malformed("a second hello").into()),
            }
        }
        Err(Refusal::Malformed("a lane that ends").into())
    }

    async fn write(self: Arc<Self>, lane: Lane, mut out: SendStream) -> Result<(), Ended> {
        drop(out.set_priority(priority(lane)));
        self.lane(lane).write(&mut out, self.version).await
    }

    async fn write_pulse(self: Arc<Self>, mut out: SendStream, shared: Arc<Shared>) -> Result<(), Ended> {
        let ping = || {
            let clock = u64::try_from(shared.now_ms()).unwrap_or(0);
            Ping { clock, durable: (shared.me.durable)() }.encode()
        };
        let every = shared.options.ping_every;
        self.lane(Lane::Pulse).write_with_pings(&mut out, self.version, every, ping).await
    }
}

/// How a task ended. A lane that was given up ends the link; a bulk stream answers for itself.
fn settled(done: Result<Result<(), Ended>, JoinError>) -> Result<(), Ended> {
    match done {
        Ok(Err(Ended::GivenUp)) => Err(Refusal::Malformed("a lane that is given up").into()),
        Ok(ended) => ended,
        Err(failed) if failed.is_panic() => {
            tracing::error!(
                "a task of a connection between nodes failed: {failed}; the connection is closed"
            );
            Err(Refusal::Fault.into())
        }
        Err(_) => Ok(()),
    }
}
