//! Topics that are unknown, another device's, or not for devices.

use serde_json::json;

use super::Neighbourhood;
use super::support::online::Online;
use super::support::wire::{PUBACK, Wire};

#[test]
fn mqtt_5_refuses_a_topic_by_its_reason_and_goes_on() {
    let mut all = Neighbourhood::of("n-topics");
    let mut wire = Wire::connect(all.mqtt(), true, "h-topics");
    for (topic, reason) in [
        ("twins/n-topics/reported", 0x87),
        ("twins/n-topics/telemetry/pulse", 0x87),
        ("twins/n-topics/commands/0198c0de-0000-7000-8000-000000000001/done", 0x87),
        ("twins/n-topics/attach", 0x87),
        ("twins/../reported", 0x87),
        ("twins/me/desired", 0x90),
        ("twins/me/errors", 0x90),
        ("twins/me/telemetry/a/b/c", 0x90),
        ("twins/me", 0x90),
        ("twins//reported", 0x87),
        ("/twins/me/reported", 0x90),
        ("$SYS/broker/uptime", 0x90),
        ("anything", 0x90),
        ("twins/me/commands/no-id/done", 0x83),
        ("twins/me/reported", 0x00),
    ] {
        let ack = wire.publish(topic, b"{}", Some(7)).next().expect("a PUBACK");
        assert_eq!((ack.kind, ack.reason()), (PUBACK, reason), "{topic}");
        all.is_unharmed(topic);
    }
    assert_eq!(all.node.twin("n-topics")["reported"], json!({"$version": 0}));
}

#[test]
fn a_client_of_3_1_1_is_acknowledged_and_hears_why_not() {
    let mut all = Neighbourhood::of("n-errors");
    let mut device = Online::connect(all.mqtt(), "h-errors", false);
    device.subscribe("twins/me/errors");
    for (topic, code) in [
        ("twins/n-errors/reported", "forbidden"),
        ("anything", "unknown-topic"),
        ("twins/me/reported?mid=a7", "malformed"),
    ] {
        device.publish(topic, "[");

        let error = device.hear_on("twins/me/errors");
        assert_eq!((&error["code"], &error["topic"]), (&code.into(), &topic.into()), "{error}");
        assert!(error["message"].is_string() && error["next"].is_string(), "{error}");
        assert_eq!(error["mid"], topic.split_once("?mid=").map_or(json!(null), |(_, mid)| json!(mid)));
        all.is_unharmed(topic);
    }
}

#[test]
fn nobody_subscribes_to_what_is_not_its_own() {
    let mut all = Neighbourhood::of("n-filters");
    for v5 in [true, false] {
        let mut wire = Wire::connect(all.mqtt(), v5, "h-filters");
        for (filter, reason) in [
            ("twins/n-filters/desired", 0x87),
            ("twins/n-filters/#", 0x87),
            ("twins/+/commands", 0x87),
            ("twins/#", 0x87),
            ("#", 0x87),
            ("+/+/+", 0x87),
            ("$SYS/#", 0x8F),
            ("twins/me/telemetry", 0x8F),
            ("twins/me/des#", 0x8F),
            ("twins/me/#/desired", 0x8F),
            ("other", 0x8F),
        ] {
            let reason = if v5 { reason } else { 0x80 };
            assert_eq!(wire.subscribe(&[(filter, 1)]).reasons(v5), [reason], "{filter}");
        }
        assert_eq!(
            wire.subscribe(&[("twins/me/commands", 2), ("#", 0)]).reasons(v5)[0],
            2,
            "one filter of two is refused"
        );
        all.is_unharmed("filters");
    }
    let many: Vec<_> = (0..33).map(|n| format!("twins/me/requests/{n}/+")).collect();
    let many: Vec<_> = many.iter().map(|filter| (filter.as_str(), 0)).collect();
    let mut wire = Wire::connect(all.mqtt(), true, "h-filters-many");
    assert_eq!(wire.subscribe(&many).reasons(true), [0x97; 33], "more than a session keeps");
    all.is_unharmed("many filters");
}
