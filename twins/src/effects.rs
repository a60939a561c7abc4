//! What a handler wants to happen: recorded, and carried out only if the handler succeeds.

use std::ops::Deref;
use std::time::Duration;

use serde::Serialize;

use crate::body::Body;
use crate::command::Mode;
use crate::context::Context;
use crate::contract::{Command, Desired, Event, Instance, Item, Reported, Timer};
use crate::json::{Json, Pointer};
use crate::name::Name;
use crate::queue::{OPEN_BYTES_MAX, OPEN_MAX, TTL_MAX};
use crate::rejection::{Code, Rejection};
use crate::section::{SECTION_BYTES_MAX, Which};
use crate::time::Timestamp;
use crate::timers::TIMERS_MAX;

/// The bytes of one value that a handler sends, announces or sets.
pub const VALUE_BYTES_MAX: usize = 256 * 1024;
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
