//! What a behaviour can rely on, shown with one that uses everything.

use twins::prelude::*;
use twins::rejection::Code;
use twins::testing::Bench;

const LEVEL: Telemetry<f64> =
    Telemetry::named("level").unit("m").was("level-cm", |cm| Some(cm.as_f64()? / 100.0));
const VOLTAGE: Keyed<Telemetry<f64>> = Telemetry::named("voltage").unit("V").keyed();
const LIMIT: Desired<Option<f64>> = Desired::named("limits/level").about("absent: none");
const VALVE: Keyed<Desired<bool>> = Desired::named("valve").keyed();
const FIRMWARE: Reported<String> = Reported::named("firmware");
const SEEN: Reported<Option<u64>> = Reported::named("seen");
const TURN: Keyed<Command<bool>> = Command::named("turn").latest_only().keyed();
const PASSED: Event<f64> = Event::named("passed");
const FED: Keyed<Event<f64>> = Event::named("fed").keyed();
const RESET: Method<(), u64> = Method::named("reset");
const COUNT: Query<u64, u64> = Query::named("count").about("what was seen, and more");
const RETRY: Keyed<Timer> = Timer::named("retry").keyed();

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct Tank {
    limit: Option<f64>,
    seen: u64,
    open: std::collections::BTreeMap<String, bool>,
}

impl Behavior for Tank {
    const KIND: &'static str = "tank";

    fn routes(on: &mut Routes<Self>) {
        on.telemetry(&LEVEL, Self::measured)
            .telemetry(&VOLTAGE, Self::fed)
            .desired(&LIMIT, Self::limit)
            .desired(&VALVE, Self::valve)
            .reported(&FIRMWARE, Self::flashed)
            .outcome(&TURN, Self::turned)
            .timer(RETRY, Self::retry)
            .method(&RESET, Self::reset)
            .query(&COUNT, Self::count)
            .emits(&PASSED);
    }
}

impl Tank {
    fn measured(&mut self, level: f64, fx: &mut Effects) -> Result<(), Rejection> {
        self.seen += 1;
        fx.report(&SEEN, &Some(self.seen));
        match level {
            level if level < 0.0 => Err(Rejection::because("a level is not negative")),
            level if level > 1_000.0 => panic!("no tank is so deep"),
            level if self.limit.is_some_and(|limit| level > limit) => {
                fx.emit(&PASSED, &level);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn fed(&mut self, key: String, volts: f64, fx: &mut Effects) {
        fx.emit(FED.at(&key), &volts);
    }

    fn limit(&mut self, limit: Option<f64>, _: &mut Effects) {
        self.limit = limit;
    }

    fn valve(&mut self, key: String, open: bool, fx: &mut Effects) -> Result<(), Rejection> {
        if key == "drain" && open {
            return Err(Rejection::because("the drain stays shut"));
        }
        fx.send(TURN.at(&key), &open, Duration::from_secs(10));
        Ok(())
    }

    fn flashed(&mut self, firmware: String, fx: &mut Effects) -> Result<(), Rejection> {
        if firmware.starts_with("0.") {
            return Err(Rejection::because("a firmware before 1.0 is not supported"));
        }
        fx.desire(VALVE.at("vent"), &true);
        Ok(())
    }

    fn turned(&mut self, key: String, open: bool, outcome: Outcome, fx: &mut Effects) {
        match outcome {
            Outcome::Done => drop(self.open.insert(key, open)),
            Outcome::Superseded => {}
            _ => fx.arm(RETRY.at(&key), Duration::from_secs(5)),
        }
    }

    fn retry(&mut self, key: String, fx: &mut Effects) {
        fx.send(TURN.at(&key), &true, Duration::from_secs(10));
    }

    fn reset(&mut self, (): (), _: &mut Effects) -> Result<u64, Rejection> {
        Ok(std::mem::take(&mut self.seen))
    }

    fn count(&self, more: u64, context: &Context) -> Result<u64, Rejection> {
        assert!(context.connected());
        Ok(self.seen + more)
    }
}

fn bench() -> Bench<Tank> {
    Bench::default()
}

#[test]
fn a_refusal_or_a_panic_leaves_no_trace_in_the_state() {
    let mut bench = bench();
    bench.telemetry(&LEVEL, &1.0);

    let refusal = bench.try_telemetry(&LEVEL, &-1.0).unwrap_err();
    bench.telemetry(&LEVEL, &2_000.0);

    assert_eq!((refusal.code(), bench.state().seen), (Code::Rejected, 1));
    assert_eq!(bench.twin().reported().document().as_str(), r#"{"seen":1}"#);
}

#[test]
fn a_sample_that_makes_the_behaviour_panic_is_kept_all_the_same() {
    use twins::transition::Effect;
    let mut bench = bench();
    bench.telemetry(&LEVEL, &2_000.0);

    let effects = &bench.journal().last().unwrap().effects;
    assert!(effects.iter().any(|effect| matches!(effect, Effect::Sample { .. })));
    let failed =
        |effect: &Effect| matches!(effect, Effect::Event { name, .. } if name.as_str() == "behavior-failed");
    assert!(effects.iter().any(failed));
}

#[test]
fn the_removal_of_a_property_reaches_its_handler_as_none() {
    let mut bench = bench();
    bench.desire(&LIMIT, &Some(2.0)).unwrap();
    bench.telemetry(&LEVEL, &3.0);
    bench.desire(&LIMIT, &None).unwrap();
    bench.telemetry(&LEVEL, &4.0);

    assert_eq!(bench.emitted(&PASSED), [3.0]);
    assert_eq!(bench.twin().desired().document().as_str(), r#"{"limits":{}}"#);
}

#[test]
fn instances_of_a_keyed_item_do_not_disturb_each_other() {
    let mut bench = bench();
    bench.desire(VALVE.at("1"), &true).unwrap();
    bench.desire(VALVE.at("2"), &true).unwrap();
    bench.outcome(TURN.at("2"), &true, Outcome::Done);
    bench.outcome(TURN.at("1"), &true, Outcome::Rejected);
    bench.pass(Duration::from_secs(5));

    assert_eq!(bench.sent(TURN.at("1")), [true, true]);
    assert_eq!(bench.sent(TURN.at("2")), [true]);
    assert_eq!(bench.state().open.get("2"), Some(&true));
    bench.telemetry(VOLTAGE.at("a"), &230.0);
    assert_eq!(bench.emitted(FED.at("a")), [230.0]);
}

#[test]
fn a_latest_only_command_that_equals_the_pending_one_is_no_transition() {
    let mut bench = bench();
    bench.desire(VALVE.at("1"), &true).unwrap();
    bench.report(&FIRMWARE, &"1.0".to_owned()).unwrap();
    bench.desire(VALVE.at("1"), &false).unwrap();
    bench.desire(VALVE.at("1"), &false).unwrap();

    assert_eq!(bench.sent(TURN.at("1")), [true, false]);
}

#[test]
fn one_refused_property_refuses_the_whole_patch() {
    let mut bench = bench();
    let refusal = bench.desire(VALVE.at("drain"), &true).unwrap_err();
    assert_eq!(refusal.to_string(), "the drain stays shut");
    assert_eq!(bench.twin().desired().version(), 0);

    assert!(bench.report(&FIRMWARE, &"0.9".to_owned()).is_err());
    assert_eq!(bench.twin().reported().version(), 0);
    bench.report(&FIRMWARE, &"1.2".to_owned()).unwrap();
    assert_eq!(bench.twin().desired().document().as_str(), r#"{"valve":{"vent":true}}"#);
}

#[test]
fn a_method_changes_the_twin_and_a_query_does_not() {
    let mut bench = bench();
    bench.telemetry(&LEVEL, &1.0).telemetry(&LEVEL, &1.0);

    let before = bench.journal().count();
    assert_eq!(bench.query(&COUNT, &10), Ok(12));
    assert_eq!(bench.journal().count(), before);
    assert_eq!(bench.call(&RESET, &()), Ok(2));
    assert_eq!(bench.query(&COUNT, &0), Ok(0));
}

#[test]
fn a_value_of_the_wrong_type_is_refused_with_its_path() {
    const WRONG: Telemetry<String> = Telemetry::named("level");
    let refusal = bench().try_telemetry(&WRONG, &"deep".to_owned()).unwrap_err();
    assert_eq!(refusal.code(), Code::Malformed);
    assert!(refusal.message().starts_with("channel `level`"), "{refusal}");
}

#[test]
fn a_former_name_is_understood_and_its_sample_is_kept_as_it_came() {
    use twins::transition::Effect;
    const FORMER: Telemetry<u64> = Telemetry::named("level-cm");
    let mut bench = bench();
    bench.desire(&LIMIT, &Some(2.0)).unwrap();

    bench.telemetry(&FORMER, &250);

    assert_eq!(bench.emitted(&PASSED), [2.5]);
    let effects = &bench.journal().last().unwrap().effects;
    let named =
        |effect: &Effect| matches!(effect, Effect::Sample { channel, .. } if channel.as_str() == "level-cm");
    assert!(effects.iter().any(named));
}

#[test]
fn a_state_from_the_future_is_refused_and_kept() {
    use twins::decide::Live;
    use twins::header::Header;
    use twins::input::Input;
    use twins::json::Json;
    use twins::kind::{Kind, Kinds};
    use twins::name::Name;

    #[derive(Debug, Clone, Default, Serialize, Deserialize)]
    struct Newer {
        all_new: u64,
    }
    impl Behavior for Newer {
        const KIND: &'static str = "tank";
        const VERSION: u32 = 9;
        fn routes(on: &mut Routes<Self>) {
            on.telemetry(&LEVEL, |state: &mut Self, _: f64, _: &mut Effects| state.all_new += 1);
        }
    }
    let mut newer = Bench::<Newer>::default();
    newer.telemetry(&LEVEL, &1.0);

    let older = Kinds::default().with(Kind::of::<Tank>());
    let mut live = Live::new(newer.twin().clone().into());
    let input = Input::Sample { channel: Name::fixed("level"), body: Json::of(&1.0).unwrap().into() };
    let id = TwinId::in_default_tenant("t").unwrap();
    let refused = older.decide(&id, &mut live, &input, Header::default()).reply.unwrap_err();

    assert_eq!(refused.code(), Code::NewerState);
    assert_eq!(live.twin().state(), newer.twin().state());
}

#[test]
fn a_contract_is_data() {
    use twins::kind::Kind;
    let kind = Kind::of::<Tank>();
    let contract = serde_json::to_value(kind.contract()).unwrap();
    assert_eq!(contract["kind"], "tank");
    assert_eq!(
        contract["items"][1],
        serde_json::json!({ "plane": "telemetry", "name": "voltage", "keyed": true, "unit": "V" })
    );
    assert_eq!(contract["items"].as_array().unwrap().len(), 10);
}

#[test]
fn a_handler_that_sends_for_ever_is_cut() {
    const LOOP: Telemetry<bool> = Telemetry::named("loop");
    const AGAIN: Command<u64> = Command::named("again").latest_only();
    #[derive(Debug, Clone, Default, Serialize, Deserialize)]
    struct Looper {
        n: u64,
    }
    impl Behavior for Looper {
        const KIND: &'static str = "looper";
        fn routes(on: &mut Routes<Self>) {
            on.telemetry(&LOOP, |state: &mut Self, _: bool, fx: &mut Effects| state.again(fx))
                .outcome(&AGAIN, |state: &mut Self, _: u64, _: Outcome, fx: &mut Effects| state.again(fx));
        }
    }
    impl Looper {
        fn again(&mut self, fx: &mut Effects) {
            self.n += 1;
            fx.send(&AGAIN, &self.n, Duration::from_secs(1));
        }
    }
    let mut bench = Bench::<Looper>::default();

    bench.telemetry(&LOOP, &true).telemetry(&LOOP, &true);

    assert!(bench.state().n < 100);
}
