//! What a message carries: JSON, validated once, or bytes of another type, kept as they came.

use bytes::Bytes;

use crate::json::{Json, Limits};
use crate::name::Name;
use crate::rejection::{Code, Rejection};

/// A message's content. JSON is one of several types.
#[derive(Debug, Clone, PartialEq, Eq, minicbor::Encode, minicbor::Decode)]
pub enum Body {
    /// A JSON value.
    #[n(0)]
    Json(#[n(0)] Json),
    /// Anything else, with its content type where the sender named one.
    #[n(1)]
    Octets {
        /// The content type; absent means that nobody said.
        #[n(0)]
        content_type: Option<Name>,
        /// The bytes as they came.
        #[n(1)]
        #[cbor(with = "crate::codec::octets")]
        bytes: Bytes,
    },
}

impl Body {
    /// Reads bytes from outside. What calls itself JSON has to be JSON; what says nothing is JSON where it parses and
    /// bytes where it does not.
    ///
    /// # Errors
    /// [`Code::TooLarge`] past `limits.bytes`; [`Code::Malformed`] if it claims to be JSON and is not.
    pub fn read(content_type: Option<&str>, bytes: Bytes, limits: &Limits) -> Result<Self, Rejection> {
        if bytes.len() > limits.bytes {
            let why = format!("the payload has {} bytes; the limit is {}", bytes.len(), limits.bytes);
            return Err(Rejection::new(Code::TooLarge, why));
        }
        match content_type {
            Some(named) if !is_json(named) => {
                let content_type = Some(Name::new("content type", named)?);
                Ok(Self::Octets { content_type, bytes })
            }
            Some(_) => Ok(Self::Json(Json::parse(&bytes, limits)?)),
            None => match Json::parse(&bytes, limits) {
                Ok(json) => Ok(Self::Json(json)),
                Err(_) => Ok(Self::Octets { content_type: None, bytes }),
            },
        }
    }

    /// Its size in bytes.
    #[allow(clippy::len_without_is_empty, reason = "an empty body is nothing special")]
    pub fn len(&self) -> usize {
        match self {
            Self::Json(json) => json.len(),
            Self::Octets { bytes, .. } => bytes.len(),
        }
    }

    /// The JSON value, where it is one.
    pub fn json(&self) -> Option<&Json> {
        match self {
            Self::Json(json) => Some(json),
            Self::Octets { .. } => None,
        }
    }
}

impl From<Json> for Body {
    fn from(json: Json) -> Self {
        Self::Json(json)
    }
}

/// Whether a content type is JSON: `application/json` and everything that ends in `+json`, with or without parameters.
pub fn is_json(content_type: &str) -> bool {
    let essence = content_type.split(';').next().unwrap_or("").trim();
    let json = |suffix: &str| essence.len() >= suffix.len() && {
        let start = essence.len() - suffix.len();
        essence.as_bytes()[start..].eq_ignore_ascii_case(suffix.as_bytes())
    };
    essence.eq_ignore_ascii_case("application/json") || json("+json")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_that_calls_itself_json_has_to_be_json() {
        let read = |content_type, text: &'static str| {
            Body::read(content_type, Bytes::from_static(text.as_bytes()), &Limits::default())
        };

        assert!(matches!(read(Some("application/senml+json; v=1"), "[1]"), Ok(Body::Json(_))));
        assert_eq!(read(Some("application/json"), "{").unwrap_err().code(), Code::Malformed);
        assert!(matches!(read(None, "21.5"), Ok(Body::Json(_))));
        assert!(matches!(read(None, "\u{1}raw"), Ok(Body::Octets { content_type: None, .. })));
        assert!(matches!(read(Some("text/plain"), "21.5"), Ok(Body::Octets { content_type: Some(_), .. })));
    }
}
