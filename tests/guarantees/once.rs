//! Acknowledged, in order, and once.

use serde_json::{Value, json};

use crate::support::node::Node;
use crate::support::online::Online;
use crate::support::wire::{PUBACK, PUBLISH, Wire, packet, publish};
use crate::{events, received, register};

const TURN: &str = "/twins/pump/commands";

/// A publish in MQTT 5 with QoS 1 and the user property `mid`.
fn publish_with_mid(topic: &str, mid: &str, payload: &[u8], id: u16) -> Vec<u8> {
    let text = |text: &str| [&(text.len() as u16).to_be_bytes()[..], text.as_bytes()].concat();
    let property = [vec![0x26], text("mid"), text(mid)].concat();
    let body = [&text(topic)[..], &id.to_be_bytes(), &[property.len() as u8], &property, payload].concat();
    packet(0x32, &body)
}

#[test]
fn what_was_acknowledged_is_there_after_a_kill() {
    let node = Node::start();
    let mut device = Online::connect(node.at.mqtt, "pump", true);
    (0..20).for_each(|n| device.report(&json!({"n": n})));
    let (status, changed) =
        node.api().patch("/twins/pump", &json!({"tags": {"site": "north"}})).expect("an answer");
    assert_eq!(status, 200, "{changed}");

    let node = node.kill_and_restart();

    let twin = node.twin("pump");
    assert_eq!((&twin["reported"]["n"], &twin["tags"]["site"]), (&19.into(), &"north".into()));
}

#[test]
fn the_inputs_of_a_session_take_effect_in_order_and_none_is_left_out() {
    const SAID: u16 = 2_000;
    let node = Node::start();
    let mut device = Wire::connect(node.at.mqtt, false, "pump");
    let mut writes = device.second();
    // The node is killed while they arrive.
    let says = std::thread::spawn(move || {
        for n in 1..=SAID {
            writes.send(&publish(false, "twins/me/telemetry/n", n.to_string().as_bytes(), Some(n)));
        }
    });
    let acknowledged =
        (0..SAID / 4).take_while(|_| device.next().is_some_and(|packet| packet.kind == PUBACK));
    let acknowledged = acknowledged.count();

    let node = node.kill_and_restart();
    says.join().expect("it ends");

    let taken = received(&node, "pump", "n");
    let in_order: Vec<_> = (1..=taken.len()).map(Value::from).collect();
    assert_eq!(taken, in_order);
    assert_eq!(acknowledged, usize::from(SAID / 4));
    assert!(taken.len() >= acknowledged, "{} of {acknowledged}", taken.len());
}

#[test]
fn a_message_with_a_mid_has_its_effect_once_over_reconnects_and_kills() {
    let node = Node::start();
    for _ in 0..2 {
        let mut device = Online::connect(node.at.mqtt, "pump", true);
        device.publish("twins/me/telemetry/t?mid=m-1", "1");
        device.publish("twins/me/telemetry/t?mid=m-1", "1");
        device.leave();
    }

    let node = node.kill_and_restart();
    let mut device = Online::connect(node.at.mqtt, "pump", true);
    device.publish("twins/me/telemetry/t?mid=m-1", "1");
    device.publish("twins/me/telemetry/t?mid=m-2", "2");

    assert_eq!(received(&node, "pump", "t"), [1, 2]);
}

#[test]
fn a_mid_is_a_user_property_in_mqtt_5_and_the_same_as_behind_a_topic() {
    let node = Node::shared();
    let mut device = Wire::connect(node.at.mqtt, true, "five");
    for id in [1, 2] {
        let acknowledged = device.send(&publish_with_mid("twins/me/telemetry/t", "m-1", b"1", id)).next();
        assert_eq!(acknowledged.map(|packet| (packet.kind, packet.reason())), Some((PUBACK, 0)));
    }
    device.publish("twins/me/telemetry/t?mid=m-1", b"1", Some(3)).next();
    device.publish("twins/me/telemetry/t", b"2", Some(4)).next();
    device.publish("twins/me/telemetry/t", b"2", Some(5)).next();

    assert_eq!(received(&node, "five", "t"), [1, 2, 2], "without one, each counts");
}

#[test]
fn an_empty_mid_is_refused() {
    let node = Node::shared();
    let mut device = Wire::connect(node.at.mqtt, true, "empty-mid");

    let refused = device.publish("twins/me/telemetry/t?mid=", b"1", Some(1)).next().expect("a PUBACK");

    assert_eq!((refused.kind, refused.reason()), (PUBACK, 0x99));
    assert!(received(&node, "empty-mid", "t").is_empty());
}

#[test]
fn a_repeated_call_of_a_device_gets_the_first_result_over_a_kill() {
    let call = |node: &Node, mid: &str| {
        let mut device = Online::connect(node.at.mqtt, "room", true);
        if !device.resumed {
            device.subscribe("twins/me/methods/+/+/reply");
        }
        device.publish(&format!("twins/me/methods/boost/1?mid={mid}"), r#"{"minutes":60}"#);
        let reply = device.hear_on("twins/me/methods/boost/1/reply");
        device.leave();
        reply
    };
    let node = Node::start();
    register(&node, "room", "thermostat");
    let first = call(&node, "c-1");
    assert_eq!(first, json!({"status": 200, "payload": 23.0}));
    let (status, _) =
        node.api().patch("/twins/room", &json!({"desired": {"setpoint": 25}})).expect("an answer");
    assert_eq!(status, 200);

    let node = node.kill_and_restart();

    assert_eq!(call(&node, "c-1"), first);
    assert_eq!(call(&node, "c-2")["payload"], 28.0, "a new call is made");
}

#[test]
fn a_request_with_an_idempotency_key_has_its_effect_once_over_a_kill() {
    let node = Node::start();
    register(&node, "pump", "device");
    register(&node, "room", "thermostat");
    let order = json!({"name": "turn", "payload": {"to": 90}});
    let ask = |node: &Node| {
        let keyed = |method: &str, path: &str, body: &Value| {
            node.api().keyed(method, path, "k-1", body).expect("an answer")
        };
        let added = keyed("PUT", "/devices/new", &json!({"kind": "device"}));
        let boosted = keyed("POST", "/twins/room/methods/boost", &json!({"minutes": 60}));
        let removed = keyed("DELETE", "/devices/new", &Value::Null);
        let ordered = keyed("POST", TURN, &order);
        [added, boosted, ordered, removed]
    };
    let first = ask(&node);
    assert_eq!(first.each_ref().map(|(status, _)| *status), [201, 200, 202, 204]);

    let node = node.kill_and_restart();
    let (status, _) =
        node.api().patch("/twins/room", &json!({"desired": {"setpoint": 25}})).expect("an answer");
    assert_eq!(status, 200);
    let again = ask(&node);

    assert_eq!(again[1..], first[1..]);
    assert_eq!((again[0].0, &again[0].1["code"]), (404, &"unknown-twin".into()), "it was removed since");
    assert_eq!(node.api().all(TURN, "after").len(), 1);
    let (status, refused) =
        node.api().keyed("POST", TURN, "k-1", &json!({"name": "stop"})).expect("an answer");
    assert_eq!((status, &refused["code"]), (422, &"idempotency-mismatch".into()));
    let (status, other) = node.api().keyed("POST", TURN, "k-2", &order).expect("an answer");
    assert!(status == 202 && other["id"] != first[2].1["id"], "{other}");
}

#[test]
fn a_request_to_a_device_takes_no_idempotency_key() {
    let node = Node::shared();

    let answer = node.api().keyed("POST", "/twins/anybody/requests/ping", "k", &json!({}));

    let (status, refused) = answer.expect("an answer");
    assert_eq!((status, &refused["code"]), (400, &"idempotency-unsupported".into()));
}

#[test]
fn a_late_outcome_is_acknowledged_and_is_an_event() {
    let node = Node::shared();
    let mut device = Wire::connect(node.at.mqtt, false, "late");
    device.subscribe(&[("twins/me/commands", 1)]);
    let (_, taken) = node.api().post("/twins/late/commands", &json!({"name": "turn"})).expect("an answer");
    let command = device.next().expect("the command");
    assert_eq!((command.kind, &command.message()["id"]), (PUBLISH, &taken["id"]));
    let id = taken["id"].as_str().expect("an id").to_owned();
    assert_eq!(node.api().delete(&format!("/twins/late/commands/{id}")).expect("an answer").0, 200);

    device.publish(&format!("twins/me/commands/{id}/done"), b"7", Some(1));

    assert_eq!(device.next().map(|packet| packet.kind), Some(PUBACK));
    let late = json!({"command": id, "outcome": "done", "result": 7, "state": "cancelled"});
    assert_eq!(events(&node, "late", "command-late"), [late]);
}
