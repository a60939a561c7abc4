//! What a node says of what passes through it: traces that go on, and lines of the log.

#[allow(dead_code, reason = "each test uses a part of what they share")]
mod support;

use std::collections::BTreeSet;
use std::fs::File;
use std::path::Path;

use serde_json::{Value, json};

use support::http::Api;
use support::node::{Node, eventually};
use support::process::{Addresses, Process};
use support::wire::{self, PUBACK, PUBLISH, Wire};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const TRACEPARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

fn report(wire: &mut Wire, n: u32, properties: &[(&str, &str)]) {
    let payload = json!({"secret": "hidden", "n": n}).to_string();
    wire.send(&wire::publish_with(properties, "twins/me/reported", payload.as_bytes(), 7));
    assert_eq!(wire.next().expect("an answer").kind, PUBACK);
}

fn send_command(node: &Node, device: &str, traceparent: Option<&str>) {
    let mut request = ureq::post(format!("http://{}/v1/twins/{device}/commands", node.at.http));
    if let Some(traceparent) = traceparent {
        request = request.header("traceparent", traceparent);
    }
    let taken = request.send_json(json!({"name": "go"})).expect("the node answers");
    assert_eq!(taken.status(), 202);
}

#[test]
fn a_publish_with_a_traceparent_is_recorded_with_its_trace() {
    let node = Node::shared();
    let mut wire = Wire::connect(node.at.mqtt, true, "traces");
    report(&mut wire, 1, &[("traceparent", TRACEPARENT)]);
    report(&mut wire, 2, &[("traceparent", "00-nonsense")]);
    report(&mut wire, 3, &[]);

    let (_, page) = node.api().get("/twins/traces/events").expect("an answer");

    let records = page["items"].as_array().expect("a page has items").iter();
    let reports = records.filter(|record| record["type"] == "reported");
    let traces: Vec<_> = reports.map(|record| record["trace"].clone()).collect();
    assert_eq!(traces, [json!(TRACE), Value::Null, Value::Null], "{page}");
}

#[test]
fn a_command_takes_the_traceparent_of_its_cause_to_a_device_that_speaks_mqtt_5() {
    let node = Node::shared();
    let mut new = Wire::connect(node.at.mqtt, true, "follows");
    let mut old = Wire::connect(node.at.mqtt, false, "does-not");
    new.subscribe(&[("twins/me/commands", 1)]);
    old.subscribe(&[("twins/me/commands", 1)]);

    send_command(&node, "follows", Some(TRACEPARENT));
    let followed = new.next().expect("the command");
    new.acknowledge(&followed);
    send_command(&node, "follows", None);
    let alone = new.next().expect("the command");
    send_command(&node, "does-not", Some(TRACEPARENT));
    let plain = old.next().expect("the command");

    assert_eq!([followed.kind, alone.kind, plain.kind], [PUBLISH; 3]);
    assert_eq!(followed.user_property("traceparent").as_deref(), Some(TRACEPARENT));
    assert_eq!(alone.user_property("traceparent"), None);
    assert_eq!(plain.message()["name"], "go");
}

#[test]
fn a_command_that_waited_over_a_kill_still_has_its_traceparent() {
    let node = Node::start();
    let (status, _) = node.api().put("/devices/waits", &json!({"kind": "device"})).expect("an answer");
    assert_eq!(status, 201);
    send_command(&node, "waits", Some(TRACEPARENT));

    let node = node.kill_and_restart();
    let mut wire = Wire::connect(node.at.mqtt, true, "waits");
    wire.subscribe(&[("twins/me/commands", 1)]);

    let command = wire.next().expect("the command");
    assert_eq!(command.user_property("traceparent").as_deref(), Some(TRACEPARENT));
}

#[cfg(not(feature = "otlp"))]
#[test]
fn a_collector_that_this_binary_cannot_send_to_is_not_passed_over_in_silence() {
    let mut dev = std::process::Command::new(env!("CARGO_BIN_EXE_twinfold"));
    // It ends by itself, since that is not loopback.
    dev.args(["dev", "--mqtt", "192.0.2.1:1883"]).env("TWINFOLD_OTLP_ENDPOINT", "http://127.0.0.1:4318");
    let said = dev.output().expect("the binary can be started").stderr;
    let said = String::from_utf8_lossy(&said);
    assert!(said.contains("TWINFOLD_OTLP_ENDPOINT is set, but this binary is built without"), "{said}");
}

#[test]
fn each_line_of_a_log_in_json_says_when_how_bad_and_what() {
    let (data, at) = (tempfile::tempdir().expect("a temporary folder"), Addresses::free());
    let file = data.path().join("said");
    let log = File::create(&file).expect("the folder is writable");
    let program = Path::new(env!("CARGO_BIN_EXE_twinfold"));
    let flags = ["--log-format", "json"];
    let process = Process::logging(program, &data.path().join("node"), at, &flags, "info,path=debug", log);
    let ready = || Api::of(at.http).get("/devices").filter(|(status, _)| *status == 200);
    eventually(ready).expect("the node becomes ready");
    let mut wire = eventually(|| std::net::TcpStream::connect(at.mqtt).ok())
        .map(|_| Wire::connect(at.mqtt, true, "logged"));
    report(wire.as_mut().expect("the node listens"), 1, &[("traceparent", TRACEPARENT)]);
    assert_eq!(process.stop(), Some(0));

    let text = std::fs::read_to_string(&file).expect("it was written");
    let lines =
        text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")));
    let lines: Vec<Value> = lines.collect();
    let levels: BTreeSet<&str> = ["DEBUG", "INFO", "WARN"].into();
    for line in &lines {
        let level = line["level"].as_str().unwrap_or_default();
        assert!(levels.contains(level), "{line}");
        assert!(
            line["timestamp"].is_string() && line["target"].is_string() && line["message"].is_string(),
            "{line}"
        );
    }
    assert!(!text.contains("hidden"), "a payload is in the log");
    let told = |start: &str| {
        lines.iter().any(|line| line["message"].as_str().is_some_and(|said| said.starts_with(start)))
    };
    assert!(told("ready: MQTT") && told("stopping"), "{text}");
    let of_trace = |line: &&Value| line["span"]["traceparent"] == TRACEPARENT;
    let steps: BTreeSet<&str> =
        lines.iter().filter(of_trace).filter_map(|line| line["span"]["name"].as_str()).collect();
    let expected = ["3.input", "4.route", "5.admit", "6.decide", "7.commit", "8.answer"];
    assert!(steps.is_superset(&expected.into()), "{steps:?}");
    let all: BTreeSet<&str> = lines.iter().filter_map(|line| line["span"]["name"].as_str()).collect();
    assert!(all.is_superset(&["1.read", "2.packet", "7.sync", "8.apply", "12.write"].into()), "{all:?}");
}
