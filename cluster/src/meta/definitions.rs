//! The directory's port, filled by the meta group: a change is a command, and the group's log is the audit.

use super::{Command, Meta, Refusal, State, replay};
use runtime::directory::audit::Line;
use runtime::directory::{Definitions, Directory, Entry, Listener, Refused};
use runtime::log::Error as LogError;
use std::sync::Arc;

impl Definitions for Meta {
    fn current(&self) -> Arc<Directory> {
        self.state().directory.clone()
    }

    /// A command is conditional on the version of the whole meta state, of which the directory is a part: where another
    /// part has changed in between, it is decided again.
    fn change(&self, entry: Entry, expected: Option<u64>) -> Result<u64, Refused> {
        loop {
            let state = self.state();
            let current = state.directory.version;
            if let Some(expected) = expected.filter(|expected| *expected != current) {
                return Err(Refused::Stale { expected, current });
            }
            return match self.execute(Command::Directory(entry.clone()), state.version) {
                Ok(_) => Ok(current + 1),
                Err(Refusal::Stale { .. }) => continue,
                Err(Refusal::Directory(refused)) => Err(refused),
                Err(Refusal::Log(error)) => Err(error.into()),
                Err(Refusal::Unfit { reason, .. }) => Err(Refused::Conflict(reason)),
            };
        }
    }

    fn changes(&self) -> Listener {
        self.changes.listen()
    }

    fn audit(&self, from: u64, visit: &mut dyn FnMut(Line, &Entry) -> bool) -> Result<(), Refused> {
        let mut state = State::default();
        let read = replay(&*self.log, &mut |entry| {
            let line = match &entry.command {
                Command::Directory(change) => Some((state.directory.line(change), change.redacted())),
                _ => None,
            };
            let is_applied = state.apply(entry.expected, &entry.command).is_ok();
            match line.filter(|(line, _)| is_applied && line.n >= from) {
                Some((line, entry)) => visit(line, &entry),
                None => true,
            }
        });
        read.map_err(|error| LogError::Unreadable(error.to_string()).into())
    }
}
