//! `bench mqtt`: devices that report, over MQTT 3.1.1, to a node or to any broker; and `bench loop`: thermostats whose
//! twins answer each sample with a command.

use std::net::SocketAddr;
use std::time::Duration;

use crate::cli::client::Call;

use super::client::{About, Speech};
use super::credentials::Giver;
use super::load::{Load, Plan};
use super::node::{Data, Node};
use super::progress::Progress;
use super::report::Report;
use super::{Error, Setting, disk, process};

/// How long a load runs before it is measured.
const WARM_UP: Duration = Duration::from_secs(1);

/// From how many connections on their memory can be told from the rest.
const CROWD: usize = 1_000;

/// How long a loop is calibrated that was given no rate, and which part of what that found it runs at.
const CALIBRATION: Duration = Duration::from_secs(3);
const CALIBRATED: f64 = 0.5;
/// The kind whose twin answers a sample with a command.
const KIND: &str = "thermostat";

/// Measures.
pub(super) fn run(setting: &Setting, about: About) -> Result<Report, Error> {
    let what = match about {
        About::Reports => "mqtt",
        About::Loop => "loop",
    };
    let mut progress = Progress::new(what);
    let data = Data::new(setting.data.as_deref())?;
    process::claim_descriptors();
    let before = disk::probe_first(data.path(), &mut progress)?;
    let own = match setting.target {
        Some(_) => None,
        None => Some(Node::start(data.path(), setting.credentials, &[])?),
    };
    let target = own.as_ref().map_or(setting.target, |node| Some(node.mqtt)).ok_or(Error::NoTarget)?;
    let pid = own.as_ref().map(Node::pid).or(setting.pid);

    let giver = own.as_ref().map_or(Giver::Nobody, |node| node.giver.clone());
    let mut plan = plan(setting, target, giver, about);
    if about == About::Loop {
        let node = own.as_ref().ok_or(Error::OwnNodeOnly)?;
        progress.say("registering the thermostats");
        register(node, &plan)?;
        if plan.rate.is_none() {
            progress.say("calibrating");
            let others = Plan { prefix: "calibration", ..plan.clone() };
            register(node, &others)?;
            let load = Load::connect(&others)?;
            load.begin(Duration::ZERO, CALIBRATION);
            let found = load.end().acked as f64 / CALIBRATION.as_secs_f64();
            plan.rate = Some((found * CALIBRATED).max(1.0));
        }
    }

    let idle = pid.map(|pid| process::usage(Some(pid))).transpose().map_err(Error::Process)?;
    progress.say(&format!("connecting {} devices to {target}", setting.connections));
    let load = Load::connect(&plan)?;
    let connected = pid.map(|pid| process::usage(Some(pid))).transpose().map_err(Error::Process)?;
    load.begin(WARM_UP, setting.duration);
    std::thread::sleep(WARM_UP);
    let measured = watch(setting, pid, &load, &mut progress)?;
    let counts = load.end();
    let used = pid.map(|pid| process::usage(Some(pid))).transpose().map_err(Error::Process)?;
    drop(own);
    let after = disk::probe(data.path())?;

    let mut report = Report::of(what);
    setting.report(&mut report);
    report.set("rate", plan.rate.unwrap_or(0.0));
    report.set("window", plan.speech.window);
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

fn plan(setting: &Setting, target: SocketAddr, giver: Giver, about: About) -> Plan {
    let speech = match about {
        About::Reports => {
            Speech { qos: setting.qos, window: setting.window.get(), payload: setting.payload, about }
        }
        // A thermostat is told something new only once it has done what it was told before.
        About::Loop => Speech { qos: 1, window: 1, payload: setting.payload, about },
    };
    Plan {
        target,
        giver,
        prefix: match about {
            About::Reports => "bench",
            About::Loop => "loop",
        },
        connections: setting.connections.get(),
        threads: setting.threads.get(),
        speech,
        rate: setting.rate,
    }
}

/// Registers the devices of a loop as what answers them.
fn register(node: &Node, plan: &Plan) -> Result<(), Error> {
    let kind = serde_json::json!({ "kind": KIND });
    for number in 0..plan.connections {
        let registered = Call::put(&["devices", &plan.name(number)], &kind).send(&node.api);
        registered.map_err(|error| Error::NoLoop(error.to_string()))?;
    }
    Ok(())
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
