//! What a device should become reaches it, refusals leave no trace, timers fire once, and writes are seen.

use std::time::Duration;

use serde_json::json;

use crate::support::node::Node;
use crate::support::online::Online;
use crate::{is_connected, register};

#[test]
fn a_desired_change_made_while_the_device_was_away_reaches_it_over_a_kill() {
    let node = Node::start();
    let mut device = Online::connect(node.at.mqtt, "pump", true);
    device.subscribe("twins/me/desired");
    device.hear_on("twins/me/desired");
    // Its answer shows that the acknowledgement before it was taken.
    device.report(&json!({"ready": true}));
    device.leave();
    node.twin_that("pump", |twin| !is_connected(twin));
    let (status, _) = node.api().patch("/twins/pump", &json!({"desired": {"speed": 3}})).expect("an answer");
    assert_eq!(status, 200);

    let node = node.kill_and_restart();
    let mut device = Online::connect(node.at.mqtt, "pump", true);

    let heard = device.hear_on("twins/me/desired");
    assert_eq!(heard, json!({"version": 1, "patch": {"speed": 3}, "full": false}));
}

#[test]
fn a_refusal_leaves_no_trace() {
    let node = Node::start();
    register(&node, "room", "thermostat");
    let before = node.twin("room");
    let change = json!({"tags": {"site": "north"}, "desired": {"fan": 1, "setpoint": 90}});

    let (status, refused) = node.api().patch("/twins/room", &change).expect("an answer");
    assert_eq!((status, &refused["code"]), (422, &"rejected".into()));
    let (status, _) = node.api().keyed("PATCH", "/twins/room", "k", &change).expect("an answer");
    assert_eq!(status, 422);
    assert_eq!(node.twin("room"), before);

    let node = node.kill_and_restart();
    assert_eq!(node.twin("room"), before);
}

#[test]
fn a_timer_fires_once_over_a_kill() {
    let node = Node::start();
    register(&node, "room", "thermostat");
    let (status, _) =
        node.api().post("/twins/room/methods/boost", &json!({"minutes": 0})).expect("an answer");
    assert_eq!(status, 200);

    // It may have fired before the kill or fires after it.
    let node = node.kill_and_restart();
    let fired = node.twin_that("room", |twin| twin["state"]["boost"].is_null());
    assert_eq!(fired["version"], 3, "registered, boosted, fired");

    let node = node.kill_and_restart();
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(node.twin("room")["version"], 3);
}

#[test]
fn who_was_acknowledged_reads_what_they_wrote() {
    let node = Node::shared();
    let mut device = Online::connect(node.at.mqtt, "reader", true);
    for n in 0..50 {
        device.report(&json!({"n": n}));
        let (status, _) = node.api().patch("/twins/reader", &json!({"tags": {"n": n}})).expect("an answer");
        assert_eq!(status, 200);

        let twin = node.twin("reader");

        assert_eq!((&twin["reported"]["n"], &twin["tags"]["n"]), (&n.into(), &n.into()));
    }
}
