//! Guesses: whoever showed something wrong waits before anything more of theirs is looked at, the longer the more often;
//! at whichever door they show it, as a device that logs in or one that wants to be activated.
//!
//! Each wrong attempt moves two paces on: that of the address, a whole network of 64 bits under IPv6, and that of the
//! device that was named. From an address of which as much was wrong as may be at once, everybody is turned away unseen
//! until its pace allows one more. Whoever names such a device waits, and what they show is looked at only then. It is
//! never turned away: whoever guesses at it from many addresses makes its own log-in later by [`PATIENCE`] at most, and
//! never impossible.
//!
//! What is under way from an address counts as wrong until it is known not to be: so many guesses at the same time are as
//! many as one after the other. The others wait in a line for one of them to end, and what is right soon does. Once anything
//! was wrong, the line is no longer than what [`PATIENCE`] allows; whoever comes behind that is turned away at once.
//!
//! What is remembered is bounded. What was not touched for the longest is forgotten first, in halves.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use runtime::clock::Clock;
use runtime::directory::Definitions;
use tokio::sync::Notify;
use tokio::time::sleep_until;
use twins::id::TwinId;

use super::failures::{Failures, Why};
use super::password::Hashing;
use crate::network::network;
use crate::pace::{Pace, Rate};

/// The longest that somebody waits.
pub const PATIENCE: Duration = Duration::from_secs(5);
/// Nobody has to wait longer for what was wrong before: those who share an address with a flood come in when it ends.
const DEBT_MAX: Duration = Duration::from_secs(60);
/// What is wrong from one address: thirty at once, then one a second. Many devices may share one.
const OF_ADDRESS: Rate = rate(1, 30);
/// What is wrong of one device: twenty at once, then one a second.
const OF_DEVICE: Rate = rate(1, 20);
/// The shortest wait: a tick of the timer.
const TICK: Duration = Duration::from_millis(1);
/// How many may wait in the line of an address of which nothing was wrong: devices behind one router that come back at once.
const LINE_MAX: u32 = 10_000;
/// How many addresses are remembered, and how many devices: in sum at most 10 MiB.
const REMEMBERED_MAX: usize = 1 << 16;

/// What was wrong lately, and who has to wait for it. Cheap to clone.
#[derive(Clone)]
pub struct Guesses(Arc<Inner>);

struct Inner {
    attempts: Mutex<Attempts>,
    failures: Arc<Failures>,
    hashing: Hashing,
}

struct Attempts {
    addresses: Recent<u64>,
    devices: Recent<u128>,
    /// Of each address from which any are under way or wait.
    lines: HashMap<u64, Line>,
}

/// Those who come from one address.
#[derive(Debug, Default)]
struct Line {
    under_way: u32,
    waiting: u32,
    /// Wakes the next when one ends, and all when one was wrong.
    ended: Arc<Notify>,
}

/// Paces of those who were there lately, in two halves: when the newer one is full, the older one is forgotten.
#[derive(Debug)]
struct Recent<K> {
    half_max: usize,
    newer: HashMap<K, Pace>,
    older: HashMap<K, Pace>,
}

/// An attempt that may be looked at. It is under way until this is dropped.
pub(super) struct Attempt {
    guesses: Guesses,
    address: Option<IpAddr>,
    twin: TwinId,
}

/// A place in the line of an address, until this is dropped.
struct Waiting<'a> {
    guesses: &'a Guesses,
    key: Option<u64>,
}

/// When an attempt is looked at.
#[derive(Debug)]
enum Turn {
    /// Now: it is under way.
    Now,
    /// Perhaps then, perhaps when another one ends.
    Later(Instant, Arc<Notify>),
    /// Not at all, before so long.
    Never(Duration),
}

const fn rate(per_s: u32, at_once: u64) -> Rate {
    Rate { per_s: NonZeroU32::new(per_s).expect("not 0"), burst: Duration::from_secs(at_once) }
}

impl Guesses {
    /// None yet. What goes wrong is added up in the audit of this directory.
    pub fn new(definitions: Arc<dyn Definitions>, clock: Arc<dyn Clock>) -> Self {
        let failures = Arc::new(Failures::new(definitions, clock));
        Self(Arc::new(Inner { attempts: Mutex::default(), failures, hashing: Hashing::default() }))
    }

    /// Where it is seen what somebody guessed, of what costs a slow hash: all doors share its turns.
    pub(super) fn hashing(&self) -> &Hashing {
        &self.0.hashing
    }

    /// Waits until it may be looked at what somebody shows for this device.
    ///
    /// # Errors
    /// How long to wait before trying again: nothing was looked at.
    pub(super) async fn attempt(&self, address: Option<IpAddr>, twin: &TwinId) -> Result<Attempt, Duration> {
        let deadline = Instant::now() + PATIENCE;
        let mut waiting: Option<Waiting<'_>> = None;
        loop {
            let turn = {
                let mut attempts = self.lock();
                let turn = attempts.turn(address, twin, Instant::now(), (deadline, waiting.is_some()));
                if matches!(turn, Turn::Later(..)) && waiting.is_none() {
                    waiting = Some(attempts.wait(self, address));
                }
                turn
            };
            match turn {
                Turn::Now => return Ok(Attempt { guesses: self.clone(), address, twin: twin.clone() }),
                Turn::Later(at, ended) => tokio::select! {
                    () = ended.notified() => {}
                    () = sleep_until(at.into()) => {}
                },
                Turn::Never(wait) => {
                    // It is not known whether there is such a device.
                    self.0.failures.note(Why::Unseen, address, twin, false);
                    return Err(wait);
                }
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Attempts> {
        // Nobody panics while holding it: what is done under it is counting.
        self.0.attempts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Attempt {
    /// What was shown was wrong; `is_known` says whether there is such a device.
    pub(super) fn was_wrong(self, why: Why, is_known: bool) {
        let Self { guesses, address, twin } = &self;
        guesses.lock().wrong(*address, twin, Instant::now());
        guesses.0.failures.note(why, *address, twin, is_known);
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        self.guesses.lock().ended(self.address);
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let mut attempts = self.guesses.lock();
        let Some((key, line)) = self.key.and_then(|key| Some((key, attempts.lines.get_mut(&key)?))) else {
            return;
        };
        line.waiting -= 1;
        // Perhaps it was woken, and another one can go.
        line.ended.notify_one();
        attempts.tidy(key);
    }
}

impl Attempts {
    /// When to look at what somebody shows for this device, who waits no longer than until `deadline`, and may wait already.
    fn turn(
        &mut self,
        address: Option<IpAddr>,
        twin: &TwinId,
        now: Instant,
        (deadline, waits): (Instant, bool),
    ) -> Turn {
        let key = address.map(network);
        let debt = key.map_or(Duration::ZERO, |key| self.addresses.ahead(key, now));
        let line = key.and_then(|key| self.lines.get(&key));
        let (under_way, waiting, ended) =
            line.map_or((0, 0, Arc::default()), |line| (line.under_way, line.waiting, line.ended.clone()));
        let others = waiting - u32::from(waits);
        let of = |count: u32| Duration::from_secs(u64::from(count));
        let line_end = debt + of(under_way) + of(others);
        // As much was wrong as may be at once: nobody waits for time alone, or who guesses would hold connections by it.
        if debt >= OF_ADDRESS.burst {
            return Turn::Never((debt - OF_ADDRESS.burst).max(Duration::from_secs(1)));
        }
        if !debt.is_zero() && line_end > OF_ADDRESS.burst + PATIENCE {
            return Turn::Never(line_end - OF_ADDRESS.burst);
        }
        if others >= LINE_MAX {
            return Turn::Never(PATIENCE);
        }
        let ahead = debt + of(under_way);
        let of_address = (ahead >= OF_ADDRESS.burst).then(|| now + (ahead - OF_ADDRESS.burst).max(TICK));
        if of_address.is_some() && now >= deadline {
            return Turn::Never(Duration::from_secs(1));
        }
        // A device is looked at in the end, whoever guesses at it.
        let of_device = self.devices.wait(device(twin), OF_DEVICE, now).filter(|_| now < deadline);
        match of_address.max(of_device) {
            Some(at) => Turn::Later(at.min(deadline), ended),
            None => {
                if let Some(key) = key {
                    self.lines.entry(key).or_default().under_way += 1;
                }
                Turn::Now
            }
        }
    }

    /// Takes a place in the line of an address.
    fn wait<'a>(&mut self, guesses: &'a Guesses, address: Option<IpAddr>) -> Waiting<'a> {
        let key = address.map(network);
        if let Some(key) = key {
            self.lines.entry(key).or_default().waiting += 1;
        }
        Waiting { guesses, key }
    }

    /// What was shown was wrong.
    fn wrong(&mut self, address: Option<IpAddr>, twin: &TwinId, now: Instant) {
        if let Some(key) = address.map(network) {
            self.addresses.take(key, OF_ADDRESS, now);
            // For some of the line it is too long now.
            self.lines.get(&key).into_iter().for_each(|line| line.ended.notify_waiters());
        }
        self.devices.take(device(twin), OF_DEVICE, now);
    }

    /// One that was under way is no more.
    fn ended(&mut self, address: Option<IpAddr>) {
        let Some(key) = address.map(network) else { return };
        if let Some(line) = self.lines.get_mut(&key) {
            line.under_way -= 1;
            line.ended.notify_one();
        }
        self.tidy(key);
    }

    fn tidy(&mut self, key: u64) {
        if self.lines.get(&key).is_some_and(|line| line.under_way + line.waiting == 0) {
            self.lines.remove(&key);
        }
    }
}

impl Default for Attempts {
    fn default() -> Self {
        let (addresses, devices) = (Recent::new(REMEMBERED_MAX), Recent::new(REMEMBERED_MAX));
        Self { addresses, devices, lines: HashMap::new() }
    }
}

impl<K: Hash + Eq + Copy> Recent<K> {
    fn new(max: usize) -> Self {
        Self { half_max: max / 2, newer: HashMap::new(), older: HashMap::new() }
    }

    fn wait(&self, key: K, rate: Rate, now: Instant) -> Option<Instant> {
        self.get(key)?.wait(rate, now)
    }

    fn ahead(&self, key: K, now: Instant) -> Duration {
        self.get(key).map_or(Duration::ZERO, |pace| pace.ahead(now))
    }

    fn get(&self, key: K) -> Option<&Pace> {
        self.newer.get(&key).or_else(|| self.older.get(&key))
    }

    fn take(&mut self, key: K, rate: Rate, now: Instant) {
        if self.newer.len() >= self.half_max && !self.newer.contains_key(&key) {
            self.older = std::mem::take(&mut self.newer);
        }
        let known = self.older.remove(&key);
        let pace = self.newer.entry(key).or_insert_with(|| known.unwrap_or_default());
        if pace.wait(rate, now).is_none_or(|until| until < now + DEBT_MAX) {
            pace.take(rate, now, 1);
        }
    }
}

/// What stands for a device: two that share it would wait for each other.
fn device(twin: &TwinId) -> u128 {
    twox_hash::XxHash3_128::oneshot(twin.as_str().as_bytes())
}

impl std::fmt::Debug for Guesses {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Guesses")
    }
}

#[cfg(test)]
mod tests;
