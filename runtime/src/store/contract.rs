//! What every state store keeps. Each claim runs against all of them.

use super::fjall::{Fjall, Options};
use super::memory::Memory;
use super::{ALL, Batch, Error, Home, KEY_BYTES_MAX, Range, Space, StateStore};
use std::ops::Bound::{Excluded, Included, Unbounded};

const ONE: Home = Home::first(1);

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
    let keys = store.keys(ONE, Space::Image, range, limit).unwrap();
    let rows = store.scan(ONE, Space::Image, range, limit).unwrap();
    assert!(keys.iter().eq(rows.iter().map(|(key, _)| key)), "a scan has the same keys");
    keys.into_iter().map(|key| String::from_utf8(key).unwrap()).collect()
}

#[test]
fn rows_are_found_in_the_order_of_their_bytes() {
    check(|open| {
        let store = open();
        store
            .write(ONE, batch(Space::Image, &[(b"b", b""), (b"a/b", b"2"), (b"a", b"1"), (b"a0", b"3")]))
            .unwrap();

        assert_eq!(keys(&*store, ALL, 100), ["a", "a/b", "a0", "b"]);
        assert_eq!(keys(&*store, ALL, 2), ["a", "a/b"]);
        assert_eq!(keys(&*store, ALL, 0), [""; 0]);
        assert_eq!(keys(&*store, (Excluded(b"a/b"), Unbounded), 1), ["a0"]);
        assert_eq!(keys(&*store, (Included(b"a/b"), Excluded(b"b")), 9), ["a/b", "a0"]);
        assert_eq!(keys(&*store, (Unbounded, Included(b"a/")), 9), ["a"]);
        assert_eq!(store.scan(ONE, Space::Image, ALL, 1).unwrap(), [(b"a".to_vec(), b"1".to_vec())]);
    });
}

#[test]
fn a_range_that_ends_before_it_begins_holds_nothing() {
    check(|open| {
        let store = open();
        store.write(ONE, batch(Space::Image, &[(b"a", b""), (b"b", b"")])).unwrap();

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
                store
                    .write(Home::first(shard), batch(space, &[(b"", value.as_bytes()), (&[255; 9], b"last")]))
                    .unwrap();
            }
        }

        for shard in shards {
            for space in Space::EACH {
                let rows = store.scan(Home::first(shard), space, ALL, 9).unwrap();
                assert_eq!(rows.len(), 2);
                assert_eq!(rows[0].1, format!("{shard} {space:?}").into_bytes());
                assert_eq!(
                    store.get(Home::first(shard), space, b"").unwrap().as_deref(),
                    Some(&rows[0].1[..])
                );
            }
        }
        assert_eq!(store.scan(Home::first(2), Space::Image, ALL, 9).unwrap(), []);
    });
}

#[test]
fn a_batch_writes_all_spaces_and_is_there_after_a_restart() {
    check(|open| {
        let store = open();
        let mut first = batch(Space::Image, &[(b"kept", b"image"), (b"gone", b"x"), (b"empty", b"")]);
        first.put(Space::Mark, "applied", 7_u64.to_be_bytes());
        store.write(ONE, first).unwrap();
        let mut second = batch(Space::Timer, &[(&[0; KEY_BYTES_MAX], &[7; 300_000])]);
        second.delete(Space::Image, "gone");
        second.delete(Space::Image, "never there");
        store.write(ONE, second).unwrap();
        drop(store);

        let store = open();

        let found = store.get_many(ONE, Space::Image, &[b"gone", b"kept", b"never there", b"empty"]).unwrap();
        assert_eq!(found, [None, Some(b"image".to_vec()), None, Some(Vec::new())]);
        assert_eq!(store.get(ONE, Space::Mark, b"applied").unwrap(), Some(7_u64.to_be_bytes().to_vec()));
        assert_eq!(store.get(ONE, Space::Timer, &[0; KEY_BYTES_MAX]).unwrap(), Some(vec![7; 300_000]));
    });
}

#[test]
fn the_last_word_on_a_key_counts() {
    check(|open| {
        let store = open();
        let mut changes = batch(Space::Image, &[(b"set", b"1"), (b"unset", b"1")]);
        changes.put(Space::Image, "set", "2");
        changes.delete(Space::Image, "unset");
        store.write(ONE, changes).unwrap();
        store.write(ONE, Batch::new()).unwrap();

        assert_eq!(store.scan(ONE, Space::Image, ALL, 9).unwrap(), [(b"set".to_vec(), b"2".to_vec())]);
        store.write(ONE, batch(Space::Image, &[(b"unset", b"3")])).unwrap();
        assert_eq!(store.get(ONE, Space::Image, b"unset").unwrap(), Some(b"3".to_vec()));
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
                        store.write(Home::first(shard), batch(Space::Image, &[(&[n], &[n])])).unwrap();
                        assert_eq!(store.get(Home::first(shard), Space::Image, &[n]).unwrap(), Some(vec![n]));
                    }
                });
            }
        });

        assert!(
            (0..4).all(|shard| store.keys(Home::first(shard), Space::Image, ALL, 99).unwrap().len() == 8)
        );
    });
}

/// What a home has, as text; none where it is refused.
fn images(store: &dyn StateStore, home: Home) -> Option<Vec<String>> {
    let keys = match store.keys(home, Space::Image, ALL, 9_999) {
        Err(Error::Superseded { shard, generation }) if home == (Home { shard, generation }) => return None,
        keys => keys.unwrap(),
    };
    Some(keys.into_iter().map(|key| String::from_utf8(key).unwrap()).collect())
}

/// What a snapshot has now.
fn snapshot(store: &dyn StateStore, shard: u32) -> (Home, usize) {
    let (snapshot, mut rows) = (store.snapshot().unwrap(), 0);
    let mut count = |_: &[u8], _: &[u8]| {
        rows += 1;
        true
    };
    snapshot.each(shard, Space::Image, &mut count).unwrap();
    (snapshot.home(shard), rows)
}

#[test]
fn a_staged_generation_is_seen_by_nobody_until_it_is_switched_to() {
    check(|open| {
        let store = open();
        store.write(ONE, batch(Space::Image, &[(b"old", b"")])).unwrap();

        let staged = store.stage(1).unwrap();
        store.write(staged, batch(Space::Image, &[(b"new", b""), (b"newer", b"")])).unwrap();

        assert_eq!(store.home(1).unwrap(), ONE);
        assert_eq!(keys(&*store, ALL, 9), ["old"]);
        assert_eq!(snapshot(&*store, 1), (ONE, 1));
        store.switch(staged).unwrap();
        assert_eq!((store.home(1).unwrap(), store.home(2).unwrap()), (staged, Home::first(2)));
        assert_eq!(images(&*store, staged).unwrap(), ["new", "newer"]);
        assert_eq!(snapshot(&*store, 1), (staged, 2));
        drop(store);
        let store = open();
        assert_eq!(store.home(1).unwrap(), staged);
        assert_eq!(images(&*store, staged).unwrap(), ["new", "newer"]);
    });
}

#[test]
fn nothing_is_read_from_or_written_to_a_generation_that_is_not_current_any_more() {
    check(|open| {
        let store = open();
        store.write(ONE, batch(Space::Image, &[(b"old", b"")])).unwrap();
        let before = store.snapshot().unwrap();
        let staged = store.stage(1).unwrap();
        store.switch(staged).unwrap();

        let superseded = Error::Superseded { shard: 1, generation: 0 };
        let late = batch(Space::Image, &[(b"late", b"")]);
        assert_eq!(store.write(ONE, late.clone()), Err(superseded.clone()));
        assert_eq!(store.get(ONE, Space::Image, b"old"), Err(superseded.clone()));
        assert_eq!(store.get_many(ONE, Space::Image, &[b"old"]), Err(superseded.clone()));
        assert_eq!(store.scan(ONE, Space::Image, ALL, 9), Err(superseded.clone()));
        assert_eq!(store.switch(ONE), Err(superseded));
        store.discard(ONE).unwrap();

        assert_eq!(images(&*store, staged).unwrap(), [""; 0]);
        let mut rows = 0;
        let mut count = |_: &[u8], _: &[u8]| {
            rows += 1;
            true
        };
        before.each(1, Space::Image, &mut count).unwrap();
        assert_eq!(rows, 1, "a snapshot keeps what it has");
        store.write(staged, late).unwrap();
        assert_eq!(images(&*store, staged).unwrap(), ["late"]);
    });
}

#[test]
fn what_was_staged_is_gone_when_it_is_discarded_and_after_a_restart() {
    check(|open| {
        let store = open();
        let many: Vec<_> = (0..2_500_u32).map(u32::to_be_bytes).collect();
        let rows: Vec<_> = many.iter().map(|key| (key.as_slice(), &b""[..])).collect();
        store.write(ONE, batch(Space::Image, &[(b"old", b"")])).unwrap();
        let (discarded, left) = (store.stage(1).unwrap(), store.stage(1).unwrap());
        store.write(discarded, batch(Space::Image, &rows)).unwrap();
        store.write(left, batch(Space::Image, &rows)).unwrap();

        store.discard(discarded).unwrap();
        store.discard(discarded).unwrap();
        assert_eq!(images(&*store, discarded), None);
        assert!(store.switch(discarded).is_err());
        drop(store);
        let store = open();

        assert_eq!(images(&*store, left), None);
        assert_eq!(store.home(1).unwrap(), ONE);
        assert_eq!(keys(&*store, ALL, 9), ["old"]);
        assert_ne!(store.stage(1).unwrap(), store.stage(1).unwrap());
    });
}

#[test]
fn the_current_generation_is_not_discarded() {
    check(|open| {
        let store = open();
        let discard = || store.discard(ONE);
        assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(discard)).is_err());
    });
}

#[test]
fn a_key_that_is_too_long_is_a_mistake_of_ours() {
    let put = |bytes| std::panic::catch_unwind(|| Batch::new().put(Space::Image, vec![0; bytes], ""));

    assert!(put(KEY_BYTES_MAX).is_ok());
    assert!(put(KEY_BYTES_MAX + 1).is_err());
}
