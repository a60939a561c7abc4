//! A binary of one's own, with two kinds of twin: a pump that obeys, and a tank that calls for it.
//!
//! Each kind is a module as in any program; `main` names them. Run it as the stock binary: `cargo run --example
//! custom_server -- dev`, and look at a contract: `cargo run --example custom_server -- twin contract tank`.

use std::process::ExitCode;

use pump::Pump;
use tank::Tank;

fn main() -> ExitCode {
    twinfold::Server::new().kind::<Pump>().kind::<Tank>().main()
}

mod pump {
    use twinfold::prelude::*;

    pub const SPEED: Desired<Option<f64>> = Desired::named("speed").unit("%").about("absent: it stands");
    pub const TURN: Command<f64> = Command::named("turn").latest_only();
    pub const WORN: Event<u64> = Event::named("worn").about("starts since it was built");
    pub const STARTS: Query<(), u64> = Query::named("starts");

    #[derive(Debug, Clone, Default, Serialize, Deserialize)]
    pub struct Pump {
        starts: u64,
        turning: bool,
    }

    const STARTS_MAX: u64 = 10_000;
    const PATIENCE: Duration = Duration::from_secs(60);

    impl Behavior for Pump {
        const KIND: &'static str = "pump";

        fn routes(on: &mut Routes<Self>) {
            on.desired(&SPEED, Self::aim)
                .outcome(&TURN, Self::turned)
                .query(&STARTS, Self::starts)
                .emits(&WORN);
        }
    }

    impl Pump {
        fn aim(&mut self, speed: Option<f64>, fx: &mut Effects) -> Result<(), Rejection> {
            let speed = speed.unwrap_or(0.0);
            if !(0.0..=100.0).contains(&speed) {
                return Err(Rejection::because("a speed is between 0 and 100 %"));
            }
            fx.send(&TURN, &speed, PATIENCE);
            Ok(())
        }

        fn turned(&mut self, speed: f64, outcome: Outcome, fx: &mut Effects) {
            let turning = outcome == Outcome::Done && speed > 0.0;
            if turning && !self.turning {
                self.starts += 1;
                if self.starts == STARTS_MAX {
                    fx.emit(&WORN, &self.starts);
                }
            }
            self.turning = turning;
        }

        fn starts(&self, (): (), _: &Context) -> Result<u64, Rejection> {
            Ok(self.starts)
        }
    }
}

mod tank {
    use twinfold::prelude::*;

    pub const LEVEL: Telemetry<f64> = Telemetry::named("level").unit("%");
    pub const LOW: Event<f64> = Event::named("low").unit("%");
    pub const FULL: Event<f64> = Event::named("full").unit("%");

    #[derive(Debug, Clone, Default, Serialize, Deserialize)]
    pub struct Tank {
        low: bool,
    }

    impl Behavior for Tank {
        const KIND: &'static str = "tank";

        fn routes(on: &mut Routes<Self>) {
            on.telemetry(&LEVEL, Self::measured).emits(&LOW).emits(&FULL);
        }
    }

    impl Tank {
        /// Says once that it is low, and once that it is full again.
        fn measured(&mut self, level: f64, fx: &mut Effects) {
            if level < 20.0 && !self.low {
                self.low = true;
                fx.emit(&LOW, &level);
            } else if level > 95.0 && self.low {
                self.low = false;
                fx.emit(&FULL, &level);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::pump::{Pump, SPEED, STARTS, TURN};
    use super::tank::{FULL, LEVEL, LOW, Tank};
    use twinfold::prelude::*;
    use twinfold::testing::Bench;

    #[test]
    fn a_pump_counts_how_often_it_starts() {
        let mut bench = Bench::<Pump>::default();

        bench.desire(&SPEED, &Some(50.0)).unwrap();
        bench.outcome(&TURN, &50.0, Outcome::Done);
        bench.desire(&SPEED, &None).unwrap();
        bench.outcome(&TURN, &0.0, Outcome::Done);

        assert_eq!(bench.query(&STARTS, &()), Ok(1));
        assert!(bench.desire(&SPEED, &Some(101.0)).is_err());
    }

    #[test]
    fn a_tank_says_once_that_it_is_low() {
        let mut bench = Bench::<Tank>::default();

        bench.telemetry(&LEVEL, &15.0).telemetry(&LEVEL, &14.0).telemetry(&LEVEL, &96.0);

        assert_eq!((bench.emitted(&LOW), bench.emitted(&FULL)), (vec![15.0], vec![96.0]));
    }
}
