//! The storage as the runtime sees it.

use bytes::Bytes;
use cluster::meta::{Command, NodeState};
use cluster::{Error, Options, SHARDS, Storage};
use runtime::files::{Files, disk::Disk, sim::Sim};
use runtime::log::{Error as LogError, LogId, ShardLog, Tenure};
use std::path::Path;
use std::sync::{Arc, mpsc};

fn options() -> Options {
    Options { segment_bytes: 64 << 10, reserve_bytes: 0, ..Options::default() }
}

fn open(disk: &Sim) -> Storage {
    Storage::open(Arc::new(disk.clone()), Path::new("data/log"), options()).unwrap()
}

fn propose(log: &Arc<dyn ShardLog>, term: u64, payload: &[u8]) -> Result<LogId, LogError> {
    let (sender, fate) = mpsc::channel();
    let done = Box::new(move |result| drop(sender.send(result)));
    log.propose(Tenure::whole(term), Bytes::copy_from_slice(payload), done);
    fate.recv().unwrap()
}

/// What is found in small pieces.
fn replayed(log: &Arc<dyn ShardLog>, mut after: u64) -> Vec<(LogId, Vec<u8>)> {
    let mut found = Vec::new();
    loop {
        let entries = log.read(after, u64::MAX, 100).unwrap();
        let Some(last) = entries.last() else { return found };
        after = last.id.index;
        found.extend(entries.into_iter().map(|entry| (entry.id, entry.payload.to_vec())));
    }
}

/// The term in which this node leads.
fn leads(log: &Arc<dyn ShardLog>) -> Option<u64> {
    log.listen(Box::new(|_| {})).leads.map(|tenure| tenure.term)
}

#[test]
fn what_was_acknowledged_is_replayed_after_a_crash_in_a_higher_term() {
    let disk = Sim::new(1);
    let storage = open(&disk);
    let log = storage.shard_log(7);
    let term = leads(&log).unwrap();
    let first = propose(&log, term, b"first").unwrap();
    let second = propose(&log, term, b"second").unwrap();
    assert_eq!((term, storage.generation()), (1, 1));
    disk.crash();
    drop(storage);

    let storage = open(&disk);

    let log = storage.shard_log(7);
    assert_eq!((leads(&log), storage.generation()), (Some(2), 2));
    assert_eq!(replayed(&log, 0), [(first, b"first".to_vec()), (second, b"second".to_vec())]);
    assert_eq!(replayed(&log, first.index), [(second, b"second".to_vec())]);
    let third = propose(&log, 2, b"third").unwrap();
    assert_eq!(third, LogId { term: 2, index: second.index + 2 }, "the new term's blank entry lies between");
}

#[test]
fn a_real_disk_keeps_the_log_too() {
    let scratch = tempfile::tempdir().unwrap();
    let folder = scratch.path().join("data/log");
    let open = || Storage::open(Arc::new(Disk), &folder, options());
    let storage = open().unwrap();
    let ids: Vec<LogId> =
        (0..100_u8).map(|byte| propose(&storage.shard_log(63), 1, &[byte; 3000]).unwrap()).collect();
    assert!(matches!(open().err(), Some(Error::InUse { .. })));
    drop(storage);

    let log = open().unwrap().shard_log(63);

    let expected: Vec<_> = ids.into_iter().zip(0..).map(|(id, byte)| (id, vec![byte; 3000])).collect();
    assert_eq!(replayed(&log, 0), expected);
}

#[test]
fn all_groups_start_with_one_sync() {
    let disk = Sim::new(1);

    let storage = open(&disk);

    assert_eq!(storage.syncs().count, 1);
    assert!((0..SHARDS).all(|shard| leads(&storage.shard_log(shard)) == Some(1)));
}

#[test]
fn a_proposal_of_another_term_is_not_appended() {
    let disk = Sim::new(1);
    let log = open(&disk).shard_log(1);

    assert_eq!(propose(&log, 9, b"late"), Err(LogError::NotLeader { term: 9 }));

    assert!(replayed(&log, 0).is_empty());
}

#[test]
fn a_second_process_is_refused() {
    let disk = Sim::new(1);
    let first = open(&disk);

    let second = Storage::open(Arc::new(disk.clone()), Path::new("data/log"), options()).err();

    assert!(matches!(second, Some(Error::InUse { .. })));
    drop(first);
    open(&disk);
}

#[test]
fn a_failed_sync_stops_all_writing_until_a_restart() {
    let disk = Sim::new(1);
    let storage = open(&disk);
    let (one, other) = (storage.shard_log(1), storage.shard_log(2));
    // The next segment is made meanwhile: a sync of that may be the one that fails, which is then tried again.
    let first = (0..10).find_map(|_| {
        disk.fail_sync_after(0);
        propose(&one, 1, b"in doubt").err()
    });

    assert!(matches!(first, Some(LogError::Unknown(_))), "{first:?}");
    assert!(matches!(propose(&other, 1, b"refused"), Err(LogError::Unknown(_))));
    drop(storage);
    // Where the sync of a segment met the one before, this one waits still.
    disk.fail_sync_after(u64::MAX);
    let storage = open(&disk);
    propose(&storage.shard_log(2), 2, b"accepted").unwrap();
    assert_eq!(replayed(&storage.shard_log(2), 0).len(), 1);
}

#[test]
fn a_full_disk_refuses_entries_and_goes_on_when_there_is_room() {
    let disk = Sim::new(1);
    disk.set_capacity(4 * (64 << 10));
    let storage = open(&disk);
    let log = storage.shard_log(1);
    let payload = vec![7; 10 << 10];
    let mut acknowledged = 0;
    let refused = loop {
        match propose(&log, 1, &payload) {
            Ok(_) => acknowledged += 1,
            Err(error) => break error,
        }
        assert!(acknowledged < 100);
    };
    assert!(matches!(refused, LogError::Full(_)), "{refused:?}");

    disk.set_capacity(8 * (64 << 10));

    propose(&log, 1, &payload).unwrap();
    assert_eq!(replayed(&log, 0).len(), acknowledged + 1);
}

#[test]
fn a_node_starts_on_a_full_disk() {
    let disk = Sim::new(1);
    open(&disk).shutdown();
    disk.set_capacity(disk.used());

    let storage = open(&disk);

    assert_eq!(storage.generation(), 2);
}

#[test]
fn a_purge_frees_segments_and_a_state_that_is_too_old_is_refused() {
    let disk = Sim::new(1);
    let storage = open(&disk);
    let log = storage.shard_log(3);
    let mut last = LogId::default();
    for number in 0..200_u32 {
        last = propose(&log, 1, &[number as u8; 5000]).unwrap();
        if number % 10 == 9 {
            log.purge(last.index);
        }
    }
    storage.shutdown();

    assert!(disk.used() <= 6 * (64 << 10), "{}", disk.used());
    drop(storage);
    let log = open(&disk).shard_log(3);
    assert!(matches!(log.read(last.index - 1, last.index, 1), Err(LogError::Unreadable(_))));
    assert!(replayed(&log, last.index).is_empty());
}

#[test]
fn the_entries_of_an_idle_shard_outlive_the_segment_they_were_written_to() {
    let disk = Sim::new(1);
    let storage = open(&disk);
    let (idle, active) = (storage.shard_log(1), storage.shard_log(2));
    let kept = propose(&idle, 1, b"kept").unwrap();
    for _ in 0..100 {
        let last = propose(&active, 1, &[7; 5000]).unwrap();
        active.purge(last.index);
    }
    storage.shutdown();
    assert!(!disk.list(Path::new("data/log")).unwrap().contains(&"000000000001.wal".to_owned()));
    disk.crash();
    drop(storage);

    let storage = open(&disk);

    assert_eq!(replayed(&storage.shard_log(1), 0), [(kept, b"kept".to_vec())]);
    assert_eq!((storage.generation(), leads(&storage.shard_log(63))), (2, Some(2)));
}

#[test]
fn damage_before_a_valid_batch_stops_the_node() {
    let disk = Sim::new(1);
    let storage = open(&disk);
    let log = storage.shard_log(1);
    propose(&log, 1, &[1; 1000]).unwrap();
    propose(&log, 1, &[2; 1000]).unwrap();
    drop((log, storage));
    let offset = 512;
    disk.flip(Path::new("data/log/000000000001.wal"), offset + 40, 3).unwrap();

    let error = Storage::open(Arc::new(disk.clone()), Path::new("data/log"), options()).err().unwrap();

    let message = "segment 1 is damaged at byte 512; run `twinfold log verify` before restarting";
    assert_eq!(error.to_string(), message);
}

#[test]
fn the_meta_state_survives_and_its_conditions_hold() {
    let disk = Sim::new(1);
    let storage = open(&disk);
    let register = Command::register(1, storage.generation(), "lab".to_owned(), "0.1.0".to_owned());
    let meta = storage.meta();
    assert_eq!(meta.execute_blocking(register.clone(), 0), Ok(1));
    assert_eq!(
        meta.execute_blocking(Command::CreateDomain { name: "default".to_owned(), shards: SHARDS }, 1),
        Ok(2)
    );
    assert_eq!(meta.execute_blocking(register, 0), Ok(2), "a repeat succeeds");
    assert!(meta.execute_blocking(Command::SetNodeState { node: 1, state: NodeState::Active }, 1).is_err());
    let before = meta.state();
    drop((meta, storage));
    disk.crash();

    let storage = open(&disk);

    assert_eq!(storage.meta().state(), before);
    assert!(disk.list(Path::new("data/log")).unwrap().len() >= 2);
}
