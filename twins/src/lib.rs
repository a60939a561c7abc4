//! The model of a digital twin: pure, without clock, randomness, logging or I/O.
//!
//! A device's twin is a value. What is said to it is decided by a function of the twin, the input and the time; the
//! decision is journaled, and applied by code that knows no behaviour, so that history never depends on code that may
//! change:
//!
//! ```text
//! (Twin, Input, Header) --decide--> Transition --apply--> Twin
//! ```
//!
//! # For whoever writes a behaviour
//! A [`Behavior`](behavior::Behavior) is a state (any type of serde), a table of [`Routes`](routes::Routes) from the
//! constants of a [contract] to its functions, and those functions, which say what is to happen through
//! [`Effects`](effects::Effects). The [`prelude`] has all names of this example; [`testing::Bench`] runs a twin without
//! a node, and [`testing::Fleet`] several that call each other.
//!
//! ```
//! use twins::prelude::*;
//! use twins::testing::Bench;
//!
//! const LITRES: Telemetry<u64> = Telemetry::named("litres").unit("L");
//! const EMPTY: Event<u64> = Event::named("empty");
//!
//! #[derive(Debug, Clone, Default, Serialize, Deserialize)]
//! struct Tank {
//!     drawn: u64,
//! }
//!
//! impl Behavior for Tank {
//!     const KIND: &'static str = "tank";
//!
//!     fn routes(on: &mut Routes<Self>) {
//!         on.telemetry(&LITRES, Self::draw).emits(&EMPTY);
//!     }
//! }
//!
//! impl Tank {
//!     fn draw(&mut self, litres: u64, fx: &mut Effects) -> Result<(), Rejection> {
//!         if litres > 1_000 {
//!             return Err(Rejection::because("no tank holds so much"));
//!         }
//!         self.drawn += litres;
//!         if self.drawn >= 100 {
//!             fx.emit(&EMPTY, &self.drawn);
//!         }
//!         Ok(())
//!     }
//! }
//!
//! let mut bench = Bench::<Tank>::default();
//! bench.telemetry(&LITRES, &70).telemetry(&LITRES, &50);
//! assert_eq!(bench.emitted(&EMPTY), [120]);
//! ```
//!
//! # For whoever hosts twins
//! In the order one meets them: a [`TwinId`](id::TwinId) names a twin within its tenant. An [`Input`](input::Input) with
//! its [`Header`](header::Header) (who, when, under which message id) is what is said. The [`Kinds`](kind::Kinds) of a
//! binary decide it on a [`Live`](decide::Live) twin; a [`Decision`](decide::Decision) has the
//! [`Transition`](transition::Transition) to journal, the [`Reply`](reply::Reply) or the
//! [`Rejection`](rejection::Rejection), and the [`Output`](reply::Output)s for its connections. The two last may leave when
//! the first is durable. [`Twin::apply`](twin::Twin::apply) makes the twin from its transitions.
//!
//! ```
//! use twins::decide::{Decision, Live};
//! use twins::header::Header;
//! use twins::id::TwinId;
//! use twins::input::Input;
//! use twins::kind::Kinds;
//! use twins::name::Name;
//! use twins::twin::Twin;
//!
//! let (id, mut live) = (TwinId::in_default_tenant("pump-7")?, Live::default());
//! let register = Input::Register { kind: Name::fixed("device"), tags: None, with: None };
//! let Decision { transition, reply, .. } = Kinds::default().decide(&id, &mut live, &register, Header::default());
//! reply?;
//!
//! let mut replica = Twin::default();
//! assert!(replica.apply(&transition.expect("a twin that is new changes")), "it follows on what is there");
//! assert_eq!(&replica, &**live.twin());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # What a twin is made of
//! | part | is |
//! |---|---|
//! | [`section`], [`json`] | tags, desired, reported and the behaviour's state: checked JSON text, changed by set/remove patches |
//! | [`queue`], [`command`], [`dead`] | commands on their way, those that ended, the dead letters |
//! | [`session`], [`handshake`], [`will`] | the connections of its device, QoS 2, and what is said when one is cut |
//! | [`timers`] | when it wakes |
//! | [`mids`], [`keys`], [`results`] | what was said before, so that a repetition has no second effect |
//!
//! # Units and limits
//! Times are [`Timestamp`](time::Timestamp)s, milliseconds UTC since 1970; durations in text end in `_s` or `_ms`. Sizes
//! are bytes of compact JSON. Each limit is a constant beside what it limits, and going past it is a refusal that names
//! it: a section 64 KiB ([`section::SECTION_BYTES_MAX`]) and, as all that comes from outside, 32 deep and by default 256 KiB
//! ([`json::Limits`]); 1,000 open commands of 4 MiB together ([`queue::OPEN_MAX`], [`queue::OPEN_BYTES_MAX`]) that live
//! for 30 days at most ([`queue::TTL_MAX`]); 64 timers ([`timers::TIMERS_MAX`]); 1,000 effects of one input
//! ([`effects::EFFECTS_MAX`]); 16 calls in a row ([`decide`]); 4 connections ([`session::CONNECTIONS_MAX`]).
//!
//! # Refusals and errors
//! A refusal is a value, [`Rejection`](rejection::Rejection): its [`Code`](rejection::Code) is stable and says what to do
//! next. It leaves no trace. A handler that panics is a refusal too, `behavior-failed`. Deciding never fails
//! otherwise; applying says `false`, and changes nothing, only for a transition that does not follow on the twin.
//!
//! # What it is not
//! It has no threads, sends nothing and keeps nothing: the time comes with the header, and durability is whoever
//! journals the transitions. It is no rule engine and no store of history.
//!
//! # Features
//! `behavior`, on by default. Without it the crate is the [`contract`] module alone, for device code that shares the
//! constants without the server.

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
    pub mod trust;
    pub mod twin;
    pub mod will;
}
