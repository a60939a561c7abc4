//! The main job over real connections: a device's twin lives, remembers and acts. The node is the stock binary; the
//! device is a third party's MQTT client; the application speaks HTTP.

#[allow(dead_code, reason = "each test uses a part of what they share")]
mod support;

use serde_json::{Value, json};

use support::node::{Node, eventually};
use support::online::Online;

/// A thermostat that is registered, and online with a session that is kept.
fn thermostat(node: &Node, id: &str) -> Online {
    let (status, body) =
        node.api().put(&format!("/devices/{id}"), &json!({"kind": "thermostat"})).expect("an answer");
    assert_eq!(status, 201, "{body}");
    Online::connect(node.at.mqtt, id, true)
}

fn patch(node: &Node, id: &str, changes: &Value) -> Value {
    let (status, twin) = node.api().patch(&format!("/twins/{id}"), changes).expect("an answer");
    assert_eq!(status, 200, "{twin}");
    twin
}

fn command_state(node: &Node, device: &str, command: &str) -> String {
    let path = format!("/twins/{device}/commands/{command}");
    let (_, shown) = node.api().get(&path).expect("the node answers");
    shown["state"].as_str().unwrap_or_default().to_owned()
}

fn is_connected(twin: &Value) -> bool {
    twin["system"]["connection"]["state"] == "connected"
}

#[test]
fn what_a_device_reports_its_twin_has_when_it_is_acknowledged() {
    let node = Node::shared();
    let mut device = Online::connect(node.at.mqtt, "reporter", false);

    device.report(&json!({"firmware": "1.0.0", "fan": {"speed": 3, "on": true}}));
    device.report(&json!({"fan": {"on": null}}));

    let twin = node.twin("reporter");
    assert_eq!(twin["reported"]["fan"], json!({"speed": 3}));
    assert_eq!(twin["reported"]["firmware"], "1.0.0");
    assert_eq!(twin["kind"], "device");
    assert!(is_connected(&twin), "{twin}");
}

#[test]
fn a_device_hears_what_it_should_become_and_after_an_absence_only_the_difference() {
    let node = Node::shared();
    let mut device = Online::connect(node.at.mqtt, "follower", true);
    device.subscribe("twins/me/desired");
    assert_eq!(device.hear_on("twins/me/desired")["full"], true);

    patch(&node, "follower", &json!({"desired": {"setpoint": 21.5, "mode": "eco"}}));
    let live = device.hear_on("twins/me/desired");
    assert_eq!((&live["full"], &live["patch"]), (&false.into(), &json!({"setpoint": 21.5, "mode": "eco"})));

    // What it has acknowledged it need not hear again; the twin's answer to the report shows that it took that too.
    device.report(&json!({"setpoint": 21.5}));
    device.leave();
    node.twin_that("follower", |twin| !is_connected(twin));
    patch(&node, "follower", &json!({"desired": {"setpoint": 19, "mode": null}}));
    let mut device = Online::connect(node.at.mqtt, "follower", true);

    assert!(device.resumed);
    let missed = device.hear_on("twins/me/desired");
    assert_eq!((&missed["full"], &missed["patch"]), (&false.into(), &json!({"setpoint": 19, "mode": null})));
}

#[test]
fn a_command_is_delivered_answered_and_seen_as_done() {
    let node = Node::shared();
    let mut device = Online::connect(node.at.mqtt, "worker", true);
    device.subscribe("twins/me/commands");
    let order = json!({"name": "restart", "payload": {"in_s": 5}, "answer": "expected"});

    let (status, taken) = node.api().post("/twins/worker/commands", &order).expect("an answer");
    assert_eq!(status, 202, "{taken}");
    let command = device.hear_on("twins/me/commands");
    assert_eq!((&command["id"], &command["attempt"]), (&taken["id"], &1.into()));
    assert_eq!((&command["name"], &command["payload"]), (&"restart".into(), &json!({"in_s": 5})));
    let id = command["id"].as_str().expect("an id").to_owned();
    eventually(|| (command_state(&node, "worker", &id) == "delivered").then_some(())).expect("delivered");
    device.publish(&format!("twins/me/commands/{id}/done"), r#"{"took_s":4}"#);

    let (_, done) = node.api().get(&format!("/twins/worker/commands/{id}")).expect("an answer");
    assert_eq!((&done["state"], &done["result"]), (&"done".into(), &json!({"took_s": 4})));
}

#[test]
fn a_command_waits_for_its_device() {
    let node = Node::shared();
    let mut device = Online::connect(node.at.mqtt, "sleeper", true);
    device.subscribe("twins/me/commands");
    device.leave();
    node.twin_that("sleeper", |twin| !is_connected(twin));

    let order = json!({"name": "wake"});
    let (status, taken) = node.api().post("/twins/sleeper/commands", &order).expect("an answer");
    assert_eq!((status, &taken["state"]), (202, &"queued".into()), "{taken}");

    let mut device = Online::connect(node.at.mqtt, "sleeper", true);
    assert_eq!(device.hear_on("twins/me/commands")["id"], taken["id"]);
}

#[test]
fn a_request_is_answered_by_the_device_or_says_why_not() {
    let node = Node::shared();
    let (status, refused) = node.api().post("/twins/nobody/requests/ping", &json!(null)).expect("an answer");
    assert_eq!((status, &refused["code"]), (404, &"unknown-twin".into()));
    let mut device = Online::connect(node.at.mqtt, "helper", false);
    let ask = |query: &str| {
        let (api, path) = (node.api(), format!("/twins/helper/requests/ping{query}"));
        std::thread::spawn(move || api.post(&path, &json!({"n": 1})).expect("an answer"))
    };

    let (status, refused) = ask("").join().expect("an answer");
    assert_eq!((status, &refused["code"]), (404, &"not-connected".into()), "it does not listen to requests");

    device.subscribe("twins/me/requests/+/+");
    let asked = ask("");
    let (topic, payload) = device.hear("twins/me/requests/ping/");
    assert_eq!(payload, json!({"n": 1}));
    device.publish(&format!("{topic}/reply"), r#"{"status":201,"payload":{"n":2}}"#);
    let (status, answer) = asked.join().expect("an answer");
    assert_eq!((status, answer), (200, json!({"status": 201, "payload": {"n": 2}})));

    let (status, late) = ask("?timeout_s=0.2").join().expect("an answer");
    assert_eq!((status, &late["code"]), (504, &"timeout".into()));
    device.hear("twins/me/requests/ping/");

    let asked = ask("?timeout_s=60");
    device.hear("twins/me/requests/ping/");
    device.leave();
    let (status, gone) = asked.join().expect("an answer");
    assert_eq!((status, &gone["code"]), (404, &"not-connected".into()), "the connection ended first");
}

#[test]
fn a_device_calls_a_method_of_its_twin_and_reads_its_document() {
    let node = Node::shared();
    let mut device = thermostat(&node, "caller");
    device.subscribe("twins/me/methods/+/+/reply");
    device.subscribe("twins/me/document/+");

    device.publish("twins/me/methods/boost/7", r#"{"minutes":10}"#);
    let reply = device.hear_on("twins/me/methods/boost/7/reply");
    assert_eq!(reply, json!({"status": 200, "payload": 23.0}));

    device.publish("twins/me/methods/boost/8", r#"{"minutes":1000}"#);
    let refused = device.hear_on("twins/me/methods/boost/8/reply");
    assert_eq!((&refused["status"], &refused["payload"]["code"]), (&422.into(), &"rejected".into()));

    device.publish("twins/me/get/9", "");
    let document = device.hear_on("twins/me/document/9");
    assert_eq!((&document["id"], &document["state"]["boost"]), (&"caller".into(), &23.0.into()));
}

#[test]
fn a_timer_of_a_behaviour_fires() {
    let node = Node::shared();
    let _device = thermostat(&node, "timed");

    let boost = json!({"minutes": 0});
    let (status, target) = node.api().post("/twins/timed/methods/boost", &boost).expect("an answer");

    assert_eq!((status, target), (200, 23.0.into()));
    node.twin_that("timed", |twin| twin["state"]["boost"].is_null() && twin["version"].as_u64() > Some(2));
}

#[test]
fn telemetry_is_read_back_by_cursor() {
    let node = Node::shared();
    let mut device = thermostat(&node, "meter");
    for n in 0..5 {
        device.publish("twins/me/telemetry/temperature", format!("{}", 20 + n));
    }
    device.publish("twins/me/telemetry/humidity", "55");
    let page = |query: &str| {
        let (status, page) =
            node.api().get(&format!("/twins/meter/telemetry?{query}")).expect("the node answers");
        assert_eq!(status, 200, "{page}");
        let values = page["items"].as_array().expect("a page has items").iter();
        let values: Vec<_> = values.map(|item| item["data"]["value"].clone()).collect();
        (values, page["next"].as_str().map(str::to_owned))
    };

    let (first, next) = page("channel=temperature&limit=2");
    assert_eq!(first, [json!(20), json!(21)]);
    let (second, next) = page(&format!("channel=temperature&limit=2&from={}", next.expect("more")));
    assert_eq!(second, [json!(22), json!(23)]);
    let (third, next) = page(&format!("channel=temperature&limit=2&from={}", next.expect("more")));
    assert_eq!(third, [json!(24)]);

    device.publish("twins/me/telemetry/temperature", "25");
    let (later, _) = page(&format!("channel=temperature&from={}", next.expect("a place to read on")));
    assert_eq!(later, [json!(25)]);
}

#[test]
fn a_node_that_is_told_to_stop_ends_in_order_and_comes_back_with_everything() {
    let node = Node::start();
    let mut device = thermostat(&node, "keeper");
    device.subscribe("twins/me/desired");
    device.hear_on("twins/me/desired");
    device.report(&json!({"firmware": "2.1"}));
    device.publish("twins/me/telemetry/temperature", "18");
    patch(&node, "keeper", &json!({"tags": {"site": "north"}, "desired": {"setpoint": 22}}));
    device.hear_on("twins/me/desired");
    let order = json!({"name": "later", "mode": "queue"});
    let (_, taken) = node.api().post("/twins/keeper/commands", &order).expect("an answer");
    let before = node.twin("keeper");

    let (code, node) = node.restart();
    device.await_end();

    assert_eq!(code, Some(0));
    let after = node.twin("keeper");
    assert!(!is_connected(&after), "nobody is connected to a node that has just begun: {after}");
    for section in ["kind", "tags", "desired", "reported", "state"] {
        assert_eq!(after[section], before[section], "{section}");
    }
    let id = taken["id"].as_str().expect("an id");
    assert_eq!(command_state(&node, "keeper", id), "queued");
    let (_, page) = node.api().get("/twins/keeper/telemetry").expect("an answer");
    assert_eq!(page["items"][0]["data"], json!({"channel": "temperature", "value": 18}));
    assert!(Online::connect(node.at.mqtt, "keeper", true).resumed);
}

#[test]
fn after_a_kill_no_device_is_shown_as_connected() {
    let node = Node::start();
    let device = Online::connect(node.at.mqtt, "orphan", true);
    assert!(is_connected(&node.twin("orphan")));

    let node = node.kill_and_restart();
    device.await_end();

    node.twin_that("orphan", |twin| !is_connected(twin));
}

#[test]
fn simulated_thermostats_live_by_themselves() {
    let node = Node::start_with(&["--devices", "2"]);

    for id in ["thermostat-0001", "thermostat-0002"] {
        let twin = node.twin_that(id, |twin| twin["reported"]["firmware"] == "1.0.0");
        assert_eq!(twin["kind"], "thermostat");
        let sample = eventually(|| {
            let (_, page) = node.api().get(&format!("/twins/{id}/telemetry?channel=temperature"))?;
            page["items"].get(0).cloned()
        });
        assert!(sample.expect("a sample")["data"]["value"].is_number());
    }
    assert_eq!(node.stop(), Some(0));
}
