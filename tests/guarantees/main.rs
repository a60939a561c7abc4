//! What Twinfold promises, one claim a test, against a real node that is killed where it matters. The table in README.md
//! names the test of each promise.

#[allow(dead_code, reason = "each test uses a part of what they share")]
#[path = "../support/mod.rs"]
mod support;

mod commands;
mod once;
mod shadow;

use serde_json::{Value, json};

use support::node::Node;

/// Registers a device of a kind.
fn register(node: &Node, id: &str, kind: &str) {
    let answer = node.api().put(&format!("/devices/{id}"), &json!({"kind": kind}));
    assert_eq!(answer.expect("an answer").0, 201);
}

/// What was received of a channel, oldest first.
fn received(node: &Node, id: &str, channel: &str) -> Vec<Value> {
    let records = node.api().all(&format!("/twins/{id}/telemetry?channel={channel}"), "from");
    records.iter().map(|record| record["data"]["value"].clone()).collect()
}

/// The details of the events of this name, oldest first.
fn events(node: &Node, id: &str, name: &str) -> Vec<Value> {
    let records = node.api().all(&format!("/twins/{id}/events?type=event"), "from");
    let named = records.iter().filter(|record| record["data"]["name"] == name);
    named.map(|record| record["data"]["data"].clone()).collect()
}

fn is_connected(twin: &Value) -> bool {
    twin["system"]["connection"]["state"] == "connected"
}
