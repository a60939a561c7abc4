//! Who a data folder is: the node of a cluster, in one file that is written whole or not at all.
//!
//! ```toml
//! # cluster/node.toml
//! node = 2
//! cluster = "000000000000000000000000000000c1"
//! authority = "BASE64"      # its certificate, DER
//! certificate = "BASE64"    # the node's, DER
//! sealed_key = "BASE64"     # the node's key, PKCS #8, sealed under the master key
//!
//! [peers]                   # where the others were when it joined
//! 1 = "node-1.example:7400"
//! ```
//!
//! A folder without it is that of a node that is alone. A copy of it is a copy of the node, and the cluster lets one of the
//! two speak: what is copied is shut out by its generation.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use runtime::files::Files;
use toml::{Table, Value};

use crate::sealer::{Sealer, Unsealed};
use crate::transport::authority::{self, ClusterId, Identity};

/// The folder in the data folder.
pub const FOLDER: &str = "cluster";
const FILE: &str = "node.toml";
/// What is being written has this name until it is whole.
const DRAFT: &str = "node.toml.new";
/// A longer file is none of ours.
const FILE_BYTES_MAX: u64 = 256 << 10;
/// More than a cluster has.
const PEERS_MAX: usize = 1_024;

/// Who a folder is, as its file has it: the key is sealed.
#[derive(Clone, PartialEq, Eq)]
pub struct Kept {
    /// The node's number.
    pub node: u64,
    /// Its cluster.
    pub cluster: ClusterId,
    /// Where the others were when it joined; none of the one that founded the cluster.
    pub peers: BTreeMap<u64, String>,
    authority: Vec<u8>,
    certificate: Vec<u8>,
    sealed_key: Vec<u8>,
}

/// Why a folder's file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The operating system refused.
    #[error("{doing} {} failed: {why}\nnext: see whether the folder may be written to, and the disk has room", path.display())]
    Io {
        /// What was being done.
        doing: &'static str,
        /// To which file.
        path: PathBuf,
        /// Why.
        why: io::Error,
    },
    /// It is not what it should be.
    #[error("{} is no identity of a node: {why}\nnext: restore the file, or let an empty folder join: twinfold cluster join TOKEN --data DIR", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// The key does not open.
    #[error("the key of the node does not open: {0}")]
    Sealed(#[from] Unsealed),
    /// Key and certificates do not fit.
    #[error(transparent)]
    Unfit(#[from] authority::Error),
}

impl Kept {
    /// Seals an identity, to be [written](Self::write).
    ///
    /// # Errors
    /// When the key cannot be sealed.
    pub fn of(identity: &Identity, peers: BTreeMap<u64, String>, sealer: &dyn Sealer) -> Result<Self, Error> {
        let Identity { name, authority, certificate, key } = identity;
        let sealed_key = sealer.seal(&name.to_string(), key)?;
        let (authority, certificate) = (authority.clone(), certificate.clone());
        Ok(Self { node: name.node, cluster: name.cluster, peers, authority, certificate, sealed_key })
    }

    /// The identity, with its key.
    ///
    /// # Errors
    /// When the key does not open, or is not that of the certificate.
    pub fn open(&self, sealer: &dyn Sealer) -> Result<Identity, Error> {
        let name = authority::Name { cluster: self.cluster, node: self.node };
        let key = sealer.open(&name.to_string(), &self.sealed_key)?;
        let identity = Identity::open(self.authority.clone(), self.certificate.clone(), key)?;
        match identity.name == name {
            true => Ok(identity),
            false => Err(authority::Error::Foreign("the node's certificate").into()),
        }
    }

    /// Whether the node joined others; else it founded the cluster.
    #[must_use]
    pub fn has_joined(&self) -> bool {
        !self.peers.is_empty()
    }

    /// Reads that of a data folder; `None` of a node that is alone. Blocks.
    ///
    /// # Errors
    /// When there is one that cannot be read.
    pub fn read(files: &dyn Files, data: &Path) -> Result<Option<Self>, Error> {
        let path = data.join(FOLDER).join(FILE);
        let failed = |why| Error::Io { doing: "reading", path: path.clone(), why };
        let file = match files.open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            opened => opened.map_err(failed)?,
        };
        let length = file.len().map_err(failed)?;
        let malformed = |why: String| Error::Malformed { path: path.clone(), why };
        if length > FILE_BYTES_MAX {
            return Err(malformed(format!("it has {length} bytes; {FILE_BYTES_MAX} is the most")));
        }
        let mut bytes = vec![0; usize::try_from(length).unwrap_or_default()];
        file.read_at(&mut bytes, 0).map_err(failed)?;
        let text = String::from_utf8(bytes).map_err(|_| malformed("it is no text".to_owned()))?;
        Self::parse(&text).map(Some).map_err(malformed)
    }

    /// Writes it to a data folder, in the place of one that is there: durable and whole when it returns, and otherwise as
    /// before. Blocks.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn write(&self, files: &dyn Files, data: &Path) -> Result<(), Error> {
        let folder = data.join(FOLDER);
        let (draft, path) = (folder.join(DRAFT), folder.join(FILE));
        let failed = |why| Error::Io { doing: "writing", path: path.clone(), why };
        let write = || {
            files.create_folder(&folder)?;
            match files.remove(&draft) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            let file = files.create(&draft)?;
            file.write_at(self.text().as_bytes(), 0)?;
            file.sync_data()?;
            files.rename(&draft, &path)?;
            files.sync_folder(&folder)
        };
        write().map_err(failed)
    }

    fn text(&self) -> String {
        let bytes = |bytes: &[u8]| Value::String(BASE64_STANDARD.encode(bytes));
        let peers =
            self.peers.iter().map(|(node, address)| (node.to_string(), Value::from(address.as_str())));
        let table = Table::from_iter([
            ("node".to_owned(), Value::from(i64::try_from(self.node).unwrap_or(i64::MAX))),
            ("cluster".to_owned(), Value::from(self.cluster.to_string())),
            ("authority".to_owned(), bytes(&self.authority)),
            ("certificate".to_owned(), bytes(&self.certificate)),
            ("sealed_key".to_owned(), bytes(&self.sealed_key)),
            ("peers".to_owned(), Value::Table(peers.collect())),
        ]);
        format!(
            "# Who this node is in its cluster. A copy of this folder is no second node: see `twinfold cluster join`.\n{table}"
        )
    }

    fn parse(text: &str) -> Result<Self, String> {
        let table: Table = text.parse().map_err(|error: toml::de::Error| error.message().to_owned())?;
        let missing = |key: &str| format!("`{key}` is missing, or of another form");
        let word = |key: &str| table.get(key).and_then(Value::as_str).ok_or_else(|| missing(key));
        let bytes = |key: &str| BASE64_STANDARD.decode(word(key)?).map_err(|_| missing(key));
        let node = table.get("node").and_then(Value::as_integer).and_then(|node| u64::try_from(node).ok());
        let cluster = word("cluster")?.parse().map_err(str::to_owned)?;
        let listed = table.get("peers").and_then(Value::as_table).ok_or_else(|| missing("peers"))?;
        let peer =
            |(node, address): (&String, &Value)| Some((node.parse().ok()?, address.as_str()?.to_owned()));
        let peers = listed.iter().map(peer).collect::<Option<BTreeMap<u64, String>>>();
        Ok(Self {
            node: node.filter(|node| *node > 0).ok_or_else(|| missing("node"))?,
            cluster,
            peers: peers.filter(|peers| peers.len() <= PEERS_MAX).ok_or_else(|| missing("peers"))?,
            authority: bytes("authority")?,
            certificate: bytes("certificate")?,
            sealed_key: bytes("sealed_key")?,
        })
    }
}

/// Who it is: what is sealed stays out of logs, too.
impl std::fmt::Debug for Kept {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "node {} of cluster {}", self.node, self.cluster)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::transport::authority::Authority;
    use runtime::files::sim::Sim;
    use std::sync::Arc;
    use std::time::SystemTime;

    /// Seals by turning bytes round, under a master key of one byte.
    pub(crate) struct Turned(pub(crate) u8);

    impl Sealer for Turned {
        fn seal(&self, owner: &str, secret: &[u8]) -> Result<Vec<u8>, Unsealed> {
            let turned = secret.iter().rev().map(|byte| byte ^ self.0);
            Ok([self.0, owner.len() as u8].into_iter().chain(turned).collect())
        }

        fn open(&self, owner: &str, sealed: &[u8]) -> Result<Vec<u8>, Unsealed> {
            match sealed.strip_prefix(&[self.0, owner.len() as u8]) {
                Some(turned) => Ok(turned.iter().rev().map(|byte| byte ^ self.0).collect()),
                None => Err(Unsealed("another master key".to_owned())),
            }
        }

        fn check(&self) -> [u8; 32] {
            [self.0; 32]
        }

        fn master_key(&self) -> Result<[u8; 32], Unsealed> {
            Ok([self.0; 32])
        }
    }

    fn identity(node: u64) -> Identity {
        let authority = Authority::found(ClusterId(0xC1), SystemTime::now()).unwrap();
        authority.issue(node, SystemTime::now()).unwrap()
    }

    fn kept(identity: &Identity) -> Kept {
        let peers = BTreeMap::from([(1, "node-1.example:7400".to_owned())]);
        Kept::of(identity, peers, &Turned(7)).unwrap()
    }

    #[test]
    fn who_a_folder_is_is_read_as_it_was_written() {
        let (disk, data, identity) = (Sim::new(1), Path::new("/data"), identity(2));
        assert_eq!(Kept::read(&disk, data).unwrap(), None);
        let kept = kept(&identity);

        kept.write(&disk, data).unwrap();
        disk.crash();

        let read = Kept::read(&disk, data).unwrap().unwrap();
        assert_eq!(read, kept);
        assert!(read.has_joined());
        assert_eq!(read.open(&Turned(7)).unwrap(), identity);
        assert!(matches!(read.open(&Turned(8)), Err(Error::Sealed(_))));
        assert!(!kept.text().contains(&BASE64_STANDARD.encode(&identity.key)));
    }

    #[test]
    fn what_is_written_is_there_whole_or_not_at_all_wherever_the_power_fails() {
        let (one, two) = (kept(&identity(2)), kept(&identity(3)));
        for operations in 0..12 {
            let disk = Arc::new(Sim::new(operations));
            one.write(&*disk, Path::new("/data")).unwrap();
            disk.cut_power_after(operations);

            drop(two.write(&*disk, Path::new("/data")));
            disk.crash();

            let read = Kept::read(&*disk, Path::new("/data")).unwrap().unwrap();
            assert!(read == one || read == two, "after {operations} operations");
        }
    }

    #[test]
    fn a_file_that_is_none_says_what_is_wrong_with_it() {
        let text = kept(&identity(2)).text();
        let refused = |text: &str| Kept::parse(text).unwrap_err();

        assert_eq!(Kept::parse(&text), Ok(kept_again(&text)));
        assert!(refused(&text.replace("node = 2", "node = 0")).contains("`node`"));
        assert!(refused(&text.replace("cluster = \"", "cluster = \"x")).contains("32 hexadecimal digits"));
        assert!(refused(&text.replace("sealed_key", "sealed")).contains("`sealed_key`"));
        assert!(refused(&text.replace("1 = \"node", "one = \"node")).contains("`peers`"));
        assert!(refused("node = ").len() > 3);
    }

    fn kept_again(text: &str) -> Kept {
        Kept::parse(text).unwrap()
    }
}
