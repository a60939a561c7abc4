//! Connections that are too many, that say nothing, that never read, or that are taken over.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;

use super::Neighbourhood;
use super::support::node::{Node, eventually};
use super::support::online::Online;
use super::support::wire::{CONNACK, Connect, DISCONNECT, PUBACK, Wire, publish};

#[test]
fn a_fifth_connection_of_a_device_is_turned_away_and_the_four_live_on() {
    let mut all = Neighbourhood::of("n-fifth");
    let connect = |client, v5| Connect { client, ..Connect::of(v5, "h-fifth") };
    let mut four: Vec<_> = ["a", "b", "c", "d"]
        .iter()
        .map(|client| Wire::connect_as(all.mqtt(), &connect(client, true)))
        .collect();

    for (v5, reason) in [(true, 0x97), (false, 3)] {
        let told = Wire::open(all.mqtt(), v5).send(&connect("e", v5).bytes()).rest();
        let told: Vec<_> = told.iter().map(|packet| (packet.kind, packet.reason())).collect();
        assert_eq!(told, [(CONNACK, reason)]);
    }

    for wire in &mut four {
        let ack = wire.publish("twins/me/telemetry/a", b"1", Some(1)).next().expect("a PUBACK");
        assert_eq!((ack.kind, ack.reason()), (PUBACK, 0));
    }
    all.is_unharmed("a fifth connection");
}

#[test]
fn the_same_client_takes_over_and_the_older_connection_hears_so() {
    let mut all = Neighbourhood::of("n-takeover");
    let mut before: Option<Wire> = None;
    for _ in 0..20 {
        let next = Wire::connect(all.mqtt(), true, "h-takeover");
        if let Some(mut before) = before.replace(next) {
            let told = before.rest();
            let told: Vec<_> = told.iter().map(|packet| (packet.kind, packet.reason())).collect();
            assert_eq!(told, [(DISCONNECT, 0x8E)]);
        }
    }
    let mut last = before.expect("there were some");
    let ack = last.publish("twins/me/reported", b"{}", Some(1)).next().expect("a PUBACK");
    assert_eq!((ack.kind, ack.reason()), (PUBACK, 0));
    all.is_unharmed("take-overs");
}

#[test]
fn half_open_connections_hold_nobody_up() {
    let mut all = Neighbourhood::of("n-half");
    let connect = Connect::of(true, "h-half").bytes();
    let half = |n: usize| {
        let mut wire = Wire::open(all.node.at.mqtt, true);
        wire.send(&connect[..n % connect.len()]);
        wire
    };

    let crowd: Vec<_> = (0..200).map(half).collect();

    all.is_unharmed("200 half-open connections");
    let mut newcomer = Online::connect(all.mqtt(), "h-newcomer", false);
    newcomer.report(&json!({"there": true}));
    drop(crowd);
    all.is_unharmed("their end");
}

#[test]
fn connections_take_no_descriptor_that_the_log_may_need() {
    let node = Arc::new(Node::with_descriptors(400));
    let mut all = Neighbourhood::on(node.clone(), "n-descriptors");

    let crowd: Vec<_> = (0..600).map(|_| Wire::open(node.at.mqtt, true)).collect();
    let open = node.descriptors();

    assert!(open < 300, "{open} descriptors are open of 400");
    all.is_unharmed("600 connections");
    drop(crowd);
    let newcomer = || {
        let mut wire = Wire::open(node.at.mqtt, true);
        wire.send(&Connect::of(true, "h-descriptors").bytes()).next()
    };
    assert_eq!(eventually(newcomer).map(|answer| (answer.kind, answer.reason())), Some((CONNACK, 0)));
}

#[test]
fn a_burst_is_acknowledged_whole_and_in_order() {
    let mut all = Neighbourhood::of("n-burst");
    for v5 in [false, true] {
        let mut wire = Wire::connect(all.mqtt(), v5, "h-burst");
        let said: Vec<_> =
            (1..=2_000_u16).map(|id| publish(v5, "twins/me/telemetry/a", b"1", Some(id))).collect();

        wire.send(&said.concat());

        for id in 1..=2_000_u16 {
            let ack = wire.next().expect("a PUBACK");
            assert_eq!((ack.kind, &ack.body[..2], ack.reason()), (PUBACK, &id.to_be_bytes()[..], 0));
        }
        all.is_unharmed("a burst");
    }
}

#[test]
fn who_floods_is_held_back_and_loses_nothing() {
    let node = Arc::new(Node::start_with(&["--each-device-messages-per-s", "500"]));
    let mut all = Neighbourhood::on(node.clone(), "n-flood");
    let mut wire = Wire::connect(all.mqtt(), true, "h-flood");
    let said: Vec<_> =
        (1..=400_u16).map(|id| publish(true, "twins/me/telemetry/a", b"1", Some(id))).collect();

    wire.send(&said.concat());

    all.is_unharmed("a flood that is held back");
    for id in 1..=400_u16 {
        let ack = wire.next().expect("a PUBACK");
        assert_eq!((ack.kind, &ack.body[..2], ack.reason()), (PUBACK, &id.to_be_bytes()[..], 0));
    }
    let mut page = ureq::get(format!("http://{}/metrics", node.at.http)).call().expect("the node answers");
    let page = page.body_mut().read_to_string().expect("it is text");
    let pauses = page.lines().find_map(|line| line.strip_prefix("twinfold_mqtt_pauses_total "));
    assert!(pauses.expect("it is counted") != "0", "it was read without a pause");
}

#[test]
fn those_who_come_at_once_wait_at_the_door_and_are_all_let_in() {
    let node = Arc::new(Node::start_with(&["--connects-per-s", "100"]));
    let mut all = Neighbourhood::on(node.clone(), "n-door");

    let begin = |n: usize| {
        let mut wire = Wire::open(node.at.mqtt, true);
        wire.send(&Connect::of(true, &format!("h-door-{n}")).bytes());
        wire
    };
    let mut crowd: Vec<_> = (0..60).map(begin).collect();

    for wire in &mut crowd {
        let answer = wire.next().expect("a CONNACK");
        assert_eq!((answer.kind, answer.reason()), (CONNACK, 0));
    }
    all.is_unharmed("60 at once");
}

#[test]
fn who_never_reads_is_not_read_and_costs_little() {
    let mut all = Neighbourhood::of("n-deaf");
    let mut wire = Wire::connect(all.mqtt(), false, "h-deaf");
    let large = json!({"text": "x".repeat(50_000)}).to_string();
    wire.publish("twins/me/reported", large.as_bytes(), Some(1)).next().expect("a PUBACK");
    wire.subscribe(&[("twins/me/document/+", 0), ("twins/me/errors", 0)]);
    let before = all.node.resident_bytes();

    // 20 MB of questions, and 1 GB of answers, if somebody took them.
    let taken = wire.flood(&questions(), Duration::from_secs(1));

    assert!(taken < 20_000, "the node read on, and answered {taken} questions to nobody");
    all.is_unharmed("a client that never reads");
    let grown = all.node.resident_bytes().saturating_sub(before);
    assert!(grown < 64 << 20, "it grew by {grown} bytes");
}

/// Many questions for the document, of 1 KB each.
fn questions() -> Vec<Vec<u8>> {
    let nothing = [b' '; 1_000];
    (0..20_000).map(|n| publish(false, &format!("twins/me/get/{n}"), &nothing, None)).collect()
}
