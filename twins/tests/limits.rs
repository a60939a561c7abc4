//! What holds when a queue is full, a behaviour is careless, or this binary does not know what a twin is.

use std::collections::BTreeMap;
use std::time::Duration;

use twins::command::{Answer, Command as Queued, CommandId, Mode, State};
use twins::decide::{Decision, Live};
use twins::header::Header;
use twins::id::TwinId;
use twins::input::{Input, Send};
use twins::json::{Json, Limits};
use twins::kind::{Kind, Kinds};
use twins::name::Name;
use twins::prelude::*;
use twins::rejection::Code;
use twins::reply::Reply;
use twins::time::Timestamp;
use twins::transition::{Effect, Transition};

const FLOOD: Telemetry<u64> = Telemetry::named("flood");
const FILL: Keyed<Command<String>> = Command::named("fill").keyed();

/// Sends as many large commands as it is told.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct Careless;

impl Behavior for Careless {
    const KIND: &'static str = "careless";

    fn routes(on: &mut Routes<Self>) {
        on.telemetry(&FLOOD, Self::flood);
    }
}

impl Careless {
    fn flood(&mut self, n: u64, fx: &mut Effects) {
        let payload = "x".repeat(200_000);
        (0..n).for_each(|n| fx.send(FILL.at(&n.to_string()), &payload, Duration::from_secs(60)));
    }
}

/// A twin of a kind, and the time.
struct Hosted {
    kinds: Kinds,
    live: Live,
    now: Timestamp,
    last: Option<Transition>,
}

impl Hosted {
    fn of(kind: Kind) -> Self {
        let name = kind.name();
        let kinds = Kinds::default().with(kind);
        let mut hosted =
            Self { kinds, live: Live::default(), now: Timestamp::from_millis(1_000_000), last: None };
        hosted.say(Input::Register { kind: Name::fixed(name), tags: None, with: None }).unwrap();
        hosted
    }

    fn say(&mut self, input: Input) -> Result<Reply, Rejection> {
        let id = TwinId::in_default_tenant("pump-7").unwrap();
        let header = Header { received: self.now, ..Header::default() };
        let Decision { transition, reply, .. } = self.kinds.decide(&id, &mut self.live, &input, header);
        self.last = transition;
        reply
    }

    fn send(&mut self, number: u128, mode: Mode) -> Result<Queued, Rejection> {
        let id = CommandId(uuid::Uuid::from_u128(number));
        let (name, payload) = (Name::fixed("turn"), json("1").into());
        let deadline = self.now + Duration::from_secs(60);
        let send = Send { id, name, payload, deadline, mode, answer: Answer::None };
        self.say(Input::Command(send)).map(|reply| match reply {
            Reply::Command { id, .. } => self.live.twin().commands().get(id).unwrap().clone(),
            other => panic!("{other:?}"),
        })
    }

    fn events(&self) -> Vec<&str> {
        let effects = self.last.iter().flat_map(|transition| &transition.effects);
        let events = effects.filter_map(|effect| match effect {
            Effect::Event { name, .. } => Some(name.as_str()),
            _ => None,
        });
        events.collect()
    }
}

fn json(text: &str) -> Json {
    Json::parse(text.as_bytes(), &Limits::default()).unwrap()
}

fn sample(channel: &'static str, value: &str) -> Input {
    Input::Sample { channel: Name::fixed(channel), body: json(value).into() }
}

#[test]
fn a_latest_only_command_takes_its_place_also_in_a_full_queue() {
    let mut pump = Hosted::of(Kind::generic("pump"));
    pump.send(0, Mode::Latest).unwrap();
    (1..1_000).for_each(|n| drop(pump.send(n, Mode::Queue).unwrap()));

    assert_eq!(pump.send(1_000, Mode::Queue).unwrap_err().code(), Code::QueueFull);
    pump.now = pump.now + Duration::from_secs(60);
    pump.send(1_001, Mode::Latest).unwrap();
}

#[test]
fn a_latest_only_command_does_not_hide_behind_one_whose_time_is_over() {
    let mut pump = Hosted::of(Kind::generic("pump"));
    let first = pump.send(1, Mode::Latest).unwrap();
    assert_eq!(pump.send(2, Mode::Latest).unwrap().id, first.id, "the same once more is none");

    pump.now = pump.now + Duration::from_secs(60);
    let second = pump.send(3, Mode::Latest).unwrap();

    assert_eq!((second.id.0.as_u128(), second.state), (3, State::Queued));
    assert_eq!(pump.live.twin().commands().open().count(), 1);
}

#[test]
fn a_behavior_cannot_send_more_bytes_than_the_queue_holds() {
    let mut pump = Hosted::of(Kind::of::<Careless>());

    pump.say(sample("flood", "20")).unwrap();
    let refused = pump.say(sample("flood", "1")).unwrap_err();

    assert_eq!(refused.code(), Code::QueueFull);
    assert_eq!(pump.live.twin().commands().len(), 20);
}

/// An older and a newer version of one kind; the newer one has a bug where it reads the older one's states.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct Older(u64);

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct Newer(u64);

const COUNT: Telemetry<u64> = Telemetry::named("count");
const ALARM: Timer = Timer::named("alarm");

impl Behavior for Older {
    const KIND: &'static str = "versioned";

    fn routes(on: &mut Routes<Self>) {
        on.telemetry(&COUNT, |this: &mut Self, n, fx: &mut Effects| {
            this.0 = n;
            fx.arm(ALARM, Duration::from_secs(n));
        });
        on.timer(ALARM, |this: &mut Self, _: &mut Effects| this.0 = 0);
    }
}

impl Behavior for Newer {
    const KIND: &'static str = "versioned";
    const VERSION: u32 = 2;

    fn routes(on: &mut Routes<Self>) {
        on.telemetry(&COUNT, |this: &mut Self, n, _: &mut Effects| this.0 = n);
        on.timer(ALARM, |this: &mut Self, _: &mut Effects| this.0 = 0);
    }

    fn migrations(of: &mut Migrations) {
        // A panic that does not go through the hook, which would print it.
        of.version(1, |_| std::panic::resume_unwind(Box::new("a bug")));
    }
}

#[test]
fn a_migration_that_panics_is_a_refusal_and_keeps_the_state() {
    let mut twin = Hosted::of(Kind::of::<Older>());
    twin.say(sample("count", "7")).unwrap();
    let before = twin.live.twin().clone();
    twin.live = Live::new(before.clone());
    twin.kinds = Kinds::default().with(Kind::of::<Newer>());

    twin.say(sample("count", "8")).unwrap();
    assert_eq!(twin.events(), ["behavior-failed"], "a sample is kept all the same");
    twin.now = twin.now + Duration::from_secs(7);
    twin.say(Input::Due).unwrap();

    assert_eq!(twin.events(), ["behavior-failed"]);
    assert_eq!(twin.live.twin().state(), before.state());
    assert_eq!(twin.live.twin().next_due(), None);
}

#[test]
fn without_its_kind_a_twin_has_the_systems_part_and_nothing_else() {
    let mut twin = Hosted::of(Kind::of::<Older>());
    twin.say(sample("count", "7")).unwrap();
    twin.send(1, Mode::Queue).unwrap();
    let state = twin.live.twin().state().clone();
    twin.live = Live::new(twin.live.twin().clone());
    twin.kinds = Kinds::default();

    for input in [
        sample("count", "8"),
        Input::Report(json("{}")),
        Input::Call { name: Name::fixed("x"), argument: json("1") },
    ] {
        assert_eq!(twin.say(input).unwrap_err().code(), Code::UnknownKind);
    }
    assert_eq!(twin.send(2, Mode::Queue).unwrap_err().code(), Code::UnknownKind);
    twin.now = twin.now + Duration::from_secs(60);
    twin.say(Input::Due).unwrap();

    assert_eq!(
        twin.events(),
        ["behavior-refused"],
        "the timer was consumed, and nobody was there to hear it"
    );
    assert_eq!(twin.live.twin().next_due(), None, "what is due is due once");
    assert_eq!((twin.live.twin().state(), twin.live.twin().kind()), (&state, "versioned"));
    assert!(twin.say(Input::Read).is_ok());
    twin.say(Input::Remove { reason: None }).unwrap();
}

#[test]
fn a_report_does_not_make_a_transition_many_times_its_size() {
    let mut pump = Hosted::of(Kind::generic("pump"));
    let below_a_long_name = |value: u32| {
        let members: BTreeMap<_, _> = (0..1_000).map(|n| (format!("m{n}"), value)).collect();
        Json::of(&BTreeMap::from([("n".repeat(30_000), members)])).unwrap()
    };
    pump.say(Input::Report(below_a_long_name(1))).unwrap();

    let refused = pump.say(Input::Report(below_a_long_name(2))).unwrap_err();

    assert_eq!(refused.code(), Code::TooLarge);
    assert_eq!(pump.live.twin().reported().version(), 1);
}
