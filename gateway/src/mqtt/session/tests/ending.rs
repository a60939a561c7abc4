//! Connections end.

use twins::reply::Closed;

use super::*;

fn ends(bench: &mut Bench) -> Vec<Input> {
    bench.inputs().into_iter().map(|(_, input)| input).collect()
}

fn ended(reason: &'static str) -> Input {
    Input::Disconnect { epoch: EPOCH, reason: Name::fixed(reason) }
}

fn with_will() -> Bench {
    let mut bench = Bench::with(Options::default());
    bench.send(
        &wire::Connect { will: Some(("twins/me/reported", r#"{"on":false}"#)), ..wire::Connect::default() }
            .bytes(),
    );
    bench.accept(false, Vec::new()).packets();
    bench
}

#[test]
fn the_twin_hears_of_the_end_once() {
    let mut bench = Bench::connected(true);
    bench.send(&wire::disconnect());
    assert_eq!(ends(&mut bench), [ended("closed by the client")]);
    assert!(bench.closed && !bench.session.is_over());

    bench.session.lost(bench.now, "reset");
    bench.act();
    assert_eq!(bench.answer(Ok(Reply::Done)), ended("closed by the client"));
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
fn an_input_of_an_ended_session_ends_the_connection() {
    let mut bench = Bench::connected(true);
    bench.publish("twins/me/telemetry/a", "1", 1);
    bench.answer(rejected(Code::SessionEnded));
    assert_eq!((bench.packets()[0].reason(), bench.closed), (0x8E, true));
}

#[test]
fn a_will_is_said_unless_the_client_says_goodbye() {
    let will = Input::Report(json(r#"{"on":false}"#));

    let mut bench = with_will();
    bench.session.lost(bench.now, "reset");
    bench.act();
    assert_eq!(ends(&mut bench), [will.clone(), ended("connection lost")]);

    let mut bench = with_will();
    bench.send(&wire::disconnect());
    assert_eq!(ends(&mut bench), [ended("closed by the client")]);

    let mut bench = with_will();
    bench.send(&wire::packet(0xE0, &[4, 0]));
    assert_eq!(ends(&mut bench), [will.clone(), ended("closed by the client")]);

    let mut bench = with_will();
    bench.deliver(Delivery::Close(Closed::TakenOver));
    assert_eq!(ends(&mut bench), [will]);
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
    let last_words = |bench: &mut Bench| -> Vec<Input> {
        bench.session.last_words().into_iter().map(|submission| submission.input).collect()
    };
    let will = Input::Report(json(r#"{"on":false}"#));

    let mut bench = with_will();
    assert_eq!(last_words(&mut bench), [will, ended("cut off")]);

    let mut bench = Bench::with(Options::default());
    bench.send(&wire::Connect::default().bytes());
    assert_eq!(last_words(&mut bench), [], "its twin has not let it in yet");

    let mut bench = Bench::connected(true);
    bench.session.lost(bench.now, "reset");
    bench.act().answer(Ok(Reply::Done));
    assert_eq!(last_words(&mut bench), [], "it was told in order");
}
