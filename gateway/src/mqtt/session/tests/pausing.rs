//! Devices that speak faster than they may, or ask for more than they read.

use std::num::NonZeroU32;

use runtime::directory::Limits;

use super::*;
use crate::quotas::Account;

/// 1,000 packets a second, of which 20 pass at once.
fn paced() -> Bench {
    let mut bench = Bench::connected(false);
    let limits = Limits { device_messages_per_s: NonZeroU32::new(1_000), ..Limits::default() };
    bench.session.account = Some(Account::alone(limits));
    bench.pass(Duration::from_secs(1));
    bench
}

fn samples(count: u16) -> Vec<u8> {
    (1..=count).flat_map(|id| wire::publish(false, "twins/me/telemetry/a", b"1", id)).collect()
}

#[test]
fn what_comes_faster_than_it_may_is_read_later_and_nothing_is_lost() {
    let mut bench = paced();

    bench.send(&samples(50));
    assert_eq!((bench.submitted.len(), bench.session.listens()), (21, false));
    assert_eq!(bench.session.next_timeout(), Some(bench.now + Duration::from_millis(1)));
    for more in 22..=50 {
        bench.pass(Duration::from_millis(1));
        assert_eq!(bench.submitted.len(), more);
    }
    bench.pass(Duration::from_millis(1));

    assert!(bench.session.listens() && !bench.closed);
    assert_eq!(bench.inputs().iter().map(|(n, _)| *n).collect::<Vec<_>>(), (1..=50).collect::<Vec<_>>());
    assert_eq!((bench.session.paused(), bench.session.paused()), (30, 0));
}

#[test]
fn what_was_said_before_a_pause_is_answered_in_it() {
    let mut bench = paced();
    bench.send(&samples(50));

    for _ in 0..21 {
        bench.answer(Ok(Reply::Done));
    }

    assert_eq!((bench.packets().len(), bench.submitted.len(), bench.session.listens()), (21, 0, false));
}

#[test]
fn a_device_that_rests_has_a_burst_again() {
    let mut bench = paced();
    bench.send(&samples(21));
    assert!(!bench.session.listens());

    bench.pass(Duration::from_millis(21));
    bench.send(&samples(21));

    assert_eq!(bench.submitted.len(), 42);
}

#[test]
fn many_bytes_pause_as_many_packets_do_and_the_keep_alive_stands_still() {
    let mut bench = Bench::connected(false);
    let limits = Limits { device_bytes_per_s: NonZeroU32::new(1_000), ..Limits::default() };
    bench.session.account = Some(Account::alone(limits));
    bench.pass(Duration::from_secs(1));
    let large = format!("{:?}", "x".repeat(200_000));

    bench.publish("twins/me/telemetry/a", &large, 1);
    bench.answer(Ok(Reply::Done));
    // Longer than one and a half times the keep-alive of 60 s.
    bench.pass(Duration::from_secs(195));
    assert!(!bench.session.listens() && !bench.closed);

    bench.pass(Duration::from_secs(10));
    assert!(bench.session.listens() && !bench.closed);
}

#[test]
fn a_large_answer_waits_until_those_before_it_are_written() {
    let mut bench = Bench::connected(true).subscribed(&[("twins/me/methods/#", 0)]);
    let questions: Vec<u8> =
        (1..=40).flat_map(|id| wire::publish(true, "twins/me/methods/m/1", b"", id)).collect();
    bench.send(&questions);
    let large = json(&format!("{:?}", "x".repeat(60_000)));

    let asked = std::mem::take(&mut bench.submitted).into_iter();
    let outcome = || Ok(Reply::Returned(large.clone()));
    let mut mail = asked.map(|asked| Mail::Reply { token: asked.token, outcome: outcome() }).collect();
    bench.session.mail(bench.now, &mut mail);
    let mut written = Vec::new();
    loop {
        let bytes = bench.session.actions().bytes;
        if bytes.is_empty() {
            break;
        }
        assert!(bytes.len() < 400_000, "{} at once", bytes.len());
        written.extend(bytes);
        bench.session.written(bench.now);
    }

    let replies = wire::split(&written, true);
    let replies = replies.iter().filter(|packet| packet.kind() == wire::PUBLISH);
    assert_eq!(replies.count(), 40);
}
