//! Why a node does not start, or does not end in order, and what to do then.

use std::net::SocketAddr;
use std::path::PathBuf;

use cluster::meta::Refusal;
use gateway::door::{Door, Shut};
use gateway::trust::master;

use super::STOP_WITHIN;

/// Why a node did not start. Each says what to do.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("{0}\nnext: {next}", next = next(.0))]
    Storage(#[from] cluster::Error),
    #[error("{0}\nnext: start the node again; if it stays so, restore it: twinfold restore FILE --data DIR")]
    Store(#[from] runtime::store::Error),
    #[error("the node could not register itself: {0}\nnext: see its log: twinfold log verify DIR")]
    Meta(#[from] Refusal),
    #[error("{0}\nnext: see its log: twinfold log verify DIR")]
    Twins(#[from] runtime::node::NotStarted),
    #[error(
        "{what} cannot listen on {shut}\nnext: see whether another node or broker is there, or choose another address: {flag} {}:0", shut.address.ip()
    )]
    Listen { what: &'static str, shut: Shut, flag: &'static str },
    #[error("{0}")]
    NobodyMayEnter(#[from] NobodyMayEnter),
    #[error(
        "the master key is not the one that the secrets in {} are sealed under\nnext: name the right one: with --master-key-file, else in TWINFOLD_MASTER_KEY, else as {}/master.key", .0.display(), .0.display()
    )]
    OtherMasterKey(PathBuf),
    #[error("{0}\nnext: {next}", next = next_for_the_key(.0))]
    MasterKey(#[from] master::Error),
    #[error(transparent)]
    Identity(#[from] cluster::identity::Error),
    #[error(transparent)]
    Member(#[from] cluster::member::Error),
    #[error(
        "node {node} of cluster {cluster} cannot be run alone\nnext: run it with `serve`, which listens for the other nodes"
    )]
    InACluster { node: u64, cluster: String },
    #[error(
        "the port between nodes cannot listen on {address}: {why}\nnext: see whether another node is there, or choose another address: --cluster {}:0", address.ip()
    )]
    Cluster { address: SocketAddr, why: std::io::Error },
    #[error(
        "a part of the start failed: {0}\nnext: start it with TWINFOLD_LOG=info, and report what it says"
    )]
    Task(#[from] tokio::task::JoinError),
}

/// A node of which nobody has the rights.
#[derive(Debug, thiserror::Error)]
#[error(
    "{} has no admin, so that nobody could do anything with this node\nnext: twinfold user add NAME --role admin --data {}", .0.display(), .0.display()
)]
pub(crate) struct NobodyMayEnter(pub(crate) PathBuf);

/// A node that did not end in order.
#[derive(Debug, thiserror::Error)]
#[error(
    "the node did not stop within {} s; what was acknowledged is in its log\nnext: see whether the disk answers, then start it again", STOP_WITHIN.as_secs()
)]
pub(crate) struct NotStopped;

impl Error {
    /// What listens on no address; `flags` choose it in plain text, and with TLS.
    pub(super) fn listen(what: &'static str, shut: Shut, doors: &[Door], flags: [&'static str; 2]) -> Self {
        let is_secured = doors.iter().any(|door| door.address == shut.address && door.tls.is_some());
        Self::Listen { what, shut, flag: flags[usize::from(is_secured)] }
    }
}

/// What to do about a log that cannot be used.
pub(crate) fn next(error: &cluster::Error) -> &'static str {
    use cluster::Error;
    match error {
        Error::Io { .. } => "see whether the data folder is one that you may write to, on a disk with room",
        Error::InUse { .. } => "stop the other node, or take another folder: --data DIR",
        Error::Shards { .. } | Error::Meta { .. } => "start the binary that wrote the data folder",
        Error::Backup { .. } => "see which backups there are, and restore another",
        Error::Option { .. } => "leave the option out, or give it a larger value",
        _ => "see how far the log is whole: twinfold log verify DIR",
    }
}

/// What to do about a master key that cannot be used.
fn next_for_the_key(error: &master::Error) -> &'static str {
    match error {
        master::Error::Open { .. } => "let nobody else read it, and start the node again",
        _ => {
            "restore the master key of this folder, and name it with --master-key-file; `user add` makes one for a new folder"
        }
    }
}
