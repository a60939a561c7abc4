//! Connections that end without a word, and what a start knows of them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use twins::header::{Header, Transport};
use twins::id::TwinId;
use twins::input::Input;
use twins::name::Name;
use twins::session::{Connect, Connection};
use twins::trust::Proof;

use crate::shard::work::{Answer, Asker, Work};
use crate::shard::{Action, Options};
use crate::store::{ALL, Batch, Home, Space, StateStore};
use crate::stream;

use super::world::World;

fn world() -> World {
    let options = Options { handler_budget: Duration::MAX, ..Options::default() };
    let mut world = World::new(1, options, stream::Options::default());
    world.start().unwrap();
    world
}

fn twin(id: &str) -> TwinId {
    TwinId::in_default_tenant(id).unwrap()
}

/// A device connects by a node in its generation; its mailbox is known if it is attached.
fn connect(world: &mut World, id: &str, (node, generation): (u64, u64), is_attached: bool) {
    let address = Name::fixed("127.0.0.1");
    let connection = Connection { node, generation, transport: Transport::Mqtt, address };
    let connect = Connect {
        client: Name::fixed("c"),
        keep: false,
        resumes: false,
        connection,
        expiry_s: None,
        will: None,
        proof: Proof::Open,
    };
    let input = Input::Connect { connect, register: Some(Name::fixed("device")) };
    let asker = match is_attached {
        true => Asker::Mailbox { mailbox: Arc::default(), token: 0 },
        false => Asker::Nobody,
    };
    let answer = Answer::new(0, asker);
    let work = Work { twin: twin(id), header: Header::default(), input, answer, permit: None };
    world.with(|shard, now| shard.take(now, vec![work])).unwrap();
    world.settle().unwrap();
}

/// Time passes, and everything is written.
fn checkpoint(world: &mut World) {
    world.now = world.now + Duration::from_secs(60);
    world.with(|shard, now| shard.tick(now)).unwrap();
    world.settle().unwrap();
}

fn is_connected(world: &mut World, id: &str) -> bool {
    let twin = world.read(&twin(id)).unwrap().expect("it is registered");
    twin.sessions().connected().next().is_some()
}

/// After so much more time, the shard hears of node 2 in a generation, silent for so long.
fn nodes(world: &mut World, after: Duration, generation: u64, silent: Duration) {
    world.now = world.now + after;
    let seen = BTreeMap::from([(1, (1, Duration::ZERO)), (2, (generation, silent))]);
    world.with(|shard, now| shard.nodes(now, &seen)).unwrap();
    world.settle().unwrap();
}

#[test]
fn a_start_reads_no_image_to_know_who_was_connected() {
    let mut world = world();
    for id in ["a", "b", "c"] {
        connect(&mut world, id, (1, 1), true);
    }
    checkpoint(&mut world);
    world.crash(1);

    world.start().unwrap();

    let loads = world.asked.iter().filter_map(|action| match action {
        Action::Load(ids) => Some(ids.len()),
        _ => None,
    });
    assert_eq!(loads.sum::<usize>(), 3, "they are read to be told, and not before");
    world.settle().unwrap();
    assert!(["a", "b", "c"].iter().all(|id| !is_connected(&mut world, id)));
    checkpoint(&mut world);
    assert_eq!(world.store().keys(Home::first(0), Space::Connected, ALL, 9).unwrap().len(), 0);
}

#[test]
fn a_row_that_an_earlier_version_wrote_is_read_by_the_image() {
    let mut world = world();
    connect(&mut world, "a", (1, 1), true);
    checkpoint(&mut world);
    let mut old = Batch::new();
    old.put(Space::Connected, twin("a").as_str(), "");
    world.store().write(Home::first(0), old).unwrap();
    world.crash(1);

    world.start().unwrap();
    world.settle().unwrap();

    assert!(!is_connected(&mut world, "a"));
    checkpoint(&mut world);
    assert_eq!(world.store().keys(Home::first(0), Space::Connected, ALL, 9).unwrap().len(), 0);
}

#[test]
fn a_connection_ends_with_its_nodes_process_or_when_that_is_silent() {
    let mut world = world();
    connect(&mut world, "before", (2, 6), true);
    connect(&mut world, "now", (2, 7), true);
    connect(&mut world, "own", (1, 1), true);
    checkpoint(&mut world);
    world.crash(1);
    world.start().unwrap();
    world.settle().unwrap();
    assert!(!is_connected(&mut world, "own"), "nobody attaches it");
    assert!(is_connected(&mut world, "before") && is_connected(&mut world, "now"));

    nodes(&mut world, Duration::ZERO, 7, Duration::ZERO);
    assert!(!is_connected(&mut world, "before"));
    nodes(&mut world, Duration::from_secs(1), 7, Duration::from_millis(2_999));
    assert!(is_connected(&mut world, "now"));

    nodes(&mut world, Duration::from_millis(1), 7, Duration::from_secs(3));

    assert!(!is_connected(&mut world, "now"));
}

#[test]
fn a_live_nodes_connection_that_is_not_attached_in_time_ends_and_one_that_has_just_begun_does_not() {
    let mut world = world();
    connect(&mut world, "lost", (2, 7), false);
    connect(&mut world, "attached", (2, 7), true);
    let tick = Duration::from_millis(250);
    nodes(&mut world, Duration::ZERO, 7, tick);
    nodes(&mut world, Duration::from_millis(4_999), 7, tick);
    nodes(&mut world, Duration::from_millis(1), 7, tick);
    connect(&mut world, "begun", (2, 7), false);
    assert!(is_connected(&mut world, "lost"), "it is looked at once more");

    nodes(&mut world, Duration::from_secs(1), 7, tick);

    assert!(!is_connected(&mut world, "lost"));
    assert!(is_connected(&mut world, "attached") && is_connected(&mut world, "begun"));
}
