//! Devices hear.

use twins::command::CommandId;
use twins::input::{Message, Said};
use twins::session::Topic;
use twins::time::Timestamp;

use super::*;

fn command() -> (CommandId, Delivery) {
    let id: CommandId = "0198c0de-0000-7000-8000-000000000001".parse().unwrap();
    let delivery = Delivery::Command {
        id,
        name: Name::fixed("reboot"),
        payload: json("{}").into(),
        deadline: Timestamp::from_millis(60_000),
        attempt: 1,
        trace: None,
        packet: None,
    };
    (id, delivery)
}

fn desired(version: u64) -> Delivery {
    Delivery::Desired { version, patch: json("{}"), full: true, packet: None }
}

#[test]
fn a_suback_follows_the_commit_and_comes_before_what_it_brings() {
    let mut bench = Bench::connected(true);
    bench.subscribe(&[("twins/me/desired", 2), ("twins/me/errors", 0)]);
    assert!(bench.packets().is_empty());

    let submission = bench.submitted.pop_front().unwrap();
    let reply = Mail::Reply { token: submission.token, outcome: Ok(Reply::Done) };
    bench.session.mail(bench.now, &mut vec![reply, Mail::Delivery { epoch: EPOCH, what: desired(3) }]);
    bench.act();

    let packets = bench.packets();
    assert_eq!((packets[0].kind(), packets[0].reasons()), (wire::SUBACK, &[2, 0][..]));
    assert_eq!(
        (packets[1].kind(), packets[1].topic(), packets[1].qos()),
        (wire::PUBLISH, "twins/me/desired", 1)
    );
}

#[test]
fn a_wildcard_is_one_subscription_for_each_thing_it_selects() {
    let mut bench = Bench::connected(true);
    bench.subscribe(&[("twins/me/#", 1)]);

    let Input::Subscribe(subscriptions) = bench.answer(Ok(Reply::Done)) else { panic!() };
    let topics: Vec<_> = subscriptions.iter().map(|subscription| subscription.topic).collect();
    use Topic::*;
    assert_eq!(topics, [Desired, Commands, Requests, Methods, Document, Errors, Credentials]);
}

#[test]
fn a_filter_that_is_refused_is_refused_alone() {
    for (v5, reasons) in [(true, [1, 0x87, 0x8F, 0x9E]), (false, [1, 0x80, 0x80, 0x80])] {
        let mut bench = Bench::connected(v5);
        bench.subscribe(&[
            ("twins/me/desired", 1),
            ("#", 1),
            ("twins/me/x", 1),
            ("$share/g/twins/me/desired", 1),
        ]);
        let Input::Subscribe(subscriptions) = bench.answer(Ok(Reply::Done)) else { panic!() };
        assert_eq!(subscriptions.len(), 1);
        let packets = bench.packets();
        assert_eq!(packets[0].reasons(), reasons);
    }
}

#[test]
fn a_message_is_acknowledged_by_the_device_alone() {
    let mut bench = Bench::connected(true).subscribed(&[("twins/me/commands", 1), ("twins/me/desired", 1)]);
    let (id, delivery) = command();

    bench.deliver(delivery).deliver(desired(8));
    let packets = bench.packets();
    let expected = concat!(
        r#"{"id":"0198c0de-0000-7000-8000-000000000001","name":"reboot","payload":{},"#,
        r#""deadline":"1970-01-01T00:01:00.000Z","attempt":1}"#
    );
    assert_eq!((packets[0].topic(), packets[0].payload()), ("twins/me/commands", expected));
    assert!(bench.submitted.is_empty());

    bench.send(&wire::puback(packets[0].id())).send(&wire::puback(packets[1].id()));
    let acknowledged =
        [(2, Input::Acknowledge(Message::Command(id))), (3, Input::Acknowledge(Message::Desired(8)))];
    assert_eq!(bench.inputs(), acknowledged);
}

#[test]
fn under_qos_0_a_command_counts_as_delivered_when_it_is_written() {
    let mut bench = Bench::connected(false).subscribed(&[("twins/me/#", 0)]);
    let (id, delivery) = command();

    bench.deliver(delivery).deliver(desired(1));

    assert_eq!(bench.packets().len(), 2);
    assert_eq!(bench.inputs(), [(2, Input::Acknowledge(Message::Command(id)))]);
}

#[test]
fn a_command_that_is_refused_by_its_puback_is_rejected() {
    let mut bench = Bench::connected(true).subscribed(&[("twins/me/commands", 1)]);
    let (id, delivery) = command();
    bench.deliver(delivery);
    let packet_id = bench.packets()[0].id().to_be_bytes();

    bench.send(&wire::packet(0x40, &[packet_id[0], packet_id[1], 0x83]));

    assert!(
        matches!(bench.inputs()[0].1, Input::Outcome { id: of, outcome: Said::Rejected, .. } if of == id)
    );
}

#[test]
fn no_more_is_sent_than_the_client_takes_at_once() {
    let mut bench = Bench::with(Options::default());
    bench.send(&wire::Connect { properties: &[33, 0, 1], ..wire::Connect::default() }.bytes());
    bench.accept(false, Vec::new()).packets();
    let mut bench = bench.subscribed(&[("twins/me/desired", 1)]);

    bench.deliver(desired(1)).deliver(desired(2));
    let first = bench.packets();
    assert_eq!(first.len(), 1);
    bench.send(&wire::puback(first[0].id()));
    assert_eq!(bench.packets()[0].payload(), r#"{"version":2,"patch":{},"full":true}"#);
}

#[test]
fn a_command_that_is_larger_than_the_client_takes_is_rejected() {
    let mut bench = Bench::with(Options::default());
    bench.send(&wire::Connect { properties: &[39, 0, 0, 0, 80], ..wire::Connect::default() }.bytes());
    bench.accept(false, Vec::new()).packets();
    let mut bench = bench.subscribed(&[("twins/me/commands", 1)]);
    let (id, delivery) = command();

    bench.deliver(delivery);

    assert!(bench.packets().is_empty());
    assert!(
        matches!(bench.inputs()[0].1, Input::Outcome { id: of, outcome: Said::Rejected, .. } if of == id)
    );
}

#[test]
fn a_request_that_the_filters_leave_out_is_answered_at_once() {
    let mut bench = Bench::connected(true).subscribed(&[("twins/me/requests/reboot/+", 0)]);
    let request =
        |name| Delivery::Request { id: Name::fixed("r1"), name, payload: json("1").into(), trace: None };

    bench.deliver(request(Name::fixed("reboot")));
    let packets = bench.packets();
    assert_eq!((packets[0].topic(), packets[0].payload()), ("twins/me/requests/reboot/r1", "1"));

    bench.deliver(request(Name::fixed("ping")));
    assert!(bench.packets().is_empty());
    assert_eq!(bench.responses[0].response.status, 404);
}

#[test]
fn what_is_unsubscribed_is_heard_no_more() {
    let mut bench = Bench::connected(true).subscribed(&[("twins/me/desired", 1)]);
    bench.send(&wire::unsubscribe(true, 2, &["twins/me/desired"]));
    assert!(
        matches!(bench.answer(Ok(Reply::Done)), Input::Unsubscribe(filters) if &*filters[0] == "twins/me/desired")
    );
    assert_eq!(bench.packets()[0].kind(), wire::UNSUBACK);

    bench.deliver(desired(1));
    assert!(bench.packets().is_empty());
}

#[test]
fn a_ping_is_answered() {
    for v5 in [false, true] {
        let mut bench = Bench::connected(v5);
        bench.send(&wire::ping());
        assert_eq!(bench.packets()[0].kind(), wire::PINGRESP);
    }
}

#[test]
fn what_is_told_again_goes_to_the_device_unless_it_did_before() {
    let mut bench = Bench::connected(true).subscribed(&[("twins/me/commands", 1), ("twins/me/desired", 1)]);
    let (id, delivery) = command();
    let again = |what| Mail::Redelivery { epoch: EPOCH, what };
    bench.deliver(delivery.clone());
    let sent = bench.packets();

    bench.mail(again(delivery.clone())).mail(again(desired(3)));
    let packets = bench.packets();
    assert_eq!(packets.iter().map(|packet| packet.topic()).collect::<Vec<_>>(), ["twins/me/desired"]);

    bench.send(&wire::puback(sent[0].id())).mail(again(delivery.clone()));
    assert!(bench.packets().is_empty(), "that it has it is on its way to the twin");

    assert_eq!(bench.answer(Ok(Reply::Done)), Input::Acknowledge(Message::Command(id)));
    bench.mail(again(delivery));
    assert_eq!(bench.packets().len(), 1, "the twin does not know of it all the same");
}

#[test]
fn what_was_not_taken_is_said_again_at_once_when_another_node_leads() {
    let mut bench = Bench::connected(true).subscribed(&[("twins/me/commands", 1)]);
    let (id, delivery) = command();
    bench.deliver(delivery);
    let sent = bench.packets();
    bench.send(&wire::puback(sent[0].id()));
    bench.answer(overloaded());
    assert!(bench.submitted.is_empty());

    bench.mail(Mail::Again);

    assert_eq!(bench.inputs(), [(2, Input::Acknowledge(Message::Command(id)))]);
}
