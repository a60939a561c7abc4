//! The meta group on three nodes: each has the state, and a command may be given to any of them.

use crate::world::{ALL, Cluster, PATIENCE};
use bytes::Bytes;
use cluster::meta::{Command, Elsewhere, Meta, NodeState, NotAnswered, Refusal, Role, State};
use cluster::wire::Boxed;
use runtime::directory::{By, Change, Entry, Roles, Sort, check_name};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, Weak};
use tokio::time::timeout;

/// The way from each node to all others; it loses the next few answers.
#[derive(Default)]
struct Ways {
    metas: Mutex<BTreeMap<u64, Weak<Meta>>>,
    losses: AtomicU32,
}

struct Way(Arc<Ways>);

impl Elsewhere for Way {
    fn ask(&self, leader: u64, request: Bytes) -> Boxed<Result<Bytes, NotAnswered>> {
        let ways = self.0.clone();
        Box::pin(async move {
            let missed = NotAnswered { node: leader };
            let meta = ways.metas.lock().unwrap().get(&leader).and_then(Weak::upgrade).ok_or(missed)?;
            let answer = meta.answer(request).await;
            let lost = ways.losses.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| n.checked_sub(1));
            if lost.is_ok() { Err(missed) } else { Ok(answer) }
        })
    }
}

/// A meta group on three nodes, which the first one began alone.
async fn three() -> (Cluster, BTreeMap<u64, Arc<Meta>>, Arc<Ways>) {
    let cluster = Cluster::lone().await;
    let ways = Arc::new(Ways::default());
    let mut metas = BTreeMap::new();
    for n in ALL {
        let meta = Arc::new(Meta::open(cluster.logs[&n].clone()).unwrap());
        meta.reach(Arc::new(Way(ways.clone())));
        drop(tokio::spawn(meta.follow()));
        ways.metas.lock().unwrap().insert(n, Arc::downgrade(&meta));
        metas.insert(n, meta);
    }
    for n in ALL {
        let register = Command::register(n, 1, String::new(), "1".to_owned());
        metas[&1].execute(register, n - 1).await.unwrap();
    }
    cluster.open_up().await;
    cluster.grow().await;
    (cluster, metas, ways)
}

async fn reaches(meta: &Meta, version: u64) -> Arc<State> {
    let mut states = meta.watch();
    let state = timeout(PATIENCE, states.wait_for(|state| state.version >= version)).await;
    state.expect("it follows").unwrap().clone()
}

fn active(node: u64) -> Command {
    Command::SetNodeState { node, state: NodeState::Active }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_may_be_given_to_any_node_and_is_seen_there_when_it_is_answered() {
    let (_cluster, metas, _) = three().await;
    let before = reaches(&metas[&2], 3).await;

    let version = metas[&2].execute(active(2), before.version).await;

    assert_eq!(version, Ok(4));
    assert_eq!(metas[&2].state().nodes[&2].state, NodeState::Active);
    for n in ALL {
        assert_eq!(reaches(&metas[&n], 4).await, metas[&2].state());
    }
    assert_eq!(metas[&3].execute(active(2), 0).await, Ok(4), "a repeat succeeds");
    let stale = metas[&3].execute(active(3), 3).await;
    assert_eq!(stale, Err(Refusal::Stale { expected: 3, current: 4 }));
    assert_eq!(metas[&3].refresh().await, Ok(4));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_whose_answer_is_lost_takes_effect_once() {
    let (_cluster, metas, ways) = three().await;
    reaches(&metas[&3], 3).await;
    ways.losses.store(2, Ordering::Relaxed);
    let (name, roles) = (check_name("a name", "ada").unwrap(), Roles::default());
    let change = Change::PutPrincipal { name, sort: Sort::User, roles: Some(roles), disabled: Some(false) };
    let (at, by, tenant) = (Default::default(), By::Folder, "default".to_owned());
    let entry = Entry { at, by, reason: None, tenant, change };

    let version = metas[&3].execute(Command::Directory(entry), 3).await;

    assert_eq!(version, Ok(4));
    for n in ALL {
        assert_eq!(reaches(&metas[&n], 4).await.directory.version, 1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commands_that_meet_are_carried_out_one_after_the_other() {
    let (_cluster, metas, _) = three().await;
    for n in ALL {
        reaches(&metas[&n], 3).await;
    }

    let given = ALL.map(|n| {
        let meta = metas[&n].clone();
        tokio::spawn(async move {
            loop {
                match meta.execute(active(n), meta.state().version).await {
                    Err(Refusal::Stale { .. }) => {}
                    fate => return fate,
                }
            }
        })
    });

    for given in given {
        given.await.unwrap().unwrap();
    }
    let state = reaches(&metas[&1], 6).await;
    assert_eq!(state.version, 6);
    assert!(state.nodes.values().all(|node| node.state == NodeState::Active));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_outlives_the_leader_and_whoever_is_cut_off_says_so() {
    let (cluster, metas, ways) = three().await;
    for n in ALL {
        reaches(&metas[&n], 3).await;
    }
    // The old leader is reached by nobody.
    let old = ways.metas.lock().unwrap().remove(&1);
    cluster.cut_off(1);

    let version = metas[&2].execute(active(2), 3).await;
    let alone = metas[&1].execute(active(3), 3).await;

    assert_eq!(version, Ok(4));
    assert!(matches!(alone, Err(Refusal::Leaderless | Refusal::Unsure)), "{alone:?}");
    assert!(!matches!(*metas[&1].role().borrow(), Role::Leads(_)));
    ways.metas.lock().unwrap().extend(old.map(|meta| (1, meta)));
    cluster.mend(1);
    assert_eq!(reaches(&metas[&1], 4).await.nodes[&3].state, NodeState::Provisioning);
}
