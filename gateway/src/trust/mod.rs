//! Who is let in where nobody is let in by default: tokens of people and services, what the directory says of
//! them, and what devices prove themselves with; and how a device gets its key.

pub mod asked;
pub mod authority;
mod certified;
pub mod challenge;
mod devices;
mod failures;
mod guarded;
pub mod guesses;
pub mod key;
pub mod master;
pub mod password;
pub mod provisioning;
pub mod signed;
pub mod token;
pub mod vault;

pub use guarded::Guarded;
