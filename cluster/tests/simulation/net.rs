//! The network: turmoil's UDP, as the transport sees datagrams.

use cluster::transport::{Datagrams, Socket};
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use turmoil::net::UdpSocket;

const PORT: u16 = 7400;

/// The name of a node's host.
pub fn host(node: u64) -> String {
    format!("node-{node}")
}

/// The socket of a node, bound on the host that this is called on.
pub async fn socket() -> io::Result<Socket> {
    let socket = UdpSocket::bind(("0.0.0.0", PORT)).await?;
    Ok(Socket::Other(Arc::new(Port(socket))))
}

/// Where a node is reached.
pub fn address(node: u64) -> SocketAddr {
    (turmoil::lookup(host(node)), PORT).into()
}

#[derive(Debug)]
struct Port(UdpSocket);

impl Datagrams for Port {
    fn try_send(&self, to: SocketAddr, datagram: &[u8]) -> io::Result<()> {
        // Whoever is not there does not hear it.
        drop(self.0.try_send_to(datagram, to));
        Ok(())
    }

    fn poll_recv(&self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<(usize, SocketAddr)>> {
        // The socket keeps the waker of the last call, though the call itself is over.
        pin!(self.0.recv_from(buffer)).poll(cx)
    }

    fn local(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }
}
