//! `bench cluster`: three nodes, a fleet of devices, and the death of the node that leads the most shards.
//!
//! Each device says numbered samples with QoS 1 and a `mid`, to whichever node it is connected, and says again what was
//! not acknowledged. In the end the history of each is read through another node, and compared with what was
//! acknowledged: nothing may be lost, and nothing there twice.

mod device;
mod fleet;
mod history;
mod judge;
mod trio;

use std::collections::BTreeSet;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use cluster::SHARDS;
use cluster::meta::Domain;
use twins::id::TwinId;

use super::node::Data;
use super::progress::Progress;
use super::report::Report;
use super::{Error, disk, process};

use fleet::{Fleet, Told};
use judge::{Ack, Kill, Silence, Verdict};
use trio::{NODES, Trio};

/// How many samples of a device may be in flight.
const WINDOW: u16 = 16;

/// What is done to how many.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    /// Where the nodes keep their data; each in a folder of its own there.
    pub(crate) data: Option<PathBuf>,
    /// How long the devices sample: a third of it before the kill.
    pub(crate) duration: Duration,
    pub(crate) devices: NonZeroUsize,
    /// Samples a second of each device.
    pub(crate) rate: f64,
}

/// Measures.
pub(crate) fn run(plan: &Plan) -> Result<Report, Error> {
    let mut story = Story { progress: Progress::new("cluster"), begin: Instant::now() };
    let data = Data::new(plan.data.as_deref())?;
    process::claim_descriptors();
    let before = disk::probe_first(data.path(), &mut story.progress)?;

    story.tell("a node is started, alone");
    let mut trio = Trio::first(data.path())?;
    let names: Vec<_> = (1..=plan.devices.get()).map(|number| format!("sensor-{number:05}")).collect();
    let shards: Vec<_> = names.iter().map(|name| shard_of(name)).collect();
    let devices = names.iter().map(|name| Ok((name.clone(), trio.giver().give(name)?)));
    let devices = devices.collect::<Result<_, Error>>()?;
    story.tell("each device has its key; the node becomes a cluster, and two more join");
    trio.grow(data.path())?;
    let status = trio.placed()?;
    story.tell(&format!("{} shards have {NODES} replicas each; {}", status.shards(), led(&status)));

    let rate = plan.rate * plan.devices.get() as f64;
    let fleet = Fleet::connect(fleet::Plan { gateways: trio.gateways(), devices, rate, window: WINDOW })?;
    story.tell(&format!(
        "{} devices are connected to {NODES} gateways, {rate} samples a second",
        plan.devices
    ));
    fleet.speak();
    std::thread::sleep(plan.duration / 3);
    // Leaders move: what counts is who leads what now.
    let (place, number, led) = trio.busiest(&trio.placed()?)?;
    let acked = fleet.acked();
    let at = fleet.now();
    trio.kill(place);
    let kill = Kill { at, gone: fleet.now() };
    story.tell(&format!(
        "node {number} is killed, which leads {} shards; {acked} samples are acknowledged",
        led.len()
    ));
    std::thread::sleep(plan.duration * 2 / 3);
    let told = fleet.end()?;
    story.tell(&format!(
        "{} samples are acknowledged, {} of them after they were said again; {} are not",
        told.counts.acked, told.again, told.unacked
    ));

    trio.restart(place)?;
    // Streams are read as far as a node has them, and the one that is back has to catch up first.
    let asked = (place + 1) % 3;
    story.tell(&format!("node {number} is back; node {} is asked what is there", asked + 1));
    let verdict = compare(&told, |device| history::read(trio.api(asked), device))?;
    let acks: Vec<Ack> = told.devices.iter().flat_map(|device| device.acks.iter().copied()).collect();
    let silence = Silence::of(&acks, kill, |shard| led.contains(&shard), &shards);
    let others = Silence::of(&acks, kill, |shard| !led.contains(&shard), &shards);
    drop(trio);
    let after = disk::probe(data.path())?;
    story.tell(&format!(
        "of what was acknowledged {} are lost; {} are there twice",
        verdict.lost, verdict.duplicated
    ));
    if let (Some(p50), Some(max)) = (silence.p50_ms(), silence.max_ms()) {
        story.tell(&format!(
            "the shards that node {number} led took samples again after {p50} ms (p50), {max} ms (worst)"
        ));
    }

    let mut report = Report::of("cluster");
    report.set("seconds", plan.duration.as_secs_f64());
    report.set("nodes", NODES);
    report.set("connections", plan.devices.get());
    report.set("rate", rate);
    report.set("acked", told.counts.acked);
    report.ratio("acked_per_s", told.counts.acked as f64, plan.duration.as_secs_f64());
    report.set("errors", told.counts.errors + told.unacked + verdict.unsaid);
    report.set("lost", verdict.lost);
    report.set("duplicated", verdict.duplicated);
    report.set("failover_shards", silence.shards());
    report.set("failover_ms_p50", silence.p50_ms());
    report.set("failover_ms_max", silence.max_ms());
    report.set("others_ms_max", others.max_ms());
    report.set("said_again", told.again);
    report.set("reconnects", told.reconnects);
    told.counts.latencies.report(&mut report);
    report.set("whole_s", (story.begin.elapsed().as_secs_f64() * 10.0).round() / 10.0);
    disk::report(&mut report, &before, &after);
    if let Some(why) = verdict.first.or(told.counts.why) {
        report.set("first_error", why);
    }
    Ok(report)
}

/// What happens, told line by line with its time.
struct Story {
    progress: Progress,
    begin: Instant,
}

impl Story {
    fn tell(&mut self, step: &str) {
        self.progress.say(&format!("{:4.1} s  {step}", self.begin.elapsed().as_secs_f64()));
    }
}

/// Which node leads how many shards, in words.
fn led(status: &trio::Status) -> String {
    let led = status.leading();
    let words: Vec<_> =
        led.iter().map(|(node, shards)| format!("node {node} leads {}", shards.len())).collect();
    words.join(", ")
}

/// The shard of a device: the slots of the first placement domain, which all devices are in, are spread over all shards.
fn shard_of(device: &str) -> u32 {
    let twin = TwinId::in_default_tenant(device).expect("the name is short and plain");
    Domain { first: 0, shards: SHARDS }.shard(twin.slot())
}

/// Compares what each device heard with what is there.
fn compare(told: &Told, mut there: impl FnMut(&str) -> Result<Vec<u64>, Error>) -> Result<Verdict, Error> {
    let mut verdict = Verdict::default();
    for device in &told.devices {
        let acked: BTreeSet<_> = device.acks.iter().map(|ack| ack.serial).collect();
        verdict.of_device(&device.name, device.count, &acked, &there(&device.name)?);
    }
    Ok(verdict)
}
