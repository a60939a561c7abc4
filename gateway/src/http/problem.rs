//! An answer that is not a success: problem details (RFC 9457), with a stable `code` and what to do next.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::http::header::{ALLOW, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use actix_web::{HttpResponse, ResponseError};
use runtime::access::Denied;
use runtime::directory::Refused;
use runtime::error::Error;
use runtime::log::Error as LogError;
use runtime::stream::Unread;
use runtime::unready::Unready;
use serde::Serialize;
use twins::json;
use twins::rejection::{Code, Rejection};
use utoipa::ToSchema;

/// After how many seconds a caller may try again what failed for a reason that passes.
const RETRY_AFTER_S: &str = "1";

/// Why a request failed. Handlers and extractors return it as their error.
#[derive(Debug)]
pub(super) struct Problem {
    status: StatusCode,
    code: &'static str,
    detail: String,
    next: Cow<'static, str>,
    hint: Hint,
    earliest: Option<Box<str>>,
}

/// What a header says beside.
#[derive(Debug)]
enum Hint {
    None,
    /// The methods that there are.
    Allow(String),
    /// Who one is has to be said, by this scheme.
    Authenticate(&'static str),
    /// It passes.
    RetryAfter,
    /// It passes, in so long.
    Wait(Duration),
    /// These parts do not serve; the body says so.
    Because(Vec<Unready>),
}

/// As it is written.
#[derive(Serialize, ToSchema)]
#[schema(as = Problem)]
pub(super) struct Details<'a> {
    /// `about:blank`: the status and the code say it all.
    r#type: &'a str,
    /// The status in words.
    title: &'a str,
    /// The status.
    status: u16,
    /// What happened, in words.
    detail: &'a str,
    /// What happened, as a stable text that programs may match on.
    code: &'a str,
    /// What to do next.
    next: &'a str,
    /// Of `trimmed`: the cursor that reads on with the first records that are kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    earliest: Option<&'a str>,
    /// Of `not-ready`: the parts that do not serve.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    reasons: Vec<Reason<'a>>,
}

/// A part that does not serve.
#[derive(Serialize, ToSchema)]
#[schema(as = UnreadyPart)]
pub(super) struct Reason<'a> {
    /// Which: `shard 12`, `log`, `disk`, `listener mqtt`.
    part: &'a str,
    /// What is in its way, in words.
    why: &'a str,
}

impl Problem {
    pub(super) fn new(
        status: StatusCode,
        code: &'static str,
        detail: impl Into<String>,
        next: impl Into<Cow<'static, str>>,
    ) -> Self {
        let (detail, next) = (detail.into(), next.into());
        Self { status, code, detail, next, hint: Hint::None, earliest: None }
    }

    /// With the parts that are the reason.
    pub(super) fn because(mut self, reasons: Vec<Unready>) -> Self {
        self.hint = Hint::Because(reasons);
        self
    }

    /// The stable text.
    pub(super) fn code(&self) -> &'static str {
        self.code
    }

    /// Who one is has to be proved by this.
    pub(super) fn asks(self, scheme: &'static str) -> Self {
        self.with(Hint::Authenticate(scheme))
    }

    /// The same may be sent again, later.
    pub(super) fn passes(self) -> Self {
        self.with(Hint::RetryAfter)
    }

    fn with(self, hint: Hint) -> Self {
        Self { hint, ..self }
    }

    /// The path leads nowhere.
    pub(super) fn no_route(path: &str) -> Self {
        let next = "see GET /openapi.json for all that there is";
        Self::new(StatusCode::NOT_FOUND, "not-found", format!("there is nothing at {path}"), next)
    }

    /// The path knows other methods: `allow`.
    pub(super) fn no_method(method: &str, allow: &str) -> Self {
        let detail = format!("{method} is not one of {allow}");
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed", detail, "use a method of `Allow`")
            .with(Hint::Allow(allow.to_owned()))
    }

    /// A parameter of the query or of the path is not what it should be.
    pub(super) fn parameter(detail: impl Into<String>) -> Self {
        let next = "see GET /openapi.json for the parameters";
        Self::new(StatusCode::BAD_REQUEST, "bad-parameter", detail, next)
    }

    /// A body was not read to its end.
    pub(super) fn body(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad-body", detail, "send the request again, with its whole body")
    }

    /// A body did not arrive in time.
    pub(super) fn slow_body() -> Self {
        let detail = "the body did not arrive in time";
        Self::new(
            StatusCode::REQUEST_TIMEOUT,
            "slow-body",
            detail,
            "send the request again, faster or smaller",
        )
    }

    /// A body is larger than `limit` bytes.
    pub(super) fn large_body(limit: usize) -> Self {
        Rejection::new(Code::TooLarge, format!("the body is larger than the limit of {limit} bytes")).into()
    }

    /// A device was not let in.
    pub(super) fn of_device(denied: Denied) -> Self {
        match denied {
            Denied::Unauthenticated(_) | Denied::BadName(_) => {
                let next = "send `Authorization: Basic` with the device's id and key (curl: `-u ID:KEY`), or `Bearer` \
                            with a token that it signed";
                Self::new(StatusCode::UNAUTHORIZED, "not-authenticated", denied.to_string(), next)
                    .with(Hint::Authenticate("Basic realm=\"twinfold\""))
            }
            Denied::Forbidden(_) | Denied::Later(_) | Denied::Limited { .. } => denied.into(),
        }
    }

    /// Something that cannot happen did.
    pub(super) fn internal(detail: impl Into<String>) -> Self {
        let next = "report it with the node's log";
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", detail, next)
    }

    /// It passes: the same request may be sent again.
    fn unavailable(code: &'static str, error: &Error, next: &'static str) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, code, error.to_string(), next).with(Hint::RetryAfter)
    }
}

/// A refusal of a twin. What it calls malformed was well-formed enough to be understood, so that it is a 422.
impl From<Rejection> for Problem {
    fn from(rejection: Rejection) -> Self {
        let status = match rejection.code() {
            Code::Rejected | Code::Malformed | Code::UnknownKind | Code::IdempotencyMismatch => {
                StatusCode::UNPROCESSABLE_ENTITY
            }
            Code::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Code::UnknownTwin | Code::UnknownMethod | Code::UnknownCommand | Code::NotConnected => {
                StatusCode::NOT_FOUND
            }
            Code::NotAuthorized | Code::Disabled | Code::Quarantined => StatusCode::FORBIDDEN,
            Code::UnknownCredential => StatusCode::NOT_FOUND,
            Code::NewerState
            | Code::AlreadyActivated
            | Code::Conflict
            | Code::SessionEnded
            | Code::OutOfOrder
            | Code::CommandEnded
            | Code::NotDead
            | Code::Superseded => StatusCode::CONFLICT,
            Code::Replaced => StatusCode::GONE,
            Code::VersionMismatch => StatusCode::PRECONDITION_FAILED,
            Code::QueueFull | Code::TooMany | Code::IdempotencyFull => StatusCode::TOO_MANY_REQUESTS,
            Code::Timeout => StatusCode::GATEWAY_TIMEOUT,
            Code::BehaviorFailed => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Self::new(status, rejection.code().as_str(), rejection.message(), rejection.code().next())
    }
}

/// JSON that cannot be read, or not as what it should be.
impl From<json::Error> for Problem {
    fn from(error: json::Error) -> Self {
        let bad_text = matches!(error, json::Error::Syntax { .. } | json::Error::Duplicate { .. });
        let mut problem = Self::from(Rejection::from(error));
        if bad_text {
            problem.status = StatusCode::BAD_REQUEST;
        }
        problem
    }
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        match error {
            Error::Rejected(rejection) => rejection.into(),
            Error::Overloaded { .. } => Self::unavailable("overloaded", &error, "send it again later"),
            Error::Unwritten { .. } => Self::unavailable("not-written", &error, "send it again later"),
            Error::Stopping => {
                Self::unavailable("stopping", &error, "send it again, to another node or later")
            }
            Error::Unknown { .. } => {
                let next = "read the twin to see whether it was done, before sending it again";
                Self::unavailable("outcome-unknown", &error, next)
            }
        }
    }
}

/// A change of the directory that was refused.
impl From<Refused> for Problem {
    fn from(refused: Refused) -> Self {
        let detail = refused.to_string();
        let (status, code, next) = match &refused {
            Refused::Stale { .. } => {
                let next = "read it again, and use the new `ETag`";
                (StatusCode::PRECONDITION_FAILED, "version-mismatch", next)
            }
            Refused::Unknown(_) => (StatusCode::NOT_FOUND, "unknown", "list what there is"),
            Refused::Conflict(_) => {
                (StatusCode::CONFLICT, "contradiction", "change what stands in the way first")
            }
            Refused::Full(_) => (
                StatusCode::TOO_MANY_REQUESTS,
                "too-many",
                "remove what is not needed any more, or make it smaller",
            ),
            Refused::Shut(_) => (StatusCode::UNAUTHORIZED, "not-authenticated", "show a token that is valid"),
            Refused::Forbidden(_) => (StatusCode::FORBIDDEN, "forbidden", "ask for a role that may do this"),
            Refused::Unfit(_) => {
                (StatusCode::UNPROCESSABLE_ENTITY, "unfit", "see GET /openapi.json for what it may be")
            }
            Refused::Log(LogError::Unknown(_)) => {
                let next = "read it to see whether it was changed, before sending it again";
                (StatusCode::SERVICE_UNAVAILABLE, "outcome-unknown", next)
            }
            Refused::Log(_) => (StatusCode::SERVICE_UNAVAILABLE, "not-written", "send it again later"),
        };
        let problem = Self::new(status, code, detail, next);
        match refused {
            Refused::Log(_) => problem.with(Hint::RetryAfter),
            _ => problem,
        }
    }
}

impl From<Unread> for Problem {
    fn from(unread: Unread) -> Self {
        let detail = unread.to_string();
        match unread {
            Unread::Failed(error) => error.into(),
            Unread::NotACursor(_) | Unread::OtherShard(..) => {
                Self::parameter(format!("parameter `from`: {detail}"))
            }
            Unread::Trimmed { earliest } => {
                let next = "read from `earliest`, which leaves out what is gone";
                let problem = Self::new(StatusCode::GONE, "trimmed", detail, next);
                Self { earliest: Some(earliest.to_string().into()), ..problem }
            }
        }
    }
}

impl From<Denied> for Problem {
    fn from(denied: Denied) -> Self {
        let detail = denied.to_string();
        match denied {
            Denied::Unauthenticated(_) | Denied::BadName(_) => {
                let next = "send `Authorization: Bearer TOKEN` with a valid token";
                Self::new(StatusCode::UNAUTHORIZED, "not-authenticated", detail, next)
                    .with(Hint::Authenticate("Bearer"))
            }
            Denied::Forbidden(_) => {
                Self::new(StatusCode::FORBIDDEN, "forbidden", detail, "ask for a role that may do this")
            }
            Denied::Later(_) => {
                let next = "wait, and send it again";
                Self::new(StatusCode::SERVICE_UNAVAILABLE, "not-now", detail, next).with(Hint::RetryAfter)
            }
            Denied::Limited { wait: Some(wait), .. } => {
                let next = "wait as long as `Retry-After` says, and send it again; whoever operates the node can raise \
                            the limit (`twinfold tenant limit`)";
                Self::new(StatusCode::TOO_MANY_REQUESTS, "too-fast", detail, next).with(Hint::Wait(wait))
            }
            Denied::Limited { wait: None, .. } => {
                let next = "end one of them first; whoever operates the node can raise the limit (`twinfold tenant limit`)";
                Self::new(StatusCode::TOO_MANY_REQUESTS, "too-many", detail, next).with(Hint::RetryAfter)
            }
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}; {}", self.code, self.detail, self.next)
    }
}

impl ResponseError for Problem {
    fn status_code(&self) -> StatusCode {
        self.status
    }

    fn error_response(&self) -> HttpResponse {
        if self.status == StatusCode::INTERNAL_SERVER_ERROR {
            tracing::error!(code = self.code, detail = self.detail, "a request failed");
        }
        let mut response = HttpResponse::build(self.status);
        response.insert_header((CONTENT_TYPE, "application/problem+json"));
        match &self.hint {
            Hint::None | Hint::Because(_) => &mut response,
            Hint::Allow(methods) => response.insert_header((ALLOW, methods.as_str())),
            Hint::Authenticate(scheme) => response.insert_header((WWW_AUTHENTICATE, *scheme)),
            Hint::RetryAfter => response.insert_header((RETRY_AFTER, RETRY_AFTER_S)),
            Hint::Wait(wait) => response.insert_header((RETRY_AFTER, wait.as_secs_f64().ceil() as u64)),
        };
        let reasons = match &self.hint {
            Hint::Because(reasons) => reasons.as_slice(),
            _ => &[],
        };
        response.json(Details {
            r#type: "about:blank",
            title: self.status.canonical_reason().unwrap_or("Error"),
            status: self.status.as_u16(),
            detail: &self.detail,
            code: self.code,
            next: &self.next,
            earliest: self.earliest.as_deref(),
            reasons: reasons.iter().map(|Unready { part, why }| Reason { part, why }).collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use runtime::stream::Cursor;
    use twins::json::Pointer;

    use super::*;

    #[track_caller]
    fn check(problem: impl Into<Problem>, status: u16, code: &str) {
        let problem = problem.into();
        assert_eq!((problem.status_code().as_u16(), problem.code()), (status, code), "{problem}");
        assert!(!problem.next.is_empty());
    }

    #[test]
    fn a_refusal_keeps_its_code_and_has_the_status_that_callers_expect() {
        let refused = |code| Rejection::new(code, "no");
        check(refused(Code::Rejected), 422, "rejected");
        check(refused(Code::UnknownTwin), 404, "unknown-twin");
        check(refused(Code::NotConnected), 404, "not-connected");
        check(refused(Code::VersionMismatch), 412, "version-mismatch");
        check(refused(Code::Timeout), 504, "timeout");
        check(refused(Code::IdempotencyMismatch), 422, "idempotency-mismatch");
        check(refused(Code::IdempotencyFull), 429, "idempotency-full");
        check(refused(Code::NotDead), 409, "not-dead");
        check(Error::from(refused(Code::QueueFull)), 429, "queue-full");
    }

    #[test]
    fn text_that_is_no_json_differs_from_json_that_does_not_fit() {
        check(json::Error::Syntax { at: 3, expected: "a value" }, 400, "malformed");
        check(json::Error::Mismatch { pointer: Pointer::root(), reason: "no".into() }, 422, "malformed");
        check(json::Error::TooDeep { depth_max: 32, at: 40 }, 413, "too-large");
    }

    #[test]
    fn what_passes_may_be_tried_again_but_an_unknown_outcome_says_that_it_is_unknown() {
        let why = || "the log moved".to_owned();
        check(Error::Overloaded { shard: 1, limit: "1,000 inputs wait" }, 503, "overloaded");
        check(Error::Unwritten { shard: 1, why: why() }, 503, "not-written");
        check(Error::Unknown { shard: 1, why: why() }, 503, "outcome-unknown");
        let response = Problem::from(Error::Unknown { shard: 1, why: why() }).error_response();
        assert_eq!(response.headers().get(RETRY_AFTER).unwrap(), RETRY_AFTER_S);
    }

    #[test]
    fn who_missed_something_hears_where_to_read_on() {
        let earliest = Cursor::One { shard: 7, offset: 4096 };
        let problem = Problem::from(Unread::Trimmed { earliest });
        assert_eq!(problem.earliest.as_deref(), Some("7:4096"));
        check(problem, 410, "trimmed");
    }

    #[test]
    fn who_is_not_let_in_hears_how_to_be() {
        let response = Problem::from(Denied::Unauthenticated("no token".into())).error_response();
        assert_eq!(response.headers().get(WWW_AUTHENTICATE).unwrap(), "Bearer");
        check(Denied::Forbidden("no".into()), 403, "forbidden");
    }
}
