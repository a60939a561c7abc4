//! A kind whose timers and calls can be counted: each timer that is armed fires once, and says so, and the neighbour is
//! told once of each.

use twinfold::prelude::*;

use crate::load::DEVICES;

const ARM: Telemetry<u64> = Telemetry::named("arm");
const FIRED: Event<u64> = Event::named("fired");
const TALLY: Method<(String, u64), ()> = Method::named("tally");
const TALLIED: Event<(String, u64)> = Event::named("tallied");
const TIMER: Keyed<Timer> = Timer::named("timer").keyed();

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Alarm {
    fired: u64,
}

impl Behavior for Alarm {
    const KIND: &'static str = "alarm";

    fn routes(on: &mut Routes<Self>) {
        on.telemetry(&ARM, Self::arm)
            .timer(TIMER, Self::fire)
            .method(&TALLY, Self::tally)
            .emits(&FIRED)
            .emits(&TALLIED);
    }
}

impl Alarm {
    fn arm(&mut self, serial: u64, fx: &mut Effects) {
        fx.arm(TIMER.at(&serial.to_string()), Duration::from_millis(400));
        let me = fx.twin().id().to_owned();
        fx.call(neighbour(&me), &TALLY, &(me, serial));
    }

    fn tally(&mut self, told: (String, u64), fx: &mut Effects) -> Result<(), Rejection> {
        fx.emit(&TALLIED, &told);
        Ok(())
    }

    fn fire(&mut self, serial: String, fx: &mut Effects) -> Result<(), Rejection> {
        self.fired += 1;
        let serial = serial.parse().map_err(|_| Rejection::because("the key is a serial"))?;
        fx.emit(&FIRED, &serial);
        Ok(())
    }
}

/// The twin that one calls: the next of all.
pub fn neighbour(id: &str) -> &'static str {
    let place = DEVICES.iter().position(|device| *device == id).unwrap_or(0);
    DEVICES[(place + 1) % DEVICES.len()]
}
