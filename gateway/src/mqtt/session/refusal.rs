//! Why a publish was refused for good: as a reason code for MQTT 5, and as the message on `errors` for everybody.

use std::borrow::Cow;

use serde::Serialize;
use twins::rejection::{Code, Rejection};

use super::reason::Reason;
use super::topic::Unheard;

/// A refusal of one publish.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) reason: Reason,
    /// A stable text that programs may match on.
    pub(super) code: &'static str,
    pub(super) message: Cow<'static, str>,
    /// What to do next.
    pub(super) next: &'static str,
}

/// The message on `errors`.
#[derive(Serialize)]
pub(super) struct Report<'a> {
    pub(super) code: &'a str,
    pub(super) topic: &'a str,
    pub(super) mid: Option<&'a str>,
    pub(super) message: &'a str,
    pub(super) next: &'a str,
}

impl Refusal {
    /// The device may not do this.
    pub(super) fn forbidden(what: &'static str) -> Self {
        let next = "ask for a policy that allows it";
        Self { reason: Reason::NotAuthorized, code: "forbidden", message: what.into(), next }
    }

    pub(super) fn report<'a>(&'a self, topic: &'a str, mid: Option<&'a str>) -> Report<'a> {
        Report { code: self.code, topic, mid, message: &self.message, next: self.next }
    }
}

impl From<Unheard> for Refusal {
    fn from(unheard: Unheard) -> Self {
        match unheard {
            Unheard::Unknown => Self {
                reason: Reason::TopicName,
                code: "unknown-topic",
                message: "nothing is said by publishing to this topic".into(),
                next: "publish to twins/me/telemetry, reported, commands/.., requests/.., methods/.., credentials/.. or get/..",
            },
            Unheard::Foreign => Self {
                reason: Reason::NotAuthorized,
                code: "forbidden",
                message: "this is another device's topic".into(),
                next: "publish below twins/me/",
            },
        }
    }
}

impl From<Rejection> for Refusal {
    fn from(rejection: Rejection) -> Self {
        let code = rejection.code();
        let reason = match code {
            Code::Malformed => Reason::PayloadFormat,
            Code::TooLarge | Code::QueueFull | Code::TooMany => Reason::Quota,
            Code::UnknownTwin
            | Code::NotAuthorized
            | Code::Disabled
            | Code::Quarantined
            | Code::AlreadyActivated
            | Code::Replaced => Reason::NotAuthorized,
            _ => Reason::Implementation,
        };
        let message = rejection.message().to_owned().into();
        Self { reason, code: code.as_str(), message, next: code.next() }
    }
}

impl From<twins::json::Error> for Refusal {
    fn from(error: twins::json::Error) -> Self {
        Rejection::from(error).into()
    }
}
