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
            return match self.execute_blocking(Command::Directory(entry.clone()), state.version) {
                Ok(_) => Ok(current + 1),
                Err(Refusal::Stale { .. }) => continue,
                Err(refusal) => Err(refusal.into()),
            };
        }
    }

    fn changes(&self) -> Listener {
        self.following.directory.listen()
    }

    fn audit(&self, from: u64, visit: &mut dyn FnMut(Line, &Entry) -> bool) -> Result<(), Refused> {
        let mut state = State::default();
        let read = replay(&*self.following.log, self.following.applied(), &mut |_, entry| {
            let line = match &entry.command {
                Command::Directory(change) if state.directory.version + 1 >= from => {
                    Some((state.directory.line(change), change.redacted()))
                }
                _ => None,
            };
            let is_applied = state.apply(entry.expected, &entry.command).is_ok();
            match line.filter(|_| is_applied) {
                Some((line, entry)) => visit(line, &entry),
                None => true,
            }
        });
        read.map_err(|error| LogError::Unreadable(error.to_string()).into())
    }
}

#[cfg(test)]
mod tests {
    use super::super::{NodeState, describe};
    use super::*;
    use crate::{Options, Storage};
    use runtime::directory::audit::Chain;
    use runtime::directory::{By, Change, Roles, Sort, TokenId, check_name};
    use runtime::files::sim::Sim;
    use std::path::Path;

    fn open(disk: &Arc<Sim>) -> Storage {
        let options = Options { segment_bytes: 64 << 10, reserve_bytes: 0, ..Options::default() };
        Storage::open(disk.clone(), Path::new("/log"), options).unwrap()
    }

    fn entry(change: Change) -> Entry {
        Entry { at: Default::default(), by: By::Folder, reason: None, tenant: "default".to_owned(), change }
    }

    fn user(name: &str) -> Entry {
        let (name, roles) = (check_name("a name", name).unwrap(), Roles::default());
        entry(Change::PutPrincipal { name, sort: Sort::User, roles: Some(roles), disabled: Some(false) })
    }

    #[test]
    fn what_was_changed_is_there_after_the_power_failed_and_is_its_own_audit() {
        let disk = Arc::new(Sim::new(1));
        let storage = open(&disk);
        let meta = storage.meta();
        meta.change(user("ada"), None).unwrap();
        // Other parts of the meta state change in between.
        let register = Command::register(1, 1, String::new(), "1".to_owned());
        meta.execute_blocking(register, meta.state().version).unwrap();
        meta.change(user("bob"), Some(1)).unwrap();
        let before = meta.current();
        drop((meta, storage));
        disk.crash();

        let after = open(&disk).meta();

        assert_eq!(after.current(), before);
        let (mut chain, mut subjects) = (Chain::NEW, Vec::new());
        after
            .audit(1, &mut |line, entry| {
                line.follow(&mut chain).unwrap();
                subjects.extend(entry.change.subject());
                true
            })
            .unwrap();
        assert_eq!((chain, subjects), (before.chain, vec!["ada".to_owned(), "bob".to_owned()]));
    }

    #[test]
    fn a_change_made_for_another_version_or_that_makes_no_sense_is_not_in_the_log() {
        let storage = open(&Arc::new(Sim::new(1)));
        let meta = storage.meta();
        let mut changes = meta.changes();
        assert_eq!(meta.change(user("ada"), Some(0)), Ok(1));
        assert!(changes.has_changed().unwrap() && *changes.borrow_and_update() == 1);

        assert_eq!(meta.change(user("bob"), Some(0)), Err(Refused::Stale { expected: 0, current: 1 }));
        let unknown = entry(Change::RemoveToken { id: TokenId(7) });
        assert!(matches!(meta.change(unknown, None), Err(Refused::Unknown(_))));

        assert_eq!((meta.state().version, meta.current().version), (1, 1));
        assert!(!changes.has_changed().unwrap());
    }

    #[test]
    fn an_entry_is_described_without_its_secret() {
        let (id, owner) = (TokenId(7), check_name("a name", "ada").unwrap());
        let digest = runtime::directory::audit::Fingerprint([0xab; 32]);
        let expires = Default::default();
        let command = Command::Directory(entry(Change::AddToken { id, owner, digest, scope: None, expires }));

        let described = describe(&super::super::command::Entry { expected: 0, command }.encode()).unwrap();

        assert_eq!(described, "default: token-added 0000000000000007, by folder");
        let command = Command::SetNodeState { node: 1, state: NodeState::Draining };
        let described = describe(&super::super::command::Entry { expected: 0, command }.encode());
        assert_eq!(described.as_deref(), Some("node 1 is Draining"));
        assert_eq!(describe(b"x"), None);
    }
}
