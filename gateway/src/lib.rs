//! Where devices and people connect: MQTT and HTTP.
//!
//! The gateway holds no truth: what it is told it hands to the twins, and it acknowledges when they have.

#![warn(missing_docs)]

mod descriptors;
pub mod document;
pub mod envelope;
pub mod http;
pub mod metrics;
pub mod mqtt;
mod peer;
mod trace;
