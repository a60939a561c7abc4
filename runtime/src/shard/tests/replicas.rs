//! A replica that is given another one's state while that goes on: whatever fails, it has its own state or the other one,
//! and follows from there.

use std::io::{self, Write};
use std::path::Path;

use crate::fault;
use crate::files::Files;
use crate::replica::{Origin, Replicas};
use crate::shard::Action;
use crate::shard::checkpoint::NotWritten;
use crate::store::{self, Home, StateStore};

use super::following::Pair;
use super::simulation::Run;

/// How many steps both have taken before a state is moved.
const STEPS: u64 = 120;

/// Takes a packed state, while the shard that it is of goes on.
struct Loaded<'a> {
    run: &'a mut Run,
    bytes: Vec<u8>,
}

impl Write for Loaded<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.bytes.extend_from_slice(bytes);
        if self.run.random.chance(30) {
            self.run.step().map_err(io::Error::other)?;
            self.run.hear();
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What fails while a state is staged and installed.
#[derive(Debug, Clone, Copy)]
enum Fault {
    /// The power, after so many changes of the disk.
    Disk(u64),
    /// The state store, after so many writes.
    Store(u64),
    /// The power, at a fault point that is passed for the n-th time.
    Point(&'static str, u64),
}

fn origin() -> Origin {
    Origin { term: 3, membership: vec![1, 2, 3] }
}

impl Pair {
    /// The state of the one that leads, as the other may take it.
    fn pack(&mut self) -> Option<(Vec<u8>, u64)> {
        let source = self.run.world.replicas();
        let mut out = Loaded { run: &mut self.run, bytes: Vec::new() };
        let packed = source.pack(0, &mut out);
        let bytes = out.bytes;
        let Ok(applied) = packed else {
            // What fails it, fails it all.
            self.run.restart();
            return None;
        };
        // No log takes a state that is behind it.
        let behind = self.other.shard.as_ref().is_some_and(|shard| shard.applied() < applied);
        behind.then_some((bytes, applied))
    }

    /// The one that follows is given the state of the one that leads.
    fn move_state(&mut self, bytes: &[u8], applied: u64) -> Result<(), String> {
        let replicas = self.other.replicas();
        let staged = replicas.stage(0, &mut &*bytes)?;
        staged.install(applied, origin())?;
        self.moved += 1;
        self.check_superseded();
        self.other.end();
        self.other.start().map_err(|failed| failed.to_string())
    }

    /// As [`Pair::move_state`], where anything may fail.
    pub(super) fn move_state_at_risk(&mut self) {
        let Some((bytes, applied)) = self.pack() else { return };
        let files = self.other.files().clone();
        match self.run.random.below(8) {
            0 => files.cut_power_after(self.run.random.below(30)),
            1 => self.other.store().fail_write_after(self.run.random.below(12)),
            2 => files.fail_sync_after(self.run.random.below(4)),
            _ => {}
        }
        if self.move_state(&bytes, applied).is_err() {
            self.restart();
        }
    }

    /// A checkpoint of the state before is written nowhere.
    fn check_superseded(&mut self) {
        let is_checkpoint = |action: &Action| matches!(action, Action::Checkpoint(_));
        let Some(place) = self.other.asked.iter().position(is_checkpoint) else { return };
        let Some(Action::Checkpoint(cut)) = self.other.asked.remove(place) else { unreachable!() };
        if let Err(NotWritten::Store(error)) = cut.write(self.other.store()) {
            assert!(
                matches!(error, store::Error::Superseded { .. } | store::Error::Stopped { .. }),
                "{error}"
            );
        }
    }

    /// A state is moved, and something fails. Returns whether it did.
    fn move_state_into(mut self, fault: Fault) -> bool {
        for _ in 0..STEPS {
            self.step();
            self.run.hear();
        }
        let found = (0..100).find_map(|_| {
            self.run.calm().unwrap_or_else(|_| self.run.restart());
            self.pack()
        });
        let (bytes, applied) = found.expect("a checkpoint is written by and by");
        self.other.files().set_capacity(u64::MAX);
        self.other.crash(1);
        self.other.start().expect("without faults the shard starts");
        let (files, store) = (self.other.files().clone(), self.other.store().clone());
        let mut hook = None;
        match fault {
            Fault::Disk(n) => files.cut_power_after(n),
            Fault::Store(n) => store.fail_write_after(n),
            Fault::Point(name, n) => {
                let mut left = n;
                hook = Some(fault::Hook::new(move |passed| {
                    if passed == name {
                        if left == 0 {
                            files.cut_power_after(0);
                            store.fail_write_after(0);
                        }
                        left = left.wrapping_sub(1);
                    }
                }));
            }
        }
        let failed = self.move_state(&bytes, applied).is_err();
        drop(hook);
        self.other.crash(applied);
        self.other.start().expect("it has the one state or the other");
        let saved = self.other.replicas().saved(0).expect("the store is open");
        let is_new = saved.is_some_and(|saved| saved.origin == Some(origin()));
        assert!(failed || is_new, "{fault:?}: what is installed stays");
        self.finish();
        failed
    }
}

/// Moves a state with a fault later and later, until it comes too late.
fn each(of: impl Fn(u64) -> Fault) -> u64 {
    (0..).find(|n| !Pair::new(7).move_state_into(of(*n))).expect("it comes too late one day")
}

#[test]
fn a_crash_at_any_point_of_an_install_leaves_the_state_before_or_the_new_one() {
    let operations = each(Fault::Disk);
    let writes = each(Fault::Store);

    assert!(operations > 5, "{operations} changes of the disk are too few to show anything");
    assert!(writes > 3, "{writes} writes are too few to show anything");
    assert!(each(|n| Fault::Point("replica.staging", n)) > 3);
    for point in ["replica.staged", "replica.switched", "replica.cleared"] {
        Pair::new(7).move_state_into(Fault::Point(point, 0));
    }
}

/// A shard with some history, and its state packed.
fn packed() -> (Pair, Vec<u8>, u64) {
    let mut pair = Pair::new(3);
    for _ in 0..2 * STEPS {
        pair.step();
        pair.run.hear();
    }
    pair.other.crash(1);
    pair.other.start().expect("without faults the shard starts");
    let mut bytes = Vec::new();
    pair.run.calm().unwrap_or_else(|_| pair.run.restart());
    let applied = pair.run.world.replicas().pack(0, &mut bytes).expect("it has a checkpoint");
    (pair, bytes, applied)
}

/// Why this is not taken; nothing of it is left.
fn refused(pair: &Pair, shard: u32, bytes: &[u8]) -> String {
    let why = pair.other.replicas().stage(shard, &mut &*bytes).map(drop).expect_err("it is not whole");
    assert_eq!(pair.other.files().folders(Path::new("/streams")).unwrap(), ["0"]);
    assert_eq!(pair.other.store().home(shard).unwrap(), Home::first(shard));
    why
}

#[test]
fn a_torn_or_damaged_or_foreign_state_is_refused_and_leaves_nothing() {
    let (pair, bytes, applied) = packed();
    let end = bytes.iter().rposition(|byte| *byte != 0).unwrap();

    for length in (0..end).step_by(97) {
        refused(&pair, 0, &bytes[..length]);
    }
    for at in (0..end).step_by(211) {
        let mut damaged = bytes.clone();
        damaged[at] ^= 1;
        // What fills up a block says nothing; anything else is refused.
        drop(pair.other.replicas().stage(0, &mut damaged.as_slice()));
        assert_eq!(pair.other.files().folders(Path::new("/streams")).unwrap(), ["0"]);
    }
    let why = refused(&pair, 1, &bytes);
    assert!(why.contains("it says `format 1, shard 0`, and shard 1 in format 1 was expected"), "{why}");

    let staged = pair.other.replicas().stage(0, &mut bytes.as_slice()).unwrap();
    let why = staged.install(applied + 1, origin()).unwrap_err();
    assert!(why.contains(&format!("through entry {applied}, not {}", applied + 1)), "{why}");
    assert_eq!(pair.other.files().folders(Path::new("/streams")).unwrap(), ["0"]);
    assert_eq!(pair.other.store().home(0).unwrap(), Home::first(0));
}

#[test]
fn a_state_says_where_it_came_from_until_the_shard_has_gone_on() {
    let (mut pair, bytes, applied) = packed();
    pair.move_state(&bytes, applied).unwrap();
    let replicas = pair.other.replicas();

    let saved = replicas.saved(0).unwrap().unwrap();
    assert_eq!((saved.applied, saved.origin), (applied, Some(origin())));
    let mut again = Vec::new();
    assert_eq!(replicas.pack(0, &mut again).unwrap(), applied);
    assert!(!again.windows(6).any(|bytes| bytes == b"origin"), "it is no part of what is packed");
    let gone_on = (0..100).any(|_| {
        pair.step();
        pair.run.hear();
        if pair.catch_up().is_err() {
            pair.restart();
        }
        let saved = pair.other.replicas().saved(0).ok().flatten();
        saved.is_some_and(|saved| saved.applied > applied && saved.origin.is_none())
    });
    assert!(gone_on);
}

#[test]
fn a_shard_that_is_forgotten_begins_empty() {
    let (mut pair, ..) = packed();
    let replicas = pair.run.world.replicas();
    assert_ne!(pair.run.world.reader.as_ref().unwrap().end(), 0);

    replicas.forget(0).unwrap();

    assert_eq!(replicas.saved(0).unwrap(), None);
    let why = replicas.pack(0, &mut Vec::new()).unwrap_err();
    assert_eq!(why, "the state of shard 0 was not packed: it has no checkpoint yet");
    pair.run.world.end();
    assert!(pair.run.world.start().is_err(), "its log has purged what leads there");
}
