//! Recovery of the log from files that were changed in any way: it never panics, it never shows a record that nobody
//! wrote, and it agrees with `twinfold log verify`.

#[path = "../../tests/support/harm.rs"]
mod harm;

use bytes::Bytes;
use cluster::inspect::{self, Verdict};
use cluster::wal::Record;
use cluster::{Error, Options, Storage};
use harm::{Harm, Whole, files, harmed};
use proptest::prelude::*;
use runtime::files::sim::Sim;
use runtime::log::Tenure;
use std::path::Path;
use std::sync::{Arc, LazyLock, mpsc};

const FOLDER: &str = "data/log";

/// The files of a stopped node with two shards in use and several segments, and its records in order.
static WHOLE: LazyLock<(Whole, Vec<Record>)> = LazyLock::new(|| {
    let disk = Sim::new(1);
    let storage = open(&disk).unwrap();
    for n in 0..100_u32 {
        let (sender, fate) = mpsc::channel();
        let done = Box::new(move |result| drop(sender.send(result)));
        let payload = Bytes::from(vec![n as u8; (n * 37 % 900) as usize]);
        storage.shard_log(n % 2).propose(Tenure::whole(1), payload, done);
        fate.recv().unwrap().unwrap();
    }
    drop(storage);
    let files = files(&disk, FOLDER, ".wal");
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

proptest! {
    #[test]
    fn a_log_that_was_changed_in_any_way_is_whole_cut_or_refused(
        harms in Harm::some(20_000),
    ) {
        let disk = harmed(&WHOLE.0, FOLDER, &harms);

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
        let disk = harmed(&WHOLE.0, FOLDER, &[(0, Harm::Any(bytes))]);

        drop(records(&disk));
        drop(open(&disk));
    }
}

fn records_of(disk: &Sim) -> Result<(), Error> {
    open(disk).map(drop)
}
