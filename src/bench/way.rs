//! The way from a client of a load to its target: TCP, with TLS or without. It never waits.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, HandshakeKind, StreamOwned};

use super::credentials::HOST;

/// A connection that was begun.
pub(super) enum Way {
    Plain(TcpStream),
    /// It agrees with its target while it is read and written.
    Secured(Box<StreamOwned<ClientConnection, TcpStream>>),
}

impl Way {
    pub(super) fn new(socket: TcpStream, tls: Option<Arc<ClientConfig>>) -> io::Result<Self> {
        let Some(config) = tls else { return Ok(Self::Plain(socket)) };
        let name = ServerName::try_from(HOST).map_err(io::Error::other)?;
        let client = ClientConnection::new(config, name).map_err(io::Error::other)?;
        Ok(Self::Secured(Box::new(StreamOwned::new(client, socket))))
    }

    /// How it agreed with its target on keys, once it has.
    pub(super) fn handshake(&self) -> Option<HandshakeKind> {
        match self {
            Self::Plain(_) => None,
            Self::Secured(stream) => stream.conn.handshake_kind(),
        }
    }

    /// Whether it has bytes of its own that the socket has not taken.
    pub(super) fn owes(&self) -> bool {
        match self {
            Self::Plain(_) => false,
            Self::Secured(stream) => stream.conn.wants_write(),
        }
    }

    /// Whether what could not be written now can be when the socket takes more; else when something was read.
    pub(super) fn waits_for_room(&self) -> bool {
        match self {
            Self::Plain(_) => true,
            Self::Secured(stream) => stream.conn.wants_write(),
        }
    }

    pub(super) fn end(&self) {
        let socket = match self {
            Self::Plain(socket) => socket,
            Self::Secured(stream) => &stream.sock,
        };
        // It may have ended already.
        drop(socket.shutdown(std::net::Shutdown::Both));
    }
}

impl Read for Way {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(socket) => socket.read(into),
            Self::Secured(stream) => stream.read(into),
        }
    }
}

impl Write for Way {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(socket) => socket.write(bytes),
            Self::Secured(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(socket) => socket.flush(),
            Self::Secured(stream) => stream.flush(),
        }
    }
}

impl AsFd for Way {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Plain(socket) => socket.as_fd(),
            Self::Secured(stream) => stream.sock.as_fd(),
        }
    }
}
