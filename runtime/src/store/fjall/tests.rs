//! What only the store on disk can show.

use super::*;

#[test]
fn keys_are_laid_out_as_the_module_says() {
    let folder = tempfile::tempdir().unwrap();
    let store = Fjall::open(folder.path(), Options::default()).unwrap();
    let mut batch = Batch::new();
    batch.put(Space::Mark, "applied", "7");

    store.write(258, batch).unwrap();

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
    store.write(1, batch).unwrap();
    store.stop("the disk is full");

    let range = crate::store::ALL;
    let errors = [
        store.get(1, Space::Image, b"a").unwrap_err(),
        store.get_many(1, Space::Image, &[b"a"]).unwrap_err(),
        store.scan(1, Space::Image, range, 9).unwrap_err(),
        store.keys(1, Space::Image, range, 9).unwrap_err(),
        store.write(1, Batch::new()).unwrap_err(),
    ];

    let said = "the state store stopped, because a write failed: the disk is full";
    assert!(errors.iter().all(|error| error.to_string().starts_with(said)), "{errors:?}");

    store.reopen().unwrap();
    assert_eq!(store.get(1, Space::Image, b"a").unwrap().as_deref(), Some(&b"1"[..]));
    store.write(1, Batch::new()).unwrap();
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
