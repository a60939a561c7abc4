//! `twinfold cert`: certificates of devices, and who signs them. A key that is made here stays here.

use std::fmt;
use std::fs::{self, DirBuilder, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Subcommand};
use gateway::trust::authority;
use serde::{Deserialize, Serialize};
use twins::id::TwinId;

use super::authority::Ca;
use super::client::{self, Answer, Call};
use super::list::{self, After, Limit, Row};
use super::remote::Remote;
use super::table::Table;
use super::{Error, note};

/// Give devices certificates, and see which there are.
#[derive(Subcommand)]
pub(super) enum Cert {
    #[command(subcommand)]
    Ca(Ca),
    /// Have a certificate signed for a device
    #[command(
        after_help = "Examples:\n  twinfold cert issue boiler-7 --generate ./keys\n  twinfold cert issue boiler-7 --csr boiler-7.csr > boiler-7.pem"
    )]
    Issue {
        #[command(flatten)]
        application: Application,
        #[command(flatten)]
        at: Remote,
    },
    /// Have the next certificate signed for a device; the one before stays valid for a while
    #[command(after_help = "Example:\n  twinfold cert renew boiler-7 --csr boiler-7.csr --grace 604800")]
    Renew {
        #[command(flatten)]
        application: Application,
        /// For so many seconds the certificate before stays valid: a day where nothing is said, at most 90 days
        #[arg(long, value_name = "S")]
        grace: Option<u64>,
        #[command(flatten)]
        at: Remote,
    },
    /// Take a device's certificates from it: all, or one. Its keys stay
    #[command(
        after_help = "Examples:\n  twinfold cert revoke boiler-7 --reason 'stolen'\n  twinfold cert revoke boiler-7 --issue 3"
    )]
    Revoke {
        /// The device
        id: String,
        /// The number of one, as `cert list` shows it
        #[arg(long, value_name = "N")]
        issue: Option<u64>,
        /// Why, for those who read its events
        #[arg(long, value_name = "TEXT")]
        reason: Option<String>,
        #[command(flatten)]
        at: Remote,
    },
    /// List the certificates of devices, in the order of the devices' ids
    #[command(after_help = "Example:\n  twinfold cert list --expires-within 2592000")]
    List {
        /// Only those that end within so many seconds
        #[arg(long, value_name = "S")]
        expires_within: Option<u64>,
        #[command(flatten)]
        limit: Limit,
        #[command(flatten)]
        after: After,
        #[command(flatten)]
        at: Remote,
    },
}

/// What is to be signed, and by whom.
#[derive(Args)]
pub(super) struct Application {
    /// The device
    id: String,
    #[command(flatten)]
    key: Key,
    /// Who is to sign; the only authority that does where nobody says
    #[arg(long, value_name = "NAME")]
    authority: Option<String>,
    /// It is valid for so many seconds: a year where nothing is said, at most ten
    #[arg(long, value_name = "S")]
    ttl: Option<u64>,
    /// Why, for those who read the device's events
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
}

/// Whose key it is for.
#[derive(Args)]
#[group(required = true, multiple = false)]
struct Key {
    /// The device's certificate request, PEM; the certificate is printed
    #[arg(long, value_name = "FILE")]
    csr: Option<PathBuf>,
    /// Make a key here, and write it with its certificate to this folder: DEVICE.key, for its owner alone, and DEVICE.pem
    #[arg(long, value_name = "DIR")]
    generate: Option<PathBuf>,
}

#[derive(Serialize)]
struct Body<'a> {
    csr: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    authority: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ttl_s: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    grace_s: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
}

#[derive(Serialize)]
struct Revocation<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    credential: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sort: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
}

/// A certificate that was signed, with those that lead from it to a root.
#[derive(Deserialize)]
struct Signed {
    certificate: String,
}

#[derive(Deserialize)]
struct Shown {
    device_id: String,
    issue: u64,
    authority: String,
    expires: Option<String>,
    fingerprint: String,
}

impl Cert {
    pub(super) fn run(self, out: &mut dyn Write) -> Result<ExitCode, Error> {
        match self {
            Self::Ca(verb) => return verb.run(out),
            Self::Issue { application, at } => application.make(None, &at, out)?,
            Self::Renew { application, grace, at } => application.make(grace, &at, out)?,
            Self::Revoke { id, issue, reason, at } => {
                let sort = issue.is_none().then_some("certificate");
                let body = Revocation { credential: issue, sort, reason: reason.as_deref() };
                drop(at.call(Call::post(&["devices", &id, "revoke"], &body))?);
            }
            Self::List { expires_within, limit, after, at } => {
                let call = Call::get(&["certificates"]).query("expires_within_s", expires_within);
                list::show::<Shown>(&at, after.of(limit.of(call)), "--after", out)?;
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

impl Application {
    fn make(self, grace: Option<u64>, at: &Remote, out: &mut dyn Write) -> Result<(), Error> {
        match &self.key {
            Key { csr: Some(file), .. } => {
                let csr = fs::read_to_string(file).map_err(|why| Error::NoPem { file: file.clone(), why })?;
                at.show::<Signed>(&self.apply(&csr, grace, at)?, out)
            }
            Key { generate, .. } => {
                let folder = generate.as_deref().unwrap_or(Path::new("."));
                // It becomes the name of files.
                TwinId::in_default_tenant(&self.id).map_err(Error::NoDevice)?;
                let (key, csr) = authority::generate(&self.id).map_err(Error::NoKey)?;
                let [key_file, csr_file, file] =
                    ["key", "csr", "pem"].map(|end| folder.join(format!("{}.{end}", self.id)));
                if file.exists() {
                    return Err(Error::FileExists { file });
                }
                let made = DirBuilder::new().recursive(true).mode(0o700).create(folder);
                made.map_err(|why| Error::NoFolder { folder: folder.to_owned(), why })?;
                // Both are on the disk before anybody signs: else there could be a certificate without its key.
                write(&key_file, &key, 0o600)?;
                write(&csr_file, &csr, 0o644)?;
                let answer = self.apply(&csr, grace, at).map_err(|error| match error {
                    // Nobody signed it.
                    Error::Client(client::Error::Problem(problem)) if problem.is_refusal() => {
                        drop(fs::remove_file(&key_file));
                        drop(fs::remove_file(&csr_file));
                        Error::Client(client::Error::Problem(problem))
                    }
                    error => {
                        note(&format!(
                            "the request may have been signed; its key is kept\nnext: twinfold cert renew {} --csr {}",
                            self.id,
                            csr_file.display()
                        ));
                        error
                    }
                })?;
                write(&file, &answer.read::<Signed>()?.certificate, 0o644)?;
                drop(fs::remove_file(&csr_file));
                match at.json {
                    true => writeln!(out, "{}", answer.body)?,
                    false => writeln!(out, "{}\n{}", key_file.display(), file.display())?,
                }
                out.flush()?;
                if !at.json {
                    note("put both into the device; the key is nowhere else");
                }
                Ok(())
            }
        }
    }

    fn apply(&self, csr: &str, grace_s: Option<u64>, at: &Remote) -> Result<Answer, Error> {
        let Self { id, authority, ttl, reason, .. } = self;
        let (authority, reason) = (authority.as_deref(), reason.as_deref());
        let body = Body { csr, authority, ttl_s: *ttl, grace_s, reason };
        at.call(Call::post(&["devices", id, "certificates"], &body))
    }
}

/// A new file with these rights.
fn write(file: &Path, text: &str, mode: u32) -> Result<(), Error> {
    let written =
        OpenOptions::new().write(true).create_new(true).mode(mode).open(file).and_then(|mut opened| {
            opened.write_all(text.as_bytes())?;
            opened.sync_all()
        });
    written.map_err(|why| match why.kind() {
        std::io::ErrorKind::AlreadyExists => Error::FileExists { file: file.to_owned() },
        _ => Error::NoFolder { folder: file.parent().unwrap_or(file).to_owned(), why },
    })
}

impl Row for Shown {
    const HEAD: &'static [&'static str] = &["DEVICE", "ISSUE", "AUTHORITY", "EXPIRES", "FINGERPRINT"];

    fn row(&self, table: &mut Table) {
        let Self { device_id, issue, authority, expires, fingerprint } = self;
        table.row(&[device_id, issue, authority, &expires.as_deref().unwrap_or(""), fingerprint]);
    }
}

impl fmt::Display for Signed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.certificate)
    }
}
