//! Failures to prove who one is: whoever showed something wrong waits before anything more of theirs is looked at, the
//! longer the more often.
//!
//! Each wrong attempt moves two [`Pace`]s on: that of the address, a whole network of 64 bits under IPv6, and that of the
//! device that was named. Whoever comes from that address, or names that device, waits until the pace allows it, and what
//! they show is looked at only then. An address that would have to wait too long is turned away unseen. A device never
//! is: whoever guesses at it from many addresses makes its own log-in later by [`PATIENCE`] at most, and never impossible.
//!
//! Two maps of bounded size remember it. What was not touched for the longest is forgotten first, in halves.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use twins::id::TwinId;

use crate::pace::{Pace, Rate};

/// The longest that somebody waits.
pub const PATIENCE: Duration = Duration::from_secs(5);
/// Nobody has to wait longer for what was wrong before: those who share an address with a flood come in when it ends.
const DEBT_MAX: Duration = Duration::from_secs(60);
/// What is wrong from one address: thirty at once, then one a second. Many devices may share one.
const OF_ADDRESS: Rate = rate(1, 30);
/// What is wrong of one device: twenty at once, then one a second.
const OF_DEVICE: Rate = rate(1, 20);
/// How many addresses are remembered, and how many devices: in sum at most 10 MiB.
const REMEMBERED_MAX: usize = 1 << 16;
/// How often it is said in the log that there were some.
const SAY_EVERY: Duration = Duration::from_secs(60);

/// What was wrong lately, and who has to wait for it.
#[derive(Debug)]
pub(super) struct Failures(Mutex<Inner>);

#[derive(Debug)]
struct Inner {
    addresses: Recent<u64>,
    devices: Recent<u128>,
    /// How many were wrong, and how many were turned away, since it was said.
    wrong: u64,
    unseen: u64,
    said: Option<Instant>,
}

/// Paces of those who were there lately, in two halves: when the newer one is full, the older one is forgotten.
#[derive(Debug)]
struct Recent<K> {
    half_max: usize,
    newer: HashMap<K, Pace>,
    older: HashMap<K, Pace>,
}

/// When an attempt is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    /// Now, or then.
    At(Instant),
    /// Not at all, before so long.
    Never(Duration),
}

const fn rate(per_s: u32, at_once: u64) -> Rate {
    Rate { per_s: NonZeroU32::new(per_s).expect("not 0"), burst: Duration::from_secs(at_once) }
}

impl Default for Failures {
    fn default() -> Self {
        let (addresses, devices) = (Recent::new(REMEMBERED_MAX), Recent::new(REMEMBERED_MAX));
        Self(Mutex::new(Inner { addresses, devices, wrong: 0, unseen: 0, said: None }))
    }
}

impl Failures {
    /// When to look at what somebody shows for this device. It costs nothing: what is right never waits for itself.
    pub(super) fn turn(&self, address: Option<IpAddr>, twin: &TwinId, now: Instant) -> Turn {
        let mut inner = self.lock();
        let of_address = address.and_then(|address| inner.addresses.wait(network(address), OF_ADDRESS, now));
        if let Some(wait) = of_address.map(|at| at - now).filter(|wait| *wait > PATIENCE) {
            inner.unseen += 1;
            inner.say(now);
            return Turn::Never(wait);
        }
        let of_device = inner.devices.wait(device(twin), OF_DEVICE, now).map(|at| at.min(now + PATIENCE));
        Turn::At(of_address.max(of_device).unwrap_or(now))
    }

    /// What was shown was wrong.
    pub(super) fn wrong(&self, address: Option<IpAddr>, twin: &TwinId, now: Instant) {
        let mut inner = self.lock();
        if let Some(address) = address {
            inner.addresses.take(network(address), OF_ADDRESS, now);
        }
        inner.devices.take(device(twin), OF_DEVICE, now);
        inner.wrong += 1;
        inner.say(now);
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Nobody panics while holding it: what is done under it is counting.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// Says how many there were, once a minute at most: a flood of them is one line.
    fn say(&mut self, now: Instant) {
        if self.said.is_some_and(|said| now < said + SAY_EVERY) {
            return;
        }
        self.said = Some(now);
        let (wrong, unseen) = (std::mem::take(&mut self.wrong), std::mem::take(&mut self.unseen));
        tracing::warn!(
            wrong,
            unseen,
            "devices were not let in: what they showed was wrong, or came too often"
        );
    }
}

impl<K: Hash + Eq + Copy> Recent<K> {
    fn new(max: usize) -> Self {
        Self { half_max: max / 2, newer: HashMap::new(), older: HashMap::new() }
    }

    fn wait(&self, key: K, rate: Rate, now: Instant) -> Option<Instant> {
        self.newer.get(&key).or_else(|| self.older.get(&key))?.wait(rate, now)
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

/// The network that an address is of: all of IPv4's bits, the first half of IPv6's.
fn network(address: IpAddr) -> u64 {
    match address.to_canonical() {
        IpAddr::V4(address) => u64::from(u32::from(address)),
        // No network of IPv6 that is routed begins with zeros.
        IpAddr::V6(address) => (u128::from(address) >> 64) as u64,
    }
}

/// What stands for a device: two that share it would wait for each other.
fn device(twin: &TwinId) -> u128 {
    twox_hash::XxHash3_128::oneshot(twin.as_str().as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn twin(id: &str) -> TwinId {
        TwinId::in_default_tenant(id).unwrap()
    }

    fn address(text: &str) -> Option<IpAddr> {
        Some(text.parse().unwrap())
    }

    /// How many of these attempts, each made as soon as it may be and all of them wrong, are looked at until `end`.
    fn looked_at(
        failures: &Failures,
        from: &[&str],
        id: &str,
        begin: Instant,
        end: Instant,
        most: usize,
    ) -> usize {
        let (mut now, mut count) = (begin, 0);
        for attempt in 0..most {
            let from = address(from[attempt % from.len()]);
            match failures.turn(from, &twin(id), now) {
                Turn::At(at) if at > end => break,
                Turn::At(at) => {
                    now = at;
                    failures.wrong(from, &twin(id), now);
                    count += 1;
                }
                Turn::Never(_) => {}
            }
        }
        count
    }

    #[test]
    fn of_100_000_wrong_passwords_in_an_hour_few_are_looked_at() {
        let (failures, now) = (Failures::default(), Instant::now());

        let hour = Duration::from_secs(3_600);
        let seen = looked_at(&failures, &["192.0.2.1"], "pump-1", now, now + hour, 100_000);

        assert!((3_600..=3_640).contains(&seen), "{seen}");
    }

    #[test]
    fn many_at_once_are_turned_away_unseen() {
        let (failures, now) = (Failures::default(), Instant::now());
        let mut unseen = 0;
        for n in 0..100_000 {
            // They name another device each time, and none waits for the one before.
            match failures.turn(address("192.0.2.1"), &twin(&format!("pump-{n}")), now) {
                Turn::At(_) => failures.wrong(address("192.0.2.1"), &twin(&format!("pump-{n}")), now),
                Turn::Never(_) => unseen += 1,
            }
        }

        assert!(unseen >= 99_950, "{unseen}");
    }

    #[test]
    fn a_device_under_attack_is_let_in_from_elsewhere_within_the_patience() {
        let (failures, now) = (Failures::default(), Instant::now());
        for n in 0..100_000_u32 {
            failures.wrong(Some(IpAddr::from(n.to_be_bytes())), &twin("pump-1"), now);
        }

        let at = failures.turn(address("198.51.100.7"), &twin("pump-1"), now);
        assert_eq!(at, Turn::At(now + PATIENCE));
        assert_eq!(failures.turn(address("198.51.100.7"), &twin("pump-2"), now), Turn::At(now));
    }

    #[test]
    fn what_is_right_never_waits_for_itself() {
        let (failures, now) = (Failures::default(), Instant::now());
        for _ in 0..10_000 {
            assert_eq!(failures.turn(address("192.0.2.1"), &twin("pump-1"), now), Turn::At(now));
        }
    }

    #[test]
    fn a_network_of_64_bits_is_one_address() {
        let (failures, now) = (Failures::default(), Instant::now());
        for n in 0..60 {
            failures.wrong(address(&format!("2001:db8:0:1::{n:x}")), &twin(&format!("pump-{n}")), now);
        }

        assert!(matches!(failures.turn(address("2001:db8:0:1:ffff::"), &twin("x"), now), Turn::Never(_)));
        assert_eq!(failures.turn(address("2001:db8:0:2::"), &twin("x"), now), Turn::At(now));
        assert_eq!(network(address("::ffff:192.0.2.1").unwrap()), network(address("192.0.2.1").unwrap()));
    }

    #[test]
    fn what_is_remembered_is_bounded_and_the_oldest_goes_first() {
        let (failures, now) = (Failures::default(), Instant::now());
        for n in 0..200_000_u32 {
            failures.wrong(Some(IpAddr::from(n.to_be_bytes())), &twin(&format!("pump-{n}")), now);
            failures.wrong(address("198.51.100.7"), &twin("pump-1"), now);
        }

        let inner = failures.lock();
        assert!(inner.addresses.newer.len() + inner.addresses.older.len() <= REMEMBERED_MAX);
        assert!(inner.devices.newer.len() + inner.devices.older.len() <= REMEMBERED_MAX);
        assert!(inner.addresses.wait(network(address("198.51.100.7").unwrap()), OF_ADDRESS, now).is_some());
    }
}
