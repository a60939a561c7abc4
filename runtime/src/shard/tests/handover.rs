//! Devices of several shards that take each other's places, while shards crash at any step and words between them are lost,
//! late or there twice. What a device had is at no time at two of them, and in the end at one, unless that was removed.

use std::collections::BTreeMap;
use std::time::Duration;

use twins::header::{Header, Principal};
use twins::id::TwinId;
use twins::input::{Desire, Input};
use twins::json::Json;
use twins::name::Name;
use twins::transition::Change;
use twins::trust::{self, Step, Succession, What};
use twins::twin::Twin;

use crate::shard::Options;
use crate::shard::entry::{Batch, Decided};
use crate::store::{self, Home, Space, StateStore};
use crate::stream;

use super::oracle::Oracle;
use super::world::World;
use super::worlds::Worlds;

const SEEDS: u64 = 250;
const STEPS: u64 = 400;
const SHARDS: u32 = 3;
const TWINS: u64 = 8;
/// How many of them have something to lose at the beginning.
const PLACES: u64 = 3;

#[test]
fn a_place_is_never_two_devices_and_never_lost_whatever_fails() {
    let mut taken = 0;
    for seed in 0..SEEDS {
        taken += run(seed);
    }
    assert!(taken > SEEDS, "the runs were too short to show anything: {taken}");
}

#[test]
fn what_a_successor_whose_image_is_damaged_cannot_take_comes_back() {
    let options = Options { handler_budget: Duration::MAX, ..Options::default() };
    let mut world = World::new(1, options, stream::Options::default());
    world.start().unwrap();
    let desired = Some(Desire::Merge(Json::of(&BTreeMap::from([("place", 7)])).unwrap()));
    for (twin, input) in
        [(0, register()), (1, register()), (0, Input::Update { tags: None, desired, if_match: None })]
    {
        drop(world.say(&id(twin), Header::default(), input).unwrap());
        world.settle().unwrap();
    }
    world.now = world.now + Duration::from_secs(60);
    world.with(|shard, now| shard.tick(now)).unwrap();
    world.settle().unwrap();
    let what = What::Replace { by: id(1) };
    let step = Input::Trust(Box::new(Step { what, reason: None }));
    drop(world.say(&id(0), Header::default(), step).unwrap());
    let promised = |world: &World| {
        let twins = Oracle::of(&world.history()).twins;
        matches!(twins[&id(1)].trust().succession(), Some(Succession::Promised { .. }))
    };
    while !promised(&world) {
        world.carry_out(0).unwrap();
    }

    // The power fails before the promise is heard of, and takes the image of who made it.
    world.crash(1);
    let mut damaged = store::Batch::default();
    damaged.put(Space::Image, id(1).as_str().as_bytes(), *b"no image");
    world.store().write(Home::first(0), damaged).unwrap();
    world.start().unwrap();
    for _ in 0..20 {
        world.now = world.now + Duration::from_millis(200);
        world.with(|shard, now| shard.tick(now)).unwrap();
        world.settle().unwrap();
    }

    let old = world.read(&id(0)).unwrap().expect("it is there");
    let gave_up = |world: &World| {
        let decided =
            world.history().into_iter().flat_map(|entry| Batch::decode(&entry.payload).unwrap().decisions);
        decided
            .flat_map(|decided| decided.transition.changes)
            .any(|change| matches!(change, Change::Trust(trust::Change::Replaced { .. })))
    };
    assert!(gave_up(&world), "it had given up");
    assert_eq!((place(&old), old.trust().replaced_by()), (Some(7), None));
    assert!(world.read(&id(1)).unwrap().is_none(), "it is refused until it is restored");
}

/// Returns how many places were taken over.
fn run(seed: u64) -> u64 {
    let mut worlds = Worlds::new(seed, SHARDS);
    for twin in 0..TWINS {
        say(&mut worlds, twin, register());
        worlds.settle();
    }
    for place in 0..PLACES {
        let desired = Some(Desire::Merge(Json::of(&BTreeMap::from([("place", place)])).unwrap()));
        say(&mut worlds, place, Input::Update { tags: None, desired, if_match: None });
        worlds.settle();
    }
    for n in 0..STEPS {
        let (one, other) = (worlds.random.below(TWINS), PLACES + worlds.random.below(TWINS - PLACES));
        match worlds.random.below(24) {
            0..3 => {
                let what = What::Replace { by: id(other) };
                say(&mut worlds, one, Input::Trust(Box::new(Step { what, reason: None })));
            }
            3 if one >= PLACES => say(&mut worlds, one, Input::Remove { reason: None }),
            4..6 => say(&mut worlds, one, register()),
            _ => worlds.step(),
        }
        if n % 16 == 0 {
            check(&worlds, false);
        }
    }
    worlds.heal();
    worlds.check();
    check(&worlds, true)
}

/// At most one device has each place; in the end, unless that device was removed, one has. Returns how many were taken.
fn check(worlds: &Worlds, is_over: bool) -> u64 {
    let (mut holders, mut removed, mut taken) = (BTreeMap::<u64, u32>::new(), Vec::new(), 0);
    for history in worlds.all.iter().map(World::history) {
        let mut twins = BTreeMap::<TwinId, Twin>::new();
        for Decided { twin, transition } in
            history.iter().flat_map(|entry| Batch::decode(&entry.payload).unwrap().decisions)
        {
            let known = twins.entry(twin).or_default();
            if transition.changes.iter().any(|change| matches!(change, Change::Removed)) {
                removed.extend(place(known));
            }
            known.apply(&transition);
        }
        for twin in Oracle::of(&history).twins.values() {
            place(twin).into_iter().for_each(|place| *holders.entry(place).or_default() += 1);
            taken += twin.trust().ancestors().len() as u64;
            assert!(
                !is_over || twin.trust().succession().is_none(),
                "seed {}: something is under way for ever: {:?}",
                worlds.seed,
                twin.trust()
            );
        }
    }
    assert!(holders.values().all(|n| *n == 1), "seed {}: a place is two devices': {holders:?}", worlds.seed);
    for place in (0..PLACES).filter(|_| is_over) {
        let is_there = holders.contains_key(&place) || removed.contains(&place);
        assert!(is_there, "seed {}: place {place} was lost", worlds.seed);
    }
    taken
}

/// The place that a twin has.
fn place(twin: &Twin) -> Option<u64> {
    twin.desired().document().as_raw().get("/place").and_then(|place| place.as_str().parse().ok())
}

fn register() -> Input {
    Input::Register { kind: Name::fixed("neighbour"), tags: None, with: None }
}

fn say(worlds: &mut Worlds, twin: u64, input: Input) {
    let principal = Principal::User(Name::fixed("ann"));
    worlds.tell(&id(twin), Header { principal, ..Header::default() }, input);
}

fn id(n: u64) -> TwinId {
    TwinId::in_default_tenant(&format!("twin-{n}")).unwrap()
}
