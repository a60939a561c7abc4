//! A leader that sleeps: another one may have taken its place, and changed everything, before it wakes.

use std::time::Duration;

use tokio::sync::oneshot::Receiver;
use twins::header::Header;
use twins::id::TwinId;
use twins::input::Input;
use twins::json::Json;
use twins::name::Name;
use twins::reply::Reply;

use crate::error::{Error, Outcome};
use crate::log;
use crate::shard::{Action, Options};
use crate::stream;

use super::world::World;

fn twin(n: usize) -> TwinId {
    TwinId::in_default_tenant(&format!("twin-{n}")).unwrap()
}

fn say(world: &mut World, n: usize, input: Input) -> Receiver<Outcome> {
    world.say(&twin(n), Header::default(), input).unwrap()
}

fn sample(n: u64) -> Input {
    Input::Sample { channel: Name::fixed("count"), body: Json::of(&n).unwrap().into() }
}

/// A shard of two twins whose node may be replaced.
fn world() -> World {
    let options = Options { handler_budget: Duration::MAX, ..Options::default() };
    let mut world = World::new(1, options, stream::Options::default());
    world.may_be_replaced();
    world.start().unwrap();
    for n in 0..2 {
        drop(say(&mut world, n, Input::Register { kind: Name::fixed("adder"), tags: None, with: None }));
        world.settle().unwrap();
    }
    world
}

/// Does what the shard asked the log for.
fn carry_out(world: &mut World, which: impl Fn(&Action) -> bool) {
    let index = world.asked.iter().position(which).expect("it was asked for");
    world.carry_out(index).unwrap();
}

fn is_propose(action: &Action) -> bool {
    matches!(action, Action::Propose { .. })
}

fn is_confirm(action: &Action) -> bool {
    matches!(action, Action::Confirm { .. })
}

#[test]
fn a_read_of_what_is_in_flight_needs_more_than_its_commit() {
    let mut world = world();
    let mut written = say(&mut world, 0, sample(1));
    let mut read = say(&mut world, 0, Input::Read);

    // It slept between the votes of the others and counting them: the commit is older than the read.
    carry_out(&mut world, is_propose);

    assert!(matches!(written.try_recv(), Ok(Ok(_))));
    assert!(read.try_recv().is_err(), "another node may have changed the twin since");
    world.refuse_confirming().unwrap();
    assert!(matches!(read.try_recv(), Ok(Err(Error::Unwritten { .. }))));
}

#[test]
fn a_read_at_rest_is_answered_when_it_is_confirmed() {
    let mut world = world();
    let mut read = say(&mut world, 0, Input::Read);
    let mut refused = say(&mut world, 0, sample(13));
    let mut later = say(&mut world, 1, Input::Read);
    assert!(read.try_recv().is_err());

    carry_out(&mut world, is_confirm);

    assert!(matches!(read.try_recv(), Ok(Ok(Reply::Twin(_)))));
    assert!(refused.try_recv().is_err() && later.try_recv().is_err(), "they came after it was asked for");
    world.settle().unwrap();
    assert!(refused.try_recv().is_ok());
    assert!(matches!(later.try_recv(), Ok(Ok(Reply::Twin(_)))));
}

#[test]
fn the_commit_of_what_was_proposed_later_confirms_a_read_and_answers_keep_their_order() {
    let mut world = world();
    let mut read = say(&mut world, 0, Input::Read);
    let mut written = say(&mut world, 0, sample(1));
    assert!(written.try_recv().is_err());

    carry_out(&mut world, is_propose);

    let Ok(Ok(Reply::Twin(before))) = read.try_recv() else { panic!("it is proven") };
    assert!(matches!(written.try_recv(), Ok(Ok(_))));
    assert_eq!(before.sequence(), 1, "it was asked before");
}

#[test]
fn a_full_disk_stands_in_the_way_of_no_read() {
    let mut world = world();
    let mut read = say(&mut world, 1, Input::Read);
    let mut written = say(&mut world, 0, sample(1));
    let proposed = world.asked.iter().position(is_propose).unwrap();

    world.refuse(proposed, &log::Error::Full("no room".into())).unwrap();

    assert!(matches!(written.try_recv(), Ok(Err(Error::Unwritten { .. }))));
    carry_out(&mut world, is_confirm);
    assert!(matches!(read.try_recv(), Ok(Ok(Reply::Twin(_)))));
}

#[test]
fn a_confirmation_of_an_earlier_leadership_confirms_nothing() {
    let mut world = world();
    let mut before = say(&mut world, 0, Input::Read);
    world.depose(false).unwrap();
    world.lead(true).unwrap();
    let mut after = say(&mut world, 0, Input::Read);
    assert!(matches!(before.try_recv(), Ok(Err(Error::Unwritten { .. }))));

    carry_out(&mut world, is_confirm);
    assert!(after.try_recv().is_err(), "it was asked for by the one before");
    carry_out(&mut world, is_confirm);

    assert!(matches!(after.try_recv(), Ok(Ok(Reply::Twin(_)))));
}

#[test]
fn who_looks_and_who_lists_waits_for_a_proof_too() {
    let mut world = world();
    let (tell, told) = std::sync::mpsc::channel();
    let sure = move |sure: Result<(), Error>| tell.send(sure.is_ok()).unwrap();
    world
        .with(|shard, _| {
            shard.when_sure(Box::new(sure));
            shard.confirm();
            Ok(())
        })
        .unwrap();
    assert!(told.try_recv().is_err());

    carry_out(&mut world, is_confirm);

    assert_eq!(told.try_recv(), Ok(true));
}
