//! `twinfold serve`: its flags; the node itself is [`crate::serve`].

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use gateway::tls::Files;
use twins::kind::Kinds;

use super::Error;
use super::limits::Limits;
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
    limits: Limits,
    #[command(flatten)]
    telemetry: Flags,
}

impl Serve {
    pub(super) fn run(self, kinds: Kinds) -> Result<ExitCode, Error> {
        let telemetry = self.telemetry.start()?;
        let settings = self.limits.settings();
        let Self { data, mqtt_tls, https, tls_certificate, tls_key, mqtt, http, allow_plaintext, .. } = self;
        let (master_key, audience) = (self.master_key_file, self.audience);
        let plain = Plain { mqtt, http, allowed: allow_plaintext };
        let files = Files { certificate: tls_certificate, key: tls_key };
        let options = Options { data, mqtt_tls, https, plain, files, master_key, audience, settings };
        let ran = serve::run(options, kinds, telemetry.voice());
        telemetry.end();
        ran?;
        Ok(ExitCode::SUCCESS)
    }
}
