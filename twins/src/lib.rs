//! The model of a digital twin: pure, without clock, randomness, logging or I/O.
//!
//! A device's twin is a value, [`Twin`](twin::Twin). What is said to it is an [`Input`](input::Input). Deciding an
//! input yields a [`Transition`](transition::Transition): what changes, and what leaves the twin, as plain data. It is
//! journaled, and applied by code that knows no behaviour, so that history never depends on code that may change:
//!
//! ```text
//! (Twin, Input, Header) --decide--> Transition --apply--> Twin
//! ```
//!
//! A developer writes a [`Behavior`](behavior::Behavior): a state, a table of functions, and the constants of a
//! [contract]. [`testing::Bench`] runs one without a node.
//!
//! The feature `behavior` is on by default. Without it the crate is the [`contract`] module alone, for device code
//! that shares the constants.

#![warn(missing_docs)]

pub mod contract;

macro_rules! model {
    ($($visibility:vis mod $module:ident;)*) => {$(
        #[cfg(feature = "behavior")]
        $visibility mod $module;
    )*};
}

model! {
    pub mod behavior;
    pub mod body;
    mod chunks;
    mod codec;
    pub mod command;
    pub mod context;
    pub mod dead;
    pub mod decide;
    pub mod digest;
    pub mod effects;
    pub mod handshake;
    pub mod header;
    pub mod id;
    pub mod input;
    pub mod json;
    pub mod keys;
    pub mod kind;
    mod logic;
    pub mod mids;
    pub mod migrations;
    pub mod name;
    pub mod prelude;
    pub mod queue;
    pub mod rejection;
    pub mod reply;
    pub mod results;
    pub mod routes;
    pub mod section;
    pub mod session;
    pub mod testing;
    pub mod time;
    pub mod timers;
    pub mod transition;
    pub mod twin;
    pub mod will;
}
