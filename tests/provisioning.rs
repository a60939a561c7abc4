//! From factory to field: a device is registered, activates itself, gets new keys while it is connected, and is shut out,
//! over HTTP, MQTT and the command line, with a node that is killed between any two steps.

#[allow(dead_code, reason = "each test uses a part of what they share")]
mod support;

use std::process::Command;

use gateway::trust::authority::generate;
use serde_json::{Value, json};
use support::node::Node;
use support::wire::{PUBACK, PUBLISH, Wire};

const NONCE: &str = "7f1f0c5e9a0b4d3c";

fn post(node: &Node, path: &str, body: Value) -> (u16, Value) {
    node.api().post(path, &body).expect("the node answers")
}

/// Registers a device with a generated activation key, which is returned.
fn invited(node: &Node, id: &str) -> String {
    let body = json!({"activation_key": {"generate": true}});
    let (status, shown) = node.api().put(&format!("/devices/{id}"), &body).expect("the node answers");
    assert_eq!((status, &shown["lifecycle"]), (201, &json!("registered")), "{shown}");
    shown["activation_key"].as_str().expect("it is shown once").to_owned()
}

fn activate(node: &Node, id: &str, key: &str, nonce: &str) -> (u16, Value) {
    post(node, "/provision/activate", json!({"device_id": id, "activation_key": key, "nonce": nonce}))
}

/// The device as the registry shows it.
fn device(node: &Node, id: &str) -> Value {
    let (status, shown) = node.api().get(&format!("/devices/{id}")).expect("the node answers");
    assert_eq!(status, 200, "{shown}");
    shown
}

/// The numbers of the keys that it may come in by.
fn issues(shown: &Value) -> Vec<u64> {
    shown["credentials"].as_array().unwrap().iter().map(|known| known["issue"].as_u64().unwrap()).collect()
}

/// The names of the events, oldest first.
fn events(node: &Node, id: &str) -> Vec<String> {
    let records = node.api().all(&format!("/twins/{id}/events?type=event"), "from");
    records.iter().map(|record| record["data"]["name"].as_str().unwrap_or("").to_owned()).collect()
}

/// Says something on the management lane; the reply.
fn apply(wire: &mut Wire, verb: &str, body: &Value) -> Value {
    wire.subscribe(&[("twins/me/credentials/+/+/reply", 1)]);
    wire.publish(&format!("twins/me/credentials/{verb}/r1"), body.to_string().as_bytes(), Some(7));
    let packets = [wire.next(), wire.next()].map(|packet| packet.expect("it stays connected"));
    assert!(packets.iter().any(|packet| (packet.kind, packet.reason()) == (PUBACK, 0)), "{packets:?}");
    packets.iter().find(|packet| packet.kind == PUBLISH).expect("a reply").message()
}

#[test]
fn a_device_is_activated_once_however_often_the_node_is_killed() {
    let node = Node::start();
    let key = invited(&node, "pump-1");
    let node = node.kill_and_restart();
    assert!(issues(&device(&node, "pump-1")).is_empty());

    let (status, first) = activate(&node, "pump-1", &key, NONCE);
    assert_eq!(status, 200, "{first}");
    let node = node.kill_and_restart();

    let shown = device(&node, "pump-1");
    assert_eq!((&shown["lifecycle"], issues(&shown)), (&json!("active"), vec![2]), "{shown}");
    assert_eq!(activate(&node, "pump-1", &key, NONCE), (200, first.clone()), "a lost answer is given again");
    let (status, stolen) = activate(&node, "pump-1", &key, "another-nonce-0001");
    assert_eq!((status, &stolen["code"]), (409, &json!("already-activated")));
    let node = node.kill_and_restart();
    assert_eq!(activate(&node, "pump-1", &key, NONCE), (200, first.clone()));
    assert_eq!(issues(&device(&node, "pump-1")), [2]);
    assert_eq!(events(&node, "pump-1"), ["invited", "activated", "activation-conflict"]);
    let text = first["key"].as_str().unwrap();
    for place in ["/devices/pump-1", "/twins/pump-1", "/twins/pump-1/events", "/events"] {
        let said = node.api().get(place).unwrap().1.to_string();
        assert!(!said.contains(text) && !said.contains(&key), "{place} tells a secret: {said}");
    }
}

#[test]
fn who_guesses_cannot_tell_a_wrong_key_from_a_device_that_is_none() {
    let node = Node::start();
    let key = invited(&node, "pump-1");
    node.api().put("/devices/pump-2", &json!({"activation_key": "correct horse"}));

    let refused =
        ["pump-1", "pump-2", "nobody", "../x"].map(|id| activate(&node, id, "battery staple", NONCE));

    assert_eq!((refused[0].0, &refused[0].1["code"]), (401, &json!("wrong-activation-key")));
    assert!(refused.iter().all(|other| *other == refused[0]), "{refused:?}");
    assert_eq!(
        activate(&node, "pump-1", &key.to_lowercase().replace('-', ""), NONCE).0,
        200,
        "as people type it"
    );
    assert_eq!(activate(&node, "pump-2", "correct horse", NONCE).0, 200);
}

#[test]
fn an_activation_key_that_is_said_again_is_not_good_again() {
    let node = Node::start();
    let registration =
        json!({"activation_key": "correct horse", "activation_ttl_s": 3600, "catalogue": {"sku": "P-7"}});
    let put = || node.api().put("/devices/pump-1", &registration).unwrap();
    assert_eq!(put().0, 201);
    assert_eq!(activate(&node, "pump-1", "correct horse", NONCE).0, 200);

    let (status, shown) = put();

    assert_eq!(
        (status, &shown["lifecycle"], &shown["activation"]["used"]),
        (200, &json!("active"), &json!(true))
    );
    assert_eq!(shown["catalogue"], json!({"sku": "P-7"}));
    assert_eq!(activate(&node, "pump-1", "correct horse", "another-nonce-0001").0, 409);
    let (status, refused) =
        node.api().put("/devices/pump-1", &json!({"activation_key": "battery staple"})).unwrap();
    assert_eq!((status, &refused["code"]), (409, &json!("conflict")));
}

#[test]
fn a_certificate_is_given_once_for_a_request_however_often_the_node_is_killed() {
    let node = Node::start();
    assert_eq!(post(&node, "/authorities", json!({"name": "devices"})).0, 201);
    let key = invited(&node, "pump-1");
    let [csr, other] = [(); 2].map(|()| generate("pump-1").unwrap().1);
    let activate = |node: &Node, csr: &str| {
        post(node, "/provision/activate", json!({"device_id": "pump-1", "activation_key": key, "csr": csr}))
    };
    let node = node.kill_and_restart();

    let (status, given) = activate(&node, &csr);
    let node = node.kill_and_restart();

    assert_eq!(status, 200, "{given}");
    assert_eq!(activate(&node, &csr), (200, given.clone()));
    assert_eq!(activate(&node, &other).0, 409);
    let shown = device(&node, "pump-1");
    assert_eq!((issues(&shown), &shown["credentials"][0]["sort"]), (vec![2], &json!("certificate")));
    let issue = |csr: &str| post(&node, "/devices/pump-1/certificates", json!({"csr": csr, "grace_s": 60}));
    let (_, renewed) = issue(&other);
    assert_eq!((issue(&other).1, issues(&device(&node, "pump-1"))), (renewed, vec![2, 3]));
    assert_eq!(issue(&generate("pump-1").unwrap().1).0, 200);
    assert_eq!(issues(&device(&node, "pump-1")), [3, 4], "two at most");
}

#[test]
fn a_key_is_rotated_over_the_connection_also_in_quarantine_and_both_are_valid_for_a_while() {
    let node = Node::start();
    let key = invited(&node, "pump-1");
    let mut wire = Wire::connect(node.at.mqtt, false, "pump-1");
    let wrong = apply(&mut wire, "activate", &json!({"nonce": NONCE, "activation_key": "wrong"}));
    assert_eq!((&wrong["status"], &wrong["payload"]["code"]), (&json!(401), &json!("wrong-activation-key")));
    let active = apply(&mut wire, "activate", &json!({"nonce": NONCE, "activation_key": key}));
    assert_eq!(active["status"], 200, "{active}");
    assert_eq!(post(&node, "/devices/pump-1/quarantine", json!({"reason": "drill"})).0, 200);

    let rotated = apply(&mut wire, "rotate", &json!({"nonce": NONCE, "grace_s": 3600}));

    assert_eq!(rotated["status"], 200, "{rotated}");
    assert_ne!(rotated["payload"]["key"], active["payload"]["key"]);
    assert_eq!(apply(&mut wire, "rotate", &json!({"nonce": NONCE})), rotated, "a lost answer is given again");
    let node = node.kill_and_restart();
    let shown = device(&node, "pump-1");
    assert_eq!((&shown["lifecycle"], issues(&shown)), (&json!("quarantined"), vec![2, 3]));
    assert!(shown["credentials"][0]["expires"].is_string() && shown["credentials"][1]["expires"].is_null());
    let mut wire = Wire::connect(node.at.mqtt, false, "pump-1");
    assert_eq!(apply(&mut wire, "rotate", &json!({"nonce": "another-nonce-0001"}))["status"], 200);
    assert_eq!(issues(&device(&node, "pump-1")), [3, 4], "two at most");
}

#[test]
fn who_is_shut_out_is_out_when_the_call_is_answered() {
    let node = Node::start();
    let mut wire = Wire::connect(node.at.mqtt, true, "pump-1");

    assert_eq!(post(&node, "/devices/pump-1/quarantine", json!({})).0, 200);
    wire.publish("twins/me/reported", br#"{"on":true}"#, Some(1));
    let refused = wire.next().expect("it stays connected");
    assert_eq!((refused.kind, refused.reason()), (PUBACK, 0x87), "{refused:?}");
    assert_eq!(node.twin("pump-1")["reported"]["on"], Value::Null);

    assert_eq!(post(&node, "/devices/pump-1/disable", json!({"reason": "stolen"})).0, 200);
    // It is disconnected in the twin by the same commit, whatever its client still has to read.
    assert_eq!(node.twin("pump-1")["system"]["connection"]["state"], "disconnected");
    while wire.next().is_some() {}
    let mut again = Wire::open(node.at.mqtt, true);
    let answer = again.send(&support::wire::Connect::of(true, "pump-1").bytes()).next().expect("an answer");
    assert_eq!(answer.reason(), 0x87);
    let (status, _) = node.api().get("/twins/pump-1").unwrap();
    assert_eq!(status, 200, "its twin is there");

    let node = node.kill_and_restart();
    assert_eq!(device(&node, "pump-1")["lifecycle"], "disabled");
    assert_eq!(post(&node, "/devices/pump-1/enable", json!({"reason": "found again"})).0, 200);
    Wire::connect(node.at.mqtt, true, "pump-1")
        .publish("twins/me/reported", br#"{"on":true}"#, Some(1))
        .next();
    assert_eq!(node.twin("pump-1")["reported"]["on"], true);
}

#[test]
fn what_is_revoked_is_gone_over_a_kill_and_a_new_generation_inherits_nothing() {
    let node = Node::start();
    let key = invited(&node, "pump-1");
    assert_eq!(activate(&node, "pump-1", &key, NONCE).0, 200);
    assert_eq!(post(&node, "/devices/pump-1/revoke", json!({"credential": 9})).0, 404);

    assert_eq!(post(&node, "/devices/pump-1/revoke", json!({"reason": "lost"})).0, 200);
    let node = node.kill_and_restart();

    let shown = device(&node, "pump-1");
    assert_eq!((&shown["lifecycle"], issues(&shown)), (&json!("revoked"), Vec::new()));
    assert_eq!(activate(&node, "pump-1", &key, NONCE).0, 401, "the activation key went with them");
    let (status, handed) =
        post(&node, "/devices/pump-1/activate", json!({"reason": "on site", "nonce": NONCE}));
    assert_eq!((status, handed["issue"].as_u64()), (200, Some(3)), "no number is given twice: {handed}");
    assert_eq!(post(&node, "/devices/pump-1/activate", json!({"nonce": NONCE})).1, handed);
    assert_eq!(node.api().delete("/devices/pump-1?reason=scrapped").unwrap().0, 204);
    let again = invited(&node, "pump-1");
    let shown = device(&node, "pump-1");
    assert_eq!((&shown["generation"], issues(&shown)), (&json!(2), Vec::new()), "{shown}");
    assert_eq!(shown["activation"]["issue"], 4);
    assert_ne!(again, key);
    assert_eq!(events(&node, "pump-1"), ["invited"], "what the device before did is not its history");
    let all = node.api().all("/twins/pump-1/events?type=event&generation=all", "from");
    let said = |record: &Value| (record["data"]["name"].clone(), record["data"]["data"]["reason"].clone());
    assert!(all.iter().map(said).any(|event| event == (json!("removed"), json!("scrapped"))), "{all:?}");
    assert_eq!(node.api().get("/events?generation=all").unwrap().0, 400);
}

#[test]
fn the_command_line_takes_a_device_from_factory_to_field() {
    let node = Node::start();
    let run = |words: &[&str]| {
        let mut twinfold = Command::new(env!("CARGO_BIN_EXE_twinfold"));
        twinfold.arg("device").args(words).args(["--url", &format!("http://{}", node.at.http)]);
        let output = twinfold.output().expect("it runs");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.success(), text(&output.stdout), text(&output.stderr))
    };

    let (done, shown, said) = run(&["add", "pump-1", "--generate"]);
    assert!(done && said.contains("not shown again"), "{said}");
    let key =
        shown.lines().last().and_then(|line| line.strip_prefix("activation key  ")).expect("it is printed");
    assert_eq!(activate(&node, "pump-1", key, NONCE).0, 200);
    let (done, new, _) = run(&["rotate", "pump-1", "--grace", "60", "--reason", "yearly"]);
    assert!(done && new.trim_end().len() == 43, "{new}");
    for (verb, lifecycle) in [
        ("quarantine", "quarantined"),
        ("disable", "disabled"),
        ("enable", "active"),
        ("revoke", "revoked"),
        ("invite", "revoked"),
    ] {
        let (done, shown, said) = run(&[verb, "pump-1", "--reason", "drill"]);
        assert!(done && shown.contains(lifecycle), "{verb}: {shown}{said}");
    }
    let (done, _, said) = run(&["disable", "nobody"]);
    assert!(!done && said.contains("unknown-twin") && said.contains("next: "), "{said}");
    let (done, made, _) = run(&["add", "--json"]);
    assert!(done && made.contains("\"lifecycle\":\"registered\""), "{made}");
}
