//! Who is let in where nobody is let in by default: tokens of people and services, and what the directory says of them.

mod guarded;
pub mod key;
pub mod master;
pub mod password;
pub mod token;
pub mod vault;

pub use guarded::Guarded;
