//! The cluster's port to the master key, filled by the vault: its authority's key, and each node's, are sealed under it.

use std::sync::Arc;

use cluster::sealer::{Sealer, Unsealed};
use gateway::trust::vault::{Purpose, Vault};

use crate::node::ReadMaster;

/// Seals under the node's master key. The key itself is read again when a node that joins is given it.
pub(crate) struct Sealing {
    vault: Arc<Vault>,
    read: ReadMaster,
}

impl Sealing {
    pub(crate) fn new(vault: Arc<Vault>, read: ReadMaster) -> Self {
        Self { vault, read }
    }
}

impl Sealer for Sealing {
    fn seal(&self, owner: &str, secret: &[u8]) -> Result<Vec<u8>, Unsealed> {
        let sealed = self.vault.seal(Purpose::ClusterKey, owner.as_bytes(), secret);
        sealed.map(|sealed| sealed.0.to_vec()).map_err(|error| Unsealed(error.to_string()))
    }

    fn open(&self, owner: &str, sealed: &[u8]) -> Result<Vec<u8>, Unsealed> {
        let sealed = twins::trust::Sealed(sealed.to_vec().into());
        let opened = self.vault.open(Purpose::ClusterKey, owner.as_bytes(), &sealed);
        opened.map_err(|error| Unsealed(error.to_string()))
    }

    fn check(&self) -> [u8; 32] {
        self.vault.check()
    }

    fn master_key(&self) -> Result<[u8; 32], Unsealed> {
        let key = (self.read)().map_err(|error| Unsealed(error.to_string()))?;
        match Vault::new(key).check() == self.vault.check() {
            true => Ok(key),
            false => Err(Unsealed("the master key is not the one that the node was started with".to_owned())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sealing(byte: u8, lies: u8) -> Sealing {
        Sealing::new(Arc::new(Vault::new([byte; 32])), Box::new(move || Ok([lies; 32])))
    }

    #[test]
    fn what_is_sealed_opens_under_the_same_master_key_for_the_same_owner() {
        let sealed = sealing(1, 1).seal("node 1", b"a key").unwrap();

        assert_eq!(sealing(1, 1).open("node 1", &sealed).unwrap(), b"a key");
        assert!(sealing(1, 1).open("node 2", &sealed).is_err());
        assert!(sealing(2, 2).open("node 1", &sealed).is_err());
    }

    #[test]
    fn a_master_key_that_was_changed_meanwhile_is_given_to_nobody() {
        assert_eq!(sealing(1, 1).master_key(), Ok([1; 32]));
        assert!(sealing(1, 2).master_key().unwrap_err().0.contains("is not the one"));
    }
}
