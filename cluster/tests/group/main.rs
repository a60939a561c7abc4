//! Groups on three nodes of one process, over a wire in memory: by one rule, by the other, and while they change.

mod chaos;
mod failing;
mod lone;
mod meta;
mod power;
mod shards;
mod storages;
mod switch;
mod world;
