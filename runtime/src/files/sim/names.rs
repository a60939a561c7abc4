//! The names of the simulated disk: those that are durable, those that are seen, and the changes between the two.

use super::Random;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};

#[derive(Default)]
pub(super) struct Names {
    folders: BTreeSet<PathBuf>,
    durable: BTreeMap<PathBuf, u64>,
    seen: BTreeMap<PathBuf, u64>,
    pending: Vec<Change>,
}

/// A change of names within one folder, kept or lost as a whole.
#[derive(Clone)]
struct Change {
    folder: PathBuf,
    removed: Option<PathBuf>,
    made: Option<(PathBuf, u64)>,
}

impl Change {
    fn apply(self, names: &mut BTreeMap<PathBuf, u64>) {
        if let Some(path) = self.removed {
            names.remove(&path);
        }
        if let Some((path, id)) = self.made {
            names.insert(path, id);
        }
    }
}

impl Names {
    pub(super) fn create_folder(&mut self, folder: &Path) {
        self.folders.extend(folder.ancestors().map(Path::to_owned));
    }

    pub(super) fn list(&self, folder: &Path) -> io::Result<Vec<String>> {
        self.check(folder)?;
        let inside = self.seen.keys().filter(|path| path.parent() == Some(folder));
        Ok(inside.filter_map(|path| path.file_name()?.to_str().map(str::to_owned)).collect())
    }

    pub(super) fn folders(&self, folder: &Path) -> io::Result<Vec<String>> {
        self.check(folder)?;
        let inside = self.folders.iter().filter(|path| path.parent() == Some(folder));
        Ok(inside.filter_map(|path| path.file_name()?.to_str().map(str::to_owned)).collect())
    }

    /// Its removal is durable, and with it those of what was in it.
    pub(super) fn remove_folder(&mut self, folder: &Path) -> io::Result<()> {
        let holds = |path: &PathBuf| path.parent() == Some(folder);
        if self.seen.keys().any(holds) || self.folders.iter().any(holds) {
            return Err(io::ErrorKind::DirectoryNotEmpty.into());
        }
        self.sync(folder)?;
        self.folders.remove(folder);
        Ok(())
    }

    pub(super) fn find(&self, path: &Path) -> io::Result<u64> {
        self.seen.get(path).copied().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// Whether a reader can reach the file.
    pub(super) fn shows(&self, id: u64) -> bool {
        self.seen.values().any(|seen| *seen == id)
    }

    /// Whether the file has a name, seen or durable.
    pub(super) fn refers(&self, id: u64) -> bool {
        self.shows(id) || self.durable.values().any(|durable| *durable == id)
    }

    pub(super) fn create(&mut self, path: &Path, id: u64) -> io::Result<()> {
        if self.seen.contains_key(path) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        self.change(path, None, Some((path.to_owned(), id)))
    }

    pub(super) fn rename(&mut self, source: &Path, target: &Path) -> io::Result<()> {
        let id = self.find(source)?;
        assert_eq!(source.parent(), target.parent(), "a file moves within its folder only");
        self.change(source, Some(source.to_owned()), Some((target.to_owned(), id)))
    }

    pub(super) fn remove(&mut self, path: &Path) -> io::Result<()> {
        self.find(path)?;
        self.change(path, Some(path.to_owned()), None)
    }

    pub(super) fn sync(&mut self, folder: &Path) -> io::Result<()> {
        self.check(folder)?;
        for change in std::mem::take(&mut self.pending) {
            if change.folder == folder {
                change.apply(&mut self.durable);
            } else {
                self.pending.push(change);
            }
        }
        Ok(())
    }

    pub(super) fn crash(&mut self, random: &mut Random) {
        for change in std::mem::take(&mut self.pending) {
            if random.chance(50) {
                change.apply(&mut self.durable);
            }
        }
        self.seen.clone_from(&self.durable);
    }

    fn change(
        &mut self,
        path: &Path,
        removed: Option<PathBuf>,
        made: Option<(PathBuf, u64)>,
    ) -> io::Result<()> {
        let folder = path.parent().unwrap_or(Path::new("")).to_owned();
        self.check(&folder)?;
        let change = Change { folder, removed, made };
        change.clone().apply(&mut self.seen);
        self.pending.push(change);
        Ok(())
    }

    fn check(&self, folder: &Path) -> io::Result<()> {
        if self.folders.contains(folder) { Ok(()) } else { Err(io::ErrorKind::NotFound.into()) }
    }
}
