//! `twinfold twin`: what a twin is, what it should become, and what is said to its device.

use std::collections::BTreeMap;
use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Subcommand};
use serde::{Deserialize, Serialize};
use twins::json::Json;
use twins::kind::Kinds;

use super::client::Call;
use super::document::Document;
use super::remote::Remote;
use super::send::Send;
use super::value::{Members, Value};
use super::watch::Watch;
use super::{Error, contract, note};

/// Read and change twins, and speak to their devices.
#[derive(Subcommand)]
pub(super) enum Twin {
    /// Show a twin: its tags, what it should become, what its device reports
    #[command(after_help = "Example:\n  twinfold twin get boiler-7 --json")]
    Get {
        /// The device
        id: String,
        #[command(flatten)]
        at: Remote,
    },
    /// Change what a device should become, or its tags; a null removes
    #[command(
        override_usage = "twinfold twin set <ID> [--desired NAME=VALUE|JSON...] [--tags NAME=VALUE|JSON...] [OPTIONS]",
        after_help = concat!(
            "Examples:\n",
            "  twinfold twin set boiler-7 --desired setpoint=21.5 mode=eco\n",
            "  twinfold twin set boiler-7 --tags '{\"room\": \"attic\"}' --if-match 1-2-3",
        )
    )]
    Set {
        /// The device
        id: String,
        #[command(flatten)]
        changes: Changes,
        /// Change it only if its ETag is still this one, as `twin get` shows it
        #[arg(long, value_name = "ETAG")]
        if_match: Option<String>,
        #[command(flatten)]
        at: Remote,
    },
    /// Send a command: it is kept until the device takes it
    #[command(after_help = concat!(
        "Examples:\n",
        "  twinfold twin send boiler-7 heater on --mode latest\n",
        "  twinfold twin send boiler-7 restart --ttl 60 --answer expected --wait",
    ))]
    Send(Send),
    Watch(Watch),
    /// Call a method of the twin's behaviour
    #[command(after_help = "Example:\n  twinfold twin call boiler-7 boost '{\"minutes\": 10}'")]
    Call {
        /// The device
        id: String,
        /// The method, as `twin contract` lists it
        method: String,
        /// JSON, or a word
        #[arg(allow_negative_numbers = true)]
        argument: Option<Value>,
        #[command(flatten)]
        at: Remote,
    },
    /// Ask the device itself, and wait for its answer
    #[command(
        after_help = "Example:\n  twinfold twin request boiler-7 diagnose '{\"deep\": true}' --timeout 30"
    )]
    Request {
        /// The device
        id: String,
        /// What is asked
        name: String,
        /// JSON, or a word
        #[arg(allow_negative_numbers = true)]
        payload: Option<Value>,
        /// How long the device may take, in seconds: at most 300
        #[arg(long, value_name = "S", default_value_t = 10.0)]
        timeout: f64,
        #[command(flatten)]
        at: Remote,
    },
    /// Show what the kinds of this binary declare; needs no node
    #[command(after_help = "Example:\n  twinfold twin contract thermostat")]
    Contract {
        /// The kind; else all
        kind: Option<String>,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}

/// What is to change: at least one of the two.
#[derive(Args)]
#[group(required = true, multiple = true)]
pub(super) struct Changes {
    /// What the device should become: pairs, or JSON of an object
    #[arg(long, value_name = "NAME=VALUE|JSON", num_args = 1..)]
    desired: Vec<Members>,
    /// What operators say about it: pairs, or JSON of an object
    #[arg(long, value_name = "NAME=VALUE|JSON", num_args = 1..)]
    tags: Vec<Members>,
}

/// The body of a change.
#[derive(Serialize)]
struct Patch<'a> {
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    desired: BTreeMap<&'a str, &'a Json>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    tags: BTreeMap<&'a str, &'a Json>,
}

/// What a device answered to a request.
#[derive(Deserialize)]
struct Reply {
    status: u16,
    payload: Json,
}

impl Twin {
    pub(super) fn run(self, kinds: &Kinds, out: &mut dyn Write) -> Result<ExitCode, Error> {
        match self {
            Self::Get { id, at } => show(&at, Call::get(&["twins", &id]), out)?,
            Self::Set { id, changes: Changes { desired, tags }, if_match, at } => {
                let patch = Patch { desired: Members::merged(&desired), tags: Members::merged(&tags) };
                show(&at, Call::patch(&["twins", &id], &patch).if_match(if_match), out)?;
            }
            Self::Send(send) => return send.run(out),
            Self::Watch(watch) => return watch.run(out),
            Self::Call { id, method, argument, at } => {
                let call = Call::post(&["twins", &id, "methods", &method], &argument);
                writeln!(out, "{}", at.call(call)?.body)?;
            }
            Self::Request { id, name, payload, timeout, at } => {
                let call = Call::post(&["twins", &id, "requests", &name], &payload)
                    .query("timeout_s", Some(timeout))
                    .waits(Duration::try_from_secs_f64(timeout).unwrap_or_default());
                return request(&at, call, out);
            }
            Self::Contract { kind, json } => contract::show(kinds, kind, json, out)?,
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// Shows the twin that a call answers, with the ETag that it has.
fn show(at: &Remote, call: Call, out: &mut dyn Write) -> Result<(), Error> {
    let answer = at.call(call)?;
    at.show::<Document>(&answer, out)?;
    if let Some(etag) = &answer.etag {
        out.flush()?;
        note(&format!("etag: {}", etag.trim_matches('"')));
    }
    Ok(())
}

/// Asks a device. It says yes or no as HTTP does.
fn request(at: &Remote, call: Call, out: &mut dyn Write) -> Result<ExitCode, Error> {
    let answer = at.call(call)?;
    let Reply { status, payload } = answer.read()?;
    match at.json {
        true => writeln!(out, "{}", answer.body)?,
        false => writeln!(out, "{status} {payload}")?,
    }
    Ok(if (200..300).contains(&status) { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
