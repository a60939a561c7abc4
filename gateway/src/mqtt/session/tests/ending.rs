//! Connections end.

use twins::reply::Closed;
use twins::will::{WILL_BYTES_MAX, Will, Words};

use super::*;

fn ends(bench: &mut Bench) -> Vec<Input> {
    bench.inputs().into_iter().map(|(_, input)| input).collect()
}

/// An end without a goodbye.
fn ended(reason: &'static str) -> Input {
    ended_with(reason, true, None)
}

fn ended_with(reason: &'static str, with_will: bool, expiry_s: Option<u32>) -> Input {
    Input::Disconnect { epoch: EPOCH, reason: Name::fixed(reason), with_will, expiry_s }
}

#[test]
fn the_twin_hears_of_the_end_once() {
    let mut bench = Bench::connected(true);
    bench.send(&wire::disconnect());
    assert_eq!(ends(&mut bench), [ended_with("closed by the client", false, None)]);
    assert!(bench.closed && !bench.session.is_over());

    bench.session.lost(bench.now, "reset");
    bench.act();
    assert_eq!(bench.answer(Ok(Reply::Done)), ended_with("closed by the client", false, None));
    assert!(bench.session.is_over() && bench.submitted.is_empty() && bench.packets().is_empty());
}

#[test]
fn the_end_is_told_until_the_twin_has_it() {
    let mut bench = Bench::connected(true);
    bench.session.lost(bench.now, "reset");
    bench.act().answer(Err(Error::Unknown { shard: 0, why: "it moved".into() }));

    bench.pass(Duration::from_millis(10));
    assert_eq!(bench.answer(Ok(Reply::Done)), ended("connection lost"));
    assert!(bench.session.is_over());
}

#[test]
fn nobody_tells_the_end_for_ever() {
    let mut bench = Bench::connected(true);
    bench.session.lost(bench.now, "reset");
    bench.act().pass(Duration::from_secs(20));
    assert!(bench.session.is_over());
}

#[test]
fn a_client_that_goes_while_its_twin_is_told_is_gone_for_the_twin_too() {
    let mut bench = Bench::with(Options::default());
    bench.send(&wire::Connect::default().bytes());
    bench.session.lost(bench.now, "reset");
    bench.act();
    assert!(!bench.session.is_over());

    bench.accept(false, Vec::new());
    assert!(bench.packets().is_empty());
    assert_eq!(ends(&mut bench), [ended("connection lost")]);
}

#[test]
fn who_is_taken_over_is_told_and_the_twin_knows() {
    for v5 in [false, true] {
        let mut bench = Bench::connected(v5);
        bench.deliver(Delivery::Close(Closed::TakenOver));

        let told: Vec<_> = bench.packets().iter().map(|packet| (packet.kind(), packet.reason())).collect();
        assert_eq!(told, if v5 { vec![(wire::DISCONNECT, 0x8E)] } else { vec![] });
        assert!(bench.closed && bench.session.is_over() && bench.submitted.is_empty());
    }
}

#[test]
fn who_is_shut_out_says_nothing_more() {
    let mut bench = Bench::connected(true);

    bench.session.shut_out(bench.now);
    bench.act();

    assert_eq!((bench.packets()[0].reason(), bench.closed), (0x87, true));
    assert_eq!(ends(&mut bench), [ended_with("not authorized", false, None)]);
}

#[test]
fn an_input_of_an_ended_session_ends_the_connection() {
    let mut bench = Bench::connected(true);
    bench.publish("twins/me/telemetry/a", "1", 1);
    bench.answer(rejected(Code::SessionEnded));
    assert_eq!((bench.packets()[0].reason(), bench.closed), (0x8E, true));
}

#[test]
fn a_will_is_the_twins_from_the_connect_on() {
    let will = |will: (&str, &str)| {
        let mut bench = Bench::with(Options::default());
        bench.send(&wire::Connect { will: Some(will), ..wire::Connect::default() }.bytes());
        match bench.submitted.pop_front().map(|submission| submission.input) {
            Some(Input::Connect { connect, .. }) => connect.will.map(|will| *will),
            _ => None,
        }
    };

    let words = Words::Report(json(r#"{"on":false}"#));
    assert_eq!(will(("twins/me/reported", r#"{"on":false}"#)), Some(Will { words, delay_s: 0, due: None }));
    let long = format!("{:?}", "x".repeat(WILL_BYTES_MAX));
    assert_eq!(will(("twins/me/telemetry/a", &long)), None);
}

#[test]
fn a_disconnect_says_whether_the_will_is_to_be_said() {
    let mut bench = Bench::connected(true);
    bench.send(&wire::packet(0xE0, &[4, 0]));
    assert_eq!(ends(&mut bench), [ended("closed by the client")]);

    let mut bench = Bench::connected(true);
    bench.send(&wire::packet(0xE0, &[0, 0]));
    assert_eq!(ends(&mut bench), [ended_with("closed by the client", false, None)]);
}

#[test]
fn a_disconnect_changes_for_how_long_a_session_is_kept_but_not_whether() {
    let mut bench = Bench::with(Options::default());
    bench.send(&wire::Connect { properties: &[17, 0, 0, 0, 60], ..wire::Connect::default() }.bytes());
    bench.accept(false, Vec::new()).send(&wire::packet(0xE0, &[0, 5, 17, 0, 0, 0, 7]));
    assert_eq!(ends(&mut bench), [ended_with("closed by the client", false, Some(7))]);

    let mut bench = Bench::connected(true);
    bench.send(&wire::packet(0xE0, &[0, 5, 17, 0, 0, 0, 7]));
    assert_eq!(bench.packets()[0].reason(), 0x82);
    assert_eq!(ends(&mut bench), [ended("protocol error")]);
}

#[test]
fn a_silent_client_is_closed_after_one_and_a_half_keep_alives() {
    let mut bench = Bench::connected(true);
    bench.pass(Duration::from_secs(89));
    assert!(!bench.closed);

    bench.pass(Duration::from_secs(1));
    assert_eq!((bench.packets()[0].reason(), bench.closed), (0x8D, true));
    assert_eq!(ends(&mut bench), [ended("keep-alive expired")]);
}

#[test]
fn a_node_that_stops_says_so() {
    let mut bench = Bench::connected(true);
    bench.session.stop(bench.now);
    bench.act();
    assert_eq!((bench.packets()[0].reason(), bench.closed), (0x8B, true));
    assert_eq!(ends(&mut bench), [ended("server shutting down")]);
}

#[test]
fn a_node_that_stops_answers_first_what_was_said() {
    let mut bench = Bench::connected(true);
    bench.publish("twins/me/telemetry/a", "1", 1).publish("twins/me/telemetry/a", "2", 2);
    bench.session.stop(bench.now);
    bench.act();
    assert!(!bench.closed && !bench.session.listens());

    bench.answer(Ok(Reply::Done));
    bench.answer(Ok(Reply::Done));

    let kinds: Vec<_> = bench.packets().iter().map(|packet| packet.kind()).collect();
    assert_eq!(kinds, [wire::PUBACK, wire::PUBACK, wire::DISCONNECT]);
    assert!(bench.closed);
}

#[test]
fn a_node_that_stops_does_not_wait_for_ever() {
    let mut bench = Bench::connected(true);
    bench.publish("twins/me/telemetry/a", "1", 1);
    bench.session.stop(bench.now);
    bench.act();
    assert!(!bench.closed);

    bench.pass(Duration::from_secs(2));

    assert_eq!((bench.packets()[0].reason(), bench.closed), (0x8B, true));
}

#[test]
fn the_twin_of_a_connection_that_is_cut_off_hears_so_once() {
    let cut_off = |bench: &mut Bench, late| bench.session.last_words(late).map(|submission| submission.input);

    let mut bench = Bench::connected(true);
    assert_eq!(cut_off(&mut bench, None), Some(ended("cut off")));

    let mut bench = Bench::with(Options::default());
    bench.send(&wire::Connect::default().bytes());
    assert_eq!(cut_off(&mut bench, None), None, "its twin has not let it in yet");
    assert_eq!(cut_off(&mut bench, Some(EPOCH)), Some(ended("cut off")), "it has, and nobody looked");

    let mut bench = Bench::connected(true);
    bench.session.lost(bench.now, "reset");
    bench.act().answer(Ok(Reply::Done));
    assert_eq!(cut_off(&mut bench, None), None, "it was told in order");
}
