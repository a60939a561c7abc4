//! Dead letters: commands that were sent again and again and never acknowledged, kept until somebody redrives them.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::command::{Command, CommandId};
use crate::queue::Shared;

/// How many dead commands are kept.
pub const DEAD_MAX: usize = 1_000;
/// How many bytes they may have together; the newest is kept whatever it has. Past either the oldest go, and an event
/// says so.
pub const DEAD_BYTES_MAX: usize = 1024 * 1024;

/// The dead letters. They own nothing where there are none.
#[derive(Debug, Clone, PartialEq, Eq, Default, minicbor::Encode, minicbor::Decode)]
#[cbor(transparent)]
pub(crate) struct Dead(
    #[n(0)]
    #[cbor(with = "crate::codec::sparse")]
    Option<Arc<VecDeque<Shared>>>,
);

impl Dead {
    /// All, oldest first.
    pub(crate) fn iter(&self) -> impl DoubleEndedIterator<Item = &Command> {
        self.0.iter().flat_map(|dead| dead.iter()).map(|Shared(command)| &**command)
    }

    /// The oldest, which have to go where `newcomer` comes.
    pub(crate) fn displaced_by(&self, newcomer: &Command) -> impl Iterator<Item = &Command> {
        let mut count = self.iter().count() + 1;
        let mut bytes = self.iter().map(Command::bytes).sum::<usize>() + newcomer.bytes();
        self.iter().take_while(move |oldest| {
            let is_over = count > DEAD_MAX || bytes > DEAD_BYTES_MAX;
            count -= 1;
            bytes -= oldest.bytes();
            is_over
        })
    }

    pub(crate) fn push(&mut self, newcomer: Shared) {
        let displaced = self.displaced_by(&newcomer.0).count();
        let dead = Arc::make_mut(self.0.get_or_insert_default());
        dead.drain(..displaced);
        dead.push_back(newcomer);
    }

    pub(crate) fn remove(&mut self, id: CommandId) {
        let Some(index) = self.iter().position(|command| command.id == id) else { return };
        let Some(dead) = self.0.as_mut().map(Arc::make_mut) else { return };
        dead.remove(index);
        if dead.is_empty() {
            self.0 = None;
        }
    }
}
