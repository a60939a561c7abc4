//! The actors that host twins.

pub mod files;
pub mod log;
