//! What `twinfold log verify` and `twinfold log dump` stand on.

use bytes::Bytes;
use cluster::inspect::{self, Verdict};
use cluster::wal::Kind;
use cluster::{Error, Options, Storage};
use runtime::files::{Files, sim::Sim};
use runtime::log::Tenure;
use std::path::Path;
use std::sync::{Arc, mpsc};

const FOLDER: &str = "data/log";
const FIRST: &str = "data/log/000000000001.wal";

fn open(disk: &Sim) -> Storage {
    let options = Options { segment_bytes: 64 << 10, reserve_bytes: 0, ..Options::default() };
    Storage::open(Arc::new(disk.clone()), Path::new(FOLDER), options).unwrap()
}

/// A stopped node whose shard 1 has the given payloads.
fn stopped(payloads: &[&'static [u8]]) -> Sim {
    let disk = Sim::new(1);
    let storage = open(&disk);
    for payload in payloads {
        let (sender, fate) = mpsc::channel();
        let done = Box::new(move |result| drop(sender.send(result)));
        storage.shard_log(0).propose(Tenure::whole(1), Bytes::from_static(payload), done);
        fate.recv().unwrap().unwrap();
    }
    disk
}

#[test]
fn a_whole_log_is_counted_and_shown_in_order() {
    let disk = stopped(&[b"one", b"two"]);
    let mut shown = Vec::new();

    let report = inspect::dump(&disk, Path::new(FOLDER), &mut |located| shown.push(located)).unwrap();

    assert_eq!(report, inspect::verify(&disk, Path::new(FOLDER)).unwrap());
    assert_eq!(report.verdict, Verdict::Whole);
    assert_eq!((report.segments[0].number, report.segments[0].batches), (1, 3));
    assert_eq!(report.segments[0].records as usize, shown.len());
    let normal: Vec<&[u8]> =
        shown.iter().filter(|l| l.record.kind == Kind::Normal).map(|l| &*l.record.payload).collect();
    assert_eq!(normal, [b"one", b"two"]);
    assert!(shown.is_sorted_by_key(|located| (located.segment, located.offset)));
}

#[test]
fn a_torn_tail_and_damage_are_told_apart() {
    let disk = stopped(&[b"one", b"two"]);
    let whole = inspect::verify(&disk, Path::new(FOLDER)).unwrap().segments[0];

    disk.flip(Path::new(FIRST), whole.used_bytes - 9, 0).unwrap();
    let torn = inspect::verify(&disk, Path::new(FOLDER)).unwrap();
    let Verdict::Torn { segment: 1, offset, bytes } = torn.verdict else { panic!("{torn:?}") };
    assert_eq!(torn.segments[0].used_bytes, offset);
    assert!(offset + bytes <= whole.used_bytes);

    disk.flip(Path::new(FIRST), whole.used_bytes - 9, 0).unwrap();
    disk.flip(Path::new(FIRST), offset - 9, 0).unwrap();
    let damaged = inspect::verify(&disk, Path::new(FOLDER)).unwrap();
    assert!(
        matches!(damaged.verdict, Verdict::Damaged { segment: 1, offset: at } if at < offset),
        "{damaged:?}"
    );
}

#[test]
fn a_running_node_and_a_missing_folder_are_refused() {
    let disk = Sim::new(1);
    assert!(matches!(inspect::verify(&disk, Path::new("none")), Err(Error::Io { .. })));
    assert!(disk.list(Path::new("none")).is_err(), "looking makes nothing");

    let storage = open(&disk);

    assert!(matches!(inspect::verify(&disk, Path::new(FOLDER)), Err(Error::InUse { .. })));
    drop(storage);
    inspect::verify(&disk, Path::new(FOLDER)).unwrap();
}
