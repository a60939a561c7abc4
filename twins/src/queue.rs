//! The commands of a twin: those that are open, in the order they were queued, and the last ones that ended.
//!
//! The queue only takes steps; which step to take when is decided in `decide`.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::command::{Command, CommandId, Mode, State};
use crate::json::Json;
use crate::time::Timestamp;

/// How many commands may be open.
pub const OPEN_MAX: usize = 1_000;
/// How many bytes the payloads of open commands may have together.
pub const OPEN_BYTES_MAX: usize = 4 * 1024 * 1024;
/// How many commands that ended are remembered.
pub const ENDED_MAX: usize = 32;
/// How often a command is sent before it is given up.
pub const ATTEMPTS_MAX: u32 = 5;
/// The longest time to live, and the default: 30 days.
pub const TTL_MAX: std::time::Duration = std::time::Duration::from_secs(30 * 24 * 60 * 60);

/// The commands. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq, Default, minicbor::Encode, minicbor::Decode)]
pub struct Queue {
    #[n(0)]
    #[cbor(with = "crate::codec::shared")]
    open: Arc<VecDeque<Command>>,
    #[n(1)]
    #[cbor(with = "crate::codec::shared")]
    ended: Arc<VecDeque<Command>>,
}

/// One step of a command.
#[derive(Debug, Clone, PartialEq, Eq, minicbor::Encode, minicbor::Decode)]
pub enum Step {
    /// Handed to the session of this epoch, once more.
    #[n(0)]
    Sent(#[n(0)] u64),
    /// The device acknowledged it.
    #[n(1)]
    Delivered,
    /// The device did it.
    #[n(2)]
    Done(#[n(0)] Option<Json>),
    /// The device would not.
    #[n(3)]
    Rejected(#[n(0)] Option<Json>),
    /// Its deadline passed.
    #[n(4)]
    Expired,
    /// It was withdrawn.
    #[n(5)]
    Cancelled,
    /// A newer one took its place.
    #[n(6)]
    Superseded,
    /// It is given up.
    #[n(7)]
    Dead,
}

impl Queue {
    /// Those that are open, oldest first.
    pub fn open(&self) -> impl DoubleEndedIterator<Item = &Command> {
        self.open.iter()
    }

    /// The last ones that ended, oldest first.
    pub fn ended(&self) -> impl DoubleEndedIterator<Item = &Command> {
        self.ended.iter()
    }

    /// How many are open.
    pub fn len(&self) -> usize {
        self.open.len()
    }

    /// Whether none is open.
    pub fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    /// A command by its id, open or ended.
    pub fn get(&self, id: CommandId) -> Option<&Command> {
        self.open().chain(self.ended()).find(|command| command.id == id)
    }

    /// The bytes of the payloads of those that are open.
    pub fn open_bytes(&self) -> usize {
        self.open().map(|command| command.payload.len()).sum()
    }

    /// Whether it is on its way to the session of this epoch.
    pub fn is_sent(&self, id: CommandId, epoch: u64) -> bool {
        self.open().any(|command| command.id == id && command.state == State::Sent && command.epoch == epoch)
    }

    /// The one whose turn it is: the next waits until this one is delivered.
    pub fn head(&self) -> Option<&Command> {
        self.open().find(|command| matches!(command.state, State::Queued | State::Sent))
    }

    /// The latest-only ones of this name that a new one would supersede, oldest first.
    pub fn pending(&self, name: &str) -> impl Iterator<Item = &Command> {
        self.open().filter(move |command| command.mode == Mode::Latest && command.name.as_str() == name)
    }

    /// When the next one expires.
    pub fn next_deadline(&self) -> Option<Timestamp> {
        self.open().map(|command| command.deadline).min()
    }

    pub(crate) fn push(&mut self, command: &Command) {
        Arc::make_mut(&mut self.open).push_back(command.clone());
    }

    /// Takes a step; a command that ends by it moves to the ended ones. A step of a command that is not open is none.
    pub(crate) fn step(&mut self, id: CommandId, step: &Step, at: Timestamp) {
        let Some(index) = self.open.iter().position(|command| command.id == id) else { return };
        let open = Arc::make_mut(&mut self.open);
        let command = &mut open[index];
        command.changed = at;
        match step {
            Step::Sent(epoch) => {
                command.state = State::Sent;
                command.epoch = *epoch;
                command.attempt += 1;
            }
            Step::Delivered => command.state = State::Delivered,
            Step::Done(result) => {
                command.state = State::Done;
                command.result.clone_from(result);
            }
            Step::Rejected(result) => {
                command.state = State::Rejected;
                command.result.clone_from(result);
            }
            Step::Expired => command.state = State::Expired,
            Step::Cancelled => command.state = State::Cancelled,
            Step::Superseded => command.state = State::Superseded,
            Step::Dead => command.state = State::Dead,
        }
        if !command.is_final() {
            return;
        }
        let Some(command) = open.remove(index) else { return };
        let ended = Arc::make_mut(&mut self.ended);
        if ended.len() == ENDED_MAX {
            ended.pop_front();
        }
        ended.push_back(command);
    }
}
