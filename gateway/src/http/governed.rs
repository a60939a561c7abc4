//! Definitions that a caller may see or change, as it asked the [`Caller`] for: no handler reaches the directory otherwise.

use std::sync::Arc;

use runtime::access::{Denied, Identity};
use runtime::directory::{By, Change, Definitions, Directory, Entry};

use super::caller::Caller;
use super::once;
use super::problem::Problem;

/// Definitions in the hands of a caller.
pub(super) struct Governed<'a> {
    caller: &'a Caller,
    definitions: Arc<dyn Definitions>,
}

impl<'a> Governed<'a> {
    pub(super) fn by(caller: &'a Caller, definitions: Arc<dyn Definitions>) -> Self {
        Self { caller, definitions }
    }

    /// The directory as it is.
    pub(super) fn directory(&self) -> Arc<Directory> {
        self.definitions.current()
    }

    /// Where the directory and its audit are read.
    pub(super) fn definitions(&self) -> Arc<dyn Definitions> {
        self.definitions.clone()
    }

    /// Makes a change in a tenant and waits until it is durable; with `expected` only if the directory has that version.
    pub(super) async fn change(
        &self,
        tenant: &str,
        change: Change,
        reason: Option<String>,
        expected: Option<u64>,
    ) -> Result<u64, Problem> {
        let by = match self.caller.identity() {
            Identity::User { tenant, name, token } => {
                By::Principal { tenant: tenant.clone(), name: name.clone(), token: *token }
            }
            Identity::Device { .. } => {
                return Err(Denied::Forbidden("a device only speaks for itself".into()).into());
            }
        };
        if self.caller.repeats() {
            return Err(once::undirected());
        }
        let entry = Entry { at: self.caller.now(), by, reason, tenant: tenant.to_owned(), change };
        let definitions = self.definitions.clone();
        // It waits for the disk.
        let changed = tokio::task::spawn_blocking(move || definitions.change(entry, expected)).await;
        Ok(changed.map_err(|_| Problem::internal("the change was broken off"))??)
    }
}
