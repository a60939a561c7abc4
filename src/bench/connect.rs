//! `bench connect`: devices that connect, are let in and leave, again and again; with certificates once with a whole
//! handshake each time, and once with sessions of TLS that are resumed.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Barrier};
use std::time::{Duration, Instant};

use rustls::HandshakeKind;
use rustls::client::Resumption;
use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use super::credentials::{Giver, Shown};
use super::latency::Latencies;
use super::node::{Data, Node};
use super::progress::Progress;
use super::report::Report;
use super::way::Way;
use super::wire::{self, Packet, Splitter};
use super::{Error, Setting, disk, process};

/// How long a device waits to be let in.
const PATIENCE: Duration = Duration::from_secs(10);
const KEEP_ALIVE_S: u16 = 60;
/// As many connections a second as come.
const FLAGS: &[&str] = &["--connects-per-s", "4294967295"];
/// How many sessions a device remembers.
const SESSIONS: usize = 8;

/// Measures.
pub(super) fn run(setting: &Setting) -> Result<Report, Error> {
    let mut progress = Progress::new("connect");
    let data = Data::new(setting.data.as_deref())?;
    process::claim_descriptors();
    let before = disk::probe_first(data.path(), &mut progress)?;
    let own = match setting.target {
        Some(_) => None,
        None => Some(Node::start(data.path(), setting.credentials, FLAGS)?),
    };
    let target = own.as_ref().map_or(setting.target, |node| Some(node.mqtt)).ok_or(Error::NoTarget)?;
    let pid = own.as_ref().map(Node::pid).or(setting.pid);
    let giver = own.as_ref().map_or(Giver::Nobody, |node| node.giver.clone());
    let devices = |resumes: bool| -> Result<Vec<Device>, Error> {
        (0..setting.twins.get()).map(|number| Device::new(number, target, &giver, resumes)).collect()
    };
    let measured = |devices| measured(devices, setting, pid);

    progress.say("devices connect and leave");
    let whole = measured(devices(false)?)?;
    let resumed = match giver {
        Giver::Authority(_) => {
            progress.say("devices connect and leave, and resume their sessions of TLS");
            Some(measured(devices(true)?)?)
        }
        Giver::Nobody | Giver::Node(_) => None,
    };
    drop(own);
    let after = disk::probe(data.path())?;

    let mut report = Report::of("connect");
    report.set("seconds", setting.duration.as_secs_f64());
    report.set("connections", setting.connections.get());
    report.set("twins", setting.twins.get());
    report.set("credentials", setting.credentials.as_str());
    report.set("acked", whole.connected);
    report.ratio("acked_per_s", whole.connected as f64, setting.duration.as_secs_f64());
    report.set("errors", whole.failed + resumed.as_ref().map_or(0, |resumed| resumed.failed));
    whole.latencies.report(&mut report);
    report.ratio("target_cpu_us_each", whole.target_cpu_s * 1e6, whole.connected as f64);
    if let Some(resumed) = &resumed {
        report.set("resumed", resumed.resumed);
        report.set("resumed_acked", resumed.connected);
        report.ratio("resumed_acked_per_s", resumed.connected as f64, setting.duration.as_secs_f64());
        report.set("resumed_p50_us", resumed.latencies.quantile_us(0.5));
        report.set("resumed_p99_us", resumed.latencies.quantile_us(0.99));
        report.ratio("resumed_target_cpu_us_each", resumed.target_cpu_s * 1e6, resumed.connected as f64);
    }
    disk::report(&mut report, &before, &after);
    if let Some(why) = whole.why.or(resumed.and_then(|resumed| resumed.why)) {
        report.set("first_error", why);
    }
    Ok(report)
}

/// A device that comes and goes.
struct Device {
    target: SocketAddr,
    /// Each has an address of its own on loopback, since those of connections that ended stay taken for a while.
    source: SocketAddr,
    shown: Shown,
    connect: Vec<u8>,
}

/// What came of all that were measured.
struct Came {
    connected: u64,
    /// How many of them resumed a session of TLS.
    resumed: u64,
    failed: u64,
    why: Option<String>,
    latencies: Latencies,
    target_cpu_s: f64,
}

impl Device {
    fn new(number: u64, target: SocketAddr, giver: &Giver, resumes: bool) -> Result<Self, Error> {
        let name = format!("comer-{number:06}");
        let shown = match giver {
            Giver::Authority(authority) if resumes => {
                let mut config = authority.sign(&name)?;
                config.resumption = Resumption::in_memory_sessions(SESSIONS);
                Shown::Certificate(Arc::new(config))
            }
            giver => giver.give(&name)?,
        };
        let connect = wire::connect(&name, shown.password(), KEEP_ALIVE_S);
        let last = u8::try_from(number % 200).expect("less than 200") + 2;
        let source =
            if target.ip().is_loopback() { Ipv4Addr::new(127, 0, 0, last) } else { Ipv4Addr::UNSPECIFIED };
        Ok(Self { target, source: (source, 0).into(), shown, connect })
    }

    /// Connects, is let in, and leaves; whether it resumed a session of TLS.
    fn come_and_go(&self) -> io::Result<bool> {
        let mut way = Way::new(self.socket()?, self.shown.config())?;
        way.write_all(&self.connect)?;
        way.flush()?;
        let (mut read, mut splitter, mut code) = ([0; 4 << 10], Splitter::default(), None);
        while code.is_none() {
            let length = way.read(&mut read)?;
            if length == 0 {
                return Err(io::Error::other("the target closed the connection"));
            }
            let hear = |packet: Packet<'_>| {
                if let Packet::ConnAck(answer) = packet {
                    code = Some(answer);
                }
            };
            let taken = splitter.take(&read[..length], hear);
            taken.map_err(|_| io::Error::other("it does not answer as MQTT 3.1.1 does"))?;
        }
        if let Some(code @ 1..) = code {
            return Err(io::Error::other(format!("CONNECT was refused with code {code}")));
        }
        way.write_all(&wire::DISCONNECT)?;
        way.flush()?;
        Ok(way.handshake() == Some(HandshakeKind::Resumed))
    }

    fn socket(&self) -> io::Result<TcpStream> {
        let socket = Socket::new(Domain::for_address(self.target), Type::STREAM, Some(Protocol::TCP))?;
        socket.set_tcp_nodelay(true)?;
        if self.target.is_ipv4() {
            socket.bind(&SockAddr::from(self.source))?;
        }
        socket.set_read_timeout(Some(PATIENCE))?;
        socket.connect_timeout(&SockAddr::from(self.target), PATIENCE)?;
        Ok(socket.into())
    }
}

/// Lets the devices come and go, on as many threads as there are to be connections at once; each has come once before it
/// is measured, so that it is registered, and has a session to resume.
fn measured(mut devices: Vec<Device>, setting: &Setting, pid: Option<u32>) -> Result<Came, Error> {
    let threads = setting.connections.get().min(devices.len());
    let (ready, is_over) = (Arc::new(Barrier::new(threads + 1)), Arc::new(AtomicBool::new(false)));
    let run = |left: usize| {
        let own = devices.split_off(devices.len() - devices.len() / left);
        let (ready, is_over) = (ready.clone(), is_over.clone());
        std::thread::spawn(move || come_and_go(&own, &ready, &is_over))
    };
    let threads: Vec<_> = (1..=threads).rev().map(run).collect();
    let used = || pid.map(|pid| process::usage(Some(pid))).transpose().map_err(Error::Process);
    ready.wait();
    let before = used()?;
    std::thread::sleep(setting.duration);
    is_over.store(true, Ordering::Relaxed);
    let after = used()?;

    let mut all = Came::new();
    for thread in threads {
        all.add(thread.join().expect("a device does not panic"));
    }
    let cpu_s = |usage: Option<process::Usage>| usage.map_or(0.0, |usage| usage.cpu_s);
    all.target_cpu_s = cpu_s(after) - cpu_s(before);
    Ok(all)
}

fn come_and_go(devices: &[Device], ready: &Barrier, is_over: &AtomicBool) -> Came {
    let mut first = Came::new();
    devices.iter().for_each(|device| first.take(device.come_and_go(), Duration::ZERO));
    ready.wait();
    let mut came = Came { failed: first.failed, why: first.why, ..Came::new() };
    for device in devices.iter().cycle() {
        let begin = Instant::now();
        let outcome = device.come_and_go();
        if is_over.load(Ordering::Relaxed) {
            break;
        }
        came.take(outcome, begin.elapsed());
    }
    came
}

impl Came {
    fn new() -> Self {
        Self {
            connected: 0,
            resumed: 0,
            failed: 0,
            why: None,
            latencies: Latencies::new(),
            target_cpu_s: 0.0,
        }
    }

    fn take(&mut self, outcome: io::Result<bool>, latency: Duration) {
        match outcome {
            Ok(resumed) => {
                self.connected += 1;
                self.resumed += u64::from(resumed);
                self.latencies.record(latency);
            }
            Err(error) => {
                self.failed += 1;
                self.why.get_or_insert_with(|| error.to_string());
            }
        }
    }

    fn add(&mut self, other: Self) {
        self.connected += other.connected;
        self.resumed += other.resumed;
        self.failed += other.failed;
        self.why = self.why.take().or(other.why);
        self.latencies.add(&other.latencies);
    }
}
