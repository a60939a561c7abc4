//! How often somebody may try an activation key: each device from each address at a pace of its own, so that who guesses
//! is slowed down and nobody else is, and nobody is ever locked out.
//!
//! There is a fixed number of paces. Which one is whose says a hash that nobody outside can foresee; two who share one
//! are slowed down together, which takes a flood of both.

use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use twins::id::TwinId;

use crate::pace::{Pace, Rate};

/// How many paces there are: 64 KiB of them.
const PLACES: usize = 4_096;
/// Ten at once, and one a second after them.
const RATE: Rate = Rate { per_s: NonZeroU32::MIN, burst: Duration::from_secs(9) };

/// What was tried.
pub(crate) struct Attempts {
    places: Mutex<Box<[Pace]>>,
    hasher: RandomState,
}

impl Attempts {
    pub(crate) fn new() -> Self {
        Self { places: Mutex::new(vec![Pace::default(); PLACES].into()), hasher: RandomState::new() }
    }

    /// Lets one attempt pass.
    ///
    /// # Errors
    /// How long to wait before the next. What is not let pass does not count.
    pub(crate) fn pass(&self, now: Instant, device: &TwinId, from: IpAddr) -> Result<(), Duration> {
        self.at(device, from, |pace| match pace.wait(RATE, now) {
            Some(until) => Err(until - now),
            None => {
                pace.take(RATE, now, 1);
                Ok(())
            }
        })
    }

    /// It was the right key: what was tried before is forgotten.
    pub(crate) fn forget(&self, device: &TwinId, from: IpAddr) {
        self.at(device, from, |pace| *pace = Pace::default());
    }

    fn at<T>(&self, device: &TwinId, from: IpAddr, act: impl FnOnce(&mut Pace) -> T) -> T {
        let place = self.hasher.hash_one((device.as_str(), network(from))) as usize % PLACES;
        act(&mut self.places.lock().unwrap_or_else(PoisonError::into_inner)[place])
    }
}

/// What one customer of a provider has: an address of IPv4, the first 64 bits of one of IPv6.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6((u128::from(address) >> 64 << 64).into()),
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));

    fn pump() -> TwinId {
        TwinId::in_default_tenant("pump-7").unwrap()
    }

    #[test]
    fn who_guesses_is_slowed_down_and_never_locked_out() {
        let (attempts, begin) = (Attempts::new(), Instant::now());
        let hour = 0..3_600_000;

        let passed = hour
            .filter(|ms| attempts.pass(begin + Duration::from_millis(*ms), &pump(), HERE).is_ok())
            .count();

        assert_eq!(passed, 3_609);
        let wait = attempts.pass(begin + Duration::from_millis(3_599_999), &pump(), HERE).unwrap_err();
        assert!(wait <= Duration::from_secs(1), "{wait:?}");
    }

    #[test]
    fn the_right_key_ends_the_wait() {
        let (attempts, now) = (Attempts::new(), Instant::now());
        while attempts.pass(now, &pump(), HERE).is_ok() {}

        attempts.forget(&pump(), HERE);

        assert_eq!(attempts.pass(now, &pump(), HERE), Ok(()));
    }

    #[test]
    fn a_network_of_one_customer_is_one_address() {
        let network = |address: &str| network(address.parse().unwrap());
        assert_eq!(network("2001:db8::1:2"), network("2001:db8::ffff:0:0:9"));
        assert_ne!(network("2001:db8::1"), network("2001:db8:0:1::1"));
        assert_eq!(network("::ffff:192.0.2.1"), HERE);
        assert_ne!(network("192.0.2.2"), HERE);
    }
}
