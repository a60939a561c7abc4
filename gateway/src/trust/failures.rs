//! What was wrong, added up for the audit and the log: whoever guesses fills neither.
//!
//! The first thing that is wrong in a tenant begins a minute in which all that follows is counted; at its end there is
//! one entry. Where it goes on within an hour each of these periods is twice as long as the one before, up to an hour,
//! so that a day of it is thirty entries. Only devices that there are have their names in it: what else was typed may
//! be a secret. Addresses and devices are counted in a fixed number of places: those that come when all are taken count
//! as others.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use runtime::clock::Clock;
use runtime::directory::{By, Change, Count, Definitions, Entry, FAILURES_NAMED_MAX, Failures as Added};
use tokio::time::sleep;
use twins::id::{DEFAULT_TENANT, TwinId};
use twins::name::Name;
use twins::time::Timestamp;

/// How long the first period is, and the longest.
const PERIOD: (Duration, Duration) = (Duration::from_secs(60), Duration::from_secs(3_600));
/// How many addresses, and how many devices, are counted apart.
const PLACES: usize = 64;

/// What was wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Why {
    /// What was shown to log in.
    Credentials,
    /// An activation key.
    ActivationKey,
    /// Too much before: it was not looked at.
    Unseen,
}

/// Where it goes.
pub(super) struct Failures {
    definitions: Arc<dyn Definitions>,
    clock: Arc<dyn Clock>,
    tally: Mutex<Tally>,
}

/// What was wrong, by tenant.
#[derive(Default)]
struct Tally(HashMap<String, Period>);

/// What was wrong in a tenant since a time.
struct Period {
    since: Timestamp,
    length: Duration,
    /// By [`Why`].
    counts: [u64; 3],
    addresses: Places<IpAddr>,
    devices: Places<String>,
}

/// Counts of a few.
struct Places<K> {
    counts: HashMap<K, u64>,
    others: u64,
}

impl Failures {
    pub(super) fn new(definitions: Arc<dyn Definitions>, clock: Arc<dyn Clock>) -> Self {
        Self { definitions, clock, tally: Mutex::default() }
    }

    /// Something was wrong. To be called within a tokio runtime.
    pub(super) fn note(self: &Arc<Self>, why: Why, address: Option<IpAddr>, twin: &TwinId, is_known: bool) {
        let directory = self.definitions.current();
        // Whoever makes up tenants makes no entries of their own.
        let tenant =
            if directory.tenants.contains_key(twin.tenant()) { twin.tenant() } else { DEFAULT_TENANT };
        if let Some(length) =
            self.lock().note(tenant, self.clock.now(), why, address, is_known.then_some(twin))
        {
            tracing::warn!(
                tenant,
                ?length,
                "devices are not let in: what they show is wrong; it is counted for that long"
            );
            let (failures, tenant) = (self.clone(), tenant.to_owned());
            tokio::spawn(async move {
                sleep(length).await;
                failures.write(&tenant).await;
            });
        }
    }

    /// Writes what was counted in a tenant to its audit.
    async fn write(&self, tenant: &str) {
        let now = self.clock.now();
        let Some(failures) = self.lock().take(tenant, now) else { return };
        let Added { credentials, activation_keys, unseen, .. } = &failures;
        tracing::warn!(
            tenant,
            credentials,
            activation_keys,
            unseen,
            "devices were not let in: what they showed was wrong, or came too often"
        );
        let change = Change::NoteFailures { failures: Box::new(failures) };
        let entry = Entry { at: now, by: By::Node, reason: None, tenant: tenant.to_owned(), change };
        let definitions = self.definitions.clone();
        // It waits for the disk.
        match tokio::task::spawn_blocking(move || definitions.change(entry, None)).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => {
                tracing::warn!(%error, tenant, "failed log-ins could not be written to the audit")
            }
            Err(error) => tracing::error!(%error, "writing to the audit failed"),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Tally> {
        // Nobody panics while holding it: what is done under it is counting.
        self.tally.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Tally {
    /// Counts one. Where that begins a period, returns how long it is, after which it is to be [taken](Self::take).
    fn note(
        &mut self,
        tenant: &str,
        now: Timestamp,
        why: Why,
        address: Option<IpAddr>,
        known: Option<&TwinId>,
    ) -> Option<Duration> {
        let begins = match self.0.get(tenant) {
            None => Some(PERIOD.0),
            Some(period) if !period.is_empty() => None,
            // It goes on: the one before ended lately.
            Some(period) if now < period.since + PERIOD.1 => Some((period.length * 2).min(PERIOD.1)),
            Some(_) => Some(PERIOD.0),
        };
        if let Some(length) = begins {
            self.0.insert(tenant.to_owned(), Period::new(now, length));
        }
        let period = self.0.get_mut(tenant)?;
        period.counts[why as usize] += 1;
        address.into_iter().for_each(|address| period.addresses.count(address.to_canonical()));
        match known {
            Some(twin) => period.devices.count(twin.as_str().to_owned()),
            None => period.devices.others += 1,
        }
        begins
    }

    /// Ends a period: an empty one takes its place, which tells for as long that there was one.
    fn take(&mut self, tenant: &str, now: Timestamp) -> Option<Added> {
        let period = self.0.get_mut(tenant)?;
        let next = Period::new(now, period.length);
        Some(std::mem::replace(period, next).add_up())
    }
}

impl Period {
    fn new(since: Timestamp, length: Duration) -> Self {
        Self { since, length, counts: [0; 3], addresses: Places::default(), devices: Places::default() }
    }

    fn is_empty(&self) -> bool {
        self.counts == [0; 3]
    }

    fn add_up(self) -> Added {
        let [credentials, activation_keys, unseen] = self.counts;
        let (addresses, elsewhere) = self.addresses.most();
        let (devices, others) = self.devices.most();
        Added {
            since: self.since,
            credentials,
            activation_keys,
            unseen,
            addresses,
            elsewhere,
            devices,
            others,
        }
    }
}

impl<K> Default for Places<K> {
    fn default() -> Self {
        Self { counts: HashMap::new(), others: 0 }
    }
}

impl<K: std::hash::Hash + Eq + ToString> Places<K> {
    fn count(&mut self, of: K) {
        let is_full = self.counts.len() >= PLACES;
        match self.counts.get_mut(&of) {
            Some(count) => *count += 1,
            None if is_full => self.others += 1,
            None => drop(self.counts.insert(of, 1)),
        }
    }

    /// Those with most, and how many were of none of them.
    fn most(self) -> (Vec<Count>, u64) {
        let mut all: Vec<(String, u64)> =
            self.counts.into_iter().map(|(of, n)| (of.to_string(), n)).collect();
        all.sort_unstable_by(|a, b| (b.1, &a.0).cmp(&(a.1, &b.0)));
        let rest = all.split_off(all.len().min(FAILURES_NAMED_MAX)).iter().map(|(_, n)| n).sum::<u64>();
        let named =
            |(of, n): (String, u64)| Some(Count { of: Name::new("an address or a device", &of).ok()?, n });
        (all.into_iter().filter_map(named).collect(), self.others + rest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(s: u64) -> Timestamp {
        Timestamp::from_millis(s * 1_000)
    }

    #[test]
    fn a_flood_of_a_day_is_thirty_entries_and_none_of_it_is_missing() {
        let (mut tally, mut due, mut entries) = (Tally::default(), None, Vec::new());
        let twin = |n: u32| TwinId::in_default_tenant(&format!("pump-{n}")).unwrap();

        for s in 0..24 * 3_600 {
            if due.is_some_and(|due| due <= at(s)) {
                entries.extend(tally.take("default", at(s)));
                due = None;
            }
            for n in 0..10 {
                let address = Some(IpAddr::from((s as u32 * 10 + n).to_be_bytes()));
                let begins = tally.note("default", at(s), Why::Credentials, address, Some(&twin(n * 20)));
                due = begins.map(|length| at(s) + length).or(due);
            }
        }
        entries.extend(tally.take("default", at(24 * 3_600)));

        assert!((20..=30).contains(&entries.len()), "{}", entries.len());
        assert_eq!(entries.iter().map(|added| added.credentials).sum::<u64>(), 24 * 3_600 * 10);
        for Added { addresses, elsewhere, devices, others, credentials, .. } in &entries {
            assert_eq!((addresses.len(), devices.len()), (8, 8));
            for (named, rest) in [(addresses, elsewhere), (devices, others)] {
                assert_eq!(named.iter().map(|count| count.n).sum::<u64>() + rest, *credentials);
            }
        }
    }

    #[test]
    fn what_ended_begins_again_with_a_minute() {
        let (mut tally, twin) = (Tally::default(), TwinId::in_default_tenant("pump-1").unwrap());
        for begin in [0, 4_000, 8_000] {
            let begins = tally.note("default", at(begin), Why::ActivationKey, None, Some(&twin));
            assert_eq!(begins, Some(PERIOD.0));
            assert_eq!(tally.note("default", at(begin), Why::Unseen, None, Some(&twin)), None);

            let added = tally.take("default", at(begin + 60)).unwrap();

            assert_eq!((added.since, added.activation_keys, added.unseen), (at(begin), 1, 1));
            assert_eq!((&*added.devices[0].of, added.devices[0].n), ("default/pump-1", 2));
        }
    }

    #[test]
    fn one_wrong_password_every_two_minutes_is_thirty_entries_a_day() {
        let (mut tally, mut due, mut entries) = (Tally::default(), None, 0);
        for s in (0..24 * 3_600).step_by(125) {
            if due.is_some_and(|due| due <= at(s)) {
                entries += usize::from(tally.take("default", due.take().unwrap()).is_some());
            }
            let begins = tally.note("default", at(s), Why::Credentials, None, None);
            due = begins.map(|length| at(s) + length).or(due);
        }

        assert!(entries <= 30, "{entries}");
    }

    #[test]
    fn what_is_no_device_is_in_no_entry() {
        let (mut tally, twin) = (Tally::default(), TwinId::in_default_tenant("pump-1").unwrap());
        tally.note("default", at(0), Why::Credentials, None, Some(&twin));
        for _ in 0..9 {
            tally.note("default", at(0), Why::Credentials, None, None);
        }

        let added = tally.take("default", at(60)).unwrap();

        assert_eq!((added.credentials, added.devices.len(), added.others), (10, 1, 9));
    }

    impl Failures {
        /// Of a directory in memory.
        pub(in super::super) fn unheard() -> Self {
            Self::new(Arc::new(Nothing), Arc::new(runtime::clock::SystemClock))
        }
    }

    struct Nothing;

    impl Definitions for Nothing {
        fn current(&self) -> Arc<runtime::directory::Directory> {
            Arc::default()
        }

        fn change(&self, _: Entry, _: Option<u64>) -> Result<u64, runtime::directory::Refused> {
            Ok(0)
        }

        fn changes(&self) -> runtime::directory::Listener {
            runtime::directory::Changes::new(0).listen()
        }

        fn audit(
            &self,
            _: u64,
            _: &mut dyn FnMut(runtime::directory::audit::Line, &Entry) -> bool,
        ) -> Result<(), runtime::directory::Refused> {
            Ok(())
        }
    }
}
