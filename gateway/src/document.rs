//! The twin document: how a twin is shown to people, applications and its own device alike.
//!
//! ```json
//! {"id": "t-1", "kind": "thermostat", "version": 7, "tags": {"room": "kitchen"},
//!  "desired": {"setpoint": 21, "$version": 3}, "reported": {"$version": 0}, "state": {"setpoint": 21},
//!  "system": {"lifecycle": "active", "generation": 1, "created": "2026-11-21T09:30:00.000Z",
//!             "connection": {"state": "connected", "since": "2026-11-21T09:31:00.000Z", "node": 1,
//!                            "transport": "mqtt", "address": "127.0.0.1:40112"}},
//!  "metadata": {"tags": {"/room": {"version": 1, "at": "2026-11-21T09:30:00.000Z", "by": "user:dev"}},
//!               "desired": {}, "reported": {}}}
//! ```

use serde::{Serialize, Serializer};
use twins::header::Principal;
use twins::id::TwinId;
use twins::json::{Document, Json, Operation, Patch, Pointer};
use twins::section::{Section, Stamp};
use twins::time::Timestamp;
use twins::twin::Twin;

/// The document of a twin. Of an absent twin it is one too, without kind: ask [`Twin::exists`] first.
pub fn document(id: &TwinId, twin: &Twin) -> Json {
    let shown = Shown {
        id: id.id(),
        kind: twin.kind(),
        version: twin.sequence(),
        tags: twin.tags().document(),
        desired: versioned(twin.desired()),
        reported: versioned(twin.reported()),
        state: &twin.state().document,
        system: System {
            lifecycle: twin.lifecycle().as_str(),
            generation: twin.generation(),
            created: twin.created(),
            connection: connection(twin),
        },
        metadata: Metadata {
            tags: Stamps(twin.tags()),
            desired: Stamps(twin.desired()),
            reported: Stamps(twin.reported()),
        },
    };
    Json::of(&shown)
        .expect("its parts are JSON that is not deeper than a document may be, under names that differ")
}

#[derive(Serialize)]
struct Shown<'a> {
    id: &'a str,
    kind: &'a str,
    version: u64,
    tags: &'a Document,
    desired: Document,
    reported: Document,
    state: &'a Document,
    system: System<'a>,
    metadata: Metadata<'a>,
}

#[derive(Serialize)]
struct System<'a> {
    lifecycle: &'static str,
    generation: u32,
    created: Timestamp,
    connection: Connection<'a>,
}

/// The newest connection while there is one; else since when there is none.
#[derive(Serialize, Default)]
struct Connection<'a> {
    state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    since: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    node: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    transport: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    address: Option<&'a str>,
}

#[derive(Serialize)]
struct Metadata<'a> {
    tags: Stamps<'a>,
    desired: Stamps<'a>,
    reported: Stamps<'a>,
}

/// The paths of a section that are there, each with its last change.
struct Stamps<'a>(&'a Section);

#[derive(Serialize)]
struct Shaped {
    version: u64,
    at: Timestamp,
    #[serde(serialize_with = "in_words")]
    by: Principal,
}

impl Serialize for Stamps<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let shaped = |stamp: &Stamp| Shaped { version: stamp.version, at: stamp.at, by: stamp.by.clone() };
        serializer.collect_map(self.0.stamps().map(|(path, stamp)| (path.as_str(), shaped(stamp))))
    }
}

fn in_words<S: Serializer>(principal: &Principal, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(principal)
}

fn versioned(section: &Section) -> Document {
    let version = Json::of(&section.version()).expect("a number has a form in JSON");
    let mut patch = Patch::default();
    patch.push(Operation::Set { path: Pointer::root().join("$version"), value: version });
    section.document().apply(&patch)
}

fn connection(twin: &Twin) -> Connection<'_> {
    let newest = twin.sessions().connected().max_by_key(|session| session.epoch);
    match newest.and_then(|session| session.connection.as_ref().map(|connection| (session, connection))) {
        Some((session, connection)) => Connection {
            state: "connected",
            since: Some(session.since),
            node: Some(connection.node),
            transport: Some(connection.transport.as_str()),
            address: Some(&connection.address),
        },
        None => {
            Connection { state: "disconnected", since: twin.sessions().last_ended(), ..Connection::default() }
        }
    }
}

#[cfg(test)]
mod tests {
    use twins::decide::Live;
    use twins::header::{Header, Transport};
    use twins::input::{Desire, Input};
    use twins::json::Limits;
    use twins::kind::Kinds;
    use twins::name::Name;
    use twins::session::{Connect, Connection};
    use twins::trust::Proof;

    use super::*;

    fn json(text: &str) -> Json {
        Json::parse(text.as_bytes(), &Limits::default()).unwrap()
    }

    #[test]
    fn a_device_is_away_since_its_last_connection_ended_whichever_session_that_was() {
        let id = TwinId::in_default_tenant("t-1").unwrap();
        let mut live = Live::default();
        let name = |text| Name::new("a name", text).unwrap();
        let mut say = |second: u64, input| {
            let header = Header { received: Timestamp::from_millis(second * 1_000), ..Header::default() };
            Kinds::default().decide(&id, &mut live, &input, header).reply.unwrap();
            live.twin().clone()
        };
        for (client, keep, epoch) in [("kept", true, 1), ("passing", false, 2)] {
            let connection =
                Connection { node: 1, generation: 1, transport: Transport::Mqtt, address: name("a") };
            let connect = Connect {
                client: name(client),
                keep,
                resumes: keep,
                connection,
                expiry_s: None,
                will: None,
                proof: Proof::Open,
            };
            say(epoch * 10, Input::Connect { connect, register: Some(name("device")) });
            say(
                epoch * 10 + 5,
                Input::Disconnect { epoch, reason: name("closed"), with_will: true, expiry_s: None },
            );
        }

        let twin = say(99, Input::Read);
        let shown = connection(&twin);

        assert_eq!((shown.state, shown.since), ("disconnected", Some(Timestamp::from_millis(25_000))));
    }

    #[test]
    fn a_twin_is_shown_with_its_versions_its_connection_and_who_changed_what() {
        let id = TwinId::in_default_tenant("t-1").unwrap();
        let mut live = Live::default();
        let name = |text| Name::new("a name", text).unwrap();
        let header = Header { received: Timestamp::from_millis(60_000), ..Header::default() };
        let connection =
            Connection { node: 3, generation: 1, transport: Transport::Mqtt, address: name("127.0.0.1:9") };
        let client = name("c");
        let connect = Connect {
            client,
            keep: false,
            resumes: false,
            connection,
            expiry_s: None,
            will: None,
            proof: Proof::Open,
        };
        for input in [
            Input::Connect { connect, register: Some(name("device")) },
            Input::Report(json(r#"{"a":{"b":1}}"#)),
            Input::Update { tags: None, desired: Some(Desire::Merge(json(r#"{"s":21}"#))), if_match: None },
        ] {
            Kinds::default().decide(&id, &mut live, &input, header.clone()).reply.unwrap();
        }

        let document = document(&id, live.twin());

        assert_eq!(
            document.as_str(),
            concat!(
                r#"{"id":"t-1","kind":"device","version":3,"tags":{},"desired":{"s":21,"$version":1},"#,
                r#""reported":{"a":{"b":1},"$version":1},"state":{},"system":{"lifecycle":"active","generation":1,"#,
                r#""created":"1970-01-01T00:01:00.000Z","connection":{"state":"connected","#,
                r#""since":"1970-01-01T00:01:00.000Z","node":3,"transport":"mqtt","address":"127.0.0.1:9"}},"#,
                r#""metadata":{"tags":{},"#,
                r#""desired":{"/s":{"version":1,"at":"1970-01-01T00:01:00.000Z","by":"device"}},"#,
                r#""reported":{"/a":{"version":1,"at":"1970-01-01T00:01:00.000Z","by":"device"}}}}"#,
            )
        );
    }
}
