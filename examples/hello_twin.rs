//! The smallest twin with a mind of its own: a door that says when it was left open.
//!
//! `cargo run --example hello_twin -- dev`, then `mosquitto_pub -u door-1 -t twins/me/telemetry/open -m true -q 1`.

use twinfold::prelude::*;

const OPEN: Telemetry<bool> = Telemetry::named("open");
const LEFT_OPEN: Event<u32> = Event::named("left-open").about("how often that has happened");
const PATIENCE: Timer = Timer::named("patience");

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Door {
    left_open: u32,
}

impl Behavior for Door {
    const KIND: &'static str = "door";

    fn routes(on: &mut Routes<Self>) {
        on.telemetry(&OPEN, Self::moved).timer(PATIENCE, Self::lost_patience).emits(&LEFT_OPEN);
    }
}

impl Door {
    fn moved(&mut self, open: bool, fx: &mut Effects) {
        if open { fx.arm(PATIENCE, Duration::from_secs(60)) } else { fx.disarm(PATIENCE) }
    }

    fn lost_patience(&mut self, fx: &mut Effects) {
        self.left_open += 1;
        fx.emit(&LEFT_OPEN, &self.left_open);
    }
}

fn main() -> std::process::ExitCode {
    twinfold::Server::new().kind::<Door>().main()
}
