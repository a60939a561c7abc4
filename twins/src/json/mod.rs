//! JSON kept as the text that came: checked once on the way in, never turned into a tree.
//!
//! A document of 500 bytes is 5 KB as a tree of values, and most of what a twin does to one is to copy it but for two
//! members. So a [`Json`] is text in canonical form, and reading, comparing and changing it are scans of that text.
//! Text is canonical when it
//!
//! * has no whitespace between its tokens,
//! * names each member of an object once,
//! * escapes in strings only what must be (`"`, `\` and control characters), each in one way, and
//! * nests no deeper than [`DEPTH_MAX`].
//!
//! Two canonical values are then equal when their texts are, but for the spelling of numbers (kept as it came: `1.0` is
//! not `1`) and the order of members. [`Json::parse`] and [`Json::of`] make canonical text. Decoding from CBOR trusts
//! what this module encoded; every function is total on any other text too, though what it answers then means little.
//!
//! Two kinds of change exist. A [`Patch`] sets and removes by path: it is what the log keeps, since it can say null. A
//! merge patch (RFC 7396) is what the outside speaks: [`merge`] turns one into a `Patch`, [`pick`] goes the other way.

mod compact;
mod decode;
mod diff;
mod document;
mod edit;
mod error;
mod merge;
mod name;
mod named;
mod patch;
mod pick;
mod pointer;
mod raw;
mod rewrite;
mod scan;
mod token;
mod value;

#[cfg(test)]
mod arbitrary;

pub use diff::diff;
pub use document::Document;
pub use error::Error;
pub use merge::merge;
pub use patch::{Operation, PATHS_BYTES_MAX, Patch};
pub use pick::pick;
pub use pointer::Pointer;
pub use raw::{Elements, Members, Raw};
pub use value::Json;

/// The levels of arrays and objects a [`Json`] may have, and the segments of a [`Pointer`]: what serde_json still
/// decodes. A function that meets deeper text takes what lies below as one piece.
pub const DEPTH_MAX: usize = 127;

/// What JSON from outside may cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The bytes of the text as it came, whitespace included. Default 256 KiB. Parsing takes at most this much again,
    /// and 16 bytes for each member name in objects that are open at once.
    pub bytes: usize,
    /// The levels of arrays and objects: `1` has none, `[[1]]` has two. Default 32; more than [`DEPTH_MAX`] means that.
    pub depth: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { bytes: 256 * 1024, depth: 32 }
    }
}
