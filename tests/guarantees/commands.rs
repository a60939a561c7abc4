//! A command is delivered when the device says so, ends once, and then is never sent again.

use serde_json::{Value, json};

use crate::support::node::{Node, eventually};
use crate::support::online::Online;
use crate::support::wire::{PUBLISH, Wire};
use crate::{events, is_connected, register};

fn send(node: &Node, order: &Value) -> String {
    let (status, taken) = node.api().post("/twins/pump/commands", order).expect("an answer");
    assert_eq!(status, 202, "{taken}");
    taken["id"].as_str().expect("an id").to_owned()
}

fn state(node: &Node, id: &str) -> Value {
    let (_, shown) = node.api().get(&format!("/twins/pump/commands/{id}")).expect("an answer");
    shown["state"].clone()
}

/// A connection that listens to commands, and what it is sent first.
fn hear(node: &Node) -> (Wire, Value) {
    let mut device = Wire::connect(node.at.mqtt, false, "pump");
    device.subscribe(&[("twins/me/commands", 1)]);
    let command = device.next().expect("a command");
    assert_eq!(command.kind, PUBLISH);
    (device, command.message())
}

/// The device vanishes, and the twin has heard of it.
fn vanish(node: &Node, device: Wire) {
    drop(device);
    node.twin_that("pump", |twin| !is_connected(twin));
}

#[test]
fn a_command_is_delivered_only_when_the_device_said_so() {
    let node = Node::start();
    register(&node, "pump", "device");
    let id = send(&node, &json!({"name": "turn"}));
    let (device, command) = hear(&node);
    assert_eq!((&command["id"], &command["attempt"]), (&id.clone().into(), &1.into()));
    assert_eq!(state(&node, &id), "sent");
    vanish(&node, device);

    let node = node.kill_and_restart();
    let mut device = Wire::connect(node.at.mqtt, false, "pump");
    device.subscribe(&[("twins/me/commands", 1)]);
    let command = device.next().expect("the command");
    assert_eq!((&command.message()["id"], &command.message()["attempt"]), (&id.clone().into(), &2.into()));
    assert_eq!(state(&node, &id), "sent", "it was written, and not acknowledged");

    device.acknowledge(&command);
    eventually(|| (state(&node, &id) == "delivered").then_some(())).expect("delivered");
}

#[test]
fn a_cancelled_superseded_or_expired_command_is_never_sent_again() {
    let node = Node::start();
    register(&node, "pump", "device");
    let ends = [
        ("cancelled", json!({"name": "turn", "mode": "latest", "payload": 1})),
        ("superseded", json!({"name": "turn", "mode": "latest", "payload": 1})),
        ("expired", json!({"name": "turn", "ttl_s": 0.5})),
    ];
    let mut node = node;
    for (end, order) in ends {
        let id = send(&node, &order);
        let (device, command) = hear(&node);
        assert_eq!(command["id"], id, "it was sent");
        match end {
            "cancelled" => {
                let path = format!("/twins/pump/commands/{id}");
                assert_eq!(node.api().delete(&path).expect("an answer").0, 200);
            }
            "superseded" => {
                let next = send(&node, &json!({"name": "turn", "mode": "latest", "payload": 2}));
                node.api().delete(&format!("/twins/pump/commands/{next}")).expect("an answer");
            }
            _ => eventually(|| (state(&node, &id) == "expired").then_some(())).expect("its time passes"),
        }
        vanish(&node, device);
        node = node.kill_and_restart();

        let after = send(&node, &json!({"name": "after"}));
        let (device, heard) = hear(&node);
        assert_eq!((&heard["id"], state(&node, &id)), (&after.clone().into(), end.into()));
        node.api().delete(&format!("/twins/pump/commands/{after}")).expect("an answer");
        vanish(&node, device);
    }
}

#[test]
fn a_dead_command_is_kept_until_it_is_redriven_with_fresh_attempts() {
    let node = Node::start();
    register(&node, "pump", "device");
    let dead = send(&node, &json!({"name": "turn", "payload": {"to": 90}, "ttl_s": 3600}));
    for attempt in 1..=5 {
        let (device, command) = hear(&node);
        assert_eq!(command["attempt"], attempt);
        vanish(&node, device);
    }
    let mut device = Online::connect(node.at.mqtt, "pump", false);
    device.subscribe("twins/me/commands");
    assert_eq!(state(&node, &dead), "dead");
    device.leave();

    let node = node.kill_and_restart();
    let listed = node.api().all("/twins/pump/commands?state=dead", "after");
    assert_eq!(listed.iter().map(|command| &command["id"]).collect::<Vec<_>>(), [&Value::from(dead.clone())]);
    let redrive = |id: &str| {
        let answer = node.api().post(&format!("/twins/pump/commands/{id}/redrive"), &json!({"ttl_s": 60}));
        answer.expect("an answer")
    };
    let (status, taken) = redrive(&dead);
    assert_eq!((status, &taken["state"]), (202, &"queued".into()), "{taken}");
    let id = taken["id"].as_str().expect("an id");

    assert_eq!((redrive(&dead).0, redrive(id).0), (404, 409));
    assert_eq!(events(&node, "pump", "command-redriven"), [json!({"command": dead, "as": id})]);
    let (_device, command) = hear(&node);
    assert_eq!((&command["id"], &command["attempt"]), (&taken["id"], &1.into()));
    assert_eq!((&command["name"], &command["payload"]), (&"turn".into(), &json!({"to": 90})));
}

#[test]
fn commands_are_listed_by_each_state_page_by_page_and_by_no_other_name() {
    let node = Node::shared();
    let path = "/twins/listed/commands";
    register(&node, "listed", "device");
    for n in 0..7 {
        let (_, taken) = node.api().post(path, &json!({"name": "turn", "payload": n})).expect("an answer");
        if n % 2 == 0 {
            let id = taken["id"].as_str().expect("an id");
            assert_eq!(node.api().delete(&format!("{path}/{id}")).expect("an answer").0, 200);
        }
    }
    let mut counts = Vec::new();
    for state in
        ["queued", "sent", "delivered", "done", "rejected", "expired", "cancelled", "superseded", "dead"]
    {
        let (mut count, mut after) = (0, String::new());
        loop {
            let (status, page) =
                node.api().get(&format!("{path}?state={state}&limit=2{after}")).expect("an answer");
            assert_eq!(status, 200, "{page}");
            count +=
                page["items"].as_array().expect("items").iter().filter(|item| item["state"] == state).count();
            let Some(next) = page["next"].as_str() else { break };
            after = format!("&after={next}");
        }
        counts.push(count);
    }
    assert_eq!(counts, [3, 0, 0, 0, 0, 0, 4, 0, 0]);

    let (status, refused) = node.api().get(&format!("{path}?state=finished")).expect("an answer");
    assert_eq!((status, &refused["code"]), (400, &"bad-parameter".into()), "{refused}");
}
