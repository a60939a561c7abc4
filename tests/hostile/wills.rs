//! Wills and retained messages that ask for more than there is.

use serde_json::json;

use super::Neighbourhood;
use super::support::wire::{CONNACK, Connect, PUBACK, Wire, packet};

#[test]
fn a_will_that_could_not_be_said_is_refused_at_connect() {
    let mut all = Neighbourhood::of("n-wills");
    let deep = "[".repeat(1_000);
    let long = "1".repeat(20_000);
    for (topic, payload, flags, reason, reason_v3) in [
        ("twins/n-wills/reported", "{}", 0, 0x87, 5),
        ("anything", "{}", 0, 0x90, 5),
        ("twins/me/get/1", "", 0, 0x90, 5),
        ("twins/me/reported", "{", 0, 0x99, 5),
        ("twins/me/reported", deep.as_str(), 0, 0x97, 3),
        ("twins/me/reported", "{}", 0b0001_0000, 0, 0),
        ("twins/me/telemetry", long.as_str(), 0, 0x97, 3),
    ] {
        for (v5, reason) in [(true, reason), (false, reason_v3)] {
            let will = Some((topic, payload.as_bytes()));
            let connect = Connect { will, flags, ..Connect::of(v5, "h-wills") };
            let told = Wire::open(all.mqtt(), v5).send(&connect.bytes()).next().expect("an answer");
            assert_eq!((told.kind, told.reason()), (CONNACK, reason), "{topic}, MQTT 5: {v5}");
            all.is_unharmed(topic);
        }
    }
}

#[test]
fn a_retained_will_is_said_once_and_not_kept() {
    let mut all = Neighbourhood::of("n-retained");
    let will = Some(("twins/me/reported", &br#"{"online":false}"#[..]));
    let connect = Connect { will, flags: 0b0010_0000, ..Connect::of(false, "h-retained") };

    drop(Wire::connect_as(all.mqtt(), &connect));

    all.node.twin_that("h-retained", |twin| twin["reported"]["online"] == false);
    all.is_unharmed("a retained will");
}

#[test]
fn a_retained_publish_is_taken_as_any_other() {
    let mut all = Neighbourhood::of("n-retain");
    let mut wire = Wire::connect(all.mqtt(), false, "h-retain");
    let body = [b"\0\x11twins/me/reported\0\x07".as_slice(), br#"{"a":1}"#].concat();

    let ack = wire.send(&packet(0x33, &body)).next().expect("a PUBACK");

    assert_eq!(ack.kind, PUBACK);
    assert_eq!(all.node.twin("h-retain")["reported"], json!({"$version": 1, "a": 1}));
    all.is_unharmed("a retained publish");
}
