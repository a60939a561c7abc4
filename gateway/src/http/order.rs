//! An order: what a caller says of a command, and the command that it becomes.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use twins::command::{Answer, CommandId, Mode};
use twins::input::Send;
use twins::json::Json;
use twins::name::Name;
use twins::queue::TTL_MAX;
use twins::rejection::{Code, Rejection};
use twins::time::Timestamp;
use utoipa::ToSchema;
use uuid::{NoContext, Uuid};

/// A command to be sent.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, expecting = "an object with `name` and more")]
pub(super) struct Order {
    /// What to do.
    name: String,
    /// With what; null where it is left out.
    #[serde(default = "Json::null")]
    #[schema(value_type = Option<Value>)]
    payload: Json,
    /// After so many seconds it expires: more than 0, at most 30 days, which is the default.
    #[serde(default = "ttl_s_max")]
    ttl_s: f64,
    /// Whether it waits in line, or supersedes those of its name that are not final.
    #[serde(default)]
    mode: Line,
    /// Whether the device is expected to say what became of it.
    #[serde(default)]
    answer: Expectation,
}

fn ttl_s_max() -> f64 {
    TTL_MAX.as_secs_f64()
}

/// [`Mode`], as it is written.
#[derive(Debug, Clone, Copy, Default, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum Line {
    #[default]
    Queue,
    Latest,
}

/// [`Answer`], as it is written.
#[derive(Debug, Clone, Copy, Default, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum Expectation {
    #[default]
    None,
    Expected,
}

impl Order {
    /// What it asks for.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// The command, with a new id.
    pub(super) fn send(self, now: Timestamp) -> Result<Send, Rejection> {
        let Self { name, payload, ttl_s, mode, answer } = self;
        let ttl = ttl(ttl_s)?;
        Ok(Send {
            id: new_id(now),
            name: Name::new("`name`", &name)?,
            payload: payload.into(),
            deadline: now + ttl,
            mode: mode.into(),
            answer: answer.into(),
        })
    }
}

impl From<Line> for Mode {
    fn from(line: Line) -> Self {
        match line {
            Line::Queue => Self::Queue,
            Line::Latest => Self::Latest,
        }
    }
}

impl From<Mode> for Line {
    fn from(mode: Mode) -> Self {
        match mode {
            Mode::Queue => Self::Queue,
            Mode::Latest => Self::Latest,
        }
    }
}

impl From<Expectation> for Answer {
    fn from(expectation: Expectation) -> Self {
        match expectation {
            Expectation::None => Self::None,
            Expectation::Expected => Self::Expected,
        }
    }
}

impl From<Answer> for Expectation {
    fn from(answer: Answer) -> Self {
        match answer {
            Answer::None => Self::None,
            Answer::Expected => Self::Expected,
        }
    }
}

/// How long a command is to live.
pub(super) fn ttl(ttl_s: f64) -> Result<Duration, Rejection> {
    if !(ttl_s > 0.0 && ttl_s <= ttl_s_max()) {
        let why = format!("`ttl_s` is {ttl_s}; it must be more than 0 and at most {}", ttl_s_max());
        return Err(Rejection::new(Code::Malformed, why));
    }
    Ok(Duration::from_secs_f64(ttl_s))
}

/// A UUIDv7 with randomness of the edge: past it, nothing draws lots.
pub(super) fn new_id(now: Timestamp) -> CommandId {
    let (seconds, millis) = (now.as_millis() / 1_000, now.as_millis() % 1_000);
    CommandId(Uuid::new_v7(uuid::Timestamp::from_unix(NoContext, seconds, millis as u32 * 1_000_000)))
}

#[cfg(test)]
mod tests {
    use twins::json::Limits;

    use super::*;

    #[track_caller]
    fn order(text: &str) -> Order {
        Json::parse(text.as_bytes(), &Limits::default()).unwrap().decode().unwrap()
    }

    #[test]
    fn what_is_left_out_has_its_default() {
        let now = Timestamp::from_millis(1_000);

        let send = order(r#"{"name":"open"}"#).send(now).unwrap();

        assert_eq!((send.mode, send.answer, send.deadline), (Mode::Queue, Answer::None, now + TTL_MAX));
        assert!(send.payload.json().unwrap().is_null());
    }

    #[test]
    fn a_time_to_live_is_more_than_nothing_and_at_most_thirty_days() {
        for ttl_s in ["0", "-1", "2592001", "1e300"] {
            let order = order(&format!(r#"{{"name":"open","ttl_s":{ttl_s}}}"#));
            let refused = order.send(Timestamp::ZERO).unwrap_err().to_string();
            assert!(refused.contains("at most 2592000"), "{refused}");
        }
    }

    #[test]
    fn ids_begin_with_the_time_and_differ() {
        let (first, second) = (new_id(Timestamp::from_millis(1_234)), new_id(Timestamp::from_millis(1_234)));

        assert_ne!(first, second);
        assert_eq!(first.0.get_version_num(), 7);
        assert_eq!(first.0.get_timestamp().map(|time| time.to_unix()), Some((1, 234_000_000)));
    }
}
