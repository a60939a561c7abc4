//! Several shards whose twins call each other, while shards crash at any step and what goes between them is lost, late
//! or there twice. Then the faults stop: each call has had its effect once, or was refused once, and nothing is left.

use std::collections::BTreeMap;
use std::time::Duration;

use twins::header::{Cause, Header};
use twins::id::TwinId;
use twins::input::Input;
use twins::json::Json;
use twins::name::Name;
use twins::transition::{Effect, Transition};

use crate::files::sim::Random;
use crate::log;
use crate::shard::entry::{Batch, Decided};
use crate::shard::{Failed, Options};
use crate::store::{ALL, Space, StateStore};
use crate::stream;

use super::oracle::Oracle;
use super::world::{Posted, World};

const SEEDS: u64 = 1_000;
const STEPS: u64 = 250;
const SHARDS: u32 = 3;
const TWINS: u64 = 6;

#[test]
fn each_call_has_its_effect_once_and_in_order_whatever_fails() {
    let mut calls = 0;
    for seed in 0..SEEDS {
        calls += Run::new(seed).run();
    }
    assert!(calls > 20 * SEEDS as usize, "the runs were too short to show anything: {calls}");
}

struct Run {
    seed: u64,
    random: Random,
    worlds: Vec<World>,
}

/// What became of a call.
#[derive(Debug, Default, PartialEq)]
struct Fate {
    made: u32,
    executed: u32,
    refused: u32,
    announced: u32,
}

impl Run {
    fn new(seed: u64) -> Self {
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
        let world = |number| World::one_of(number, SHARDS, seed, options.clone(), stream);
        Self { seed, random, worlds: (0..SHARDS).map(world).collect() }
    }

    fn run(mut self) -> usize {
        for world in &mut self.worlds {
            world.start().expect("an empty disk can be begun");
        }
        for twin in 0..TWINS {
            self.tell(twin, Input::Register { kind: Name::fixed("neighbour"), tags: None, with: None });
            self.settle();
        }
        for _ in 0..STEPS {
            let place = self.random.below(u64::from(SHARDS)) as usize;
            if self.step(place).is_err() {
                self.restart(place);
            }
        }
        self.heal();
        self.check()
    }

    /// Something happens in one of the worlds.
    fn step(&mut self, place: usize) -> Result<(), Failed> {
        let asked = self.worlds[place].asked.len() as u64;
        let posted = self.worlds[place].posted.len() as u64;
        let index = self.random.below(asked.max(1)) as usize;
        match self.random.below(100) {
            0..25 => {
                let twin = self.random.below(TWINS);
                let whom = match self.random.below(TWINS + 1) {
                    TWINS => "nobody".to_owned(),
                    whom => format!("twin-{whom}"),
                };
                let body = Json::of(&(whom, 1 + self.random.below(4))).unwrap().into();
                self.tell(twin, Input::Sample { channel: Name::fixed("call"), body });
                Ok(())
            }
            25..60 if asked > 0 => self.worlds[place].carry_out(index),
            60..85 if posted > 0 => {
                let index = self.random.below(posted) as usize;
                let what = self.worlds[place].posted.remove(index).expect("one of them");
                match self.random.below(10) {
                    0 => return Ok(()),
                    1 => self.worlds[place].posted.push_back(what.clone()),
                    _ => {}
                }
                self.deliver(what);
                Ok(())
            }
            85..91 => {
                let time = Duration::from_millis(self.random.below(800));
                self.worlds.iter_mut().for_each(|world| world.now = world.now + time);
                self.worlds[place].with(|shard, now| shard.tick(now))
            }
            91..94 if asked > 0 => self.worlds[place].refuse(index, &log::Error::Full("no room".into())),
            94 if asked > 0 => {
                self.worlds[place].append_unheard(index);
                Err(failed())
            }
            95 => {
                self.worlds[place].files().fail_sync_after(self.random.below(3));
                Ok(())
            }
            96 => {
                self.worlds[place].store().fail_write_after(self.random.below(3));
                Ok(())
            }
            97 => Err(failed()),
            _ => Ok(()),
        }
    }

    fn tell(&mut self, twin: u64, input: Input) {
        let twin = id(twin);
        let place = self.worlds.iter().position(|world| world.has(&twin)).expect("each twin has a shard");
        if self.worlds[place].say(&twin, Header::default(), input).is_err() {
            self.restart(place);
        }
    }

    fn deliver(&mut self, what: Posted) {
        let place = what.to() as usize;
        if self.worlds[place].deliver(what).is_err() {
            self.restart(place);
        }
    }

    fn restart(&mut self, place: usize) {
        loop {
            let seed = self.random.bits();
            self.worlds[place].crash(seed);
            if self.worlds[place].start().is_ok() {
                return;
            }
        }
    }

    /// All that is asked for and posted happens, until nothing is left.
    fn settle(&mut self) {
        loop {
            for world in &mut self.worlds {
                world.settle().expect("without faults nothing fails");
            }
            let posted: Vec<_> = self.worlds.iter_mut().flat_map(|world| world.posted.drain(..)).collect();
            if posted.is_empty() {
                return;
            }
            for what in posted {
                let place = what.to() as usize;
                self.worlds[place].deliver(what).expect("without faults nothing fails");
            }
        }
    }

    /// The faults stop.
    fn heal(&mut self) {
        for place in 0..self.worlds.len() {
            self.restart(place);
        }
        for _ in 0..60 {
            for world in &mut self.worlds {
                world.now = world.now + Duration::from_millis(100);
                world.with(|shard, now| shard.tick(now)).expect("time passes");
            }
            self.settle();
        }
    }

    /// Returns how many calls were made.
    fn check(&mut self) -> usize {
        let seed = self.seed;
        for world in &mut self.worlds {
            assert!(world.shard.as_ref().unwrap().outbox.is_empty(), "seed {seed}: a channel is not empty");
            assert!(world.shard.as_ref().unwrap().inbox.is_empty(), "seed {seed}: something waits");
            let oracle = Oracle::of(&world.history());
            for (twin, expected) in oracle.twins {
                let read = world.read(&twin).expect("the shard serves");
                assert_eq!(
                    read.as_deref(),
                    Some(&expected),
                    "seed {seed}: `{twin}` is not what its log says"
                );
            }
        }
        let fates = self.fates();
        for (call, fate) in &fates {
            let well = [
                Fate { made: 1, executed: 1, ..Fate::default() },
                Fate { made: 1, refused: 1, announced: 1, ..Fate::default() },
            ];
            assert!(well.contains(fate), "seed {seed}: call {call:?} has {fate:?}");
        }
        self.check_store();
        fates.len()
    }

    /// After one more checkpoint nothing of what was sent is in the state store.
    fn check_store(&mut self) {
        for (shard, world) in (0..).zip(&mut self.worlds) {
            world.now = world.now + Duration::from_secs(60);
            world.with(|shard, now| shard.tick(now)).expect("time passes");
            world.settle().expect("without faults nothing fails");
            let rows = world.store().keys(shard, Space::Outbox, ALL, 10).unwrap();
            assert!(rows.is_empty(), "seed {}: shard {shard} keeps {rows:?}", self.seed);
        }
    }

    /// What became of each call, from the logs alone. Of each pair of twins, calls are executed in their order.
    fn fates(&self) -> BTreeMap<(TwinId, u64, u32), Fate> {
        let mut fates = BTreeMap::<_, Fate>::new();
        let mut last = BTreeMap::<(TwinId, TwinId), (u64, u32)>::new();
        let of = |cause: &Cause| (cause.twin.clone(), cause.sequence, cause.ordinal);
        for entry in self.worlds.iter().flat_map(World::history) {
            let batch = Batch::decode(&entry.payload).unwrap();
            for refusal in &batch.refusals {
                fates.entry(of(&refusal.parcel.cause)).or_default().refused += 1;
            }
            for Decided { twin, transition } in &batch.decisions {
                for (cause, _) in transition.calls(twin) {
                    fates.entry(of(&cause)).or_default().made += 1;
                }
                let Some(cause) = &transition.header.cause else { continue };
                if announces(transition, "call-refused") {
                    assert_eq!(&cause.twin, twin, "whoever called hears of it");
                    fates.entry(of(cause)).or_default().announced += 1;
                    continue;
                }
                fates.entry(of(cause)).or_default().executed += 1;
                let place = (cause.sequence, cause.ordinal);
                let before = last.insert((cause.twin.clone(), twin.clone()), place);
                assert!(before < Some(place), "seed {}: {twin} got {cause:?} after {before:?}", self.seed);
            }
        }
        fates
    }
}

fn announces(transition: &Transition, event: &str) -> bool {
    let named = |effect: &Effect| matches!(effect, Effect::Event { name, .. } if name.as_str() == event);
    transition.effects.iter().any(named)
}

fn failed() -> Failed {
    Failed { shard: 0, why: "the power failed".into() }
}

fn id(n: u64) -> TwinId {
    TwinId::in_default_tenant(&format!("twin-{n}")).unwrap()
}
