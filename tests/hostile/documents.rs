//! Payloads that are too deep, too large, or no JSON where it has to be.

use serde_json::{Value, json};

use super::Neighbourhood;
use super::support::wire::{DISCONNECT, PUBACK, Wire};

const REPORTED: &str = "twins/me/reported";

fn nested(depth: usize) -> Vec<u8> {
    [r#"{"a":"#.repeat(depth - 1), "{}".to_owned(), "}".repeat(depth - 1)].concat().into_bytes()
}

#[track_caller]
fn answer(wire: &mut Wire, topic: &str, payload: &[u8]) -> u8 {
    let ack = wire.publish(topic, payload, Some(7)).next().expect("a PUBACK");
    assert_eq!(ack.kind, PUBACK);
    ack.reason()
}

fn reported(all: &Neighbourhood, device: &str) -> Value {
    all.node.twin(device)["reported"].clone()
}

#[test]
fn a_report_that_is_no_json_is_refused_and_leaves_no_trace() {
    let mut all = Neighbourhood::of("n-json");
    let mut wire = Wire::connect(all.mqtt(), true, "h-json");
    assert_eq!(answer(&mut wire, REPORTED, br#"{"good":1}"#), 0);
    let before = reported(&all, "h-json");
    for text in [
        &b""[..],
        b"NaN",
        br#"{"good":NaN}"#,
        br#"{"good":Infinity}"#,
        br#"{"good":01}"#,
        br#"{"good":2,"good":3}"#,
        br#"{"good":2,"\u0067ood":3}"#,
        br#"{"good":2"#,
        br#"{"good":2}}"#,
        br#"{"good":2,}"#,
        br#"{'good':2}"#,
        br#"{"good":"\ud800"}"#,
        b"{\"good\":\"\xff\"}",
        b"{\"good\":\"\0\"}",
        b"\xEF\xBB\xBF{}",
        b"[1]",
        b"7",
    ] {
        let what = String::from_utf8_lossy(text);
        assert_eq!(answer(&mut wire, REPORTED, text), 0x99, "{what}");
        all.is_unharmed(what);
    }
    assert_eq!(reported(&all, "h-json"), before);
}

#[test]
fn json_past_the_depth_is_refused_whatever_the_depth() {
    let mut all = Neighbourhood::of("n-deep");
    let mut wire = Wire::connect(all.mqtt(), true, "h-deep");

    assert_eq!(answer(&mut wire, REPORTED, &nested(30)), 0);
    for depth in [34, 1_000, 40_000] {
        assert_eq!(answer(&mut wire, REPORTED, &nested(depth)), 0x97, "{depth}");
        all.is_unharmed(depth);
    }
    for open in ["[", r#"{"":"#] {
        let bytes = open.repeat(200_000 / open.len()).into_bytes();
        assert_eq!(answer(&mut wire, REPORTED, &bytes), 0x97, "{open}");
        all.is_unharmed(open);
    }
    assert_eq!(answer(&mut wire, REPORTED, b"{}"), 0, "it goes on");
}

#[test]
fn a_section_past_its_limit_is_refused_whole() {
    let mut all = Neighbourhood::of("n-section");
    let mut wire = Wire::connect(all.mqtt(), true, "h-section");
    let patch = |member: &str, bytes: usize| json!({member: "x".repeat(bytes)}).to_string().into_bytes();

    assert_eq!(answer(&mut wire, REPORTED, &patch("a", 60_000)), 0);
    assert_eq!(answer(&mut wire, REPORTED, &patch("b", 10_000)), 0x97);

    let section = reported(&all, "h-section");
    assert!(section["a"].is_string() && section["b"].is_null(), "nothing is half applied");
    assert_eq!(section["$version"], 1);
    all.is_unharmed("a large section");
}

#[test]
fn a_payload_past_its_limit_is_refused_and_a_packet_past_it_ends_the_connection() {
    let mut all = Neighbourhood::of("n-payload");
    let mut wire = Wire::connect(all.mqtt(), true, "h-payload");
    let text = |bytes: usize| format!("\"{}\"", "x".repeat(bytes - 2)).into_bytes();

    assert_eq!(answer(&mut wire, "twins/me/telemetry/text", &text(256 << 10)), 0);
    assert_eq!(answer(&mut wire, "twins/me/telemetry/text", &text((256 << 10) + 1)), 0x97);
    all.is_unharmed("a large payload");

    let told = wire.publish("twins/me/telemetry/text", &text(300 << 10), Some(7)).rest();
    assert_eq!(
        told.iter().map(|packet| (packet.kind, packet.reason())).collect::<Vec<_>>(),
        [(DISCONNECT, 0x95)]
    );
    all.is_unharmed("a large packet");
}
