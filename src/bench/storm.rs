//! `bench storm`: what one device feels while many others do what a node must bear.
//!
//! A neighbour reports at a low, even rate. It is measured at rest, and then while the others are idle, silent, slow,
//! flooding, or all come back at once after the node was killed.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::client::{About, Client, Counts, Pace, Speech};
use super::credentials::{Giver, Shown};
use super::latency::Latencies;
use super::load::{Load, Plan, nanos};
use super::node::{Data, Node};
use super::progress::Progress;
use super::report::Report;
use super::swarm::{Manner, Swarm};
use super::{Error, Scenario, Setting, disk, process};

/// How often the neighbour reports, in messages a second.
const RATE: f64 = 200.0;
/// How long it does before it is measured.
const SETTLE: Duration = Duration::from_millis(500);
/// How long all the others may take to connect.
const CONNECT: Duration = Duration::from_secs(60);
/// How many of the others begin to connect in a second: five times as many as a node lets in by default.
const ARRIVALS_PER_S: u64 = 5_000;
/// What a slow reader or a flood has in flight: all that MQTT allows.
const FLOOD_WINDOW: u16 = u16::MAX;

/// Measures.
pub(super) fn run(setting: &Setting) -> Result<Report, Error> {
    let mut progress = Progress::new("storm");
    let data = Data::new(setting.data.as_deref())?;
    let descriptors = process::claim_descriptors();
    let before = disk::probe_first(data.path(), &mut progress)?;
    let mut own = match setting.target {
        Some(_) if setting.scenario == Scenario::Reconnect => return Err(Error::OwnNodeOnly),
        Some(_) => None,
        None => Some(Node::start(data.path(), setting.credentials, &[])?),
    };
    let target = own.as_ref().map_or(setting.target, |node| Some(node.mqtt)).ok_or(Error::NoTarget)?;
    let giver = own.as_ref().map_or(Giver::Nobody, |node| node.giver.clone());

    progress.say("a device reports, and nothing else happens");
    let rest = Neighbour::connect(target, &giver)?.measured(setting.duration);
    let pid = own.as_ref().map(Node::pid).or(setting.pid);
    let rss = |pid: Option<u32>| -> Result<Option<u64>, Error> {
        let used = pid.map(|pid| process::usage(Some(pid))).transpose().map_err(Error::Process)?;
        Ok(used.map(|used| used.rss_bytes))
    };
    let rss_before = rss(pid)?;

    let others = setting.others();
    progress.say(&format!("{others} others: {}", setting.scenario.as_str()));
    let others_shown: Arc<[_]> =
        (0..others).map(|number| giver.give(&name(number))).collect::<Result<_, _>>()?;
    let mut crowd = Crowd::gather(target, setting, others_shown.clone());
    crowd.wait(CONNECT);
    let during = if setting.scenario == Scenario::Reconnect {
        own = own.map(Node::restart).transpose()?;
        crowd.end()?;
        // It is back before the others, or it might be measured when they all are.
        let neighbour = Neighbour::connect(target, &giver)?;
        neighbour.begin(setting.duration);
        crowd = Crowd::gather(target, setting, others_shown);
        let during = neighbour.end();
        crowd.wait(CONNECT);
        during
    } else {
        Neighbour::connect(target, &giver)?.measured(setting.duration)
    };
    let rss_during = rss(own.as_ref().map(Node::pid).or(setting.pid))?;
    let gathered = crowd.end()?;
    drop(own);
    let after = disk::probe(data.path())?;

    let mut report = Report::of("storm");
    report.set("scenario", setting.scenario.as_str());
    report.set("credentials", setting.credentials.as_str());
    report.set("seconds", setting.duration.as_secs_f64());
    report.set("connections", others);
    report.set("descriptors", descriptors);
    report.set("acked", during.acked);
    report.ratio("acked_per_s", during.acked as f64, setting.duration.as_secs_f64());
    report.set("errors", rest.errors + during.errors);
    during.latencies.report(&mut report);
    report.set("rest_p50_us", rest.latencies.quantile_us(0.5));
    report.set("rest_p99_us", rest.latencies.quantile_us(0.99));
    report.set("rest_max_us", rest.latencies.max_us());
    gathered.report(&mut report, setting);
    if let (Some(before), Some(during)) = (rss_before, rss_during) {
        report.set("target_rss_before_bytes", before);
        report.set("target_rss_during_bytes", during);
        // The killed node's memory says nothing about the one that came after it.
        if setting.scenario != Scenario::Reconnect {
            report.set("bytes_per_connection", during.saturating_sub(before) / others as u64);
        }
    }
    // Of a node whose limits are the defaults.
    report.set("bytes_per_connection_max", gateway::mqtt::Options::default().connection_bytes_max());
    disk::report(&mut report, &before, &after);
    if let Some(why) = rest.why.or(during.why) {
        report.set("first_error", why);
    }
    Ok(report)
}

impl Scenario {
    /// Its name on the command line.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Reconnect => "reconnect",
            Self::Idle => "idle",
            Self::Silent => "silent",
            Self::Slow => "slow",
            Self::Flood => "flood",
        }
    }
}

impl Setting {
    /// How many the probe is not alone with: a flood comes from one device.
    fn others(&self) -> usize {
        if self.scenario == Scenario::Flood { 1 } else { self.connections.get() }
    }
}

/// One device that reports at an even rate.
struct Neighbour(Load);

impl Neighbour {
    fn connect(target: SocketAddr, giver: &Giver) -> Result<Self, Error> {
        let speech = Speech { qos: 1, window: 1_000, payload: 300, about: About::Reports };
        let rate = Some(RATE);
        let giver = giver.clone();
        let plan = Plan { target, giver, prefix: "probe", connections: 1, threads: 1, speech, rate };
        Load::connect(&plan).map(Self)
    }

    /// Speaks, and is measured for so long from when this returns.
    fn begin(&self, duration: Duration) {
        self.0.begin(SETTLE, duration);
        std::thread::sleep(SETTLE);
    }

    fn end(self) -> Counts {
        self.0.end()
    }

    fn measured(self, duration: Duration) -> Counts {
        self.begin(duration);
        self.end()
    }
}

/// The others, on a thread of their own that lets all others go first: elsewhere they would be other machines.
struct Crowd {
    thread: JoinHandle<io::Result<Gathered>>,
    is_there: Arc<AtomicBool>,
    is_over: Arc<AtomicBool>,
}

/// What became of the others.
struct Gathered {
    /// How many were let in, and how many connections had ended at the end.
    open: usize,
    gone: usize,
    /// From the first attempt until each was let in.
    connected: Latencies,
    counts: Counts,
}

impl Crowd {
    /// Begins to connect all at once.
    fn gather(target: SocketAddr, setting: &Setting, shown: Arc<[Shown]>) -> Self {
        let (is_there, is_over) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        let flags = (is_there.clone(), is_over.clone());
        let (others, scenario, payload) = (setting.others(), setting.scenario, setting.payload);
        let thread = std::thread::spawn(move || {
            process::yield_to_others();
            let gathered = connect(target, scenario, &shown, payload)
                .map(|swarm| stay(swarm, scenario, others, &flags.0, &flags.1));
            // Where it failed, nobody waits for those who never come.
            flags.0.store(true, Ordering::Relaxed);
            gathered
        });
        Self { thread, is_there, is_over }
    }

    /// Waits until all are there, but no longer than this.
    fn wait(&self, limit: Duration) {
        let end = Instant::now() + limit;
        while !self.is_there.load(Ordering::Relaxed) && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    fn end(self) -> Result<Gathered, Error> {
        self.is_over.store(true, Ordering::Relaxed);
        self.thread.join().expect("the thread of the crowd does not panic").map_err(Error::Sockets)
    }
}

/// One of the others.
fn name(number: usize) -> String {
    format!("storm-{number:06}")
}

/// Begins each connection.
fn connect(target: SocketAddr, scenario: Scenario, shown: &[Shown], payload: usize) -> io::Result<Swarm> {
    let mut swarm = Swarm::new(Instant::now())?;
    (swarm.counts.from, swarm.counts.until) = (0, u64::MAX);
    let quiet = Speech { qos: 1, window: 1, payload, about: About::Reports };
    let loud = Speech { qos: 1, window: FLOOD_WINDOW, payload, about: About::Reports };
    for (number, shown) in shown.iter().enumerate() {
        // Each begins in its own time, as other machines would.
        let begins = number as u64 * 1_000_000_000 / ARRIVALS_PER_S;
        while swarm.now() < begins {
            swarm.turn(begins);
        }
        let (name, password) = (name(number), shown.password());
        let (client, manner) = match scenario {
            Scenario::Silent => (None, Manner::Reads),
            Scenario::Reconnect | Scenario::Idle => {
                (Some(Client::new(&name, password, quiet)), Manner::Reads)
            }
            Scenario::Slow => (Some(Client::deaf(&name, password, loud)), Manner::NeverReads),
            Scenario::Flood => (Some(Client::new(&name, password, loud)), Manner::Reads),
        };
        swarm.connect(target, shown, client, manner)?;
    }
    if matches!(scenario, Scenario::Slow | Scenario::Flood) {
        swarm.clients().for_each(|client| client.set_pace(Pace::Closed));
    }
    Ok(swarm)
}

/// Does what the scenario says until it is over.
fn stay(
    mut swarm: Swarm,
    scenario: Scenario,
    others: usize,
    is_there: &AtomicBool,
    is_over: &AtomicBool,
) -> Gathered {
    let turn = nanos(Duration::from_millis(20));
    let mut connected = Latencies::new();
    let mut let_in = 0;
    while !is_over.load(Ordering::Relaxed) {
        swarm.turn(swarm.now() + turn);
        let now_in = swarm.let_in();
        connected.record_ns(swarm.now(), (now_in - let_in) as u64);
        let_in = now_in;
        let all = match scenario {
            // Nobody tells them that they are there.
            Scenario::Silent | Scenario::Slow => swarm.reached(),
            _ => let_in,
        };
        if all + swarm.gone() >= others {
            is_there.store(true, Ordering::Relaxed);
        }
    }
    let (open, gone) = swarm.open_and_gone();
    Gathered { open, gone, connected, counts: swarm.counts }
}

impl Gathered {
    fn report(self, report: &mut Report, setting: &Setting) {
        report.set("others_open", self.open);
        report.set("others_closed_by_target", self.gone);
        report.set("others_acked", self.counts.acked);
        if matches!(setting.scenario, Scenario::Reconnect | Scenario::Idle | Scenario::Flood) {
            report.set("connected_p50_us", self.connected.quantile_us(0.5));
            report.set("connected_max_us", self.connected.max_us());
        }
        if let Some(why) = self.counts.why {
            report.set("others_first_error", why);
        }
    }
}
