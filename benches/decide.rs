//! What one decision costs, by the size of the behaviour's state: accepted, refused, and without a handler.
//!
//! `cargo bench --bench decide`. Nanoseconds for each decision, the best of seven rounds; no log, no I/O.

#![allow(clippy::print_stdout, reason = "a benchmark prints its figures")]

use std::collections::BTreeMap;
use std::hint::black_box;
use std::time::{Duration, Instant};

use twinfold::prelude::*;
use twinfold::twins::decide::Live;
use twinfold::twins::header::Header;
use twinfold::twins::input::Input;
use twinfold::twins::json::Json;
use twinfold::twins::kind::{Kind, Kinds};
use twinfold::twins::name::Name;

const COUNT: Telemetry<u64> = Telemetry::named("count");
const FILL: Telemetry<u64> = Telemetry::named("fill");

/// A state of any size: a counter, and lines that fill it.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Filled {
    count: u64,
    lines: BTreeMap<u64, String>,
}

impl Behavior for Filled {
    const KIND: &'static str = "filled";

    fn routes(on: &mut Routes<Self>) {
        on.telemetry(&COUNT, Self::count).telemetry(&FILL, Self::fill);
    }
}

impl Filled {
    fn count(&mut self, n: u64, _: &mut Effects) -> Result<(), Rejection> {
        self.count += n;
        if n == 0 { Err(Rejection::because("nothing to count")) } else { Ok(()) }
    }

    fn fill(&mut self, bytes: u64, _: &mut Effects) {
        self.lines = (0..bytes / 64).map(|line| (line, "x".repeat(56))).collect();
    }
}

fn main() {
    println!("{:>8} {:>12} {:>12} {:>12}", "state", "accepted", "refused", "no handler");
    for bytes in [0, 500, 16_000, 60_000] {
        let [accepted, refused, other] =
            [sample("count", 1), sample("count", 0), sample("other", 1)].map(|input| cost(bytes, &input));
        println!("{bytes:>6} B {accepted:>9} ns {refused:>9} ns {other:>9} ns");
    }
}

fn sample(channel: &'static str, value: u64) -> Input {
    Input::Sample { channel: Name::fixed(channel), body: Json::of(&value).expect("a number").into() }
}

/// Nanoseconds for a decision of this input on a state of this size.
fn cost(bytes: u64, input: &Input) -> u128 {
    let kinds = Kinds::default().with(Kind::of::<Filled>());
    let id = TwinId::in_default_tenant("bench").expect("a plain name");
    let mut live = Live::default();
    let mut decide = |input: &Input| kinds.decide(&id, &mut live, black_box(input), Header::default());
    drop(decide(&Input::Register { kind: Name::fixed("filled"), tags: None, with: None }));
    drop(decide(&sample("fill", bytes)));
    let round = |decide: &mut dyn FnMut()| {
        let (mut times, started) = (0, Instant::now());
        while started.elapsed() < Duration::from_millis(30) {
            (0..16).for_each(|_| decide());
            times += 16;
        }
        started.elapsed().as_nanos() / times
    };
    (0..7).map(|_| round(&mut || drop(black_box(decide(input))))).min().unwrap_or(0)
}
