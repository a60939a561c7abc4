//! `Idempotency-Key`: a request that comes again under its key is answered as it was, and does nothing more.
//!
//! The twin remembers it, in the transition that the request led to; what is here makes of a request the two digests
//! that tell it from others: which request it is, and what it says.

use actix_web::http::StatusCode;
use actix_web::http::header::IF_MATCH;
use actix_web::{HttpMessage, HttpRequest};
use twins::digest::Digest;
use twins::header::{Idempotency, Principal};
use twins::json::Json;
use utoipa::openapi::path::{Parameter, ParameterBuilder, ParameterIn};
use utoipa::openapi::{ObjectBuilder, RefOr, Required, Type};

use super::problem::Problem;

const NAME: &str = "idempotency-key";
/// The longest key.
const KEY_BYTES_MAX: usize = 255;

/// A request that has a key.
pub(super) struct Repeatable {
    key: String,
    request: HttpRequest,
}

/// The digest of a request's body, once that was read.
struct BodyRead(Digest);

impl Repeatable {
    /// The request, if it would change something and has a key.
    pub(super) fn of(request: &HttpRequest) -> Result<Option<Self>, Problem> {
        if request.method().is_safe() {
            return Ok(None);
        }
        let lines: Vec<_> = request.headers().get_all(NAME).collect();
        let key = match lines.as_slice() {
            [] => return Ok(None),
            [line] => line.to_str().ok().map(str::trim).filter(|key| is_key(key)),
            _ => None,
        };
        let refuse = || {
            let detail =
                format!("`Idempotency-Key` is not one line of 1 to {KEY_BYTES_MAX} visible characters");
            let next = "send a UUID, the same one for each repeat of a request";
            Problem::new(StatusCode::BAD_REQUEST, "bad-idempotency-key", detail, next)
        };
        let key = key.ok_or_else(refuse)?.to_owned();
        Ok(Some(Self { key, request: request.clone() }))
    }

    /// What tells it from others, asked by `principal`.
    pub(super) fn by(&self, principal: &Principal) -> Idempotency {
        let Self { key, request } = self;
        let principal = principal.to_string();
        let which = [principal.as_str(), request.method().as_str(), request.path(), key].map(str::as_bytes);
        let body =
            request.extensions().get::<BodyRead>().map_or_else(|| Digest::of(&[]), |BodyRead(body)| *body);
        let mut says = vec![body.as_bytes(), request.query_string().as_bytes()];
        says.extend(request.headers().get_all(IF_MATCH).map(|line| line.as_bytes()));
        Idempotency { key: Digest::of(&which), body: Digest::of(&says) }
    }
}

/// Notes what a request says, for its key.
pub(super) fn note_body(request: &HttpRequest, body: &Json) {
    if request.headers().contains_key(NAME) {
        request.extensions_mut().insert(BodyRead(Digest::of(&[body.as_str().as_bytes()])));
    }
}

/// What is asked leaves no trace that a repeat could be told by.
pub(super) fn unsupported() -> Problem {
    let detail = "a request to a device is not kept, so that an `Idempotency-Key` could promise nothing";
    let next = "send it without the key, or send a command, which is kept";
    Problem::new(StatusCode::BAD_REQUEST, "idempotency-unsupported", detail, next)
}

/// What is defined is the same after a repeat, and the text of a token is not kept.
pub(super) fn undirected() -> Problem {
    let detail =
        "a change of who may what takes no `Idempotency-Key`: a PUT or a DELETE may be repeated as it is";
    let next =
        "send it without the key; of a token whose text did not arrive, remove the new one: GET /v1/tokens";
    Problem::new(StatusCode::BAD_REQUEST, "idempotency-unsupported", detail, next)
}

/// There is no twin that remembers it.
pub(super) fn unsupported_here(next: &'static str) -> Problem {
    let detail = "each call of this is a new one, so that an `Idempotency-Key` could promise nothing";
    Problem::new(StatusCode::BAD_REQUEST, "idempotency-unsupported", detail, next)
}

/// What is answered holds a secret, which nobody keeps to say it again.
pub(super) fn secret() -> Problem {
    let detail = "the answer has a new secret in it, which no `Idempotency-Key` brings back";
    let next =
        "send it without the key; a `nonce` in the body has a repeat answered alike, where there is one";
    Problem::new(StatusCode::BAD_REQUEST, "idempotency-unsupported", detail, next)
}

/// Refuses the header where a device speaks for itself: its messages have ids of their own.
pub(super) fn refuse(request: &HttpRequest) -> Result<(), Problem> {
    if !request.headers().contains_key(NAME) {
        return Ok(());
    }
    let detail = "a device's own calls take no `Idempotency-Key`";
    let next = "give the message an id: the parameter `mid`";
    Err(Problem::new(StatusCode::BAD_REQUEST, "idempotency-unsupported", detail, next))
}

/// The header, as the API's description has it.
pub(super) fn parameter() -> RefOr<Parameter> {
    let description = "The request's own key: when the request comes again under it within 24 hours, it is answered as it \
                       was and does nothing more. With another body: 422, `idempotency-mismatch`. A refusal is not kept.";
    let parameter = ParameterBuilder::new()
        .name("Idempotency-Key")
        .parameter_in(ParameterIn::Header)
        .required(Required::False)
        .description(Some(description))
        .schema(Some(ObjectBuilder::new().schema_type(Type::String).build()));
    RefOr::T(parameter.build())
}

fn is_key(key: &str) -> bool {
    (1..=KEY_BYTES_MAX).contains(&key.len())
        && key.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ')
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;
    use twins::name::Name;

    use super::*;

    fn of(request: TestRequest, body: &str) -> Idempotency {
        let request = request.to_http_request();
        note_body(&request, &Json::of(body).unwrap());
        Repeatable::of(&request).unwrap().unwrap().by(&Principal::User(Name::fixed("a")))
    }

    fn post(key: &'static str) -> TestRequest {
        TestRequest::post().uri("/v1/twins/t/commands").insert_header((NAME, key))
    }

    #[test]
    fn a_request_is_the_same_where_who_what_whom_and_key_are() {
        let first = of(post("k"), "1");

        assert_eq!(of(post("k"), "1"), first);
        assert_ne!(of(post("other"), "1").key, first.key);
        assert_ne!(of(post("k").uri("/v1/twins/u/commands"), "1").key, first.key);
        assert_ne!(of(post("k").method(actix_web::http::Method::PUT), "1").key, first.key);
        let other = Repeatable::of(&post("k").to_http_request()).unwrap().unwrap();
        assert_ne!(other.by(&Principal::User(Name::fixed("b"))).key, first.key);
    }

    #[test]
    fn another_body_or_condition_is_another_saying_under_the_same_key() {
        let first = of(post("k"), "1");
        let (body, condition) = (of(post("k"), "2"), of(post("k").insert_header((IF_MATCH, "\"1\"")), "1"));

        assert_eq!([body.key, condition.key], [first.key; 2]);
        assert!(body.body != first.body && condition.body != first.body);
    }

    #[test]
    fn what_is_no_key_is_refused_and_reading_needs_none() {
        for request in [post(""), post("a").append_header((NAME, "b")), post("ä")] {
            let refused = Repeatable::of(&request.to_http_request()).err().unwrap();
            assert_eq!(refused.code(), "bad-idempotency-key");
        }
        let read = TestRequest::get().insert_header((NAME, "")).to_http_request();
        assert!(Repeatable::of(&read).unwrap().is_none());
    }
}
