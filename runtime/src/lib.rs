//! The actors that host twins.

pub mod log;
