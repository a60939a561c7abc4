//! The twin document as people read it: what it is, then its properties, one a line.

use std::collections::BTreeMap;
use std::fmt;

use serde::Deserialize;
use twins::json::{self, Json, Pointer};

use super::table::Table;

/// The twin document, as far as it is shown.
#[derive(Deserialize)]
pub(super) struct Document {
    id: String,
    kind: String,
    version: u64,
    tags: json::Document,
    desired: json::Document,
    reported: json::Document,
    state: json::Document,
    system: System,
    metadata: Metadata,
}

#[derive(Deserialize)]
struct System {
    connection: Connection,
}

#[derive(Deserialize)]
struct Connection {
    state: String,
    since: Option<String>,
    transport: Option<String>,
    address: Option<String>,
}

#[derive(Deserialize)]
struct Metadata {
    tags: Stamps,
    desired: Stamps,
    reported: Stamps,
}

/// When and by whom each path was changed.
type Stamps = BTreeMap<Pointer, Stamp>;

#[derive(Deserialize)]
struct Stamp {
    at: String,
    by: String,
}

impl fmt::Display for Document {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut about = Table::default();
        about.row(&[&"id", &self.id]);
        about.row(&[&"kind", &self.kind]);
        about.row(&[&"version", &self.version]);
        about.row(&[&"connection", &self.system.connection]);
        about.fmt(f)?;

        let none = Stamps::new();
        let mut properties = Table::new(&["SECTION", "PROPERTY", "VALUE", "CHANGED", "BY"]);
        for (section, document, stamps) in [
            ("tags", &self.tags, &self.metadata.tags),
            ("desired", &self.desired, &self.metadata.desired),
            ("reported", &self.reported, &self.metadata.reported),
            ("state", &self.state, &none),
        ] {
            for (name, value) in document.members().filter(|(name, _)| name != "$version") {
                let stamp = latest(stamps, &Pointer::root().join(&name));
                let (at, by) = stamp.map_or(("", ""), |stamp| (&stamp.at, &stamp.by));
                properties.row(&[&section, &name, &Json::as_str(&value.to_json()), &at, &by]);
            }
        }
        write!(f, "\n{properties}")
    }
}

impl fmt::Display for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { state, since, transport, address } = self;
        f.write_str(state)?;
        let words = [("since", since), ("by", transport), ("from", address)];
        let mut words = words.iter().filter_map(|(word, value)| Some((word, value.as_ref()?)));
        words.try_for_each(|(word, value)| write!(f, " {word} {value}"))
    }
}

/// The last change of a property: of itself, or of something in it. Times of one form compare as texts.
fn latest<'a>(stamps: &'a Stamps, property: &Pointer) -> Option<&'a Stamp> {
    let within = stamps.iter().filter(|(path, _)| path.starts_with(property));
    within.map(|(_, stamp)| stamp).max_by_key(|stamp| &stamp.at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_property_is_a_line_with_its_last_change() {
        let document: Document = serde_json::from_str(
            r#"{"id":"t-1","kind":"thermostat","version":7,"tags":{},"desired":{"setpoint":21.50,"$version":1},
                "reported":{"a":{"b":1,"c":2},"$version":2},"state":{},
                "system":{"lifecycle":"active","generation":1,"created":"2026-11-21T09:30:00.000Z",
                          "connection":{"state":"connected","since":"2026-11-21T09:31:00.000Z","node":1,
                                        "transport":"mqtt","address":"127.0.0.1:9"}},
                "metadata":{"tags":{},
                    "desired":{"/setpoint":{"version":1,"at":"2026-11-21T09:32:00.000Z","by":"user:dev"}},
                    "reported":{"/a/b":{"version":1,"at":"2026-11-21T09:33:00.000Z","by":"device"},
                                "/a/c":{"version":2,"at":"2026-11-21T09:34:00.000Z","by":"device"}}}}"#,
        )
        .unwrap();

        assert_eq!(
            document.to_string(),
            "\
id          t-1
kind        thermostat
version     7
connection  connected since 2026-11-21T09:31:00.000Z by mqtt from 127.0.0.1:9

SECTION   PROPERTY  VALUE          CHANGED                   BY
desired   setpoint  21.50          2026-11-21T09:32:00.000Z  user:dev
reported  a         {\"b\":1,\"c\":2}  2026-11-21T09:34:00.000Z  device
"
        );
    }
}
