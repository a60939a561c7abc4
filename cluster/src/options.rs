//! What an operator may set of the storage.

use crate::wal::Pace;
use crate::{Error, SHARDS};

/// Limits of the log. Every field has a default that suits a node with 64 shards.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// This node's number in its groups' memberships and votes; it stays for the life of the folder. Default 1.
    pub node: u64,
    /// How many shards there are; it stays for the life of the cluster. Default [`SHARDS`], and at most that: a simulation
    /// has fewer.
    pub shards: u32,
    /// Whether a folder that holds no log begins the groups, each of this node alone. Default true. A node that joins others
    /// begins none: it gets them from the others.
    pub begins: bool,
    /// Length of a segment in bytes, at least 4,096. Default 64 MiB. Too small costs a new file often; too large keeps
    /// more of the disk, and as much memory at the start, which reads one segment at a time.
    pub segment_bytes: u64,
    /// The most bytes of proposals that one batch gathers; a larger single proposal is a batch of its own. Default 8
    /// MiB. The writer holds a buffer of this size, or of the largest proposal.
    pub batch_bytes: usize,
    /// Memory for entries that were written last, so that they are not read back from the disk. Default 8 MiB.
    pub tail_bytes: usize,
    /// How many unused segments are kept at most, at least 2: one to go on with, one for votes and marks when the disk
    /// is full, the rest so that dropped segments are used again instead of removed. Default 4.
    pub spare_segments: usize,
    /// Free space in bytes below which no entry is appended, so that checkpoints, votes and deletions still find room.
    /// Default 256 MiB.
    pub reserve_bytes: u64,
    /// Where the numbers begin that nobody shall guess. Default none: the system's. A simulation gives one, so that it can be
    /// repeated; then they are no secret.
    pub entropy: Option<u64>,
    /// Who drives the log. Default threads of its own.
    pub drive: Drive,
}

/// Who drives the log.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Drive {
    /// Threads of its own.
    #[default]
    Threads,
    /// A task of the runtime on which it is opened, which has to have one thread. For simulations: the disk must not
    /// block. A batch takes as long as the pace says.
    Inline(Pace),
}

impl Default for Options {
    fn default() -> Self {
        Self {
            node: 1,
            shards: SHARDS,
            begins: true,
            segment_bytes: 64 << 20,
            batch_bytes: 8 << 20,
            tail_bytes: 8 << 20,
            spare_segments: 4,
            reserve_bytes: 256 << 20,
            entropy: None,
            drive: Drive::Threads,
        }
    }
}

impl Options {
    pub(crate) fn check(&self) -> Result<(), Error> {
        let least = [
            ("segment_bytes", self.segment_bytes, 4096),
            ("batch_bytes", self.batch_bytes as u64, 1),
            ("spare_segments", self.spare_segments as u64, 2),
            ("shards", u64::from(self.shards), 1),
        ];
        if self.shards > SHARDS {
            return Err(Error::Shards { asked: self.shards, found: SHARDS });
        }
        match least.into_iter().find(|(_, value, min)| value < min) {
            Some((option, value, min)) => Err(Error::Option { option, value, min }),
            None => Ok(()),
        }
    }
}
