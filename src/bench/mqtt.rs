//! `bench mqtt`: devices that report, over MQTT 3.1.1, to a node or to any broker.

use std::time::Duration;

use super::client::Speech;
use super::load::{Load, Plan};
use super::node::{Data, Node};
use super::progress::Progress;
use super::report::Report;
use super::{Error, Setting, disk, process};

/// How long a load runs before it is measured.
const WARM_UP: Duration = Duration::from_secs(1);

/// From how many connections on their memory can be told from the rest.
const CROWD: usize = 1_000;

/// Measures.
pub(super) fn run(setting: &Setting) -> Result<Report, Error> {
    let mut progress = Progress::new("mqtt");
    let data = Data::new(setting.data.as_deref())?;
    process::claim_descriptors();
    let before = disk::probe(data.path()).map_err(|why| Error::Data(data.path().to_owned(), why))?;
    let own = match setting.target {
        Some(_) => None,
        None => Some(Node::start(data.path())?),
    };
    let target = own.as_ref().map_or(setting.target, |node| Some(node.mqtt)).ok_or(Error::NoTarget)?;
    let pid = own.as_ref().map(Node::pid).or(setting.pid);

    let idle = pid.map(|pid| process::usage(Some(pid))).transpose().map_err(Error::Process)?;
    progress.say(&format!("connecting {} devices to {target}", setting.connections));
    let load = Load::connect(&plan(setting, target))?;
    let connected = pid.map(|pid| process::usage(Some(pid))).transpose().map_err(Error::Process)?;
    load.begin(WARM_UP, setting.duration);
    std::thread::sleep(WARM_UP);
    let measured = watch(setting, pid, &load, &mut progress)?;
    let counts = load.end();
    let used = pid.map(|pid| process::usage(Some(pid))).transpose().map_err(Error::Process)?;
    drop(own);
    let after = disk::probe(data.path()).map_err(|why| Error::Data(data.path().to_owned(), why))?;

    let mut report = Report::of("mqtt");
    setting.report(&mut report);
    report.set("target", target.to_string());
    report.set("acked", counts.acked);
    report.ratio("acked_per_s", counts.acked as f64, setting.duration.as_secs_f64());
    report.set("errors", counts.errors);
    counts.latencies.report(&mut report);
    if let (Some(idle), Some(connected), Some(used)) = (idle, connected, used) {
        report.ratio("target_cpu_s", measured.target_cpu_s, 1.0);
        report.ratio("target_cpu_s_per_million", measured.target_cpu_s, counts.acked as f64 / 1e6);
        report.set("target_rss_idle_bytes", idle.rss_bytes);
        report.set("target_rss_end_bytes", used.rss_bytes);
        // With few connections it would be the memory of what a node does at first.
        if setting.connections.get() >= CROWD {
            let grown = connected.rss_bytes.saturating_sub(idle.rss_bytes);
            report.set("bytes_per_connection", grown / setting.connections.get() as u64);
        }
    }
    report.ratio("generator_cpu_s", measured.own_cpu_s, 1.0);
    disk::report(&mut report, &before, &after);
    if let Some(why) = counts.why {
        report.set("first_error", why);
    }
    Ok(report)
}

fn plan(setting: &Setting, target: std::net::SocketAddr) -> Plan {
    let speech = Speech { qos: setting.qos, window: setting.window.get(), payload: setting.payload };
    Plan {
        target,
        prefix: "bench",
        connections: setting.connections.get(),
        threads: setting.threads.get(),
        speech,
        rate: setting.rate,
    }
}

/// The processor time that target and generator took while it was measured.
struct Measured {
    target_cpu_s: f64,
    own_cpu_s: f64,
}

/// Shows how far a load is until it ends.
fn watch(
    setting: &Setting,
    pid: Option<u32>,
    load: &Load,
    progress: &mut Progress,
) -> Result<Measured, Error> {
    let begin = std::time::Instant::now();
    let usage = || -> Result<(f64, f64), Error> {
        let target = pid.map(|pid| process::usage(Some(pid))).transpose().map_err(Error::Process)?;
        Ok((target.map_or(0.0, |used| used.cpu_s), process::usage(None).map_err(Error::Process)?.cpu_s))
    };
    let (target_before, own_before) = usage()?;
    let (mut shown_at, mut shown) = (Duration::ZERO, load.acked());
    while let Some(left) = setting.duration.checked_sub(begin.elapsed()).filter(|left| !left.is_zero()) {
        std::thread::sleep(left.min(progress.every()));
        let (at, acked) = (begin.elapsed(), load.acked());
        let rate = (acked - shown) as f64 / (at - shown_at).as_secs_f64();
        progress
            .show(at.as_secs_f64() / setting.duration.as_secs_f64(), &format!("{rate:.0} acknowledged/s"));
        (shown_at, shown) = (at, acked);
    }
    let (target_after, own_after) = usage()?;
    Ok(Measured { target_cpu_s: target_after - target_before, own_cpu_s: own_after - own_before })
}
