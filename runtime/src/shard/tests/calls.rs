//! Several shards whose twins call each other, while shards crash at any step and what goes between them is lost, late
//! or there twice. Then the faults stop: each call has had its effect once, or was refused once, and nothing is left.

use std::collections::BTreeMap;

use twins::header::{Cause, Header};
use twins::id::TwinId;
use twins::input::Input;
use twins::json::Json;
use twins::name::Name;
use twins::transition::{Effect, Transition};

use crate::shard::entry::{Batch, Decided};

use super::world::World;
use super::worlds::Worlds;

const SEEDS: u64 = 1_000;
const STEPS: u64 = 250;
const SHARDS: u32 = 3;
const TWINS: u64 = 6;

#[test]
fn each_call_has_its_effect_once_and_in_order_whatever_fails() {
    let mut calls = 0;
    for seed in 0..SEEDS {
        calls += run(seed);
    }
    assert!(calls > 20 * SEEDS as usize, "the runs were too short to show anything: {calls}");
}

/// What became of a call.
#[derive(Debug, Default, PartialEq)]
struct Fate {
    made: u32,
    executed: u32,
    refused: u32,
    announced: u32,
}

/// Returns how many calls were made.
fn run(seed: u64) -> usize {
    let mut worlds = Worlds::new(seed, SHARDS);
    for twin in 0..TWINS {
        let register = Input::Register { kind: Name::fixed("neighbour"), tags: None, with: None };
        worlds.tell(&id(twin), Header::default(), register);
        worlds.settle();
    }
    for _ in 0..STEPS {
        if worlds.random.below(4) > 0 {
            worlds.step();
            continue;
        }
        let twin = worlds.random.below(TWINS);
        let whom = match worlds.random.below(TWINS + 1) {
            TWINS => "nobody".to_owned(),
            whom => format!("twin-{whom}"),
        };
        let body = Json::of(&(whom, 1 + worlds.random.below(4))).unwrap().into();
        worlds.tell(&id(twin), Header::default(), Input::Sample { channel: Name::fixed("call"), body });
    }
    worlds.heal();
    let fates = fates(&worlds);
    for (call, fate) in &fates {
        let well = [
            Fate { made: 1, executed: 1, ..Fate::default() },
            Fate { made: 1, refused: 1, announced: 1, ..Fate::default() },
        ];
        assert!(well.contains(fate), "seed {seed}: call {call:?} has {fate:?}");
    }
    worlds.check();
    fates.len()
}

/// What became of each call, from the logs alone. Of each pair of twins, calls are executed in their order.
fn fates(worlds: &Worlds) -> BTreeMap<(TwinId, u64, u32), Fate> {
    let mut fates = BTreeMap::<_, Fate>::new();
    let mut last = BTreeMap::<(TwinId, TwinId), (u64, u32)>::new();
    let of = |cause: &Cause| (cause.twin.clone(), cause.sequence, cause.ordinal);
    for entry in worlds.all.iter().flat_map(World::history) {
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
            assert!(before < Some(place), "seed {}: {twin} got {cause:?} after {before:?}", worlds.seed);
        }
    }
    fates
}

fn announces(transition: &Transition, event: &str) -> bool {
    let named = |effect: &Effect| matches!(effect, Effect::Event { name, .. } if name.as_str() == event);
    transition.effects.iter().any(named)
}

fn id(n: u64) -> TwinId {
    TwinId::in_default_tenant(&format!("twin-{n}")).unwrap()
}
