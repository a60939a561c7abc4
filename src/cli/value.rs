//! JSON as it is written on a command line, where quotes are dear.

use std::collections::BTreeMap;
use std::str::FromStr;

use serde::Serialize;
use twins::json::{self, Json, Limits};

/// A value: JSON, or else a plain word, which is a string.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub(super) struct Value(pub(super) Json);

/// Members of an object: `name=value`, or JSON of an object. Null removes, as in a merge patch (RFC 7396).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Members(Vec<(String, Json)>);

/// Text that begins as JSON does but is none: taken for a word, its error would surface in a device.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct Malformed(json::Error);

#[derive(Debug, thiserror::Error)]
pub(super) enum NoMembers {
    #[error(transparent)]
    Malformed(#[from] Malformed),
    #[error(
        "it is neither name=value nor a JSON object; write for example setpoint=21 or '{{\"setpoint\": 21}}'"
    )]
    Other,
}

impl FromStr for Value {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        match Json::parse(text.as_bytes(), &Limits::default()) {
            Ok(json) => Ok(Self(json)),
            Err(error) if text.trim_start().starts_with(['{', '[', '"']) => Err(Malformed(error)),
            Err(_) => Ok(Self(Json::of(text).expect("text has a form in JSON"))),
        }
    }
}

impl FromStr for Members {
    type Err = NoMembers;

    fn from_str(text: &str) -> Result<Self, NoMembers> {
        if text.trim_start().starts_with('{') {
            let Value(object) = text.parse()?;
            let members = object.as_raw().members().unwrap_or_default();
            return Ok(Self(members.map(|(name, value)| (name.into_owned(), value.to_json())).collect()));
        }
        let (name, value) =
            text.split_once('=').filter(|(name, _)| !name.is_empty()).ok_or(NoMembers::Other)?;
        let Value(value) = value.parse()?;
        Ok(Self(vec![(name.to_owned(), value)]))
    }
}

impl Members {
    /// All of them as one object; of the same name the last one counts.
    pub(super) fn merged(all: &[Self]) -> BTreeMap<&str, &Json> {
        all.iter().flat_map(|Self(members)| members).map(|(name, value)| (name.as_str(), value)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, json: &str) {
        let Value(value) = text.parse().unwrap();
        assert_eq!(value.as_str(), json, "{text}");
    }

    #[test]
    fn a_value_is_json_or_a_plain_word() {
        check("21.50", "21.50");
        check("true", "true");
        check(r#" {"a": [1]}"#, r#"{"a":[1]}"#);
        check("on", r#""on""#);
        check("0012", r#""0012""#);
        check("", r#""""#);
        check("it's", r#""it's""#);
    }

    #[test]
    fn what_begins_as_json_is_json() {
        for text in [r#"{"a":}"#, "[1", r#""on"#, r#"{"a":1,"a":2}"#] {
            assert!(text.parse::<Value>().is_err(), "{text}");
        }
    }

    #[test]
    fn members_come_as_pairs_or_as_an_object() {
        let all = ["a=1", r#"{"b": "x", "a": 2}"#, "c=", "d=null", "e=x=y"];
        let all = all.map(|text| text.parse::<Members>().unwrap());

        let merged = serde_json::to_string(&Members::merged(&all)).unwrap();

        assert_eq!(merged, r#"{"a":2,"b":"x","c":"","d":null,"e":"x=y"}"#);
    }

    #[test]
    fn a_refusal_shows_how_to_write_it() {
        for text in ["setpoint", "=1", "[1]", ""] {
            let refused = text.parse::<Members>().unwrap_err().to_string();
            assert!(refused.contains("setpoint=21"), "{text}: {refused}");
        }
        assert!(r#"{"a":}"#.parse::<Members>().unwrap_err().to_string().contains("at byte"));
    }
}
