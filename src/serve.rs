//! `twinfold serve`: one node in the open. Nobody is let in but who shows what the directory knows, and nothing is in
//! plain text but where the operator says so, on this machine.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use gateway::door::Door;
use gateway::tls::{self, Files, Tls};
use gateway::trust::Guarded;
use gateway::trust::guesses::Guesses;
use gateway::trust::vault::Vault;
use runtime::clock::SystemClock;
use tokio::signal::unix::{Signal, SignalKind, signal};
use twins::id::DEFAULT_TENANT;
use twins::kind::Kinds;

use crate::master;
use crate::node::{
    self, Company, Doors, Entrance, Found, MakeAccess, NobodyMayEnter, NotStopped, ReadMaster, Running,
    Settings,
};
use crate::signals::{self, Signals};

/// How often the files of the certificate are looked at.
const RELOAD_EVERY: Duration = Duration::from_secs(30);

/// What the command line says.
#[derive(Debug, Clone)]
pub(crate) struct Options {
    /// The data folder.
    pub(crate) data: PathBuf,
    /// Where MQTT listens with TLS.
    pub(crate) mqtt_tls: SocketAddr,
    /// Where HTTP listens with TLS.
    pub(crate) https: SocketAddr,
    /// Where both listen in plain text, and whether they may.
    pub(crate) plain: Plain,
    /// The certificate that is shown.
    pub(crate) files: Files,
    /// The file that has the master key, where it is not the folder's own.
    pub(crate) master_key: Option<PathBuf>,
    /// Whom the tokens of devices must be for.
    pub(crate) audience: String,
    /// The other nodes.
    pub(crate) company: Company,
    /// The limits of the node.
    pub(crate) settings: Settings,
}

/// Where a node listens in plain text: for a proxy, or a program, on the same machine.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Plain {
    pub(crate) mqtt: Option<SocketAddr>,
    pub(crate) http: Option<SocketAddr>,
    pub(crate) allowed: bool,
}

/// Why `serve` ended before it was told to.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error(
        "{flag} {address} is in plain text, which shows credentials to whoever listens\nnext: leave {flag} out and use TLS; or, where only this machine can listen, add --allow-plaintext"
    )]
    Plaintext { flag: &'static str, address: SocketAddr },
    #[error(
        "{flag} {address} is not loopback, and in plain text\nnext: choose 127.0.0.1 or [::1] there, or leave {flag} out and use TLS"
    )]
    PlaintextInTheOpen { flag: &'static str, address: SocketAddr },
    #[error(
        "{0}\nnext: an election waits for three heartbeats at least: --heartbeat-ms 100 --election-ms 400-800"
    )]
    Timing(cluster::Error),
    #[error("{0}")]
    NobodyMayEnter(#[from] NobodyMayEnter),
    #[error(
        "{0}\nnext: name PEM files: the certificate and those that signed it with --tls-certificate, its key with --tls-key"
    )]
    Tls(#[from] tls::Error),
    #[error("starting the threads: {0}\nnext: see the limits of processes and memory: ulimit -a")]
    Threads(std::io::Error),
    #[error("{0}")]
    Node(#[from] node::Error),
    #[error(transparent)]
    NotStopped(#[from] NotStopped),
}

impl Error {
    /// Whether something has to be said before, or in another way, rather than that something failed.
    pub(crate) fn is_usage(&self) -> bool {
        matches!(
            self,
            Self::Plaintext { .. }
                | Self::PlaintextInTheOpen { .. }
                | Self::NobodyMayEnter(_)
                | Self::Timing(_)
                | Self::Node(node::Error::NobodyMayEnter(_))
        )
    }
}

impl Plain {
    /// Refuses what is not on this machine, or not asked for twice.
    fn check(self) -> Result<(), Error> {
        let all = [("--mqtt", self.mqtt), ("--http", self.http)];
        for (flag, address) in all.into_iter().filter_map(|(flag, address)| Some((flag, address?))) {
            if !address.ip().is_loopback() {
                return Err(Error::PlaintextInTheOpen { flag, address });
            }
            if !self.allowed {
                return Err(Error::Plaintext { flag, address });
            }
        }
        Ok(())
    }
}

/// Runs until SIGTERM or SIGINT; a second one ends the process at once. `say` tells the operator something.
pub(crate) fn run(options: Options, kinds: Kinds, say: fn(&str)) -> Result<(), Error> {
    let Options { data, mqtt_tls, https, plain, files, master_key, audience, company, settings } = options;
    plain.check()?;
    company.timing.check().map_err(Error::Timing)?;
    // What is not there yet is not made: a node begins with the one who may do something with it.
    if !data.join("log").is_dir() && !data.join(cluster::identity::FOLDER).is_dir() {
        return Err(NobodyMayEnter(data).into());
    }
    let tls = Tls::load(files)?;
    let door = |secured, plain: Option<SocketAddr>| {
        [Door::secured(secured, tls.clone())].into_iter().chain(plain.map(Door::plain)).collect()
    };
    let doors = Doors { mqtt: door(mqtt_tls, plain.mqtt), http: door(https, plain.http) };
    let http = gateway::http::Options { loopback_only: false, ..settings.http };
    let options = node::Options::new(
        kinds,
        guarded(data.clone(), master_key, audience, tls.clone()),
        doors,
        Settings { http, quotas: settings.quotas.in_the_open(), ..settings },
    );
    let options = node::Options { company: Some(company), ..options };
    let threads = tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(Error::Threads)?;
    threads.block_on(async {
        let signals = Signals::listen();
        let renewing = tokio::spawn(renew(tls, signal(SignalKind::hangup()).ok(), say));
        let running = Running::start(&data, options).await?;
        say(&format!("ready: {}", addresses(&running)));
        signals.received(say).await;
        renewing.abort();
        Ok(running.stop_in_time().await?)
    })
}

/// Lets in whom the directory knows, if there is one who may change it; `tls` believes those whom it has sign for devices.
fn guarded(data: PathBuf, master_key: Option<PathBuf>, audience: String, tls: Tls) -> MakeAccess {
    Box::new(move |Found { directory, has_joined, .. }| {
        if !has_joined && !directory.current().has_admin(DEFAULT_TENANT) {
            return Err(NobodyMayEnter(data).into());
        }
        let master: ReadMaster = Box::new(move || master::open(&data, master_key.clone()));
        let vault = Arc::new(Vault::new(master()?));
        let (clock, guesses) =
            (Arc::new(SystemClock), Guesses::new(directory.clone(), Arc::new(SystemClock)));
        let access = Guarded::new(directory, clock, vault.clone(), guesses.clone(), audience);
        tls.believe(access.roots());
        Ok(Entrance { access: Arc::new(access), vault, guesses, master, seals: true })
    })
}

/// Shows a new certificate when its files were replaced: at once at SIGHUP, else within half a minute.
async fn renew(tls: Tls, mut hangup: Option<Signal>, say: fn(&str)) {
    loop {
        tokio::select! {
            () = signals::received(&mut hangup) => {}
            () = tokio::time::sleep(RELOAD_EVERY) => {}
        }
        let tls = tls.clone();
        match tokio::task::spawn_blocking(move || tls.reload()).await {
            Ok(Ok(true)) => say("the new certificate is shown from now on"),
            Ok(Ok(false)) => {}
            Ok(Err(error)) => {
                tracing::warn!(%error, "the new certificate is not used; the one before is still shown");
            }
            Err(error) => tracing::error!(%error, "reading the certificate failed"),
        }
    }
}

/// Where the node listens, as clients write it.
fn addresses(running: &Running) -> String {
    let named = |all: &[SocketAddr], schemes: [&str; 2]| {
        let named = all.iter().zip(schemes).map(|(address, scheme)| format!("{scheme}://{address}"));
        named.collect::<Vec<_>>().join(" ")
    };
    let (mqtt, http) = (running.mqtt(), running.http());
    let others = running.address().map_or(String::new(), |address| format!(", other nodes {address}"));
    format!("MQTT {}, HTTP {}{others}", named(mqtt, ["mqtts", "mqtt"]), named(http, ["https", "http"]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(address: &str, allowed: bool, refusal: Option<&str>) {
        let address = Some(address.parse().unwrap());
        for (plain, flag) in [
            (Plain { mqtt: address, http: None, allowed }, "--mqtt"),
            (Plain { mqtt: None, http: address, allowed }, "--http"),
        ] {
            let refused = plain.check().map_err(|error| error.to_string());
            match refusal {
                None => assert_eq!(refused, Ok(())),
                Some(words) => {
                    let said = refused.unwrap_err();
                    assert!(said.contains(words) && said.starts_with(flag), "{said}");
                }
            }
        }
    }

    #[test]
    fn plain_text_is_for_this_machine_and_where_it_is_asked_for_twice() {
        check("127.0.0.1:1883", true, None);
        check("[::1]:1883", true, None);
        check("127.0.0.1:1883", false, Some("add --allow-plaintext"));
        check("0.0.0.0:1883", true, Some("is not loopback"));
        check("192.168.1.7:1883", false, Some("is not loopback"));
        assert!(Plain::default().check().is_ok());
    }
}
