//! A load: connections on a few threads, which set up, are measured and drain together.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, OnceLock};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::Error;
use super::client::{Client, Counts, Pace, Speech};
use super::credentials::Giver;
use super::swarm::{Manner, Speaks, Swarm};

/// How long connecting may take, and how long the last answers may.
const SET_UP: Duration = Duration::from_secs(8);
const DRAIN: Duration = Duration::from_secs(8);
/// What a system rounds the end of a wait up by; timers of a load should be nearer.
const TIMER_SLACK_NS: u64 = 1_000;

/// What is to be loaded, and how.
#[derive(Clone)]
pub(super) struct Plan {
    pub(super) target: SocketAddr,
    /// Who gives its devices what they show.
    pub(super) giver: Giver,
    /// What the devices' names begin with.
    pub(super) prefix: &'static str,
    pub(super) connections: usize,
    pub(super) threads: usize,
    pub(super) speech: Speech,
    /// Messages a second of all connections together; a closed loop without.
    pub(super) rate: Option<f64>,
}

/// A load whose connections are there.
pub(super) struct Load {
    threads: Vec<JoinHandle<Counts>>,
    shared: Arc<Shared>,
}

struct Shared {
    begin: Instant,
    ready: Barrier,
    /// From when to when is measured; set when the measurement begins.
    times: OnceLock<(u64, u64)>,
    go: Barrier,
    /// How many connections are there.
    open: AtomicUsize,
    acked: AtomicU64,
}

impl Plan {
    /// The name of a device.
    pub(super) fn name(&self, number: usize) -> String {
        format!("{}-{number:06}", self.prefix)
    }
}

impl Load {
    /// Connects all, and waits until they are let in or have failed.
    pub(super) fn connect(plan: &Plan) -> Result<Self, Error> {
        let threads = plan.threads.clamp(1, plan.connections);
        let shared = Arc::new(Shared {
            begin: Instant::now(),
            ready: Barrier::new(threads + 1),
            times: OnceLock::new(),
            go: Barrier::new(threads + 1),
            open: AtomicUsize::new(0),
            acked: AtomicU64::new(0),
        });
        let mut swarms = Vec::new();
        for thread in 0..threads {
            let mut swarm = Swarm::new(shared.begin).map_err(Error::Sockets)?;
            for number in (thread..plan.connections).step_by(threads) {
                let name = plan.name(number);
                let shown = plan.giver.give(&name)?;
                let client = Client::new(&name, shown.password(), plan.speech);
                swarm.connect(plan.target, &shown, Some(client), Manner::Reads).map_err(Error::Sockets)?;
            }
            swarms.push(swarm);
        }
        let run = |(thread, swarm)| {
            let (shared, plan) = (shared.clone(), plan.clone());
            std::thread::spawn(move || run(swarm, thread, threads, &plan, &shared))
        };
        let threads = swarms.into_iter().enumerate().map(run).collect();
        shared.ready.wait();
        let load = Self { threads, shared };
        match load.shared.open.load(Ordering::Relaxed) {
            0 => Err(Error::Nobody(plan.target, load.give_up())),
            _ => Ok(load),
        }
    }

    /// Begins; from then on a part is not measured, then another is.
    pub(super) fn begin(&self, warm_up: Duration, measured: Duration) {
        let from = self.shared.now() + nanos(warm_up);
        self.shared.times.get_or_init(|| (from, from + nanos(measured)));
        self.shared.go.wait();
    }

    /// Ends without having begun; why nobody is there.
    fn give_up(self) -> String {
        self.begin(Duration::ZERO, Duration::ZERO);
        self.end().why.unwrap_or_else(|| "it does not answer".to_owned())
    }

    /// How many messages were acknowledged by now, since the beginning.
    pub(super) fn acked(&self) -> u64 {
        self.shared.acked.load(Ordering::Relaxed)
    }

    /// Waits for the end and the last answers.
    pub(super) fn end(self) -> Counts {
        let mut counts = Counts::new();
        for thread in self.threads {
            counts.add(thread.join().expect("a thread of the load does not panic"));
        }
        counts
    }
}

impl Shared {
    fn now(&self) -> u64 {
        nanos(self.begin.elapsed())
    }
}

pub(super) fn nanos(duration: Duration) -> u64 {
    duration.as_nanos().try_into().unwrap_or(u64::MAX)
}

/// The life of one thread of a load.
fn run(mut swarm: Swarm, thread: usize, threads: usize, plan: &Plan, shared: &Shared) -> Counts {
    // Where it is refused, waits end some 50 us late.
    let _refused = rustix::thread::set_current_timer_slack(std::num::NonZeroU64::new(TIMER_SLACK_NS));
    swarm.open_all(nanos(SET_UP));
    shared.open.fetch_add(swarm.open_and_gone().0, Ordering::Relaxed);
    shared.ready.wait();
    shared.go.wait();
    let (from, until) = *shared.times.get().expect("they are set before the second barrier");
    (swarm.counts.from, swarm.counts.until) = (from, until);

    let schedule = plan.rate.map(|rate| Schedule::new(swarm.now(), plan.connections, thread, threads, rate));
    for (at, client) in swarm.clients().enumerate() {
        client.set_pace(schedule.as_ref().map_or(Pace::Closed, |schedule| schedule.of(at)));
    }
    match schedule {
        None => closed(&mut swarm, until, &shared.acked),
        Some(schedule) => open(&mut swarm, schedule, until, &shared.acked),
    }

    swarm.clients().for_each(|client| client.set_pace(Pace::Silent));
    let end = swarm.now() + nanos(DRAIN);
    let waiting =
        |swarm: &mut Swarm| swarm.clients().filter(|client| !client.is_closed()).any(|c| c.in_flight() > 0);
    while swarm.now() < end && waiting(&mut swarm) {
        swarm.turn(end);
    }
    let lost: u64 =
        swarm.clients().filter(|client| !client.is_closed()).map(|client| client.in_flight()).sum();
    swarm.counts.errors += lost;
    if lost > 0 {
        swarm.counts.why.get_or_insert_with(|| "no acknowledgement came in time".to_owned());
    }
    swarm.counts
}

fn closed(swarm: &mut Swarm, until: u64, acked: &AtomicU64) {
    for number in 0..swarm.clients().count() {
        swarm.speak(number);
    }
    let mut told = 0;
    while swarm.now() < until {
        swarm.turn(until);
        tell(swarm, &mut told, acked);
    }
}

fn open(swarm: &mut Swarm, mut schedule: Schedule, until: u64, acked: &AtomicU64) {
    let mut told = 0;
    while swarm.now() < until {
        let now = swarm.now();
        while let Some(number) = schedule.due(now) {
            swarm.speak(number);
        }
        swarm.turn(until.min(schedule.next()));
        tell(swarm, &mut told, acked);
    }
}

/// Adds what is new to what all threads have.
fn tell(swarm: &Swarm, told: &mut u64, acked: &AtomicU64) {
    acked.fetch_add(swarm.counts.acked - *told, Ordering::Relaxed);
    *told = swarm.counts.acked;
}

/// When which connection of a thread is to speak: all connections in turn, evenly.
pub(super) struct Schedule {
    begin: u64,
    /// Between two messages of all connections, and of one.
    gap: f64,
    every: f64,
    thread: usize,
    threads: usize,
    /// How many connections the thread has.
    own: usize,
    n: usize,
}

impl Schedule {
    pub(super) fn new(begin: u64, connections: usize, thread: usize, threads: usize, rate: f64) -> Self {
        let gap = 1e9 / rate;
        let own = (thread..connections).step_by(threads).count();
        Self { begin, gap, every: gap * connections as f64, thread, threads, own, n: 0 }
    }

    /// The pace of the thread's connection with this number.
    fn of(&self, own: usize) -> Pace {
        Pace::Open { first: self.begin + self.offset(own) as u64, every: self.every }
    }

    fn offset(&self, own: usize) -> f64 {
        self.gap * (self.thread + own * self.threads) as f64
    }

    /// When the next message is due.
    pub(super) fn next(&self) -> u64 {
        let (round, own) = (self.n / self.own, self.n % self.own);
        self.begin + (round as f64 * self.every + self.offset(own)) as u64
    }

    /// Whose message is due by now, one after the other.
    pub(super) fn due(&mut self, now: u64) -> Option<usize> {
        (self.next() <= now).then(|| {
            self.n += 1;
            (self.n - 1) % self.own
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schedule_is_even_over_all_connections_of_all_threads() {
        let mut times = Vec::new();
        for thread in 0..2 {
            let mut schedule = Schedule::new(1_000, 5, thread, 2, 1e6);
            while schedule.next() < 11_000 {
                let at = schedule.next();
                let own = schedule.due(at).unwrap();
                let Pace::Open { first, every } = schedule.of(own) else { panic!() };
                assert_eq!((at - first) % every as u64, 0, "as the client has it");
                times.push(at);
            }
            assert_eq!(schedule.due(10_000), None);
        }
        times.sort_unstable();
        assert_eq!(times, (0..10).map(|n| 1_000 + n * 1_000).collect::<Vec<_>>());
    }
}
