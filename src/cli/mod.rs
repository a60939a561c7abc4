//! The command line: one noun a file, and each verb a value that clap fills and that then runs itself.
//!
//! Data goes to stdout, everything else to stderr. A verb ends with 0, with 1 when it was refused or failed, and with 2
//! when it was misspelled, or is to be said after something else. Verbs that ask a node speak its HTTP API through the
//! [client]; `dev` and `serve` are the node itself.

mod audit;
mod authority;
mod backup;
#[cfg(target_os = "linux")]
mod bench;
mod cert;
pub(crate) mod client;
mod cluster;
mod command;
mod completions;
mod configuration;
mod contract;
mod dev;
mod device;
mod document;
mod events;
mod follow;
mod group;
mod limits;
mod list;
mod log;
mod man;
mod member;
mod policy;
mod problem;
mod reason;
mod record;
mod remote;
mod send;
mod serve;
mod stock;
mod streams;
mod table;
mod tenant;
mod token;
mod twin;
mod value;
mod watch;

use std::ffi::OsString;
use std::io::{self, BufWriter, ErrorKind, Write};
use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use twins::kind::Kinds;

/// Digital twins of devices: run a node, and speak to one.
#[derive(Parser)]
#[command(name = "twinfold", version, arg_required_else_help = true)]
#[command(after_help = "Begin with: twinfold dev --devices 3\nThen:       twinfold device list")]
pub(crate) struct Cli {
    #[command(subcommand)]
    noun: Noun,
    #[command(flatten)]
    _configured: configuration::Configured,
}

/// The grammar: what clap makes of [`Cli`], with a variable of the environment for each flag.
fn grammar() -> clap::Command {
    configuration::with_environment(Cli::command())
}

#[derive(Subcommand)]
enum Noun {
    Dev(dev::Dev),
    Serve(Box<serve::Serve>),
    #[command(subcommand)]
    Device(device::Device),
    #[command(subcommand)]
    Twin(twin::Twin),
    #[command(subcommand)]
    Command(command::Command),
    #[command(subcommand)]
    Events(events::Events),
    #[command(subcommand)]
    User(member::User),
    #[command(subcommand)]
    Service(member::Service),
    #[command(subcommand)]
    Token(token::Token),
    #[command(subcommand)]
    Policy(policy::Policy),
    #[command(subcommand)]
    Cert(cert::Cert),
    #[command(subcommand)]
    Group(group::Group),
    #[command(subcommand)]
    Tenant(tenant::Tenant),
    #[command(subcommand)]
    Audit(audit::Audit),
    #[command(subcommand)]
    Cluster(cluster::Cluster),
    #[command(subcommand)]
    Log(log::Log),
    Backup(backup::Backup),
    Restore(backup::Restore),
    #[cfg(target_os = "linux")]
    #[command(subcommand)]
    Bench(bench::Bench),
    Completions(completions::Completions),
    Man(man::Man),
}

/// Why a verb did not do what it says. Each ends with what to do next.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error(transparent)]
    Dev(#[from] crate::dev::Error),
    #[error(transparent)]
    Serve(#[from] crate::serve::Error),
    #[error(transparent)]
    Telemetry(#[from] crate::telemetry::Error),
    #[cfg(target_os = "linux")]
    #[error(transparent)]
    Bench(#[from] crate::bench::Error),
    #[error(transparent)]
    Client(#[from] client::Error),
    #[error("{0}\nnext: {next}", next = crate::node::next(.0))]
    Log(::cluster::Error),
    #[error("{0}\nnext: name the data folder of a stopped node, or the `log` folder in it")]
    NoLog(::cluster::Error),
    #[error("{} holds no log\nnext: name the data folder of a stopped node, or the `log` folder in it", .0.display())]
    EmptyLog(std::path::PathBuf),
    #[error("{0}\nnext: see whether you may read the node's data folder, and all in it: ls -lR DIR")]
    Stream(#[from] runtime::stream::Error),
    #[error("{0}\nnext: take it again")]
    Backup(runtime::backup::Error),
    #[error("no file can be made in {}: {why}\nnext: name a file in a folder that is there and that you may write to", folder.display())]
    NoFolder { folder: std::path::PathBuf, why: io::Error },
    #[error(transparent)]
    Restore(#[from] crate::restore::Error),
    #[error(transparent)]
    Joining(#[from] crate::joining::Error),
    #[error(transparent)]
    First(#[from] crate::first::Error),
    #[error(transparent)]
    Audit(#[from] audit::Error),
    #[error("reading {}: {why}\nnext: name a file in PEM that you may read", file.display())]
    NoPem { file: std::path::PathBuf, why: io::Error },
    #[error("{0}\nnext: see how the device is called: twinfold device list")]
    NoDevice(twins::id::Error),
    #[error("no key could be made: {0}\nnext: see whether the system has random numbers, and try again")]
    NoKey(gateway::trust::authority::Error),
    #[error("{} is there already\nnext: choose another name, or remove it", file.display())]
    FileExists { file: std::path::PathBuf },
    #[error(transparent)]
    Configuration(#[from] configuration::Error),
    #[error("reading {} failed: {why}\nnext: name a file of lines as `twinfold device export` prints them", file.display())]
    Unread { file: std::path::PathBuf, why: io::Error },
    #[error(
        "line {number}: {why}\nnext: correct the line, and import again: the {devices} devices before it are registered"
    )]
    Line { number: u64, devices: u64, why: String },
    #[error("there is no verb `{verb}`\nnext: see those that there are: twinfold --help")]
    UnknownVerb { verb: String },
    #[error("this binary has no kind `{kind}`\nnext: see those that it has: twinfold twin contract")]
    UnknownKind { kind: String },
    #[error("writing the output failed: {0}\nnext: see whether the disk is full, or write to elsewhere")]
    Output(#[from] io::Error),
}

/// Does what the command line says, in a binary that has these kinds. Its first word is the program's name.
pub(crate) fn run(line: impl IntoIterator<Item = OsString>, kinds: Kinds) -> ExitCode {
    let mut out = BufWriter::new(io::stdout());
    let line: Vec<_> = line.into_iter().collect();
    let done = execute(&line, kinds, &mut out);
    match done.and_then(|code| Ok(out.flush().map(|()| code)?)) {
        Ok(code) => code,
        // Whoever reads has read enough: `twinfold log dump DIR | head`.
        Err(Error::Output(error)) if error.kind() == ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        // The parser knows which stream and which code they take.
        Err(Error::Configuration(configuration::Error::Help(help))) => help.exit(),
        Err(error) => {
            note(&format!("error: {error}"));
            match error {
                Error::Configuration(configuration::Error::Misspelled { .. }) => ExitCode::from(2),
                Error::Serve(error) if error.is_usage() => ExitCode::from(2),
                _ => ExitCode::FAILURE,
            }
        }
    }
}

fn execute(line: &[OsString], kinds: Kinds, out: &mut dyn Write) -> Result<ExitCode, Error> {
    let resolved = configuration::resolve(grammar(), line)?;
    if let Some(printed) = resolved.printed {
        out.write_all(printed.as_bytes())?;
        return Ok(ExitCode::SUCCESS);
    }
    let cli = Cli::from_arg_matches(&resolved.matches);
    let cli = cli.map_err(|error| configuration::Error::of(error, "twinfold"))?;
    cli.noun.run(kinds, out)
}

impl Noun {
    fn run(self, kinds: Kinds, out: &mut dyn Write) -> Result<ExitCode, Error> {
        match self {
            Self::Dev(dev) => dev.run(kinds),
            Self::Serve(serve) => serve.run(kinds),
            Self::Device(verb) => verb.run(out),
            Self::Twin(verb) => verb.run(&kinds, out),
            Self::Command(verb) => verb.run(out),
            Self::Events(verb) => verb.run(out),
            Self::User(verb) => verb.run(out),
            Self::Service(verb) => verb.run(out),
            Self::Token(verb) => verb.run(out),
            Self::Policy(verb) => verb.run(out),
            Self::Cert(verb) => verb.run(out),
            Self::Group(verb) => verb.run(out),
            Self::Tenant(verb) => verb.run(out),
            Self::Audit(verb) => verb.run(out),
            Self::Cluster(verb) => verb.run(out),
            Self::Log(verb) => verb.run(out),
            Self::Backup(verb) => verb.run(out),
            Self::Restore(verb) => verb.run(out),
            #[cfg(target_os = "linux")]
            Self::Bench(verb) => verb.run(out),
            Self::Completions(verb) => verb.run(grammar(), out),
            Self::Man(verb) => verb.run(grammar(), out),
        }
    }
}

/// Says something beside the data. Nobody can be told that stderr is closed.
fn note(line: &str) {
    drop(writeln!(io::stderr(), "{line}"));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_grammar_is_sound() {
        grammar().debug_assert();
    }

    #[test]
    fn every_verb_says_what_it_does_and_shows_an_example() {
        fn check(verb: &clap::Command) {
            let name = verb.get_name();
            assert!(verb.get_about().is_some(), "{name} says what it does");
            match verb.has_subcommands() {
                true => verb.get_subcommands().for_each(check),
                false => assert!(verb.get_after_help().is_some(), "{name} has an example"),
            }
        }
        check(&grammar());
    }

    #[test]
    fn what_is_misspelled_is_a_usage_error() {
        for line in [
            "twinfold",
            "twinfold device",
            "twinfold device get",
            "twinfold device get ../t-1 --colour",
            "twinfold twin set t-1",
            "twinfold twin set t-1 --desired setpoint",
            "twinfold twin send t-1 heater --mode newest",
            "twinfold device list --limit 1001",
            "twinfold device list --url mqtts://localhost",
            "twinfold dev --mqtt localhost",
            "twinfold serve --data ./data",
            "twinfold serve --tls-certificate a.pem --tls-key a.key",
            "twinfold backup",
            "twinfold restore a.tar",
            "twinfold user add ada --role root",
            "twinfold policy add night --verb read",
            "twinfold policy add night --deny ada --verb own",
            "twinfold audit verify --head 7",
            "twinfold cert issue pump-7",
            "twinfold group add pumps",
            "twinfold cert issue pump-7 --csr a.csr --generate keys",
            "twinfold cluster join",
            "twinfold cluster move 3 --from 1",
            "twinfold cluster drain one",
            "twinfold serve --data d --tls-certificate a.pem --tls-key a.key --election-ms fast",
            "twinfold query",
        ] {
            let refused = Cli::try_parse_from(line.split(' ')).err();
            assert_eq!(refused.map(|error| error.exit_code()), Some(2), "{line}");
        }
    }
}
