//! What a backup says of itself, as lines that a person can read.

use std::fmt;

use twins::time::Timestamp;

use super::Error;

/// The format that this version writes, and the only one that it reads.
pub const FORMAT: u32 = 1;

/// Of which node a backup is, and when it was taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// The node's number.
    pub node: u64,
    /// How often the node had been started.
    pub generation: u64,
    /// How many shards it has.
    pub shards: u32,
    /// When it was begun: everything that was acknowledged before is in it.
    pub taken: Timestamp,
}

impl fmt::Display for Head {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { node, generation, shards, taken } = self;
        write!(f, "format {FORMAT}\nnode {node}\ngeneration {generation}\nshards {shards}\n")?;
        writeln!(f, "taken {}", taken.as_millis())
    }
}

impl Head {
    pub(super) fn parse(text: &str) -> Result<Self, Error> {
        let value = |name: &str| {
            let lines = text.lines().filter_map(|line| line.split_once(' '));
            let value = lines.filter(|(of, _)| *of == name).find_map(|(_, value)| value.parse::<u64>().ok());
            value.ok_or_else(|| Error::damaged("backup", format!("it has no `{name}`")))
        };
        let number =
            |name| u32::try_from(value(name)?).map_err(|_| Error::damaged("backup", "a large number"));
        let found = number("format")?;
        if found != FORMAT {
            return Err(Error::Format { found });
        }
        Ok(Self {
            node: value("node")?,
            generation: value("generation")?,
            shards: number("shards")?,
            taken: Timestamp::from_millis(value("taken")?),
        })
    }
}
