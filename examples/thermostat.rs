//! A thermostat: keeps a room at its setpoint, can be boosted, and says when it overheats.

use std::process::ExitCode;

use twinfold::prelude::*;

// ── Contract: what the device says, hears and is told ────────────────────────────────────────────

pub const TEMPERATURE: Telemetry<Celsius> = Telemetry::named("temperature");
pub const SETPOINT: Desired<Celsius> = Desired::named("setpoint");
pub const HEATER: Command<Heater> = Command::named("heater").latest_only();
pub const BOOST: Method<Boost, Celsius> = Method::named("boost");
pub const OVERHEATED: Event<Celsius> = Event::named("overheated");
const BOOST_OVER: Timer = Timer::named("boost-over");

#[derive(Debug, Clone, Copy, PartialEq, PartialOrd, Serialize, Deserialize)]
pub struct Celsius(pub f64);

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Heater {
    On,
    Off,
}

#[derive(Debug, Serialize, Deserialize)]
pub struct Boost {
    pub minutes: u64,
}

// ── State ────────────────────────────────────────────────────────────────────────────────────────

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Thermostat {
    setpoint: Celsius,
    boost: Option<Celsius>,
    /// What the heater last confirmed, which may lag what it was last told.
    heater: Heater,
}

impl Default for Thermostat {
    fn default() -> Self {
        Self { setpoint: Celsius(20.0), boost: None, heater: Heater::Off }
    }
}

/// Wide enough that the heater does not chatter around the target.
const HYSTERESIS_C: f64 = 0.5;
const BOOST_BY_C: f64 = 3.0;
const OVERHEAT: Celsius = Celsius(35.0);
const HEATER_PATIENCE: Duration = Duration::from_secs(30);

// ── Behaviour ────────────────────────────────────────────────────────────────────────────────────

impl Behavior for Thermostat {
    const KIND: &'static str = "thermostat";
    const VERSION: u32 = 2;

    fn routes(on: &mut Routes<Self>) {
        on.telemetry(&TEMPERATURE, Self::measured)
            .desired(&SETPOINT, Self::aim)
            .method(&BOOST, Self::boost)
            .timer(BOOST_OVER, Self::boost_over)
            .outcome(&HEATER, Self::heater_answered);
    }

    fn migrations(from: &mut Migrations) {
        // Version 1 stored the setpoint in degrees Fahrenheit.
        from.version(1, |state| {
            let fahrenheit = state["setpoint_f"].as_f64().unwrap_or(68.0);
            state["setpoint"] = ((fahrenheit - 32.0) / 1.8).into();
            state["heater"] = "off".into();
        });
    }
}

impl Thermostat {
    fn measured(&mut self, room: Celsius, fx: &mut Effects) {
        if room >= OVERHEAT {
            fx.emit(&OVERHEATED, &room);
        }
        let wanted = match room.0 - self.target().0 {
            error if error < -HYSTERESIS_C => Heater::On,
            error if error > HYSTERESIS_C => Heater::Off,
            _ => return,
        };
        if wanted != self.heater {
            fx.send(&HEATER, &wanted, HEATER_PATIENCE);
        }
    }

    fn aim(&mut self, setpoint: Celsius, _: &mut Effects) -> Result<(), Rejection> {
        if !(5.0..=30.0).contains(&setpoint.0) {
            return Err(Rejection::because("the setpoint must be between 5 and 30 °C"));
        }
        self.setpoint = setpoint;
        Ok(())
    }

    fn boost(&mut self, Boost { minutes }: Boost, fx: &mut Effects) -> Result<Celsius, Rejection> {
        if minutes > 120 {
            return Err(Rejection::because("a boost lasts at most 120 minutes"));
        }
        let target = Celsius(self.setpoint.0 + BOOST_BY_C);
        self.boost = Some(target);
        fx.arm(BOOST_OVER, Duration::from_secs(60 * minutes));
        Ok(target)
    }

    fn boost_over(&mut self, _: &mut Effects) {
        self.boost = None;
    }

    fn heater_answered(&mut self, told: Heater, outcome: Outcome, _: &mut Effects) {
        // No retry: a heater that did not obey still differs from what the next reading wants.
        if outcome == Outcome::Done {
            self.heater = told;
        }
    }

    fn target(&self) -> Celsius {
        self.boost.unwrap_or(self.setpoint)
    }
}

fn main() -> ExitCode {
    twinfold::Server::new().kind::<Thermostat>().main()
}

#[cfg(test)]
mod tests {
    use super::*;
    use twinfold::testing::Bench;

    #[test]
    fn a_cold_room_turns_the_heater_on_once() {
        let mut bench = Bench::<Thermostat>::default();

        bench.telemetry(&TEMPERATURE, &Celsius(18.0));
        assert_eq!(bench.sent(&HEATER), [Heater::On]);

        bench.outcome(&HEATER, &Heater::On, Outcome::Done).telemetry(&TEMPERATURE, &Celsius(18.5));
        assert_eq!(bench.sent(&HEATER), []);
    }

    #[test]
    fn a_heater_that_never_answered_is_told_again() {
        let mut bench = Bench::<Thermostat>::default();

        bench.telemetry(&TEMPERATURE, &Celsius(18.0));
        bench.outcome(&HEATER, &Heater::On, Outcome::Expired).telemetry(&TEMPERATURE, &Celsius(18.0));
        assert_eq!(bench.sent(&HEATER), [Heater::On, Heater::On]);
    }

    #[test]
    fn a_boost_ends_by_itself() {
        let mut bench = Bench::<Thermostat>::default();

        assert_eq!(bench.call(&BOOST, &Boost { minutes: 10 }), Ok(Celsius(23.0)));
        bench.pass(Duration::from_secs(599));
        assert_eq!(bench.state().target(), Celsius(23.0));

        bench.pass(Duration::from_secs(1));
        assert_eq!(bench.state().target(), Celsius(20.0));
    }

    #[test]
    fn a_refused_setpoint_leaves_no_trace() {
        let mut bench = Bench::<Thermostat>::default();

        let refusal = bench.desire(&SETPOINT, &Celsius(90.0)).unwrap_err();
        assert_eq!(refusal.to_string(), "the setpoint must be between 5 and 30 °C");
        assert_eq!(bench.state().target(), Celsius(20.0));
    }

    #[test]
    fn overheating_is_announced() {
        let mut bench = Bench::<Thermostat>::default();
        bench.telemetry(&TEMPERATURE, &Celsius(36.0));
        assert_eq!(bench.emitted(&OVERHEATED), [Celsius(36.0)]);
    }

    #[test]
    fn a_follower_without_this_code_reaches_the_same_twin() {
        let mut bench = Bench::<Thermostat>::default();
        let mut follower = bench.twin().clone();

        bench.telemetry(&TEMPERATURE, &Celsius(18.0));
        bench.call(&BOOST, &Boost { minutes: 10 }).unwrap();
        bench.pass(Duration::from_secs(3600));

        for transition in bench.journal() {
            follower.apply(transition);
        }
        assert_eq!(&follower, bench.twin());
    }

    #[test]
    fn a_version_1_document_still_loads() {
        let bench = Bench::<Thermostat>::from_document(1, r#"{ "setpoint_f": 68.0, "boost": null }"#);
        assert_eq!(bench.state().target(), Celsius(20.0));
    }
}
