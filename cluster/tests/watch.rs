//! What a storage says to those who watch it: whether it takes entries, and if not, why.

use cluster::{Options, Storage};
use runtime::files::sim::Sim;
use std::path::Path;
use std::sync::{Arc, mpsc};

fn open(reserve_bytes: u64) -> Storage {
    open_on(Arc::new(Sim::new(1)), reserve_bytes)
}

fn open_on(files: Arc<Sim>, reserve_bytes: u64) -> Storage {
    let options = Options { segment_bytes: 1 << 20, reserve_bytes, ..Options::default() };
    Storage::open(files, Path::new("log"), options).expect("an empty log opens")
}

fn propose(storage: &Storage) -> Result<(), runtime::log::Error> {
    let log = storage.shard_log(0);
    let tenure = log.listen(Box::new(|_| {})).leads.expect("it leads");
    let (sender, fate) = mpsc::channel();
    log.propose(tenure, "an entry".into(), Box::new(move |result| drop(sender.send(result))));
    fate.recv().expect("it is answered").map(drop)
}

#[test]
fn a_log_that_takes_entries_is_ready_and_shows_its_segments() {
    let storage = open(0);
    propose(&storage).expect("there is room");
    assert_eq!(storage.watch().unready(), []);
    assert!(format!("{:?}", storage.watch()).contains("log"));
}

#[test]
fn a_disk_below_its_reserve_is_named_as_the_reason() {
    let files = Arc::new(Sim::new(1));
    let storage = open_on(files.clone(), 1 << 30);
    files.set_capacity(512 << 20);
    propose(&storage).expect_err("there is no room beyond the reserve");

    let unready = storage.watch().unready();

    assert_eq!(unready.len(), 1, "{unready:?}");
    assert_eq!(unready[0].part, "disk");
    assert!(unready[0].why.contains("reserve is reached"), "{unready:?}");
}

#[test]
fn a_log_that_stopped_after_a_failed_sync_is_named_as_the_reason() {
    let files = Arc::new(Sim::new(1));
    let storage = open_on(files.clone(), 0);
    // The sync that fails may be that of the next segment, which is made beside.
    let failed = (0..100).any(|_| {
        files.fail_sync_after(0);
        propose(&storage).is_err()
    });
    assert!(failed, "a sync of an entry fails");

    let unready = storage.watch().unready();

    assert_eq!(unready.len(), 1, "{unready:?}");
    assert_eq!(unready[0].part, "log");
    assert!(unready[0].why.contains("restart the node"), "{unready:?}");
}
