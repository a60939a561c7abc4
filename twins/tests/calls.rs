//! Twins that call each other: what arrives, what comes back, and what is cut.

use twins::prelude::*;
use twins::testing::{Bench, Fleet};

const PRESS: Telemetry<String> = Telemetry::named("press");
const ADD: Method<u64, u64> = Method::named("add");
const PASS_ON: Method<String, ()> = Method::named("pass-on");
const MISSING: Method<(), ()> = Method::named("missing");
const LATER: Timer = Timer::named("later");
const CALL_REFUSED: Event<Refused> = Event::named("call-refused");
const CALL_CUT: Event<Cut> = Event::named("call-cut");

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Refused {
    twin: String,
    method: String,
    code: String,
    message: String,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Cut {
    twin: String,
    method: String,
    hops: u32,
}

/// Calls whom it is told to.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Button {
    passed_on: u64,
}

impl Behavior for Button {
    const KIND: &'static str = "button";

    fn routes(on: &mut Routes<Self>) {
        on.telemetry(&PRESS, Self::pressed).method(&PASS_ON, Self::pass_on).timer(LATER, Self::later);
    }
}

impl Button {
    fn pressed(&mut self, whom: String, fx: &mut Effects) -> Result<(), Rejection> {
        match whom.as_str() {
            "later" => fx.arm(LATER, Duration::from_secs(5)),
            "refused" => {
                fx.call("sum", &ADD, &1);
                return Err(Rejection::because("not today"));
            }
            "no id" | "huge" => {
                fx.call("sum", &ADD, &1);
                (0..8).for_each(|_| {
                    fx.call(if whom == "huge" { "sum" } else { "no id" }, &PASS_ON, &"x".repeat(200_000))
                });
            }
            "all" => {
                (1..=3).for_each(|n| fx.call("sum", &ADD, &n));
                fx.call("sum", &MISSING, &());
            }
            "echo" => fx.call("a", &PASS_ON, &"b".to_owned()),
            whom => fx.call(whom, &ADD, &1),
        }
        Ok(())
    }

    fn pass_on(&mut self, whom: String, fx: &mut Effects) -> Result<(), Rejection> {
        self.passed_on += 1;
        let me = fx.twin().id().to_owned();
        fx.call(&whom, &PASS_ON, &me);
        Ok(())
    }

    fn later(&mut self, fx: &mut Effects) {
        fx.call("sum", &ADD, &100);
    }
}

/// Adds up, in order; 13 is refused.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Sum {
    seen: Vec<u64>,
}

impl Behavior for Sum {
    const KIND: &'static str = "sum";

    fn routes(on: &mut Routes<Self>) {
        on.method(&ADD, Self::add);
    }
}

impl Sum {
    fn add(&mut self, n: u64, _: &mut Effects) -> Result<u64, Rejection> {
        self.seen.push(n);
        Ok(self.seen.iter().sum())
    }
}

fn fleet() -> Fleet {
    let mut fleet = Fleet::default();
    fleet.add::<Button>("a").add::<Button>("b").add::<Sum>("sum");
    fleet
}

fn press(fleet: &mut Fleet, whom: &str) {
    fleet.with("a", |button: &mut Bench<Button>| drop(button.try_telemetry(&PRESS, &whom.to_owned())));
}

fn seen(fleet: &mut Fleet) -> Vec<u64> {
    fleet.with("sum", |sum: &mut Bench<Sum>| sum.state().seen.clone())
}

fn refused(fleet: &mut Fleet) -> Vec<Refused> {
    fleet.with("a", |button: &mut Bench<Button>| button.emitted(&CALL_REFUSED))
}

#[test]
fn calls_arrive_in_order_and_say_who_called() {
    let mut fleet = fleet();

    press(&mut fleet, "all");

    assert_eq!(seen(&mut fleet), [1, 2, 3]);
    let by = fleet.with("sum", |sum: &mut Bench<Sum>| {
        let last = sum.journal().last().unwrap();
        (last.header.principal.to_string(), last.header.cause.as_ref().unwrap().ordinal)
    });
    assert_eq!(by, ("twin:a".to_owned(), 2));
}

#[test]
fn a_refused_call_is_announced_by_the_twin_that_called() {
    let mut fleet = fleet();

    press(&mut fleet, "all");
    press(&mut fleet, "nobody");

    let [method, twin] = refused(&mut fleet).try_into().unwrap();
    assert_eq!((&*method.twin, &*method.method, &*method.code), ("sum", "missing", "unknown-method"));
    assert_eq!((&*twin.twin, &*twin.method, &*twin.code), ("nobody", "add", "unknown-twin"));
    assert_eq!(twin.message, "no twin `nobody`");
}

#[test]
fn a_handler_that_refuses_calls_nobody() {
    let mut fleet = fleet();

    press(&mut fleet, "refused");
    press(&mut fleet, "no id");
    press(&mut fleet, "huge");

    assert_eq!(
        seen(&mut fleet),
        [0; 0],
        "what cannot be called, or is too much at once, refuses the whole input"
    );
}

#[test]
fn twins_that_call_each_other_in_a_circle_are_cut() {
    let mut fleet = fleet();

    press(&mut fleet, "echo");

    let passed_on =
        |fleet: &mut Fleet, id| fleet.with(id, |button: &mut Bench<Button>| button.state().passed_on);
    assert_eq!(passed_on(&mut fleet, "a") + passed_on(&mut fleet, "b"), 16);
    let cut = |fleet: &mut Fleet, id| fleet.with(id, |button: &mut Bench<Button>| button.emitted(&CALL_CUT));
    let cut: Vec<_> = cut(&mut fleet, "a").into_iter().chain(cut(&mut fleet, "b")).collect();
    assert_eq!(cut, [Cut { twin: "a".into(), method: "pass-on".into(), hops: 16 }]);
}

#[test]
fn one_clock_fires_the_timers_of_all() {
    let mut fleet = fleet();
    press(&mut fleet, "later");

    fleet.pass(Duration::from_secs(4));
    assert_eq!(seen(&mut fleet), [0; 0]);

    fleet.pass(Duration::from_secs(1));
    assert_eq!(seen(&mut fleet), [100]);
}

#[test]
fn a_bench_of_one_twin_shows_whom_it_calls() {
    let mut bench = Bench::<Button>::default();

    bench.telemetry(&PRESS, &"pump".to_owned()).telemetry(&PRESS, &"lamp".to_owned());

    assert_eq!(bench.called(&ADD), [("pump".to_owned(), 1), ("lamp".to_owned(), 1)]);
    assert_eq!(bench.called(&ADD), []);
}
