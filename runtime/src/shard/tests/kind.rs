//! A behaviour that shows all there is to lose: state, timers, events, commands, refusals and panics.

use twins::prelude::*;

pub(super) const COUNT: Telemetry<u64> = Telemetry::named("count");
pub(super) const RANG: Event<u64> = Event::named("rang");
pub(super) const TURN: Command<u64> = Command::named("turn");
pub(super) const ALARM: Timer = Timer::named("alarm");

/// Adds up what it is told. A multiple of ten arms its alarm; 13 is refused; 666 is a bug.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Adder {
    pub(super) sum: u64,
    pub(super) rang: u64,
    pub(super) done: u64,
}

impl Behavior for Adder {
    const KIND: &'static str = "adder";

    fn routes(on: &mut Routes<Self>) {
        on.telemetry(&COUNT, Self::told).timer(ALARM, Self::ring).outcome(&TURN, Self::turned);
    }
}

impl Adder {
    fn told(&mut self, n: u64, fx: &mut Effects) -> Result<(), Rejection> {
        self.sum += n;
        match n {
            13 => return Err(Rejection::because("13 is bad luck")),
            // A panic that does not go through the hook, which would print thousands of them.
            666 => std::panic::resume_unwind(Box::new("666 is a bug")),
            n if n % 10 == 0 => fx.arm(ALARM, Duration::from_millis(n)),
            n if n % 7 == 0 => fx.send(&TURN, &n, Duration::from_millis(500)),
            _ => {}
        }
        Ok(())
    }

    fn ring(&mut self, fx: &mut Effects) {
        self.rang += 1;
        fx.emit(&RANG, &self.rang);
    }

    fn turned(&mut self, _: u64, outcome: Outcome, _: &mut Effects) {
        self.done += u64::from(outcome == Outcome::Done);
    }
}

pub(super) const CALL: Telemetry<(String, u64)> = Telemetry::named("call");
pub(super) const NOTE: Method<u64, ()> = Method::named("note");

/// Calls others, and counts who called it. A multiple of five is refused, and of seven a bug; of three is passed on.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Neighbour {
    pub(super) made: u64,
    pub(super) noted: u64,
}

impl Behavior for Neighbour {
    const KIND: &'static str = "neighbour";

    fn routes(on: &mut Routes<Self>) {
        on.telemetry(&CALL, Self::call).method(&NOTE, Self::note);
    }
}

impl Neighbour {
    fn call(&mut self, (whom, times): (String, u64), fx: &mut Effects) {
        for _ in 0..times {
            self.made += 1;
            fx.call(&whom, &NOTE, &self.made);
        }
    }

    fn note(&mut self, n: u64, fx: &mut Effects) -> Result<(), Rejection> {
        self.noted += 1;
        match n {
            n if n % 5 == 0 => return Err(Rejection::because("five is bad luck")),
            n if n % 7 == 0 => std::panic::resume_unwind(Box::new("seven is a bug")),
            n if n % 3 == 0 => {
                self.made += 1;
                fx.call("twin-1", &NOTE, &self.made);
            }
            _ => {}
        }
        Ok(())
    }
}
