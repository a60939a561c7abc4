//! A kind whose timers can be counted: each one that is armed fires once, and says so.

use twinfold::prelude::*;

const ARM: Telemetry<u64> = Telemetry::named("arm");
const FIRED: Event<u64> = Event::named("fired");
const TIMER: Keyed<Timer> = Timer::named("timer").keyed();

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Alarm {
    fired: u64,
}

impl Behavior for Alarm {
    const KIND: &'static str = "alarm";

    fn routes(on: &mut Routes<Self>) {
        on.telemetry(&ARM, Self::arm).timer(TIMER, Self::fire).emits(&FIRED);
    }
}

impl Alarm {
    fn arm(&mut self, serial: u64, fx: &mut Effects) {
        fx.arm(TIMER.at(&serial.to_string()), Duration::from_millis(400));
    }

    fn fire(&mut self, serial: String, fx: &mut Effects) -> Result<(), Rejection> {
        self.fired += 1;
        let serial = serial.parse().map_err(|_| Rejection::because("the key is a serial"))?;
        fx.emit(&FIRED, &serial);
        Ok(())
    }
}
