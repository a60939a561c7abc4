//! `twinfold restore`: a node's data folder, made of a backup. It appears whole, or not at all.

use std::fs::{self, File};
use std::io::{self, BufReader};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use cluster::inspect::{self, Verdict};
use cluster::wal::Kind;
use runtime::backup::{self, Head};
use runtime::files::disk::Disk;
use runtime::files::{Files, Lock};

/// Why nothing was restored. Each says what to do.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("{0}\nnext: take another backup: twinfold backup FILE")]
    Backup(#[from] backup::Error),
    #[error("{0}\nnext: {next}", next = crate::node::next(.0))]
    Log(#[from] cluster::Error),
    #[error("reading {} failed: {source}\nnext: name a file that `twinfold backup` made", file.display())]
    Unread { file: PathBuf, source: io::Error },
    #[error("{doing} {} failed: {source}\nnext: see what is there, and whether the disk has room: ls -ld {} && df .", path.display(), path.display())]
    Io { doing: &'static str, path: PathBuf, source: io::Error },
    #[error("{} holds files that are no node's data\nnext: move it away, and restore again: mv {} {}.before", .0.display(), .0.display(), .0.display())]
    Foreign(PathBuf),
    #[error(
        "{} holds data of node {node}, generation {generation}, which is not newer than the backup\nnext: keep it aside and restore: {}", data.display(), forced(file, data)
    )]
    Older { file: PathBuf, data: PathBuf, node: u64, generation: u64 },
    #[error(
        "{} holds data whose log is damaged: {why}\nnext: keep it aside and restore: {}", data.display(), forced(file, data)
    )]
    Damaged { file: PathBuf, data: PathBuf, why: String },
    #[error(
        "{} is newer: it has generation {found}, the backup {backup}\nnext: start a node on it, or move it away first: mv {} {}.newer", data.display(), data.display(), data.display()
    )]
    Newer { data: PathBuf, found: u64, backup: u64 },
    #[error(
        "{} holds data of node {found}, the backup is of node {backup}\nnext: restore it beside: twinfold restore {} --data {}.node-{backup}", data.display(), file.display(), data.display()
    )]
    OtherNode { file: PathBuf, data: PathBuf, found: u64, backup: u64 },
}

/// What was restored.
pub(crate) struct Restored {
    pub(crate) head: Head,
    pub(crate) files: u64,
    pub(crate) bytes: u64,
    /// Whether it was served, so that what is sealed in it needs a master key that no backup has.
    pub(crate) is_sealed: bool,
    /// Where the data is now that was in the folder before.
    pub(crate) aside: Option<PathBuf>,
}

/// Makes `data` of the backup in `file`. With `force`, data of the same node that is not newer is moved aside, also when
/// it is damaged.
pub(crate) fn run(file: &Path, data: &Path, force: bool, log: cluster::Options) -> Result<Restored, Error> {
    let unread = |source| Error::Unread { file: file.to_owned(), source };
    let open = || File::open(file).map(BufReader::new).map_err(unread);
    let head = backup::head(open()?)?;
    let there = Present::look(data)?;
    if let Some(there) = &there {
        there.check(file, data, &head, force)?;
    }
    let parent = match data.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    Disk.create_folder(parent).map_err(at("making", parent))?;
    // Removed when anything fails.
    let draft = tempfile::Builder::new().prefix(".restoring-").tempdir_in(parent);
    let draft = draft.map_err(at("making a folder in", parent))?;
    let files = Arc::new(Disk);
    let restored = backup::restore(open()?, &*files, draft.path())?;
    let (definitions, applied) = (&restored.definitions, &restored.applied);
    let state = cluster::restore(files, &draft.path().join("log"), log, definitions, applied)?;
    Disk.sync_folder(draft.path()).map_err(at("syncing", draft.path()))?;
    let aside = match there {
        Some(_lock) => Some(move_aside(data, head.generation)?),
        None => None,
    };
    // An empty folder gives way to the whole one.
    fs::rename(draft.path(), data).map_err(at("moving what was restored to", data))?;
    drop(draft.keep());
    Disk.sync_folder(parent).map_err(at("syncing", parent))?;
    let backup::Summary { files, bytes } = restored.summary;
    Ok(Restored { head, files, bytes, is_sealed: state.sealed_under.is_some(), aside })
}

/// Data that is in the folder already, of a node that does not run.
struct Present {
    /// As far as its log can be read.
    node: Option<u64>,
    generation: u64,
    damage: Option<String>,
    _lock: Box<dyn Lock>,
}

impl Present {
    /// None where the folder is empty, or not there.
    fn look(data: &Path) -> Result<Option<Self>, Error> {
        let log = data.join("log");
        match fs::read_dir(data) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(at("listing", data)(error)),
            Ok(mut names) => match names.next() {
                None => return Ok(None),
                Some(_) if !has_log(&log) => return Err(Error::Foreign(data.to_owned())),
                Some(_) => {}
            },
        }
        let (mut node, mut generation) = (None, 0);
        let read = inspect::dump(&Disk, &log, &mut |located| {
            let record = &located.record;
            if record.kind == Kind::Generation {
                generation = record.id.index;
            }
            node = record.as_vote().map(|vote| vote.node).or(node);
        });
        let damage = match read {
            Ok(report) => match report.verdict {
                Verdict::Whole | Verdict::Torn { .. } => None,
                Verdict::Damaged { segment, offset } => {
                    Some(format!("segment {segment}, from byte {offset} on"))
                }
                Verdict::Hole { group, index } => Some(format!("group {group} lacks entry {index}")),
            },
            Err(error @ cluster::Error::Missing { .. }) => Some(error.to_string()),
            Err(error) => return Err(error.into()),
        };
        let lock = Disk.lock(&log.join("lock"));
        let _lock = lock.map_err(|_| cluster::Error::InUse { folder: log })?;
        Ok(Some(Self { node, generation, damage, _lock }))
    }

    fn check(&self, file: &Path, data: &Path, head: &Head, force: bool) -> Result<(), Error> {
        let (file, data, generation) = (file.to_owned(), data.to_owned(), self.generation);
        match self.node {
            Some(found) if found != head.node => {
                Err(Error::OtherNode { file, data, found, backup: head.node })
            }
            _ if generation > head.generation => {
                Err(Error::Newer { data, found: generation, backup: head.generation })
            }
            _ if force => Ok(()),
            _ => Err(match self.damage.clone() {
                Some(why) => Error::Damaged { file, data, why },
                None => Error::Older { file, data, node: head.node, generation },
            }),
        }
    }
}

/// Gives the folder a name beside its own that nothing has yet.
fn move_aside(data: &Path, generation: u64) -> Result<PathBuf, Error> {
    let name = data.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let names = (1..).map(|n| data.with_file_name(format!("{name}.before-{generation}.{n}")));
    let mut free = names.filter(|name| !name.exists());
    let aside = free.next().expect("the names do not end");
    fs::rename(data, &aside).map_err(at("moving aside", data))?;
    Ok(aside)
}

/// Whether a folder has segments of a log.
fn has_log(log: &Path) -> bool {
    let mut names = fs::read_dir(log).into_iter().flatten().flatten().map(|entry| entry.path());
    names.any(|path| path.extension().is_some_and(|end| end == "wal"))
}

/// The command that restores over data that is moved aside.
fn forced(file: &Path, data: &Path) -> String {
    format!("twinfold restore {} --data {} --force", file.display(), data.display())
}

fn at(doing: &'static str, path: &Path) -> impl Fn(io::Error) -> Error {
    move |source| Error::Io { doing, path: path.to_owned(), source }
}
