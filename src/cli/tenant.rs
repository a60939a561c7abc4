//! `twinfold tenant`: worlds of their own on one node, for whoever operates it.

use std::collections::BTreeMap;
use std::fmt;
use std::io::Write;
use std::num::NonZeroU32;
use std::process::ExitCode;
use std::str::FromStr;

use clap::{Args, Subcommand};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::client::Call;
use super::list::{self, After, Limit, Row};
use super::reason::Reason;
use super::remote::Remote;
use super::table::Table;
use super::{Error, note};

/// Make tenants, limit them, shut them out, and remove them.
#[derive(Subcommand)]
pub(super) enum Tenant {
    /// Make a tenant with a user who administers it, and print their token: once, since it is not kept
    #[command(after_help = "Example:\n  twinfold tenant add acme --admin ada")]
    Add {
        /// 1 to 64 of A-Z a-z 0-9 . _ ~ : @ -
        name: String,
        /// Who administers it
        #[arg(long, value_name = "NAME")]
        admin: String,
        #[command(flatten)]
        reason: Reason,
        #[command(flatten)]
        at: Remote,
    },
    /// Show a tenant
    #[command(after_help = "Example:\n  twinfold tenant show acme")]
    Show {
        /// The tenant
        name: String,
        #[command(flatten)]
        at: Remote,
    },
    /// List the tenants, in the order of their names
    #[command(after_help = "Example:\n  twinfold tenant list")]
    List {
        #[command(flatten)]
        limit: Limit,
        #[command(flatten)]
        after: After,
        #[command(flatten)]
        at: Remote,
    },
    /// Shut a tenant out, with all its people and devices
    #[command(after_help = "Example:\n  twinfold tenant disable acme --reason 'contract ended'")]
    Disable {
        /// The tenant
        name: String,
        #[command(flatten)]
        reason: Reason,
        #[command(flatten)]
        at: Remote,
    },
    /// Let a tenant in again
    #[command(after_help = "Example:\n  twinfold tenant enable acme")]
    Enable {
        /// The tenant
        name: String,
        #[command(flatten)]
        reason: Reason,
        #[command(flatten)]
        at: Remote,
    },
    /// Make somebody administer a tenant, where nobody who does has a token any more, and print a token for them
    #[command(
        after_help = "Example:\n  twinfold tenant admit acme --admin ada --reason 'their tokens have ended'"
    )]
    Admit {
        /// The tenant
        name: String,
        /// Who: a user, who is made where there is none of that name
        #[arg(long, value_name = "NAME")]
        admin: String,
        #[command(flatten)]
        reason: Reason,
        #[command(flatten)]
        at: Remote,
    },
    /// Say how much a tenant may take; what is not said stays
    #[command(
        after_help = "Examples:\n  twinfold tenant limit acme --devices 10000 --connections 5000\n  twinfold tenant limit acme --devices none\n\n`none` makes it what the node has for all. A limit that is less than what there is takes nothing away."
    )]
    Limit {
        /// The tenant
        name: String,
        #[command(flatten)]
        limits: Limits,
        #[command(flatten)]
        reason: Reason,
        #[command(flatten)]
        at: Remote,
    },
    /// Remove a tenant that is disabled and has no devices
    #[command(after_help = "Example:\n  twinfold tenant remove acme")]
    Remove {
        /// The tenant
        name: String,
        #[command(flatten)]
        reason: Reason,
        #[command(flatten)]
        at: Remote,
    },
}

/// The limits of a tenant.
#[derive(Args, Serialize)]
#[group(required = true, multiple = true)]
pub(super) struct Limits {
    /// So many registered devices
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    devices: Option<AtMost>,
    /// So many MQTT connections at once
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    connections: Option<AtMost>,
    /// So many packets and requests a second, of its devices and people together
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    messages_per_s: Option<AtMost>,
    /// So many streams of events at once
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    streams: Option<AtMost>,
    /// So many calls of devices that wait at once
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    waits: Option<AtMost>,
    /// So many packets and requests of one device a second
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    device_messages_per_s: Option<AtMost>,
    /// So many bytes of them
    #[arg(long, value_name = "BYTES")]
    #[serde(skip_serializing_if = "Option::is_none")]
    device_bytes_per_s: Option<AtMost>,
}

/// A number from 1 on, or `none`, which is null.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(transparent)]
struct AtMost(Option<NonZeroU32>);

impl FromStr for AtMost {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "none" => Ok(Self(None)),
            number => {
                number.parse().map(|n| Self(Some(n))).map_err(|_| "it is a number from 1 on, or `none`")
            }
        }
    }
}

#[derive(Serialize)]
struct Wanted<'a> {
    name: &'a str,
    admin: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
}

/// The token of the one who administers it: alone on its line, so that a script can take it.
#[derive(Deserialize)]
struct Made {
    token: String,
}

#[derive(Deserialize)]
struct Shown {
    name: String,
    disabled: bool,
    created: String,
    principals: usize,
    policies: usize,
    limits: BTreeMap<String, u32>,
}

impl Tenant {
    pub(super) fn run(self, out: &mut dyn Write) -> Result<ExitCode, Error> {
        match self {
            Self::Add { name, admin, reason, at } => {
                let wanted = Wanted { name: &name, admin: &admin, reason: reason.text() };
                at.show::<Made>(&at.call(Call::post(&["tenants"], &wanted))?, out)?;
                out.flush()?;
                note(&format!("keep the token of `{admin}`: it is not shown again"));
            }
            Self::Admit { name, admin, reason, at } => {
                let admission = json!({"admin": admin, "reason": reason.text()});
                at.show::<Made>(&at.call(Call::post(&["tenants", &name, "admins"], &admission))?, out)?;
                out.flush()?;
                note(&format!("keep the token of `{admin}`: it is not shown again"));
            }
            Self::Show { name, at } => at.show::<Shown>(&at.call(Call::get(&["tenants", &name]))?, out)?,
            Self::List { limit, after, at } => {
                list::show::<Shown>(&at, after.of(limit.of(Call::get(&["tenants"]))), "--after", out)?;
            }
            Self::Disable { name, reason, at } => set(&name, true, reason.text(), &at, out)?,
            Self::Enable { name, reason, at } => set(&name, false, reason.text(), &at, out)?,
            Self::Limit { name, limits, reason, at } => {
                let changes = json!({"limits": limits, "reason": reason.text()});
                at.show::<Shown>(&at.call(Call::patch(&["tenants", &name], &changes))?, out)?;
            }
            Self::Remove { name, reason, at } => {
                drop(at.call(Call::delete(&["tenants", &name]).query("reason", reason.text()))?);
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn set(
    name: &str,
    disabled: bool,
    reason: Option<&str>,
    at: &Remote,
    out: &mut dyn Write,
) -> Result<(), Error> {
    let call = Call::patch(&["tenants", name], &json!({"disabled": disabled, "reason": reason}));
    at.show::<Shown>(&at.call(call)?, out)
}

impl fmt::Display for Made {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.token)
    }
}

impl Row for Shown {
    const HEAD: &'static [&'static str] = &["NAME", "STATE", "PRINCIPALS", "POLICIES", "CREATED", "LIMITS"];

    fn row(&self, table: &mut Table) {
        let state = if self.disabled { "disabled" } else { "enabled" };
        let limits: Vec<_> = self.limits.iter().map(|(name, limit)| format!("{name}={limit}")).collect();
        let limits = if limits.is_empty() { "-".to_owned() } else { limits.join(",") };
        table.row(&[&self.name, &state, &self.principals, &self.policies, &self.created, &limits]);
    }
}

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut table = Table::new(Self::HEAD);
        self.row(&mut table);
        table.fmt(f)
    }
}
