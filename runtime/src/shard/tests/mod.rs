//! The shard as a whole, on a simulated disk and a simulated log, over thousands of seeds.

mod calls;
mod channels;
mod confirming;
mod connections;
mod following;
mod handover;
mod kind;
mod limits;
mod log;
mod oracle;
mod replicas;
mod simulation;
mod world;
mod worlds;
