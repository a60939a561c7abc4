//! The listener: an actor that owns the connections, and a task that accepts them at all of its doors.

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use ractor::{Actor, ActorProcessingErr, ActorRef};
use runtime::router::Router;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{sleep, sleep_until, timeout, timeout_at};
use twins::header::Transport;
use twins::name::Name;
use uuid::Uuid;

use super::connection::Connection;
use super::grounds::Grounds;
use super::services::Services;
use super::session::{Origin, Session};
use crate::descriptors::Shares;
use crate::door::{Door, Shut};
use crate::metrics::Metrics;
use crate::pace::{Pace, Rate};
use crate::peer;
use crate::quotas::{Quotas, Seat};
use crate::tls::{self, HANDSHAKES_MAX, Tls};
use crate::trust::provisioning::Provisioning;

use super::Options;

/// The pause after the system had nothing to accept with, such as file descriptors.
const PAUSE: Duration = Duration::from_millis(100);
/// How many connections wait to be accepted, where the system allows as many (`net.core.somaxconn` of Linux). Those for
/// whom there is no room ask again each second, all of them at once.
const BACKLOG: u32 = 65_535;
/// Who may begin at once, as the time that it takes at the rate: some ticks of the timer.
const BURST: Duration = Duration::from_millis(10);
/// Who may be accepted and wait for a turn, as the time that it takes at the rate: a crowd that the system's queue need
/// not turn away, and no more than a client waits for. The rest waits in that queue.
const WAITING: Duration = Duration::from_secs(5);
/// How many connections are closed at once in a second, at most; more wait in the system's queue.
const REFUSALS: Rate = Rate { per_s: NonZeroU32::new(10_000).expect("not 0"), burst: BURST };

/// A listener for MQTT over TCP, with TLS or without. Dropping it lets it run on; [`stop`](Self::stop) ends it.
///
/// ```no_run
/// # use gateway::quotas::Quotas;
/// # use gateway::trust::provisioning::Provisioning;
/// # async fn example(
/// #     router: runtime::router::Router,
/// #     keys: Provisioning,
/// #     quotas: Quotas,
/// # ) -> Result<(), gateway::door::Shut> {
/// use gateway::door::Door;
/// use gateway::metrics::Metrics;
/// use gateway::mqtt::{Listener, Options};
///
/// let doors = vec![Door::plain(([127, 0, 0, 1], 1883).into())];
/// let (options, metrics) = (Options::default(), Metrics::default());
/// let listener = Listener::start(options, doors, router, keys, quotas, metrics).await?;
/// println!("MQTT on {:?}", listener.local_addrs());
/// listener.stop().await;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Listener {
    local_addrs: Vec<SocketAddr>,
    actor: ActorRef<Accepted>,
    running: JoinHandle<()>,
}

impl Listener {
    /// Listens at each door, and serves until it is stopped; what it does is counted in `metrics`, and nobody takes more
    /// than `quotas` say.
    ///
    /// # Errors
    /// When an address cannot be listened on; nothing listens then.
    pub async fn start(
        options: Options,
        doors: Vec<Door>,
        router: Router,
        provisioning: Provisioning,
        quotas: Quotas,
        metrics: Metrics,
    ) -> Result<Self, Shut> {
        let (mut listening, mut local_addrs) = (Vec::new(), Vec::new());
        for door in doors {
            let opened = listen(door.address).and_then(|listener| Ok((listener.local_addr()?, listener)));
            let (local_addr, listener) = opened.map_err(|why| door.shut(why))?;
            local_addrs.push(local_addr);
            listening.push((listener, door.tls));
        }
        let handshakes = Arc::new(Semaphore::new(HANDSHAKES_MAX));
        let (options, grounds) = (Arc::new(options), Grounds::default());
        let services = Services { options, router, provisioning, grounds, quotas, metrics };
        let host = Host { services: Arc::new(services), handshakes };
        let spawned = Actor::spawn(None, host, listening).await;
        let (actor, running) = spawned.expect("its start does nothing that can fail");
        Ok(Self { local_addrs, actor, running })
    }

    /// Where it listens, in the order of its doors.
    pub fn local_addrs(&self) -> &[SocketAddr] {
        &self.local_addrs
    }

    /// Accepts no more, tells each client that the node stops and each twin that its connection ended, and returns when
    /// all have heard it, or when [`stop_timeout`](Options::stop_timeout) is over.
    pub async fn stop(self) {
        self.actor.stop(None);
        drop(self.running.await);
    }
}

/// A connection that was accepted: the actor's only message. There are no more of them than permits.
struct Accepted {
    stream: TcpStream,
    address: SocketAddr,
    tls: Option<Tls>,
    permit: OwnedSemaphorePermit,
    /// Its place among those of its address.
    seat: Seat,
    /// When it is its turn, if that was not at once.
    turn: Option<Instant>,
}

/// The doors as they are open.
type Listening = Vec<(TcpListener, Option<Tls>)>;

/// The actor.
struct Host {
    services: Arc<Services>,
    handshakes: Arc<Semaphore>,
}

struct State {
    accepting: JoinHandle<()>,
    /// Looks after what the sessions stand on.
    keeping: JoinHandle<()>,
    connections: JoinSet<()>,
    stopping: watch::Sender<bool>,
}

impl Actor for Host {
    type Msg = Accepted;
    type State = State;
    type Arguments = Listening;

    async fn pre_start(
        &self,
        myself: ActorRef<Accepted>,
        listening: Listening,
    ) -> Result<State, ActorProcessingErr> {
        let Services { router, grounds, .. } = &*self.services;
        let accepting = tokio::spawn(accept(listening, myself, self.services.clone()));
        // Whoever stands somewhere from now on hears of what changes.
        let keeping = tokio::spawn(grounds.clone().keep(router.access().changes(), router.clone()));
        Ok(State { accepting, keeping, connections: JoinSet::new(), stopping: watch::Sender::new(false) })
    }

    async fn handle(
        &self,
        _: ActorRef<Accepted>,
        Accepted { stream, address, tls, permit, seat, turn }: Accepted,
        state: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        while let Some(ended) = state.connections.try_join_next() {
            if let Err(error) = ended {
                tracing::error!(%error, "a connection failed");
            }
        }
        let transport = if tls.is_some() { Transport::MqttTls } else { Transport::Mqtt };
        // A handshake takes of the time that there is for the CONNECT.
        let begun = turn.unwrap_or_else(Instant::now);
        let Services { options, metrics, .. } = &*self.services;
        let session = Session::new(options.clone(), self.origin(address, transport)?, begun);
        let (until, handshakes) = (begun + options.connect_timeout, self.handshakes.clone());
        let (mut stopping, open) = (state.stopping.subscribe(), metrics.opened(transport));
        let connection = Connection { stream, session, from: address.ip(), services: self.services.clone() };
        state.connections.spawn(async move {
            if turn.is_some() {
                // Whoever comes too fast is not read before its turn; a node that stops does not wait for it.
                let metrics = &connection.services.metrics;
                tokio::select! {
                    () = sleep_until(begun.into()) => {}
                    () = left(&connection.stream) => return metrics.closed("closed by the client before its turn"),
                    _ = stopping.wait_for(|stops| *stops) => return metrics.closed("the node stops"),
                }
            }
            match tls {
                None => connection.run(stopping).await,
                Some(tls) => secured(connection, &tls, &handshakes, until, stopping).await,
            }
            drop(open);
            drop((permit, seat));
        });
        Ok(())
    }

    async fn post_stop(&self, _: ActorRef<Accepted>, state: &mut State) -> Result<(), ActorProcessingErr> {
        state.accepting.abort();
        state.keeping.abort();
        state.stopping.send_replace(true);
        let connections = &mut state.connections;
        let all_ended = async { while connections.join_next().await.is_some() {} };
        if timeout(self.services.options.stop_timeout, all_ended).await.is_err() {
            tracing::warn!(
                connections = connections.len(),
                "connections were cut off before their ends were acknowledged"
            );
            connections.shutdown().await;
        }
        Ok(())
    }
}

impl Host {
    fn origin(&self, address: SocketAddr, transport: Transport) -> Result<Origin, ActorProcessingErr> {
        Ok(Origin {
            node: self.services.router.node(),
            transport,
            address: Name::new("the address", &address.to_string())?,
            ip: address.ip(),
            client: Name::new("the client id", &Uuid::now_v7().to_string())?,
        })
    }
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    // A node that starts again takes its own address, whatever the connections before it left behind.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Runs a connection once both ends have agreed on keys; whoever does not in time, or until the node stops, is closed.
async fn secured(
    connection: Connection<TcpStream>,
    tls: &Tls,
    handshakes: &Semaphore,
    until: Instant,
    mut stopping: watch::Receiver<bool>,
) {
    let Connection { stream, mut session, from, services } = connection;
    let agreed = async {
        // Who says nothing takes no turn.
        stream.readable().await?;
        let _turn = handshakes.acquire().await.map_err(io::Error::other)?;
        tls.accept(stream).await
    };
    let agreed = tokio::select! {
        agreed = timeout_at(until.into(), agreed) => agreed,
        _ = stopping.wait_for(|stops| *stops) => return services.metrics.closed("the node stops"),
    };
    match agreed.unwrap_or_else(|late| Err(late.into())) {
        // It is large, and few connections are of a node in `dev`.
        Ok(stream) => {
            session.shown(tls::certificates(stream.get_ref().1));
            let connection = Connection { stream, session, from, services };
            Box::pin(connection.run(stopping)).await;
        }
        Err(error) => {
            services.metrics.closed("no TLS handshake");
            tracing::debug!(%error, "a client did not agree on TLS");
        }
    }
}

/// Returns when a client that was not read yet has closed its end. Where it has spoken already, that is not known.
async fn left(stream: &TcpStream) {
    if !matches!(stream.peek(&mut [0]).await, Ok(0) | Err(_)) {
        std::future::pending().await
    }
}

/// Accepts connections until it is aborted, and lets them begin as fast as those who are there already can bear. Whoever
/// waits for its turn is not read, and its time to send a CONNECT has not begun.
async fn accept(listening: Listening, host: ActorRef<Accepted>, services: Arc<Services>) {
    let Services { options, quotas, metrics, .. } = &*services;
    let connections_max = options.connections_max.get().min(Shares::claim().mqtt);
    let permits = Arc::new(Semaphore::new(connections_max));
    let mut full = false;
    let (rate, mut pace) = (Rate { per_s: options.connects_per_s, burst: BURST }, Pace::default());
    // Whoever is closed at once takes nobody's turn.
    let mut refusals = Pace::default();
    let mut round = 0;
    loop {
        let now = Instant::now();
        let full_until = pace.wait(Rate { burst: WAITING, ..rate }, now);
        if let Some(until) = full_until.max(refusals.wait(REFUSALS, now)) {
            sleep_until(until.into()).await;
        }
        round += 1;
        let (stream, address, tls) = match next(&listening, round).await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                sleep(PAUSE).await;
                continue;
            }
        };
        let now = Instant::now();
        let Ok(permit) = permits.clone().try_acquire_owned() else {
            refusals.take(REFUSALS, now, 1);
            metrics.closed("too many connections");
            if !std::mem::replace(&mut full, true) {
                tracing::warn!(
                    connections_max,
                    "there are as many connections as may be; more are closed at once"
                );
            }
            continue;
        };
        full = false;
        let (seat, turn) = match quotas.arrive(address.ip(), now) {
            Ok((seat, of_address)) => (seat, pace.wait(rate, now).max(of_address)),
            Err(limit) => {
                refusals.take(REFUSALS, now, 1);
                metrics.closed(limit.words());
                continue;
            }
        };
        pace.take(rate, now, 1);
        if let Err(error) = peer::look_after(&stream, options.vanished_timeout) {
            tracing::debug!(%error, %address, "a connection was gone before it began");
            continue;
        }
        if host.cast(Accepted { stream, address, tls, permit, seat, turn }).is_err() {
            return;
        }
    }
}

/// The next connection at any door, looked for in another order each round, so that a crowd at one shuts out no other.
async fn next(listening: &Listening, round: usize) -> io::Result<(TcpStream, SocketAddr, Option<Tls>)> {
    poll_fn(|context| {
        let doors = (0..listening.len()).map(|door| &listening[(round + door) % listening.len()]);
        for (listener, tls) in doors {
            if let Poll::Ready(accepted) = listener.poll_accept(context) {
                return Poll::Ready(accepted.map(|(stream, address)| (stream, address, tls.clone())));
            }
        }
        Poll::Pending
    })
    .await
}
