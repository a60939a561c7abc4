//! `twinfold twin watch`: what changes in a twin's document, as it changes.

use std::io::Write;
use std::process::ExitCode;

use clap::Args;
use serde::Deserialize;
use serde_json::Value;

use super::client::Call;
use super::follow::follow;
use super::remote::Remote;
use super::table::plain;
use super::{Error, note};

/// What changes a document, of all that is followed.
const CHANGES: &str = "reported,desired,tags,command,connected,disconnected,registered,removed";

/// Show a twin's changes as they happen: what it reports, what it should become, its connection, its commands
#[derive(Args)]
#[command(after_help = "Example:\n  twinfold twin watch boiler-7")]
pub(super) struct Watch {
    /// The device
    id: String,
    #[command(flatten)]
    at: Remote,
}

/// A change, as the stream tells it.
#[derive(Deserialize)]
struct Change {
    time: String,
    r#type: String,
    data: Value,
}

impl Watch {
    pub(super) fn run(self, out: &mut dyn Write) -> Result<ExitCode, Error> {
        let Self { id, at } = self;
        let call = || Call::get(&["events", "stream"]).query("twin", Some(&id)).query("type", Some(CHANGES));
        follow(&at, call, None, out, |envelope, out| {
            if at.json {
                return Ok(writeln!(out, "{envelope}")?);
            }
            match serde_json::from_str::<Change>(envelope) {
                Ok(change) => writeln!(out, "{}", plain(&change.line()))?,
                Err(error) => note(&format!("an event cannot be read: {error}")),
            }
            Ok(())
        })
    }
}

impl Change {
    /// As a line for people.
    fn line(&self) -> String {
        let Self { time, r#type, data } = self;
        let text = |name: &str| data[name].as_str().unwrap_or_default();
        let what = match r#type.as_str() {
            "reported" | "desired" | "tags" => format!("{}  by {}", data["patch"], text("by")),
            "command" => {
                let (name, state, id) = (data["name"].as_str().unwrap_or("?"), text("state"), text("id"));
                let result = data.get("result").map(|result| format!(" {result}")).unwrap_or_default();
                format!("{name} {state}{result}  {id}")
            }
            "connected" => format!("{} over {}", text("address"), text("transport")),
            "disconnected" => text("reason").to_owned(),
            _ => format!("by {}", text("by")),
        };
        format!("{time}  {:<12}  {what}", r#type).trim_end().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn check(r#type: &str, data: Value, line: &str) {
        let change = Change { time: "T".into(), r#type: r#type.into(), data };
        assert_eq!(change.line(), line);
    }

    #[test]
    fn a_change_is_a_line() {
        check(
            "reported",
            json!({"patch": {"on": true}, "by": "device"}),
            "T  reported      {\"on\":true}  by device",
        );
        check(
            "command",
            json!({"id": "7", "name": "turn", "state": "done", "result": {"at": 90}}),
            "T  command       turn done {\"at\":90}  7",
        );
        check("connected", json!({"address": "a:1", "transport": "mqtt"}), "T  connected     a:1 over mqtt");
        check("disconnected", json!({"reason": "closed"}), "T  disconnected  closed");
        check("removed", json!({"by": "user:dev"}), "T  removed       by user:dev");
    }
}
