//! What only the store on disk can show.

use super::*;

const ONE: Home = Home::first(1);

#[test]
fn keys_are_laid_out_as_the_module_says() {
    let folder = tempfile::tempdir().unwrap();
    let store = Fjall::open(folder.path(), Options::default()).unwrap();
    let mut batch = Batch::new();
    batch.put(Space::Mark, "applied", "7");

    store.write(Home::first(258), batch).unwrap();

    let opened = store.opened().unwrap();
    let mark = opened.database.keyspace("mark", KeyspaceCreateOptions::default).unwrap();
    assert_eq!(mark.get(b"\0\0\x01\x02\0\0\0\0applied").unwrap().as_deref(), Some(&b"7"[..]));
}

#[test]
fn after_a_failed_write_every_call_says_so_until_the_store_is_opened_again() {
    let folder = tempfile::tempdir().unwrap();
    let store = Fjall::open(folder.path(), Options::default()).unwrap();
    let mut batch = Batch::new();
    batch.put(Space::Image, "a", "1");
    store.write(ONE, batch).unwrap();
    store.stop("the disk is full");

    let range = crate::store::ALL;
    let errors = [
        store.get(ONE, Space::Image, b"a").unwrap_err(),
        store.get_many(ONE, Space::Image, &[b"a"]).unwrap_err(),
        store.scan(ONE, Space::Image, range, 9).unwrap_err(),
        store.keys(ONE, Space::Image, range, 9).unwrap_err(),
        store.write(ONE, Batch::new()).unwrap_err(),
    ];

    let said = "the state store stopped, because a write failed: the disk is full";
    assert!(errors.iter().all(|error| error.to_string().starts_with(said)), "{errors:?}");

    store.reopen().unwrap();
    assert_eq!(store.get(ONE, Space::Image, b"a").unwrap().as_deref(), Some(&b"1"[..]));
    store.write(ONE, Batch::new()).unwrap();
}

#[test]
fn a_store_that_somebody_still_uses_is_not_opened_twice() {
    let folder = tempfile::tempdir().unwrap();
    let store = Fjall::open(folder.path(), Options::default()).unwrap();
    let under_way = store.opened().unwrap();
    store.stop("the disk is full");

    let error = store.reopen().unwrap_err().to_string();
    assert!(error.contains("opening it again: a call on it is still under way"), "{error}");

    drop(under_way);
    store.reopen().unwrap();
}

#[test]
fn a_folder_is_opened_once_at_a_time() {
    let folder = tempfile::tempdir().unwrap();
    let store = Fjall::open(folder.path(), Options::default()).unwrap();

    assert!(matches!(Fjall::open(folder.path(), Options::default()), Err(Error::Unopened { .. })));

    drop(store);
    assert!(Fjall::open(folder.path(), Options::default()).is_ok());
}

#[test]
fn a_store_that_does_not_open_says_where_it_is() {
    let error = Fjall::open(Path::new("/dev/null/store"), Options::default()).err().unwrap();

    assert!(error.to_string().starts_with("the state store in /dev/null/store does not open: "), "{error}");
}

#[test]
fn generations_are_laid_out_as_the_module_says_and_none_is_used_again() {
    let folder = tempfile::tempdir().unwrap();
    let store = Fjall::open(folder.path(), Options::default()).unwrap();
    let rows = |store: &Fjall| {
        let rows = store.opened().unwrap().database.keyspace("generation", KeyspaceCreateOptions::default);
        let rows = rows.unwrap().iter().map(|row| row.into_inner().unwrap());
        rows.map(|(key, value)| (key.to_vec(), value.to_vec())).collect::<Vec<_>>()
    };
    assert_eq!(rows(&store), [], "a node alone has none");

    let staged = store.stage(258).unwrap();
    assert_eq!(rows(&store), [(vec![0, 0, 1, 2, 0, 0, 0, 1], vec![])]);
    store.switch(staged).unwrap();
    let switched = [(vec![0, 0, 1, 2], vec![0, 0, 0, 1]), (vec![0, 0, 1, 2, 0, 0, 0, 0], vec![])];
    assert_eq!(rows(&store), switched);
    store.discard(Home::first(258)).unwrap();
    assert_eq!(rows(&store), switched[..1]);

    drop(store);
    let store = Fjall::open(folder.path(), Options::default()).unwrap();
    assert_eq!(store.home(258).unwrap(), staged);
    assert_eq!(store.stage(258).unwrap().generation, 2);
    assert_eq!(store.stage(1).unwrap().generation, 3);
}

#[test]
fn what_was_staged_when_the_store_stopped_is_gone_when_it_is_open_again() {
    let folder = tempfile::tempdir().unwrap();
    let store = Fjall::open(folder.path(), Options::default()).unwrap();
    let staged = store.stage(1).unwrap();
    store.stop("the disk is full");

    store.reopen().unwrap();

    let superseded = Error::Superseded { shard: 1, generation: 1 };
    assert_eq!(store.write(staged, Batch::new()), Err(superseded.clone()));
    assert_eq!(store.switch(staged), Err(superseded));
    assert_eq!(store.stage(1).unwrap().generation, 2, "whoever was staging does not write to another's");
}
