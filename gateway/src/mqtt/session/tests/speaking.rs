//! Devices speak.

use std::num::NonZeroU16;

use twins::body::Body;
use twins::time::Timestamp;
use twins::twin::Twin;

use super::*;

/// The packet ids that were acknowledged, with their reasons.
fn pubacks(bench: &mut Bench) -> Vec<(u16, u8)> {
    let packets = bench.packets();
    packets
        .iter()
        .filter(|packet| packet.kind() == wire::PUBACK)
        .map(|packet| (packet.id(), packet.reason()))
        .collect()
}

#[test]
fn a_publish_is_acknowledged_when_its_twin_has_it() {
    for v5 in [false, true] {
        let mut bench = Bench::connected(v5);
        bench.publish("twins/me/reported", r#"{"a":1}"#, 9);
        assert_eq!(pubacks(&mut bench), []);

        assert_eq!(bench.answer(Ok(Reply::Done)), Input::Report(json(r#"{"a":1}"#)));
        assert_eq!(pubacks(&mut bench), [(9, 0)]);
    }
}

#[test]
fn acknowledgements_leave_in_order_also_those_that_need_no_twin() {
    let mut bench = Bench::connected(true);
    bench.publish("twins/me/telemetry/a", "1", 1).publish("nowhere", "1", 2).publish(
        "twins/me/telemetry/a",
        "2",
        3,
    );
    assert_eq!(pubacks(&mut bench), []);

    bench.answer(Ok(Reply::Done));
    assert_eq!(pubacks(&mut bench), [(1, 0), (2, 0x90)]);
    bench.answer(Ok(Reply::Done));
    assert_eq!(pubacks(&mut bench), [(3, 0)]);
}

#[test]
fn inputs_are_numbered_without_gaps_and_reads_are_not() {
    let mut bench = Bench::connected(true);
    bench.publish("twins/me/telemetry", "{}", 1).publish("twins/me/get/1", "", 2).publish(
        "twins/me/telemetry",
        "{}",
        0,
    );
    assert_eq!(bench.inputs().iter().map(|(n, _)| *n).collect::<Vec<_>>(), [1, 0, 2]);
}

#[test]
fn a_failure_that_passes_is_not_answered_and_everything_comes_again_under_its_number() {
    let mut bench = Bench::connected(false);
    bench.publish("twins/me/telemetry/a", "1", 1).publish("twins/me/telemetry/a", "2", 2);
    bench.answer(overloaded());
    bench.answer(rejected(Code::OutOfOrder));
    bench.publish("twins/me/telemetry/a", "3", 3);
    assert!(bench.submitted.is_empty() && bench.packets().is_empty() && !bench.closed);

    bench.pass(Duration::from_millis(10));
    assert_eq!(bench.inputs().iter().map(|(n, _)| *n).collect::<Vec<_>>(), [1, 2, 3]);
    for _ in 0..3 {
        bench.answer(Ok(Reply::Done));
    }
    assert_eq!(pubacks(&mut bench), [(1, 0), (2, 0), (3, 0)]);
}

#[test]
fn an_answer_that_does_not_come_ends_the_connection_with_a_reason() {
    let mut bench = Bench::connected(true);
    bench.publish("twins/me/telemetry/a", "1", 1);
    bench.answer(overloaded());
    for _ in 0..21 {
        bench.pass(Duration::from_secs(1));
        if !bench.submitted.is_empty() {
            bench.answer(overloaded());
        }
    }

    let packets = bench.packets();
    assert_eq!((packets[0].kind(), packets[0].reason(), bench.closed), (wire::DISCONNECT, 0x89, true));
}

#[test]
fn each_refusal_has_its_reason() {
    let check = |topic: &str, payload: &str, reason: u8| {
        let mut bench = Bench::connected(true);
        bench.publish(topic, payload, 1);
        assert_eq!(pubacks(&mut bench), [(1, reason)], "{topic}");
    };
    check("twins/me/desired", "1", 0x90);
    check("twins/t-2/reported", "{}", 0x87);
    check("twins/me/reported", "{", 0x99);
    check("twins/me/reported", "{\"a\":1,\"a\":2}", 0x99);
    check("twins/me/reported", &"[".repeat(40), 0x97);
    check("twins/me/commands/7/done", "{}", 0x83);
    check("twins/me/requests/a/1/reply", "{}", 0x99);
    check("twins/me/requests/a/1/reply", r#"{"status":7}"#, 0x99);
    check("twins/me/requests/a/1/reply", "[200]", 0x99);

    let mut bench = Bench::connected(true);
    bench.publish("twins/me/reported", "{}", 1);
    bench.answer(rejected(Code::TooLarge));
    assert_eq!(pubacks(&mut bench), [(1, 0x97)]);
}

#[test]
fn a_refusal_is_told_on_errors_under_any_version_and_quality() {
    for v5 in [false, true] {
        let mut bench = Bench::connected(v5).subscribed(&[("twins/me/errors", 0)]);
        bench.publish("nowhere", "1", 4).publish("twins/me/reported?mid=m1", "x", 0);

        let packets = bench.packets();
        assert_eq!(
            packets.iter().map(Packet::kind).collect::<Vec<_>>(),
            [wire::PUBACK, wire::PUBLISH, wire::PUBLISH]
        );
        assert!(packets[1].payload().starts_with(r#"{"code":"unknown-topic","topic":"nowhere","mid":null,"#));
        let expected = r#"{"code":"malformed","topic":"twins/me/reported?mid=m1","mid":"m1","#;
        assert!(packets[2].payload().starts_with(expected), "{}", packets[2].payload());
    }
}

#[test]
fn properties_say_when_and_of_what_type() {
    let mut bench = Bench::connected(true);
    let properties = b"\x03\x00\x0atext/plain\x26\x00\x04time\x00\x181970-01-01T00:01:00.000Z";
    bench.send(&wire::publish_with(Some(properties), "twins/me/telemetry/a", b"21.5", 1));

    let submission = &bench.submitted[0];
    assert_eq!(submission.header.time, Some(Timestamp::from_millis(60_000)));
    let Input::Sample { body: Body::Octets { content_type, .. }, .. } = &submission.input else { panic!() };
    assert_eq!(content_type.as_deref(), Some("text/plain"));

    let bad_time = b"\x26\x00\x04time\x00\x01x";
    bench.answer(Ok(Reply::Done));
    bench.packets();
    bench.send(&wire::publish_with(Some(bad_time), "twins/me/telemetry/a", b"1", 2));
    bench.send(&wire::publish_with(Some(&[1, 1]), "twins/me/telemetry/a", b"\xff", 3));
    assert_eq!(pubacks(&mut bench), [(2, 0x99), (3, 0x99)]);
}

#[test]
fn a_method_answers_also_when_it_refuses() {
    let mut bench = Bench::connected(true).subscribed(&[("twins/me/methods/+/+/reply", 0)]);
    bench.publish("twins/me/methods/boost/1", "5", 1).publish("twins/me/methods/boost/2", "", 2);

    let call = bench.answer(Ok(Reply::Returned(json("23"))));
    assert_eq!(call, Input::Call { name: Name::fixed("boost"), argument: json("5") });
    bench.answer(rejected(Code::UnknownMethod));

    let packets = bench.packets();
    assert_eq!(
        (packets[1].topic(), packets[1].payload()),
        ("twins/me/methods/boost/1/reply", r#"{"status":200,"payload":23}"#)
    );
    assert!(packets[3].payload().starts_with(r#"{"status":404,"payload":{"code":"unknown-method","#));
}

#[test]
fn a_twin_is_shown_to_its_device() {
    let mut bench = Bench::connected(true).subscribed(&[("twins/me/document/+", 1)]);
    bench.publish("twins/me/get/q1", "", 1);
    bench.answer(Ok(Reply::Twin(Arc::new(Twin::default()))));

    let packets = bench.packets();
    assert_eq!((packets[1].topic(), packets[1].qos()), ("twins/me/document/q1", 1));
    assert!(packets[1].payload().starts_with(r#"{"id":"t-1","#));
}

#[test]
fn an_answer_to_a_request_is_handed_on_and_acknowledged_after() {
    let mut bench = Bench::connected(true);
    bench.publish("twins/me/requests/reboot/r1/reply", r#"{"status":200,"payload":[1]}"#, 1);
    bench.publish("twins/me/requests/reboot/r2/reply", r#"{"status":204}"#, 2);
    assert_eq!(pubacks(&mut bench), []);

    let responses: Vec<_> = bench.responses.drain(..).collect();
    assert_eq!((responses[0].id.as_str(), responses[0].response.status), ("r1", 200));
    assert_eq!(responses[0].response.payload, json("[1]").into());
    assert_eq!(responses[1].response.payload, Json::null().into());
    bench.session.responded(bench.now, responses[0].token, true);
    bench.session.responded(bench.now, responses[1].token, false);
    bench.act();
    assert_eq!(pubacks(&mut bench), [(1, 0), (2, 0x10)]);
}

#[test]
fn nothing_more_is_read_while_too_much_is_unanswered() {
    let options = Options { in_flight_max: NonZeroU16::new(2).unwrap(), ..Options::default() };
    let mut bench = Bench::connected_with(false, options);
    let mut read = Vec::new();
    for n in 0..5 {
        read.extend(wire::publish(false, "twins/me/telemetry/a", n.to_string().as_bytes(), 0));
    }

    bench.send(&read);
    assert_eq!((bench.submitted.len(), bench.session.listens()), (2, false));
    bench.now += Duration::from_secs(15);
    for _ in 0..5 {
        bench.answer(Ok(Reply::Done));
    }
    assert!(bench.session.listens());

    // While nothing was read the keep-alive of 60 s stood still.
    bench.pass(Duration::from_secs(80));
    assert!(!bench.closed);
    bench.pass(Duration::from_secs(10));
    assert!(bench.closed);
}

#[test]
fn bytes_count_as_well_as_packets() {
    let mut bench = Bench::connected_with(true, Options { in_flight_bytes_max: 100, ..Options::default() });
    bench.publish("twins/me/telemetry/a", &format!("{:?}", "x".repeat(100)), 1);
    assert!(!bench.session.listens());

    bench.answer(Ok(Reply::Done));
    assert!(bench.session.listens());
}

#[test]
fn an_application_for_a_key_is_answered_where_the_device_listens_and_no_input_of_the_session() {
    let mut bench = Bench::connected(true).subscribed(&[("twins/me/credentials/+/+/reply", 1)]);
    bench.publish("twins/me/credentials/rotate/r-1", r#"{"nonce":"0123456789abcdef"}"#, 1);

    let token = bench.applications.pop().expect("it is made").token;
    assert!(bench.inputs().is_empty() && pubacks(&mut bench).is_empty());
    bench.session.applied(bench.now, token, json(r#"{"status":200}"#));
    bench.act();

    let packets = bench.packets();
    assert_eq!((packets[0].kind(), packets[0].id(), packets[0].reason()), (wire::PUBACK, 1, 0));
    assert_eq!(packets[1].topic(), "twins/me/credentials/rotate/r-1/reply");
    assert_eq!(packets[1].payload(), r#"{"status":200}"#);
}

#[test]
fn an_application_that_is_none_is_refused() {
    let mut bench = Bench::connected(true);
    for (id, payload) in [(1, ""), (2, "[]"), (3, "{}"), (4, r#"{"nonce":"a","key":"b"}"#)] {
        bench.publish("twins/me/credentials/activate/1", payload, id);
        assert_eq!(pubacks(&mut bench), [(id, 0x99)], "{payload}");
    }
    assert!(bench.applications.is_empty());
}
