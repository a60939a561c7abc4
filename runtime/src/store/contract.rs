//! What every state store keeps. Each claim runs against all of them.

use super::fjall::{Fjall, Options};
use super::memory::Memory;
use super::{ALL, Batch, KEY_BYTES_MAX, Range, Space, StateStore};
use std::ops::Bound::{Excluded, Included, Unbounded};

/// Opens a store, and again what is durable of it once the one before was dropped.
type Open<'a> = &'a mut dyn FnMut() -> Box<dyn StateStore>;

fn check(claim: impl Fn(Open<'_>)) {
    let folder = tempfile::tempdir().unwrap();
    claim(&mut || Box::new(Fjall::open(folder.path(), Options::default()).unwrap()));

    let mut memory = Memory::new();
    claim(&mut || {
        memory = memory.crash(0);
        Box::new(memory.clone())
    });
}

fn batch(space: Space, rows: &[(&[u8], &[u8])]) -> Batch {
    let mut batch = Batch::new();
    rows.iter().for_each(|(key, value)| batch.put(space, *key, *value));
    batch
}

fn keys(store: &dyn StateStore, range: Range<'_>, limit: usize) -> Vec<String> {
    let keys = store.keys(1, Space::Image, range, limit).unwrap();
    let rows = store.scan(1, Space::Image, range, limit).unwrap();
    assert!(keys.iter().eq(rows.iter().map(|(key, _)| key)), "a scan has the same keys");
    keys.into_iter().map(|key| String::from_utf8(key).unwrap()).collect()
}

#[test]
fn rows_are_found_in_the_order_of_their_bytes() {
    check(|open| {
        let store = open();
        store
            .write(1, batch(Space::Image, &[(b"b", b""), (b"a/b", b"2"), (b"a", b"1"), (b"a0", b"3")]))
            .unwrap();

        assert_eq!(keys(&*store, ALL, 100), ["a", "a/b", "a0", "b"]);
        assert_eq!(keys(&*store, ALL, 2), ["a", "a/b"]);
        assert_eq!(keys(&*store, ALL, 0), [""; 0]);
        assert_eq!(keys(&*store, (Excluded(b"a/b"), Unbounded), 1), ["a0"]);
        assert_eq!(keys(&*store, (Included(b"a/b"), Excluded(b"b")), 9), ["a/b", "a0"]);
        assert_eq!(keys(&*store, (Unbounded, Included(b"a/")), 9), ["a"]);
        assert_eq!(store.scan(1, Space::Image, ALL, 1).unwrap(), [(b"a".to_vec(), b"1".to_vec())]);
    });
}

#[test]
fn a_range_that_ends_before_it_begins_holds_nothing() {
    check(|open| {
        let store = open();
        store.write(1, batch(Space::Image, &[(b"a", b""), (b"b", b"")])).unwrap();

        assert_eq!(keys(&*store, (Included(b"b"), Included(b"a")), 9), [""; 0]);
        assert_eq!(keys(&*store, (Excluded(b"a"), Excluded(b"a")), 9), [""; 0]);
        assert_eq!(keys(&*store, (Included(b"a"), Excluded(b"a")), 9), [""; 0]);
        assert_eq!(keys(&*store, (Included(b"a"), Included(b"a")), 9), ["a"]);
    });
}

#[test]
fn shards_and_spaces_do_not_see_each_other() {
    check(|open| {
        let store = open();
        let shards = [0, 1, 255, 256, u32::MAX];
        for shard in shards {
            for space in Space::EACH {
                let value = format!("{shard} {space:?}");
                store.write(shard, batch(space, &[(b"", value.as_bytes()), (&[255; 9], b"last")])).unwrap();
            }
        }

        for shard in shards {
            for space in Space::EACH {
                let rows = store.scan(shard, space, ALL, 9).unwrap();
                assert_eq!(rows.len(), 2);
                assert_eq!(rows[0].1, format!("{shard} {space:?}").into_bytes());
                assert_eq!(store.get(shard, space, b"").unwrap().as_deref(), Some(&rows[0].1[..]));
            }
        }
        assert_eq!(store.scan(2, Space::Image, ALL, 9).unwrap(), []);
    });
}

#[test]
fn a_batch_writes_all_spaces_and_is_there_after_a_restart() {
    check(|open| {
        let store = open();
        let mut first = batch(Space::Image, &[(b"kept", b"image"), (b"gone", b"x"), (b"empty", b"")]);
        first.put(Space::Mark, "applied", 7_u64.to_be_bytes());
        store.write(1, first).unwrap();
        let mut second = batch(Space::Timer, &[(&[0; KEY_BYTES_MAX], &[7; 300_000])]);
        second.delete(Space::Image, "gone");
        second.delete(Space::Image, "never there");
        store.write(1, second).unwrap();
        drop(store);

        let store = open();

        let found = store.get_many(1, Space::Image, &[b"gone", b"kept", b"never there", b"empty"]).unwrap();
        assert_eq!(found, [None, Some(b"image".to_vec()), None, Some(Vec::new())]);
        assert_eq!(store.get(1, Space::Mark, b"applied").unwrap(), Some(7_u64.to_be_bytes().to_vec()));
        assert_eq!(store.get(1, Space::Timer, &[0; KEY_BYTES_MAX]).unwrap(), Some(vec![7; 300_000]));
    });
}

#[test]
fn the_last_word_on_a_key_counts() {
    check(|open| {
        let store = open();
        let mut changes = batch(Space::Image, &[(b"set", b"1"), (b"unset", b"1")]);
        changes.put(Space::Image, "set", "2");
        changes.delete(Space::Image, "unset");
        store.write(1, changes).unwrap();
        store.write(1, Batch::new()).unwrap();

        assert_eq!(store.scan(1, Space::Image, ALL, 9).unwrap(), [(b"set".to_vec(), b"2".to_vec())]);
        store.write(1, batch(Space::Image, &[(b"unset", b"3")])).unwrap();
        assert_eq!(store.get(1, Space::Image, b"unset").unwrap(), Some(b"3".to_vec()));
    });
}

#[test]
fn shards_write_at_the_same_time() {
    check(|open| {
        let store = open();
        std::thread::scope(|scope| {
            for shard in 0..4 {
                let store = &*store;
                scope.spawn(move || {
                    for n in 0..8_u8 {
                        store.write(shard, batch(Space::Image, &[(&[n], &[n])])).unwrap();
                        assert_eq!(store.get(shard, Space::Image, &[n]).unwrap(), Some(vec![n]));
                    }
                });
            }
        });

        assert!((0..4).all(|shard| store.keys(shard, Space::Image, ALL, 99).unwrap().len() == 8));
    });
}

#[test]
fn a_key_that_is_too_long_is_a_mistake_of_ours() {
    let put = |bytes| std::panic::catch_unwind(|| Batch::new().put(Space::Image, vec![0; bytes], ""));

    assert!(put(KEY_BYTES_MAX).is_ok());
    assert!(put(KEY_BYTES_MAX + 1).is_err());
}
