//! A bench for one twin: its behaviour, a clock that is cranked by hand, and a device that takes what it is sent. And
//! a [`Fleet`]: several of them that call each other.

mod fleet;

pub use fleet::Fleet;

use std::collections::VecDeque;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::behavior::Behavior;
use crate::body::Body;
use crate::command::Outcome;
use crate::contract::{Command, Desired, Event, Instance, Item, Method, Query, Reported, Telemetry};
use crate::effects::property_path;
use crate::header::{Cause, Header, Mark, Principal, Transport};
use crate::id::TwinId;
use crate::input::{Desire, Input, Message, Said};
use crate::json::{Document, Json, Limits, pick};
use crate::kind::{Kind, Kinds};
use crate::name::Name;
use crate::rejection::Rejection;
use crate::reply::{Delivery, Reply};
use crate::session::{Connect, Connection, Subscription, Topic};
use crate::time::Timestamp;
use crate::trust::Proof;
use crate::transition::{Change, Effect, Transition};
use crate::twin::Twin;

use crate::decide::{Decision, Live};

/// A registered twin with a connected device that acknowledges each command, and answers as the test says.
///
/// Time stands still but for [`Bench::pass`]. [`Bench::sent`], [`Bench::emitted`] and [`Bench::called`] hand out each
/// thing once.
///
/// ```
/// use twins::prelude::*;
/// use twins::testing::Bench;
///
/// const LITRES: Telemetry<u64> = Telemetry::named("litres").unit("L");
/// const THIRSTY: Event<u64> = Event::named("thirsty");
///
/// #[derive(Debug, Clone, Default, Serialize, Deserialize)]
/// struct Meter {
///     total: u64,
/// }
///
/// impl Behavior for Meter {
///     const KIND: &'static str = "meter";
///
///     fn routes(on: &mut Routes<Self>) {
///         on.telemetry(&LITRES, Self::flowed);
///     }
/// }
///
/// impl Meter {
///     fn flowed(&mut self, litres: u64, fx: &mut Effects) {
///         self.total += litres;
///         if self.total > 100 {
///             fx.emit(&THIRSTY, &self.total);
///         }
///     }
/// }
///
/// let mut bench = Bench::<Meter>::default();
/// bench.telemetry(&LITRES, &70).telemetry(&LITRES, &50);
/// assert_eq!(bench.emitted(&THIRSTY), [120]);
/// ```
#[derive(Debug)]
pub struct Bench<B> {
    id: TwinId,
    kinds: Kinds,
    live: Live,
    now: Timestamp,
    epoch: u64,
    n: u64,
    journal: Vec<Transition>,
    sent: Vec<(Name, Body)>,
    emitted: Vec<(Name, Json)>,
    called: Vec<(Name, (TwinId, Json))>,
    state: B,
}

impl<B: Behavior> Default for Bench<B> {
    fn default() -> Self {
        Self::of("bench", START, Live::default())
    }
}

impl<B: Behavior> Bench<B> {
    /// A twin whose state was written by `version` of its kind.
    ///
    /// # Panics
    /// If the document is not a JSON object, or the kind cannot read it.
    pub fn from_document(version: u32, document: &str) -> Self {
        let document = Document::parse(document.as_bytes(), &Limits::default()).expect("the document is an object");
        let mut twin = Twin::default();
        let header = Header { received: START, ..Header::default() };
        let patch = crate::json::diff(&Document::default(), &document);
        for change in [Change::Created { kind: Name::trusted(B::KIND) }, Change::State { version, patch }] {
            twin.change(&change, &header);
        }
        Self::of("bench", START, Live::new(twin.into()))
    }

    fn of(id: &str, now: Timestamp, live: Live) -> Self {
        let mut bench = Self {
            id: TwinId::in_default_tenant(id).expect("an id of plain characters"),
            kinds: Kinds::default().with(Kind::of::<B>()),
            live,
            now,
            epoch: 0,
            n: 0,
            journal: Vec::new(),
            sent: Vec::new(),
            emitted: Vec::new(),
            called: Vec::new(),
            state: B::default(),
        };
        bench.connect();
        bench
    }

    /// The device says a sample.
    ///
    /// # Panics
    /// If the behaviour refuses it; see [`Bench::try_telemetry`].
    pub fn telemetry<'c, T: Serialize + 'c>(
        &mut self,
        channel: impl Into<Instance<'c, Telemetry<T>>>,
        value: &T,
    ) -> &mut Self {
        self.try_telemetry(channel, value).expect("the sample is accepted");
        self
    }

    /// The device says a sample, which the behaviour may refuse.
    ///
    /// # Errors
    /// The refusal.
    pub fn try_telemetry<'c, T: Serialize + 'c>(
        &mut self,
        channel: impl Into<Instance<'c, Telemetry<T>>>,
        value: &T,
    ) -> Result<(), Rejection> {
        let Instance { item, key } = channel.into();
        let channel = Name::keyed(item.label().name, key);
        self.input(Input::Sample { channel, body: json(value).into() }, Principal::Device).map(drop)
    }

    /// The device reports a property.
    ///
    /// # Errors
    /// The refusal.
    pub fn report<'c, T: Serialize + 'c>(
        &mut self,
        property: impl Into<Instance<'c, Reported<T>>>,
        value: &T,
    ) -> Result<(), Rejection> {
        let Instance { item, key } = property.into();
        self.input(Input::Report(member(item.label().name, key, value)), Principal::Device).map(drop)
    }

    /// An operator asks for a property.
    ///
    /// # Errors
    /// The refusal.
    pub fn desire<'c, T: Serialize + 'c>(
        &mut self,
        property: impl Into<Instance<'c, Desired<T>>>,
        value: &T,
    ) -> Result<(), Rejection> {
        let Instance { item, key } = property.into();
        let desired = Some(Desire::Merge(member(item.label().name, key, value)));
        self.input(Input::Update { tags: None, desired, if_match: None }, operator()).map(drop)
    }

    /// Somebody calls a method.
    ///
    /// # Errors
    /// The refusal.
    pub fn call<A: Serialize, R: DeserializeOwned>(
        &mut self,
        method: &Method<A, R>,
        argument: &A,
    ) -> Result<R, Rejection> {
        self.ask_by_name(method.label.name, json(argument))
    }

    /// Somebody asks a query.
    ///
    /// # Errors
    /// The refusal.
    pub fn query<A: Serialize, R: DeserializeOwned>(
        &mut self,
        query: &Query<A, R>,
        argument: &A,
    ) -> Result<R, Rejection> {
        self.ask_by_name(query.label.name, json(argument))
    }

    /// The oldest open command with this payload ends so: the device answers, or time passes until it expires.
    ///
    /// # Panics
    /// If no such command is open, or if it cannot end so by anything that the device or time does.
    pub fn outcome<'c, T: Serialize + 'c>(
        &mut self,
        command: impl Into<Instance<'c, Command<T>>>,
        payload: &T,
        outcome: Outcome,
    ) -> &mut Self {
        let Instance { item, key } = command.into();
        let (name, payload) = (Name::keyed(item.label().name, key), Body::from(json(payload)));
        let mut open = self.live.twin().commands().open();
        let found = open.find(|command| command.name == name && command.payload == payload);
        let (id, deadline) = found.map(|command| (command.id, command.deadline)).expect("such a command is open");
        drop(open);
        let said = match outcome {
            Outcome::Done => Said::Done,
            Outcome::Rejected => Said::Rejected,
            Outcome::Expired => {
                self.pass(deadline.since(self.now));
                return self;
            }
            other => panic!("a device cannot make a command end as {other:?}"),
        };
        self.input(Input::Outcome { id, outcome: said, result: None }, Principal::Device)
            .expect("the outcome of an open command is accepted");
        self
    }

    /// Time passes; timers fire and commands expire at their moments.
    pub fn pass(&mut self, time: Duration) -> &mut Self {
        let end = self.now + time;
        while let Some(due) = self.live.twin().next_due().filter(|due| *due <= end) {
            self.now = self.now.max(due);
            self.input(Input::Due, Principal::System).expect("time is never refused");
        }
        self.now = end;
        self
    }

    /// The device's connection ends.
    pub fn disconnect(&mut self) -> &mut Self {
        let (epoch, reason) = (self.epoch, Name::trusted("test"));
        self.input(Input::Disconnect { epoch, reason, with_will: false, expiry_s: None }, Principal::System).expect("an end is never refused");
        self
    }

    /// The device connects again, to the session it had.
    pub fn connect(&mut self) -> &mut Self {
        let connection = Connection {
            node: 0,
            generation: 0,
            transport: Transport::Internal,
            address: Name::trusted("bench"),
        };
        let connect = Connect {
            client: Name::trusted("bench"),
            keep: true,
            resumes: true,
            connection,
            expiry_s: None,
            will: None,
            proof: Proof::Open,
        };
        let input = Input::Connect { connect, register: Some(Name::trusted(B::KIND)) };
        let Ok(Reply::Connected { epoch, present, .. }) = self.input(input, Principal::Device) else {
            panic!("a device can connect");
        };
        (self.epoch, self.n) = (epoch, 0);
        if !present {
            let topics = [("desired", Topic::Desired), ("commands", Topic::Commands)];
            let subscription = |(name, topic)| Subscription { filter: Name::trusted(name), topic, qos: 1, identifier: None };
            self.input(Input::Subscribe(topics.map(subscription).into()), Principal::Device)
                .expect("a device can subscribe");
        }
        self
    }

    /// The commands of this name that were queued since the last call.
    pub fn sent<'c, T: DeserializeOwned + 'c>(
        &mut self,
        command: impl Into<Instance<'c, Command<T>>>,
    ) -> Vec<T> {
        let Instance { item, key } = command.into();
        let name = Name::keyed(item.label().name, key);
        let payloads = take(&mut self.sent, &name).into_iter();
        payloads.filter_map(|body| Some(body.json()?.decode().expect("a payload of the command's type"))).collect()
    }

    /// The events of this name that were announced since the last call.
    pub fn emitted<'c, T: DeserializeOwned + 'c>(
        &mut self,
        event: impl Into<Instance<'c, Event<T>>>,
    ) -> Vec<T> {
        let Instance { item, key } = event.into();
        let name = Name::keyed(item.label().name, key);
        let data = take(&mut self.emitted, &name).into_iter();
        data.map(|data| data.decode().expect("data of the event's type")).collect()
    }

    /// The calls of this method of other twins that were made since the last call: of which twin, and with what. A bench
    /// of one twin carries them nowhere; a [`Fleet`] does.
    pub fn called<A: DeserializeOwned, R>(&mut self, method: &Method<A, R>) -> Vec<(String, A)> {
        let calls = take(&mut self.called, &Name::trusted(method.label.name)).into_iter();
        let decode = |json: Json| json.decode().expect("an argument of the method's type");
        calls.map(|(twin, argument)| (twin.id().to_owned(), decode(argument))).collect()
    }

    /// The behaviour's state.
    pub fn state(&self) -> &B {
        &self.state
    }

    /// The twin.
    pub fn twin(&self) -> &Twin {
        self.live.twin()
    }

    /// Everything that was decided.
    pub fn journal(&self) -> impl Iterator<Item = &Transition> {
        self.journal.iter()
    }

    /// The bench's now.
    pub fn now(&self) -> Timestamp {
        self.now
    }

    fn ask_by_name<R: DeserializeOwned>(&mut self, name: &str, argument: Json) -> Result<R, Rejection> {
        match self.input(Input::Call { name: Name::trusted(name), argument }, operator())? {
            Reply::Returned(json) => Ok(json.decode().expect("an answer of the method's type")),
            other => panic!("a call is answered, not with {other:?}"),
        }
    }

    /// Decides an input, and lets the device acknowledge what it gets by it.
    fn input(&mut self, input: Input, by: Principal) -> Result<Reply, Rejection> {
        self.caused(input, by, None)
    }

    /// The same for an input that is another twin's effect.
    fn caused(&mut self, input: Input, by: Principal, cause: Option<Cause>) -> Result<Reply, Rejection> {
        let mut reply = None;
        let mut cause = cause.map(Box::new);
        let mut inputs = VecDeque::from([(input, by)]);
        while let Some((input, principal)) = inputs.pop_front() {
            let in_session = principal == Principal::Device && !matches!(input, Input::Connect { .. });
            self.n += u64::from(in_session);
            let mark = in_session.then_some(Mark { epoch: self.epoch, n: self.n });
            let cause = cause.take();
            let header = Header { received: self.now, principal, mark, cause, ..Header::default() };
            let Decision { transition, reply: answer, outputs } =
                self.kinds.decide(&self.id, &mut self.live, &input, header);
            transition.into_iter().for_each(|transition| self.note(transition));
            reply.get_or_insert(answer);
            inputs.extend(outputs.into_iter().filter_map(|output| match output.what {
                Delivery::Command { id, .. } => Some(Message::Command(id)),
                Delivery::Desired { version, .. } => Some(Message::Desired(version)),
                Delivery::Request { .. } | Delivery::Close(_) => None,
            }).map(|message| (Input::Acknowledge(message), Principal::Device)));
        }
        let logic = self.kinds.get(B::KIND).and_then(|kind| kind.logic.clone()).expect("the bench's own kind");
        let state = logic.load(self.live.twin().state()).expect("the kind reads its twin's state");
        self.state = *state.downcast().expect("the bench's own type");
        reply.expect("each input is answered")
    }

    fn note(&mut self, transition: Transition) {
        for change in &transition.changes {
            if let Change::Queued(command) = change {
                self.sent.push((command.name.clone(), command.payload.clone()));
            }
        }
        for effect in &transition.effects {
            match effect {
                Effect::Event { name, data } => self.emitted.push((name.clone(), data.clone())),
                Effect::Call(call) => {
                    let (twin, argument) = (call.twin.clone(), call.argument.clone());
                    self.called.push((call.method.clone(), (twin, argument)));
                }
                Effect::Sample { .. } | Effect::Handover { .. } => {}
            }
        }
        self.journal.push(transition);
    }
}

/// When the bench's clock begins: 2026-01-01.
const START: Timestamp = Timestamp::from_millis(1_767_225_600_000);

fn operator() -> Principal {
    Principal::User(Name::trusted("operator"))
}

fn json<T: Serialize>(value: &T) -> Json {
    Json::of(value).expect("a value of the contract has JSON")
}

/// A merge patch that sets one property.
fn member<T: Serialize>(name: &str, key: Option<&str>, value: &T) -> Json {
    let path = property_path(name, key);
    let mut set = crate::json::Patch::default();
    set.push(crate::json::Operation::Set { path: path.clone(), value: json(value) });
    pick(&Document::default().apply(&set), [&path])
}

fn take<T>(from: &mut Vec<(Name, T)>, name: &Name) -> Vec<T> {
    let all = std::mem::take(from).into_iter();
    let (taken, left): (Vec<_>, Vec<_>) = all.partition(|(of, _)| of == name);
    *from = left;
    taken.into_iter().map(|(_, what)| what).collect()
}
