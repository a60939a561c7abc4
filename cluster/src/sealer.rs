//! The port to whoever has the master key: what must be recovered is sealed before it is written anywhere.

use std::fmt;

/// Seals under the node's master key, which all nodes of a cluster have.
pub trait Sealer: Send + Sync + 'static {
    /// Seals a secret of `owner`; for another owner it stays closed.
    ///
    /// # Errors
    /// When the system has no random numbers.
    fn seal(&self, owner: &str, secret: &[u8]) -> Result<Vec<u8>, Unsealed>;

    /// Opens what was sealed for that owner.
    ///
    /// # Errors
    /// When it was changed, or is sealed for another owner or under another master key.
    fn open(&self, owner: &str, sealed: &[u8]) -> Result<Vec<u8>, Unsealed>;

    /// What whoever has the master key knows, and does not give it away.
    fn check(&self) -> [u8; 32];

    /// The master key itself, for a node that joins.
    ///
    /// # Errors
    /// When it is not where it was when the node started.
    fn master_key(&self) -> Result<[u8; 32], Unsealed>;
}

/// Why something was not sealed or opened, in words, with what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unsealed(pub String);

impl fmt::Display for Unsealed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Unsealed {}
