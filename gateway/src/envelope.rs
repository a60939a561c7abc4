//! A record of a stream as JSON: the one shape in which the outside sees what happened, by whichever way it reads.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use runtime::record::{Fact, Record};
use runtime::stream::Placed;
use serde::Serialize;
use twins::body::Body;
use twins::command::CommandId;
use twins::header::{Header, Principal};
use twins::json::{Document, Json, Operation, Patch};
use twins::time::Timestamp;

/// The types of records, as [`Fact::kind`] names them.
pub const TYPES: [&str; 10] = [
    "telemetry",
    "event",
    "tags",
    "desired",
    "reported",
    "command",
    "connected",
    "disconnected",
    "registered",
    "removed",
];

/// A record and where it stands.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Envelope<'a> {
    /// Reads on after it.
    pub cursor: &'a str,
    /// The record's own id: a UUIDv7, the same at each reading.
    pub id: String,
    /// The device.
    pub twin: &'a str,
    /// What kind of twin it is.
    pub kind: &'a str,
    /// What happened: [`Fact::kind`].
    pub r#type: &'static str,
    /// When it happened.
    pub time: Timestamp,
    /// When it was received.
    pub received: Timestamp,
    /// The twin's sequence with it.
    pub sequence: u64,
    /// What caused it, as `twin/generation/sequence`: the transition that it is part of, or, where another twin's call
    /// led to that, the one that called.
    pub cause: String,
    /// The trace that the input belongs to, 32 hexadecimal digits, where it came with a `traceparent`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trace: Option<String>,
    /// The details.
    pub data: Data<'a>,
}

/// The details of a record, by its type.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Data<'a> {
    /// Of `telemetry`.
    Sample {
        /// The channel.
        channel: &'a str,
        /// The value.
        value: &'a Json,
    },
    /// Of `telemetry` that is not JSON.
    Octets {
        /// The channel.
        channel: &'a str,
        /// The content type, where the device named one.
        content_type: Option<&'a str>,
        /// The bytes.
        base64: String,
    },
    /// Of `event`.
    Event {
        /// What the behaviour or the system announced.
        name: &'a str,
        /// Its details.
        data: &'a Json,
    },
    /// Of `tags`, `desired` and `reported`.
    Shadow {
        /// The change, as a merge patch.
        patch: Document,
        /// Who made it.
        by: String,
    },
    /// Of `command`.
    Command {
        /// The command's id.
        id: String,
        /// What it asks for, where that is still known.
        name: Option<&'a str>,
        /// What it became.
        state: &'static str,
        /// What the device said about it.
        #[serde(skip_serializing_if = "Option::is_none")]
        result: Option<&'a Json>,
    },
    /// Of `connected`.
    Connected {
        /// The client id.
        client: &'a str,
        /// The device's address.
        address: &'a str,
        /// The way it came.
        transport: &'static str,
    },
    /// Of `disconnected`.
    Disconnected {
        /// Why.
        reason: &'a str,
    },
    /// Of `registered` and `removed`.
    Life {
        /// Who did it.
        by: String,
    },
}

/// Content in a document: JSON as itself, other bytes as `{"content_type", "base64"}`.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Content<'a> {
    /// JSON.
    Json(&'a Json),
    /// Anything else.
    Octets {
        /// The content type, where the sender named one.
        content_type: Option<&'a str>,
        /// The bytes.
        base64: String,
    },
}

impl<'a> From<&'a Placed> for Envelope<'a> {
    fn from(placed: &'a Placed) -> Self {
        let Record { twin, generation, kind, sequence, ordinal, header, fact } = &placed.record;
        let own = format!("{}/{generation}/{sequence}", twin.id());
        let id = id(header.received, &format!("{}/{own}/{ordinal}", twin.tenant()));
        let called = header.cause.as_ref();
        let cause = called.map_or(own, |by| format!("{}/{}/{}", by.twin.id(), by.generation, by.sequence));
        Self {
            cursor: &placed.cursor,
            id,
            twin: twin.id(),
            kind,
            r#type: fact.kind(),
            time: header.event_time(),
            received: header.received,
            sequence: *sequence,
            cause,
            trace: header.trace.map(|trace| trace.to_string()),
            data: data(fact, header),
        }
    }
}

impl<'a> From<&'a Body> for Content<'a> {
    fn from(body: &'a Body) -> Self {
        match body {
            Body::Json(json) => Self::Json(json),
            Body::Octets { content_type, bytes } => {
                Self::Octets { content_type: content_type.as_deref(), base64: BASE64_STANDARD.encode(bytes) }
            }
        }
    }
}

fn data<'a>(fact: &'a Fact, header: &Header) -> Data<'a> {
    match fact {
        Fact::Telemetry { channel, body } => match body.into() {
            Content::Json(value) => Data::Sample { channel, value },
            Content::Octets { content_type, base64 } => Data::Octets { channel, content_type, base64 },
        },
        Fact::Event { name, data } => Data::Event { name, data },
        Fact::Shadow { patch, by_behavior, .. } => {
            let by = if *by_behavior { &Principal::Behavior } else { &header.principal };
            Data::Shadow { patch: merge_patch(patch), by: by.to_string() }
        }
        Fact::Command { id: CommandId(id), name, state, result } => Data::Command {
            id: id.to_string(),
            name: name.as_deref(),
            state: state.as_str(),
            result: result.as_ref(),
        },
        Fact::Connected { client, address } => {
            Data::Connected { client, address, transport: header.transport.as_str() }
        }
        Fact::Disconnected { reason, .. } => Data::Disconnected { reason },
        Fact::Registered | Fact::Removed => Data::Life { by: header.principal.to_string() },
    }
}

/// The same change as RFC 7396 says it: a null for each path that went.
fn merge_patch(patch: &Patch) -> Document {
    let nulls = patch.operations().iter().map(|operation| Operation::Set {
        path: operation.path().clone(),
        value: operation.value().cloned().unwrap_or_else(Json::null),
    });
    Document::default().apply(&nulls.collect())
}

/// A UUIDv7 of when and of what: whoever reads a record twice can tell.
fn id(received: Timestamp, what: &str) -> String {
    let hash = |seed| twox_hash::XxHash3_64::oneshot_with_seed(seed, what.as_bytes()).to_be_bytes();
    let mut random = [0; 10];
    random[..8].copy_from_slice(&hash(0));
    random[8..].copy_from_slice(&hash(1)[..2]);
    uuid::Builder::from_unix_timestamp_millis(received.as_millis(), &random).into_uuid().to_string()
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use serde_json::{Value, json};
    use twins::command::State;
    use twins::header::Cause;
    use twins::id::TwinId;
    use twins::json::{Limits, Pointer};
    use twins::name::Name;
    use twins::section::Which;
    use uuid::Uuid;

    use super::*;

    fn name(text: &str) -> Name {
        Name::new("a name", text).unwrap()
    }

    fn value(text: &str) -> Json {
        Json::parse(text.as_bytes(), &Limits::default()).unwrap()
    }

    fn placed(fact: Fact, ordinal: u32) -> Placed {
        let principal = Principal::User(name("dev"));
        let header = Header { received: Timestamp::from_millis(60_000), principal, ..Header::default() };
        let (twin, kind) = (TwinId::in_default_tenant("t-1").unwrap(), name("device"));
        let record = Record { twin, generation: 2, kind, sequence: 7, ordinal, header, fact };
        Placed { cursor: "5:99".into(), record }
    }

    /// The facts are shown with these types and data.
    fn check(facts: impl IntoIterator<Item = (Fact, &'static str, Value)>) -> Vec<&'static str> {
        let shown = facts.into_iter().map(|(fact, r#type, data)| {
            let placed = placed(fact, 0);
            let envelope = serde_json::to_value(Envelope::from(&placed)).unwrap();
            assert_eq!((&envelope["type"], &envelope["data"]), (&r#type.into(), &data));
            r#type
        });
        shown.collect()
    }

    #[test]
    fn an_envelope_says_what_happened_to_whom_and_why() {
        let placed = placed(Fact::Registered, 0);

        let mut envelope = serde_json::to_value(Envelope::from(&placed)).unwrap();

        let id: Uuid = envelope["id"].take().as_str().unwrap().parse().unwrap();
        assert_eq!((id.get_version_num(), id.get_timestamp().unwrap().to_unix()), (7, (60, 0)));
        let time = "1970-01-01T00:01:00.000Z";
        assert_eq!(
            envelope,
            json!({
                "cursor": "5:99", "id": null, "twin": "t-1", "kind": "device", "type": "registered", "time": time,
                "received": time, "sequence": 7, "cause": "t-1/2/7", "data": {"by": "user:dev"},
            })
        );
    }

    #[test]
    fn what_a_call_led_to_names_the_transition_that_called() {
        let mut placed = placed(Fact::Registered, 0);
        let own = Envelope::from(&placed).id;
        let twin = TwinId::in_default_tenant("hall").unwrap();
        let cause = Cause { twin, generation: 1, sequence: 9, ordinal: 0, hops: 1 };
        placed.record.header.cause = Some(Box::new(cause));

        let envelope = Envelope::from(&placed);

        assert_eq!((envelope.cause.as_str(), envelope.id), ("hall/1/9", own));
    }

    #[test]
    fn each_fact_has_its_data() {
        let shadow = |section| Fact::Shadow {
            section,
            patch: [
                Operation::Set { path: Pointer::parse("/a/b").unwrap(), value: value("1") },
                Operation::Remove { path: Pointer::parse("/a/c").unwrap() },
            ]
            .into_iter()
            .collect(),
            by_behavior: section == Which::Desired,
        };
        let patch = json!({"a": {"b": 1, "c": null}});
        let channel = || name("temperature");
        let octets = Body::Octets { content_type: None, bytes: Bytes::from_static(&[0, 255]) };
        let id = CommandId(Uuid::nil());
        let command =
            Fact::Command { id, name: Some(name("open")), state: State::Done, result: Some(value("true")) };

        let mut seen = check([
            (
                Fact::Telemetry { channel: channel(), body: value("21.50").into() },
                "telemetry",
                json!({"channel": "temperature", "value": 21.5}),
            ),
            (
                Fact::Telemetry { channel: channel(), body: octets },
                "telemetry",
                json!({"channel": "temperature", "content_type": null, "base64": "AP8="}),
            ),
            (
                Fact::Event { name: name("overheated"), data: value("[80]") },
                "event",
                json!({"name": "overheated", "data": [80]}),
            ),
            (shadow(Which::Tags), "tags", json!({"patch": patch, "by": "user:dev"})),
            (shadow(Which::Desired), "desired", json!({"patch": patch, "by": "behavior"})),
            (shadow(Which::Reported), "reported", json!({"patch": patch, "by": "user:dev"})),
            (
                command,
                "command",
                json!({"id": id.to_string(), "name": "open", "state": "done", "result": true}),
            ),
            (
                Fact::Connected { client: name("c"), address: name("127.0.0.1:9") },
                "connected",
                json!({"client": "c", "address": "127.0.0.1:9", "transport": "internal"}),
            ),
            (
                Fact::Disconnected { epoch: 3, reason: name("closed") },
                "disconnected",
                json!({"reason": "closed"}),
            ),
            (Fact::Registered, "registered", json!({"by": "user:dev"})),
            (Fact::Removed, "removed", json!({"by": "user:dev"})),
        ]);

        seen.dedup();
        assert_eq!(seen, TYPES);
    }

    #[test]
    fn an_id_is_the_same_at_each_reading_and_another_for_each_record() {
        let id = |ordinal| Envelope::from(&placed(Fact::Removed, ordinal)).id;
        assert_eq!(id(0), id(0));
        assert_ne!(id(0), id(1));
    }
}
