//! The table of a behaviour: which input goes to which function. It is also what the kind's contract is made of.

use std::collections::BTreeMap;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::behavior::Handler;
use crate::command::Outcome;
use crate::context::Context;
use crate::contract::{Command, Desired, Event, Item, Keyed, Label, Method, Query, Reported, Telemetry, Timer};
use crate::effects::Effects;
use crate::json::Json;
use crate::rejection::{Code, Rejection};

/// The table, filled by [`Behavior::routes`](crate::behavior::Behavior::routes).
pub struct Routes<S> {
    pub(crate) reactions: BTreeMap<Plane, BTreeMap<&'static str, Reaction<S>>>,
    pub(crate) methods: BTreeMap<&'static str, Callable<S>>,
    pub(crate) described: Vec<Described>,
}

/// What an input belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Plane {
    /// A sample.
    Telemetry,
    /// A property of what the device should become.
    Desired,
    /// A property of what the device says it is.
    Reported,
    /// A command.
    Command,
    /// A fact that is announced.
    Event,
    /// A method.
    Method,
    /// A query.
    Query,
    /// A timer.
    Timer,
}

/// One line of a contract.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Described {
    /// What it is.
    pub plane: Plane,
    /// Its name on the wire.
    pub name: &'static str,
    /// Whether it has many instances, told apart by a key.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub keyed: bool,
    /// Its unit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unit: Option<&'static str>,
    /// Of a command: a new one supersedes those of its name that are not final.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub latest_only: bool,
    /// What it is for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub about: Option<&'static str>,
}

/// What a reaction is given, before it is decoded.
pub(crate) struct Given<'a> {
    pub(crate) key: Option<&'a str>,
    pub(crate) value: &'a Json,
    pub(crate) outcome: Option<Outcome>,
}

type Function<S> = Box<dyn Fn(&mut S, Given<'_>, &mut Effects<'_>) -> Result<(), Rejection> + Send + Sync>;

pub(crate) struct Reaction<S> {
    pub(crate) keyed: bool,
    pub(crate) function: Function<S>,
}

type Ask<S> = Box<dyn Fn(&S, &Json, &Context<'_>) -> Result<Json, Rejection> + Send + Sync>;
type Call<S> = Box<dyn Fn(&mut S, &Json, &mut Effects<'_>) -> Result<Json, Rejection> + Send + Sync>;

pub(crate) enum Callable<S> {
    Method(Call<S>),
    Query(Ask<S>),
}

/// An item, or a keyed one, with the arguments that its handlers take.
pub trait Routable {
    /// The item.
    type Item: Item;
    /// The arguments of a handler of its values: `(value,)`, or `(key, value)`.
    type Arguments;
    /// The arguments of a handler of its outcomes: `(value, outcome)`, or `(key, value, outcome)`.
    type Told;

    /// Whether it has many instances.
    const KEYED: bool;

    /// The item itself.
    fn item(&self) -> &Self::Item;

    /// Puts the arguments together.
    fn arguments(key: &str, value: <Self::Item as Item>::Value) -> Self::Arguments;

    /// Puts the arguments of an outcome together.
    fn told(key: &str, value: <Self::Item as Item>::Value, outcome: Outcome) -> Self::Told;
}

impl<C: Item> Routable for C {
    type Item = C;
    type Arguments = (C::Value,);
    type Told = (C::Value, Outcome);

    const KEYED: bool = false;

    fn item(&self) -> &C {
        self
    }

    fn arguments(_: &str, value: C::Value) -> Self::Arguments {
        (value,)
    }

    fn told(_: &str, value: C::Value, outcome: Outcome) -> Self::Told {
        (value, outcome)
    }
}

impl<C: Item> Routable for Keyed<C> {
    type Item = C;
    type Arguments = (String, C::Value);
    type Told = (String, C::Value, Outcome);

    const KEYED: bool = true;

    fn item(&self) -> &C {
        &self.0
    }

    fn arguments(key: &str, value: C::Value) -> Self::Arguments {
        (key.to_owned(), value)
    }

    fn told(key: &str, value: C::Value, outcome: Outcome) -> Self::Told {
        (key.to_owned(), value, outcome)
    }
}

/// A timer, or a keyed one, with the arguments that its handlers take.
pub trait Armable {
    /// The arguments: none, or `(key,)`.
    type Arguments;

    /// Whether it has many instances.
    const KEYED: bool;

    /// Its name.
    fn name(&self) -> &'static str;

    /// Puts the arguments together.
    fn arguments(key: &str) -> Self::Arguments;
}

impl Armable for Timer {
    type Arguments = ();

    const KEYED: bool = false;

    fn name(&self) -> &'static str {
        self.name
    }

    fn arguments(_: &str) {}
}

impl Armable for Keyed<Timer> {
    type Arguments = (String,);

    const KEYED: bool = true;

    fn name(&self) -> &'static str {
        self.0.name
    }

    fn arguments(key: &str) -> (String,) {
        (key.to_owned(),)
    }
}

impl<S: 'static> Routes<S> {
    pub(crate) fn new() -> Self {
        Self { reactions: BTreeMap::new(), methods: BTreeMap::new(), described: Vec::new() }
    }

    /// Samples of a channel: `fn(&mut self, value, fx)`. A refusal refuses the sample.
    pub fn telemetry<I, T, H>(&mut self, channel: &I, handler: H) -> &mut Self
    where
        I: Routable<Item = Telemetry<T>>,
        T: DeserializeOwned + 'static,
        H: Handler<S, I::Arguments>,
    {
        self.values(Plane::Telemetry, channel, handler)
    }

    /// Changes of a desired property: `fn(&mut self, value, fx)`. Its removal arrives as JSON's null: `None` for an
    /// `Option`, a refusal for other types. One refused property refuses the whole patch.
    pub fn desired<I, T, H>(&mut self, property: &I, handler: H) -> &mut Self
    where
        I: Routable<Item = Desired<T>>,
        T: DeserializeOwned + 'static,
        H: Handler<S, I::Arguments>,
    {
        self.values(Plane::Desired, property, handler)
    }

    /// Changes of a reported property: `fn(&mut self, value, fx)`. Removal as for [`Routes::desired`].
    pub fn reported<I, T, H>(&mut self, property: &I, handler: H) -> &mut Self
    where
        I: Routable<Item = Reported<T>>,
        T: DeserializeOwned + 'static,
        H: Handler<S, I::Arguments>,
    {
        self.values(Plane::Reported, property, handler)
    }

    /// How commands of this name ended: `fn(&mut self, payload, outcome, fx)`. Commands of a behaviour that routes
    /// their outcome ask the device for an answer.
    pub fn outcome<I, T, H>(&mut self, command: &I, handler: H) -> &mut Self
    where
        I: Routable<Item = Command<T>>,
        T: DeserializeOwned + 'static,
        H: Handler<S, I::Told>,
    {
        let Label { name, .. } = *command.item().label();
        self.describe(Plane::Command, command.item().label(), I::KEYED);
        self.react(Plane::Command, name, I::KEYED, move |state, given, fx| {
            let payload = given.value.decode()?;
            let outcome = given.outcome.unwrap_or(Outcome::Done);
            handler.call(state, I::told(given.key.unwrap_or(""), payload, outcome), fx)
        })
    }

    /// A timer that fires: `fn(&mut self, fx)`.
    pub fn timer<I: Armable, H: Handler<S, I::Arguments>>(&mut self, timer: I, handler: H) -> &mut Self {
        self.describe(Plane::Timer, &Label::named(timer.name()), I::KEYED);
        self.react(Plane::Timer, timer.name(), I::KEYED, move |state, given, fx| {
            handler.call(state, I::arguments(given.key.unwrap_or("")), fx)
        })
    }

    /// A method: `fn(&mut self, argument, fx) -> Result<answer, Rejection>`.
    pub fn method<A, R, H>(&mut self, method: &Method<A, R>, handler: H) -> &mut Self
    where
        A: DeserializeOwned + 'static,
        R: Serialize + 'static,
        H: Fn(&mut S, A, &mut Effects<'_>) -> Result<R, Rejection> + Send + Sync + 'static,
    {
        self.describe(Plane::Method, &method.label, false);
        let call = move |state: &mut S, argument: &Json, fx: &mut Effects<'_>| {
            handler(state, argument.decode()?, fx).and_then(|answer| answered(&answer))
        };
        self.methods.insert(method.label.name, Callable::Method(Box::new(call)));
        self
    }

    /// A query: `fn(&self, argument, context) -> Result<answer, Rejection>`.
    pub fn query<A, R, H>(&mut self, query: &Query<A, R>, handler: H) -> &mut Self
    where
        A: DeserializeOwned + 'static,
        R: Serialize + 'static,
        H: Fn(&S, A, &Context<'_>) -> Result<R, Rejection> + Send + Sync + 'static,
    {
        self.describe(Plane::Query, &query.label, false);
        let ask = move |state: &S, argument: &Json, context: &Context<'_>| {
            handler(state, argument.decode()?, context).and_then(|answer| answered(&answer))
        };
        self.methods.insert(query.label.name, Callable::Query(Box::new(ask)));
        self
    }

    /// Says that the behaviour sends this command. For the contract alone.
    pub fn sends<I: Routable<Item = Command<T>>, T>(&mut self, command: &I) -> &mut Self {
        self.describe(Plane::Command, command.item().label(), I::KEYED);
        self
    }

    /// Says that the behaviour announces this event. For the contract alone.
    pub fn emits<I: Routable<Item = Event<T>>, T>(&mut self, event: &I) -> &mut Self {
        self.describe(Plane::Event, event.item().label(), I::KEYED);
        self
    }

    fn values<I, T, H>(&mut self, plane: Plane, routed: &I, handler: H) -> &mut Self
    where
        I: Routable,
        I::Item: Item<Value = T>,
        T: DeserializeOwned + 'static,
        H: Handler<S, I::Arguments>,
    {
        let item = routed.item();
        let name = item.label().name;
        self.describe(plane, item.label(), I::KEYED);
        let handler = std::sync::Arc::new(handler);
        if let Some((former, convert)) = item.was() {
            let handler = handler.clone();
            self.react(plane, former, I::KEYED, move |state, given, fx| {
                let value = converted(former, convert, given.value)?;
                handler.call(state, I::arguments(given.key.unwrap_or(""), value), fx)
            });
        }
        self.react(plane, name, I::KEYED, move |state, given, fx| {
            handler.call(state, I::arguments(given.key.unwrap_or(""), given.value.decode()?), fx)
        })
    }

    fn react(
        &mut self,
        plane: Plane,
        name: &'static str,
        keyed: bool,
        function: impl Fn(&mut S, Given<'_>, &mut Effects<'_>) -> Result<(), Rejection> + Send + Sync + 'static,
    ) -> &mut Self {
        let reaction = Reaction { keyed, function: Box::new(function) };
        self.reactions.entry(plane).or_default().insert(name, reaction);
        self
    }

    fn describe(&mut self, plane: Plane, label: &Label, keyed: bool) {
        let Label { name, unit, about, latest_only } = *label;
        if !self.described.iter().any(|before| before.plane == plane && before.name == name) {
            self.described.push(Described { plane, name, keyed, unit, latest_only, about });
        }
    }
}

fn answered<R: Serialize>(answer: &R) -> Result<Json, Rejection> {
    Json::of(answer)
        .map_err(|error| Rejection::new(Code::BehaviorFailed, format!("the answer has no JSON: {error}")))
}

fn converted<T>(
    former: &str,
    convert: fn(serde_json::Value) -> Option<T>,
    value: &Json,
) -> Result<T, Rejection> {
    let refuse = || Rejection::new(Code::Malformed, format!("`{former}` is a former name; its value has no new form"));
    convert(value.decode()?).ok_or_else(refuse)
}

impl<S> std::fmt::Debug for Routes<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(&self.described).finish()
    }
}
