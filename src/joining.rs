//! `twinfold cluster join`: an empty folder that becomes a node of a cluster; and `cluster init` on the folder of a node
//! that does not run.
//!
//! The folder appears whole, or not at all. What is needed to ask again is kept beside it until then: the same key is
//! granted the same number for as long as the token lives, so that a join that was broken off is simply repeated.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use cluster::Storage;
use cluster::identity::{self, Kept};
use cluster::member::{Founding, found, invite};
use cluster::transport::authority::{self, Identity, Request};
use cluster::transport::join::{self, Ask, Grant, Malformed, Token};
use gateway::trust::master::FileKms;
use gateway::trust::vault::Vault;
use runtime::clock::{Clock, SystemClock};
use runtime::directory::audit::Fingerprint;
use runtime::files::disk::Disk;
use runtime::files::{Files, Lock};
use runtime::operations::{Invitation, Order, Refused};

use crate::sealing::Sealing;
use crate::{first, master, node};

/// The key of the certificate that is asked for, until there is one.
const KEY: &str = "request.key";
/// Held by who joins: of two at once, one does.
const LOCK: &str = "lock";
/// A longer file is no key.
const KEY_BYTES_MAX: u64 = 4 << 10;

/// Why a folder has not joined, or is not the first of a cluster. Each says what to do.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error(transparent)]
    Token(#[from] Malformed),
    #[error(
        "{} is not empty, and only an empty folder joins a cluster\nnext: name one that is empty, or is not there yet: --data DIR", .0.display()
    )]
    NotEmpty(PathBuf),
    #[error("another command is joining with {}\nnext: wait for it", .0.display())]
    Busy(PathBuf),
    #[error("{doing} {} failed: {why}\nnext: see whether the folder above may be written to, and the disk has room", path.display())]
    Io { doing: &'static str, path: PathBuf, why: io::Error },
    #[error(transparent)]
    Ask(#[from] join::Error),
    #[error("the cluster's answer cannot be used: {0}\nnext: run the same version on both nodes")]
    Grant(String),
    #[error("no key could be made: {0}\nnext: see whether the system has random numbers, and try again")]
    Key(#[from] authority::Error),
    #[error("{0}\nnext: name the file that has the master key: --master-key-file FILE")]
    MasterKey(#[from] gateway::trust::master::Error),
    #[error(transparent)]
    Identity(#[from] identity::Error),
    #[error(transparent)]
    Refused(#[from] Refused),
    #[error(transparent)]
    First(#[from] first::Error),
    #[error(transparent)]
    Node(#[from] node::Error),
    #[error("{0}\nnext: {next}", next = node::next(.0))]
    Storage(#[from] cluster::Error),
    #[error(
        "{} holds no node's data\nnext: begin one: twinfold user add NAME --role admin --data {}", .0.display(), .0.display()
    )]
    NoData(PathBuf),
    #[error("starting a thread: {0}\nnext: see the limits of processes and memory: ulimit -a")]
    Threads(io::Error),
}

/// What a folder says of the node that it becomes.
pub(crate) struct Newcomer {
    /// Where others will reach it, `host:port`; empty: it says so when it starts.
    pub(crate) address: String,
    /// Where it stands.
    pub(crate) location: String,
    /// The file that has the master key, where it has one already.
    pub(crate) master_key: Option<PathBuf>,
}

/// Joins the cluster of a token with an empty folder, which is the answer's node from then on.
pub(crate) fn join(token: &str, data: &Path, newcomer: Newcomer) -> Result<authority::Name, Error> {
    let token = Token::parse(token)?;
    is_empty(data)?;
    let own = newcomer.master_key.map(|file| master::open(data, Some(file))).transpose()?;
    let draft = Draft::open(data)?;
    let request = draft.request()?;
    let ask = Ask {
        cluster: token.cluster.0.to_be_bytes(),
        secret: token.secret,
        request: request.der().to_vec(),
        address: newcomer.address,
        location: newcomer.location,
        software: format!("twinfold {}", env!("CARGO_PKG_VERSION")),
        check: own.map(|key| Fingerprint(Vault::new(key).check())),
    };
    let threads =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Error::Threads)?;
    let Grant { authority, certificate, peers, master_key } = threads.block_on(join::ask(&token, &ask))?;
    let identity =
        request.granted(authority, certificate).map_err(|error| Error::Grant(error.to_string()))?;
    let is_right = identity.name.cluster == token.cluster && !peers.is_empty();
    let key = own.or(master_key.map(Into::into)).filter(|_| is_right);
    let key =
        key.ok_or_else(|| Error::Grant("something is missing in it, or it is of another cluster".into()))?;
    draft.become_node(data, &identity, peers, key, own.is_none())?;
    Ok(identity.name)
}

/// What is to become a data folder: a folder beside it, for its owner alone.
struct Draft {
    folder: PathBuf,
    parent: PathBuf,
    lock: Box<dyn Lock>,
}

impl Draft {
    /// The one of that data folder: a new one, or what was left of a join that was broken off.
    fn open(data: &Path) -> Result<Self, Error> {
        let parent = match data.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
            _ => PathBuf::from("."),
        };
        Disk.create_folder(&parent).map_err(at("making", &parent))?;
        let name = data.file_name().unwrap_or_default().to_string_lossy();
        let folder = parent.join(format!(".{name}.joining"));
        match DirBuilder::new().mode(0o700).create(&folder) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                return Err(at("making", &folder)(error));
            }
            _ => {}
        }
        let lock = Disk.lock(&folder.join(LOCK)).map_err(|error| match error.kind() {
            io::ErrorKind::WouldBlock => Error::Busy(folder.clone()),
            _ => at("locking", &folder)(error),
        })?;
        Ok(Self { folder, parent, lock })
    }

    /// The request for a certificate: the same one in each attempt.
    fn request(&self) -> Result<Request, Error> {
        let path = self.folder.join(KEY);
        let mut key = Vec::new();
        match fs::File::open(&path) {
            Ok(file) => {
                file.take(KEY_BYTES_MAX).read_to_end(&mut key).map_err(at("reading", &path))?;
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(at("reading", &path)(error)),
        }
        // Half of a key was sent to nobody.
        if let Ok(request) = Request::again(&key) {
            return Ok(request);
        }
        let request = Request::new()?;
        let write = || {
            let mut options = OpenOptions::new();
            let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&path)?;
            file.write_all(&request.key())?;
            file.sync_all()?;
            Disk.sync_folder(&self.folder)?;
            Disk.sync_folder(&self.parent)
        };
        write().map_err(at("writing", &path))?;
        Ok(request)
    }

    /// Makes it the data folder of that node.
    fn become_node(
        self,
        data: &Path,
        identity: &Identity,
        peers: std::collections::BTreeMap<u64, String>,
        key: [u8; 32],
        keeps_key: bool,
    ) -> Result<(), Error> {
        let Self { folder, parent, lock } = self;
        if keeps_key {
            FileKms::new(folder.join(master::FILE)).keep(&key)?;
        }
        let sealing = Sealing::new(Arc::new(Vault::new(key)), Box::new(move || Ok(key)));
        Kept::of(identity, peers, &sealing)?.write(&Disk, &folder)?;
        for name in [KEY, LOCK] {
            fs::remove_file(folder.join(name)).map_err(at("removing a file of", &folder))?;
        }
        Disk.sync_folder(&folder).map_err(at("syncing", &folder))?;
        // An empty folder gives way to the whole one.
        fs::rename(&folder, data).map_err(at("moving what has joined to", data))?;
        drop(lock);
        Disk.sync_folder(&parent).map_err(at("syncing", &parent))
    }
}

/// Makes the node of a folder that does not run the first of a cluster; its answer is a token for the second one.
pub(crate) fn init(data: &Path, address: &str, master_key: Option<PathBuf>) -> Result<Invitation, Error> {
    if !data.join("log").is_dir() {
        return Err(Error::NoData(data.to_owned()));
    }
    let folder = data.to_owned();
    let read: node::ReadMaster = Box::new(move || master::open(&folder, master_key.clone()));
    let vault = Arc::new(Vault::new(read()?));
    let storage = Storage::open(Arc::new(Disk), &data.join("log"), node::log_options())?;
    let (meta, now) = (storage.meta(), SystemClock.now());
    node::make_known(data, &meta, storage.generation(), &vault)?;
    first::note(&*meta, &Order::Found)?;
    let sealing = Sealing::new(vault, read);
    let founding = Founding { node: node::LONE, files: &Disk, data, sealer: &sealing, address, now };
    found(&meta, &founding)?;
    Ok(invite(&meta, address, now)?)
}

/// Refuses a folder with something in it.
fn is_empty(data: &Path) -> Result<(), Error> {
    match fs::read_dir(data) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(at("listing", data)(error)),
        Ok(mut names) => match names.next() {
            None => Ok(()),
            Some(_) => Err(Error::NotEmpty(data.to_owned())),
        },
    }
}

fn at(doing: &'static str, path: &Path) -> impl Fn(io::Error) -> Error {
    move |why| Error::Io { doing, path: path.to_owned(), why }
}
