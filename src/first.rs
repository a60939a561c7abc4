//! Letting somebody in without a node: the first admin of a data folder, and whoever lost their token but not the folder.
//!
//! Whoever may write to the folder of a node that does not run can change everything in it anyway. So this asks for no
//! credentials, and leaves an entry in the audit that says that it was done so.

use std::path::Path;
use std::sync::Arc;

use cluster::identity::Kept;
use cluster::{META_GROUP, Storage};
use gateway::trust::token::Text;
use gateway::trust::vault;
use runtime::clock::{Clock, SystemClock};
use runtime::directory::{By, Change, Definitions, Entry, Refused, Roles, Sort};
use runtime::files::disk::Disk;
use runtime::operations::Order;
use twins::id::DEFAULT_TENANT;
use twins::name::Name;

use crate::master;

/// Why nobody was let in.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("{0}\nnext: {next}", next = crate::node::next(.0))]
    Storage(#[from] cluster::Error),
    #[error("{0}\nnext: correct it, and say it again")]
    Refused(#[from] Refused),
    #[error("{0}\nnext: see whether the system has /dev/urandom")]
    Random(#[from] vault::Error),
    #[error("{0}\nnext: set TWINFOLD_MASTER_KEY, or see whether the folder may be written to")]
    MasterKey(#[from] gateway::trust::master::Error),
    #[error("reading {}: {why}\nnext: name the data folder of a node, or one that is empty", folder.display())]
    Unreadable { folder: std::path::PathBuf, why: std::io::Error },
    #[error("{} holds files that are no node's data\nnext: name a folder that is empty, or is not there yet", .0.display())]
    Foreign(std::path::PathBuf),
    #[error(
        "{} is one of several nodes, which decide together\nnext: start it with serve, and let another admin do this: twinfold user add NAME", .0.display()
    )]
    OfSeveral(std::path::PathBuf),
    #[error(transparent)]
    Identity(#[from] cluster::identity::Error),
}

/// Gives somebody of the default tenant these roles, and a token, which is returned and not kept. Makes the folder's log
/// if there is none.
pub(crate) fn admit(
    folder: &Path,
    options: cluster::Options,
    name: Name,
    sort: Sort,
    roles: Roles,
    reason: Option<String>,
) -> Result<String, Error> {
    is_ours(folder)?;
    let kept = Kept::read(&Disk, folder)?;
    let node = kept.as_ref().map_or(options.node, |kept| kept.node);
    let begins = !kept.as_ref().is_some_and(Kept::has_joined);
    let options = cluster::Options { node, begins, ..options };
    let storage = Storage::open(Arc::new(Disk), &folder.join("log"), options)?;
    if *storage.group(META_GROUP).leader().borrow() != Some(node) {
        return Err(Error::OfSeveral(folder.to_owned()));
    }
    let (definitions, at) = (storage.meta(), SystemClock.now());
    if definitions.current().version == 0 {
        master::make(folder)?;
    }
    let text = Text::new()?;
    let (id, digest, owner) = (text.id(), text.digest(), name.clone());
    let expires = at + gateway::trust::token::LIFE;
    let entry = |change| {
        let (tenant, reason) = (DEFAULT_TENANT.to_owned(), reason.clone());
        Entry { at, by: By::Folder, reason, tenant, change }
    };
    // Where nothing is said of roles, those that there are stay.
    let roles = (!roles.is_empty()).then_some(roles);
    definitions.change(entry(Change::PutPrincipal { name, sort, roles, disabled: Some(false) }), None)?;
    definitions.change(entry(Change::AddToken { id, owner, digest, scope: None, expires }), None)?;
    Ok(text.reveal())
}

/// Writes to the audit of a folder that whoever may write to it has the cluster do something.
pub(crate) fn note(definitions: &dyn Definitions, order: &Order) -> Result<(), Error> {
    let order =
        Name::new("an order", &order.to_string()).map_err(|error| Refused::Unfit(error.to_string()))?;
    let (at, tenant) = (SystemClock.now(), DEFAULT_TENANT.to_owned());
    let change = Change::OrderCluster { order };
    definitions.change(Entry { at, by: By::Folder, reason: None, tenant, change }, None)?;
    Ok(())
}

/// A folder with something else in it is not begun as a node's.
fn is_ours(folder: &Path) -> Result<(), Error> {
    let unreadable = |why| Error::Unreadable { folder: folder.to_owned(), why };
    match std::fs::read_dir(folder) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(unreadable(error)),
        Ok(mut names) => match names.next() {
            Some(_) if !folder.join("log").is_dir() => Err(Error::Foreign(folder.to_owned())),
            _ => Ok(()),
        },
    }
}

#[cfg(test)]
mod tests {
    use runtime::directory::Role;

    use super::*;

    fn options() -> cluster::Options {
        cluster::Options { segment_bytes: 64 << 10, reserve_bytes: 0, ..Default::default() }
    }

    fn admit_admin(folder: &Path) -> Result<String, Error> {
        let roles = Roles::from_iter([Role::Admin]);
        admit(folder, options(), Name::fixed("ada"), Sort::User, roles, None)
    }

    #[test]
    fn the_first_admin_is_there_when_the_node_starts() {
        let data = tempfile::tempdir().unwrap();
        let folder = data.path().join("node");

        let token = Text::parse(&admit_admin(&folder).unwrap()).unwrap();

        let storage = Storage::open(Arc::new(Disk), &folder.join("log"), options()).unwrap();
        let directory = storage.meta().current();
        assert!(directory.has_admin("default"));
        assert_eq!(directory.tokens[&token.id()].digest, token.digest());
    }

    #[test]
    fn whoever_lost_their_token_gets_another_one() {
        let data = tempfile::tempdir().unwrap();

        let tokens = [admit_admin(data.path()).unwrap(), admit_admin(data.path()).unwrap()];

        assert_ne!(tokens[0], tokens[1]);
        let storage = Storage::open(Arc::new(Disk), &data.path().join("log"), options()).unwrap();
        assert_eq!(storage.meta().current().tokens.len(), 2);
    }

    #[test]
    fn the_folder_of_a_node_that_runs_and_a_foreign_one_are_refused() {
        let data = tempfile::tempdir().unwrap();
        let running = Storage::open(Arc::new(Disk), &data.path().join("log"), options()).unwrap();
        assert!(admit_admin(data.path()).unwrap_err().to_string().contains("next: stop the other node"));
        drop(running);

        let foreign = tempfile::tempdir().unwrap();
        std::fs::write(foreign.path().join("photo.jpg"), "").unwrap();
        assert!(matches!(admit_admin(foreign.path()), Err(Error::Foreign(_))));
        assert!(!foreign.path().join("log").exists());
    }
}
