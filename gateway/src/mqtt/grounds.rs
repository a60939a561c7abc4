//! Grounds: what sessions stand on beside their own twins, a tenant and perhaps an enrolment group. When the directory
//! changes, each ground is asked about once, however many sessions stand on it, and those whose ground is gone end.
//!
//! One task asks. It rests after each time, so that a flood of changes costs as much as ten a second; and it wakes those
//! who have to go a handful at a time, so that those who stay do not feel a whole tenant leave. 50,000 sessions take half
//! a second.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use runtime::access::Identity;
use runtime::router::Router;
use tokio::sync::watch::{Receiver, Sender};
use tokio::time::sleep;
use twins::id::TwinId;
use twins::name::Name;
use twins::time::Timestamp;
use twins::trust::Proof;

/// How long nothing is asked after something was: what is withdrawn is out within a second.
const REST: Duration = Duration::from_millis(100);
/// How many are woken at once.
const HANDFUL: usize = 100;
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

/// What all who stand on a ground have in common: the tenant, and of a group's devices the group and since when what they
/// showed is valid.
type Key = (String, Option<(Name, Option<Timestamp>)>);

#[derive(Debug)]
struct Ground {
    /// Whether one of them would be let in is whether all would.
    one: Identity,
    /// Each has a handful of sessions, which wake when it is dropped.
    handfuls: Vec<Sender<()>>,
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
            map.grounds.retain(|_, ground| ground.is_stood_on());
            map.swept_at = (map.grounds.len() * 2).max(SWEPT_MIN);
        }
        let group = match proof {
            Proof::Group { group, issued } => Some((group.clone(), *issued)),
            Proof::Open | Proof::Credential(_) | Proof::Activation(_) => None,
        };
        let ground = map.grounds.entry((twin.tenant().to_owned(), group)).or_insert_with(|| {
            let (twin, proof) = (twin.clone(), proof.clone());
            Ground { one: Identity::Device { twin, register: None, proof }, handfuls: Vec::new() }
        });
        ground.stand()
    }

    /// Looks after the grounds as long as there may be changes.
    pub(super) async fn keep(self, router: Router) {
        let Some(mut changes) = router.access().changes() else { return };
        while changes.changed().await.is_ok() {
            changes.mark_unchanged();
            let gone = self.review(|one| router.access().confirm(one).is_ok());
            for handful in gone {
                drop(handful);
                sleep(BREATH).await;
            }
            sleep(REST).await;
        }
    }

    /// Takes away the grounds that do not hold; whoever stands on them wakes when what is returned is dropped.
    fn review(&self, holds: impl Fn(&Identity) -> bool) -> Vec<Sender<()>> {
        let mut gone = Vec::new();
        self.lock().grounds.retain(|_, ground| {
            let stays = holds(&ground.one);
            if !stays {
                gone.append(&mut ground.handfuls);
            }
            stays
        });
        gone
    }

    fn lock(&self) -> MutexGuard<'_, Map> {
        // Nobody panics while holding it: what is done under it is looking up.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ground {
    fn stand(&mut self) -> Footing {
        self.handfuls.retain(|handful| handful.receiver_count() > 0);
        match self.handfuls.last().filter(|handful| handful.receiver_count() < HANDFUL) {
            Some(handful) => Footing(handful.subscribe()),
            None => {
                let (handful, first) = tokio::sync::watch::channel(());
                self.handfuls.push(handful);
                Footing(first)
            }
        }
    }

    fn is_stood_on(&self) -> bool {
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
        Proof::Group { group: Name::fixed(group), issued: None }
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

        drop(grounds.review(|one| {
            let Identity::Device { twin, proof, .. } = one else { unreachable!("only devices stand here") };
            twin.tenant() != "acme" || !matches!(proof, Proof::Group { .. })
        }));

        assert_eq!([&mut acme, &mut pumps, &mut other].map(is_gone), [false, true, false]);
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
    fn grounds_that_nobody_stands_on_are_forgotten() {
        let grounds = Grounds::default();
        for n in 0..10_000 {
            let issued = Some(Timestamp::from_millis(n));
            let proof = Proof::Group { group: Name::fixed("pumps"), issued };
            drop(grounds.stand(&twin("acme/pump-1"), &proof));
        }

        assert!(grounds.lock().grounds.len() <= SWEPT_MIN);
    }
}
