//! What goes wrong, and what an operator does meanwhile, as a seed will have it.

use crate::node::{ALL, GROUPS, Order, WRITTEN};
use runtime::files::sim::Random;
use std::time::Duration;

/// One thing that goes wrong, or is right again, or is asked for.
#[derive(Debug, Clone, Copy)]
pub enum Fault {
    /// Nothing passes between two nodes.
    Cut(u64, u64),
    /// Nothing passes from one node to another.
    Deafen(u64, u64),
    /// A node hears nobody, and nobody hears it.
    CutOff(u64),
    /// All of that is over.
    Mend,
    /// So many of a hundred messages are lost.
    Lose(u64),
    /// Messages take up to so many ms.
    Delay(u64),
    /// The power of a node goes after some operations of its disk, and then the node; it is back after some ms.
    Crash { node: u64, operations: u64, back: u64 },
    /// The power of all nodes goes at once.
    Blackout { back: u64 },
    /// A sync fails, so that the node has to be started again, after some ms.
    FailSync { node: u64, back: u64 },
    /// A disk is slow, or not any more.
    Slow { node: u64, is_slow: bool },
    /// A wall clock jumps, to so many ms ahead.
    Jump { node: u64, ahead: i64 },
    /// Somebody asks a node for something.
    Order(u64, Order),
}

impl Fault {
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Cut(..) => "cut",
            Self::Deafen(..) => "deafen",
            Self::CutOff(_) => "cut off",
            Self::Mend => "mend",
            Self::Lose(_) => "loss",
            Self::Delay(_) => "delay",
            Self::Crash { .. } => "crash",
            Self::Blackout { .. } => "blackout",
            Self::FailSync { .. } => "failed sync",
            Self::Slow { .. } => "slow disk",
            Self::Jump { .. } => "clock jump",
            Self::Order(..) => "order",
        }
    }

    /// The next one, and after which time.
    pub fn next(random: &mut Random) -> (Duration, Self) {
        let pause = Duration::from_millis(20 + random.below(500));
        let node = 1 + random.below(3);
        let other = 1 + (node + random.below(2)) % 3;
        let group = GROUPS[random.below(GROUPS.len() as u64) as usize];
        let fault = match random.below(40) {
            0..2 => Self::Cut(node, other),
            2 => Self::Deafen(node, other),
            3..7 => Self::CutOff(node),
            7..13 => Self::Mend,
            13 => Self::Lose(random.below(30)),
            14 => Self::Delay(2 + random.below(150)),
            15..18 => Self::Crash { node, operations: random.below(6), back: 50 + random.below(2_000) },
            18 => Self::Blackout { back: 50 + random.below(500) },
            19 => Self::FailSync { node, back: 100 + random.below(1_000) },
            20..22 => Self::Slow { node, is_slow: random.chance(40) },
            22 => Self::Jump { node, ahead: random.below(120_000) as i64 - 60_000 },
            23..31 => Self::Order(node, Order::Grow(group)),
            31..34 => Self::Order(node, Order::Shrink(group)),
            34..37 => Self::Order(node, Order::Transfer(group, other)),
            _ => Self::Order(node, Order::Relisten(WRITTEN[random.below(4) as usize])),
        };
        (pause, fault)
    }
}

/// Every group is to have all nodes again.
pub fn regrow() -> impl Iterator<Item = (u64, Order)> {
    ALL.into_iter().flat_map(|node| GROUPS.map(|group| (node, Order::Grow(group))))
}
