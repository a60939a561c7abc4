//! How commands end: cancelled, late, dead and sent anew.

use std::time::Duration;

use twins::command::{CommandId, Mode, State};
use twins::input::{Input, Message, Said};
use twins::rejection::Code;
use twins::reply::Reply;
use twins::transition::Effect;

use super::{World, json};

#[test]
fn a_cancelled_command_is_never_sent_again_and_makes_room_for_the_next() {
    let mut world = World::new();
    let first = world.send(1, Mode::Queue);
    let second = world.send(2, Mode::Queue);
    let epoch = world.connect();
    assert_eq!(world.sent, [1]);

    let cancelled = world.system(Input::Cancel(first));
    assert_eq!(cancelled, Ok(Reply::Command { id: first, state: State::Cancelled }));
    assert_eq!(world.system(Input::Cancel(first)), cancelled, "and again");
    world.disconnect(epoch);
    world.restart();
    let epoch = world.connect();

    assert_eq!(world.sent, [1, 2, 2]);
    world.say(epoch, None, Input::Outcome { id: second, outcome: Said::Done, result: None }).unwrap();
    assert_eq!(world.system(Input::Cancel(second)).unwrap_err().code(), Code::CommandEnded);
    let unknown = CommandId(uuid::Uuid::from_u128(9));
    assert_eq!(world.system(Input::Cancel(unknown)).unwrap_err().code(), Code::UnknownCommand);
}

#[test]
fn a_command_that_the_device_has_and_did_not_answer_can_be_cancelled() {
    let mut world = World::new();
    let epoch = world.connect();
    let id = world.send(1, Mode::Queue);
    world.say(epoch, None, Input::Acknowledge(Message::Command(id))).unwrap();
    assert_eq!(world.state(id), Some(State::Delivered));

    world.system(Input::Cancel(id)).unwrap();

    assert_eq!((world.state(id), world.twin().next_due()), (Some(State::Cancelled), None));
}

#[test]
fn a_late_outcome_is_an_event_also_of_a_command_that_nobody_remembers() {
    let mut world = World::new();
    let epoch = world.connect();
    let id = world.send(1, Mode::Queue);
    world.system(Input::Cancel(id)).unwrap();
    let outcome = |id, outcome| Input::Outcome { id, outcome, result: Some(json("7")) };

    assert_eq!(world.say(epoch, None, outcome(id, Said::Done)), Ok(Reply::Done));
    let said = r#""outcome":"done","result":7,"state""#;
    assert_eq!(world.events(), [format!(r#"command-late {{"command":"{id}",{said}:"cancelled"}}"#)]);
    assert_eq!(world.state(id), Some(State::Cancelled), "the first end stands");

    let unknown = CommandId(uuid::Uuid::from_u128(9));
    assert_eq!(world.say(epoch, None, outcome(unknown, Said::Done)), Ok(Reply::Done));
    assert_eq!(world.events(), [format!(r#"command-late {{"command":"{unknown}",{said}:null}}"#)]);
}

#[test]
fn a_dead_command_is_redriven_with_fresh_attempts_and_a_new_deadline() {
    let mut world = World::new();
    let dead = world.send_in_vain(1, Mode::Queue);
    let other = world.send_in_vain(2, Mode::Queue);
    world.now = world.now + Duration::from_secs(3_600);

    let id = CommandId(uuid::Uuid::from_u128(3));
    assert_eq!(world.redrive(dead, 3, None), Ok(Reply::Command { id, state: State::Queued }));
    assert_eq!(world.events(), [format!(r#"command-redriven {{"command":"{dead}","as":"{id}"}}"#)]);
    let queued = world.twin().commands().get(id).unwrap();
    assert_eq!((queued.attempt, queued.deadline), (0, world.now + Duration::from_secs(60)), "as before");
    assert_eq!(queued.name.as_str(), "turn");

    assert_eq!(world.redrive(dead, 4, None).unwrap_err().code(), Code::UnknownCommand);
    assert_eq!(world.redrive(id, 4, None).unwrap_err().code(), Code::NotDead);
    world.redrive(other, 4, Some(5)).unwrap();
    let given = world.twin().commands().get(CommandId(uuid::Uuid::from_u128(4))).unwrap();
    assert_eq!(given.deadline, world.now + Duration::from_secs(5));
    world.restart();
    world.connect();
    assert_eq!((world.sent.clone(), world.twin().commands().dead().count()), (vec![3], 0));
}

#[test]
fn a_dead_command_of_which_only_the_latest_counts_does_not_replace_a_newer_one() {
    let mut world = World::new();
    let dead = world.send_in_vain(1, Mode::Latest);
    let newer = world.send(2, Mode::Latest);

    assert_eq!(world.redrive(dead, 3, None).unwrap_err().code(), Code::Superseded);
    assert_eq!((world.state(dead), world.state(newer)), (Some(State::Dead), Some(State::Queued)));

    world.system(Input::Cancel(newer)).unwrap();
    let newest = world.send_in_vain(4, Mode::Latest);
    assert_eq!(world.redrive(dead, 3, None).unwrap_err().code(), Code::Superseded);
    assert!(world.redrive(newest, 5, None).is_ok());
}

#[test]
fn dead_letters_outlast_commands_that_ended_and_an_event_says_which_went() {
    let mut world = World::new();
    let dead = world.send_in_vain(1, Mode::Queue);
    for number in 100..150 {
        let id = world.send(number, Mode::Queue);
        world.system(Input::Cancel(id)).unwrap();
    }
    assert_eq!(world.twin().commands().ended().count(), 32);
    assert_eq!(world.state(dead), Some(State::Dead));

    for number in 1_000..2_000 {
        world.send(number, Mode::Queue);
    }
    // One by one they are sent in vain; what pushes the first dead letter out is the last of them.
    while world.twin().commands().head().is_some() {
        let epoch = world.connect();
        world.disconnect(epoch);
    }

    let dropped = world.journal.iter().flat_map(|made| &made.effects);
    let dropped: Vec<_> = dropped
        .filter_map(|effect| match effect {
            Effect::Event { name, data } if name.as_str() == "command-dropped" => Some(data.to_string()),
            _ => None,
        })
        .collect();
    assert_eq!(dropped, [format!(r#"{{"command":"{dead}","name":"turn"}}"#)]);
    assert_eq!((world.state(dead), world.twin().commands().dead().count()), (None, 1_000));
}
