//! What every implementation keeps, and what the simulated one loses.

use super::disk::Disk;
use super::sim::Sim;
use super::{File, Files};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

fn check(claim: impl Fn(&dyn Files, &Path)) {
    let scratch = std::env::temp_dir().join(format!(
        "twinfold-files-{}-{:?}",
        std::process::id(),
        std::thread::current().id()
    ));
    let folder = scratch.join("a/b");

    Disk.create_folder(&folder).unwrap();
    claim(&Disk, &folder);
    std::fs::remove_dir_all(&scratch).unwrap();

    let sim = Sim::new(1);
    sim.create_folder(&folder).unwrap();
    claim(&sim, &folder);
}

fn content(file: &Arc<dyn File>) -> Vec<u8> {
    let mut bytes = vec![0; file.len().unwrap() as usize];
    file.read_at(&mut bytes, 0).unwrap();
    bytes
}

#[test]
fn a_write_past_the_end_leaves_zeros_between() {
    check(|files, folder| {
        let file = files.create(&folder.join("f")).unwrap();

        file.write_at(b"ab", 3).unwrap();
        file.sync_data().unwrap();

        assert_eq!(content(&file), b"\0\0\0ab");
        assert_eq!(file.read_at(&mut [0; 3], 3).unwrap_err().kind(), ErrorKind::UnexpectedEof);
    });
}

#[test]
fn a_length_cuts_and_lengthens() {
    check(|files, folder| {
        let file = files.create(&folder.join("f")).unwrap();
        assert!(file.is_empty().unwrap());
        file.write_at(b"abcd", 0).unwrap();

        file.set_len(2).unwrap();
        file.set_len(3).unwrap();

        assert_eq!(content(&file), b"ab\0");
    });
}

#[test]
fn a_file_is_made_once_and_opened_only_when_it_exists() {
    check(|files, folder| {
        let path = folder.join("f");
        assert_eq!(files.open(&path).err().unwrap().kind(), ErrorKind::NotFound);

        files.create(&path).unwrap();

        assert_eq!(files.create(&path).err().unwrap().kind(), ErrorKind::AlreadyExists);
        assert_eq!(files.create(&folder.join("none/f")).err().unwrap().kind(), ErrorKind::NotFound);
    });
}

#[test]
fn a_rename_replaces_and_a_removal_hides() {
    check(|files, folder| {
        let (a, b) = (folder.join("a"), folder.join("b"));
        files.create(&a).unwrap().write_at(b"a", 0).unwrap();
        files.create(&b).unwrap().write_at(b"b", 0).unwrap();
        assert_eq!(files.list(folder).unwrap(), ["a", "b"]);

        files.rename(&a, &b).unwrap();
        files.sync_folder(folder).unwrap();
        assert_eq!(content(&files.open(&b).unwrap()), b"a");
        assert_eq!(files.rename(&a, &b).unwrap_err().kind(), ErrorKind::NotFound);

        files.remove(&b).unwrap();
        assert!(files.list(folder).unwrap().is_empty());
        assert_eq!(files.remove(&b).unwrap_err().kind(), ErrorKind::NotFound);
        assert_eq!(files.list(&folder.join("none")).unwrap_err().kind(), ErrorKind::NotFound);
    });
}

#[test]
fn folders_are_listed_apart_and_removed_when_they_hold_nothing() {
    check(|files, folder| {
        let (full, empty) = (folder.join("full"), folder.join("empty"));
        [&full, &empty].iter().for_each(|folder| files.create_folder(folder).unwrap());
        files.create(&full.join("f")).unwrap();
        files.create(&folder.join("f")).unwrap();
        assert_eq!(files.folders(folder).unwrap(), ["empty", "full"]);
        assert_eq!(files.list(folder).unwrap(), ["f"]);

        files.remove_folder(&empty).unwrap();
        assert_eq!(files.remove_folder(&full).unwrap_err().kind(), ErrorKind::DirectoryNotEmpty);
        files.remove(&full.join("f")).unwrap();
        files.remove_folder(&full).unwrap();

        assert!(files.folders(folder).unwrap().is_empty());
        assert_eq!(files.remove_folder(&full).unwrap_err().kind(), ErrorKind::NotFound);
        assert_eq!(files.folders(&full).unwrap_err().kind(), ErrorKind::NotFound);
    });
}

#[test]
fn a_lock_is_held_by_one() {
    check(|files, folder| {
        let path = folder.join("lock");
        let held = files.lock(&path).unwrap();
        assert_eq!(files.lock(&path).err().unwrap().kind(), ErrorKind::WouldBlock);

        drop(held);

        files.lock(&path).unwrap();
        assert!(files.free_space(folder).unwrap() > 0);
    });
}

fn synced_file(sim: &Sim) -> (PathBuf, Arc<dyn File>) {
    let path = Path::new("d/f").to_owned();
    sim.create_folder(Path::new("d")).unwrap();
    let file = sim.create(&path).unwrap();
    file.write_at(&[1; 4096], 0).unwrap();
    file.sync_data().unwrap();
    sim.sync_folder(Path::new("d")).unwrap();
    (path, file)
}

#[test]
fn a_crash_keeps_what_was_synced_and_any_sectors_of_the_rest() {
    let mut outcomes = std::collections::BTreeSet::new();
    for seed in 0..200 {
        let sim = Sim::new(seed);
        let (path, file) = synced_file(&sim);
        file.write_at(&[2; 1000], 100).unwrap();
        file.write_at(&[3; 100], 4000).unwrap();

        sim.crash();

        let bytes = content(&sim.open(&path).unwrap());
        assert!(bytes[..100].iter().chain(&bytes[1100..4000]).all(|byte| *byte == 1));
        assert!(file.len().is_err(), "a handle from before the crash is dead");
        outcomes.insert((bytes[100], bytes[600], bytes[1099], bytes[4000], bytes.len()));
    }

    let both_lost = (1, 1, 1, 1, 4096);
    let later_kept = (1, 1, 1, 3, 4100);
    let torn = (2, 1, 1, 1, 4096);
    assert!([both_lost, later_kept, torn].iter().all(|outcome| outcomes.contains(outcome)), "{outcomes:?}");
}

#[test]
fn a_name_that_was_not_synced_may_be_lost_or_kept() {
    let mut kept = [false; 4];
    for seed in 0..50 {
        let sim = Sim::new(seed);
        let (path, _) = synced_file(&sim);
        sim.create(Path::new("d/made")).unwrap();
        sim.rename(&path, Path::new("d/moved")).unwrap();

        sim.crash();

        let names = sim.list(Path::new("d")).unwrap();
        let moved = names.contains(&"moved".to_owned());
        assert_ne!(moved, names.contains(&"f".to_owned()), "a rename is whole");
        kept[usize::from(names.contains(&"made".to_owned())) * 2 + usize::from(moved)] = true;
    }

    assert_eq!(kept, [true; 4]);
}

#[test]
fn a_failed_sync_loses_bytes_that_a_later_one_does_not_bring_back() {
    let lost = (0..50).filter(|seed| {
        let sim = Sim::new(*seed);
        let (path, file) = synced_file(&sim);
        file.write_at(&[2; 100], 0).unwrap();
        sim.fail_sync_after(0);
        assert!(file.sync_data().is_err());
        file.sync_data().unwrap();
        assert_eq!(content(&file)[0], 2, "readers see it until the crash");

        sim.crash();

        content(&sim.open(&path).unwrap())[0] == 1
    });
    assert!((5..45).contains(&lost.count()));
}

#[test]
fn a_full_disk_refuses_growth_and_goes_on_when_there_is_room() {
    let sim = Sim::new(3);
    let (_, file) = synced_file(&sim);
    sim.set_capacity(5000);
    assert_eq!(sim.free_space(Path::new("d")).unwrap(), 5000 - 4096);

    assert_eq!(file.write_at(&[9; 1000], 4096).unwrap_err().kind(), ErrorKind::StorageFull);
    file.write_at(&[9; 904], 4096).unwrap();

    sim.set_capacity(6000);
    file.write_at(&[9; 1000], 5000).unwrap();
    assert_eq!(sim.used(), 6000);
}

#[test]
fn without_power_nothing_works_until_the_crash() {
    let sim = Sim::new(3);
    let (path, file) = synced_file(&sim);
    sim.cut_power_after(1);

    file.write_at(&[9], 0).unwrap();

    assert!(file.write_at(&[9], 0).is_err());
    assert!(file.sync_data().is_err());
    assert!(sim.create(Path::new("d/g")).is_err());
    sim.crash();
    sim.open(&path).unwrap().write_at(&[9], 0).unwrap();
}
