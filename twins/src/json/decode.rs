//! Reading text as a type, with an error that says where.

use serde::de::DeserializeOwned;
use serde_path_to_error::Segment;

use super::{Error, Pointer};

/// Reads `text`, which stands at `base`, as a `T`. Only a failure pays for tracking the place: it reads once more.
pub(super) fn decode<T: DeserializeOwned>(text: &str, base: &Pointer) -> Result<T, Error> {
    serde_json::from_str(text).or_else(|_| located(text, base))
}

fn located<T: DeserializeOwned>(text: &str, base: &Pointer) -> Result<T, Error> {
    let mut deserializer = serde_json::Deserializer::from_str(text);
    serde_path_to_error::deserialize(&mut deserializer).map_err(|error| {
        let pointer = error.path().iter().fold(base.clone(), |pointer, segment| match segment {
            Segment::Seq { index } => pointer.join(&index.to_string()),
            Segment::Map { key } => pointer.join(key),
            Segment::Enum { .. } | Segment::Unknown => pointer,
        });
        Error::Mismatch { pointer, reason: reason(error.inner()) }
    })
}

/// What serde_json says, without its line and column: the text is not the one the sender wrote.
fn reason(error: &serde_json::Error) -> String {
    let mut reason = error.to_string();
    if let Some(end) = reason.rfind(" at line ") {
        reason.truncate(end);
    }
    reason
}
