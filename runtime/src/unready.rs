//! Why a node is not ready: a part of it, and what is in its way.

/// A part that does not serve, or not from outside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unready {
    /// Which: `shard 12`, `log`, `listener mqtt`.
    pub part: String,
    /// What is in its way, in words.
    pub why: String,
}

impl Unready {
    /// Says so.
    pub fn new(part: impl Into<String>, why: impl Into<String>) -> Self {
        Self { part: part.into(), why: why.into() }
    }
}

impl std::fmt::Display for Unready {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.part, self.why)
    }
}
