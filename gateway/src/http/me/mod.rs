//! HTTP for devices that speak nothing else: what MQTT does for them, call by call.
//!
//! The device is named by its credential, never by the path. What it says is durable when it is answered, and refused
//! as over MQTT. It has no session, so it is never *connected*: requests do not reach it, and what waits for it (the
//! desired section, the next command) it asks for, waiting up to a minute for a change.

pub(super) mod commands;
pub(super) mod credentials;
pub(super) mod desired;
mod device;
pub(super) mod speaking;

pub(super) use device::Certificates;
