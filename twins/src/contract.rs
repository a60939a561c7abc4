//! What a device says, hears and is told: typed names, as constants that device code and behaviour share.
//!
//! ```
//! use twins::contract::{Command, Desired, Telemetry};
//!
//! pub const TEMPERATURE: Telemetry<f64> = Telemetry::named("temperature").unit("degC");
//! pub const SETPOINT: Desired<f64> = Desired::named("setpoint").about("what the room should have");
//! pub const HEATER: Command<bool> = Command::named("heater").latest_only();
//! ```
//!
//! A name may hold `/`: as a property `climate/setpoint` is the member `setpoint` of the object `climate`. A
//! [`Keyed`] item has many instances, each with a key: the channels `voltage/1`, `voltage/2`, the property
//! `{"valve": {"north": true}}`.
//!
//! This module needs neither the behaviours nor the runtime: without the feature `behavior` it is all of the crate.

use std::marker::PhantomData;

/// What is common to all items.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Label {
    /// The name on the wire.
    pub name: &'static str,
    /// The unit, as UCUM writes it: `degC`, `m3/h`.
    pub unit: Option<&'static str>,
    /// One line for people.
    pub about: Option<&'static str>,
    /// Of a command: a new one supersedes those of its name that are not final.
    pub latest_only: bool,
}

impl Label {
    pub(crate) const fn named(name: &'static str) -> Self {
        Self { name, unit: None, about: None, latest_only: false }
    }
}

/// A former name of an item, and how a value under it becomes one of today; `None` refuses it.
pub type Was<T> = (&'static str, fn(serde_json::Value) -> Option<T>);

/// One of the typed names of a contract.
pub trait Item {
    /// The type of its values.
    type Value;

    /// Its name, unit and purpose.
    fn label(&self) -> &Label;

    /// Its former name.
    fn was(&self) -> Option<Was<Self::Value>>;
}

/// Many instances of one item, told apart by a key.
#[derive(Debug, Clone, Copy)]
pub struct Keyed<C>(pub(crate) C);

impl<C> Keyed<C> {
    /// The instance with this key.
    pub fn at<'a>(&'a self, key: &'a str) -> Instance<'a, C> {
        Instance { item: &self.0, key: Some(key) }
    }
}

/// An item, or one instance of a keyed one.
#[derive(Debug, Clone, Copy)]
pub struct Instance<'a, C> {
    pub(crate) item: &'a C,
    pub(crate) key: Option<&'a str>,
}

impl<'a, C> From<&'a C> for Instance<'a, C> {
    fn from(item: &'a C) -> Self {
        Self { item, key: None }
    }
}

macro_rules! items {
    ($($(#[$about:meta])* $item:ident;)*) => {$(
        $(#[$about])*
        pub struct $item<T> {
            label: Label,
            was: Option<Was<T>>,
            value: PhantomData<fn() -> T>,
        }

        impl<T> $item<T> {
            /// The item of this name.
            pub const fn named(name: &'static str) -> Self {
                Self { label: Label::named(name), was: None, value: PhantomData }
            }

            /// With a unit, as UCUM writes it.
            pub const fn unit(mut self, unit: &'static str) -> Self {
                self.label.unit = Some(unit);
                self
            }

            /// With one line for people.
            pub const fn about(mut self, about: &'static str) -> Self {
                self.label.about = Some(about);
                self
            }

            /// With a former name: values under it are converted, or refused where `convert` gives `None`.
            pub const fn was(mut self, name: &'static str, convert: fn(serde_json::Value) -> Option<T>) -> Self {
                self.was = Some((name, convert));
                self
            }

            /// Many instances of it, told apart by a key.
            pub const fn keyed(self) -> Keyed<Self> {
                Keyed(self)
            }
        }

        impl<T> Item for $item<T> {
            type Value = T;

            fn label(&self) -> &Label {
                &self.label
            }

            fn was(&self) -> Option<Was<T>> {
                self.was
            }
        }

        impl<T> Clone for $item<T> {
            fn clone(&self) -> Self {
                *self
            }
        }

        impl<T> Copy for $item<T> {}

        impl<T> std::fmt::Debug for $item<T> {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.debug_tuple(stringify!($item)).field(&self.label.name).finish()
            }
        }
    )*};
}

items! {
    /// A channel of samples from the device.
    Telemetry;
    /// A property of what the device should become.
    Desired;
    /// A property of what the device says it is.
    Reported;
    /// A command to the device: queued, durable.
    Command;
    /// A fact that the behaviour announces.
    Event;
}

impl<T> Command<T> {
    /// A new one supersedes those of its name (and key) that are not final; an equal one changes nothing.
    pub const fn latest_only(mut self) -> Self {
        self.label.latest_only = true;
        self
    }
}

/// A method of the twin: its behaviour answers, and may change the twin.
#[derive(Debug, Clone, Copy)]
pub struct Method<A, R> {
    pub(crate) label: Label,
    types: PhantomData<fn(A) -> R>,
}

/// A question to the twin: its behaviour answers from its state, and changes nothing.
#[derive(Debug, Clone, Copy)]
pub struct Query<A, R> {
    pub(crate) label: Label,
    types: PhantomData<fn(A) -> R>,
}

/// A timer of the behaviour: durable, fires once.
#[derive(Debug, Clone, Copy)]
pub struct Timer {
    pub(crate) name: &'static str,
}

impl<A, R> Method<A, R> {
    /// The method of this name.
    pub const fn named(name: &'static str) -> Self {
        Self { label: Label::named(name), types: PhantomData }
    }

    /// With one line for people.
    pub const fn about(mut self, about: &'static str) -> Self {
        self.label.about = Some(about);
        self
    }
}

impl<A, R> Query<A, R> {
    /// The query of this name.
    pub const fn named(name: &'static str) -> Self {
        Self { label: Label::named(name), types: PhantomData }
    }

    /// With one line for people.
    pub const fn about(mut self, about: &'static str) -> Self {
        self.label.about = Some(about);
        self
    }
}

impl Timer {
    /// The timer of this name.
    pub const fn named(name: &'static str) -> Self {
        Self { name }
    }

    /// Many timers of this name, told apart by a key.
    pub const fn keyed(self) -> Keyed<Self> {
        Keyed(self)
    }
}
