//! The limits of the channels between shards: what is full refuses what comes from outside, and loses nothing.

use std::time::{Duration, Instant};

use tokio::sync::oneshot;
use twins::header::{Header, Trace};
use twins::id::TwinId;
use twins::input::Input;
use twins::json::Json;
use twins::name::Name;
use twins::rejection::Rejection;

use crate::error::Error;
use crate::log;
use crate::shard::outbox::{PARCELS_MAX, WINDOW};
use crate::shard::work::{Answer, Asker, Work};
use crate::shard::{Action, Options};
use crate::store::{ALL, Home, Space, StateStore};
use crate::stream;

use super::world::{Posted, World};

/// Two shards, and a twin of each.
fn pair() -> ([World; 2], [TwinId; 2]) {
    let options = Options { handler_budget: Duration::MAX, checkpoint_bytes: 100_000, ..Options::default() };
    let mut worlds =
        [0, 1].map(|number| World::one_of(number, 2, 1, options.clone(), stream::Options::default()));
    let twins = [0, 1].map(|place: usize| {
        let ids = (0..).map(|n| TwinId::in_default_tenant(&format!("n-{n}")).unwrap());
        ids.into_iter().find(|id| worlds[place].has(id)).unwrap()
    });
    for (world, twin) in worlds.iter_mut().zip(&twins) {
        world.start().unwrap();
        drop(world.say(
            twin,
            Header::default(),
            Input::Register { kind: Name::fixed("neighbour"), tags: None, with: None },
        ));
        world.settle().unwrap();
    }
    (worlds, twins)
}

fn call(whom: &TwinId, times: u64) -> Input {
    let body = Json::of(&(whom.id(), times)).unwrap().into();
    Input::Sample { channel: Name::fixed("call"), body }
}

/// What is posted arrives, until nothing is posted any more.
fn exchange(worlds: &mut [World; 2]) {
    loop {
        worlds.iter_mut().for_each(|world| world.settle().unwrap());
        let posted: Vec<_> = worlds.iter_mut().flat_map(|world| world.posted.drain(..)).collect();
        if posted.is_empty() {
            return;
        }
        posted.into_iter().for_each(|what| worlds[what.to() as usize].deliver(what).unwrap());
    }
}

fn pass(worlds: &mut [World; 2], time: Duration) {
    for world in worlds {
        world.now = world.now + time;
        world.with(|shard, now| shard.tick(now)).unwrap();
    }
}

fn sizes(world: &World) -> (usize, usize) {
    world.shard.as_ref().unwrap().outbox.size()
}

#[test]
fn a_full_outbox_refuses_what_comes_from_outside_until_the_other_shard_has_taken_it() {
    let ([mut here, there], [caller, callee]) = pair();
    let mut refused = None;
    for _ in 0..100 {
        let Ok(permit) = here.admission.admit(100, Instant::now()) else { break };
        let (answer, mut wait) = oneshot::channel();
        let answer = Answer::new(0, Asker::Once(answer));
        let (input, header) = (call(&callee, 900), Header::default());
        let work = Work { twin: caller.clone(), header, input, answer, permit: Some(permit) };
        here.with(|shard, now| shard.take(now, vec![work])).unwrap();
        refused = wait.try_recv().ok();
    }

    assert!(refused.is_none(), "the door is closed before anything has to be refused behind it: {refused:?}");
    let limit = here.admission.admit(0, Instant::now()).unwrap_err();
    assert!(limit.contains("effects wait"), "{limit}");
    here.settle().unwrap();
    let (parcels, _) = sizes(&here);
    assert!((PARCELS_MAX..PARCELS_MAX + 900).contains(&parcels), "{parcels}");

    let mut worlds = [here, there];
    for _ in 0..300 {
        exchange(&mut worlds);
        pass(&mut worlds, Duration::from_millis(100));
    }
    assert_eq!((sizes(&worlds[0]), sizes(&worlds[1])), ((0, 0), (0, 0)));
    assert!(worlds[0].admission.admit(0, Instant::now()).is_ok());
    let noted = worlds[1].read(&callee).unwrap().unwrap().state().document.as_str().to_owned();
    let expected = (1..=parcels as u64).filter(|n| n % 5 != 0 && n % 7 != 0).count();
    assert!(noted.contains(&format!("\"noted\":{expected}")), "{noted}, and not {expected}");
}

#[test]
fn an_input_that_was_admitted_before_the_channels_were_full_is_surely_not_taken() {
    let ([mut here, _], [caller, callee]) = pair();
    let mut waits = Vec::new();
    let mut work = Vec::new();
    for _ in 0..30 {
        let (answer, wait) = oneshot::channel();
        let (answer, permit) =
            (Answer::new(0, Asker::Once(answer)), here.admission.admit(100, Instant::now()).ok());
        let (input, header) = (call(&callee, 900), Header::default());
        work.push(Work { twin: caller.clone(), header, input, answer, permit });
        waits.push(wait);
    }

    here.with(|shard, now| shard.take(now, work)).unwrap();

    let answers: Vec<_> = waits.iter_mut().filter_map(|wait| wait.try_recv().ok()).collect();
    assert!(answers.len() > 5, "{} are refused", answers.len());
    assert!(answers.iter().all(|answer| matches!(answer, Err(Error::Overloaded { .. }))), "{answers:?}");
}

#[test]
fn no_more_than_a_window_is_under_way_and_silence_makes_it_go_again() {
    let ([mut here, _], [caller, callee]) = pair();
    drop(here.say(&caller, Header::default(), call(&callee, 900)).unwrap());
    here.settle().unwrap();
    let window = |world: &mut World| match world.posted.drain(..).collect::<Vec<_>>().as_slice() {
        [Posted::Parcels { first, parcels, .. }] => (*first, parcels.len() as u64),
        other => panic!("{other:?}"),
    };
    assert_eq!(window(&mut here), (1, WINDOW));

    here.now = here.shard.as_ref().unwrap().next_wake().unwrap();
    here.with(|shard, now| shard.tick(now)).unwrap();
    here.settle().unwrap();

    assert_eq!(window(&mut here), (1, WINDOW), "nobody said that it came");
    here.deliver(Posted::Acknowledged { by: 1, to: 0, n: 100 }).unwrap();
    here.settle().unwrap();
    assert_eq!(window(&mut here), (WINDOW + 1, 100));
}

#[test]
fn a_lost_parcel_goes_again_after_its_second_though_new_ones_keep_coming() {
    let ([mut here, _], [caller, callee]) = pair();
    let mut handed = Vec::new();
    for _ in 0..12 {
        drop(here.say(&caller, Header::default(), call(&callee, 1)).unwrap());
        here.settle().unwrap();
        // Whatever is posted is lost.
        handed.extend(here.posted.drain(..).map(|posted| match posted {
            Posted::Parcels { first, parcels, .. } => (first, parcels.len()),
            other => panic!("{other:?}"),
        }));
        here.now = here.now + Duration::from_millis(100);
    }

    let new = |from: u64, to: u64| (from..=to).map(|n| (n, 1));
    let expected: Vec<_> = new(1, 10).chain([(1, 10)]).chain(new(11, 12)).collect();
    assert_eq!(handed, expected, "the first ten go again when the first one's second is over");
}

#[test]
fn a_refused_batch_gives_its_room_back_at_once() {
    let ([mut here, _], [caller, callee]) = pair();
    let mut work = Vec::new();
    let mut waits = Vec::new();
    for _ in 0..12 {
        let (answer, wait) = oneshot::channel();
        let answer = Answer::new(0, Asker::Once(answer));
        let permit = Some(here.admission.admit(100, Instant::now()).unwrap());
        let (input, header) = (call(&callee, 900), Header::default());
        work.push(Work { twin: caller.clone(), header, input, answer, permit });
        waits.push(wait);
    }
    // One batch is in flight, and one forms behind it, whose calls fill the channels.
    let rest = work.split_off(1);
    here.with(|shard, now| shard.take(now, work)).unwrap();
    here.with(|shard, now| shard.take(now, rest)).unwrap();
    let limit = here.admission.admit(0, Instant::now()).unwrap_err();
    assert!(limit.contains("effects wait"), "{limit}");
    let proposed = here.asked.iter().position(|action| matches!(action, Action::Propose { .. })).unwrap();

    here.refuse(proposed, &log::Error::Full("no room".into())).unwrap();

    for mut wait in waits {
        let answer = wait.try_recv().expect("it is answered");
        assert!(matches!(answer, Err(Error::Unwritten { .. })), "surely not taken: {answer:?}");
    }
    assert_eq!(here.admission.used(), (0, 0));
    assert!(here.admission.admit(4 << 20, Instant::now()).is_ok(), "nobody has to say anything first");
    assert_eq!(sizes(&here), (0, 0));
}

#[test]
fn what_is_sent_is_in_the_checkpoint_until_the_other_shard_has_it() {
    let ([mut here, there], [caller, callee]) = pair();
    drop(here.say(&caller, Header::default(), call(&callee, 300)).unwrap());
    here.settle().unwrap();
    let rows = |world: &World| world.store().keys(Home::first(0), Space::Outbox, ALL, 1_000).unwrap().len();
    here.now = here.now + Options::default().checkpoint_every;
    here.with(|shard, now| shard.tick(now)).unwrap();
    here.settle().unwrap();
    assert_eq!(rows(&here), 300);

    here.crash(0);
    here.start().unwrap();
    assert_eq!(sizes(&here).0, 300);
    let mut worlds = [here, there];
    for _ in 0..20 {
        exchange(&mut worlds);
        pass(&mut worlds, Duration::from_millis(100));
    }

    assert_eq!(sizes(&worlds[0]).0, 0);
    pass(&mut worlds, Options::default().checkpoint_every);
    exchange(&mut worlds);
    assert_eq!(rows(&worlds[0]), 0);
}

#[test]
fn acknowledgements_make_few_entries() {
    let ([here, there], [caller, callee]) = pair();
    let mut worlds = [here, there];
    drop(worlds[0].say(&caller, Header::default(), call(&callee, 900)).unwrap());
    for _ in 0..20 {
        exchange(&mut worlds);
        pass(&mut worlds, Duration::from_millis(100));
    }

    let entries = worlds.each_ref().map(|world| world.history().len());
    assert_eq!(sizes(&worlds[0]).0, 0);
    assert!(entries[0] + entries[1] < 60, "{entries:?} entries for 900 calls");
}

#[test]
fn a_callee_that_cannot_be_read_is_refused_and_holds_nothing_up() {
    let ([here, mut there], [caller, callee]) = pair();
    there.now = there.now + Options::default().checkpoint_every;
    there.with(|shard, now| shard.tick(now)).unwrap();
    there.settle().unwrap();
    there.crash(0);
    let mut damaged = crate::store::Batch::default();
    damaged.put(Space::Image, callee.as_str().as_bytes(), *b"no image");
    there.store().write(Home::first(1), damaged).unwrap();
    there.start().unwrap();
    let mut worlds = [here, there];

    drop(worlds[0].say(&caller, Header::default(), call(&callee, 2)).unwrap());
    for _ in 0..20 {
        exchange(&mut worlds);
        pass(&mut worlds, Duration::from_millis(100));
    }

    assert_eq!(sizes(&worlds[0]).0, 0);
    let events = super::oracle::Oracle::of(&worlds[0].history()).records;
    let told = events.iter().filter(|record| format!("{:?}", record.fact).contains("call-refused")).count();
    assert_eq!(told, 2);
}

#[test]
fn a_call_and_its_refusal_go_on_with_the_trace_of_their_cause() {
    let ([mut here, _], [caller, callee]) = pair();
    let trace = Some(Trace { id: [7; 16], parent: [9; 8], sampled: true });
    drop(here.say(&caller, Header { trace, ..Header::default() }, call(&callee, 1)).unwrap());
    here.settle().unwrap();

    let posted: Vec<_> = here.posted.drain(..).collect();

    let [Posted::Parcels { parcels, .. }] = posted.as_slice() else { panic!("{posted:?}") };
    assert_eq!(parcels[0].header().trace, trace);
    let back = parcels[0].refused(&Rejection::because("no")).unwrap();
    assert_eq!(back.header().trace, trace);
}
