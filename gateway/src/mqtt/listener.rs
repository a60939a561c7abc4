//! The listener: an actor that owns the connections, and a task that accepts them.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ractor::{Actor, ActorProcessingErr, ActorRef};
use runtime::router::Router;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{sleep, sleep_until, timeout};
use twins::header::Transport;
use twins::name::Name;
use uuid::Uuid;

use super::connection::Connection;
use super::session::{Origin, Session};
use crate::descriptors::Shares;
use crate::metrics::Metrics;
use crate::pace::{Pace, Rate};
use crate::peer;

use super::Options;

/// The pause after the system had nothing to accept with, such as file descriptors.
const PAUSE: Duration = Duration::from_millis(100);
/// How many connections wait to be accepted, where the system allows as many.
const BACKLOG: u32 = 4_096;
/// What may be accepted at once, as the time that it takes at the rate: some ticks of the timer.
const BURST: Duration = Duration::from_millis(10);

/// A listener for MQTT over TCP. Dropping it lets it run on; [`stop`](Self::stop) ends it.
///
/// ```no_run
/// # async fn example(router: runtime::router::Router) -> std::io::Result<()> {
/// use gateway::metrics::Metrics;
/// use gateway::mqtt::{Listener, Options};
///
/// let listener = Listener::start(Options::default(), router, Metrics::default()).await?;
/// println!("MQTT on {}", listener.local_addr());
/// listener.stop().await;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Listener {
    local_addr: SocketAddr,
    actor: ActorRef<Accepted>,
    running: JoinHandle<()>,
}

impl Listener {
    /// Listens, and serves until it is stopped; what it does is counted in `metrics`.
    ///
    /// # Errors
    /// When the address cannot be listened on.
    pub async fn start(options: Options, router: Router, metrics: Metrics) -> io::Result<Self> {
        let listener = listen(options.address)?;
        let local_addr = listener.local_addr()?;
        let spawned =
            Actor::spawn(None, Host { options: Arc::new(options), router, metrics }, listener).await;
        let (actor, running) = spawned.map_err(io::Error::other)?;
        Ok(Self { local_addr, actor, running })
    }

    /// Where it listens.
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
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
    permit: OwnedSemaphorePermit,
}

/// The actor.
struct Host {
    options: Arc<Options>,
    router: Router,
    metrics: Metrics,
}

struct State {
    accepting: JoinHandle<()>,
    connections: JoinSet<()>,
    stopping: watch::Sender<bool>,
}

impl Actor for Host {
    type Msg = Accepted;
    type State = State;
    type Arguments = TcpListener;

    async fn pre_start(
        &self,
        myself: ActorRef<Accepted>,
        listener: TcpListener,
    ) -> Result<State, ActorProcessingErr> {
        let accepting = tokio::spawn(accept(listener, myself, self.options.clone(), self.metrics.clone()));
        Ok(State { accepting, connections: JoinSet::new(), stopping: watch::Sender::new(false) })
    }

    async fn handle(
        &self,
        _: ActorRef<Accepted>,
        Accepted { stream, address, permit }: Accepted,
        state: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        while let Some(ended) = state.connections.try_join_next() {
            if let Err(error) = ended {
                tracing::error!(%error, "a connection failed");
            }
        }
        let connection = Connection {
            stream,
            session: Session::new(self.options.clone(), self.origin(address)?, Instant::now()),
            router: self.router.clone(),
            write_timeout: self.options.answer_timeout,
            metrics: self.metrics.clone(),
        };
        let stopping = state.stopping.subscribe();
        let open = self.metrics.opened(Transport::Mqtt);
        state.connections.spawn(async move {
            connection.run(stopping).await;
            drop(open);
            drop(permit);
        });
        Ok(())
    }

    async fn post_stop(&self, _: ActorRef<Accepted>, state: &mut State) -> Result<(), ActorProcessingErr> {
        state.accepting.abort();
        state.stopping.send_replace(true);
        let connections = &mut state.connections;
        let all_ended = async { while connections.join_next().await.is_some() {} };
        if timeout(self.options.stop_timeout, all_ended).await.is_err() {
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
    fn origin(&self, address: SocketAddr) -> Result<Origin, ActorProcessingErr> {
        Ok(Origin {
            node: self.router.node(),
            transport: Transport::Mqtt,
            address: Name::new("the address", &address.to_string())?,
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

/// Accepts connections until it is aborted, as fast as those who are there already can bear. Whoever waits does so in the
/// system's queue: its time to send a CONNECT has not begun.
async fn accept(listener: TcpListener, host: ActorRef<Accepted>, options: Arc<Options>, metrics: Metrics) {
    let connections_max = options.connections_max.get().min(Shares::claim().mqtt);
    let permits = Arc::new(Semaphore::new(connections_max));
    let mut full = false;
    let (rate, mut pace) = (Rate { per_s: options.connects_per_s, burst: BURST }, Pace::default());
    loop {
        if let Some(until) = pace.wait(rate, Instant::now()) {
            sleep_until(until.into()).await;
        }
        let (stream, address) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                sleep(PAUSE).await;
                continue;
            }
        };
        pace.take(rate, Instant::now(), 1);
        let Ok(permit) = permits.clone().try_acquire_owned() else {
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
        if let Err(error) = peer::look_after(&stream, options.vanished_timeout) {
            tracing::debug!(%error, %address, "a connection was gone before it began");
            continue;
        }
        if host.cast(Accepted { stream, address, permit }).is_err() {
            return;
        }
    }
}
