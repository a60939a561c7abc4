//! `twinfold device`: which devices there are, and as what.

use std::collections::BTreeMap;
use std::fmt;
use std::io::Write;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde::{Deserialize, Serialize};
use twins::json::Json;

use super::client::{Answer, Call};
use super::list::{self, After, Limit, Row};
use super::remote::Remote;
use super::stock;
use super::table::Table;
use super::value::{Members, Value};
use super::{Error, note};

/// Register devices, and see which there are.
#[derive(Subcommand)]
pub(super) enum Device {
    /// Register a device; one that is there gets these tags
    #[command(after_help = concat!(
        "Examples:\n",
        "  twinfold device add boiler-7 --kind thermostat --tag building=12 --tag room=attic\n",
        "  twinfold device add pump-7 --generate",
    ))]
    Add {
        /// 1 to 128 of A-Z a-z 0-9 . _ ~ : @ -; left out, one is made
        id: Option<String>,
        /// What kind of twin it has; `device` where nothing is said
        #[arg(long, value_name = "KIND")]
        kind: Option<String>,
        /// A tag; the tags together replace those that it has
        #[arg(long = "tag", value_name = "NAME=VALUE")]
        tags: Vec<Members>,
        /// Its business data, as a JSON object; it replaces what it has
        #[arg(long, value_name = "JSON")]
        catalogue: Option<Value>,
        /// The enrolment group that speaks for it; a new device gets what the group has its devices begin with
        #[arg(long, value_name = "NAME")]
        group: Option<String>,
        #[command(flatten)]
        key: ActivationKey,
        /// The activation key is not taken any more after so many seconds; else it has no end
        #[arg(long, value_name = "S")]
        activation_ttl: Option<u64>,
        #[command(flatten)]
        at: Remote,
    },
    /// Show a device
    #[command(after_help = "Example:\n  twinfold device get boiler-7 --json")]
    Get {
        /// The device
        id: String,
        #[command(flatten)]
        at: Remote,
    },
    /// List the devices, in the order of their ids
    #[command(after_help = "Example:\n  twinfold device list --limit 20")]
    List {
        #[command(flatten)]
        limit: Limit,
        #[command(flatten)]
        after: After,
        #[command(flatten)]
        at: Remote,
    },
    Import(stock::Import),
    Export(stock::Export),
    /// Give a device an activation key, instead of any that it had; a generated one is printed, once
    #[command(after_help = "Example:\n  twinfold device invite boiler-7 --ttl 86400")]
    Invite {
        #[command(flatten)]
        key: ActivationKey,
        /// The activation key is not taken any more after so many seconds; else it has no end
        #[arg(long, value_name = "S")]
        ttl: Option<u64>,
        #[command(flatten)]
        step: Step,
    },
    /// Activate a device in its name, and print its key: once; all credentials that it had go
    #[command(after_help = "Example:\n  twinfold device activate boiler-7 --reason 'on site'")]
    Activate {
        /// Random text of 16 to 128 bytes: the same one again gets the same key
        #[arg(long, value_name = "TEXT")]
        nonce: Option<String>,
        #[command(flatten)]
        step: Step,
    },
    /// Give a device a new key and print it: once; the one before stays valid for a while
    #[command(after_help = "Example:\n  twinfold device rotate boiler-7 --grace 3600")]
    Rotate {
        /// For so many seconds the key before stays valid: a day where nothing is said, at most 90 days
        #[arg(long, value_name = "S")]
        grace: Option<u64>,
        /// Random text of 16 to 128 bytes: the same one again gets the same key
        #[arg(long, value_name = "TEXT")]
        nonce: Option<String>,
        #[command(flatten)]
        step: Step,
    },
    /// Shut a device out: its connections are closed, and nothing of it is taken
    #[command(after_help = "Example:\n  twinfold device disable boiler-7 --reason 'stolen'")]
    Disable(Step),
    /// Let a device in again, and through
    #[command(after_help = "Example:\n  twinfold device enable boiler-7 --reason 'found again'")]
    Enable(Step),
    /// Let nothing of a device through but what manages it
    #[command(after_help = "Example:\n  twinfold device quarantine boiler-7 --reason 'talks too much'")]
    Quarantine(Step),
    /// Take a device's credentials from it: all, or one
    #[command(
        after_help = "Examples:\n  twinfold device revoke boiler-7 --reason 'key was in a log'\n  twinfold device revoke boiler-7 --credential 2"
    )]
    Revoke {
        /// The number of one credential, as `device get --json` shows it; else all go, with the activation key
        #[arg(long, value_name = "N")]
        credential: Option<u64>,
        #[command(flatten)]
        step: Step,
    },
    /// Let another device take the place of one: all that it had but its credentials, which are void
    #[command(after_help = "Example:\n  twinfold device replace boiler-7 --by boiler-8 --reason 'burnt out'")]
    Replace {
        /// The device that takes its place: of the same kind, and without a desired or reported section or commands of
        /// its own; its tags and business data are replaced
        #[arg(long, value_name = "ID")]
        by: String,
        #[command(flatten)]
        step: Step,
    },
    /// Remove a device with its twin; its history stays, and a device that gets its id later has one of its own
    #[command(after_help = "Example:\n  twinfold device remove boiler-7 --reason 'scrapped'")]
    Remove {
        /// Its history goes too, and that of all devices that had its id, also where it was removed before
        #[arg(long)]
        erase: bool,
        #[command(flatten)]
        step: Step,
    },
}

/// A step in the life of a device.
#[derive(Args)]
pub(super) struct Step {
    /// The device
    id: String,
    /// Why, for those who read its events
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    #[command(flatten)]
    at: Remote,
}

/// What a device shows once to get its key.
#[derive(Args)]
pub(super) struct ActivationKey {
    /// An activation key that you choose: 8 to 256 bytes
    #[arg(long, value_name = "KEY", hide_env_values = true)]
    activation_key: Option<String>,
    /// Have an activation key generated, and print it: once
    #[arg(long, conflicts_with = "activation_key")]
    generate: bool,
}

/// What is said with a step.
#[derive(Default, Serialize)]
struct Said<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    credential: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    activation_key: Option<Key<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ttl_s: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    grace_s: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    nonce: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    by: Option<&'a str>,
}

/// An activation key as bodies have it.
#[derive(Serialize)]
#[serde(untagged)]
enum Key<'a> {
    Chosen(&'a str),
    Generated { generate: bool },
}

#[derive(Serialize)]
struct Registration<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    kind: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tags: Option<BTreeMap<&'a str, &'a Json>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    catalogue: Option<&'a Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    group: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    activation_key: Option<Key<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    activation_ttl_s: Option<u64>,
}

/// A key that a device was given: alone on its line, so that a script can take it.
#[derive(Deserialize)]
struct Handed {
    key: String,
}

#[derive(Deserialize)]
struct Shown {
    id: String,
    kind: String,
    created: String,
    connection: String,
    /// Absent where it is not for the caller to see.
    #[serde(default)]
    lifecycle: String,
    tags: Json,
    /// The activation key that was made for it just now.
    activation_key: Option<String>,
}

impl Device {
    pub(super) fn run(self, out: &mut dyn Write) -> Result<ExitCode, Error> {
        match self {
            Self::Add { id, kind, tags, catalogue, group, key, activation_ttl, at } => {
                let tags = (!tags.is_empty()).then(|| Members::merged(&tags));
                let registration = Registration {
                    kind: kind.as_deref(),
                    tags,
                    catalogue: catalogue.as_ref(),
                    group: group.as_deref(),
                    activation_key: key.wanted(),
                    activation_ttl_s: activation_ttl,
                };
                let call = match &id {
                    Some(id) => Call::put(&["devices", id], &registration),
                    None => Call::post(&["devices"], &registration),
                };
                show_invited(&at, &at.call(call)?, out)?;
            }
            Self::Get { id, at } => at.show::<Shown>(&at.call(Call::get(&["devices", &id]))?, out)?,
            Self::List { limit, after, at } => {
                list::show::<Shown>(&at, after.of(limit.of(Call::get(&["devices"]))), "--after", out)?;
            }
            Self::Import(import) => return import.run(),
            Self::Export(export) => return export.run(out),
            Self::Invite { key, ttl, step } => {
                let said = Said { activation_key: key.wanted(), ttl_s: ttl, ..Said::default() };
                show_invited(&step.at, &step.say("invite", said)?, out)?;
            }
            Self::Activate { nonce, step } => {
                step.hand("activate", Said { nonce: nonce.as_deref(), ..Said::default() }, out)?;
            }
            Self::Rotate { grace, nonce, step } => {
                let said = Said { grace_s: grace, nonce: nonce.as_deref(), ..Said::default() };
                step.hand("rotate", said, out)?;
            }
            Self::Disable(step) => step.take("disable", Said::default(), out)?,
            Self::Enable(step) => step.take("enable", Said::default(), out)?,
            Self::Quarantine(step) => step.take("quarantine", Said::default(), out)?,
            Self::Revoke { credential, step } => {
                step.take("revoke", Said { credential, ..Said::default() }, out)?;
            }
            Self::Replace { by, step } => {
                step.take("replace", Said { by: Some(&by), ..Said::default() }, out)?;
            }
            Self::Remove { erase, step: Step { id, reason, at } } => {
                let call = Call::delete(&["devices", &id]).query("reason", reason);
                drop(at.call(call.query("erase", erase.then_some(true)))?);
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

impl Step {
    /// Takes it, and shows the device as it is then.
    fn take(self, verb: &str, said: Said<'_>, out: &mut dyn Write) -> Result<(), Error> {
        let answer = self.say(verb, said)?;
        self.at.show::<Shown>(&answer, out)
    }

    /// Takes it, and shows the key that comes of it.
    fn hand(self, verb: &str, said: Said<'_>, out: &mut dyn Write) -> Result<(), Error> {
        let answer = self.say(verb, said)?;
        self.at.show::<Handed>(&answer, out)?;
        out.flush()?;
        if !self.at.json {
            note("give it to the device: it is not shown again");
        }
        Ok(())
    }

    fn say(&self, verb: &str, said: Said<'_>) -> Result<Answer, Error> {
        let Self { id, reason, at } = self;
        at.call(Call::post(&["devices", id, verb], &Said { reason: reason.as_deref(), ..said }))
    }
}

impl ActivationKey {
    fn wanted(&self) -> Option<Key<'_>> {
        let generated = self.generate.then_some(Key::Generated { generate: true });
        self.activation_key.as_deref().map(Key::Chosen).or(generated)
    }
}

/// Shows a device, and after it the activation key that was made for it.
fn show_invited(at: &Remote, answer: &Answer, out: &mut dyn Write) -> Result<(), Error> {
    at.show::<Shown>(answer, out)?;
    out.flush()?;
    if !at.json && answer.read::<Shown>()?.activation_key.is_some() {
        note("put the activation key into the device: it is not shown again");
    }
    Ok(())
}

impl fmt::Display for Handed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.key)
    }
}

impl Row for Shown {
    const HEAD: &'static [&'static str] = &["ID", "KIND", "LIFECYCLE", "CONNECTION", "CREATED", "TAGS"];

    fn row(&self, table: &mut Table) {
        table.row(&[&self.id, &self.kind, &self.lifecycle, &self.connection, &self.created, &self.tags]);
    }
}

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut table = Table::new(Self::HEAD);
        self.row(&mut table);
        table.fmt(f)?;
        self.activation_key.iter().try_for_each(|key| writeln!(f, "\nactivation key  {key}"))
    }
}
