//! Files that are changed in any way, for the fuzz tests of whatever is read back from a disk: those of the log and those
//! of the streams include this file.

use std::path::{Path, PathBuf};

use proptest::prelude::*;
use runtime::files::{Files, sim::Sim};

/// The files of a folder, by their paths.
pub type Whole = Vec<(PathBuf, Vec<u8>)>;

/// What may happen to a file.
#[derive(Debug, Clone)]
pub enum Harm {
    Byte(usize, u8),
    Cut(usize),
    /// A piece appears at another place too.
    Copied(usize, usize, usize),
    Zeroed(usize, usize),
    Removed,
    Any(Vec<u8>),
}

impl Harm {
    /// Up to three of them, each with the number of a file. Places are taken modulo its length.
    pub fn some(places: usize) -> impl Strategy<Value = Vec<(usize, Self)>> {
        prop::collection::vec((0..8_usize, Self::strategy(places)), 0..4)
    }

    fn strategy(places: usize) -> impl Strategy<Value = Self> {
        let at = move || 0..places;
        prop_oneof![
            4 => (at(), any::<u8>()).prop_map(|(at, byte)| Self::Byte(at, byte)),
            2 => at().prop_map(Self::Cut),
            2 => (at(), at(), 0..2_000_usize).prop_map(|(source, target, len)| Self::Copied(source, target, len)),
            2 => (at(), 0..2_000_usize).prop_map(|(at, len)| Self::Zeroed(at, len)),
            1 => Just(Self::Removed),
            1 => prop::collection::vec(any::<u8>(), 0..600).prop_map(Self::Any),
        ]
    }

    /// The file afterwards, if there is one.
    fn done_to(&self, mut bytes: Vec<u8>) -> Option<Vec<u8>> {
        let len = bytes.len();
        match self {
            Self::Byte(at, byte) if len > 0 => bytes[at % len] = *byte,
            Self::Cut(at) if len > 0 => bytes.truncate(at % len),
            Self::Copied(source, target, count) if len > 0 => {
                let (source, target) = (source % len, target % len);
                let count = *count.min(&(len - source.max(target)));
                bytes.copy_within(source..source + count, target);
            }
            Self::Zeroed(at, count) if len > 0 => {
                let at = at % len;
                let end = len.min(at + count);
                bytes[at..end].fill(0);
            }
            Self::Removed => return None,
            Self::Any(other) => bytes.clone_from(other),
            _ => {}
        }
        Some(bytes)
    }
}

/// The files of a folder whose names end so.
pub fn files(disk: &Sim, folder: &str, end: &str) -> Whole {
    let names = disk.list(Path::new(folder)).unwrap();
    let files = names.iter().filter(|name| name.ends_with(end)).map(|name| {
        let path = Path::new(folder).join(name);
        let file = disk.open(&path).unwrap();
        let mut bytes = vec![0; file.len().unwrap() as usize];
        file.read_at(&mut bytes, 0).unwrap();
        (path, bytes)
    });
    let files: Whole = files.collect();
    assert!(files.len() > 2, "several segments");
    files
}

/// A disk with the files, each of the harms done to one of them.
pub fn harmed(whole: &Whole, folder: &str, harms: &[(usize, Harm)]) -> Sim {
    let mut files: Vec<_> = whole.iter().map(|(path, bytes)| (path, Some(bytes.clone()))).collect();
    for (index, harm) in harms {
        let (_, bytes) = &mut files[index % whole.len()];
        *bytes = bytes.take().and_then(|bytes| harm.done_to(bytes));
    }
    let disk = Sim::new(2);
    disk.create_folder(Path::new(folder)).unwrap();
    for (path, bytes) in files {
        let Some(bytes) = bytes else { continue };
        let file = disk.create(path).unwrap();
        file.write_at(&bytes, 0).unwrap();
        file.sync_data().unwrap();
    }
    disk.sync_folder(Path::new(folder)).unwrap();
    disk
}
