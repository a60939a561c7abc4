//! What comes again has no second effect, and commands come to their end: through the one door that all inputs take.

use std::time::Duration;

use twins::command::{Answer, CommandId, Mode, State};
use twins::decide::{Decision, Live};
use twins::digest::Digest;
use twins::header::{Header, Idempotency, Mark, Principal, Transport};
use twins::id::TwinId;
use twins::input::{Input, Send};
use twins::json::{Json, Limits};
use twins::kind::{Kind, Kinds};
use twins::name::Name;
use twins::prelude::{Behavior, Deserialize, Effects, Method, Routes, Serialize};
use twins::rejection::Rejection;
use twins::reply::{Delivery, Reply};
use twins::session::{Connect, Connection, Subscription, Topic};
use twins::time::Timestamp;
use twins::transition::{Effect, Transition};
use twins::trust::Proof;
use twins::twin::Twin;

mod commands;
mod repeats;

const ADD: Method<u64, u64> = Method::named("add");

/// Adds up, by a method.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct Adder {
    sum: u64,
}

impl Behavior for Adder {
    const KIND: &'static str = "adder";

    fn routes(on: &mut Routes<Self>) {
        on.method(&ADD, Self::add);
    }
}

impl Adder {
    fn add(&mut self, n: u64, _: &mut Effects) -> Result<u64, Rejection> {
        self.sum += n;
        Ok(self.sum)
    }
}

/// A twin of that kind, and the node that decides for it.
struct World {
    kinds: Kinds,
    id: TwinId,
    live: Live,
    now: Timestamp,
    n: u64,
    journal: Vec<Transition>,
    sent: Vec<u128>,
}

impl World {
    fn new() -> Self {
        let mut world = Self {
            kinds: Kinds::default().with(Kind::of::<Adder>()),
            id: TwinId::in_default_tenant("a-1").unwrap(),
            live: Live::default(),
            now: Timestamp::from_millis(1_767_225_600_000),
            n: 0,
            journal: Vec::new(),
            sent: Vec::new(),
        };
        world.register(Header::default()).unwrap();
        world
    }

    fn decide(&mut self, header: Header, input: Input) -> Result<Reply, Rejection> {
        let header = Header { received: self.now, ..header };
        let Decision { transition, reply, outputs } =
            self.kinds.decide(&self.id, &mut self.live, &input, header);
        self.journal.extend(transition);
        self.sent.extend(outputs.into_iter().filter_map(|output| match output.what {
            Delivery::Command { id, .. } => Some(id.0.as_u128()),
            _ => None,
        }));
        reply
    }

    fn system(&mut self, input: Input) -> Result<Reply, Rejection> {
        self.decide(Header { principal: Principal::System, ..Header::default() }, input)
    }

    fn register(&mut self, header: Header) -> Result<Reply, Rejection> {
        self.decide(header, Input::Register { kind: Name::fixed("adder"), tags: None, with: None })
    }

    /// A connection that listens to commands.
    fn connect(&mut self) -> u64 {
        let connection = Connection {
            node: 1,
            generation: 1,
            transport: Transport::Mqtt,
            address: Name::fixed("127.0.0.1"),
        };
        let connect = Connect {
            client: Name::fixed("c"),
            keep: true,
            resumes: true,
            connection,
            expiry_s: None,
            will: None,
            proof: Proof::Open,
        };
        let Ok(Reply::Connected { epoch, .. }) = self.system(Input::Connect { connect, register: None })
        else {
            panic!("the device is let in");
        };
        self.n = 0;
        let filter = Name::fixed("twins/me/commands");
        self.say(
            epoch,
            None,
            Input::Subscribe(vec![Subscription { filter, topic: Topic::Commands, qos: 1, identifier: None }]),
        )
        .unwrap();
        epoch
    }

    fn disconnect(&mut self, epoch: u64) {
        self.system(Input::Disconnect {
            epoch,
            reason: Name::fixed("test"),
            with_will: false,
            expiry_s: None,
        })
        .unwrap();
    }

    /// The device says something with a message id, or none.
    fn say(&mut self, epoch: u64, mid: Option<&str>, input: Input) -> Result<Reply, Rejection> {
        self.n += 1;
        let mark = Some(Mark { epoch, n: self.n });
        self.decide(
            Header { mark, mid: mid.map(|mid| Digest::of_mid(mid).unwrap()), ..Header::default() },
            input,
        )
    }

    fn send(&mut self, number: u128, mode: Mode) -> CommandId {
        let id = CommandId(uuid::Uuid::from_u128(number));
        self.system(command(number, mode, self.now)).unwrap();
        id
    }

    /// A command that was sent as often as may be, and died.
    fn send_in_vain(&mut self, number: u128, mode: Mode) -> CommandId {
        let id = self.send(number, mode);
        for _ in 0..6 {
            let epoch = self.connect();
            self.disconnect(epoch);
        }
        assert_eq!(self.state(id), Some(State::Dead));
        self.sent.clear();
        id
    }

    fn redrive(&mut self, dead: CommandId, number: u128, ttl_s: Option<u64>) -> Result<Reply, Rejection> {
        let (id, ttl) = (CommandId(uuid::Uuid::from_u128(number)), ttl_s.map(Duration::from_secs));
        self.system(Input::Redrive { dead, id, ttl })
    }

    fn twin(&self) -> &Twin {
        self.live.twin()
    }

    fn state(&self, id: CommandId) -> Option<State> {
        self.twin().commands().get(id).map(|command| command.state)
    }

    fn sum(&self) -> Option<u64> {
        self.twin().state().document.as_raw().get("/sum").and_then(|sum| sum.as_str().parse().ok())
    }

    /// The events of the last transition, with their data.
    fn events(&self) -> Vec<String> {
        let effects = self.journal.last().into_iter().flat_map(|transition| &transition.effects);
        let events = effects.filter_map(|effect| match effect {
            Effect::Event { name, data } => Some(format!("{name} {data}")),
            Effect::Sample { .. } | Effect::Call(_) | Effect::Handover { .. } => None,
        });
        events.collect()
    }

    /// What follows from the journal alone, as a restart reads it.
    fn recovered(&self) -> Twin {
        let mut twin = Twin::default();
        for transition in &self.journal {
            let bytes = minicbor::to_vec(transition).unwrap();
            assert!(twin.apply(&minicbor::decode(&bytes).unwrap()));
        }
        minicbor::decode(&minicbor::to_vec(&twin).unwrap()).unwrap()
    }

    fn restart(&mut self) {
        let recovered = self.recovered();
        assert_eq!(&recovered, self.twin());
        self.live = Live::new(recovered.into());
    }
}

fn json(text: &str) -> Json {
    Json::parse(text.as_bytes(), &Limits::default()).unwrap()
}

fn sample() -> Input {
    Input::Sample { channel: Name::fixed("t"), body: json("1").into() }
}

fn add(n: &str) -> Input {
    Input::Call { name: Name::fixed("add"), argument: json(n) }
}

fn command(number: u128, mode: Mode, now: Timestamp) -> Input {
    Input::Command(Send {
        id: CommandId(uuid::Uuid::from_u128(number)),
        name: Name::fixed("turn"),
        payload: json("1").into(),
        deadline: now + Duration::from_secs(60),
        mode,
        answer: Answer::Expected,
    })
}

fn keyed(key: &str, body: &str) -> Header {
    let (key, body) = (Digest::of(&[key.as_bytes()]), Digest::of(&[body.as_bytes()]));
    Header { idempotency: Some(Idempotency { key, body }), ..Header::default() }
}
