//! `twinfold events`: what happened, to one twin or to all.

use std::io::Write;
use std::process::ExitCode;

use clap::Subcommand;
use serde::Deserialize;
use twins::json::Json;

use super::Error;
use super::client::Call;
use super::follow::follow;
use super::list::{self, Limit, Row};
use super::remote::Remote;
use super::table::{Table, plain};

/// Read what happened.
#[derive(Subcommand)]
pub(super) enum Events {
    /// Read what happened, oldest first; the last line says where to read on
    #[command(
        after_help = "Example:\n  twinfold events read --twin boiler-7 --type command,event --from 2026-11-21T09:30:00Z"
    )]
    Read {
        /// Of this twin; telemetry only where --type names it
        #[arg(long, value_name = "ID")]
        twin: Option<String>,
        /// `all`: also of the devices that had that id before
        #[arg(long, value_name = "all", requires = "twin", value_parser = ["all"])]
        generation: Option<String>,
        /// Of this device, whose place that of --twin has taken
        #[arg(long, value_name = "ID", requires = "twin", conflicts_with = "generation")]
        ancestor: Option<String>,
        /// After this cursor, since this time (RFC 3339), `earliest` (the default) or `latest`
        #[arg(long, value_name = "CURSOR|TIME")]
        from: Option<String>,
        /// Of these types: telemetry, event, tags, desired, reported, command, connected and so on
        #[arg(long = "type", value_name = "TYPE", value_delimiter = ',')]
        types: Vec<String>,
        #[command(flatten)]
        limit: Limit,
        #[command(flatten)]
        at: Remote,
    },
    /// Show what happens as it happens, over cuts and restarts of the node
    #[command(after_help = concat!(
        "Examples:\n",
        "  twinfold events follow --type event,command\n",
        "  twinfold events follow --twin boiler-7 --from earliest --json",
    ))]
    Follow {
        /// Of this twin, telemetry included
        #[arg(long, value_name = "ID")]
        twin: Option<String>,
        /// After this cursor, since this time (RFC 3339), `earliest`, or `latest` (the default)
        #[arg(long, value_name = "CURSOR|TIME")]
        from: Option<String>,
        /// Of these types: telemetry, event, tags, desired, reported, command, connected and so on
        #[arg(long = "type", value_name = "TYPE", value_delimiter = ',')]
        types: Vec<String>,
        #[command(flatten)]
        at: Remote,
    },
}

#[derive(Deserialize)]
struct Event {
    time: String,
    twin: String,
    r#type: String,
    data: Json,
}

impl Events {
    pub(super) fn run(self, out: &mut dyn Write) -> Result<ExitCode, Error> {
        match self {
            Self::Read { twin, generation, ancestor, from, types, limit, at } => {
                let call = match &twin {
                    Some(twin) => Call::get(&["twins", twin, "events"]),
                    None => Call::get(&["events"]),
                };
                let call =
                    call.query("generation", generation).query("ancestor", ancestor).query("from", from);
                let call = limit.of(call.query("type", joined(&types)));
                list::show::<Event>(&at, call, "--from", out)?;
                Ok(ExitCode::SUCCESS)
            }
            Self::Follow { twin, from, types, at } => {
                let call = || {
                    let call = Call::get(&["events", "stream"]);
                    call.query("twin", twin.as_ref()).query("type", joined(&types))
                };
                follow(&at, call, from.as_deref(), out, |envelope, out| show(envelope, at.json, out))
            }
        }
    }
}

fn joined(types: &[String]) -> Option<String> {
    (!types.is_empty()).then(|| types.join(","))
}

/// Shows an event that was followed: to programs as it came, to people as a line.
fn show(envelope: &str, json: bool, out: &mut dyn Write) -> Result<(), Error> {
    match serde_json::from_str::<Event>(envelope) {
        Ok(Event { time, twin, r#type, data }) if !json => {
            let line = format!("{time}  {twin}  {:<9}  {data}", r#type);
            Ok(writeln!(out, "{}", plain(&line))?)
        }
        _ => Ok(writeln!(out, "{envelope}")?),
    }
}

impl Row for Event {
    const HEAD: &'static [&'static str] = &["TIME", "TWIN", "TYPE", "DATA"];

    fn row(&self, table: &mut Table) {
        table.row(&[&self.time, &self.twin, &self.r#type, &self.data]);
    }
}
