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

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize, PartialEq)]
    #[serde(deny_unknown_fields)]
    struct Climate {
        target_c: f64,
        #[serde(default)]
        zones: Vec<u8>,
    }

    #[track_caller]
    fn check(text: &str, outcome: &str) {
        let read = decode::<BTreeMap<String, Climate>>(text, &Pointer::parse("/desired").unwrap());
        assert_eq!(read.unwrap_err().to_string(), outcome);
    }

    #[test]
    fn an_error_names_the_place_and_the_reason() {
        check(
            r#"{"a/b":{"target_c":"warm"}}"#,
            "value at \"/desired/a~1b/target_c\" does not fit: invalid type: string \"warm\", expected f64",
        );
        check(
            r#"{"a":{"target_c":1,"zones":[1,256]}}"#,
            "value at \"/desired/a/zones/1\" does not fit: invalid value: integer `256`, expected u8",
        );
        check(r#"{"a":{}}"#, "value at \"/desired/a\" does not fit: missing field `target_c`");
        check("[]", "value at \"/desired\" does not fit: invalid type: sequence, expected a map");
    }

    #[test]
    fn a_number_too_large_for_its_type_is_a_mismatch() {
        let read = decode::<f64>("1e400", &Pointer::root());
        assert!(matches!(read, Err(Error::Mismatch { .. })), "{read:?}");
    }
}
