//! Why a command of the meta group was not carried out.

use runtime::directory::Refused;
use runtime::log::Error as LogError;

/// Why a command was not carried out. Nothing has changed then, [`Refusal::Unsure`] and [`Refusal::Log`] with `Unknown`
/// excepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The state is no longer the one that the command was decided on.
    #[error("the meta state has version {current}, not {expected}; read it again and decide again")]
    Stale {
        /// What the command was conditional on.
        expected: u64,
        /// What the state has.
        current: u64,
    },
    /// The command makes no sense in the state of this version.
    #[error("{reason} (meta version {current})")]
    Unfit {
        /// Why not.
        reason: String,
        /// The state's version.
        current: u64,
    },
    /// The change of the directory makes no sense there.
    #[error(transparent)]
    Directory(#[from] Refused),
    /// No node leads the group, or this one does not reach the one that does.
    #[error(
        "no leader of the meta group was reached: more than half of its voters must run and reach each other; start \
         those that are missing and try again, `twinfold cluster status` names them"
    )]
    Leaderless,
    /// The leader was lost, or not heard of, while the command was under way.
    #[error(
        "whether the command was carried out is unknown, since the leader of the meta group was lost meanwhile; look at \
         what it should have changed, and try again"
    )]
    Unsure,
    /// The log did not take it.
    #[error(transparent)]
    Log(#[from] LogError),
}

impl From<Refusal> for Refused {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Stale { expected, current } => Self::Stale { expected, current },
            Refusal::Unfit { reason, .. } => Self::Conflict(reason),
            Refusal::Directory(refused) => refused,
            Refusal::Leaderless => Self::Log(LogError::NotLeader { term: 0 }),
            Refusal::Unsure => Self::Log(LogError::Unknown(refusal.to_string())),
            Refusal::Log(error) => Self::Log(error),
        }
    }
}
