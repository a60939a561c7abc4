//! The judge of the survival tests is judged: it keeps quiet about a history that is in order, and names each promise
//! that was broken on purpose.

#[allow(dead_code, reason = "the oracle is tested, nothing is tortured")]
#[path = "support/history.rs"]
mod history;

use std::time::Duration;

use history::{History, LATEST, Shown, Step, What, command_name};

const TTL: Duration = Duration::from_secs(1);

/// A history of one acknowledged sample (1), report (2), timer (3) and repeated command (4), and what a node that kept
/// all of it shows.
fn kept() -> (History, Shown) {
    let history = History::default();
    for what in [What::Sample, What::Report, What::Arm, What::Command { repeated: true, ttl: TTL }] {
        let serial = history.say("t", what);
        history.acknowledged(serial);
    }
    history.taken(4, "id-4");
    history.read("t", || Some(2));
    let steps = [("queued", 0), ("sent", 10), ("delivered", 20), ("done", 30)];
    let steps = steps.map(|(state, at_ms)| step(4, state, at_ms)).to_vec();
    (history, Shown { n: 2, samples: vec![1], fired: vec![3], told: vec![3], steps })
}

fn step(serial: u64, state: &str, at_ms: u64) -> Step {
    Step { id: format!("id-{serial}"), name: command_name(serial), state: state.to_owned(), at_ms }
}

#[track_caller]
fn check(change: impl FnOnce(&History, &mut Shown), names: &str) {
    let (history, mut shown) = kept();
    change(&history, &mut shown);

    let broken = history.broken("t", &shown);

    assert!(broken.iter().any(|broken| broken.contains(names)), "{broken:?}");
}

#[test]
fn a_history_that_is_in_order_is_passed() {
    let (history, shown) = kept();
    history.say("t", What::Sample);
    assert_eq!(history.broken("t", &shown), Vec::<String>::new(), "what was not acknowledged may be lost");
    assert_eq!((history.promises(), history.reads(), history.open_commands("t", &shown)), (4, 1, 0));
}

#[test]
fn what_is_lost_twice_or_out_of_nowhere_is_named() {
    check(|_, shown| shown.samples.clear(), "Sample 1 was acknowledged and is not in the history");
    check(|_, shown| shown.samples.push(1), "Sample 1 is in the history 2 times");
    check(|_, shown| shown.samples.push(2), "Sample 2 was never said");
    check(|_, shown| shown.fired.clear(), "Arm 3 was acknowledged and is not fired");
    check(|_, shown| shown.fired.push(3), "Arm 3 is fired 2 times");
    check(|_, shown| shown.told.clear(), "Arm 3 was acknowledged and is not told to the neighbour");
    check(|_, shown| shown.told.push(3), "Arm 3 is told to the neighbour 2 times");
}

#[test]
fn samples_out_of_order_are_named_unless_the_client_mixed_them() {
    let swap = |history: &History, shown: &mut Shown| {
        shown.samples.insert(0, history.say("t", What::Sample));
    };
    check(swap, "out of order");

    let (history, mut shown) = kept();
    swap(&history, &mut shown);
    history.unordered("t");
    assert_eq!(history.broken("t", &shown), Vec::<String>::new());
}

#[test]
fn a_report_that_goes_back_is_named() {
    check(|_, shown| shown.n = 1, "report 2 was acknowledged, the twin has 1");
    check(|history, _| history.read("t", || Some(0)), "a read saw report 0 after 2 was acknowledged");
    check(|history, _| history.read("t", || Some(9)), "a read saw report 9 before it was said");
    let back = |history: &History, shown: &mut Shown| {
        let later = history.say("t", What::Report);
        shown.n = later;
        history.read("t", || Some(later));
        std::thread::sleep(Duration::from_millis(1));
        history.read("t", || Some(2));
    };
    check(back, "a read saw report 2 after one that saw Some(5)");
}

#[test]
fn a_command_without_its_one_end_is_named() {
    check(|_, shown| shown.steps.truncate(3), "command id-4 was taken and never ended");
    check(|_, shown| shown.steps.push(step(4, "expired", 40)), "command id-4 ended 2 times");
    check(|_, shown| shown.steps.push(step(4, "sent", 40)), "command-4 was sent after its end");
    check(|_, shown| shown.steps.insert(3, step(4, "sent", 1_000)), "command-4 was sent after its time");
    check(|_, shown| shown.steps.push(step(7, "queued", 40)), "command-7 was never said");
    let again = |_: &History, shown: &mut Shown| {
        shown.steps.push(Step { id: "another".to_owned(), ..step(4, "queued", 40) });
    };
    check(again, "command-4 was said again, and queued again");
}

#[test]
fn a_command_that_an_older_one_outlives_is_named() {
    let (history, mut shown) = kept();
    let latest = |id: &str, state: &str, at_ms| Step {
        id: id.to_owned(),
        name: LATEST.to_owned(),
        state: state.to_owned(),
        at_ms,
    };
    for id in ["a", "b"] {
        let serial = history.say("t", What::Latest);
        history.taken(serial, id);
    }
    let whole =
        [("a", "queued", 1), ("a", "sent", 2), ("a", "superseded", 3), ("b", "queued", 3), ("b", "done", 4)];
    let before = shown.steps.clone();

    shown.steps.extend(whole.map(|(id, state, at_ms)| latest(id, state, at_ms)));
    assert_eq!(history.broken("t", &shown), Vec::<String>::new());

    shown.steps = before;
    shown
        .steps
        .extend([whole[0], whole[3], whole[2], whole[4]].map(|(id, state, at_ms)| latest(id, state, at_ms)));
    let broken = history.broken("t", &shown);
    assert!(broken[0].contains("latest was queued before the older ones had ended"), "{broken:?}");
}
