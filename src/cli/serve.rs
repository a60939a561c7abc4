//! `twinfold serve`: its flags; the node itself is [`crate::serve`].

use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use ::cluster::consensus::Timing;
use ::cluster::transport::join::is_address;
use clap::Args;
use gateway::tls::Files;
use twins::kind::Kinds;

use super::Error;
use super::limits::Limits;
use crate::node::Company;
use crate::serve::{self, Options, Plain};
use crate::telemetry::Flags;

/// Run one node in the open: with TLS, and for those whom it knows.
#[derive(Args)]
#[command(
    after_help = "Example:\n  twinfold user add ada --role admin --data ./data\n  twinfold serve --data ./data --tls-certificate node.pem --tls-key node.key\n\nThe first line prints a token once: send it as `Authorization: Bearer TOKEN`. New files of the certificate are shown\nwithin 30 s, and at once at SIGHUP."
)]
pub(super) struct Serve {
    /// Where data is kept
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// Where MQTT listens with TLS; port 0 takes a free one
    #[arg(long, value_name = "ADDR", default_value = "0.0.0.0:8883")]
    mqtt_tls: SocketAddr,
    /// Where HTTP listens with TLS; port 0 takes a free one
    #[arg(long, value_name = "ADDR", default_value = "0.0.0.0:8443")]
    https: SocketAddr,
    /// The node's certificate, and those that signed it: PEM
    #[arg(long, value_name = "FILE")]
    tls_certificate: PathBuf,
    /// The key of that certificate: PEM
    #[arg(long, value_name = "FILE")]
    tls_key: PathBuf,
    /// The master key that secrets are sealed under: 32 bytes in base64 or hexadecimal digits [default: the variable
    /// TWINFOLD_MASTER_KEY, else `master.key` in the data folder]
    #[arg(long, value_name = "FILE")]
    master_key_file: Option<PathBuf>,
    /// Whom the tokens must be for that devices sign
    #[arg(long, value_name = "NAME", default_value = "twinfold")]
    audience: String,
    /// Where MQTT listens in plain text besides: loopback, and with --allow-plaintext only
    #[arg(long, value_name = "ADDR")]
    mqtt: Option<SocketAddr>,
    /// Where HTTP listens in plain text besides: loopback, and with --allow-plaintext only
    #[arg(long, value_name = "ADDR")]
    http: Option<SocketAddr>,
    /// Let --mqtt and --http show credentials to whoever listens on this machine
    #[arg(long)]
    allow_plaintext: bool,
    #[command(flatten)]
    others: Others,
    #[command(flatten)]
    limits: Limits,
    #[command(flatten)]
    telemetry: Flags,
}

/// The other nodes of a cluster.
#[derive(Args)]
#[command(next_help_heading = "Cluster")]
struct Others {
    /// Listen for other nodes there, over QUIC (UDP); they have certificates of the cluster [default: not at all, and
    /// 0.0.0.0:7400 once the node is in a cluster]
    #[arg(long, value_name = "ADDR")]
    cluster: Option<SocketAddr>,
    /// Where the others reach this node [default: where it listens, if that is one address]
    #[arg(long, value_name = "HOST:PORT", value_parser = reachable)]
    cluster_advertise: Option<String>,
    /// Where this node stands, so that copies are kept apart: zone=a [default: as before]
    #[arg(long, value_name = "PLACE")]
    location: Option<String>,
    /// Let the others hear of each shard that this node leads so often
    #[arg(long, value_name = "MS", default_value_t = heartbeat_ms(), value_parser = clap::value_parser!(u64).range(1..=60_000))]
    heartbeat_ms: u64,
    /// Stand for election when a leader was silent for so long, by chance between the two
    #[arg(long, value_name = "MS-MS", default_value = "400-800", value_parser = election)]
    election_ms: RangeInclusive<u64>,
}

impl Others {
    fn company(self) -> Company {
        let Self { cluster: address, cluster_advertise: advertised, location, heartbeat_ms, election_ms } =
            self;
        let (first, last) = election_ms.into_inner();
        let election = Duration::from_millis(first)..=Duration::from_millis(last);
        let timing = Timing { heartbeat: Duration::from_millis(heartbeat_ms), election };
        Company { address, advertised, location, timing }
    }
}

fn heartbeat_ms() -> u64 {
    u64::try_from(Timing::default().heartbeat.as_millis()).unwrap_or(u64::MAX)
}

/// Two numbers with a dash between them.
fn election(text: &str) -> Result<RangeInclusive<u64>, &'static str> {
    const WRONG: &str = "it is two numbers of milliseconds, the smaller one first: 400-800";
    let (first, last) = text.split_once('-').ok_or(WRONG)?;
    let number = |text: &str| text.parse::<u64>().ok().filter(|ms| (1..=600_000).contains(ms));
    let range = number(first).zip(number(last)).filter(|(first, last)| first < last);
    range.map(|(first, last)| first..=last).ok_or(WRONG)
}

/// What others can dial.
pub(super) fn reachable(text: &str) -> Result<String, &'static str> {
    match is_address(text) {
        true => Ok(text.to_owned()),
        false => Err("it is HOST:PORT, as the other nodes reach this one"),
    }
}

impl Serve {
    pub(super) fn run(self, kinds: Kinds) -> Result<ExitCode, Error> {
        let telemetry = self.telemetry.start()?;
        let settings = self.limits.settings();
        let Self { data, mqtt_tls, https, tls_certificate, tls_key, mqtt, http, allow_plaintext, .. } = self;
        let (master_key, audience, company) = (self.master_key_file, self.audience, self.others.company());
        let plain = Plain { mqtt, http, allowed: allow_plaintext };
        let files = Files { certificate: tls_certificate, key: tls_key };
        let options =
            Options { data, mqtt_tls, https, plain, files, master_key, audience, company, settings };
        let ran = serve::run(options, kinds, telemetry.voice());
        telemetry.end();
        ran?;
        Ok(ExitCode::SUCCESS)
    }
}
