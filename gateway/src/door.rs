//! A door: an address where a node listens, and whether it speaks TLS there. A listener may have several, and its limits
//! hold for all of them together.

use std::io;
use std::net::SocketAddr;

use crate::tls::Tls;

/// Where to listen, and how.
#[derive(Debug, Clone)]
pub struct Door {
    /// The address; port 0 takes a free one.
    pub address: SocketAddr,
    /// The certificate to show; without it everything is in plain text.
    pub tls: Option<Tls>,
}

/// Why a door stays shut.
#[derive(Debug, thiserror::Error)]
#[error("{address}: {why}")]
pub struct Shut {
    /// Where nothing listens.
    pub address: SocketAddr,
    /// What the system says.
    pub why: io::Error,
}

impl Door {
    /// In plain text.
    pub fn plain(address: SocketAddr) -> Self {
        Self { address, tls: None }
    }

    /// With TLS.
    pub fn secured(address: SocketAddr, tls: Tls) -> Self {
        Self { address, tls: Some(tls) }
    }

    /// Why it stays shut.
    pub(crate) fn shut(&self, why: io::Error) -> Shut {
        Shut { address: self.address, why }
    }
}
