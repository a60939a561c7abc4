//! The devices, all on one thread, spread over the gateways of all nodes: whoever loses its connection, or waits too long
//! for an answer, goes to the next gateway. Each samples at its times, connected or not.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::bench::Error;
use crate::bench::client::Counts;
use crate::bench::credentials::Shown;
use crate::bench::load::{Schedule, nanos};
use crate::bench::swarm::{Manner, Speaks, Swarm};

use super::device::Device;
use super::judge::Ack;

/// How many devices begin to connect in a second; each node lets in 1,000 by default.
const ARRIVALS_PER_S: u64 = 1_000;
/// How long a device waits before it goes to the next gateway: a node lets each in five times a second.
const PAUSE: Duration = Duration::from_millis(250);
/// How often it is looked who waits too long.
const LOOK: Duration = Duration::from_millis(500);
/// How long all may take to be let in, and how long the last acknowledgements may take.
const ARRIVE: Duration = Duration::from_secs(60);
const DRAIN: Duration = Duration::from_secs(30);

/// Who connects where, and how often they sample.
pub(super) struct Plan {
    pub(super) gateways: Vec<SocketAddr>,
    /// Their names, and what they show.
    pub(super) devices: Vec<(String, Shown)>,
    /// Samples a second of all devices together.
    pub(super) rate: f64,
    /// How many samples of a device may be in flight.
    pub(super) window: u16,
}

/// Devices that are connected.
pub(super) struct Fleet {
    thread: JoinHandle<io::Result<Told>>,
    shared: Arc<Shared>,
}

struct Shared {
    begin: Instant,
    /// How many are let in.
    open: AtomicUsize,
    acked: AtomicU64,
    /// They sample; they sample no more.
    speaks: AtomicBool,
    is_over: AtomicBool,
}

/// What one device said.
pub(super) struct Said {
    pub(super) name: String,
    /// It said the samples from 1 to this.
    pub(super) count: u64,
    pub(super) acks: Vec<Ack>,
}

/// What all devices said, and what they heard.
pub(super) struct Told {
    pub(super) devices: Vec<Said>,
    /// How many samples were never acknowledged.
    pub(super) unacked: u64,
    /// How often a sample was said again, and how often a device connected again.
    pub(super) again: u64,
    pub(super) reconnects: u64,
    pub(super) counts: Counts,
}

impl Fleet {
    /// Connects all, and waits until they are let in. They are silent.
    pub(super) fn connect(plan: Plan) -> Result<Self, Error> {
        let shared = Arc::new(Shared {
            begin: Instant::now(),
            open: AtomicUsize::new(0),
            acked: AtomicU64::new(0),
            speaks: AtomicBool::new(false),
            is_over: AtomicBool::new(false),
        });
        let (devices, gateway) = (plan.devices.len(), plan.gateways[0]);
        let thread = std::thread::spawn({
            let shared = shared.clone();
            move || live(plan, &shared)
        });
        let fleet = Self { thread, shared };
        let end = Instant::now() + ARRIVE;
        while fleet.shared.open.load(Ordering::Relaxed) < devices {
            if Instant::now() > end || fleet.thread.is_finished() {
                let open = fleet.shared.open.load(Ordering::Relaxed);
                let told = fleet.end()?;
                let why = told.counts.why.unwrap_or_else(|| "the others do not answer".into());
                return Err(Error::Nobody(gateway, format!("{open} of {devices} devices are let in: {why}")));
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(fleet)
    }

    /// Has them sample.
    pub(super) fn speak(&self) {
        self.shared.speaks.store(true, Ordering::Relaxed);
    }

    /// The time, as acknowledgements have it.
    pub(super) fn now(&self) -> u64 {
        nanos(self.shared.begin.elapsed())
    }

    /// How many samples were acknowledged by now.
    pub(super) fn acked(&self) -> u64 {
        self.shared.acked.load(Ordering::Relaxed)
    }

    /// Has them sample no more, and waits until all is acknowledged, or for half a minute.
    pub(super) fn end(self) -> Result<Told, Error> {
        self.shared.is_over.store(true, Ordering::Relaxed);
        self.thread.join().expect("the thread of the fleet does not panic").map_err(Error::Sockets)
    }
}

/// The life of the fleet's thread.
fn live(plan: Plan, shared: &Shared) -> io::Result<Told> {
    let rate = plan.rate;
    let mut crowd = Crowd::new(plan, shared.begin)?;
    while !shared.is_over.load(Ordering::Relaxed) && !shared.speaks.load(Ordering::Relaxed) {
        crowd.arrive()?;
        crowd.turn(u64::MAX);
        shared.open.store(crowd.swarm.open_and_gone().0, Ordering::Relaxed);
    }
    let mut schedule = Schedule::new(crowd.swarm.now(), crowd.at.len().max(1), 0, 1, rate);
    while !shared.is_over.load(Ordering::Relaxed) {
        let now = crowd.swarm.now();
        while let Some(number) = schedule.due(now) {
            crowd.say(number, now);
        }
        crowd.turn(schedule.next());
        shared.acked.store(crowd.swarm.counts.acked, Ordering::Relaxed);
    }
    let end = crowd.swarm.now() + nanos(DRAIN);
    while crowd.swarm.now() < end && crowd.unacked() > 0 {
        crowd.turn(end);
    }
    Ok(crowd.told())
}

/// The devices, and where they are.
struct Crowd {
    plan: Plan,
    swarm: Swarm<Device>,
    /// Which gateway each of those that have arrived is at, or goes to.
    at: Vec<usize>,
    /// When who goes to the next gateway, soonest first.
    returning: VecDeque<(u64, usize)>,
    /// When it is looked next who waits too long.
    look: u64,
    reconnects: u64,
}

impl Crowd {
    fn new(plan: Plan, begin: Instant) -> io::Result<Self> {
        let mut swarm = Swarm::new(begin)?;
        (swarm.counts.from, swarm.counts.until) = (0, u64::MAX);
        let at = Vec::with_capacity(plan.devices.len());
        Ok(Self { plan, swarm, at, returning: VecDeque::new(), look: 0, reconnects: 0 })
    }

    /// Begins to connect those whose time has come.
    fn arrive(&mut self) -> io::Result<()> {
        let come = self.swarm.now() / (1_000_000_000 / ARRIVALS_PER_S) + 1;
        for number in self.at.len()..self.plan.devices.len().min(come as usize) {
            let (name, shown) = &self.plan.devices[number];
            let gateway = number % self.plan.gateways.len();
            let mut device = Device::new(number, name, shown.password(), self.plan.window);
            device.connect(self.swarm.now());
            self.swarm.connect(self.plan.gateways[gateway], shown, Some(device), Manner::Reads)?;
            self.at.push(gateway);
        }
        Ok(())
    }

    fn say(&mut self, number: usize, now: u64) {
        if let Some(device) = self.swarm.client(number) {
            device.say(now);
        }
        self.swarm.speak(number);
    }

    /// Lets happen what happens until a time, at most for a moment, and sends on whoever has to go.
    fn turn(&mut self, until: u64) {
        let next = self.returning.front().map_or(until, |(at, _)| until.min(*at));
        self.swarm.turn(next);
        let now = self.swarm.now();
        if now >= self.look {
            self.look = now + nanos(LOOK);
            for number in 0..self.at.len() {
                if self.swarm.client(number).is_some_and(|device| device.is_stuck(now)) {
                    self.swarm.hang_up(number, "no answer came in time");
                }
            }
        }
        let back = now + nanos(PAUSE);
        self.returning.extend(self.swarm.ended().into_iter().map(|number| (back, number)));
        while let Some(&(at, number)) = self.returning.front()
            && at <= now
        {
            self.returning.pop_front();
            self.go_on(number, now);
        }
    }

    /// Connects a device to the next gateway.
    fn go_on(&mut self, number: usize, now: u64) {
        self.reconnects += 1;
        self.at[number] = (self.at[number] + 1) % self.plan.gateways.len();
        let Some(device) = self.swarm.client(number) else { return };
        device.connect(now);
        let gateway = self.plan.gateways[self.at[number]];
        if let Err(why) = self.swarm.connect_again(number, gateway, &self.plan.devices[number].1) {
            // Refused at once, or out of ports for a moment: it goes on to the next.
            if let Some(device) = self.swarm.client(number) {
                device.close(&why.to_string(), &mut Counts::new());
            }
            self.returning.push_back((now + nanos(PAUSE), number));
        }
    }

    /// How many samples are not acknowledged.
    fn unacked(&mut self) -> u64 {
        self.swarm.clients().map(|device| device.unacked() as u64).sum()
    }

    fn told(mut self) -> Told {
        let (unacked, mut again, mut trouble) = (self.unacked(), 0, None);
        let mut devices = Vec::new();
        for device in self.swarm.clients() {
            again += device.again();
            if !device.is_open() || device.unacked() > 0 {
                trouble = trouble.or_else(|| device.trouble().map(str::to_owned));
            }
            let (name, acks) = (device.name().to_owned(), device.acks().to_vec());
            devices.push(Said { name, count: device.said(), acks });
        }
        let mut counts = self.swarm.counts;
        counts.why = counts.why.or(trouble);
        Told { devices, unacked, again, reconnects: self.reconnects, counts }
    }
}
