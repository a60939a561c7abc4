//! Who is let in where nobody is let in by default: tokens of people and services, and what the directory says of them.

mod guarded;
pub mod token;

pub use guarded::Guarded;
