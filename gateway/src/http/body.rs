//! A request's body: read within its limits, checked once, and decoded with an error that names the place.

use std::time::Duration;

use actix_web::dev::Payload;
use actix_web::error::PayloadError;
use actix_web::http::header::CONTENT_TYPE;
use actix_web::rt::time::timeout;
use actix_web::web::{Bytes, PayloadConfig};
use actix_web::{FromRequest, HttpRequest};
use futures_util::future::LocalBoxFuture;
use serde::de::DeserializeOwned;
use twins::body::is_json;
use twins::json::{self, Json, Limits};
use twins::rejection::{Code, Rejection};

use super::once;
use super::problem::Problem;

/// What a body may cost.
#[derive(Debug, Clone, Copy)]
pub(super) struct Allowance {
    pub(super) bytes: usize,
    pub(super) time: Duration,
}

/// The body as a type. An empty one is null. What media type it may have, the [guard](super::guard) has checked.
#[derive(Debug)]
pub(super) struct Body<T>(pub(super) T);

impl<T: DeserializeOwned> FromRequest for Body<T> {
    type Error = Problem;
    type Future = LocalBoxFuture<'static, Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let bytes = bytes(request, payload);
        let head = request.clone();
        Box::pin(async move {
            let (bytes, bytes_max) = bytes.await?;
            let json = parse(&bytes, bytes_max)?;
            once::note_body(&head, &json);
            Ok(Self(json.decode()?))
        })
    }
}

/// The body of any type: JSON, or bytes as they came with the type that they are said to have.
#[derive(Debug)]
pub(super) struct Any(pub(super) twins::body::Body);

impl FromRequest for Any {
    type Error = Problem;
    type Future = LocalBoxFuture<'static, Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let named = request.headers().get(CONTENT_TYPE).map(|named| named.to_str().map(str::to_owned));
        let bytes = bytes(request, payload);
        Box::pin(async move {
            let no_text = |_| Problem::body("the content type is no text");
            let named = named.transpose().map_err(no_text)?;
            let (bytes, bytes_max) = bytes.await?;
            let limits = Limits { bytes: bytes_max, ..Limits::default() };
            match named {
                Some(named) if is_json(&named) => Ok(Self(Json::parse(&bytes, &limits)?.into())),
                named => Ok(Self(twins::body::Body::read(named.as_deref(), bytes, &limits)?)),
            }
        })
    }
}

/// Reads the body within its allowance; returns the most bytes that it may have, too.
fn bytes(
    request: &HttpRequest,
    payload: &mut Payload,
) -> impl Future<Output = Result<(Bytes, usize), Problem>> + 'static {
    let allowance = request.app_data::<Allowance>().copied();
    let bytes = Bytes::from_request(request, payload);
    async move {
        let allowance = allowance.ok_or_else(|| Problem::internal("bodies have no limits"))?;
        let bytes = timeout(allowance.time, bytes).await.map_err(|_| Problem::slow_body())?;
        let bytes = bytes.map_err(|error| match error.as_error() {
            Some(PayloadError::Overflow) => Problem::large_body(allowance.bytes),
            _ => Problem::body(format!("the body could not be read: {error}")),
        })?;
        Ok((bytes, allowance.bytes))
    }
}

/// A body of named members as a type, or null where that may be left out. An array is none: serde would take its elements
/// for the members, in the order in which they are declared.
#[derive(Debug)]
pub(super) struct Object<T>(pub(super) T);

impl<T: DeserializeOwned> FromRequest for Object<T> {
    type Error = Problem;
    type Future = LocalBoxFuture<'static, Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let body = Body::<Json>::from_request(request, payload);
        Box::pin(async move {
            let Body(json) = body.await?;
            named(&json).map(Self)
        })
    }
}

impl Allowance {
    /// The same limit as actix-web asks for it.
    pub(super) fn config(self) -> PayloadConfig {
        PayloadConfig::new(self.bytes)
    }
}

fn named<T: DeserializeOwned>(json: &Json) -> Result<T, Problem> {
    if json.as_raw().is_array() {
        let why = "the body is an array, where an object is expected";
        return Err(Rejection::new(Code::Malformed, why).into());
    }
    Ok(json.decode()?)
}

fn parse(bytes: &[u8], bytes_max: usize) -> Result<Json, json::Error> {
    match bytes {
        [] => Ok(Json::null()),
        text => Json::parse(text, &Limits { bytes: bytes_max, ..Limits::default() }),
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "only refusals are looked at")]
    struct Shape {
        kind: Option<String>,
    }

    fn read<T: DeserializeOwned>(bytes: &[u8], bytes_max: usize) -> Result<T, Problem> {
        Ok(parse(bytes, bytes_max)?.decode()?)
    }

    #[track_caller]
    fn check(text: &str, problem: &str) {
        let refused = read::<Option<Shape>>(text.as_bytes(), 64).unwrap_err().to_string();
        assert!(refused.starts_with(problem), "{refused}");
    }

    #[test]
    fn a_refusal_says_where_the_body_is_wrong() {
        check("{\"kind\":}", "malformed: JSON is malformed at byte 8: expected a value");
        check(r#"{"kind":"a","kind":"b"}"#, r#"malformed: JSON names the member "kind" twice"#);
        check(r#"{"kind":1}"#, r#"malformed: value at "/kind" does not fit: invalid type: integer `1`"#);
        check(
            r#"{"kinds":"a"}"#,
            r#"malformed: value at "/kinds" does not fit: unknown field `kinds`, expected `kind`"#,
        );
        check(&" ".repeat(65), "too-large: JSON of 65 bytes is larger than the limit of 64");
    }

    #[test]
    fn an_array_is_no_object() {
        let array = Json::parse(b"[\"a\"]", &Limits::default()).unwrap();
        let refused = named::<Option<Shape>>(&array).unwrap_err().to_string();
        assert!(refused.starts_with("malformed: the body is an array"), "{refused}");
        assert!(named::<Option<Shape>>(&Json::null()).unwrap().is_none());
    }

    #[test]
    fn an_empty_body_is_null() {
        assert!(read::<Option<Shape>>(b"", 64).unwrap().is_none());
    }
}
