//! What comes again under its message id or its idempotency key has no second effect.

use std::time::Duration;

use twins::command::Mode;
use twins::digest::Digest;
use twins::header::{Header, Mark};
use twins::input::{Desire, Input};
use twins::rejection::Code;
use twins::reply::Reply;

use super::{World, add, command, json, keyed, sample};

#[test]
fn a_message_with_an_id_has_its_effect_once_over_reconnects_and_restarts() {
    let mut world = World::new();
    let epoch = world.connect();
    world.say(epoch, Some("m-1"), sample()).unwrap();
    let effects = |world: &World| world.journal.iter().map(|made| made.effects.len()).sum::<usize>();
    let once = effects(&world);

    assert_eq!(world.say(epoch, Some("m-1"), sample()), Ok(Reply::Done));
    world.disconnect(epoch);
    world.restart();
    let epoch = world.connect();
    assert_eq!(world.say(epoch, Some("m-1"), sample()), Ok(Reply::Done));
    assert_eq!(effects(&world), once);

    world.say(epoch, Some("m-2"), sample()).unwrap();
    world.say(epoch, None, sample()).unwrap();
    assert_eq!(effects(&world), once + 2);
}

#[test]
fn a_repeated_call_returns_what_it_returned() {
    let mut world = World::new();
    let epoch = world.connect();
    let returned = Ok(Reply::Returned(json("5")));
    assert_eq!(world.say(epoch, Some("call-1"), add("5")), returned);

    let same = Header {
        mark: Some(Mark { epoch, n: world.n }),
        mid: Some(Digest::of_mid("call-1").unwrap()),
        ..Header::default()
    };
    assert_eq!(world.decide(same, add("5")), returned, "under the same number");
    world.restart();
    assert_eq!(world.say(epoch, Some("call-1"), add("5")), returned, "under a later one, after a restart");

    assert_eq!(world.sum(), Some(5));
    assert_eq!(world.say(epoch, Some("call-2"), add("5")), Ok(Reply::Returned(json("10"))));
}

#[test]
fn what_was_refused_is_not_remembered() {
    let mut world = World::new();
    let epoch = world.connect();

    assert_eq!(world.say(epoch, Some("m"), add("\"five\"")).unwrap_err().code(), Code::Malformed);
    assert_eq!(world.decide(keyed("k", "b"), add("\"five\"")).unwrap_err().code(), Code::Malformed);

    assert_eq!(world.say(epoch, Some("m"), add("5")), Ok(Reply::Returned(json("5"))));
    assert_eq!(world.decide(keyed("k", "b"), add("1")), Ok(Reply::Returned(json("6"))));
}

#[test]
fn a_device_without_message_ids_pays_nothing_for_them() {
    let mut world = World::new();
    let epoch = world.connect();
    let before = world.twin().bytes();
    (0..100).for_each(|_| assert_eq!(world.say(epoch, None, sample()), Ok(Reply::Done)));
    assert_eq!((world.twin().bytes(), world.twin().mids().bytes()), (before, 0));
    assert!(world.journal.last().unwrap().changes.is_empty());
}

#[test]
fn a_request_under_a_key_is_answered_again_as_it_was_and_does_nothing_more() {
    let mut world = World::new();
    let asked = |world: &mut World, number| {
        let now = world.now;
        world.decide(keyed("k-1", "turn"), command(number, Mode::Queue, now))
    };
    let first = asked(&mut world, 1);
    let call = world.decide(keyed("k-2", "5"), add("5"));

    world.now = world.now + Duration::from_secs(30);
    world.restart();
    let before = world.journal.len();

    assert_eq!(asked(&mut world, 2), first, "the same id, whatever the repeat would have got");
    assert_eq!(world.decide(keyed("k-2", "5"), add("5")), call);
    assert_eq!(
        (world.journal.len(), world.sum(), world.twin().commands().all().count()),
        (before, Some(5), 1)
    );
}

#[test]
fn a_key_with_another_body_is_refused_and_after_a_day_it_is_free_again() {
    let mut world = World::new();
    world.decide(keyed("k", "5"), add("5")).unwrap();

    assert_eq!(world.decide(keyed("k", "6"), add("6")).unwrap_err().code(), Code::IdempotencyMismatch);

    world.now = world.now + Duration::from_secs(24 * 3_600);
    assert_eq!(world.decide(keyed("k", "6"), add("6")), Ok(Reply::Returned(json("11"))));
}

#[test]
fn a_key_is_refused_where_too_many_are_kept_and_none_is_forgotten_early() {
    let mut world = World::new();
    for n in 0..1_000 {
        world.decide(keyed(&n.to_string(), ""), add("1")).unwrap();
    }

    let refused = world.decide(keyed("one more", ""), add("1")).unwrap_err();
    assert_eq!(refused.code(), Code::IdempotencyFull);
    assert!(world.decide(keyed("0", ""), add("1")).is_ok());
    assert_eq!(world.sum(), Some(1_000));
    assert!(world.decide(Header::default(), add("1")).is_ok(), "without a key, all goes on");

    world.now = world.now + Duration::from_secs(24 * 3_600);
    world.decide(keyed("one more", ""), add("1")).unwrap();
    assert!(world.twin().keys().bytes() < 20_000, "the old ones went");
}

#[test]
fn the_request_that_removed_a_twin_may_come_again_and_so_may_the_one_that_made_it() {
    let mut world = World::new();
    world.decide(keyed("remove", ""), Input::Remove { reason: None }).unwrap();
    assert_eq!(world.decide(keyed("remove", ""), Input::Remove { reason: None }), Ok(Reply::Done));
    assert_eq!(
        world.decide(keyed("other", ""), Input::Remove { reason: None }).unwrap_err().code(),
        Code::UnknownTwin
    );

    let created = |reply| matches!(reply, Ok(Reply::Registered { created: true, .. }));
    assert!(created(world.register(keyed("add", ""))));
    assert!(created(world.register(keyed("add", ""))), "as it was answered at first");
    assert_eq!(world.twin().generation(), 2);

    world.system(Input::Remove { reason: None }).unwrap();
    assert_eq!(world.register(keyed("add", "")).unwrap_err().code(), Code::UnknownTwin);
    assert_eq!(&world.recovered(), world.twin());
}

#[test]
fn a_key_that_was_used_for_a_device_that_had_the_id_before_says_nothing_of_it() {
    let mut world = World::new();
    assert_eq!(world.decide(keyed("k", "5"), add("5")), Ok(Reply::Returned(json("5"))));
    world.system(Input::Remove { reason: None }).unwrap();
    world.register(Header::default()).unwrap();

    let refused = world.decide(keyed("k", "5"), add("5")).unwrap_err();

    assert_eq!((refused.code(), world.sum()), (Code::Conflict, None));
    assert_eq!(world.decide(keyed("new", "5"), add("5")), Ok(Reply::Returned(json("5"))));
}

#[test]
fn a_repeated_change_shows_the_twin_as_it_is() {
    let mut world = World::new();
    let desire =
        |patch| Input::Update { tags: None, desired: Some(Desire::Merge(json(patch))), if_match: None };
    world.decide(keyed("k", ""), desire(r#"{"a":1}"#)).unwrap();
    world.system(desire(r#"{"a":2}"#)).unwrap();

    let Ok(Reply::Twin(shown)) = world.decide(keyed("k", ""), desire(r#"{"a":1}"#)) else { panic!() };

    assert_eq!(shown.desired().document().as_str(), r#"{"a":2}"#);
}
