//! What the tests of whole nodes share: real processes, real connections.

pub mod device;
pub mod history;
pub mod http;
pub mod node;
pub mod online;
pub mod process;
pub mod raw;
pub mod wire;
