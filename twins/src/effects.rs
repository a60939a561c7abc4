//! What a handler wants to happen: recorded, and carried out only if the handler succeeds.

use std::ops::Deref;
use std::time::Duration;

use serde::Serialize;

use crate::body::Body;
use crate::command::Mode;
use crate::context::Context;
use crate::contract::{Command, Desired, Event, Instance, Item, Method, Reported, Timer};
use crate::id::TwinId;
use crate::json::{Json, Pointer};
use crate::name::Name;
use crate::queue::{OPEN_BYTES_MAX, OPEN_MAX, TTL_MAX};
use crate::rejection::{Code, Rejection};
use crate::section::{SECTION_BYTES_MAX, Which};
use crate::time::Timestamp;
use crate::timers::TIMERS_MAX;

/// The bytes of one value that a handler sends, announces or sets.
pub const VALUE_BYTES_MAX: usize = 256 * 1024;
/// The bytes of the arguments of all calls that one input makes.
pub const CALLS_BYTES_MAX: usize = 1024 * 1024;
/// How many effects one input may have.
pub const EFFECTS_MAX: usize = 1_000;

/// The buffer of effects that a handler writes to; it is also the handler's [`Context`].
///
/// Nothing here fails at once: an effect that cannot be (a value that has no JSON, a full queue) refuses the whole
/// input when the handler returns.
#[derive(Debug)]
pub struct Effects<'a> {
    pub(crate) context: Context<'a>,
    intents: Vec<Intent>,
    failure: Option<Rejection>,
}

/// An effect to be.
#[derive(Debug)]
pub(crate) enum Intent {
    Send { name: Name, payload: Body, deadline: Timestamp, mode: Mode },
    Emit { name: Name, data: Json },
    Call { twin: TwinId, method: Name, argument: Json },
    Arm { name: Name, due: Timestamp },
    Disarm { name: Name },
    /// Sets a property of a section, or removes it where the value is null.
    Put { section: Which, path: Pointer, value: Json },
}

/// A timer, or one instance of a keyed one.
#[derive(Debug)]
pub struct TimerName(Name);

impl From<Timer> for TimerName {
    fn from(timer: Timer) -> Self {
        Self(Name::trusted(timer.name))
    }
}

impl From<Instance<'_, Timer>> for TimerName {
    fn from(instance: Instance<'_, Timer>) -> Self {
        Self(Name::keyed(instance.item.name, instance.key))
    }
}

impl<'a> Effects<'a> {
    pub(crate) fn new(context: Context<'a>) -> Self {
        Self { context, intents: Vec::new(), failure: None }
    }

    /// Queues a command to the device; after `patience` it expires. It asks for an answer where the kind routes this
    /// command's outcome. At most 30 days.
    pub fn send<'c, T: Serialize + 'c>(
        &mut self,
        command: impl Into<Instance<'c, Command<T>>>,
        payload: &T,
        patience: Duration,
    ) {
        let Instance { item, key } = command.into();
        let name = Name::keyed(item.label().name, key);
        let mode = if item.label().latest_only { Mode::Latest } else { Mode::Queue };
        let deadline = self.context.now() + patience.min(TTL_MAX);
        let Some(payload) = self.json(&name, payload) else { return };
        let sends = self.intents.iter().filter_map(|intent| match intent {
            Intent::Send { payload, .. } => Some(payload.len()),
            _ => None,
        });
        let (count, bytes) = sends.fold((0, 0), |(count, bytes), payload| (count + 1, bytes + payload));
        let open = self.context.twin.commands();
        if open.len() + count >= OPEN_MAX {
            return self.fail(Code::QueueFull, format!("command `{name}` found {OPEN_MAX} open commands"));
        }
        if open.open_bytes() + bytes + payload.len() > OPEN_BYTES_MAX {
            let why = format!("command `{name}` would make the open commands larger than {OPEN_BYTES_MAX} bytes");
            return self.fail(Code::QueueFull, why);
        }
        self.push(Intent::Send { name, payload: Body::Json(payload), deadline, mode });
    }

    /// Announces a fact.
    pub fn emit<'c, T: Serialize + 'c>(&mut self, event: impl Into<Instance<'c, Event<T>>>, data: &T) {
        let Instance { item, key } = event.into();
        let name = Name::keyed(item.label().name, key);
        let Some(data) = self.json(&name, data) else { return };
        self.push(Intent::Emit { name, data });
    }

    /// Calls a method of another twin of the same tenant, by its id.
    ///
    /// The call is committed with what caused it, and executed once, after that, as an input of that twin's own; calls
    /// of one twin to another arrive in order. What the method answers is dropped. If it is refused (no such twin or
    /// method, the handler refuses or panics), this twin announces `call-refused` with `{twin, method, code, message}`.
    /// Calls that follow from each other are cut after [`HOPS_MAX`](crate::decide::HOPS_MAX), with the event `call-cut`.
    ///
    /// ```
    /// use twins::prelude::*;
    /// use twins::testing::{Bench, Fleet};
    ///
    /// const PRESENCE: Telemetry<bool> = Telemetry::named("presence");
    /// const SWITCH: Method<bool, ()> = Method::named("switch");
    ///
    /// #[derive(Debug, Clone, Default, Serialize, Deserialize)]
    /// struct Hall {}
    ///
    /// impl Behavior for Hall {
    ///     const KIND: &'static str = "hall";
    ///
    ///     fn routes(on: &mut Routes<Self>) {
    ///         on.telemetry(&PRESENCE, Self::entered);
    ///     }
    /// }
    ///
    /// impl Hall {
    ///     fn entered(&mut self, present: bool, fx: &mut Effects) {
    ///         fx.call("lamp-1", &SWITCH, &present);
    ///     }
    /// }
    ///
    /// #[derive(Debug, Clone, Default, Serialize, Deserialize)]
    /// struct Lamp {
    ///     on: bool,
    /// }
    ///
    /// impl Behavior for Lamp {
    ///     const KIND: &'static str = "lamp";
    ///
    ///     fn routes(on: &mut Routes<Self>) {
    ///         on.method(&SWITCH, Self::switch);
    ///     }
    /// }
    ///
    /// impl Lamp {
    ///     fn switch(&mut self, on: bool, _: &mut Effects) -> Result<(), Rejection> {
    ///         self.on = on;
    ///         Ok(())
    ///     }
    /// }
    ///
    /// let mut fleet = Fleet::default();
    /// fleet.add::<Hall>("hall").add::<Lamp>("lamp-1");
    /// fleet.with("hall", |hall: &mut Bench<Hall>| drop(hall.telemetry(&PRESENCE, &true)));
    /// assert!(fleet.with("lamp-1", |lamp: &mut Bench<Lamp>| lamp.state().on));
    /// ```
    pub fn call<A: Serialize, R>(&mut self, twin: &str, method: &Method<A, R>, argument: &A) {
        let name = Name::trusted(method.label.name);
        let twin = match TwinId::new(self.context.id.tenant(), twin) {
            Ok(twin) => twin,
            Err(error) => return self.fail(Code::Malformed, format!("a call of `{name}`: {error}")),
        };
        let Some(argument) = self.json(&name, argument) else { return };
        let calls = self.intents.iter().map(|intent| match intent {
            Intent::Call { argument, .. } => argument.len(),
            _ => 0,
        });
        if calls.sum::<usize>() + argument.len() > CALLS_BYTES_MAX {
            let why = format!("the calls of one input have more than {CALLS_BYTES_MAX} bytes, with that of `{name}`");
            return self.fail(Code::TooLarge, why);
        }
        self.push(Intent::Call { twin, method: name, argument });
    }

    /// Arms a timer, or moves it: it fires once, `after` from now, also over restarts.
    pub fn arm(&mut self, timer: impl Into<TimerName>, after: Duration) {
        let TimerName(name) = timer.into();
        let arms = self.intents.iter().filter(|intent| matches!(intent, Intent::Arm { .. })).count();
        if self.context.twin.timers().len() + arms >= TIMERS_MAX && !self.context.twin.timers().contains(&name) {
            return self.fail(Code::TooMany, format!("timer `{name}` found {TIMERS_MAX} armed timers"));
        }
        let due = self.context.now() + after;
        self.push(Intent::Arm { name, due });
    }

    /// Takes a timer back; one that is not armed is none.
    pub fn disarm(&mut self, timer: impl Into<TimerName>) {
        let TimerName(name) = timer.into();
        self.push(Intent::Disarm { name });
    }

    /// Changes what the device should become; a value that is JSON's null removes the property.
    pub fn desire<'c, T: Serialize + 'c>(&mut self, property: impl Into<Instance<'c, Desired<T>>>, value: &T) {
        let Instance { item, key } = property.into();
        self.put(Which::Desired, item.label().name, key, value);
    }

    /// Changes what the twin shows as reported, for a value that the behaviour knows better than the device.
    pub fn report<'c, T: Serialize + 'c>(&mut self, property: impl Into<Instance<'c, Reported<T>>>, value: &T) {
        let Instance { item, key } = property.into();
        self.put(Which::Reported, item.label().name, key, value);
    }

    /// What was recorded; or why it cannot be.
    pub(crate) fn finish(self) -> Result<Vec<Intent>, Rejection> {
        self.failure.map_or(Ok(self.intents), Err)
    }

    fn put<T: Serialize>(&mut self, section: Which, name: &'static str, key: Option<&str>, value: &T) {
        let Some(value) = self.json(&Name::keyed(name, key), value) else { return };
        let path = property_path(name, key);
        let puts = self.intents.iter().map(|intent| match intent {
            Intent::Put { section: of, path, value } if *of == section => path.as_str().len() + value.len() + 8,
            _ => 0,
        });
        let bytes = self.context.twin.section(section).document().len() + puts.sum::<usize>() + value.len();
        if bytes > SECTION_BYTES_MAX {
            let why = format!("`{name}` would make {} larger than {SECTION_BYTES_MAX} bytes", section.as_str());
            return self.fail(Code::TooLarge, why);
        }
        self.push(Intent::Put { section, path, value });
    }

    fn json<T: Serialize>(&mut self, name: &Name, value: &T) -> Option<Json> {
        match Json::of(value) {
            Ok(json) if json.len() <= VALUE_BYTES_MAX => Some(json),
            Ok(json) => {
                let why = format!("the value of `{name}` has {} bytes; the limit is {VALUE_BYTES_MAX}", json.len());
                self.fail(Code::TooLarge, why);
                None
            }
            Err(error) => {
                self.fail(Code::BehaviorFailed, format!("the value of `{name}` has no JSON: {error}"));
                None
            }
        }
    }

    fn push(&mut self, intent: Intent) {
        if self.intents.len() == EFFECTS_MAX {
            return self.fail(Code::BehaviorFailed, format!("one input had more than {EFFECTS_MAX} effects"));
        }
        self.intents.push(intent);
    }

    fn fail(&mut self, code: Code, why: String) {
        self.failure.get_or_insert(Rejection::new(code, why));
    }
}

impl<'a> Deref for Effects<'a> {
    type Target = Context<'a>;

    fn deref(&self) -> &Context<'a> {
        &self.context
    }
}

/// Where a property of this name stands in its section.
pub(crate) fn property_path(name: &str, key: Option<&str>) -> Pointer {
    name.split('/').chain(key).fold(Pointer::root(), |path, segment| path.join(segment))
}
