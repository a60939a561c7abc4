//! What holds when a queue is full or a behaviour is careless.

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
}

impl Hosted {
    fn of(kind: Kind) -> Self {
        let name = kind.name();
        let kinds = Kinds::default().with(kind);
        let mut hosted = Self { kinds, live: Live::default(), now: Timestamp::from_millis(1_000_000) };
        hosted.say(Input::Register { kind: Name::fixed(name), tags: None }).unwrap();
        hosted
    }

    fn say(&mut self, input: Input) -> Result<Reply, Rejection> {
        let id = TwinId::in_default_tenant("pump-7").unwrap();
        let header = Header { received: self.now, ..Header::default() };
        let Decision { reply, .. } = self.kinds.decide(&id, &mut self.live, &input, header);
        reply
    }

    fn send(&mut self, number: u128, mode: Mode) -> Result<Queued, Rejection> {
        let id = CommandId(uuid::Uuid::from_u128(number));
        let (name, payload) = (Name::fixed("turn"), json("1").into());
        let deadline = self.now + Duration::from_secs(60);
        let send = Send { id, name, payload, deadline, mode, answer: Answer::None };
        self.say(Input::Command(send)).map(|reply| match reply {
            Reply::Command(command) => command,
            other => panic!("{other:?}"),
        })
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
