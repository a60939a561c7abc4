//! What may be wrong with JSON that came from outside, and with reading it as a type.

use super::Pointer;

/// Why text was refused, or could not be read as what the caller asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The text is larger than [`Limits::bytes`](super::Limits::bytes).
    #[error("JSON of {bytes} bytes is larger than the limit of {bytes_max}")]
    TooLarge {
        /// Its size.
        bytes: usize,
        /// The limit.
        bytes_max: usize,
    },
    /// The paths of a change are longer than [`PATHS_BYTES_MAX`](super::PATHS_BYTES_MAX) together.
    #[error("the paths of what it changes are longer than {bytes_max} bytes together; change less at once, or use shorter names")]
    TooScattered {
        /// The limit.
        bytes_max: usize,
    },
    /// The text, or a pointer, has more levels than its limit.
    #[error("JSON nests deeper than {depth_max} levels at byte {at}")]
    TooDeep {
        /// The limit.
        depth_max: usize,
        /// The byte at which the level too many begins.
        at: usize,
    },
    /// The text is not JSON (RFC 8259).
    #[error("JSON is malformed at byte {at}: expected {expected}")]
    Syntax {
        /// The byte, counted from 0, of the text as it came.
        at: usize,
        /// What the grammar wants there.
        expected: &'static str,
    },
    /// An object names a member twice, so that readers would disagree on its value.
    #[error("JSON names the member \"{name}\" twice in the object that ends at byte {at}")]
    Duplicate {
        /// The name, as escaped in JSON, at most 64 characters of it.
        name: String,
        /// The byte at which the object ends.
        at: usize,
    },
    /// The value is not an object where only an object has a meaning.
    #[error("JSON is not an object")]
    NotAnObject,
    /// The value does not have the shape of the type it was to be read as.
    #[error("value at \"{pointer}\" does not fit: {reason}")]
    Mismatch {
        /// Where in the document.
        pointer: Pointer,
        /// What the type wanted.
        reason: String,
    },
    /// A Rust value has no form in JSON, such as a map whose keys are not strings.
    #[error("value has no form in JSON: {reason}")]
    Unrepresentable {
        /// What its serializer said.
        reason: String,
    },
    /// Text is not a JSON pointer (RFC 6901).
    #[error("\"{pointer}\" is not a JSON pointer: {reason}")]
    Pointer {
        /// The text, at most 64 characters of it.
        pointer: String,
        /// What is wrong with it.
        reason: &'static str,
    },
}

/// As much of a text from outside as an error repeats.
pub(super) fn excerpt(text: &str) -> String {
    text.chars().take(64).collect()
}
