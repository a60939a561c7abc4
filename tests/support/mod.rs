//! What the tests of whole nodes share: real processes and real connections, or a simulated disk under a node in the test.

pub mod cards;
pub mod device;
pub mod ground;
pub mod history;
pub mod http;
pub mod node;
pub mod online;
pub mod process;
pub mod raw;
pub mod served;
pub mod wire;
