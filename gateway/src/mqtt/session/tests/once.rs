//! QoS 2, aliases and identifiers: messages arrive once, in both directions, and a session goes on where it stood.

use twins::command::CommandId;
use twins::handshake::{HELD_MAX, Handshake, OPEN_MAX, Packet as Parcel};
use twins::input::{Message, Said};
use twins::session::Topic;
use twins::time::Timestamp;
use twins::twin::Twin;

use super::*;

fn command(packet: Option<Parcel>) -> (CommandId, Delivery) {
    let id: CommandId = "0198c0de-0000-7000-8000-000000000001".parse().unwrap();
    let (name, payload, deadline) =
        (Name::fixed("reboot"), json("{}").into(), Timestamp::from_millis(60_000));
    (id, Delivery::Command { id, name, payload, deadline, attempt: 1, trace: None, packet })
}

fn parcel(id: u16, again: bool) -> Option<Parcel> {
    Some(Parcel { id, again })
}

fn kinds(bench: &mut Bench) -> Vec<(u8, u16, u8)> {
    bench.packets().iter().map(|packet| (packet.kind(), packet.id(), packet.reason())).collect()
}

fn open(packet: u16, message: Message, released: bool) -> Handshake {
    Handshake { packet, message, released }
}

#[test]
fn a_message_of_qos_2_is_taken_with_its_packet_id_and_both_answers_wait_for_the_twin() {
    for v5 in [false, true] {
        let mut bench = Bench::connected(v5);
        bench.send(&wire::publish_2(v5, "twins/me/telemetry/a", b"1", 9));
        assert_eq!(bench.submitted[0].header.packet, Some(9));
        assert_eq!(kinds(&mut bench), []);
        bench.answer(Ok(Reply::Done));
        assert_eq!(kinds(&mut bench), [(wire::PUBREC, 9, 0)]);

        bench.send(&wire::packet(0x62, &[0, 9]));
        assert_eq!(kinds(&mut bench), []);
        assert_eq!(bench.answer(Ok(Reply::Done)), Input::Release(9));
        assert_eq!(kinds(&mut bench), [(wire::PUBCOMP, 9, 0)]);
    }
}

#[test]
fn a_repetition_is_answered_by_the_twin_and_not_by_the_codec() {
    for v5 in [false, true] {
        let mut bench = Bench::connected(v5);
        let publish = wire::publish_2(v5, "twins/me/telemetry/a", b"1", 9);
        bench.send(&publish).send(&publish);
        assert_eq!(kinds(&mut bench), [], "nothing is committed");

        let packets = bench.submitted.iter().map(|submission| submission.header.packet);
        assert_eq!(packets.collect::<Vec<_>>(), [Some(9), Some(9)]);
        bench.answer(Ok(Reply::Done));
        bench.answer(Ok(Reply::Done));
        assert_eq!(kinds(&mut bench), [(wire::PUBREC, 9, 0), (wire::PUBREC, 9, 0)]);
    }
}

#[test]
fn acknowledgements_of_all_qualities_leave_in_the_order_of_what_they_answer() {
    let mut bench = Bench::connected(true);
    bench.send(&wire::publish_2(true, "twins/me/telemetry/a", b"1", 1));
    bench.publish("twins/me/telemetry/a", "2", 2);
    bench.send(&wire::publish_2(true, "nowhere", b"3", 3));
    bench.send(&wire::packet(0x62, &[0, 9]));
    assert_eq!(kinds(&mut bench), []);

    bench.answer(Ok(Reply::Done));
    bench.answer(Ok(Reply::Done));
    let expected =
        [(wire::PUBREC, 1, 0), (wire::PUBACK, 2, 0), (wire::PUBREC, 3, 0x90), (wire::PUBCOMP, 9, 0x92)];
    assert_eq!(kinds(&mut bench), expected);
}

#[test]
fn a_refusal_frees_the_packet_id_where_it_can_be_told_and_is_told_on_errors_anyway() {
    for (v5, reason) in [(true, 0x99), (false, 0)] {
        let mut bench = Bench::connected(v5).subscribed(&[("twins/me/errors", 0)]);
        bench.send(&wire::publish_2(v5, "twins/me/reported", b"{", 4));
        let packets = bench.packets();
        assert_eq!((packets[0].kind(), packets[0].id(), packets[0].reason()), (wire::PUBREC, 4, reason));
        assert_eq!(packets[1].topic(), "twins/me/errors");

        bench.send(&wire::packet(0x62, &[0, 4]));
        if !v5 {
            bench.answer(Ok(Reply::Done));
        }
        assert_eq!(kinds(&mut bench), [(wire::PUBCOMP, 4, if v5 { 0x92 } else { 0 })]);
    }
}

#[test]
fn a_question_under_qos_2_is_answered_once_on_a_connection() {
    let mut bench = Bench::connected(true).subscribed(&[("twins/me/document/+", 2)]);
    let get = wire::publish_2(true, "twins/me/get/q", b"", 4);
    bench.send(&get).answer(Ok(Reply::Twin(Arc::new(Twin::default()))));
    let packets = bench.packets();
    assert_eq!(
        (packets[0].kind(), packets[1].topic(), packets[1].qos()),
        (wire::PUBREC, "twins/me/document/q", 2)
    );
    assert!(packets[1].id() > 32_767, "it is not the twin's to remember");

    bench.send(&get);
    assert!(bench.submitted.is_empty());
    assert_eq!(kinds(&mut bench), [(wire::PUBREC, 4, 0)]);
}

#[test]
fn a_receive_maximum_counts_until_the_packet_id_is_released() {
    let options = Options { in_flight_max: std::num::NonZeroU16::new(2).unwrap(), ..Options::default() };
    let mut bench = Bench::connected_with(true, options);
    for id in [1, 2] {
        bench.send(&wire::publish_2(true, "twins/me/telemetry/a", b"1", id)).answer(Ok(Reply::Done));
    }
    bench.packets();
    bench.send(&wire::packet(0x62, &[0, 1])).answer(Ok(Reply::Done));
    bench.send(&wire::publish_2(true, "twins/me/telemetry/a", b"1", 3)).answer(Ok(Reply::Done));
    assert_eq!(kinds(&mut bench), [(wire::PUBCOMP, 1, 0), (wire::PUBREC, 3, 0)]);

    bench.send(&wire::publish_2(true, "twins/me/telemetry/a", b"1", 4));
    assert_eq!((bench.packets()[0].reason(), bench.closed), (0x93, true));
}

#[test]
fn a_client_of_311_that_never_releases_is_disconnected() {
    let mut bench = Bench::connected(false);
    for id in 1..=u16::try_from(HELD_MAX).unwrap() {
        // As fast as it is read without a pause.
        bench.now += Duration::from_millis(1);
        bench.send(&wire::publish_2(false, "twins/me/telemetry/a", b"1", id)).answer(Ok(Reply::Done));
    }
    assert!(!bench.closed);
    bench.send(&wire::publish_2(false, "twins/me/telemetry/a", b"1", 9_999));
    assert!(bench.closed);
}

#[test]
fn a_command_of_qos_2_is_released_when_the_twin_knows_that_the_device_has_it() {
    for v5 in [false, true] {
        let mut bench = Bench::connected(v5).subscribed(&[("twins/me/commands", 2)]);
        let (id, delivery) = command(parcel(5, false));
        bench.deliver(delivery);
        let packets = bench.packets();
        assert_eq!((packets[0].qos(), packets[0].id(), packets[0].is_again()), (2, 5, false));

        bench.send(&wire::packet(0x50, &[0, 5]));
        assert_eq!(kinds(&mut bench), []);
        assert_eq!(bench.answer(Ok(Reply::Done)), Input::Acknowledge(Message::Command(id)));
        assert_eq!(kinds(&mut bench), [(wire::PUBREL, 5, 0)]);

        bench.send(&wire::packet(0x70, &[0, 5]));
        assert_eq!(bench.answer(Ok(Reply::Done)), Input::Complete(5));
    }
}

#[test]
fn a_command_that_is_refused_by_its_pubrec_is_rejected_and_its_packet_id_is_free() {
    let mut bench = Bench::connected(true).subscribed(&[("twins/me/commands", 2)]);
    let (id, delivery) = command(parcel(5, false));
    bench.deliver(delivery).send(&wire::packet(0x50, &[0, 5, 0x83]));

    assert!(
        matches!(bench.answer(Ok(Reply::Done)), Input::Outcome { id: of, outcome: Said::Rejected, .. } if of == id)
    );
    assert_eq!(bench.answer(Ok(Reply::Done)), Input::Complete(5));
    bench.packets();
    bench.deliver(command(parcel(5, false)).1);
    assert_eq!(kinds(&mut bench)[0].0, wire::PUBLISH);
}

#[test]
fn a_resumed_session_releases_what_was_delivered_and_sends_the_rest_again() {
    for v5 in [false, true] {
        let mut bench = Bench::with(Options::default());
        bench.v5 = v5;
        // Receive maximum 1: a release counts until it is answered.
        let properties: &[u8] = if v5 { &[17, 0, 0, 0, 60, 33, 0, 1] } else { &[] };
        bench.send(&wire::Connect { v5, clean: false, properties, ..wire::Connect::default() }.bytes());
        let filter = Name::filter("twins/me/commands").unwrap();
        let listens = Subscription { filter, topic: Topic::Commands, qos: 2, identifier: None };
        let (id, delivery) = command(parcel(8, true));
        let open = vec![open(7, Message::Desired(3), true), open(8, Message::Command(id), false)];
        bench.accept_with(true, vec![listens], Handshakes::of(Vec::new(), open)).deliver(delivery);

        let packets = bench.packets();
        assert_eq!((packets[0].body()[0], packets[1].kind(), packets[1].id()), (1, wire::PUBREL, 7));
        assert_eq!(packets.len(), if v5 { 2 } else { 3 }, "MQTT 5 said that it takes one at a time");
        bench.send(&wire::packet(0x70, &[0, 7]));
        assert_eq!(bench.answer(Ok(Reply::Done)), Input::Complete(7));

        let command = if v5 { bench.packets().remove(0) } else { packets[2].clone() };
        assert_eq!((command.kind(), command.id(), command.is_again()), (wire::PUBLISH, 8, true));
        bench.send(&wire::packet(0x50, &[0, 8])).answer(Ok(Reply::Done));
        assert_eq!(kinds(&mut bench), [(wire::PUBREL, 8, 0)]);
        bench.send(&wire::packet(0x70, &[0, 8]));
        assert!(!bench.closed);
    }
}

#[test]
fn a_resumed_session_knows_what_it_held() {
    let mut bench = Bench::with(Options::default());
    bench.send(
        &wire::Connect { clean: false, properties: &[17, 0, 0, 0, 60], ..wire::Connect::default() }.bytes(),
    );
    bench.accept_with(true, Vec::new(), Handshakes::of(vec![4], Vec::new())).packets();

    bench.send(&wire::packet(0x62, &[0, 4]));
    assert_eq!(bench.answer(Ok(Reply::Done)), Input::Release(4));
    assert_eq!(kinds(&mut bench), [(wire::PUBCOMP, 4, 0)]);
}

#[test]
fn a_client_that_takes_aliases_is_told_each_topic_once() {
    let mut bench = Bench::with(Options::default());
    bench.send(&wire::Connect { properties: &[34, 0, 1], ..wire::Connect::default() }.bytes());
    bench.accept(false, Vec::new()).packets();
    let mut bench = bench.subscribed(&[("twins/me/desired", 1), ("twins/me/errors", 1)]);
    let desired = |version| Delivery::Desired { version, patch: json("{}"), full: true, packet: None };

    bench.deliver(desired(1)).deliver(desired(2)).publish("nowhere", "", 0);

    let packets = bench.packets();
    let topics: Vec<_> = packets.iter().map(Packet::topic).collect();
    assert_eq!(topics, ["twins/me/desired", "", "twins/me/errors"], "it takes one alias");
    assert_eq!(packets[1].payload(), r#"{"version":2,"patch":{},"full":true}"#);
    assert!(packets[1].body().windows(3).any(|property| property == [35, 0, 1]));
}

#[test]
fn a_message_shows_the_numbers_of_the_subscriptions_it_comes_by() {
    let mut bench = Bench::connected(true);
    for (number, filter) in [(7, "twins/me/+"), (9, "twins/me/desired")] {
        let mut body = vec![0, 1, 2, 11, number, 0, u8::try_from(filter.len()).unwrap()];
        body.extend(filter.as_bytes());
        body.push(1);
        bench.send(&wire::packet(0x82, &body)).answer(Ok(Reply::Done));
    }
    bench.packets();

    bench.deliver(Delivery::Desired { version: 1, patch: json("{}"), full: true, packet: None });

    let body = bench.packets()[0].body().to_vec();
    assert!(body.windows(4).any(|properties| properties == [11, 7, 11, 9]), "{body:?}");
}

#[test]
fn a_session_is_kept_no_longer_than_the_operator_allows_and_that_is_said() {
    let connect = |expiry: &[u8]| {
        let options = Options { session_expiry_max: Duration::from_secs(60), ..Options::default() };
        let mut bench = Bench::with(options);
        bench.send(&wire::Connect { properties: expiry, ..wire::Connect::default() }.bytes());
        let Input::Connect { connect, .. } = bench.submitted[0].input.clone() else { panic!() };
        bench.accept(false, Vec::new());
        let told = bench.packets()[0].body().windows(5).any(|property| property == [17, 0, 0, 0, 60]);
        (connect.keep, connect.expiry_s.filter(|_| connect.keep), told)
    };

    assert_eq!(connect(&[17, 0, 0, 0, 50]), (true, Some(50), false));
    assert_eq!(connect(&[17, 0, 0, 0, 70]), (true, Some(60), true));
    assert_eq!(connect(&[17, 255, 255, 255, 255]), (true, Some(60), true));
    assert_eq!(connect(&[]), (false, None, false));
}

#[test]
fn messages_that_are_too_large_for_the_client_hold_up_none_that_follow() {
    let mut bench = Bench::with(Options::default());
    // Receive maximum 1, packets of at most 250 bytes.
    let properties = &[33, 0, 1, 39, 0, 0, 0, 250];
    bench.send(&wire::Connect { properties, ..wire::Connect::default() }.bytes());
    bench.accept(false, Vec::new()).packets();
    let mut bench = bench.subscribed(&[("twins/me/commands", 2), ("twins/me/desired", 2)]);
    let large = json(&format!("{{\"note\":\"{}\"}}", "x".repeat(300)));

    for n in 1..=u16::try_from(OPEN_MAX).unwrap() {
        let (id, mut delivery) = command(parcel(n, false));
        let Delivery::Command { payload, .. } = &mut delivery else { unreachable!() };
        *payload = large.clone().into();
        bench.deliver(delivery);
        assert!(
            matches!(bench.answer(Ok(Reply::Done)), Input::Outcome { id: of, outcome: Said::Rejected, .. } if of == id)
        );
        assert_eq!(bench.answer(Ok(Reply::Done)), Input::Complete(n), "the twin has its packet id back");
    }
    assert_eq!(kinds(&mut bench), []);
    let (version, patch, full) = (1, large, true);
    bench.deliver(Delivery::Desired { version, patch, full, packet: parcel(65, false) });
    assert_eq!(bench.answer(Ok(Reply::Done)), Input::Unsent(1), "the client never had it");
    assert_eq!(bench.answer(Ok(Reply::Done)), Input::Complete(65));
    assert!(bench.submitted.is_empty());
    bench.deliver(command(parcel(66, false)).1);

    let packets = bench.packets();
    assert_eq!((packets.len(), packets[0].kind(), packets[0].id()), (1, wire::PUBLISH, 66));
}
