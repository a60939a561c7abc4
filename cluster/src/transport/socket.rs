//! Datagrams below the connections: the system's UDP, or whatever a simulation puts in its place.
//!
//! The system's socket is quinn's own, with many datagrams a call. Another one implements [`Datagrams`], which is all
//! that QUIC needs of a network: it may lose, repeat, delay and reorder.

use quinn::udp::{RecvMeta, Transmit};
use quinn::{AsyncUdpSocket, Endpoint, EndpointConfig, Runtime, ServerConfig, TokioRuntime, UdpPoller};
use std::fmt::Debug;
use std::io::{self, IoSliceMut};
use std::net::{SocketAddr, UdpSocket};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

/// A socket for datagrams.
pub trait Datagrams: Send + Sync + Debug + 'static {
    /// Sends one. What cannot be sent now is dropped, as a network may; it is never `WouldBlock`.
    fn try_send(&self, to: SocketAddr, datagram: &[u8]) -> io::Result<()>;

    /// Receives one into the buffer: its length and where it came from. Otherwise the task is woken when there is one.
    fn poll_recv(&self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<(usize, SocketAddr)>>;

    /// Its address.
    fn local(&self) -> io::Result<SocketAddr>;
}

/// Where a node listens and dials from.
#[derive(Debug)]
pub enum Socket {
    /// UDP of the system, bound.
    Udp(UdpSocket),
    /// Anything else.
    Other(Arc<dyn Datagrams>),
}

impl Socket {
    /// Binds UDP of the system.
    ///
    /// # Errors
    /// When the address is taken or not of this machine.
    pub fn bind(address: SocketAddr) -> io::Result<Self> {
        UdpSocket::bind(address).map(Self::Udp)
    }

    /// Its address.
    ///
    /// # Errors
    /// When the system does not say.
    pub fn local(&self) -> io::Result<SocketAddr> {
        match self {
            Self::Udp(socket) => socket.local_addr(),
            Self::Other(datagrams) => datagrams.local(),
        }
    }

    /// QUIC on it. Needs to be called within a tokio runtime.
    pub(super) fn endpoint(self, server: ServerConfig, entropy: Option<u64>) -> io::Result<Endpoint> {
        let (mut config, runtime) = (EndpointConfig::default(), Arc::new(TokioRuntime));
        config.rng_seed(entropy.map(seed));
        let socket = match self {
            Self::Udp(socket) => runtime.wrap_udp_socket(socket)?,
            Self::Other(datagrams) => Arc::new(Adapter(datagrams)),
        };
        Endpoint::new_with_abstract_socket(config, Some(server), socket, runtime)
    }
}

fn seed(entropy: u64) -> [u8; 32] {
    let mut seed = [0; 32];
    seed[..8].copy_from_slice(&entropy.to_le_bytes());
    seed
}

#[derive(Debug)]
struct Adapter(Arc<dyn Datagrams>);

impl AsyncUdpSocket for Adapter {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        Box::pin(AlwaysWritable)
    }

    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        // One datagram a call: `max_transmit_segments` is 1.
        self.0.try_send(transmit.destination, transmit.contents)
    }

    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        buffers: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        let received = self.0.poll_recv(cx, &mut buffers[0]);
        received.map_ok(|(len, addr)| {
            meta[0] = RecvMeta { addr, len, stride: len, ecn: None, dst_ip: None };
            1
        })
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local()
    }
}

#[derive(Debug)]
struct AlwaysWritable;

impl UdpPoller for AlwaysWritable {
    fn poll_writable(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
