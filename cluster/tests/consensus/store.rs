//! What the store promises beyond openraft's suite: entries before they are durable, and long logs.

use crate::{GROUP, wal};
use bytes::Bytes;
use cluster::consensus::types::{self, Payload, RaftEntry, Types};
use cluster::consensus::{Reader, Store};
use cluster::wal::{Kind, Record, Wal};
use futures_util::FutureExt;
use openraft::EntryPayload;
use openraft::storage::{IOFlushed, RaftLogReader, RaftLogStorage};
use openraft::type_config::TypeConfigExt;
use runtime::files::sim::Sim;
use runtime::log::{Error, LogId};
use std::future::Future;
use std::io;
use std::pin::pin;
use std::sync::{Arc, mpsc};
use std::time::Duration;

/// Keeps the log's writer from writing, until it is dropped.
struct Held(#[expect(dead_code, reason = "the writer goes on when it is dropped")] mpsc::Sender<()>);

fn hold(wal: &Wal) -> Held {
    let (sender, receiver) = mpsc::channel();
    let (arrived, arrival) = mpsc::channel();
    let wait = move |_| {
        arrived.send(()).unwrap();
        assert!(receiver.recv().is_err(), "nothing is sent");
    };
    wal.append(Vec::new(), Box::new(wait));
    arrival.recv().unwrap();
    Held(sender)
}

fn id(term: u64, index: u64) -> LogId {
    LogId { term, index }
}

fn entry(id: LogId, bytes: usize) -> RaftEntry {
    let payload = EntryPayload::Normal(Payload(Bytes::from(vec![id.index as u8; bytes])));
    RaftEntry { log_id: types::to_raft(id), payload }
}

/// Begins to append entries of a term. The answer comes when they are durable.
async fn append(store: &mut Store, entries: Vec<RaftEntry>) -> impl Future<Output = io::Result<()>> + use<> {
    let (sender, flushed) = Types::oneshot();
    store.append(entries, IOFlushed::signal(sender)).await.unwrap();
    async { flushed.await.unwrap() }
}

async fn read(reader: &mut Reader) -> Vec<LogId> {
    let entries = reader.try_get_log_entries(..).await.unwrap();
    entries.iter().map(|entry| types::from_raft(&entry.log_id)).collect()
}

fn store(disk: &Sim) -> (Arc<Wal>, Store) {
    let wal = wal(disk);
    (wal.clone(), Store::new(wal, GROUP))
}

#[tokio::test]
async fn an_entry_can_be_read_before_it_is_durable() {
    let (wal, mut store) = store(&Sim::new(1));
    append(&mut store, vec![entry(id(1, 0), 10)]).await.await.unwrap();
    let mut reader = store.get_log_reader().await;
    let held = hold(&wal);

    let mut durable = pin!(append(&mut store, vec![entry(id(1, 1), 10), entry(id(2, 2), 10)]).await);

    assert_eq!(read(&mut reader).await, [id(1, 0), id(1, 1), id(2, 2)]);
    assert_eq!(store.get_log_state().await.unwrap().last_log_id, Some(types::to_raft(id(2, 2))));
    let terms = reader.get_key_log_ids(types::to_raft(id(1, 0))..=types::to_raft(id(2, 2))).await.unwrap();
    assert_eq!(terms, [types::to_raft(id(1, 1)), types::to_raft(id(2, 2))]);
    assert_eq!(wal.state(GROUP).last, Some(id(1, 0)), "the log shows what is durable");
    assert!(durable.as_mut().now_or_never().is_none());
    drop(held);
    durable.await.unwrap();
    assert_eq!(wal.state(GROUP).last, Some(id(2, 2)));
    assert_eq!(read(&mut reader).await, [id(1, 0), id(1, 1), id(2, 2)]);
}

#[tokio::test]
async fn a_truncated_entry_is_gone_though_it_was_still_on_its_way_to_the_disk() {
    let (wal, mut store) = store(&Sim::new(1));
    let mut reader = store.get_log_reader().await;
    let held = hold(&wal);
    let durable = append(&mut store, (0..3).map(|index| entry(id(1, index), 10)).collect()).await;

    {
        let mut truncated = pin!(store.truncate_after(Some(types::to_raft(id(1, 0)))));
        assert!(truncated.as_mut().now_or_never().is_none());
        assert_eq!(read(&mut reader).await, [id(1, 0)]);
        drop(held);
        truncated.await.unwrap();
    }
    durable.await.unwrap();
    append(&mut store, vec![entry(id(2, 1), 10)]).await.await.unwrap();

    assert_eq!(read(&mut reader).await, [id(1, 0), id(2, 1)]);
    assert_eq!(wal.state(GROUP).last, Some(id(2, 1)));
}

#[tokio::test]
async fn a_long_log_is_read_whole_and_in_messages_of_limited_size() {
    let (_wal, mut store) = store(&Sim::new(1));
    let mut reader = store.get_log_reader().await;
    for index in 0..40 {
        append(&mut store, vec![entry(id(1, index), 300_000)]).await.await.unwrap();
    }

    let all = reader.try_get_log_entries(..).await.unwrap();
    let message = reader.limited_get_log_entries(5, 40).await.unwrap();
    let large = reader.limited_get_log_entries(39, 40).await.unwrap();

    let expected: Vec<RaftEntry> = (0..40).map(|index| entry(id(1, index), 300_000)).collect();
    assert_eq!(all, expected);
    assert_eq!(message, expected[5..8]);
    assert_eq!(large, expected[39..]);
}

#[tokio::test]
async fn the_committed_mark_waits_for_nothing_and_is_there_after_the_close() {
    let disk = Sim::new(1);
    let (wal, mut store) = store(&disk);
    append(&mut store, vec![entry(id(1, 0), 10), entry(id(1, 1), 10)]).await.await.unwrap();

    store.save_committed(Some(types::to_raft(id(1, 0)))).now_or_never().unwrap().unwrap();
    store.save_committed(Some(types::to_raft(id(1, 1)))).now_or_never().unwrap().unwrap();
    wal.close();
    drop((wal, store));

    let (_wal, mut store) = self::store(&disk);
    assert_eq!(store.read_committed().await.unwrap(), Some(types::to_raft(id(1, 1))));
}

#[tokio::test]
async fn a_committed_mark_whose_entry_a_crash_took_says_no_more_than_there_is() {
    let (wal, mut store) = store(&Sim::new(1));
    append(&mut store, vec![entry(id(1, 0), 10)]).await.await.unwrap();
    let (sender, fate) = mpsc::channel();
    let ahead = vec![Record::committed(GROUP, id(2, 7))];

    wal.append(ahead, Box::new(move |result| drop(sender.send(result))));
    fate.recv().unwrap().unwrap();

    assert_eq!(store.read_committed().await.unwrap(), Some(types::to_raft(id(1, 0))));
}

#[tokio::test]
async fn an_entry_that_the_disk_did_not_take_is_read_all_the_same_as_others_may_have_committed_it() {
    let disk = Sim::new(1);
    let (wal, mut store) = store(&disk);
    append(&mut store, vec![entry(id(1, 0), 10)]).await.await.unwrap();
    let mut reader = store.get_log_reader().await;
    disk.cut_power_after(0);

    append(&mut store, vec![entry(id(1, 1), 10)]).await.await.unwrap_err();

    assert_eq!(wal.state(GROUP).last, Some(id(1, 0)));
    assert_eq!(read(&mut reader).await, [id(1, 0), id(1, 1)]);
}

#[tokio::test]
async fn an_entry_that_does_not_follow_stops_the_log_instead_of_being_said_to_find_no_room() {
    let (wal, _store) = store(&Sim::new(1));
    let (sender, fate) = mpsc::channel();
    let ahead = vec![Record::entry(GROUP, Kind::Normal, id(1, 3), Bytes::new())];

    wal.append(ahead, Box::new(move |result| drop(sender.send(result))));

    assert!(matches!(fate.recv().unwrap(), Err(Error::Unknown(_))));
    assert!(wal.health().why_stopped().is_some_and(|why| why.contains("entry than 0")));
}

#[tokio::test(start_paused = true)]
async fn the_disk_is_asked_for_room_ten_times_a_second_at_most() {
    let disk = Sim::new(1);
    let (wal, _store) = store(&disk);
    assert_eq!(wal.room(), Ok(()));

    disk.set_capacity(disk.used());

    assert_eq!(wal.room(), Ok(()), "as it was a moment ago");
    tokio::time::advance(Duration::from_millis(100)).await;
    assert!(wal.room().is_err());
}
