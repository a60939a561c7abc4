//! The text of a token: `twj_` and base64url of
//!
//! ```text
//! 1 u8 | cluster 16 | SHA-256 of the authority's certificate 32 | secret 32 | address, UTF-8
//! ```
//!
//! It says where to ask, whom to believe, and proves that one may. Of the secret the cluster keeps the SHA-256 alone.

use std::fmt;
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use runtime::directory::audit::{Fingerprint, hash};
use rustls::crypto::aws_lc_rs::default_provider;

use crate::transport::authority::ClusterId;

/// What every token begins with, so that people and programs recognise one where it should not be.
const PREFIX: &str = "twj_";
const VERSION: u8 = 1;
/// What stands before the address.
const HEAD_BYTES: usize = 1 + 16 + 32 + 32;
/// The longest address: a host name of DNS, and a port.
pub(crate) const ADDRESS_BYTES_MAX: usize = 256;

/// What one node joins a cluster with, as it is shown once to whoever made it.
#[derive(Clone, PartialEq, Eq)]
pub struct Token {
    /// Which cluster.
    pub cluster: ClusterId,
    /// SHA-256 of the certificate of its authority.
    pub pin: [u8; 32],
    /// What proves that somebody was given it.
    pub secret: [u8; 32],
    /// Where a node of the cluster is asked: `host:port`.
    pub address: String,
}

/// Why a text is no token.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("it is no token to join with: {0}\nnext: take the whole line that `twinfold cluster token` printed")]
pub struct Malformed(&'static str);

impl Token {
    /// How long one lives.
    pub const LIFE: Duration = Duration::from_secs(3_600);

    /// A new one of the cluster with that authority (DER).
    ///
    /// # Errors
    /// When the system has no random numbers.
    pub fn new(cluster: ClusterId, authority: &[u8], address: String) -> Result<Self, NoRandom> {
        Ok(Self { cluster, pin: hash(authority).0, secret: bytes()?, address })
    }

    /// What the cluster keeps of it.
    pub fn digest(&self) -> Fingerprint {
        hash(&self.secret)
    }

    /// Its text.
    pub fn reveal(&self) -> String {
        let Self { cluster, pin, secret, address } = self;
        let bytes = [&[VERSION][..], &cluster.0.to_be_bytes(), pin, secret, address.as_bytes()].concat();
        format!("{PREFIX}{}", BASE64_URL_SAFE_NO_PAD.encode(bytes))
    }

    /// Reads one.
    ///
    /// # Errors
    /// Why it is none.
    pub fn parse(text: &str) -> Result<Self, Malformed> {
        const SHORT: Malformed = Malformed("it is cut off");
        let text = text.trim();
        let encoded = text.strip_prefix(PREFIX).ok_or(Malformed("it does not begin with `twj_`"))?;
        if encoded.len() > (HEAD_BYTES + ADDRESS_BYTES_MAX) * 4 / 3 + 4 {
            return Err(Malformed("it is too long"));
        }
        let bytes = BASE64_URL_SAFE_NO_PAD.decode(encoded);
        let bytes = bytes.map_err(|_| Malformed("some of its characters are wrong or missing"))?;
        let (version, rest) = bytes.split_first().ok_or(SHORT)?;
        if *version != VERSION {
            return Err(Malformed("it is of another version"));
        }
        let (cluster, rest) = rest.split_first_chunk::<16>().ok_or(SHORT)?;
        let (pin, rest) = rest.split_first_chunk::<32>().ok_or(SHORT)?;
        let (secret, address) = rest.split_first_chunk::<32>().ok_or(SHORT)?;
        let address = std::str::from_utf8(address).ok().filter(|address| is_address(address));
        let address = address.ok_or(Malformed("its address is none"))?.to_owned();
        Ok(Self { cluster: ClusterId(u128::from_be_bytes(*cluster)), pin: *pin, secret: *secret, address })
    }
}

/// A random number.
///
/// # Errors
/// When the system has none.
pub(crate) fn random() -> Result<u64, NoRandom> {
    bytes().map(u64::from_be_bytes)
}

fn bytes<const N: usize>() -> Result<[u8; N], NoRandom> {
    let mut bytes = [0; N];
    default_provider().secure_random.fill(&mut bytes).map_err(|_| NoRandom)?;
    Ok(bytes)
}

/// Whether it may be dialled: `host:port`, of plain characters.
#[must_use]
pub fn is_address(text: &str) -> bool {
    let is_plain = |host: &str| {
        !host.is_empty() && host.bytes().all(|b| b.is_ascii_alphanumeric() || b".-_[]:%".contains(&b))
    };
    let parts = text.rsplit_once(':').filter(|_| text.len() <= ADDRESS_BYTES_MAX);
    parts.is_some_and(|(host, port)| is_plain(host) && port.parse::<u16>().is_ok_and(|port| port != 0))
}

/// The system has no random numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the system gave no random numbers")]
pub struct NoRandom;

/// Where it leads: the secret never gets into a log by accident.
impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "token of cluster {} at {}", self.cluster, self.address)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(address: &str) -> Token {
        Token::new(ClusterId(0xC1), b"an authority", address.to_owned()).unwrap()
    }

    #[test]
    fn a_token_is_read_as_it_was_shown() {
        let token = token("node-1.example:7400");

        let read = Token::parse(&format!(" {}\n", token.reveal())).unwrap();

        assert_eq!(read, token);
        assert_eq!(read.digest(), token.digest());
        assert!(!format!("{token:?}").contains(&token.reveal()[80..]));
    }

    #[test]
    fn what_is_no_token_is_refused_with_what_is_wrong_with_it() {
        let whole = token("a:1").reveal();
        let refused = |text: &str| Token::parse(text).unwrap_err().to_string();

        assert!(refused("").contains("does not begin with `twj_`"));
        assert!(refused("twf_0123").contains("does not begin with `twj_`"));
        assert!(refused(&whole[..60]).contains("it is cut off"));
        assert!(refused(&format!("{whole}!")).contains("characters are wrong"));
        assert!(refused(&token("nowhere").reveal()).contains("its address is none"));
        assert!(refused(&token("a b:1").reveal()).contains("its address is none"));
        assert!(refused(&format!("twj_{}", "A".repeat(10_000))).contains("too long"));
        assert!(refused(&whole.replace("twj_AQ", "twj_Ag")).contains("another version"));
        assert!(refused(&whole[..60]).ends_with("`twinfold cluster token` printed"));
    }

    #[test]
    fn an_address_is_a_host_and_a_port() {
        for address in ["a:1", "192.0.2.1:7400", "[2001:db8::1]:7400", "node_1.example:65535"] {
            assert!(is_address(address), "{address}");
        }
        for address in ["", "a", ":1", "a:0", "a:65536", "a/b:1", "a\n:1", &format!("{}:1", "a".repeat(300))]
        {
            assert!(!is_address(address), "{address}");
        }
    }
}
