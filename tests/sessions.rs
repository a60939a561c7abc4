//! Sessions over cuts, kills and restarts of a whole node: QoS 2, wills, expiry, and what waits for a device.

#[allow(dead_code, reason = "each test uses a part of what they share")]
mod support;

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use support::node::{Node, eventually};
use support::online::Online;
use support::wire::{Connect, DISCONNECT, PUBLISH, Packet, Wire, packet};

const PUBREC: u8 = 5;
const PUBREL: u8 = 6;
const PUBCOMP: u8 = 7;

/// A client that keeps its session: for 100 s in MQTT 5, where it may be asked for its will later.
fn keeping(v5: bool, device: &str) -> Connect<'_> {
    let properties = (&[17, 0, 0, 0, 100][..], &[][..]);
    Connect { clean: false, properties, ..Connect::of(v5, device) }
}

/// A publish with QoS 2 of the reported section.
fn report(v5: bool, id: u16, again: bool, patch: &Value) -> Vec<u8> {
    let mut bytes = support::wire::publish(v5, "twins/me/reported", patch.to_string().as_bytes(), Some(id));
    bytes[0] = if again { 0x3C } else { 0x34 };
    bytes
}

fn short(first: u8, id: u16) -> Vec<u8> {
    packet(first, &id.to_be_bytes())
}

/// The next packet: its kind, packet id and reason.
fn answer(wire: &mut Wire) -> (u8, u16, u8) {
    let Packet { kind, body } = wire.next().expect("an answer");
    (kind, u16::from_be_bytes([body[0], body[1]]), body.get(2).copied().unwrap_or(0))
}

/// The next packet, which is a message with QoS 2: its packet id and what it says.
fn message(wire: &mut Wire, v5: bool) -> (u16, Value) {
    let Packet { kind, body } = wire.next().expect("a message");
    assert_eq!(kind, PUBLISH);
    let mut at = 2 + usize::from(u16::from_be_bytes([body[0], body[1]]));
    let id = u16::from_be_bytes([body[at], body[at + 1]]);
    at += 2;
    if v5 {
        at += 1 + usize::from(body[at]);
    }
    (id, serde_json::from_slice(&body[at..]).expect("JSON"))
}

fn send(node: &Node, device: &str, payload: u32) -> String {
    let command = json!({"name": "turn", "payload": payload});
    let (status, command) =
        node.api().post(&format!("/twins/{device}/commands"), &command).expect("an answer");
    assert_eq!(status, 202, "{command}");
    command["id"].as_str().expect("an id").to_owned()
}

/// Whether the twin has heard that its device is gone.
fn is_gone(node: &Node, device: &str) {
    node.twin_that(device, |twin| twin["system"]["connection"]["state"] == "disconnected");
}

#[test]
fn a_report_of_qos_2_has_its_effect_once_over_a_cut_and_a_kill_in_the_middle_of_its_handshake() {
    for (v5, device) in [(false, "in-3"), (true, "in-5")] {
        let node = Node::start();
        let mut wire = Wire::connect_as(node.at.mqtt, &keeping(v5, device));
        wire.send(&report(v5, 5, false, &json!({"n": 1})));
        assert_eq!(answer(&mut wire), (PUBREC, 5, 0));
        drop(wire);

        let node = node.kill_and_restart();
        let mut wire = Wire::connect_as(node.at.mqtt, &keeping(v5, device));
        assert!(wire.resumed);
        // The same id is the same message, whatever it says.
        wire.send(&report(v5, 5, true, &json!({"n": 2})));
        assert_eq!(answer(&mut wire), (PUBREC, 5, 0));
        assert_eq!(node.twin(device)["reported"], json!({"$version": 1, "n": 1}));
        wire.send(&short(0x62, 5));
        assert_eq!(answer(&mut wire), (PUBCOMP, 5, 0));
        drop(wire);

        let (_, node) = node.restart();
        let mut wire = Wire::connect_as(node.at.mqtt, &keeping(v5, device));
        wire.send(&short(0x62, 5));
        assert_eq!(answer(&mut wire), (PUBCOMP, 5, if v5 { 0x92 } else { 0 }));
        wire.send(&report(v5, 5, false, &json!({"n": 3})));
        assert_eq!(answer(&mut wire), (PUBREC, 5, 0));
        assert_eq!(node.twin(device)["reported"], json!({"$version": 2, "n": 3}));
    }
}

#[test]
fn a_command_of_qos_2_arrives_once_over_a_kill_and_a_restart_in_the_middle_of_its_handshake() {
    for (v5, device) in [(false, "out-3"), (true, "out-5")] {
        let node = Node::start();
        let mut wire = Wire::connect_as(node.at.mqtt, &keeping(v5, device));
        assert_eq!(wire.subscribe(&[("twins/me/commands", 2)]).reasons(v5), [2]);
        let id = send(&node, device, 1);
        let (packet_id, first) = message(&mut wire, v5);
        assert_eq!((first["id"].as_str(), first["attempt"].as_u64()), (Some(id.as_str()), Some(1)));
        drop(wire);

        let node = node.kill_and_restart();
        let mut wire = Wire::connect_as(node.at.mqtt, &keeping(v5, device));
        let (again, second) = message(&mut wire, v5);
        assert_eq!((again, second["attempt"].as_u64()), (packet_id, Some(2)));
        wire.send(&short(0x50, packet_id));
        assert_eq!(answer(&mut wire), (PUBREL, packet_id, 0));
        drop(wire);

        let (_, node) = node.restart();
        let (_, command) = node.api().get(&format!("/twins/{device}/commands/{id}")).expect("an answer");
        assert_eq!(command["state"], "delivered");
        let mut wire = Wire::connect_as(node.at.mqtt, &keeping(v5, device));
        assert_eq!(answer(&mut wire), (PUBREL, packet_id, 0));
        wire.send(&short(0x70, packet_id));
        send(&node, device, 2);
        let (_, next) = message(&mut wire, v5);
        assert_eq!(next["payload"], 2, "nothing came between");
    }
}

#[test]
fn what_was_queued_while_a_device_was_away_arrives_in_order_after_a_restart() {
    let node = Node::start();
    let mut online = Online::connect(node.at.mqtt, "away", true);
    online.subscribe("twins/me/commands");
    online.leave();
    is_gone(&node, "away");
    let ids: Vec<_> = (0..50).map(|n| send(&node, "away", n)).collect();

    let (code, node) = node.restart();
    assert_eq!(code, Some(0));
    let mut online = Online::connect(node.at.mqtt, "away", true);
    assert!(online.resumed);
    let heard: Vec<_> = (0..50).map(|_| online.hear_on("twins/me/commands")["id"].clone()).collect();
    assert_eq!(heard, ids);
}

#[test]
fn a_will_is_said_after_its_delay_and_not_where_the_session_is_resumed() {
    let node = Node::start();
    let will = Some(("twins/me/reported", &br#"{"on":false}"#[..]));
    let properties = (&[17, 0, 0, 0, 100][..], &[24, 0, 0, 0, 2][..]);
    let connect = Connect { clean: false, properties, will, ..Connect::of(true, "late") };
    drop(Wire::connect_as(node.at.mqtt, &connect));
    is_gone(&node, "late");
    let wire = Wire::connect_as(node.at.mqtt, &connect);
    assert!(wire.resumed);
    std::thread::sleep(Duration::from_secs(3));
    assert_eq!(node.twin("late")["reported"]["on"], Value::Null, "it came back in time");

    let cut = Instant::now();
    drop(wire);
    node.twin_that("late", |twin| twin["reported"]["on"] == false);
    assert!(cut.elapsed() >= Duration::from_millis(1_900), "{:?}", cut.elapsed());
}

#[test]
fn a_will_is_said_by_the_node_that_comes_after_a_kill() {
    for (qos, delay, device) in [(0, 0, "killed-0"), (0b0001_0000, 1, "killed-2")] {
        let node = Node::start();
        let will = Some(("twins/me/reported", &br#"{"on":false}"#[..]));
        let properties = (&[17, 0, 0, 0, 100][..], &[24, 0, 0, 0, delay][..]);
        let connect = Connect { properties, will, flags: qos, ..Connect::of(true, device) };
        let wire = Wire::connect_as(node.at.mqtt, &connect);
        assert_eq!(node.twin(device)["reported"]["on"], Value::Null);

        let node = node.kill_and_restart();
        node.twin_that(device, |twin| twin["reported"]["on"] == false);
        drop(wire);
    }
}

#[test]
fn a_session_ends_at_its_expiry_also_while_the_node_is_down() {
    let node = Node::start();
    let connect =
        |expiry| Connect { clean: false, properties: (expiry, &[]), ..Connect::of(true, "expires") };
    drop(Wire::connect_as(node.at.mqtt, &connect(&[17, 0, 0, 0, 2])));
    is_gone(&node, "expires");
    let wire = Wire::connect_as(node.at.mqtt, &connect(&[17, 0, 0, 0, 2]));
    assert!(wire.resumed);
    drop(wire);
    is_gone(&node, "expires");

    let node = node.kill_and_restart();
    std::thread::sleep(Duration::from_millis(2_100));
    let mut wire = Wire::connect_as(node.at.mqtt, &connect(&[17, 0, 0, 0, 2]));
    assert!(!wire.resumed);

    // A goodbye may end it at once, and may not begin to keep one that was not to be kept.
    wire.send(&packet(0xE0, &[0, 5, 17, 0, 0, 0, 0]));
    is_gone(&node, "expires");
    let mut wire = Wire::connect_as(node.at.mqtt, &connect(&[]));
    assert!(!wire.resumed);
    let told = wire.send(&packet(0xE0, &[0, 5, 17, 0, 0, 0, 9])).rest();
    assert_eq!((told[0].kind, told[0].reason()), (DISCONNECT, 0x82));
}

#[test]
fn the_same_client_takes_over_and_the_will_of_the_older_one_is_said() {
    let node = Node::start();
    let will = Some(("twins/me/reported", &br#"{"older":"gone"}"#[..]));
    let connect = Connect { will, ..keeping(true, "twice") };
    let mut older = Wire::connect_as(node.at.mqtt, &connect);
    let newer = Wire::connect_as(node.at.mqtt, &keeping(true, "twice"));

    assert!(newer.resumed);
    let told = older.rest();
    assert_eq!((told[0].kind, told[0].reason()), (DISCONNECT, 0x8E));
    let twin = node.twin_that("twice", |twin| twin["reported"]["older"] == "gone");
    assert_eq!(twin["system"]["connection"]["state"], "connected");
}

#[test]
fn a_client_that_vanishes_while_its_twin_is_told_is_not_taken_for_present() {
    let node = Node::start();
    for n in 0..50 {
        let device = format!("brief-{n}");
        Wire::open(node.at.mqtt, n % 2 == 0).send(&Connect::of(n % 2 == 0, &device).bytes());
    }
    for n in 0..50 {
        let (device, api) = (format!("brief-{n}"), node.api());
        let gone = eventually(|| {
            let (status, twin) = api.get(&format!("/twins/{device}"))?;
            (status == 404 || twin["system"]["connection"]["state"] == "disconnected").then_some(())
        });
        assert_eq!(gone, Some(()), "{device}");
    }
}
