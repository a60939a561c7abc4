//! What a client sends when, and what counts.

use super::*;

fn open(qos: u8, window: u16) -> (Client, Counts) {
    let mut client = Client::new("d", None, Speech { qos, window, payload: 100, about: About::Reports });
    let mut counts = Counts { from: 0, ..Counts::new() };
    client.take(b"\x20\x02\x00\x00\x90\x03\x00\x01\x00", 0, &mut counts);
    client.was_sent(client.out().len());
    assert!(client.is_open());
    (client, counts)
}

#[test]
fn a_closed_loop_keeps_its_window_full_and_no_fuller() {
    let (mut client, mut counts) = open(1, 2);
    client.set_pace(Pace::Closed);

    client.fill(100);
    assert_eq!(client.in_flight(), 2);
    client.take(b"\x40\x02\x00\x01", 5_100, &mut counts);
    client.fill(5_100);

    assert_eq!((client.in_flight(), counts.acked), (2, 1));
    assert_eq!(counts.latencies.max_us(), 5);
}

#[test]
fn an_open_loop_counts_from_when_a_message_was_meant_to_be_sent() {
    let (mut client, mut counts) = open(1, 1);
    client.set_pace(Pace::Open { first: 1_000_000, every: 1_000_000.0 });

    client.fill(999_999);
    assert_eq!(client.in_flight(), 0);
    client.fill(3_000_000);
    assert_eq!(client.in_flight(), 1, "the window holds the other two back");
    client.take(b"\x40\x02\x00\x01", 5_000_000, &mut counts);
    client.fill(5_000_000);
    client.take(b"\x40\x02\x00\x01", 5_000_000, &mut counts);

    assert_eq!(counts.latencies.quantile_us(1.0) / 10, 400);
    assert_eq!(counts.latencies.quantile_us(0.0) / 10, 300, "what waited for the window waited too");
}

#[test]
fn a_loop_ends_with_the_command_and_goes_on_when_the_outcome_is_acknowledged() {
    let speech = Speech { qos: 1, window: 1, payload: 100, about: About::Loop };
    let (mut client, mut counts) = (Client::new("d", None, speech), Counts { from: 0, ..Counts::new() });
    client.take(b"\x20\x02\x00\x00\x90\x03\x00\x01\x00", 0, &mut counts);
    assert!(!client.is_open());
    client.take(b"\x90\x03\x00\x02\x01", 0, &mut counts);
    client.was_sent(client.out().len());
    client.set_pace(Pace::Closed);
    client.fill(0);
    client.was_sent(client.out().len());
    let command = b"\x32\x1f\x00\x11twins/me/commands\x00\x05{\"id\":\"7\"}";

    client.take(command, 7_000, &mut counts);
    client.fill(7_000);
    assert_eq!(counts.acked, 1);
    assert!(client.out().ends_with(b"twins/me/commands/7/done\x00\x02{}"), "{:?}", client.out());
    client.was_sent(client.out().len());
    client.take(b"\x40\x02\x00\x01", 8_000, &mut counts);
    client.fill(8_000);
    assert!(client.out().is_empty(), "no sample before the outcome is acknowledged");
    client.take(b"\x40\x02\x00\x02", 9_000, &mut counts);
    client.fill(9_000);

    assert!(client.out().ends_with(b"25.0"));
    assert_eq!((client.in_flight(), counts.acked, counts.latencies.max_us()), (1, 1, 7));
}

#[test]
fn exactly_once_is_acknowledged_at_its_end() {
    let (mut client, mut counts) = open(2, 1);
    client.set_pace(Pace::Closed);
    client.fill(0);
    client.was_sent(client.out().len());

    client.take(b"\x50\x02\x00\x01", 10, &mut counts);
    assert_eq!((client.out(), counts.acked), (&b"\x62\x02\x00\x01"[..], 0));
    client.take(b"\x70\x02\x00\x01", 10, &mut counts);
    assert_eq!((client.in_flight(), counts.acked), (0, 1));
}

#[test]
fn at_most_once_is_acknowledged_by_a_ping() {
    let (mut client, mut counts) = open(0, 3);
    client.set_pace(Pace::Closed);
    client.fill(0);
    assert!(client.out().ends_with(&wire::PING));
    client.fill(1);
    assert_eq!(client.in_flight(), 3);

    client.take(b"\xD0\x00", 10, &mut counts);

    assert_eq!((client.in_flight(), counts.acked), (0, 3));
}

#[test]
fn what_a_node_refuses_is_an_error_with_its_reason() {
    let (mut client, mut counts) = open(1, 2);
    client.set_pace(Pace::Closed);
    client.fill(0);
    client.take(b"\x30\x06\x00\x01ewhy", 0, &mut counts);
    client.take(b"\x30\x00", 0, &mut counts);

    assert!(client.is_closed());
    assert_eq!((counts.errors, counts.why.as_deref()), (4, Some("why")));
}
