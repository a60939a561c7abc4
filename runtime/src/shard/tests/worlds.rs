//! Several shards that send each other effects, in which anything may fail: shards crash at any step, and what goes
//! between them is lost, late or there twice. Then the faults stop.

use std::time::Duration;

use twins::header::Header;
use twins::id::TwinId;
use twins::input::Input;

use crate::files::sim::Random;
use crate::log;
use crate::shard::{Failed, Options};
use crate::store::{ALL, Home, Space, StateStore};
use crate::stream;

use super::oracle::Oracle;
use super::world::{Posted, World};

pub(super) struct Worlds {
    pub(super) seed: u64,
    pub(super) random: Random,
    pub(super) all: Vec<World>,
}

impl Worlds {
    /// So many shards with an empty disk each, begun.
    pub(super) fn new(seed: u64, shards: u32) -> Self {
        let mut random = Random::new(seed);
        let options = Options {
            memory_bytes: [0, 3_000, 1 << 20][random.below(3) as usize],
            checkpoint_bytes: [200, 2_000, 1 << 20][random.below(3) as usize],
            checkpoint_every: Duration::from_millis(1 + random.below(2_000)),
            handler_budget: Duration::MAX,
            ..Options::default()
        };
        let segment_bytes = 4_096.try_into().expect("it is not zero");
        let stream = stream::Options { segment_bytes, ..stream::Options::default() };
        let world = |number| World::one_of(number, shards, seed, options.clone(), stream);
        let mut all: Vec<_> = (0..shards).map(world).collect();
        all.iter_mut().for_each(|world| world.start().expect("an empty disk can be begun"));
        Self { seed, random, all }
    }

    /// Something happens in one of them, or between them.
    pub(super) fn step(&mut self) {
        let place = self.random.below(self.all.len() as u64) as usize;
        if self.step_at(place).is_err() {
            self.restart(place);
        }
    }

    fn step_at(&mut self, place: usize) -> Result<(), Failed> {
        let asked = self.all[place].asked.len() as u64;
        let posted = self.all[place].posted.len() as u64;
        let index = self.random.below(asked.max(1)) as usize;
        match self.random.below(75) {
            0..35 if asked > 0 => self.all[place].carry_out(index),
            35..60 if posted > 0 => {
                let index = self.random.below(posted) as usize;
                let what = self.all[place].posted.remove(index).expect("one of them");
                match self.random.below(10) {
                    0 => return Ok(()),
                    1 => self.all[place].posted.push_back(what.clone()),
                    _ => {}
                }
                self.deliver(what);
                Ok(())
            }
            60..66 => {
                let time = Duration::from_millis(self.random.below(800));
                self.all.iter_mut().for_each(|world| world.now = world.now + time);
                self.all[place].with(|shard, now| shard.tick(now))
            }
            66..69 if asked > 0 => self.all[place].refuse(index, &log::Error::Full("no room".into())),
            69 if asked > 0 => {
                self.all[place].append_unheard(index);
                Err(failed())
            }
            70 => {
                self.all[place].files().fail_sync_after(self.random.below(3));
                Ok(())
            }
            71 => {
                self.all[place].store().fail_write_after(self.random.below(3));
                Ok(())
            }
            72 => Err(failed()),
            _ => Ok(()),
        }
    }

    /// Something is said to a twin.
    pub(super) fn tell(&mut self, twin: &TwinId, header: Header, input: Input) {
        let place = self.all.iter().position(|world| world.has(twin)).expect("each twin has a shard");
        if self.all[place].say(twin, header, input).is_err() {
            self.restart(place);
        }
    }

    fn deliver(&mut self, what: Posted) {
        let place = what.to() as usize;
        if self.all[place].deliver(what).is_err() {
            self.restart(place);
        }
    }

    fn restart(&mut self, place: usize) {
        loop {
            let seed = self.random.bits();
            self.all[place].crash(seed);
            if self.all[place].start().is_ok() {
                return;
            }
        }
    }

    /// All that is asked for and posted happens, until nothing is left.
    pub(super) fn settle(&mut self) {
        loop {
            for world in &mut self.all {
                world.settle().expect("without faults nothing fails");
            }
            let posted: Vec<_> = self.all.iter_mut().flat_map(|world| world.posted.drain(..)).collect();
            if posted.is_empty() {
                return;
            }
            for what in posted {
                let place = what.to() as usize;
                self.all[place].deliver(what).expect("without faults nothing fails");
            }
        }
    }

    /// The faults stop.
    pub(super) fn heal(&mut self) {
        for place in 0..self.all.len() {
            self.restart(place);
        }
        for _ in 0..60 {
            for world in &mut self.all {
                world.now = world.now + Duration::from_millis(100);
                world.with(|shard, now| shard.tick(now)).expect("time passes");
            }
            self.settle();
        }
    }

    /// Nothing is under way, and each twin is what its log says.
    pub(super) fn check(&mut self) {
        let seed = self.seed;
        for world in &mut self.all {
            assert!(world.shard.as_ref().unwrap().outbox.is_empty(), "seed {seed}: a channel is not empty");
            assert!(world.shard.as_ref().unwrap().inbox.is_empty(), "seed {seed}: something waits");
            let oracle = Oracle::of(&world.history());
            for (twin, expected) in oracle.twins.into_iter().filter(|(_, twin)| twin.exists()) {
                let read = world.read(&twin).expect("the shard serves");
                assert_eq!(
                    read.as_deref(),
                    Some(&expected),
                    "seed {seed}: `{twin}` is not what its log says"
                );
            }
        }
        self.check_store();
    }

    /// After one more checkpoint nothing of what was sent is in the state store.
    fn check_store(&mut self) {
        for (shard, world) in (0..).zip(&mut self.all) {
            world.now = world.now + Duration::from_secs(60);
            world.with(|shard, now| shard.tick(now)).expect("time passes");
            world.settle().expect("without faults nothing fails");
            let rows = world.store().keys(Home::first(shard), Space::Outbox, ALL, 10).unwrap();
            assert!(rows.is_empty(), "seed {}: shard {shard} keeps {rows:?}", self.seed);
        }
    }
}

fn failed() -> Failed {
    Failed { shard: 0, why: "the power failed".into() }
}
