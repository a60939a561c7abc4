//! Twinfold: a digital-twin runtime in which every device is an actor that remembers.
//!
//! A developer writes a [`Behavior`](twins::behavior::Behavior), and a binary of their own:
//!
//! ```no_run
//! use twinfold::prelude::*;
//!
//! #[derive(Debug, Clone, Default, Serialize, Deserialize)]
//! struct Lamp {
//!     on: bool,
//! }
//!
//! const SWITCH: Desired<bool> = Desired::named("on");
//!
//! impl Behavior for Lamp {
//!     const KIND: &'static str = "lamp";
//!
//!     fn routes(on: &mut Routes<Self>) {
//!         on.desired(&SWITCH, |lamp: &mut Self, on: bool, _: &mut Effects| lamp.on = on);
//!     }
//! }
//!
//! fn main() -> std::process::ExitCode {
//!     twinfold::Server::new().kind::<Lamp>().main()
//! }
//! ```
//!
//! That binary is the server with all its verbs, and knows one kind of twin more. What devices and people see of it is
//! the same as of the stock binary: see the README.

#![warn(missing_docs)]

pub use twins;
pub use twins::{prelude, testing};

#[cfg(target_os = "linux")]
mod bench;
mod cli;
mod dev;
mod metrics;
mod node;
mod restore;
mod server;
mod simulate;
mod telemetry;

pub use server::Server;

/// The README's Rust is compiled with the other examples; its console sessions are run by `.ci/readme`.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
