//! Grounds: what sessions stand on beside their own twins, a tenant and perhaps an enrolment group, or an authority that
//! signed their certificates. When the directory changes, each ground is asked about once, however many sessions stand on
//! it, and those whose ground is gone end.
//!
//! One task asks. It rests after each time, so that a flood of changes costs as much as ten a second. Those who have to go
//! are woken some at a time, so that those who stay do not feel a whole tenant leave: 50,000 sessions take less than a
//! second. Of a group's devices, what they showed may be valid since different times; as a group bars all from before a
//! time, the oldest is asked first, and where it may stay all may.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use runtime::access::Identity;
use runtime::directory::Listener;
use runtime::router::Router;
use tokio::sync::watch::{Receiver, Sender};
use tokio::time::sleep;
use twins::id::TwinId;
use twins::name::Name;
use twins::time::Timestamp;
use twins::trust::Proof;

/// How long nothing is asked after something was: what is withdrawn is out within a second.
const REST: Duration = Duration::from_millis(100);
/// How many are woken at once, and how many wake by one sender at most.
const HANDFUL: usize = 200;
/// The pause after each handful.
const BREATH: Duration = Duration::from_millis(1);
/// How many grounds there are before those that nobody stands on any more are looked for.
const SWEPT_MIN: usize = 64;

/// The grounds of all sessions of a listener. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(super) struct Grounds(Arc<Mutex<Map>>);

#[derive(Debug, Default)]
struct Map {
    grounds: HashMap<Key, Ground>,
    /// So many, and it is swept: it grows with those who are here, and not with those who were.
    swept_at: usize,
}

/// What all who stand on a ground have in common: the tenant, and what of it lets them in.
type Key = (String, Door);

/// What of a tenant lets a device in.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Door {
    /// Nothing but itself.
    Own,
    Group(Name),
    Authority(Name),
}

/// Those who stand on a ground, by the time since when what they showed is valid.
type Ground = BTreeMap<Option<Timestamp>, Party>;

#[derive(Debug)]
struct Party {
    /// Whether one of them would be let in is whether all would.
    one: Identity,
    /// Each has some of the sessions, which wake when it is dropped. The last one is filled.
    handfuls: Vec<Sender<()>>,
    /// So many, and those without sessions are looked for.
    swept_at: usize,
}

/// A session's place on its ground.
#[derive(Debug)]
pub(super) struct Footing(Receiver<()>);

impl Grounds {
    /// A session of this device stands here from now on. Whoever calls it asks afterwards whether the device is still let
    /// in, so that no change falls between.
    pub(super) fn stand(&self, twin: &TwinId, proof: &Proof) -> Footing {
        let mut map = self.lock();
        if map.grounds.len() >= map.swept_at {
            map.grounds.values_mut().for_each(|ground| ground.retain(|_, party| party.is_there()));
            map.grounds.retain(|_, ground| !ground.is_empty());
            map.swept_at = (map.grounds.len() * 2).max(SWEPT_MIN);
        }
        let (door, issued) = match proof {
            Proof::Group { group, issued, .. } => (Door::Group(group.clone()), *issued),
            Proof::Certificate { authority, .. } => (Door::Authority(authority.clone()), None),
            Proof::Open | Proof::Credential(_) | Proof::Activation(_) => (Door::Own, None),
        };
        let ground = map.grounds.entry((twin.tenant().to_owned(), door)).or_default();
        // It is looked through each time that it has doubled.
        if ground.len() >= SWEPT_MIN && !ground.contains_key(&issued) && ground.len().is_power_of_two() {
            ground.retain(|_, party| party.is_there());
        }
        let party = ground.entry(issued).or_insert_with(|| {
            let (twin, proof) = (twin.clone(), proof.clone());
            let one = Identity::Device { twin, register: None, proof };
            Party { one, handfuls: Vec::new(), swept_at: SWEPT_MIN }
        });
        party.stand()
    }

    /// Looks after the grounds as long as there may be changes.
    pub(super) async fn keep(self, changes: Option<Listener>, router: Router) {
        let Some(mut changes) = changes else { return };
        while changes.changed().await.is_ok() {
            changes.mark_unchanged();
            let gone = self.review(|one| router.access().confirm(one).is_ok());
            // Meanwhile others may lose their ground.
            tokio::spawn(wake(gone));
            sleep(REST).await;
        }
    }

    /// Takes away what does not hold; whoever stands on it wakes when what is returned is dropped.
    fn review(&self, holds: impl Fn(&Identity) -> bool) -> Vec<Sender<()>> {
        let mut gone = Vec::new();
        self.lock().grounds.retain(|_, ground| {
            while let Some(oldest) = ground.first_entry().filter(|oldest| !holds(&oldest.get().one)) {
                gone.extend(oldest.remove().handfuls);
            }
            !ground.is_empty()
        });
        gone
    }

    fn lock(&self) -> MutexGuard<'_, Map> {
        // Nobody panics while holding it: what is done under it is looking up.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Wakes who has to go, a handful at a time.
async fn wake(gone: Vec<Sender<()>>) {
    let mut woken = 0;
    for sender in gone {
        woken += sender.receiver_count();
        drop(sender);
        if woken >= HANDFUL {
            woken = 0;
            sleep(BREATH).await;
        }
    }
}

impl Party {
    fn stand(&mut self) -> Footing {
        if let Some(last) = self.handfuls.last().filter(|last| last.receiver_count() < HANDFUL) {
            return Footing(last.subscribe());
        }
        if self.handfuls.len() >= self.swept_at {
            self.handfuls.retain(|handful| handful.receiver_count() > 0);
            // One that has room is filled before a new one is made.
            self.handfuls.sort_by_key(|handful| std::cmp::Reverse(handful.receiver_count()));
            self.swept_at = (self.handfuls.len() * 2).max(SWEPT_MIN);
            if let Some(last) = self.handfuls.last().filter(|last| last.receiver_count() < HANDFUL) {
                return Footing(last.subscribe());
            }
        }
        let (handful, first) = tokio::sync::watch::channel(());
        self.handfuls.push(handful);
        Footing(first)
    }

    fn is_there(&self) -> bool {
        self.handfuls.iter().any(|handful| handful.receiver_count() > 0)
    }
}

impl Footing {
    /// Returns when the ground is gone. Cancel safe.
    pub(super) async fn gone(&mut self) {
        while self.0.changed().await.is_ok() {}
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use futures_util::FutureExt;

    use super::*;

    fn twin(id: &str) -> TwinId {
        TwinId::parse(id).unwrap()
    }

    fn of_group(group: &'static str) -> Proof {
        Proof::Group { group: Name::fixed(group), issued: None, until: None }
    }

    fn is_gone(footing: &mut Footing) -> bool {
        footing.gone().now_or_never().is_some()
    }

    #[test]
    fn those_alone_whose_ground_is_gone_end() {
        let grounds = Grounds::default();
        let mut acme = grounds.stand(&twin("acme/pump-1"), &Proof::Credential(1));
        let mut pumps = grounds.stand(&twin("acme/pump-2"), &of_group("pumps"));
        let mut other = grounds.stand(&twin("other/pump-1"), &of_group("pumps"));
        let signed = Proof::Certificate { issue: 2, authority: Name::fixed("pumps") };
        let mut signed = grounds.stand(&twin("acme/pump-1"), &signed);

        drop(grounds.review(|one| {
            let Identity::Device { twin, proof, .. } = one else { unreachable!("only devices stand here") };
            twin.tenant() != "acme" || !matches!(proof, Proof::Group { .. })
        }));
        assert_eq!(
            [&mut acme, &mut pumps, &mut other, &mut signed].map(is_gone),
            [false, true, false, false]
        );

        drop(grounds.review(|one| !matches!(one, Identity::Device { proof: Proof::Certificate { .. }, .. })));
        assert_eq!([&mut acme, &mut other, &mut signed].map(is_gone), [false, false, true]);
    }

    #[test]
    fn a_change_asks_once_for_a_whole_tenant_and_wakes_it_a_handful_at_a_time() {
        let (grounds, asked) = (Grounds::default(), Cell::new(0));
        let stand = |n: usize| grounds.stand(&twin(&format!("acme/pump-{n}")), &Proof::Credential(1));
        let mut standing: Vec<_> = (0..1_000).map(stand).collect();

        let gone = grounds.review(|_| {
            asked.set(asked.get() + 1);
            false
        });

        assert_eq!((asked.get(), gone.len()), (1, 1_000 / HANDFUL));
        assert!(!standing.iter_mut().any(is_gone));
        drop(gone);
        assert!(standing.iter_mut().all(is_gone));
    }

    #[test]
    fn of_those_whose_certificates_differ_those_go_that_are_barred_and_few_are_asked() {
        let (grounds, asked) = (Grounds::default(), Cell::new(0));
        let issued = |n: u64| {
            let issued = Some(Timestamp::from_millis(n));
            grounds.stand(
                &twin("acme/pump-1"),
                &Proof::Group { group: Name::fixed("pumps"), issued, until: None },
            )
        };
        let mut standing: Vec<_> = (0..1_000).map(issued).collect();

        drop(grounds.review(|one| {
            asked.set(asked.get() + 1);
            let Identity::Device { proof: Proof::Group { issued, .. }, .. } = one else { unreachable!() };
            *issued >= Some(Timestamp::from_millis(10))
        }));

        let gone: Vec<_> = standing.iter_mut().map(is_gone).collect();
        assert_eq!((gone.iter().filter(|gone| **gone).count(), asked.get()), (10, 11));
        assert!(gone[..10].iter().all(|gone| *gone));
    }

    #[test]
    fn grounds_that_nobody_stands_on_are_forgotten_and_places_that_are_free_are_taken() {
        let grounds = Grounds::default();
        for n in 0..10_000 {
            let issued = Some(Timestamp::from_millis(n));
            let proof = Proof::Group { group: Name::fixed("pumps"), issued, until: None };
            drop(grounds.stand(&twin("acme/pump-1"), &proof));
        }
        let parties: usize = grounds.lock().grounds.values().map(BTreeMap::len).sum();
        assert!(parties <= 2 * SWEPT_MIN, "{parties}");

        // Of each hundred one stays, and others come.
        let stand = || grounds.stand(&twin("acme/pump-1"), &Proof::Credential(1));
        let mut staying = Vec::new();
        for _ in 0..300 {
            let mut come: Vec<_> = (0..100).map(|_| stand()).collect();
            staying.extend(come.pop());
        }
        let map = grounds.lock();
        let handfuls: usize =
            map.grounds.values().flat_map(BTreeMap::values).map(|party| party.handfuls.len()).sum();
        assert!(handfuls <= SWEPT_MIN, "{handfuls}");
    }
}
