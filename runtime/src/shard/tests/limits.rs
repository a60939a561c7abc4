//! What one shard does at once, holds at once and lives through: each claim against a world under the test's control.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use twins::body::Body;
use twins::header::{Header, Mark, Transport};
use twins::id::TwinId;
use twins::input::Input;
use twins::json::{Json, Operation, Pointer};
use twins::name::Name;
use twins::session::{Connect, Connection, Subscription, Topic};
use twins::transition::{Change, Transition};
use twins::trust::Proof;

use crate::error::Error;
use crate::log;
use crate::mailbox::Mailbox;
use crate::router::REQUESTS_MAX;
use crate::shard::decide::unrecorded;
use crate::shard::entry::Batch;
use crate::shard::requests::Asked;
use crate::shard::work::{Answer, Asker, Work};
use crate::shard::{Action, Options};
use crate::store::{self, Home, Space, StateStore};
use crate::stream;

use super::world::World;

fn world(options: Options) -> World {
    let mut world =
        World::new(1, Options { handler_budget: Duration::MAX, ..options }, stream::Options::default());
    world.start().unwrap();
    world
}

fn twin(n: usize) -> TwinId {
    TwinId::in_default_tenant(&format!("twin-{n}")).unwrap()
}

fn say(world: &mut World, twin: &TwinId, input: Input) {
    drop(world.say(twin, Header::default(), input).unwrap());
}

fn register(world: &mut World, twin: &TwinId) {
    say(world, twin, Input::Register { kind: Name::fixed("adder"), tags: None, with: None });
}

fn sample(n: u64) -> Input {
    Input::Sample { channel: Name::fixed("count"), body: Json::of(&n).unwrap().into() }
}

/// A connection tells its twin something.
fn tell(world: &mut World, mailbox: &Arc<Mailbox>, mark: Option<Mark>, input: Input) {
    let answer = Answer::new(0, Asker::Mailbox { mailbox: mailbox.clone(), token: 0 });
    let header = Header { mark, ..Header::default() };
    let work = Work { twin: twin(0), header, input, answer, permit: None };
    world.with(|shard, now| shard.take(now, vec![work])).unwrap();
    world.settle().unwrap();
}

/// The first connection of twin 0, which is registered by it.
fn connect(world: &mut World) -> Arc<Mailbox> {
    let mailbox = Arc::new(Mailbox::default());
    let address = Name::fixed("127.0.0.1");
    let connection = Connection { node: 1, generation: 1, transport: Transport::Mqtt, address };
    let client = Name::fixed("c");
    let connect = Connect {
        client,
        keep: false,
        resumes: false,
        connection,
        expiry_s: None,
        will: None,
        proof: Proof::Open,
    };
    tell(world, &mailbox, None, Input::Connect { connect, register: Some(Name::fixed("device")) });
    mailbox
}

#[test]
fn a_fleet_that_is_due_at_once_hears_of_it_in_turns_and_each_once() {
    // Each twin goes as soon as it is written, so that all have to be read again.
    let mut world = world(Options { memory_bytes: 0, checkpoint_bytes: 1, ..Options::default() });
    for n in 0..1_000 {
        register(&mut world, &twin(n));
        say(&mut world, &twin(n), sample(10));
        world.settle().unwrap();
    }

    world.now = world.now + Duration::from_secs(3_600);
    let mut turns = 0;
    while world.shard.as_ref().unwrap().next_wake().is_some_and(|wake| wake <= world.now) {
        turns += 1;
        world.with(|shard, now| shard.tick(now)).unwrap();
        for action in &world.asked {
            match action {
                Action::Load(ids) => assert!(ids.len() <= 256, "{} are read at once", ids.len()),
                Action::Propose { payload, .. } => {
                    assert!(Batch::decode(payload).unwrap().decisions.len() <= 512);
                }
                _ => {}
            }
        }
        world.settle().unwrap();
    }

    assert!(turns >= 4, "{turns} turns");
    for n in 0..1_000 {
        let read = world.read(&twin(n)).unwrap().unwrap();
        assert_eq!(read.state().document.as_str(), r#"{"sum":10,"rang":1,"done":0}"#, "twin {n}");
    }
}

#[test]
fn a_damaged_image_costs_its_own_twin_and_nothing_else() {
    let mut world = World::new(
        1,
        Options { handler_budget: Duration::MAX, ..Options::default() },
        stream::Options::default(),
    );
    let mut damaged = store::Batch::default();
    let key = twin(0);
    damaged.put(Space::Image, key.as_str().as_bytes(), *b"no image");
    damaged.put(Space::Connected, key.as_str().as_bytes(), []);
    damaged.put(Space::Timer, store::Timer { due: world.now, twin: twin(0) }.key(), []);
    world.store().write(Home::first(0), damaged).unwrap();

    world.start().expect("the others are well");
    world.with(|shard, now| shard.tick(now)).unwrap();
    let mut answer = world.say(&twin(0), Header::default(), sample(1)).unwrap();
    register(&mut world, &twin(1));
    world.settle().unwrap();

    let refused = answer.try_recv().unwrap().unwrap_err();
    assert!(matches!(&refused, Error::Unwritten { why, .. } if why.contains("default/twin-0")), "{refused}");
    assert!(world.read(&twin(1)).unwrap().is_some());
    let wake = world.shard.as_ref().unwrap().next_wake();
    assert!(wake.is_some_and(|wake| wake > world.now), "it does not spin");
}

#[test]
fn twins_that_are_only_looked_at_do_not_gather_in_memory() {
    let memory_bytes = 100_000;
    let mut world = world(Options { memory_bytes, ..Options::default() });

    for round in 0..20 {
        for n in 0..1_000 {
            say(&mut world, &twin(round * 1_000 + n), Input::Read);
        }
        // All that was asked for is read at once, as a busy disk does.
        let asked = std::mem::take(&mut world.asked);
        let ids = asked.into_iter().flat_map(|action| match action {
            Action::Load(ids) => ids,
            _ => Vec::new(),
        });
        let images = ids.map(|id| (id, Ok(None))).collect();
        world.with(|shard, now| shard.loaded(now, images)).unwrap();
    }

    let bytes = world.shard.as_ref().unwrap().bytes;
    assert!(bytes <= memory_bytes, "{bytes} bytes of twins that nobody changed");
}

#[test]
fn whoever_gives_up_asking_leaves_no_place_taken() {
    let mut world = world(Options::default());
    let mailbox = connect(&mut world);
    let filter = Name::fixed("requests");
    let listens = Subscription { filter, topic: Topic::Requests, qos: 1, identifier: None };
    tell(&mut world, &mailbox, Some(Mark { epoch: 1, n: 1 }), Input::Subscribe(vec![listens]));
    let mut ask = || {
        let (answer, wait) = oneshot::channel();
        let (id, payload) = (Name::fixed("r"), Body::from(Json::null()));
        let asked = Asked { twin: twin(0), id, name: Name::fixed("blink"), payload, trace: None, answer };
        world.with(|shard, now| shard.request(now, asked)).unwrap();
        wait
    };

    let held: Vec<_> = (0..REQUESTS_MAX).map(|_| ask()).collect();
    assert!(ask().try_recv().unwrap().is_err(), "too many");
    drop(held);

    assert_eq!(ask().try_recv().unwrap_err(), oneshot::error::TryRecvError::Empty);
}

#[test]
fn a_full_disk_is_tried_again_by_the_clock_and_not_in_a_circle() {
    let mut world = world(Options::default());
    register(&mut world, &twin(0));
    world.settle().unwrap();
    world.files().set_capacity(world.files().used());
    say(&mut world, &twin(0), sample(1));
    world.settle().unwrap();
    let wake = |world: &World| world.shard.as_ref().unwrap().next_wake().unwrap();

    // By now a checkpoint is due, which a stream that is not written cannot have.
    world.now = world.now + Duration::from_secs(3_600);
    world.with(|shard, now| shard.tick(now)).unwrap();
    world.settle().unwrap();
    assert!(wake(&world) > world.now, "it does not spin");
    world.files().set_capacity(u64::MAX);
    world.now = wake(&world);
    world.with(|shard, now| shard.tick(now)).unwrap();

    assert_eq!(
        world.reader.as_ref().unwrap().end(),
        2,
        "readers see what waited, though nobody said anything more"
    );
}

#[test]
fn a_connection_that_went_while_the_disk_was_full_is_known_as_gone_when_there_is_room() {
    let mut world = world(Options::default());
    let mailbox = connect(&mut world);
    let is_connected = |world: &mut World| {
        let twin = world.read(&twin(0)).unwrap().unwrap();
        twin.sessions().connected().next().is_some()
    };
    mailbox.close();
    let reason = Name::fixed("closed");
    say(&mut world, &twin(0), Input::Disconnect { epoch: 1, reason, with_will: true, expiry_s: None });
    let no_room = log::Error::Full("no room".into());

    world.refuse(0, &no_room).unwrap();
    world.now = world.shard.as_ref().unwrap().next_wake().unwrap();
    world.with(|shard, now| shard.tick(now)).unwrap();
    world.refuse(0, &no_room).unwrap();
    assert!(is_connected(&mut world), "nothing that says otherwise is in the log");
    let wake = world.shard.as_ref().unwrap().next_wake().unwrap();
    assert!(wake > world.now, "it does not spin");
    world.now = wake;
    world.with(|shard, now| shard.tick(now)).unwrap();
    world.settle().unwrap();

    assert!(!is_connected(&mut world));
}

#[test]
fn a_state_store_that_is_slower_than_the_log_stops_what_comes_from_outside_and_nothing_else() {
    let mut world = world(Options { memory_bytes: 300_000, checkpoint_bytes: 1, ..Options::default() });
    let report = Json::of(&std::collections::BTreeMap::from([("note", "x".repeat(60_000))])).unwrap();
    let mut twins = 0;
    while world.admission.admit(0, std::time::Instant::now()).is_ok() {
        twins += 1;
        assert!(twins < 100, "it takes in without end");
        register(&mut world, &twin(twins));
        say(&mut world, &twin(twins), Input::Report(report.clone()));
        // Everything happens but the writing of the first checkpoint.
        while let Some(index) = world.asked.iter().position(|action| !matches!(action, Action::Checkpoint(_)))
        {
            world.carry_out(index).unwrap();
        }
    }

    assert!((17..25).contains(&twins), "about 1 MiB, and not {twins} times 60 kB");
    say(&mut world, &twin(1), Input::Due);
    world.settle().unwrap();

    assert!(world.admission.admit(0, std::time::Instant::now()).is_ok(), "what was taken in is written");
    let bytes = world.shard.as_ref().unwrap().bytes;
    assert!(bytes <= 300_000, "{bytes} bytes are left");
}

#[test]
fn inputs_that_make_many_records_wait_before_a_batch_is_too_large() {
    let mut world = world(Options::default());
    say(&mut world, &twin(0), Input::Register { kind: Name::fixed("device"), tags: None, with: None });
    world.settle().unwrap();
    let batch = Json::of(&vec![1; 1_000]).unwrap();
    let mut waits = Vec::new();
    let mut inputs = Vec::new();
    for _ in 0..600 {
        let (answer, wait) = oneshot::channel();
        let answer = Answer::new(0, Asker::Once(answer));
        let permit = Some(world.admission.admit(batch.len(), std::time::Instant::now()).unwrap());
        let input = Input::Telemetry(batch.clone().into());
        inputs.push(Work { twin: twin(0), header: Header::default(), input, answer, permit });
        waits.push(wait);
    }

    world.with(|shard, now| shard.take(now, inputs)).unwrap();

    let refused = waits.iter_mut().filter_map(|wait| wait.try_recv().ok()).collect::<Vec<_>>();
    assert!(refused.iter().all(|answer| matches!(answer, Err(Error::Overloaded { .. }))), "surely not taken");
    assert!((100..500).contains(&refused.len()), "{} of 600 are refused", refused.len());
    world.settle().unwrap();
    assert!(world.admission.admit(4 << 20, std::time::Instant::now()).is_ok(), "all permits are given back");
}

#[test]
fn a_list_has_what_is_newest_and_takes_no_more_of_it_than_was_asked_for() {
    let mut world = world(Options::default());
    let ids = |from: usize, to: usize| (from..to).map(|n| twin(1_000 + n)).collect::<Vec<_>>();
    for id in ids(0, 20) {
        register(&mut world, &id);
    }
    world.settle().unwrap();
    // Half of what is written goes, and twice as much comes.
    world.now = world.now + Options::default().checkpoint_every;
    world.with(|shard, now| shard.tick(now)).unwrap();
    world.settle().unwrap();
    ids(0, 10).iter().for_each(|id| say(&mut world, id, Input::Remove { reason: None }));
    ids(20, 60).iter().for_each(|id| register(&mut world, id));
    world.settle().unwrap();

    let overlay = world.shard.as_ref().unwrap().overlay("default", None, 15);
    assert!(overlay.len() <= 25, "{} ids are copied in the shard's turn", overlay.len());
    assert_eq!(overlay.merge(world.store()).unwrap(), ids(10, 25));
    let after = world.shard.as_ref().unwrap().overlay("default", Some(&twin(1_024)), 100);
    assert_eq!(after.merge(world.store()).unwrap(), ids(25, 60));
}

#[test]
fn a_batch_counts_the_state_that_a_behavior_writes_anew() {
    let path = Pointer::parse("/ring").unwrap();
    let value = Json::of(&"x".repeat(60_000)).unwrap();
    let patch = [Operation::Set { path, value }].into_iter().collect();
    let changes = vec![Change::State { version: 1, patch }];

    let transition = Transition { sequence: 1, header: Header::default(), changes, effects: Vec::new() };

    assert!(unrecorded(&transition) > 60_000);
}

#[test]
fn a_stop_waits_for_twins_that_are_being_read() {
    let mut world = world(Options::default());
    let mut wait = world.say(&twin(0), Header::default(), Input::Read).unwrap();
    let waits = |world: &mut World| {
        let mut waits = false;
        world.with(|shard, now| shard.finish(now).map(|more| waits = more)).unwrap();
        waits
    };

    assert!(waits(&mut world));
    world.settle().unwrap();

    assert!(!waits(&mut world));
    assert!(wait.try_recv().is_ok(), "what was taken in is answered");
}
