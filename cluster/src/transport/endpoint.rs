//! The endpoint: one UDP port of a node, on which it listens to the others and from which it dials them.
//!
//! Anybody can send datagrams to it. A handshake costs a signature, so a few are under way at a time, and when some are,
//! who comes first has to show that its address is its own. Whoever has no certificate of the cluster's authority gets no
//! further than TLS.

use quinn::{Connection, Incoming, TransportConfig, VarInt};
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::Shared;
use super::bulk;
use super::dial;
use super::join;
use super::lane::LANES;
use super::link;
use super::options::Options;
use super::refusal::{By, Refusal, Refused};
use super::stream::Ended;
use crate::wire::Hears;

/// Handshakes and hellos that others began and that may be under way.
pub(super) const HANDSHAKES_MAX: usize = 64;
/// From so many on, an address has to answer before a handshake begins.
const PROVED_FROM: usize = 16;
/// What QUIC keeps of one that has not been looked at.
const INCOMING_BYTES_MAX: u64 = 64 << 10;
/// How far a stream may be ahead of its reader: quinn's own default, for 100 Mbit/s over 100 ms.
const STREAM_BYTES: u32 = 1_250_000;
/// All that can be under way on a connection, so that the pulse never waits for what others have filled: our lanes, our
/// bulk streams, and the answers to theirs.
const WINDOW_BYTES: u64 = STREAM_BYTES as u64 * (LANES.len() as u64 + 2 * bulk::STREAMS_MAX as u64 + 1);

/// What both sides of each connection hold to.
pub(super) fn transport(options: &Options) -> TransportConfig {
    let mut transport = TransportConfig::default();
    transport.max_concurrent_uni_streams(VarInt::from_u32(LANES.len() as u32));
    transport.max_concurrent_bidi_streams(VarInt::from_u32(bulk::STREAMS_MAX));
    transport.stream_receive_window(VarInt::from_u32(STREAM_BYTES));
    transport.send_window(WINDOW_BYTES);
    transport.datagram_receive_buffer_size(None);
    transport.keep_alive_interval(Some(options.keep_alive));
    // Longer than QUIC can say is as good as never.
    transport.max_idle_timeout(options.silence_max.try_into().ok());
    transport
}

/// What whoever dials is met with.
pub(super) fn listening(
    crypto: Arc<quinn::crypto::rustls::QuicServerConfig>,
    transport: Arc<TransportConfig>,
) -> quinn::ServerConfig {
    let mut server = quinn::ServerConfig::with_crypto(crypto);
    server.transport_config(transport);
    server.max_incoming(HANDSHAKES_MAX);
    server.incoming_buffer_size(INCOMING_BYTES_MAX);
    server.incoming_buffer_size_total(INCOMING_BYTES_MAX * HANDSHAKES_MAX as u64);
    server
}

/// Answers and dials until the endpoint is closed, and then until all connections have ended.
pub(super) async fn drive(shared: Arc<Shared>, hears: Arc<dyn Hears>) {
    let mut roll = shared.roll.subscribe();
    let (mut answered, mut dialled) = (JoinSet::new(), JoinSet::new());
    let mut dialling = BTreeSet::new();
    let handshakes = Arc::new(Semaphore::new(HANDSHAKES_MAX));
    loop {
        let wanted: Vec<_> = shared.dialled_nodes(&roll.borrow_and_update());
        for node in wanted.into_iter().filter(|node| dialling.insert(*node)) {
            dialled.spawn(dial::keep_dialling(shared.clone(), hears.clone(), node));
        }
        tokio::select! {
            biased;
            _ = roll.changed() => {}
            Some(_) = answered.join_next() => {}
            Some(done) = dialled.join_next() => if let Ok(node) = done {
                dialling.remove(&node);
            },
            incoming = shared.endpoint.accept() => match incoming {
                Some(incoming) => {
                    if let Some((incoming, permit)) = permitted(incoming, &handshakes) {
                        answered.spawn(answer(shared.clone(), hears.clone(), incoming, permit));
                    }
                }
                None => break,
            },
        }
    }
    while answered.join_next().await.is_some() {}
    while dialled.join_next().await.is_some() {}
}

/// Whether there is room for one more handshake, and its address is proved where that is asked.
fn permitted(incoming: Incoming, handshakes: &Arc<Semaphore>) -> Option<(Incoming, OwnedSemaphorePermit)> {
    let under_way = HANDSHAKES_MAX - handshakes.available_permits();
    if under_way >= PROVED_FROM && incoming.may_retry() {
        drop(incoming.retry());
        return None;
    }
    match handshakes.clone().try_acquire_owned() {
        Ok(permit) => Some((incoming, permit)),
        Err(_) => {
            incoming.refuse();
            None
        }
    }
}

async fn answer(
    shared: Arc<Shared>,
    hears: Arc<dyn Hears>,
    incoming: Incoming,
    permit: OwnedSemaphorePermit,
) {
    let address = incoming.remote_address();
    let mut server = shared.server.clone();
    server.crypto = shared.shown.to_one();
    let handshake = async { incoming.accept_with(Arc::new(server))?.await };
    match timeout(shared.options.patience, handshake).await {
        Ok(Ok(connection)) if join::is_asked_for(&connection) => {
            drop(permit);
            if let Err(ended) = join::answer(&shared, &connection).await {
                note(&shared, None, address, &ended);
            }
        }
        Ok(Ok(connection)) => drop(serve(&shared, &hears, connection, None, Some(permit)).await),
        Ok(Err(error)) => note(&shared, None, address, &Ended::Lost(error)),
        // It has no name yet, and nobody to tell it to.
        Err(_) => {}
    }
}

/// Greets, and carries messages to the end. Whether it came to that, and how it ended.
pub(super) async fn serve(
    shared: &Arc<Shared>,
    hears: &Arc<dyn Hears>,
    connection: Connection,
    dialled: Option<u64>,
    permit: Option<OwnedSemaphorePermit>,
) -> (bool, Ended) {
    let address = connection.remote_address();
    let greeted = link::greet(shared, &connection, dialled.is_some()).await;
    drop(permit);
    let (peer, has_run, ended) = match greeted {
        Ok(greeted) => {
            let node = greeted.node();
            (Some(node), true, greeted.run(shared, hears).await)
        }
        Err(ended) => {
            if let Ended::Refused(why) = &ended {
                why.close(&connection);
            }
            (dialled.or_else(|| link::named(&connection)), false, ended)
        }
    };
    note(shared, peer, address, &ended);
    (has_run, ended)
}

/// Remembers it, if somebody refused.
pub(super) fn note(shared: &Shared, peer: Option<u64>, address: SocketAddr, ended: &Ended) {
    let (by, why) = match ended {
        Ended::Refused(why) => (By::Us, why.clone()),
        Ended::GivenUp => return,
        Ended::Lost(error) => match Refusal::of(error) {
            Some(refused) => refused,
            None => return,
        },
    };
    shared.refusals.add(Refused { peer, address, by, why });
}
