//! A refusal as a value: what was asked of a twin cannot be done, and asking again would not help.

use std::borrow::Cow;
use std::fmt;

/// What kind of refusal it is. The text of each is stable; programs may match on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, minicbor::Encode, minicbor::Decode)]
#[cbor(index_only)]
pub enum Code {
    /// The behaviour said no.
    #[n(0)]
    Rejected,
    /// The body is not JSON, not of the declared type, or a name is not a name.
    #[n(1)]
    Malformed,
    /// A limit of the twin would be passed: the message names it.
    #[n(2)]
    TooLarge,
    /// No such twin; also when the caller may not know of it.
    #[n(3)]
    UnknownTwin,
    /// The kind declares no such method or query.
    #[n(4)]
    UnknownMethod,
    /// The twin has no such command, or no longer remembers it.
    #[n(5)]
    UnknownCommand,
    /// The command has ended otherwise.
    #[n(6)]
    CommandEnded,
    /// Only what is dead can be sent anew.
    #[n(7)]
    NotDead,
    /// A newer one has taken its place.
    #[n(8)]
    Superseded,
    /// The request came before under the same idempotency key, and said something else.
    #[n(9)]
    IdempotencyMismatch,
    /// As many idempotency keys are kept as may be.
    #[n(10)]
    IdempotencyFull,
    /// This binary has no such kind.
    #[n(11)]
    UnknownKind,
    /// The twin's state was written by a newer version of its kind.
    #[n(12)]
    NewerState,
    /// `If-Match` names another version, or none.
    #[n(13)]
    VersionMismatch,
    /// The command queue is full.
    #[n(14)]
    QueueFull,
    /// The id is taken by a twin of another kind.
    #[n(15)]
    Conflict,
    /// The device has no connection that listens to this.
    #[n(16)]
    NotConnected,
    /// The device did not answer in time.
    #[n(17)]
    Timeout,
    /// The session was taken over, closed or never existed.
    #[n(18)]
    SessionEnded,
    /// The session's inputs arrived with a gap.
    #[n(19)]
    OutOfOrder,
    /// A count limit is reached (connections, devices, timers): the message names it.
    #[n(20)]
    TooMany,
    /// What was shown is not valid, or not for this.
    #[n(21)]
    NotAuthorized,
    /// The device may not come in.
    #[n(22)]
    Disabled,
    /// The device may come in, but neither speak nor be told anything.
    #[n(23)]
    Quarantined,
    /// The activation key was used for another request.
    #[n(24)]
    AlreadyActivated,
    /// Another device has taken its place.
    #[n(25)]
    Replaced,
    /// The device has no such credential.
    #[n(26)]
    UnknownCredential,
    /// The behaviour panicked or broke a rule of the runtime; its part was dropped.
    #[n(27)]
    BehaviorFailed,
}

impl Code {
    /// The stable text.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Rejected => "rejected",
            Self::Malformed => "malformed",
            Self::TooLarge => "too-large",
            Self::UnknownTwin => "unknown-twin",
            Self::UnknownMethod => "unknown-method",
            Self::UnknownCommand => "unknown-command",
            Self::CommandEnded => "command-ended",
            Self::NotDead => "not-dead",
            Self::Superseded => "superseded",
            Self::IdempotencyMismatch => "idempotency-mismatch",
            Self::IdempotencyFull => "idempotency-full",
            Self::UnknownKind => "unknown-kind",
            Self::NewerState => "newer-state",
            Self::VersionMismatch => "version-mismatch",
            Self::QueueFull => "queue-full",
            Self::Conflict => "conflict",
            Self::NotConnected => "not-connected",
            Self::Timeout => "timeout",
            Self::SessionEnded => "session-ended",
            Self::OutOfOrder => "out-of-order",
            Self::TooMany => "too-many",
            Self::NotAuthorized => "not-authorized",
            Self::Disabled => "disabled",
            Self::Quarantined => "quarantined",
            Self::AlreadyActivated => "already-activated",
            Self::Replaced => "replaced",
            Self::UnknownCredential => "unknown-credential",
            Self::BehaviorFailed => "behavior-failed",
        }
    }

    /// What whoever gets the refusal can do next.
    pub const fn next(self) -> &'static str {
        match self {
            Self::Rejected => "send a value that the twin's kind accepts",
            Self::Malformed => "send well-formed JSON of the declared type",
            Self::TooLarge => "send less, or remove what is no longer needed",
            Self::UnknownTwin => "register the device first: PUT /v1/devices/{id}",
            Self::UnknownMethod => "see `twinfold twin contract KIND` for the methods of a kind",
            Self::UnknownCommand => "list the commands: GET /v1/twins/{id}/commands",
            Self::CommandEnded => "read the command to see how it ended",
            Self::NotDead => "list what can be redriven: GET /v1/twins/{id}/commands?state=dead",
            Self::Superseded => "cancel the newer one first, or leave it at that",
            Self::IdempotencyMismatch => "use a new key for what is a new request",
            Self::IdempotencyFull => "send it without a key, or once the older keys have passed their 24 hours",
            Self::UnknownKind => "start a binary that has this kind",
            Self::NewerState => "start a binary with the newer version of this kind",
            Self::VersionMismatch => "read the twin again and use its ETag",
            Self::QueueFull => "wait until the device has taken some commands, or use mode `latest`",
            Self::Conflict => "choose another id, or remove the twin first",
            Self::NotConnected => "send a command instead: it waits for the device",
            Self::Timeout => "ask again, or send a command: it waits for the device",
            Self::SessionEnded => "connect again",
            Self::OutOfOrder => "connect again, and send what was not acknowledged",
            Self::TooMany => "close or remove one first",
            Self::NotAuthorized => "show a credential that is valid, or ask for a new one",
            Self::Disabled => "ask an operator to enable the device: POST /v1/devices/{id}/enable",
            Self::Quarantined => "ask an operator to end the quarantine: POST /v1/devices/{id}/enable",
            Self::AlreadyActivated => "send the nonce or certificate request of the first time, or ask for a new activation key",
            Self::Replaced => "use the device that has taken its place",
            Self::UnknownCredential => "read the device to see which credentials it has: GET /v1/devices/{id}",
            Self::BehaviorFailed => "see the node's log; the twin's state is as it was before",
        }
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why a twin refused. It leaves no trace in the twin, and the same input would be refused again.
#[derive(Debug, Clone, PartialEq, Eq, minicbor::Encode)]
pub struct Rejection {
    #[n(0)]
    code: Code,
    #[n(1)]
    message: Cow<'static, str>,
}

impl<'b, C> minicbor::Decode<'b, C> for Rejection {
    fn decode(d: &mut minicbor::Decoder<'b>, context: &mut C) -> Result<Self, minicbor::decode::Error> {
        #[derive(minicbor::Decode)]
        struct Written {
            #[n(0)]
            code: Code,
            #[n(1)]
            message: String,
        }
        let Written { code, message } = Written::decode(d, context)?;
        Ok(Self { code, message: message.into() })
    }
}

impl Rejection {
    /// A behaviour's refusal, with the reason in words for people.
    pub fn because(reason: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Code::Rejected, reason)
    }

    /// A refusal of another kind. The message is lower-case and names the offending value.
    pub fn new(code: Code, message: impl Into<Cow<'static, str>>) -> Self {
        Self { code, message: message.into() }
    }

    /// The same about a named thing, where it is about what was sent; a behaviour's own words stay as they are.
    pub(crate) fn of(mut self, what: &str, name: &str) -> Self {
        if self.code == Code::Malformed {
            self.message = format!("{what} `{name}`: {}", self.message).into();
        }
        self
    }

    /// What kind of refusal it is.
    pub const fn code(&self) -> Code {
        self.code
    }

    /// The reason in words.
    pub fn message(&self) -> &str {
        &self.message
    }
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Rejection {}

impl From<crate::json::Error> for Rejection {
    fn from(error: crate::json::Error) -> Self {
        let code = match error {
            crate::json::Error::TooLarge { .. }
            | crate::json::Error::TooDeep { .. }
            | crate::json::Error::TooScattered { .. } => Code::TooLarge,
            _ => Code::Malformed,
        };
        Self::new(code, error.to_string())
    }
}
