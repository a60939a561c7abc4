//! A twin in memory: as it is committed, and as it will be when what was decided is committed too.

use std::sync::Arc;

use twins::decide::Live;
use twins::reply::Closed;
use twins::time::Timestamp;
use twins::twin::Twin;

use crate::error::Error;
use crate::meter::What;

use super::attach::Attaching;
use super::requests::Asked;
use super::work::Work;

/// Where a twin is.
pub(super) enum Slot {
    /// Its image is being read; what arrives waits.
    Loading(Vec<Waiting>),
    /// Here.
    Resident(Box<Resident>),
}

/// Something that waits for a twin to be read.
pub(super) enum Waiting {
    Work(Box<Work>),
    Asked(Asked),
    Attaching(Box<Attaching>),
}

impl Waiting {
    /// What it asks for.
    pub(super) fn what(&self) -> What {
        match self {
            Self::Work(work) => What::of(&work.input),
            Self::Asked(_) | Self::Attaching(_) => What::default(),
        }
    }

    /// The twin cannot be read.
    pub(super) fn refuse(self, error: &Error) {
        match self {
            Self::Work(work) => work.answer.give(Err(error.clone())),
            // Whoever asked may have given up.
            Self::Asked(asked) => drop(asked.answer.send(Err(error.clone()))),
            Self::Attaching(attaching) => attaching.close(Closed::Unavailable),
        }
    }
}

/// A twin in memory.
pub(super) struct Resident {
    /// The newest state. Equal to `committed` where nothing is in flight.
    pub(super) live: Live,
    /// The newest committed state.
    pub(super) committed: Arc<Twin>,
    /// The number of the last batch with a decision of this twin.
    pub(super) batch: u64,
    /// What the state store has of it.
    pub(super) stored: Stored,
    /// Its row in the index of what is due.
    pub(super) due: Option<Timestamp>,
    /// It was used since passivation last looked.
    pub(super) used: bool,
    /// About how much memory it takes, as it was last counted.
    pub(super) bytes: usize,
}

/// What the state store has of a twin, so that a checkpoint writes only what differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Stored {
    /// The sequence of its image; 0 for none.
    pub(super) sequence: u64,
    /// The row of its next due time.
    pub(super) due: Option<Timestamp>,
    /// The row of its connections, by their [`mark`](super::connections::mark).
    pub(super) connected: Option<(u64, usize)>,
    /// The row that says that it is registered.
    pub(super) registered: bool,
}

impl Resident {
    /// A twin as it was read.
    pub(super) fn new(twin: Twin, stored: Stored) -> Self {
        let twin = Arc::new(twin);
        let (bytes, due) = (twin.bytes(), twin.next_due());
        Self { live: Live::new(twin.clone()), committed: twin, batch: 0, stored, due, used: true, bytes }
    }

    /// Whether the state store lacks something that is committed.
    pub(super) fn is_dirty(&self) -> bool {
        self.stored.sequence != self.committed.sequence()
    }

    /// Whether something is decided that is not committed.
    pub(super) fn is_ahead(&self) -> bool {
        self.live.twin().sequence() != self.committed.sequence()
    }

    /// Forgets what was decided and will never be committed.
    pub(super) fn fall_back(&mut self) {
        self.live = Live::new(self.committed.clone());
    }
}
