//! A name within a twin: of a channel, a command, a method, an event, a timer or a client.

use std::borrow::Borrow;
use std::convert::Infallible;
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use crate::rejection::{Code, Rejection};

/// The longest name, in bytes.
pub const NAME_BYTES_MAX: usize = 256;

/// A short text without control characters and without MQTT's wildcards. An instance of a keyed name is `name/key`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(Arc<str>);

impl Name {
    /// Takes a name from outside; `what` says in a refusal what it was to name.
    ///
    /// # Errors
    /// [`Code::Malformed`] if it is empty, longer than [`NAME_BYTES_MAX`], or holds `+`, `#` or a control character.
    pub fn new(what: &str, name: &str) -> Result<Self, Rejection> {
        let bad = |c: char| c == '+' || c == '#' || c.is_control();
        if name.is_empty() || name.len() > NAME_BYTES_MAX {
            let why = format!("{what} has {} bytes; it needs 1 to {NAME_BYTES_MAX}", name.len());
            return Err(Rejection::new(Code::Malformed, why));
        }
        if let Some(c) = name.chars().find(|&c| bad(c)) {
            return Err(Rejection::new(Code::Malformed, format!("{what} {name:?} holds {c:?}; leave that out")));
        }
        Ok(Self(name.into()))
    }

    /// Takes a topic filter from outside: a name that may hold the wildcards.
    ///
    /// # Errors
    /// As [`Name::new`], but for `+` and `#`.
    pub fn filter(filter: &str) -> Result<Self, Rejection> {
        if filter.is_empty() || filter.len() > NAME_BYTES_MAX || filter.chars().any(char::is_control) {
            let why = format!("a topic filter has 1 to {NAME_BYTES_MAX} bytes and no control characters");
            return Err(Rejection::new(Code::Malformed, why));
        }
        Ok(Self(filter.into()))
    }

    /// A name that is written in the code.
    pub fn fixed(name: &'static str) -> Self {
        debug_assert!(Self::filter(name).is_ok(), "{name:?} is no name");
        Self(name.into())
    }

    /// A name that the code itself made, so that there is nothing to check.
    pub(crate) fn trusted(name: &str) -> Self {
        Self(name.into())
    }

    /// `name/key`, or `name` alone.
    pub(crate) fn keyed(name: &str, key: Option<&str>) -> Self {
        match key {
            Some(key) => Self(format!("{name}/{key}").into()),
            None => Self(name.into()),
        }
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Deref for Name {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for Name {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

crate::codec::text!(Name, |text| Ok::<_, Infallible>(Name::trusted(text)));
