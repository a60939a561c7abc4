//! Two replicas of a shard with one log: one leads, the other follows as it can, each with faults and restarts of its own;
//! the lead goes to and fro, and the state of the one that leads is given to the other (`replicas.rs`). Whoever leads in the end, and whoever follows, is what the log says.

use std::path::Path;
use std::time::Duration;

use twins::header::Header;
use twins::id::TwinId;
use twins::input::Input;
use twins::name::Name;
use twins::time::Timestamp;

use crate::error::Error;
use crate::files::Files;
use crate::shard::entry::Batch;
use crate::shard::{Failed, Options};
use crate::stream;

use super::oracle::Oracle;
use super::simulation::Run;
use super::world::World;

const SEEDS: u64 = 1_000;
const STEPS: u64 = 240;

#[test]
fn each_replica_is_what_the_log_says_whoever_led_and_whatever_failed() {
    let (mut handed_over, mut moved) = (0, 0);
    for seed in 0..SEEDS {
        let run = Pair::new(seed).run();
        (handed_over, moved) = (handed_over + run.0, moved + run.1);
    }
    assert!(handed_over > 5 * SEEDS, "the runs were too short to show anything: {handed_over}");
    assert!(moved > SEEDS / 4, "too few states were moved to show anything: {moved}");
}

/// Two replicas.
pub(super) struct Pair {
    /// Speaks to the one that leads.
    pub(super) run: Run,
    pub(super) other: World,
    /// How often the state of the one was given to the other.
    pub(super) moved: u64,
}

impl Pair {
    pub(super) fn new(seed: u64) -> Self {
        let mut run = Run::new(seed);
        if seed.is_multiple_of(2) {
            run.world.may_be_replaced();
        }
        let mut other = run.world.replica(seed + 1);
        run.world.start().expect("an empty disk can be begun");
        other.start().expect("an empty disk can be begun");
        Self { run, other, moved: 0 }
    }

    /// Returns how often the lead went over, and how often a state did.
    fn run(mut self) -> (u64, u64) {
        let mut handed_over = 0;
        for _ in 0..STEPS {
            match self.run.random.below(40) {
                0..36 => self.step(),
                36..39 => self.move_state_at_risk(),
                _ => {
                    self.hand_over();
                    handed_over += 1;
                }
            }
            self.run.hear();
        }
        let moved = self.moved;
        self.finish();
        (handed_over, moved)
    }

    /// Something happens to one of them.
    pub(super) fn step(&mut self) {
        if self.run.random.below(38) < 22 {
            if self.run.step().is_err() {
                self.run.restart();
            }
        } else if self.follow().is_err() {
            self.restart();
        }
    }

    /// The faults stop, and both are what the log says.
    pub(super) fn finish(mut self) {
        self.run.world.files().set_capacity(u64::MAX);
        self.run.heal();
        self.run.check();
        while !self.has_no_fault() {
            self.restart();
        }
        if self.catch_up().is_err() {
            // It had failed before, and not noticed.
            self.restart_well();
            self.catch_up().expect("without faults nothing fails");
        }
        self.check_that_it_follows();
        self.hand_over();
        self.run.calm().expect("without faults nothing fails");
        self.run.check();
    }

    /// Whether nothing is left that would fail the one that follows; if so it goes on as it is.
    fn has_no_fault(&mut self) -> bool {
        let files = self.other.files();
        files.set_capacity(u64::MAX);
        files.fail_sync_after(u64::MAX);
        self.other.store().fail_write_after(u64::MAX);
        let random = &mut self.run.random;
        (0..10).all(|_| files.create(Path::new(&format!("/probe-{}", random.bits()))).is_ok())
    }

    /// Something happens to the one that follows.
    fn follow(&mut self) -> Result<(), Failed> {
        let Self { run, other, .. } = self;
        let asked = other.asked.len() as u64;
        match run.random.below(100) {
            0..25 => other.hear_of_commits(run.random.below(200)),
            25..80 if asked > 0 => other.carry_out(run.random.below(asked) as usize),
            80..88 => {
                other.now = other.now + Duration::from_millis(run.random.below(900));
                other.with(|shard, now| shard.tick(now))
            }
            88 => {
                other.files().fail_sync_after(run.random.below(3));
                Ok(())
            }
            89 => {
                other.files().cut_power_after(run.random.below(6));
                Ok(())
            }
            90 => {
                other.store().fail_write_after(run.random.below(3));
                Ok(())
            }
            91 => {
                let room = [0, 500, u64::MAX][run.random.below(3) as usize];
                other.files().set_capacity(other.files().used().saturating_add(room));
                Ok(())
            }
            92 => Err(Failed { shard: 0, why: "the power failed".into() }),
            93..96 => {
                let mut answer = other.say(&twin(), Header::default(), Input::Read)?;
                assert!(matches!(answer.try_recv(), Ok(Err(Error::Unwritten { .. }))));
                Ok(())
            }
            _ => Ok(()),
        }
    }

    pub(super) fn restart(&mut self) {
        let Self { run, other, .. } = self;
        other.files().set_capacity(u64::MAX);
        loop {
            other.crash(run.random.bits());
            if run.random.chance(10) {
                other.files().cut_power_after(run.random.below(4));
            }
            let Err(failed) = other.start() else { return };
            assert!(
                !failed.why.contains("restore"),
                "seed {}: nothing is purged too early: {failed}",
                run.seed
            );
        }
    }

    fn restart_well(&mut self) {
        self.other.crash(self.run.seed);
        self.other.start().expect("without faults the shard starts");
    }

    /// The one that follows leads from here on.
    fn hand_over(&mut self) {
        let (is_committed, again) = (self.run.random.chance(50), self.run.random.chance(20));
        let deposed = self.run.world.depose(is_committed);
        self.run.hear();
        self.run.connected.clear();
        // It may lose the lead and have it again in the same term.
        if again && deposed.is_ok() {
            if self.run.world.lead(true).is_err() {
                self.run.restart();
            }
            return;
        }
        std::mem::swap(&mut self.run.world, &mut self.other);
        if deposed.is_err() {
            self.restart();
        }
        self.run.world.files().set_capacity(u64::MAX);
        if self.run.world.lead(false).is_err() {
            self.run.restart();
        }
    }

    /// The one that follows hears of everything.
    pub(super) fn catch_up(&mut self) -> Result<(), Failed> {
        let other = &mut self.other;
        other.files().set_capacity(u64::MAX);
        other.hear_of_commits(u64::MAX)?;
        other.now = other.now + Duration::from_secs(60);
        other.with(|shard, now| shard.tick(now))?;
        other.settle()
    }

    /// It has applied all that there is, although it does not lead.
    fn check_that_it_follows(&self) {
        let (seed, history) = (self.run.seed, self.other.history());
        let shard = self.other.shard.as_ref().expect("it runs");
        let stamps = history.iter().map(|entry| Batch::decode(&entry.payload).unwrap().stamp);
        assert_eq!(shard.applied, history.len() as u64, "seed {seed}: it has not applied everything");
        assert!(Some(shard.now) >= stamps.max(), "seed {seed}: its time is behind that of the log");
        let oracle = Oracle::of(&history);
        assert_eq!(shard.stream.end(), oracle.records.len() as u64, "seed {seed}: its stream differs");
        assert_eq!(shard.stream.earliest(), oracle.segments[0], "seed {seed}: its stream begins elsewhere");
        let there = oracle.twins.values().filter(|twin| twin.exists()).count() as u64;
        assert_eq!(shard.registered.values().sum::<u64>(), there, "seed {seed}: it miscounts");
        for (id, expected) in &oracle.twins {
            if let Some(twin) = shard.look(id) {
                assert_eq!(*twin, *expected, "seed {seed}: `{id}` is not what the log says");
            }
        }
    }
}

fn twin() -> TwinId {
    TwinId::in_default_tenant("twin-1").unwrap()
}

fn world() -> World {
    let options = Options { handler_budget: Duration::MAX, ..Options::default() };
    World::new(1, options, stream::Options::default())
}

fn register() -> Input {
    Input::Register { kind: Name::fixed("adder"), tags: None, with: None }
}

#[test]
fn the_clock_of_a_node_that_follows_never_becomes_the_shards() {
    let mut leader = world();
    let mut follower = leader.replica(2);
    leader.start().unwrap();
    follower.now = Timestamp::from_millis(u64::MAX / 4);
    follower.start().unwrap();
    drop(leader.say(&twin(), Header::default(), register()).unwrap());
    leader.settle().unwrap();

    follower.hear_of_commits(u64::MAX).unwrap();
    follower.settle().unwrap();

    let (led, followed) = (leader.shard.as_ref().unwrap(), follower.shard.as_ref().unwrap());
    assert_eq!((followed.applied, followed.now), (1, led.now));
    assert_eq!(followed.look(&twin()), led.look(&twin()));
}

#[test]
fn what_a_deposed_shard_decided_is_forgotten_and_what_it_committed_is_not() {
    let mut world = world();
    world.start().unwrap();
    drop(world.say(&twin(), Header::default(), register()).unwrap());
    world.settle().unwrap();
    let remove = Input::Remove { reason: None };
    let mut in_flight = world.say(&twin(), Header::default(), remove).unwrap();
    let mut after_it = world.say(&twin(), Header::default(), register()).unwrap();

    world.depose(false).unwrap();
    assert!(matches!(in_flight.try_recv(), Ok(Err(Error::Unknown { .. }))));
    assert!(matches!(after_it.try_recv(), Ok(Err(Error::Unwritten { .. }))));
    world.lead(true).unwrap();
    world.settle().unwrap();

    let read = world.read(&twin()).unwrap().expect("it was not removed");
    assert_eq!(read.sequence(), 1);
}
