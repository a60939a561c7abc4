//! Clients that do not play by the rules: each gets the protocol's error or a disconnect, and costs no more than others.

use proptest::prelude::*;

use super::*;

/// What a connected client is told of `bytes`, by the reason of its DISCONNECT.
fn told(bytes: &[u8]) -> u8 {
    let mut bench = Bench::connected(true);
    bench.send(bytes);
    assert!(bench.closed);
    bench.packets().last().map_or(0, Packet::reason)
}

#[test]
fn packets_out_of_place_end_the_connection() {
    assert_eq!(told(&wire::Connect::default().bytes()), 0x82, "a second CONNECT");
    assert_eq!(told(&wire::puback(77)), 0x82, "a PUBACK of nothing");
    assert_eq!(told(&wire::packet(0x50, &[0, 1])), 0x82, "a PUBREC of nothing");
    assert_eq!(told(&wire::packet(0x70, &[0, 1])), 0x82, "a PUBCOMP of nothing");
    assert_eq!(told(&wire::packet(0xF0, &[])), 0x82, "AUTH");
    assert_eq!(told(&wire::packet(0x20, &[0, 0])), 0x82, "CONNACK");

    let mut bench = Bench::with(Options::default());
    bench.publish("twins/me/telemetry", "1", 1);
    assert!(bench.closed && bench.submitted.is_empty());
}

#[test]
fn malformed_packets_end_the_connection() {
    assert_eq!(told(&wire::packet(0x36, &[0, 1, b'a', 0, 1, 0])), 0x81, "QoS 3");
    assert_eq!(told(&wire::packet(0x30, &[0, 1, 0xFF, 0])), 0x81, "a topic that is not UTF-8");
    assert_eq!(told(&wire::packet(0x30, &[0, 9, b'a'])), 0x81, "a topic that is cut off");
    assert_eq!(told(&wire::packet(0x32, &[0, 1, b'a', 0, 0, 0])), 0x81, "packet id 0");
    assert_eq!(told(&wire::publish(true, "twins/+/reported", b"1", 0)), 0x81, "a wildcard in a topic");
    assert_eq!(told(&wire::publish(true, "twins/me\0", b"1", 0)), 0x81, "NUL in a topic");
    assert_eq!(told(&wire::subscribe(true, 1, &[("a\0", 0)])), 0x81, "NUL in a filter");
    assert_eq!(told(&wire::packet(0xC1, &[])), 0x81, "flags of a PINGREQ");
    assert_eq!(told(&wire::packet(0x80, b"\x00\x01\x00\x00\x01a\x00")), 0x81, "flags of a SUBSCRIBE");
    assert_eq!(told(&wire::packet(0x38, &[0, 1, b'a', 0])), 0x81, "a repetition under QoS 0");
    assert_eq!(
        told(&wire::publish_with(Some(&[35, 0, 9]), "", b"1", 0)),
        0x94,
        "an alias that was not granted"
    );
    assert_eq!(told(&wire::subscribe(true, 1, &[])), 0x82, "no filter");
    assert_eq!(told(&wire::publish(true, &"x".repeat(2000), b"1", 0)), 0x90, "a topic without end");
    assert_eq!(
        told(&wire::packet(0x82, b"\x00\x01\x02\x0b\x00\x00\x06twins/\x00")),
        0x82,
        "an identifier of 0"
    );
}

#[test]
fn flags_are_looked_at_where_a_packet_begins_and_nowhere_else() {
    let mut bench = Bench::connected(true);
    for byte in wire::publish(true, "twins/me/telemetry", &[0xC1, 0x80, 0x38], 1) {
        bench.send(&[byte]);
    }
    assert_eq!((bench.closed, bench.submitted.len()), (false, 1));
}

#[test]
fn flags_of_a_connect_that_contradict_each_other_are_malformed() {
    for (v5, reason) in [(true, 0x81), (false, 5)] {
        for flags in [0b0000_0001, 0b0000_1000, 0b0010_0000, 0b0001_1100] {
            let will = (flags & 0b100 != 0).then_some(("twins/me/telemetry", "1"));
            let mut connect = wire::Connect { v5, will, ..wire::Connect::default() }.bytes();
            connect[9] |= flags;
            let mut bench = Bench::with(Options::default());
            bench.v5 = v5;
            bench.send(&connect);
            let told = bench.packets();
            assert!(bench.closed && bench.submitted.is_empty(), "{flags:b}");
            assert_eq!(
                (told[0].kind(), told[0].reason()),
                (wire::CONNACK, reason),
                "{flags:b}, MQTT 5: {v5}"
            );
        }
    }
}

#[test]
fn a_packet_that_is_too_large_is_refused_by_its_header() {
    assert_eq!(told(&[0x30, 0xFF, 0xFF, 0xFF, 0x7F]), 0x95);
    let mut bench = Bench::with(Options::default());
    bench.send(&[0x10, 0xFF, 0xFF, 0xFF, 0x7F]);
    assert!(bench.closed && bench.session.is_over());
}

#[test]
fn answers_that_nobody_acknowledges_end_the_connection_before_they_fill_the_memory() {
    let mut bench = Bench::connected(false).subscribed(&[("twins/me/errors", 1)]);
    let mut n = 0;
    while !bench.closed {
        bench.publish("nowhere", "", 0);
        n += 1;
        assert!(n < 1000);
    }
    assert_eq!(n, 128 + 256 + 1);
}

/// The property that names the method of enhanced authentication.
fn method() -> Vec<u8> {
    let method = crate::trust::challenge::METHOD.as_bytes();
    [&[21, 0, method.len() as u8], method].concat()
}

/// Valid packets, with some of their bytes changed.
fn mutated() -> impl Strategy<Value = Vec<u8>> {
    let valid = (any::<bool>(), 0..18_u8).prop_map(|(v5, which)| match which {
        0 => wire::Connect { v5, ..wire::Connect::default() }.bytes(),
        1 => wire::publish(v5, "twins/me/reported", br#"{"a":{"b":[1,2]}}"#, 1),
        2 => wire::publish(v5, "twins/me/commands/0198c0de-0000-7000-8000-000000000001/done", b"{}", 2),
        3 => wire::publish(v5, "twins/me/methods/a/b", b"1", 0),
        4 => wire::publish_with(Some(&[35, 0, 1]), "twins/me/telemetry/a", b"1", 3),
        5 => wire::publish_with(Some(&[35, 0, 1]), "", b"1", 3),
        6 => wire::subscribe(v5, 4, &[("twins/me/#", 1), ("twins/me/desired", 2)]),
        7 => wire::unsubscribe(v5, 5, &["twins/me/#"]),
        8 => wire::puback(1),
        9 => wire::packet(0x50, &[0x80, 0]),
        10 => wire::packet(0x62, &[0, 1]),
        11 => wire::packet(0x70, &[0x80, 0]),
        12 => wire::publish_2(v5, "twins/me/telemetry", b"1", 1),
        13 => wire::publish_2(v5, "twins/me/get/1", b"", 1),
        14 => wire::Connect { properties: &method(), v5: true, ..wire::Connect::default() }.bytes(),
        15 => wire::packet(0xF0, &[&[0x18, method().len() as u8], &method()[..]].concat()),
        16 => wire::packet(0xF0, &[&[0x19, method().len() as u8], &method()[..]].concat()),
        _ => wire::ping(),
    });
    let changes = prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..3);
    (valid, changes).prop_map(|(mut bytes, changes)| {
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        bytes
    })
}

/// Sends in pieces, as a network would, and answers what is asked; then the client goes.
fn survive(mut bench: Bench, bytes: &[u8], piece: usize) {
    for (n, piece) in bytes.chunks(piece).enumerate() {
        if bench.closed || !bench.session.listens() {
            break;
        }
        bench.send(piece);
        while n % 3 == 0 && !bench.submitted.is_empty() {
            match bench.submitted[0].input {
                Input::Connect { .. } => drop(bench.accept(false, Vec::new())),
                _ => drop(bench.answer(Ok(Reply::Done))),
            }
        }
        bench.deliver(Delivery::Desired { version: n as u64, patch: json("{}"), full: true, packet: None });
        assert!(bench.session.queue.len() <= usize::from(Options::default().in_flight_max.get()) + 2);
    }
    bench.session.lost(bench.now, "gone");
    bench.act();
    while !bench.submitted.is_empty() {
        bench.answer(Ok(Reply::Done));
    }
    bench.pass(Duration::from_secs(20));
    assert!(bench.session.is_over());
}

proptest! {
    #[test]
    fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..200), v5: bool, connected: bool, piece in 1..64_usize) {
        let bench = if connected { Bench::connected(v5) } else { Bench::with(Options::default()) };
        survive(bench, &bytes, piece);
    }

    #[test]
    fn packets_that_are_almost_right_are_survived(
        packets in prop::collection::vec(mutated(), 0..12), v5: bool, connected: bool, piece in 1..64_usize,
    ) {
        let bench = if connected { Bench::connected(v5) } else { Bench::with(Options::default()) };
        survive(bench, &packets.concat(), piece);
    }
}
