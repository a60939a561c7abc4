//! Twinfold: a digital-twin runtime in which every device is an actor that remembers.
//!
//! This crate is the whole of it in one name: what a developer of a behaviour needs is re-exported here, and
//! [`Server`] is the binary, with every verb of `twinfold --help`.
//!
//! # A binary of your own
//! A [`Behavior`](twins::behavior::Behavior) is a state, and functions for what its device says and what is asked of it;
//! [`prelude`] has the names. This is all of a binary that knows one kind of twin more than the stock one:
//!
//! ```no_run
//! # use twinfold::prelude::*;
//! # #[derive(Debug, Clone, Default, Serialize, Deserialize)]
//! # struct Lamp {}
//! # impl Behavior for Lamp {
//! #     const KIND: &'static str = "lamp";
//! #     fn routes(_: &mut Routes<Self>) {}
//! # }
//! fn main() -> std::process::ExitCode {
//!     twinfold::Server::new().kind::<Lamp>().main()
//! }
//! ```
//!
//! and this is the lamp, and a test of it, without a node:
//!
//! ```
//! use twinfold::prelude::*;
//! use twinfold::testing::Bench;
//!
//! const SWITCH: Desired<bool> = Desired::named("on");
//! const RELAY: Command<bool> = Command::named("relay").latest_only();
//!
//! #[derive(Debug, Clone, Default, Serialize, Deserialize)]
//! struct Lamp {
//!     switched: u32,
//! }
//!
//! impl Behavior for Lamp {
//!     const KIND: &'static str = "lamp";
//!
//!     fn routes(on: &mut Routes<Self>) {
//!         on.desired(&SWITCH, |lamp: &mut Self, on: bool, fx: &mut Effects| {
//!             lamp.switched += 1;
//!             fx.send(&RELAY, &on, Duration::from_secs(60));
//!         });
//!     }
//! }
//!
//! let mut bench = Bench::<Lamp>::default();
//! bench.desire(&SWITCH, &true)?;
//! assert_eq!(bench.sent(&RELAY), [true]);
//! assert_eq!(bench.state().switched, 1);
//! # Ok::<(), Rejection>(())
//! ```
//!
//! # Where to look
//! | for | see |
//! |---|---|
//! | what a behaviour may do, and its limits | [`twins`], [`twins::effects::Effects`] |
//! | tests with a clock that is cranked, and several twins | [`testing::Bench`], [`testing::Fleet`] |
//! | constants that device code shares, without the server | the crate `twins` without its default feature |
//! | what devices and people see: topics, the API, verbs, flags | the README, `twinfold --help`, `/openapi.json` of a node |
//! | how it works, and where | `ARCHITECTURE.md` |
//!
//! # Errors
//! [`Server::main`] ends with 0; with 1 when a verb was refused or failed; with 2 when it was misspelled. What went wrong,
//! and the next step, are on stderr; data is on stdout.
//!
//! # What it is not
//! No library to embed a node in another program: the rooms `runtime`, `cluster` and `gateway` can be put together in
//! another way (`src/node/start.rs` is 200 lines), but their interfaces follow the server's needs.

#![warn(missing_docs)]

pub use twins;
pub use twins::{prelude, testing};

#[cfg(target_os = "linux")]
mod bench;
mod cli;
mod dev;
mod first;
mod joining;
mod master;
mod metrics;
mod node;
mod restore;
mod sealing;
mod serve;
mod server;
mod signals;
mod simulate;
mod telemetry;

pub use server::Server;

/// The README's Rust is compiled with the other examples; its console sessions are run by `.ci/readme`.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
