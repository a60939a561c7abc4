//! Recovery of the log from files that were changed in any way: it never panics, it never shows a record that nobody
//! wrote, and it agrees with `twinfold log verify`.

use bytes::Bytes;
use cluster::inspect::{self, Verdict};
use cluster::wal::Record;
use cluster::{Error, Options, Storage};
use proptest::prelude::*;
use runtime::files::{Files, sim::Sim};
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock, mpsc};

const FOLDER: &str = "data/log";

type Whole = (Vec<(PathBuf, Vec<u8>)>, Vec<Record>);

/// The files of a stopped node with two shards in use and several segments, and its records in order.
static WHOLE: LazyLock<Whole> = LazyLock::new(|| {
    let disk = Sim::new(1);
    let storage = open(&disk).unwrap();
    for n in 0..100_u32 {
        let (sender, fate) = mpsc::channel();
        let done = Box::new(move |result| drop(sender.send(result)));
        let payload = Bytes::from(vec![n as u8; (n * 37 % 900) as usize]);
        storage.shard_log(n % 2).propose(1, payload, done);
        fate.recv().unwrap().unwrap();
    }
    drop(storage);
    let names = disk.list(Path::new(FOLDER)).unwrap();
    let segments = names.iter().filter(|name| name.ends_with(".wal"));
    let files = segments.map(|name| {
        let path = Path::new(FOLDER).join(name);
        let file = disk.open(&path).unwrap();
        let mut bytes = vec![0; file.len().unwrap() as usize];
        file.read_at(&mut bytes, 0).unwrap();
        (path, bytes)
    });
    let files: Vec<_> = files.collect();
    assert!(files.len() > 2, "several segments");
    (files, records(&disk).unwrap().1)
});

fn open(disk: &Sim) -> Result<Storage, Error> {
    let options = Options { segment_bytes: 16 << 10, reserve_bytes: 0, ..Options::default() };
    Storage::open(Arc::new(disk.clone()), Path::new(FOLDER), options)
}

fn records(disk: &Sim) -> Result<(Verdict, Vec<Record>), Error> {
    let mut records = Vec::new();
    let report = inspect::dump(disk, Path::new(FOLDER), &mut |located| records.push(located.record))?;
    Ok((report.verdict, records))
}

/// What may happen to a file.
#[derive(Debug, Clone)]
enum Harm {
    Byte(usize, u8),
    Cut(usize),
    /// A piece appears at another place too.
    Copied(usize, usize, usize),
    Zeroed(usize, usize),
    Removed,
    Any(Vec<u8>),
}

impl Harm {
    fn strategy() -> impl Strategy<Value = Self> {
        let at = || 0..20_000_usize;
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

/// A disk with the whole files, each of the harms done to one of them.
fn harmed(harms: &[(usize, Harm)]) -> Sim {
    let mut files: Vec<_> = WHOLE.0.iter().map(|(path, bytes)| (path, Some(bytes.clone()))).collect();
    for (index, harm) in harms {
        let (_, bytes) = &mut files[index % WHOLE.0.len()];
        *bytes = bytes.take().and_then(|bytes| harm.done_to(bytes));
    }
    let disk = Sim::new(2);
    disk.create_folder(Path::new(FOLDER)).unwrap();
    for (path, bytes) in files {
        let Some(bytes) = bytes else { continue };
        let file = disk.create(path).unwrap();
        file.write_at(&bytes, 0).unwrap();
        file.sync_data().unwrap();
    }
    disk.sync_folder(Path::new(FOLDER)).unwrap();
    disk
}

proptest! {
    #[test]
    fn a_log_that_was_changed_in_any_way_is_whole_cut_or_refused(
        harms in prop::collection::vec((0..8_usize, Harm::strategy()), 0..4),
    ) {
        let disk = harmed(&harms);

        let looked = records(&disk);
        let opened = open(&disk);

        if let Ok((verdict, records)) = &looked {
            // Nothing but a part of what was written, from some segment on, in its order.
            let from = records.first().and_then(|first| WHOLE.1.iter().position(|record| record == first));
            let rest = &WHOLE.1[from.unwrap_or(0)..];
            prop_assert!(rest.starts_with(records), "a record that nobody wrote, or one out of its order");
            let fine = matches!(verdict, Verdict::Whole | Verdict::Torn { .. });
            prop_assert_eq!(fine, opened.is_ok(), "{:?}: {:?}", verdict, opened.as_ref().err());
        } else {
            prop_assert!(opened.is_err());
        }
        if let Ok(storage) = opened {
            drop(storage);
            let again = records_of(&disk);
            prop_assert!(again.is_ok(), "what was opened opens again: {:?}", again.err());
        }
    }

    #[test]
    fn any_bytes_in_place_of_a_segment_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..4_000)) {
        let disk = harmed(&[(0, Harm::Any(bytes))]);

        drop(records(&disk));
        drop(open(&disk));
    }
}

fn records_of(disk: &Sim) -> Result<(), Error> {
    open(disk).map(drop)
}
