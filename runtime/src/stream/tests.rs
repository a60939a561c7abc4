//! What a stream promises while nothing goes wrong, and what it says when something does.

use super::*;
use crate::files::sim::{Random, Sim};
use crate::files::{Files, disk::Disk};
use std::path::Path;
use std::sync::Arc;
use twins::time::Timestamp;

const FOLDER: &str = "streams/7";

/// Opens the stream as a checkpoint has it that recorded this end.
fn open_at(disk: &Sim, end: Offset) -> Result<(Writer, Reader), Error> {
    let firsts = segment::firsts(disk, Path::new(FOLDER)).unwrap_or_default();
    let tail = firsts.into_iter().rfind(|first| *first < end).unwrap_or(0);
    open(Arc::new(disk.clone()), Path::new(FOLDER), Place { end, tail, earliest: 0 }, &Indexer::by_hand())
}

fn at(ms: u64) -> Timestamp {
    Timestamp::from_millis(ms)
}

/// Records of all sizes, one a second.
fn sample(count: u64) -> Vec<(Timestamp, Vec<u8>)> {
    let mut random = Random::new(count);
    let record = |n| {
        let bytes_max = [1, 100, 1000, 150_000][random.below(4) as usize];
        (at(n * 1000), vec![n as u8; random.below(bytes_max) as usize])
    };
    (0..count).map(record).collect()
}

fn append(writer: &mut Writer, records: &[(Timestamp, Vec<u8>)]) {
    append_to(writer, records, 200_000);
}

/// In segments of so many bytes.
fn append_to(writer: &mut Writer, records: &[(Timestamp, Vec<u8>)], segment_bytes: u64) {
    for (time, record) in records {
        let end = writer.end();
        assert_eq!(writer.append(*time, record).unwrap(), end);
        writer.flush().unwrap();
        if writer.open().bytes >= segment_bytes {
            writer.seal();
            writer.flush().unwrap();
        }
    }
}

fn read_all(reader: &Reader, limit: usize, bytes_max: usize) -> Vec<(Timestamp, Vec<u8>)> {
    let mut records = Vec::new();
    let mut next = reader.earliest();
    loop {
        let batch = reader.read(next, limit, bytes_max).unwrap();
        if batch.items.is_empty() {
            assert_eq!(next, reader.end());
            return records;
        }
        for item in batch.items {
            assert_eq!(item.offset, next);
            next += 1;
            records.push((item.time, item.record.to_vec()));
        }
        assert_eq!(batch.next, next);
    }
}

#[test]
fn records_of_all_sizes_are_read_back_in_batches_of_any_size() {
    let disk = Sim::new(1);
    let (mut writer, reader) = open_at(&disk, 0).unwrap();
    let mut records = sample(100);
    records.push((at(200_000), vec![9; RECORD_BYTES_MAX]));

    append(&mut writer, &records);

    assert!(disk.list(Path::new(FOLDER)).unwrap().len() > 5);
    for (limit, bytes_max) in [(1, usize::MAX), (7, 1 << 20), (1000, 1), (1000, 100_000), (1000, usize::MAX)]
    {
        assert_eq!(read_all(&reader, limit, bytes_max), records);
    }
}

#[test]
fn readers_see_what_was_flushed_and_no_more() {
    let (mut writer, reader) = open_at(&Sim::new(1), 0).unwrap();
    writer.append(at(1), b"a").unwrap();
    writer.append(at(2), b"b").unwrap();
    assert_eq!((writer.end(), reader.end()), (2, 0));
    assert_eq!(reader.read(0, 9, 9).unwrap().items, []);

    writer.flush().unwrap();
    writer.append(at(3), b"c").unwrap();

    assert_eq!(read_all(&reader, 9, 9).len(), 2);
    assert_eq!(reader.read(5, 9, 9).unwrap(), Batch { items: Vec::new(), next: 5 });
}

#[test]
fn a_batch_ends_with_the_record_that_fills_it() {
    let (mut writer, reader) = open_at(&Sim::new(1), 0).unwrap();
    append(&mut writer, &[(at(0), vec![0; 10]), (at(0), vec![0; 10]), (at(0), vec![0; 10])]);

    let count = |limit, bytes_max| reader.read(0, limit, bytes_max).unwrap().items.len();

    assert_eq!([count(9, 1), count(9, 10), count(9, 11), count(1, 99), count(0, 99)], [1, 1, 2, 1, 0]);
}

#[test]
fn a_record_that_is_too_long_is_refused_and_leaves_no_trace() {
    let (mut writer, reader) = open_at(&Sim::new(1), 0).unwrap();

    let refused = writer.append(at(1), &[0; RECORD_BYTES_MAX + 1]);

    assert!(matches!(refused, Err(Error::TooLong { bytes }) if bytes == RECORD_BYTES_MAX + 1));
    writer.flush().unwrap();
    assert_eq!((writer.end(), reader.end()), (0, 0));
}

#[test]
fn trimming_drops_whole_segments_and_readers_learn_the_earliest() {
    let disk = Sim::new(1);
    let (mut writer, reader) = open_at(&disk, 0).unwrap();
    let records = sample(60);
    append(&mut writer, &records);
    let before = disk.list(Path::new(FOLDER)).unwrap().len();

    let earliest = writer.trim(30);

    assert!((1..=30).contains(&earliest), "{earliest}");
    assert!(
        matches!(reader.read(earliest - 1, 9, 9), Err(Error::Trimmed { earliest: said }) if said == earliest)
    );
    assert_eq!(read_all(&reader, 99, 1 << 20), records[earliest as usize..]);
    assert_eq!(reader.seek(at(0)).unwrap(), earliest);
    let place = writer.sync().unwrap();
    assert_eq!((place.end, place.earliest), (60, earliest));
    assert_eq!(disk.list(Path::new(FOLDER)).unwrap().len(), before, "a recovery may still ask for them");
    assert!(writer.sweep(0).is_none());
    writer.sweep(place.tail).expect("files of what was trimmed").remove().unwrap();
    assert!(disk.list(Path::new(FOLDER)).unwrap().len() < before);
    drop(writer);
    disk.crash();
    let (_, reader) = open(Arc::new(disk), Path::new(FOLDER), place, &Indexer::by_hand()).unwrap();
    assert_eq!(read_all(&reader, 99, 1 << 20), records[earliest as usize..]);
}

#[test]
fn what_a_checkpoint_says_is_trimmed_is_removed_when_the_stream_is_opened() {
    let disk = Sim::new(1);
    let (mut writer, _) = open_at(&disk, 0).unwrap();
    append(&mut writer, &sample(60));
    let earliest = writer.trim(30);
    let place = writer.sync().unwrap();
    disk.crash();

    let (_, reader) = open(Arc::new(disk.clone()), Path::new(FOLDER), place, &Indexer::by_hand()).unwrap();

    assert_eq!(reader.earliest(), earliest);
    assert_eq!(segment::firsts(&disk, Path::new(FOLDER)).unwrap()[0], earliest);
}

#[test]
fn a_segment_ends_where_it_was_sealed_also_over_a_restart() {
    let disk = Sim::new(1);
    let (mut writer, _) = open_at(&disk, 0).unwrap();
    writer.append(at(1), b"a").unwrap();
    writer.seal();
    writer.flush().unwrap();
    writer.seal();
    let place = writer.sync().unwrap();
    assert_eq!((place.end, place.tail), (1, 1), "an empty segment does not end");
    disk.crash();

    let (mut writer, reader) =
        open(Arc::new(disk.clone()), Path::new(FOLDER), place, &Indexer::by_hand()).unwrap();
    writer.append(at(2), b"b").unwrap();
    writer.sync().unwrap();
    disk.crash();

    assert_eq!(segment::firsts(&disk, Path::new(FOLDER)).unwrap(), [0, 1]);
    assert_eq!(reader.seek(at(1)).unwrap(), 0);
    assert_eq!(reader.seek(at(2)).unwrap(), 1);
}

#[test]
fn a_time_is_found_by_the_pages() {
    let (mut writer, reader) = open_at(&Sim::new(1), 0).unwrap();
    let records = sample(100);
    append(&mut writer, &records);

    for n in 0..100 {
        assert_eq!(reader.seek(at(n * 1000)).unwrap(), n);
        assert_eq!(reader.seek(at(n * 1000 + 1)).unwrap(), n + 1);
    }
    assert_eq!(reader.seek(Timestamp::MAX).unwrap(), 100);
}

#[test]
fn no_late_record_is_missed_when_times_go_back() {
    let (mut writer, reader) = open_at(&Sim::new(1), 0).unwrap();
    let mut random = Random::new(1);
    let mut records = sample(100);
    records.iter_mut().for_each(|(time, _)| *time = at(random.below(100_000)));
    append(&mut writer, &records);

    for ms in (0..100_000).step_by(777) {
        let found = reader.seek(at(ms)).unwrap() as usize;
        assert!(records[..found].iter().all(|(time, _)| *time < at(ms)));
        assert!(records.get(found).is_none_or(|(time, _)| *time >= at(ms)));
    }
}

#[test]
fn readers_read_while_the_writer_writes_and_trims() {
    let folder = tempfile::tempdir().unwrap();
    let (mut writer, reader) =
        open(Arc::new(Disk), folder.path(), Place::default(), &Indexer::with_thread()).unwrap();
    let records = sample(400);

    std::thread::scope(|scope| {
        let follow = || {
            let mut next = 0;
            while next < 400 {
                match reader.read(next, 10, 1 << 20) {
                    Ok(batch) => {
                        for item in batch.items {
                            assert_eq!((item.time, &item.record[..]), {
                                let (time, record) = &records[item.offset as usize];
                                (*time, &record[..])
                            });
                        }
                        next = batch.next;
                    }
                    Err(Error::Trimmed { earliest }) => next = earliest,
                    Err(error) => panic!("{error}"),
                }
                reader.seek(at(next * 500)).unwrap();
            }
        };
        scope.spawn(follow);
        scope.spawn(follow);
        for (n, record) in records.iter().enumerate() {
            append_to(&mut writer, std::slice::from_ref(record), 50_000);
            if n % 50 == 49 {
                let synced = writer.sync().unwrap();
                writer.trim(synced.end - 40);
                writer.sweep(synced.tail).map(Sweep::remove).transpose().unwrap();
            }
        }
    });
}

#[test]
fn a_cut_is_synced_while_the_writer_goes_on() {
    let disk = Sim::new(1);
    let (mut writer, _) = open_at(&disk, 0).unwrap();
    let records = sample(40);
    append(&mut writer, &records[..30]);

    let cut = writer.cut().unwrap();
    append(&mut writer, &records[30..]);

    assert_eq!(cut.sync().unwrap().end, 30);
    disk.crash();
    let (_, reader) = open_at(&disk, 30).unwrap();
    assert_eq!(read_all(&reader, 99, 1 << 20), records[..30]);
}

#[test]
fn what_is_behind_the_checkpoint_is_cut_and_does_not_come_back() {
    let disk = Sim::new(1);
    let (mut writer, _) = open_at(&disk, 0).unwrap();
    append(&mut writer, &sample(40));
    let records = [vec![(at(0), vec![1; 100]); 5], vec![(at(0), vec![2; 20]); 5000]].concat();

    let (mut writer, reader) = open_at(&disk, 0).unwrap();
    append(&mut writer, &records);

    assert_eq!(disk.list(Path::new(FOLDER)).unwrap().len(), 1);
    assert!((0..5005).step_by(97).all(|n| reader.read(n, 1, 1).unwrap().items[0].offset == n));
    assert_eq!(read_all(&reader, 999, 1 << 20), records);
}

#[test]
fn a_full_disk_keeps_what_was_appended_until_there_is_room() {
    let disk = Sim::new(1);
    let (mut writer, reader) = open_at(&disk, 0).unwrap();
    append(&mut writer, &[(at(1), b"a".to_vec())]);
    disk.set_capacity(disk.used() + 10);
    writer.append(at(2), &[2; 100]).unwrap();

    let refused = writer.flush().unwrap_err();

    assert!(refused.to_string().contains("free some space"), "{refused}");
    assert_eq!(reader.end(), 1);
    disk.set_capacity(u64::MAX);
    writer.flush().unwrap();
    assert_eq!(read_all(&reader, 9, 999), [(at(1), b"a".to_vec()), (at(2), vec![2; 100])]);
}

#[test]
fn a_failed_sync_stops_the_stream_until_it_is_opened_again() {
    let disk = Sim::new(1);
    let (mut writer, reader) = open_at(&disk, 0).unwrap();
    append(&mut writer, &[(at(1), b"a".to_vec())]);
    disk.fail_sync_after(0);

    let failed = writer.sync().unwrap_err().to_string();

    assert!(failed.starts_with("the stream stopped: ") && failed.ends_with("; restart the node"), "{failed}");
    assert_eq!(writer.append(at(2), b"b").unwrap_err().to_string(), failed);
    assert_eq!(writer.flush().unwrap_err().to_string(), failed);
    assert_eq!(writer.cut().err().unwrap().to_string(), failed);
    assert_eq!(reader.end(), 1, "readers still read");
    assert!(open_at(&disk, 0).is_ok());
}

#[test]
fn a_stream_without_the_records_before_the_checkpoint_does_not_open() {
    let disk = Sim::new(1);
    let (mut writer, _) = open_at(&disk, 0).unwrap();
    append(&mut writer, &sample(60));
    writer.sync().unwrap();
    let names = disk.list(Path::new(FOLDER)).unwrap();
    let said = |end| open_at(&disk, end).err().unwrap().to_string();

    let beyond = said(61);
    disk.remove(&Path::new(FOLDER).join(names.last().unwrap())).unwrap();
    let cut = said(60);
    for name in &names[..names.len() - 1] {
        disk.remove(&Path::new(FOLDER).join(name)).unwrap();
    }
    let gone = said(60);

    assert!(beyond.contains("is damaged where record 60 should be; restore the file"), "{beyond}");
    assert!(cut.contains("is damaged where record"), "{cut}");
    assert_eq!(gone, "streams/7 lacks the records before offset 60; restore the folder from a backup");
}

#[test]
fn a_stream_that_begins_after_the_checkpoint_is_left_as_it_is() {
    let disk = Sim::new(1);
    let (mut writer, _) = open_at(&disk, 0).unwrap();
    append(&mut writer, &sample(60));
    writer.sync().unwrap();
    writer.trim(60);
    writer.sweep(60).expect("files of what was trimmed").remove().unwrap();
    let before = disk.list(Path::new(FOLDER)).unwrap();

    assert!(matches!(open_at(&disk, 3), Err(Error::Missing { end: 3, .. })));

    assert_eq!(disk.list(Path::new(FOLDER)).unwrap(), before);
}

#[test]
fn any_flipped_bit_is_an_error_where_it_matters_and_never_another_record() {
    let records = &sample(12)[..];
    let mut random = Random::new(5);
    let mut refused = 0;
    for _ in 0..500 {
        let disk = Sim::new(1);
        let (mut writer, reader) = open_at(&disk, 0).unwrap();
        append(&mut writer, records);
        writer.sync().unwrap();
        let names = disk.list(Path::new(FOLDER)).unwrap();
        let path = Path::new(FOLDER).join(&names[random.below(names.len() as u64) as usize]);
        let len = disk.open(&path).unwrap().len().unwrap();
        if disk.flip(&path, random.below(len), random.below(8) as u8).is_err() {
            continue;
        }

        for from in 0..12 {
            match reader.read(from, 1, 1) {
                Ok(batch) => assert_eq!(batch.items[0].record, records[from as usize].1),
                Err(Error::Damaged { .. }) => refused += 1,
                Err(error) => panic!("{error}"),
            }
            assert!(matches!(reader.seek(at(from * 1000)), Ok(_) | Err(Error::Damaged { .. })));
        }
        assert!(matches!(open_at(&disk, 12), Ok(_) | Err(Error::Damaged { .. })));
    }
    assert!(refused > 300, "{refused}");
}

#[test]
fn files_of_others_are_left_alone() {
    let disk = Sim::new(1);
    disk.create_folder(Path::new(FOLDER)).unwrap();
    let others = ["00000000000000000001.stream.bak", "1.stream", "9999999999999999999z.stream"];
    others.iter().for_each(|name| drop(disk.create(&Path::new(FOLDER).join(name)).unwrap()));

    let (mut writer, reader) = open_at(&disk, 0).unwrap();
    append(&mut writer, &sample(3));

    assert_eq!(read_all(&reader, 9, 1 << 20).len(), 3);
    assert_eq!(disk.list(Path::new(FOLDER)).unwrap().len(), 1 + others.len());
}
