//! Packets that are malformed, out of place or too large.

use super::Neighbourhood;
use super::support::wire::{self, CONNACK, Connect, DISCONNECT, Wire, packet};

/// What a connected client of MQTT 5 is told of `bytes`: the reason of the DISCONNECT that ends its connection. One of
/// 3.1.1 is told nothing, and its connection ends as well.
#[track_caller]
fn check(all: &mut Neighbourhood, what: &str, v5: &[u8], v3: &[u8], reason: u8) {
    let told = Wire::connect(all.mqtt(), true, &all.stranger).send(v5).rest();
    let told: Vec<_> = told.iter().map(|packet| (packet.kind, packet.reason())).collect();
    assert_eq!(told, [(DISCONNECT, reason)], "{what}: {told:02x?}");

    let told = Wire::connect(all.mqtt(), false, &all.stranger).send(v3).rest();
    assert_eq!(told, [], "{what}, 3.1.1");
    all.is_unharmed(what);
}

#[track_caller]
fn check_same(all: &mut Neighbourhood, what: &str, bytes: &[u8], reason: u8) {
    check(all, what, bytes, bytes, reason);
}

#[test]
fn malformed_packets_end_the_connection_with_a_reason() {
    let mut all = Neighbourhood::of("n-malformed");
    check(&mut all, "QoS 3", &packet(0x36, &[0, 1, b'a', 0, 1, 0]), &packet(0x36, &[0, 1, b'a', 0, 1]), 0x81);
    check(
        &mut all,
        "packet id 0",
        &packet(0x32, &[0, 1, b'a', 0, 0, 0]),
        &packet(0x32, &[0, 1, b'a', 0, 0]),
        0x81,
    );
    check(
        &mut all,
        "bad UTF-8",
        &packet(0x30, &[0, 2, 0xC3, 0x28, 0]),
        &packet(0x30, &[0, 2, 0xC3, 0x28]),
        0x81,
    );
    check(
        &mut all,
        "a surrogate",
        &packet(0x30, b"\0\x03\xED\xA0\x80\0"),
        b"\x30\x05\0\x03\xED\xA0\x80",
        0x81,
    );
    check(
        &mut all,
        "NUL in a topic",
        &packet(0x30, &[0, 2, b'a', 0, 0]),
        &packet(0x30, &[0, 2, b'a', 0]),
        0x81,
    );
    let wildcard = |v5| wire::publish(v5, "twins/+/reported", b"{}", Some(1));
    check(&mut all, "a wildcard in a topic", &wildcard(true), &wildcard(false), 0x81);
    let nul = |v5| wire::subscribe(v5, 1, &[("twins/me/\0", 1)]);
    check(&mut all, "NUL in a filter", &nul(true), &nul(false), 0x81);
    check_same(&mut all, "flags of PINGREQ", &packet(0xC1, &[]), 0x81);
    check_same(&mut all, "a PINGREQ with a body", &packet(0xC0, b"x"), 0x81);
    check_same(&mut all, "a repetition under QoS 0", &packet(0x38, b"\0\x01a\0"), 0x81);
    check_same(&mut all, "a topic that is cut off", &packet(0x30, &[0, 9, b'a']), 0x81);
    check_same(&mut all, "no topic", &packet(0x30, &[]), 0x81);
    check_same(&mut all, "a length of five bytes", &[0x30, 0xFF, 0xFF, 0xFF, 0xFF, 0x01], 0x81);
    check_same(&mut all, "flags of SUBSCRIBE", &packet(0x80, b"\0\x01\0\0\x01a\0"), 0x81);
    check(
        &mut all,
        "QoS 3 of a subscription",
        &packet(0x82, b"\0\x01\0\0\x01a\x03"),
        &packet(0x82, b"\0\x01\0\x01a\x03"),
        0x81,
    );
    check(
        &mut all,
        "packet id 0 of SUBSCRIBE",
        &wire::subscribe(true, 0, &[("a", 0)]),
        &wire::subscribe(false, 0, &[("a", 0)]),
        0x81,
    );
    check_same(&mut all, "type 0", &packet(0x00, &[]), 0x81);
}

#[test]
fn packets_out_of_place_end_the_connection_with_a_reason() {
    let mut all = Neighbourhood::of("n-misplaced");
    let connect = |v5| Connect::of(v5, "h-packets").bytes();
    check(&mut all, "CONNECT twice", &connect(true), &connect(false), 0x82);
    check_same(&mut all, "a server's packet", &packet(0x20, &[0, 0]), 0x82);
    check_same(&mut all, "PUBACK of nothing", &packet(0x40, &[0, 77]), 0x82);
    check_same(&mut all, "PUBREC of nothing", &packet(0x50, &[0, 77]), 0x82);
    check_same(&mut all, "PUBCOMP of nothing", &packet(0x70, &[0, 77]), 0x82);
    let no_filter = |v5| wire::subscribe(v5, 1, &[]);
    check(&mut all, "SUBSCRIBE to nothing", &no_filter(true), &no_filter(false), 0x82);
}

#[test]
fn a_packet_that_announces_256_mb_is_refused_by_its_header() {
    let mut all = Neighbourhood::of("n-large");
    check_same(&mut all, "256 MB", &[0x30, 0xFF, 0xFF, 0xFF, 0x7F], 0x95);

    assert_eq!(Wire::open(all.mqtt(), true).send(&[0x10, 0xFF, 0xFF, 0xFF, 0x7F]).rest(), []);
    all.is_unharmed("a CONNECT of 256 MB");
}

#[test]
fn who_goes_on_sending_hears_the_reason_all_the_same() {
    let mut all = Neighbourhood::of("n-flood");
    let mut flood = vec![0x30, 0xFF, 0xFF, 0xFF, 0x7F];
    flood.resize(1 << 20, b'x');

    let told = Wire::connect(all.mqtt(), true, "h-flood").send(&flood).rest();

    assert_eq!(
        told.iter().map(|packet| (packet.kind, packet.reason())).collect::<Vec<_>>(),
        [(DISCONNECT, 0x95)]
    );
    all.is_unharmed("a flood");
}

#[test]
fn what_does_not_begin_with_connect_is_closed() {
    let mut all = Neighbourhood::of("n-silent");
    for (what, bytes) in [
        ("PUBLISH", wire::publish(true, "twins/me/telemetry", b"1", Some(1))),
        ("SUBSCRIBE", wire::subscribe(true, 1, &[("twins/me/#", 1)])),
        ("PINGREQ", packet(0xC0, &[])),
        ("a browser", b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n".to_vec()),
        ("TLS", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec()),
    ] {
        assert_eq!(Wire::open(all.mqtt(), true).send(&bytes).rest(), [], "{what}");
        all.is_unharmed(what);
    }
}

#[test]
fn a_connect_that_is_malformed_is_answered_and_closed() {
    let mut all = Neighbourhood::of("n-connect");
    let with_flags = |v5, flags| Connect { flags, ..Connect::of(v5, "h-connect") }.bytes();
    for (what, v5, bytes, reason) in [
        ("the reserved flag", true, with_flags(true, 0b1), 0x81),
        ("a will of QoS 3", true, will_of_qos_3(true), 0x81),
        ("a QoS of no will", true, with_flags(true, 0b0000_1000), 0x81),
        ("a retained will that is none", true, with_flags(true, 0b0010_0000), 0x81),
        ("the reserved flag, 3.1.1", false, with_flags(false, 0b1), 5),
        ("a will of QoS 3, 3.1.1", false, will_of_qos_3(false), 5),
        ("an unknown version", true, packet(0x10, b"\0\x04MQTT\x09\x02\0\x3C\0\0\x01c"), 1),
        ("an id of 129 bytes", true, Connect::of(true, &"x".repeat(129)).bytes(), 0x85),
        ("an id of 129 bytes, 3.1.1", false, Connect::of(false, &"x".repeat(129)).bytes(), 2),
        ("`me`", true, Connect::of(true, "me").bytes(), 0x85),
        ("a path", true, Connect::of(true, "../a").bytes(), 0x85),
        ("a wildcard", true, Connect::of(true, "+").bytes(), 0x85),
        ("nobody", true, Connect::of(true, "").bytes(), 0x85),
    ] {
        let told = Wire::open(all.mqtt(), v5).send(&bytes).rest();
        let told: Vec<_> = told.iter().map(|packet| (packet.kind, packet.reason())).collect();
        assert_eq!(told, [(CONNACK, reason)], "{what}");
        all.is_unharmed(what);
    }
}

fn will_of_qos_3(v5: bool) -> Vec<u8> {
    let will = Some(("twins/me/telemetry", &b"1"[..]));
    Connect { flags: 0b0001_1000, will, ..Connect::of(v5, "h-connect") }.bytes()
}

#[test]
fn random_bytes_are_survived() {
    let mut all = Neighbourhood::of("n-random");
    let mut state = 2_026_u64;
    let mut random = || {
        // SplitMix64.
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z ^ (z >> 27)
    };
    for n in 0..100 {
        let bytes: Vec<u8> = (0..random() % 200 + 1).map(|_| random() as u8).collect();
        let mut wire = match n % 2 {
            0 => Wire::open(all.mqtt(), true),
            _ => Wire::connect(all.mqtt(), true, "h-random"),
        };
        wire.send(&bytes);
        // What follows makes it end, whatever packet the bytes have begun.
        drop(wire);
        if n % 10 == 9 {
            all.is_unharmed(bytes);
        }
    }
}
