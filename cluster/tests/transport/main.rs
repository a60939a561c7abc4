//! The transport between two and three nodes: on loopback, and on a network in memory where something has to be cut.

mod bulk;
mod carried;
mod fuzz;
mod net;
mod refused;
mod rogue;
mod world;
