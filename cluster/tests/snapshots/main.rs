//! States that move between three nodes of one process, and logs that drop what the states have.

mod catching_up;
mod forgotten;
mod power;
mod rogue;
mod shelf;
mod torn;
mod world;
