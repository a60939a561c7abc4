//! Connections begin.

use twins::name::Name;
use twins::session::{Connect, Topic};

use super::*;

#[test]
fn what_follows_a_connect_waits_until_the_twin_knows_of_it() {
    let mut bench = Bench::with(Options::default());
    let mut bytes = wire::Connect::default().bytes();
    bytes.extend(wire::publish(true, "twins/me/telemetry/a", b"1", 5));

    bench.send(&bytes);
    assert_eq!(bench.inputs().len(), 1);
    assert!(bench.packets().is_empty());
    assert!(!bench.session.listens());

    bench.accept(false, Vec::new());
    assert_eq!(bench.packets()[0].kind(), wire::CONNACK);
    assert!(matches!(&bench.inputs()[..], [(1, Input::Sample { .. })]));
    assert!(bench.session.listens());
}

#[test]
fn a_connect_says_who_it_is_and_whether_its_session_is_kept() {
    let connect = |connect: wire::Connect<'_>| {
        let mut bench = Bench::with(Options::default());
        bench.send(&connect.bytes());
        let submission = bench.submitted.pop_front().unwrap();
        assert_eq!((submission.twin.id(), submission.header.mark), ("t-1", None));
        let Input::Connect { connect: Connect { client, keep, resumes, .. }, register } = submission.input
        else {
            panic!("{:?}", submission.input)
        };
        assert_eq!(register, Some(Name::fixed("device")));
        (client.as_str().to_owned(), keep, resumes)
    };

    let expiry = &[17, 0, 0, 0, 60][..];
    let kept = wire::Connect { properties: expiry, clean: false, ..wire::Connect::default() };
    assert_eq!(connect(kept), ("c".into(), true, true));
    assert_eq!(
        connect(wire::Connect { v5: false, clean: false, ..wire::Connect::default() }),
        ("c".into(), true, true)
    );
    assert_eq!(
        connect(wire::Connect { v5: false, client: "", ..wire::Connect::default() }),
        ("assigned".into(), false, false)
    );
}

#[test]
fn mqtt_5_is_told_what_is_granted() {
    let mut bench = Bench::with(Options::default());
    bench.send(&wire::Connect { client: "", keep_alive: 0, ..wire::Connect::default() }.bytes());
    bench.accept(true, Vec::new());

    let packets = bench.packets();
    let body = packets[0].body();
    assert_eq!(body[..2], [1, 0]);
    let has = |property: &[u8]| body.windows(property.len()).any(|window| window == property);
    assert!(has(&[33, 1, 0]), "receive maximum 256");
    assert!(has(&[37, 1]) && has(&[41, 1]) && has(&[42, 0]), "retain, subscription identifiers, no sharing");
    assert!(has(&[39, 0, 4, 16, 0]), "maximum packet size");
    assert!(has(&[19, 4, 176]), "server keep-alive 1200 s");
    assert!(has(b"\x12\x00\x08assigned"));
}

#[test]
fn who_is_not_let_in_is_told_why() {
    let check = |connect: wire::Connect<'_>, reason: u8| {
        let mut bench = Bench::with(Options::default());
        bench.v5 = connect.v5;
        bench.send(&connect.bytes());
        let packets = bench.packets();
        assert_eq!((packets.len(), packets[0].kind(), packets[0].reason()), (1, wire::CONNACK, reason));
        assert!(bench.closed && bench.session.is_over() && bench.submitted.is_empty());
    };

    check(wire::Connect { username: "a/b", ..wire::Connect::default() }, 0x85);
    check(wire::Connect { username: "a/b", v5: false, ..wire::Connect::default() }, 2);
    check(wire::Connect { client: "a#", ..wire::Connect::default() }, 0x85);
    check(wire::Connect { client: "", clean: false, v5: false, ..wire::Connect::default() }, 2);
    check(wire::Connect { properties: b"\x15\x00\x01x", ..wire::Connect::default() }, 0x8C);
    check(wire::Connect { will: Some(("twins/me/desired", "1")), ..wire::Connect::default() }, 0x90);
    check(wire::Connect { will: Some(("twins/t-2/reported", "{}")), ..wire::Connect::default() }, 0x87);
}

#[test]
fn a_refusal_of_the_twin_is_told() {
    let check = |v5, outcome: Outcome, reason: u8| {
        let mut bench = Bench::with(Options::default());
        bench.v5 = v5;
        bench.send(&wire::Connect { v5, ..wire::Connect::default() }.bytes());
        bench.answer(outcome);
        assert_eq!(bench.packets()[0].reason(), reason);
        assert!(bench.closed && bench.session.is_over());
    };

    check(true, rejected(Code::TooMany), 0x97);
    check(false, rejected(Code::TooMany), 3);
    check(true, rejected(Code::UnknownTwin), 0x87);
    check(false, rejected(Code::UnknownTwin), 5);
    check(true, Err(Error::Stopping), 0x88);
}

#[test]
fn a_connect_waits_for_its_shard_but_not_for_ever() {
    let mut bench = Bench::with(Options::default());
    bench.send(&wire::Connect::default().bytes());
    bench.answer(overloaded());
    assert!(bench.submitted.is_empty());

    bench.pass(Duration::from_millis(10));
    assert!(matches!(bench.answer(overloaded()), Input::Connect { .. }));

    bench.pass(Duration::from_secs(20));
    assert_eq!((bench.packets()[0].reason(), bench.closed), (0x89, true));
}

#[test]
fn another_version_is_refused_in_words_that_it_knows() {
    let mut bench = Bench::with(Options::default());
    bench.send(&wire::packet(0x10, b"\x00\x06MQIsdp\x03\x02\x00\x3C\x00\x01c"));
    assert_eq!((bench.out.as_slice(), bench.closed), (&[0x20, 2, 0, 1][..], true));
}

#[test]
fn a_kept_session_hears_on_without_subscribing_again() {
    let mut bench = Bench::with(Options::default());
    bench.send(
        &wire::Connect { clean: false, properties: &[17, 0, 0, 0, 60], ..wire::Connect::default() }.bytes(),
    );
    let filter = Name::filter("twins/t-1/desired").unwrap();
    bench.accept(true, vec![Subscription { filter, topic: Topic::Desired, qos: 1, identifier: None }]);

    bench.deliver(Delivery::Desired { version: 4, patch: json(r#"{"a":null}"#), full: false, packet: None });

    let packets = bench.packets();
    assert_eq!(packets[1].topic(), "twins/t-1/desired");
    assert_eq!(packets[1].payload(), r#"{"version":4,"patch":{"a":null},"full":false}"#);
}

#[test]
fn a_client_that_takes_no_connack_gets_none() {
    let mut bench = Bench::with(Options::default());
    bench.send(&wire::Connect { properties: &[39, 0, 0, 0, 9], ..wire::Connect::default() }.bytes());
    bench.accept(false, Vec::new());
    assert!(bench.packets().is_empty() && bench.closed);
    assert!(matches!(bench.inputs()[..], [(0, Input::Disconnect { .. })]));
}

#[test]
fn a_connect_that_trickles_in_has_no_more_time_than_one_that_never_comes() {
    for sends in [false, true] {
        let mut bench = Bench::with(Options::default());
        let connect = wire::Connect::default().bytes();
        for byte in &connect[..9] {
            if sends {
                bench.send(&[*byte]);
            }
            bench.pass(Duration::from_secs(1));
            assert!(!bench.closed);
        }

        bench.pass(Duration::from_secs(1));

        assert!(bench.closed && bench.session.is_over() && bench.packets().is_empty());
    }
}
