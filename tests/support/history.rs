//! A history: what clients said, what they were promised, what they read meanwhile; judged by what a node shows in the
//! end. It knows nothing of how the node was tortured, so that any test of survival can use it.
//!
//! Everything that is said has a serial that nothing else has. What was never answered may have happened or not; what
//! was acknowledged has happened, once; and no reader ever saw time go back.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// What was said to a twin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    /// A sample, whose value is the serial.
    Sample,
    /// A report, which sets `n` to the serial.
    Report,
    /// A timer of this serial is to fire once, and another twin is to hear of it once.
    Arm,
    /// A command named by its serial. The client said it again until it was answered, where it is `repeated`.
    Command { repeated: bool, ttl: Duration },
    /// A command of which only the latest counts. All are called [`LATEST`].
    Latest,
}

/// The name of all commands of which only the latest counts.
pub const LATEST: &str = "latest";

#[derive(Debug)]
struct Said {
    twin: String,
    what: What,
    invoked: Duration,
    acknowledged: Option<Duration>,
    /// The id that a command was taken under.
    id: Option<String>,
}

#[derive(Debug)]
struct Read {
    twin: String,
    invoked: Duration,
    ended: Duration,
    n: u64,
}

/// What a node shows of a twin when all is over.
#[derive(Debug, Default)]
pub struct Shown {
    /// The last report.
    pub n: u64,
    /// The values of all samples, as they lie in the history.
    pub samples: Vec<u64>,
    /// The serials of the timers that fired.
    pub fired: Vec<u64>,
    /// The serials of the timers that the twin told another twin of, as that one heard them.
    pub told: Vec<u64>,
    /// The steps of all commands, as they lie in the history.
    pub steps: Vec<Step>,
}

/// A step of a command.
#[derive(Debug, Clone)]
pub struct Step {
    pub id: String,
    pub name: String,
    pub state: String,
    /// When the node took it, in milliseconds.
    pub at_ms: u64,
}

/// The history, written by many threads.
pub struct History {
    began: Instant,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    /// The serial is the place, counted from 1.
    said: Vec<Said>,
    reads: Vec<Read>,
    /// Twins whose samples may lie in another order than they were said in.
    unordered: BTreeSet<String>,
}

impl Default for History {
    fn default() -> Self {
        Self { began: Instant::now(), inner: Mutex::default() }
    }
}

impl History {
    /// Something is about to be said: its serial.
    pub fn say(&self, twin: &str, what: What) -> u64 {
        let mut inner = self.inner();
        let invoked = self.began.elapsed();
        inner.said.push(Said { twin: twin.to_owned(), what, invoked, acknowledged: None, id: None });
        inner.said.len() as u64
    }

    /// It was acknowledged.
    pub fn acknowledged(&self, serial: u64) {
        let now = self.began.elapsed();
        if let Some(said) = self.inner().said.get_mut(serial as usize - 1) {
            said.acknowledged.get_or_insert(now);
        }
    }

    /// A command was taken, under this id.
    pub fn taken(&self, serial: u64, id: &str) {
        self.acknowledged(serial);
        if let Some(said) = self.inner().said.get_mut(serial as usize - 1) {
            said.id = Some(id.to_owned());
        }
    }

    /// A reader saw the report of a twin; `read` does the reading.
    pub fn read(&self, twin: &str, read: impl FnOnce() -> Option<u64>) {
        let invoked = self.began.elapsed();
        let Some(n) = read() else { return };
        let ended = self.began.elapsed();
        self.inner().reads.push(Read { twin: twin.to_owned(), invoked, ended, n });
    }

    /// The samples of a twin may lie in another order: its client says again what was lost, in an order of its own.
    pub fn unordered(&self, twin: &str) {
        self.inner().unordered.insert(twin.to_owned());
    }

    /// A moment, for [`wait_since`](Self::wait_since).
    pub fn now(&self) -> Duration {
        self.began.elapsed()
    }

    /// From then to the next acknowledgement to a twin.
    pub fn wait_since(&self, twin: &str, moment: Duration) -> Option<Duration> {
        let inner = self.inner();
        let mine = inner.said.iter().filter(|said| said.twin == twin);
        mine.filter_map(|said| said.acknowledged?.checked_sub(moment)).min()
    }

    /// The longest time between two acknowledgements to one twin.
    pub fn longest_pause(&self, twins: &[&str]) -> Duration {
        let inner = self.inner();
        let longest = twins.iter().filter_map(|twin| {
            let mine = inner.said.iter().filter(|said| said.twin == *twin);
            let mut moments: Vec<_> = mine.filter_map(|said| said.acknowledged).collect();
            moments.sort();
            moments.windows(2).map(|pair| pair[1] - pair[0]).max()
        });
        longest.max().unwrap_or_default()
    }

    /// How much was promised.
    pub fn promises(&self) -> usize {
        self.inner().said.iter().filter(|said| said.acknowledged.is_some()).count()
    }

    /// How much was read.
    pub fn reads(&self) -> usize {
        self.inner().reads.len()
    }

    /// The commands of a twin that were taken and have not ended.
    pub fn open_commands(&self, twin: &str, shown: &Shown) -> usize {
        let ends = ends(&shown.steps);
        self.inner().said.iter().filter(|said| said.twin == twin).filter(|said| is_open(said, &ends)).count()
    }

    /// What a node broke, in words; nothing where it kept all promises.
    pub fn broken(&self, twin: &str, shown: &Shown) -> Vec<String> {
        let inner = self.inner();
        let mut broken = Vec::new();
        once(&inner.said, twin, (What::Sample, "in the history"), &shown.samples, &mut broken);
        once(&inner.said, twin, (What::Arm, "fired"), &shown.fired, &mut broken);
        once(&inner.said, twin, (What::Arm, "told to the neighbour"), &shown.told, &mut broken);
        if !inner.unordered.contains(twin) && !shown.samples.is_sorted() {
            broken.push(format!("{twin}: its samples are out of order"));
        }
        reports(&inner, twin, shown.n, &mut broken);
        commands(&inner.said, twin, &shown.steps, &mut broken);
        broken
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The name of the command with a serial.
pub fn command_name(serial: u64) -> String {
    format!("command-{serial}")
}

/// The serials of what was acknowledged to a twin.
fn promised(said: &[Said], twin: &str, is: impl Fn(What) -> bool) -> Vec<u64> {
    let mine = |said: &Said| said.twin == twin && is(said.what) && said.acknowledged.is_some();
    said.iter().zip(1..).filter(|(said, _)| mine(said)).map(|(_, serial)| serial).collect()
}

/// What was acknowledged is there, what was not may be there, and nothing is there twice or out of nowhere.
fn once(said: &[Said], twin: &str, (what, seen_as): (What, &str), seen: &[u64], broken: &mut Vec<String>) {
    let mut times = BTreeMap::<u64, u32>::new();
    for serial in seen {
        *times.entry(*serial).or_default() += 1;
    }
    for serial in promised(said, twin, |of| of == what) {
        if !times.contains_key(&serial) {
            broken.push(format!("{twin}: {what:?} {serial} was acknowledged and is not {seen_as}"));
        }
    }
    for (serial, times) in times {
        let mine = said.get(serial as usize - 1).is_some_and(|said| said.twin == twin && said.what == what);
        if !mine {
            broken.push(format!("{twin}: {what:?} {serial} was never said"));
        } else if times > 1 {
            broken.push(format!("{twin}: {what:?} {serial} is {seen_as} {times} times"));
        }
    }
}

/// Reports only go forward, for the writer, for each reader, and in the end.
fn reports(inner: &Inner, twin: &str, last: u64, broken: &mut Vec<String>) {
    let reports: Vec<(u64, &Said)> =
        (1..).zip(&inner.said).filter(|(_, s)| s.twin == twin && s.what == What::Report).collect();
    let promised_before = |moment: Duration| {
        let before = reports.iter().filter(|(_, said)| said.acknowledged.is_some_and(|at| at < moment));
        before.map(|(serial, _)| *serial).max().unwrap_or(0)
    };
    let said_before = |moment: Duration| {
        reports.iter().filter(|(_, said)| said.invoked < moment).map(|(serial, _)| *serial).max().unwrap_or(0)
    };
    let reads: Vec<&Read> = inner.reads.iter().filter(|read| read.twin == twin).collect();
    for read in &reads {
        let (n, least) = (read.n, promised_before(read.invoked));
        if n < least {
            broken.push(format!("{twin}: a read saw report {n} after {least} was acknowledged"));
        }
        if n > said_before(read.ended) {
            broken.push(format!("{twin}: a read saw report {n} before it was said"));
        }
        let seen = reads.iter().filter(|other| other.ended < read.invoked).map(|other| other.n).max();
        if seen.is_some_and(|seen| n < seen) {
            broken.push(format!("{twin}: a read saw report {n} after one that saw {seen:?}"));
        }
    }
    let least = promised_before(Duration::MAX);
    if last < least {
        broken.push(format!("{twin}: report {least} was acknowledged, the twin has {last}"));
    }
}

/// How often each command ended, by id.
fn ends(steps: &[Step]) -> BTreeMap<&str, u32> {
    let mut ends = BTreeMap::new();
    for step in steps.iter().filter(|step| is_end(&step.state)) {
        *ends.entry(step.id.as_str()).or_default() += 1;
    }
    ends
}

/// Whether something that was said is a command that was taken and has not ended.
fn is_open(said: &Said, ends: &BTreeMap<&str, u32>) -> bool {
    said.id.as_deref().is_some_and(|id| !ends.contains_key(id))
}

/// All commands here ask for an answer, so that delivered is no end.
fn is_end(state: &str) -> bool {
    matches!(state, "done" | "rejected" | "expired" | "cancelled" | "superseded" | "dead")
}

/// A command that was taken ends once; it is queued once, however often it was said; nothing is sent after its end or
/// after its time; and of those of which only the latest counts, all older ones have ended when one is queued.
fn commands(said: &[Said], twin: &str, steps: &[Step], broken: &mut Vec<String>) {
    let ends = ends(steps);
    for said in said.iter().filter(|said| said.twin == twin && is_open(said, &ends)) {
        let id = said.id.as_deref().unwrap_or_default();
        broken.push(format!("{twin}: command {id} was taken and never ended{}", life(steps, id)));
    }
    for (id, times) in ends {
        if times > 1 {
            broken.push(format!("{twin}: command {id} ended {times} times{}", life(steps, id)));
        }
    }
    let (mut queued, mut over, mut latest) = (BTreeMap::new(), BTreeSet::new(), BTreeSet::new());
    for Step { id, name, state, at_ms } in steps {
        let Some(what) = find(said, twin, name) else {
            broken.push(format!("{twin}: {name} was never said{}", life(steps, id)));
            continue;
        };
        if is_end(state) {
            over.insert(id);
            latest.remove(id);
        }
        let mut wrong = |why: &str| broken.push(format!("{twin}: {name} {why}{}", life(steps, id)));
        match (state.as_str(), what) {
            ("queued", What::Command { repeated: true, .. }) if queued.contains_key(name) => {
                wrong("was said again, and queued again");
            }
            ("queued", What::Latest) if !latest.is_empty() => {
                wrong("was queued before the older ones had ended")
            }
            ("sent", _) if over.contains(id) => wrong("was sent after its end"),
            ("sent", What::Command { ttl, .. }) => {
                let since = queued.get(name).copied().unwrap_or(0);
                if *at_ms >= since + ttl.as_millis() as u64 {
                    wrong("was sent after its time");
                }
            }
            _ => {}
        }
        if state == "queued" {
            queued.insert(name, *at_ms);
            if what == What::Latest {
                latest.insert(id);
            }
        }
    }
}

/// What was said to a twin by a command of this name.
fn find(said: &[Said], twin: &str, name: &str) -> Option<What> {
    if name == LATEST {
        return said
            .iter()
            .any(|said| said.twin == twin && said.what == What::Latest)
            .then_some(What::Latest);
    }
    let serial = name.strip_prefix("command-")?.parse::<usize>().ok()?;
    let said = said.get(serial.checked_sub(1)?)?;
    (said.twin == twin && matches!(said.what, What::Command { .. })).then_some(said.what)
}

/// A command's steps, for whoever has to find out why.
fn life(steps: &[Step], id: &str) -> String {
    let mut life = String::new();
    for step in steps.iter().filter(|step| step.id == id) {
        let _written = write!(life, "; {} at {}", step.state, step.at_ms);
    }
    life
}
