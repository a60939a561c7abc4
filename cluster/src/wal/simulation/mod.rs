//! Power loss, over thousands of seeds: a writer on a simulated disk, driven step by step without a thread.
//!
//! The oracle is [`model::Model`]: after each recovery the log must be what the acknowledged records make, plus the
//! effect of some first ones of those whose fate is unknown, and nothing else. Each run ends with a phase without
//! faults in which the log must take, keep, move and drop entries again.

mod harm;
mod model;
mod run;

use super::job::Job;
use super::record::{Kind, Record, Vote};
use super::{lock, segment};
use crate::Error;
use bytes::Bytes;
use model::Model;
use run::Run;
use runtime::log::LogId;
use std::path::Path;

const FOLDER: &str = "log";

#[test]
fn nothing_acknowledged_is_lost_and_nothing_else_appears() {
    for seed in 0..4000 {
        let mut run = Run::new(seed);
        run.steps(120);
        run.heal();
    }
}

#[test]
fn a_seed_replays_identically() {
    for seed in 0..30 {
        let trace = || {
            let mut run = Run::new(seed);
            run.steps(120);
            run.heal();
            run.trace
        };
        assert_eq!(trace(), trace(), "seed {seed}");
    }
}

#[test]
fn a_flipped_bit_is_damage_or_lies_where_nothing_is_lost() {
    let mut damaged = 0;
    for seed in 0..600 {
        let mut run = Run::new(seed);
        run.quiet_steps(40);
        let before = run.model.visible();
        run.append_one();
        let whole = run.model.visible();
        run.flip_any_bit();

        match run.reopen() {
            Ok(()) => {
                let found = Model::read(run.writer()).unwrap();
                assert!(found == whole || found == before, "seed {seed}: more than the last batch is gone");
            }
            Err(Error::Damaged { .. }) => damaged += 1,
            Err(other) => panic!("seed {seed}: {other}"),
        }
    }
    assert!(damaged > 100, "{damaged} of 600 flips were seen as damage");
}

#[test]
fn a_torn_tail_is_cut() {
    let mut run = Run::new(1);
    run.append_one();
    let whole = run.model.visible();
    run.tear_next();

    run.reopen().unwrap();

    assert_eq!(Model::read(run.writer()).unwrap(), whole);
    assert!(run.tail_is_zero());
    run.append_one();
    run.reopen().unwrap();
    assert_eq!(Model::read(run.writer()).unwrap(), run.model.visible());
}

#[test]
fn all_that_waits_is_made_durable_at_once() {
    assert_eq!(Run::new(1).batches_of_all_groups(), 1);
}

#[test]
fn a_full_disk_still_takes_votes() {
    for seed in 0..20 {
        let mut run = Run::new(seed);
        run.fill_disk();

        run.append(Record::vote(0, Vote { term: 9, node: 1, committed: true }));

        run.reopen().unwrap();
        assert_eq!(Model::read(run.writer()).unwrap(), run.model.visible());
    }
}

#[test]
fn what_follows_an_entry_that_found_no_room_is_refused_too() {
    let mut run = Run::new(1);
    run.fill_disk();
    let next = run.model.next(0);
    let entry = |index| vec![Record::entry(0, Kind::Blank, LogId { term: 9, index }, Bytes::new())];

    run.submit(entry(next + 1), Job::upkeep);
    run.submit(entry(next), Job::upkeep);
    run.work();

    assert_eq!(run.model.next(0), next + 1, "the one that fits is written");
    run.reopen().unwrap();
    assert_eq!(Model::read(run.writer()).unwrap(), run.model.visible());
}

#[test]
fn a_note_is_written_with_the_batch_that_has_its_entry() {
    let mut run = Run::new(1);
    let first = run.model.next(0);
    let id = |index| LogId { term: 1, index };
    let large = || Bytes::from(vec![1; 5000]);

    run.submit(vec![Record::entry(0, Kind::Normal, id(first), large())], Job::new);
    run.submit(vec![Record::entry(0, Kind::Normal, id(first + 1), large())], Job::new);
    run.note_committed(0, id(first + 1));
    run.turn();
    let before = lock(&run.writer().shared.index).state(0);
    run.work();

    assert_eq!((before.last, before.committed), (Some(id(first)), None));
    assert_eq!(lock(&run.writer().shared.index).state(0).committed, Some(id(first + 1)));
}

#[test]
fn a_note_that_no_batch_came_for_is_written_at_the_close() {
    let mut run = Run::new(1);
    run.append(Record::entry(0, Kind::Blank, LogId { term: 1, index: 0 }, Bytes::new()));
    run.note_committed(0, LogId { term: 1, index: 0 });

    run.close();
    run.reopen().unwrap();

    let state = lock(&run.writer().shared.index).state(0);
    assert_eq!(state.committed, Some(LogId { term: 1, index: 0 }));
}

#[test]
fn a_missing_segment_is_reported() {
    let mut run = Run::new(5);
    run.fill_segments(3);
    run.remove_file(&segment::path(Path::new(FOLDER), 2));

    let error = run.reopen().unwrap_err();

    assert!(matches!(error, Error::Missing { segment: 2 }), "{error}");
}
