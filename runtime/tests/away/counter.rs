//! A kind whose twins call each other.

use twins::prelude::*;

/// Whom to call, and how often.
const CALL: Telemetry<(String, u64)> = Telemetry::named("call");
/// One call.
const NOTE: Method<u64, ()> = Method::named("note");
/// How many calls came, and the sum of their numbers.
const COUNT: Method<(), (u64, u64)> = Method::named("count");

/// Calls others, and counts who called it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Counter {
    made: u64,
    noted: u64,
    sum: u64,
}

impl Behavior for Counter {
    const KIND: &'static str = "counter";

    fn routes(on: &mut Routes<Self>) {
        on.telemetry(&CALL, Self::call).method(&NOTE, Self::note).method(&COUNT, Self::count);
    }
}

impl Counter {
    fn call(&mut self, (whom, times): (String, u64), fx: &mut Effects) {
        for _ in 0..times {
            self.made += 1;
            fx.call(&whom, &NOTE, &self.made);
        }
    }

    fn note(&mut self, n: u64, _: &mut Effects) -> Result<(), Rejection> {
        self.noted += 1;
        self.sum += n;
        Ok(())
    }

    fn count(&mut self, (): (), _: &mut Effects) -> Result<(u64, u64), Rejection> {
        Ok((self.noted, self.sum))
    }
}
