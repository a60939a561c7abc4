//! The kinds of twins that a node knows, each with its behaviour, or with none.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde::Serialize;

use crate::behavior::Behavior;
use crate::logic::{Logic, Typed};
use crate::routes::Described;

/// The generic kind: a complete twin without behaviour.
pub const DEVICE: &str = "device";

/// A kind of twin. What it does not declare it accepts as generic.
#[derive(Clone)]
pub struct Kind {
    name: &'static str,
    pub(crate) logic: Option<Arc<dyn Logic>>,
    /// This binary lacks it.
    pub(crate) is_missing: bool,
}

/// What stands in for a kind that this binary lacks: the system's part of an input happens, and nothing else.
pub(crate) static MISSING: Kind = Kind { name: "", logic: None, is_missing: true };

impl Kind {
    /// The kind of a behaviour.
    pub fn of<B: Behavior>() -> Self {
        Self { name: B::KIND, logic: Some(Arc::new(Typed::<B>::new())), is_missing: false }
    }

    /// A kind without behaviour.
    pub const fn generic(name: &'static str) -> Self {
        Self { name, logic: None, is_missing: false }
    }

    /// Its name.
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// What its twins say, hear and are told.
    pub fn contract(&self) -> Contract<'_> {
        match &self.logic {
            Some(logic) => Contract { kind: self.name, version: logic.version(), items: logic.described() },
            None => Contract { kind: self.name, version: 0, items: &[] },
        }
    }
}

impl fmt::Debug for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Kind").field(&self.name).finish()
    }
}

/// A kind's contract, as data.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Contract<'a> {
    /// The kind.
    pub kind: &'a str,
    /// The version of its state; 0 for a kind without behaviour.
    pub version: u32,
    /// Its lines, in the order the behaviour declares them.
    pub items: &'a [Described],
}

/// The kinds by name; [`DEVICE`] is always among them.
#[derive(Debug, Clone)]
pub struct Kinds(BTreeMap<&'static str, Kind>);

impl Default for Kinds {
    fn default() -> Self {
        Self(BTreeMap::from([(DEVICE, Kind::generic(DEVICE))]))
    }
}

impl Kinds {
    /// With one more kind; one of the same name is replaced.
    #[must_use]
    pub fn with(mut self, kind: Kind) -> Self {
        self.0.insert(kind.name, kind);
        self
    }

    /// The kind of this name.
    pub fn get(&self, name: &str) -> Option<&Kind> {
        self.0.get(name)
    }

    /// All of them, by name.
    pub fn iter(&self) -> impl Iterator<Item = &Kind> {
        self.0.values()
    }
}
