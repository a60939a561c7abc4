//! What a node reads back from its disk, changed in any way: streams, entries and records. Nothing panics, and a stream
//! shows no record that was not appended.

#[path = "../../tests/support/harm.rs"]
mod harm;

use harm::{Harm, Whole, files, harmed};
use proptest::prelude::*;
use runtime::files::{Files, sim::Sim};
use runtime::record::Record;
use runtime::shard::entry::Batch;
use runtime::stream::{self, Indexer, Place, Reader, Writer};
use std::path::Path;
use std::sync::{Arc, LazyLock};
use twins::time::Timestamp;

const FOLDER: &str = "streams/7";
const RECORDS: u64 = 300;

/// The files of a stream whose records are all durable.
static WHOLE: LazyLock<Whole> = LazyLock::new(|| {
    let disk = Sim::new(1);
    let (mut writer, reader) = open(&disk, 0).unwrap();
    for n in 0..RECORDS {
        writer.append(Timestamp::from_millis(n * 1000), &record(n)).unwrap();
        if n % 90 == 89 {
            writer.seal();
        }
        writer.flush().unwrap();
    }
    writer.sync().unwrap();
    drop((writer, reader));
    files(&disk, FOLDER, "")
});

fn record(n: u64) -> Vec<u8> {
    vec![n as u8; (n * 131 % 1500) as usize]
}

fn open(disk: &Sim, end: u64) -> Result<(Writer, Reader), stream::Error> {
    let names = disk.list(Path::new(FOLDER)).unwrap_or_default();
    let firsts = names.iter().filter_map(|name| name.strip_suffix(".stream")?.parse().ok());
    let tail = firsts.filter(|first| *first < end).max().unwrap_or(0);
    stream::open(
        Arc::new(disk.clone()),
        Path::new(FOLDER),
        Place { end, tail, earliest: 0 },
        &Indexer::by_hand(),
    )
}

proptest! {
    #[test]
    fn a_stream_that_was_changed_in_any_way_shows_its_own_records_or_an_error(
        harms in Harm::some(100_000),
        end in 0..RECORDS,
    ) {
        let disk = harmed(&WHOLE, FOLDER, &harms);

        if let Ok((mut writer, reader)) = open(&disk, end) {
            prop_assert_eq!(reader.end(), end);
            let mut next = reader.earliest();
            while let Ok(batch) = reader.read(next, 50, usize::MAX) {
                if batch.next == next {
                    break;
                }
                for item in batch.items {
                    prop_assert_eq!(&item.record[..], &record(item.offset)[..], "record {}", item.offset);
                }
                next = batch.next;
            }
            writer.append(Timestamp::from_millis(RECORDS * 1000), b"more").unwrap();
            writer.flush().unwrap();
            prop_assert_eq!(reader.end(), end + 1);
        }
    }

    #[test]
    fn any_bytes_are_no_entry_or_one_that_is_written_as_it_was_read(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        if let Ok(batch) = Batch::decode(&bytes) {
            prop_assert_eq!(Batch::decode(&batch.encode()).unwrap(), batch);
        }
        if let Ok(record) = minicbor::decode::<Record>(&bytes) {
            let written = minicbor::to_vec(&record).unwrap();
            prop_assert_eq!(minicbor::decode::<Record>(&written).unwrap(), record);
        }
    }
}
