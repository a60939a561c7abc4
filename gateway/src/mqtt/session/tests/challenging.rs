//! Enhanced authentication, step by step: who is asked what, when, and what comes of something else.

use super::*;
use crate::trust::challenge::METHOD;

const CONTINUE: u8 = 0x18;
const AGAIN: u8 = 0x19;

/// Properties: a method, and data where there is some.
fn properties(method: &str, data: &[u8]) -> Vec<u8> {
    let field = |id: u8, bytes: &[u8]| [&[id], &(bytes.len() as u16).to_be_bytes()[..], bytes].concat();
    let data = if data.is_empty() { Vec::new() } else { field(22, data) };
    [field(21, method.as_bytes()), data].concat()
}

fn auth(reason: u8, method: &str, data: &[u8]) -> Vec<u8> {
    let properties = properties(method, data);
    wire::packet(0xF0, &[&[reason, properties.len() as u8], &properties[..]].concat())
}

/// A client that named this method, and what it was told.
fn asked(method: &str, data: &[u8]) -> (Bench, Vec<Packet>) {
    let mut bench = Bench::with(Options::default());
    let properties = properties(method, data);
    bench.send(&wire::Connect { properties: &properties, ..wire::Connect::default() }.bytes());
    let told = bench.packets();
    (bench, told)
}

fn connected() -> Bench {
    let mut bench = asked(METHOD, &[]).0;
    bench.send(&auth(CONTINUE, METHOD, &[1; 32]));
    bench.accept(false, Vec::new());
    let connack = bench.packets().remove(0);
    assert_eq!((connack.kind(), connack.body()[1]), (wire::CONNACK, 0));
    assert!(holds(&connack, METHOD.as_bytes()), "it names the method");
    bench
}

fn holds(packet: &Packet, bytes: &[u8]) -> bool {
    packet.body().windows(bytes.len()).any(|window| window == bytes)
}

#[test]
fn who_names_the_method_is_asked_and_let_in_by_the_answer() {
    let (mut bench, told) = asked(METHOD, &[]);
    assert_eq!((told.len(), told[0].kind(), told[0].body()[0]), (1, 15, CONTINUE));
    assert!(holds(&told[0], METHOD.as_bytes()) && holds(&told[0], &[7; 32]));
    assert!(bench.inputs().is_empty(), "its twin hears nothing before that");

    bench.send(&auth(CONTINUE, METHOD, &[1; 32]));

    assert!(matches!(&bench.inputs()[..], [(0, Input::Connect { .. })]));
    connected();
}

#[test]
fn another_method_and_what_has_no_place_are_refused() {
    for (method, data, reason) in [("SCRAM-SHA-256", &[][..], 0x8C), (METHOD, &[1], 0x82)] {
        let (bench, told) = asked(method, data);
        assert_eq!((told[0].kind(), told[0].body()[1], bench.closed), (wire::CONNACK, reason, true));
    }
    for said in [
        auth(AGAIN, METHOD, &[1; 32]),
        auth(0, METHOD, &[1; 32]),
        auth(CONTINUE, "other", &[1; 32]),
        wire::publish(true, "twins/me/telemetry/a", b"1", 1),
        wire::packet(0xC0, &[]),
        wire::packet(0xF0, &[]),
    ] {
        let mut bench = asked(METHOD, &[]).0;
        bench.send(&said);
        assert!(bench.closed && bench.submitted.is_empty(), "{said:?}");
    }
    // Nobody who named no method is asked.
    let mut bench = Bench::connected(true);
    bench.send(&auth(AGAIN, METHOD, &[]));
    assert!(bench.closed);
}

#[test]
fn who_does_not_answer_in_time_is_closed() {
    let mut bench = asked(METHOD, &[]).0;

    bench.pass(Duration::from_secs(9));
    assert!(!bench.closed);
    bench.pass(Duration::from_secs(2));

    assert!(bench.closed && bench.submitted.is_empty());
}

#[test]
fn who_is_connected_authenticates_anew_and_speaks_on_meanwhile() {
    let mut bench = connected();

    bench.send(&auth(AGAIN, METHOD, &[]));
    let told = bench.packets();
    assert_eq!((told[0].kind(), told[0].body()[0]), (15, CONTINUE));
    bench.publish("twins/me/telemetry/a", "1", 3);
    assert_eq!(bench.submitted.len(), 1);
    bench.send(&auth(CONTINUE, METHOD, &[1; 32]));

    let told = bench.packets();
    assert_eq!((told[0].kind(), told[0].body()[0], bench.closed), (15, 0, false));
    // Once for each challenge.
    bench.send(&auth(CONTINUE, METHOD, &[1; 32]));
    assert!(bench.closed);
}
