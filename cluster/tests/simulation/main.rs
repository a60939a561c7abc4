//! Three nodes in one thread, on simulated time: the log, the groups, consensus and the transport as they are, over QUIC on
//! a simulated network, on disks that lose power. What goes wrong follows from a seed, and so does all that comes of it.
//!
//! Each run ends with a whole cluster: nothing goes wrong any more, and every group takes proposals on three equal nodes.
//! `TWINFOLD_SEEDS=300` or `TWINFOLD_SEEDS=1000..2000` says which seeds are run, `TWINFOLD_SEED=7` runs one and shows its
//! history.

mod disk;
mod faults;
mod invariants;
mod net;
mod node;
mod oracle;
mod panics;
mod planted;
mod shard;
mod world;

use planted::Planted;
use std::collections::BTreeMap;
use std::io::Write;
use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;
use world::{Outcome, run};

/// How many seeds are run where nobody says anything.
const SEEDS: u64 = 10;
/// A planted bug is found within so many.
const SEEDS_PLANTED: u64 = 50;

fn say(line: &str) {
    // Nobody who has closed it needs it.
    drop(writeln!(std::io::stderr(), "{line}"));
}

/// The seeds that the environment asks for, and whether their histories are to be shown.
fn asked() -> (Range<u64>, bool) {
    let read = |name: &str| std::env::var(name).ok();
    let number =
        |text: &str| text.parse::<u64>().unwrap_or_else(|_| panic!("`{text}` is no number of a seed"));
    if let Some(seed) = read("TWINFOLD_SEED") {
        let seed = number(&seed);
        return (seed..seed + 1, true);
    }
    match read("TWINFOLD_SEEDS") {
        None => (0..SEEDS, false),
        Some(seeds) => match seeds.split_once("..") {
            Some((first, end)) => (number(first)..number(end), false),
            None => (0..number(&seeds), false),
        },
    }
}

/// Runs seeds on as many threads as there are processors, until one breaks.
fn run_all(seeds: Range<u64>, shows: bool) -> (Option<Outcome>, BTreeMap<String, u64>) {
    let next = AtomicU64::new(seeds.start);
    let broken = Mutex::new(None);
    let counts = Mutex::new(BTreeMap::<String, u64>::new());
    let work = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds.end || broken.lock().unwrap().is_some() {
                return;
            }
            let outcome = run(seed, Planted::Nothing);
            if shows {
                outcome.history.iter().for_each(|line| say(line));
            }
            for (kind, count) in &outcome.counts {
                *counts.lock().unwrap().entry(kind.clone()).or_default() += count;
            }
            let done = seed + 1 - seeds.start;
            if done.is_multiple_of(100) {
                say(&format!("{done} seeds"));
            }
            if outcome.violation.is_some() {
                broken.lock().unwrap().get_or_insert(outcome);
            }
        }
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| (0..threads).for_each(|_| drop(scope.spawn(work))));
    (broken.into_inner().unwrap(), counts.into_inner().unwrap())
}

#[test]
fn what_is_promised_holds_whatever_goes_wrong_and_the_cluster_heals() {
    let (seeds, shows) = asked();
    let (count, began) = (seeds.end - seeds.start, Instant::now());

    let (broken, counts) = run_all(seeds, shows);

    let kinds: Vec<String> = counts.iter().map(|(kind, count)| format!("{count} {kind}")).collect();
    let seconds = began.elapsed().as_secs_f64();
    say(&format!("{count} seeds in {seconds:.1} s: {}", kinds.join(", ")));
    if let Some(Outcome { seed, violation, history, .. }) = broken {
        let tail = &history[history.len().saturating_sub(40)..];
        panic!(
            "seed {seed}: {}\nthe last of it:\n{}\nsee all of it with TWINFOLD_SEED={seed}",
            violation.unwrap_or_default(),
            tail.join("\n")
        );
    }
}

#[test]
fn the_same_seed_has_the_same_history() {
    for seed in 1_000..1_003 {
        let [one, other] = [(); 2].map(|()| run(seed, Planted::Nothing));

        let differs = one.history.iter().zip(&other.history).position(|(one, other)| one != other);
        if let Some(at) = differs {
            panic!("seed {seed} differs at {at}:\n{}\n{}", one.history[at], other.history[at]);
        }
        assert_eq!(one.hash, other.hash, "seed {seed}");
        assert!(one.history.len() > 500, "seed {seed}: {} events", one.history.len());
    }
}

/// The seed that finds a planted bug, and what it says.
fn found(planted: Planted) -> (u64, String) {
    let outcomes = (0..SEEDS_PLANTED).map(|seed| run(seed, planted));
    let found = outcomes.filter_map(|outcome| Some((outcome.seed, outcome.violation?))).next();
    let found = found.unwrap_or_else(|| panic!("{planted:?} is not found within {SEEDS_PLANTED} seeds"));
    say(&format!("{planted:?} is found by seed {}: {}", found.0, found.1));
    found
}

#[test]
fn a_disk_that_acknowledges_before_it_has_synced_is_found() {
    found(Planted::EarlyAck);
}

#[test]
fn a_leader_that_answers_without_a_proof_is_found() {
    let (_, violation) = found(Planted::NoBarrier);

    assert!(violation.contains("no read is stale"), "{violation}");
}
