//! `twinfold policy`: who may do what to which parts of which devices, and why.

use std::fmt;
use std::io::Write;
use std::process::ExitCode;

use clap::{ArgGroup, Subcommand};
use runtime::access::Verb;
use serde::{Deserialize, Serialize};

use super::Error;
use super::client::Call;
use super::list::{self, After, Limit, Row};
use super::reason::Reason;
use super::remote::Remote;
use super::table::Table;

/// Allow or deny some things to some people, where roles are too coarse.
#[derive(Subcommand)]
pub(super) enum Policy {
    /// Add a policy, or replace it; what denies wins over what allows
    #[command(
        after_help = "Examples:\n  twinfold policy add night --deny role:operator --verb control --device 'pump-*' --path commands/open\n  twinfold policy add billing --allow meters --verb read --path telemetry/energy"
    )]
    #[command(group(ArgGroup::new("effect").required(true).args(["allow", "deny"])))]
    Add {
        /// 1 to 128 of A-Z a-z 0-9 . _ ~ : @ -
        name: String,
        /// Let them: `*` for everybody, role:ROLE, or the name of a user or a service
        #[arg(long, value_name = "WHO")]
        allow: Vec<String>,
        /// Do not let them, whatever else does
        #[arg(long, value_name = "WHO")]
        deny: Vec<String>,
        /// What: read, write, control, register, activate, secure
        #[arg(long = "verb", value_name = "VERB", required = true, value_parser = verb)]
        verbs: Vec<Verb>,
        /// Of which devices: * stands for any characters, ? for one
        #[arg(long, value_name = "PATTERN", default_value = "*")]
        device: String,
        /// Of which parts, with all below: desired/heating, commands/open, telemetry/*
        #[arg(long, value_name = "PATTERN", default_value = "**")]
        path: String,
        #[command(flatten)]
        reason: Reason,
        #[command(flatten)]
        at: Remote,
    },
    /// Show a policy
    #[command(after_help = "Example:\n  twinfold policy show night")]
    Show {
        /// The policy
        name: String,
        #[command(flatten)]
        at: Remote,
    },
    /// List the policies, in the order of their names
    #[command(after_help = "Example:\n  twinfold policy list")]
    List {
        #[command(flatten)]
        limit: Limit,
        #[command(flatten)]
        after: After,
        #[command(flatten)]
        at: Remote,
    },
    /// Remove a policy
    #[command(after_help = "Example:\n  twinfold policy remove night")]
    Remove {
        /// The policy
        name: String,
        #[command(flatten)]
        reason: Reason,
        #[command(flatten)]
        at: Remote,
    },
    /// Say whether somebody may do something, and why; ends with 1 if not
    #[command(after_help = "Example:\n  twinfold policy explain control pump-7 commands/open --who ada")]
    Explain {
        /// What: read, write, control, register, activate, secure, administer, audit
        #[arg(value_parser = verb)]
        verb: Verb,
        /// To which device
        device: String,
        /// To which part; else to the twin itself
        path: Option<String>,
        /// Who: a user or a service; else yourself
        #[arg(long, value_name = "NAME")]
        who: Option<String>,
        #[command(flatten)]
        at: Remote,
    },
}

#[derive(Serialize)]
struct Rule<'a> {
    effect: &'static str,
    who: &'a [String],
    devices: &'a str,
    path: &'a str,
    verbs: Vec<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
}

#[derive(Serialize)]
struct Question<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    who: Option<&'a str>,
    verb: &'a str,
    device: &'a str,
    path: &'a str,
}

#[derive(Deserialize)]
struct Shown {
    name: String,
    effect: String,
    who: Vec<String>,
    devices: String,
    path: String,
    verbs: Vec<String>,
}

/// A verdict.
#[derive(Deserialize)]
struct Answer {
    allowed: bool,
    because: Vec<Because>,
}

#[derive(Deserialize)]
struct Because {
    text: String,
}

impl Policy {
    pub(super) fn run(self, out: &mut dyn Write) -> Result<ExitCode, Error> {
        match self {
            Self::Add { name, allow, deny, verbs, device, path, reason, at } => {
                let (effect, who) = if deny.is_empty() { ("allow", allow) } else { ("deny", deny) };
                let (verbs, reason) = (verbs.into_iter().map(Verb::as_str).collect(), reason.text());
                let rule = Rule { effect, who: &who, devices: &device, path: &path, verbs, reason };
                at.show::<Shown>(&at.call(Call::put(&["policies", &name], &rule))?, out)?;
            }
            Self::Show { name, at } => at.show::<Shown>(&at.call(Call::get(&["policies", &name]))?, out)?,
            Self::List { limit, after, at } => {
                list::show::<Shown>(&at, after.of(limit.of(Call::get(&["policies"]))), "--after", out)?;
            }
            Self::Remove { name, reason, at } => {
                drop(at.call(Call::delete(&["policies", &name]).query("reason", reason.text()))?);
            }
            Self::Explain { verb, device, path, who, at } => {
                let path = path.as_deref().unwrap_or("");
                let question = Question { who: who.as_deref(), verb: verb.as_str(), device: &device, path };
                let answer = at.call(Call::post(&["access", "explain"], &question))?;
                at.show::<Answer>(&answer, out)?;
                if !answer.read::<Answer>()?.allowed {
                    return Ok(ExitCode::FAILURE);
                }
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// A verb by its name.
fn verb(name: &str) -> Result<Verb, String> {
    let names = || format!("it is one of {}", Verb::ALL.map(Verb::as_str).join(", "));
    Verb::parse(name).ok_or_else(names)
}

impl Row for Shown {
    const HEAD: &'static [&'static str] = &["NAME", "EFFECT", "WHO", "VERBS", "DEVICES", "PATH"];

    fn row(&self, table: &mut Table) {
        let Self { name, effect, who, devices, path, verbs } = self;
        table.row(&[name, effect, &who.join(","), &verbs.join(","), devices, path]);
    }
}

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut table = Table::new(Self::HEAD);
        self.row(&mut table);
        table.fmt(f)
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut table = Table::default();
        table.row(&[&(if self.allowed { "allowed" } else { "denied" })]);
        self.because.iter().for_each(|Because { text }| table.row(&[&format_args!("  {text}")]));
        table.fmt(f)
    }
}
