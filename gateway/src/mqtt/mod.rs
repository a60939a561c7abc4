//! MQTT 3.1.1 and 5: devices connect, speak to their twin and hear from it.
//!
//! ```text
//! listener --accepts--> connection (a task: socket, timer, mailbox) --drives--> session (pure)
//! ```
//!
//! A `session` is a protocol without I/O: bytes, mail and time in; bytes, inputs and an end out. The connection is
//! the thin shell around it. Nothing a device says is acknowledged before its twin has committed it.
//!
//! Why a publish was refused is said on `errors` to the connection that published it, and to no other of the device: the
//! others did not send it. Nobody listening, it is said to nobody, but for the reason code of MQTT 5.
//!
//! Not there yet, and said so by the protocol: shared subscriptions, and applications as clients.
//! Retained messages are accepted as ordinary ones.

mod connection;
mod grounds;
mod listener;
mod options;
mod services;
mod session;

pub use listener::Listener;
pub use options::Options;
