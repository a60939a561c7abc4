//! Where the shards are: an explicit map, changed by moves that are proposed, carried out by the shard's leader, and then
//! advanced to.

use super::{NodeState, State};
use std::collections::BTreeSet;

/// The most nodes that have one shard.
pub const REPLICAS_MAX: usize = 5;

/// Where a shard is.
///
/// The order of nodes counts: the first of them decide, as many as make an odd number, and the last of an even number has
/// the log only. So of two nodes the first alone decides, and of three all do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placement {
    /// Who has it; while it is being moved, who may have had it before.
    pub replicas: Vec<u64>,
    /// Who is to have it, while it is being moved.
    pub target: Option<Vec<u64>>,
    /// Who should lead it.
    pub preferred: Option<u64>,
    /// Whether it stays where it is as long as it can.
    pub is_pinned: bool,
    /// Whether the move goes back to where it began.
    pub is_undone: bool,
    /// Who had it, and has not said that nothing is left of it there.
    pub former: BTreeSet<u64>,
}

impl Placement {
    /// A shard that these have.
    #[must_use]
    pub fn on(replicas: Vec<u64>) -> Self {
        let (target, preferred, former) = (None, None, BTreeSet::new());
        Self { replicas, target, preferred, is_pinned: false, is_undone: false, former }
    }

    /// Who has it when nothing more is to be moved.
    #[must_use]
    pub fn goal(&self) -> &[u64] {
        self.target.as_deref().unwrap_or(&self.replicas)
    }

    /// Who decides then.
    #[must_use]
    pub fn voters(&self) -> &[u64] {
        deciding(self.goal())
    }

    /// Whether a node has it, or is to have it.
    #[must_use]
    pub fn concerns(&self, node: u64) -> bool {
        self.replicas.contains(&node) || self.goal().contains(&node)
    }
}

/// Those of some nodes that decide: the first ones, an odd number.
#[must_use]
pub fn deciding(nodes: &[u64]) -> &[u64] {
    let odd = nodes.len().saturating_sub(1) / 2 * 2 + 1;
    &nodes[..odd.min(nodes.len())]
}

impl State {
    /// The shards that a node has, or is to have.
    pub fn shards_of(&self, node: u64) -> impl Iterator<Item = u32> {
        self.shards.iter().filter(move |(_, placement)| placement.concerns(node)).map(|(shard, _)| *shard)
    }

    pub(super) fn is_at_rest(&self, shard: u32) -> bool {
        self.shards.get(&shard).is_some_and(|placement| placement.target.is_none())
    }

    pub(super) fn is_moving_to(&self, shard: u32, target: &[u64]) -> bool {
        self.shards.get(&shard).is_some_and(|placement| placement.target.as_deref() == Some(target))
    }

    pub(super) fn place(&mut self, shard: u32, replicas: &[u64]) -> Result<(), String> {
        let mut runs = self.domains.values().map(|domain| domain.first..domain.first + domain.shards);
        if !runs.any(|run| run.contains(&shard)) {
            return Err(format!("shard {shard} is of no domain"));
        }
        if self.shards.contains_key(&shard) {
            return Err(format!("shard {shard} is placed already; move it"));
        }
        self.check_replicas(replicas, &[])?;
        self.shards.insert(shard, Placement::on(replicas.to_vec()));
        Ok(())
    }

    pub(super) fn propose_move(&mut self, shard: u32, target: &[u64], pinned: bool) -> Result<(), String> {
        if self.is_frozen {
            return Err("placement is frozen; thaw it first".to_owned());
        }
        let placement = self.shards.get(&shard).ok_or_else(|| format!("shard {shard} is not placed"))?;
        if let Some(target) = &placement.target {
            return Err(format!("shard {shard} is being moved to {target:?}; wait for that, or abort it"));
        }
        if placement.replicas == target {
            return Err(format!("shard {shard} is on {target:?}"));
        }
        if let Some(node) = target.iter().find(|node| placement.former.contains(node)) {
            return Err(format!("node {node} has not dropped yet what it had of shard {shard}; wait for it"));
        }
        self.check_replicas(target, &placement.replicas)?;
        let placement = self.shards.get_mut(&shard).expect("it was looked at");
        placement.target = Some(target.to_vec());
        placement.is_pinned = pinned;
        Ok(())
    }

    pub(super) fn advance_move(&mut self, shard: u32) -> Result<(), String> {
        let placement = self.shards.get_mut(&shard).ok_or_else(|| format!("shard {shard} is not placed"))?;
        let Some(target) = placement.target.take() else { return Ok(()) };
        let before = std::mem::replace(&mut placement.replicas, target);
        let gone = |node: &u64| self.nodes.get(node).is_none_or(|node| node.state == NodeState::Gone);
        let left = before.into_iter().filter(|node| !placement.replicas.contains(node) && !gone(node));
        placement.former.extend(left);
        placement.is_undone = false;
        let voters = deciding(&placement.replicas);
        placement.preferred = placement.preferred.filter(|node| voters.contains(node));
        Ok(())
    }

    /// Who was added so far may have the log, and a vote in it: it takes part until the shard's leader has seen to that.
    pub(super) fn abort_move(&mut self, shard: u32) -> Result<(), String> {
        let placement = self.shards.get_mut(&shard).ok_or_else(|| format!("shard {shard} is not placed"))?;
        let Some(target) = placement.target.take() else { return Ok(()) };
        let before = placement.replicas.clone();
        let added = target.into_iter().filter(|node| !before.contains(node));
        placement.replicas.extend(added);
        placement.target = Some(before);
        placement.is_undone = true;
        placement.is_pinned = false;
        Ok(())
    }

    pub(super) fn dropped(&mut self, shard: u32, node: u64) -> Result<(), String> {
        let placement = self.shards.get_mut(&shard).ok_or_else(|| format!("shard {shard} is not placed"))?;
        placement.former.remove(&node);
        Ok(())
    }

    pub(super) fn prefer(&mut self, shard: u32, node: u64) -> Result<(), String> {
        let placement = self.shards.get_mut(&shard).ok_or_else(|| format!("shard {shard} is not placed"))?;
        let voters = placement.voters();
        if !voters.contains(&node) {
            return Err(format!("node {node} is none of {voters:?}, who decide in shard {shard}"));
        }
        placement.preferred = Some(node);
        Ok(())
    }

    /// Whether these may have a shard. Those who have it may keep it in whatever state they are.
    fn check_replicas(&self, replicas: &[u64], before: &[u64]) -> Result<(), String> {
        let distinct: BTreeSet<_> = replicas.iter().collect();
        if replicas.is_empty() || replicas.len() > REPLICAS_MAX || distinct.len() != replicas.len() {
            return Err(format!("a shard is on 1 to {REPLICAS_MAX} different nodes, not {replicas:?}"));
        }
        let is_active = |node| self.nodes.get(node).is_some_and(|node| node.state == NodeState::Active);
        match replicas.iter().find(|node| !before.contains(node) && !is_active(node)) {
            Some(node) => Err(format!("node {node} is not active; a shard is given to active nodes only")),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Command, Refusal};
    use super::*;
    use crate::SHARDS;

    /// Four active nodes, and shard 0 on the first three.
    fn placed() -> State {
        let mut state = State::default();
        for node in 1..=4 {
            tell(&mut state, Command::register(node, 1, String::new(), "1".to_owned())).unwrap();
            tell(&mut state, Command::SetNodeState { node, state: NodeState::Active }).unwrap();
        }
        tell(&mut state, Command::CreateDomain { name: "default".to_owned(), shards: SHARDS }).unwrap();
        tell(&mut state, Command::Place { shard: 0, replicas: vec![1, 2, 3] }).unwrap();
        state
    }

    fn tell(state: &mut State, command: Command) -> Result<u64, String> {
        state.apply(state.version, &command).map_err(|refusal| match refusal {
            Refusal::Unfit { reason, .. } => reason,
            other => other.to_string(),
        })
    }

    fn move_to(target: &[u64]) -> Command {
        Command::ProposeMove { shard: 0, target: target.to_vec(), pinned: false }
    }

    #[test]
    fn of_an_even_number_the_last_does_not_decide() {
        assert!(deciding(&[]).is_empty());
        assert_eq!(deciding(&[4]), [4]);
        assert_eq!(deciding(&[4, 2]), [4]);
        assert_eq!(deciding(&[4, 2, 3]), [4, 2, 3]);
        assert_eq!(deciding(&[4, 2, 3, 1]), [4, 2, 3]);
    }

    #[test]
    fn whoever_is_moved_away_is_given_the_shard_again_only_when_nothing_is_left_of_it_there() {
        let mut state = placed();
        tell(&mut state, move_to(&[2, 3, 4])).unwrap();
        assert!(state.shards[&0].concerns(1) && state.shards[&0].concerns(4));
        tell(&mut state, Command::AdvanceMove { shard: 0 }).unwrap();
        assert!(!state.shards[&0].concerns(1));

        assert!(tell(&mut state, move_to(&[1, 2, 3])).unwrap_err().contains("has not dropped yet"));
        tell(&mut state, Command::Dropped { shard: 0, node: 1 }).unwrap();
        tell(&mut state, move_to(&[1, 2, 3])).unwrap();

        assert_eq!(state.shards[&0].goal(), [1, 2, 3]);
    }

    #[test]
    fn a_move_that_is_undone_is_a_move_back_in_which_the_newcomer_takes_part() {
        let mut state = placed();
        tell(&mut state, move_to(&[2, 3, 4])).unwrap();

        tell(&mut state, Command::AbortMove { shard: 0 }).unwrap();
        let undone = state.clone();
        tell(&mut state, Command::AbortMove { shard: 0 }).unwrap();

        assert_eq!(state, undone);
        assert_eq!((state.shards[&0].goal(), state.shards[&0].concerns(4)), (&[1, 2, 3][..], true));
        tell(&mut state, Command::AdvanceMove { shard: 0 }).unwrap();
        assert_eq!(state.shards[&0].former, [4].into());
        assert_eq!(state.shards[&0].replicas, [1, 2, 3]);
    }

    #[test]
    fn a_move_that_makes_no_sense_is_refused_with_the_reason() {
        let mut state = placed();
        let cases: [(&[u64], &str); 4] = [
            (&[], "1 to 5 different nodes"),
            (&[1, 2, 2], "1 to 5 different nodes"),
            (&[1, 2, 9], "node 9 is not active"),
            (&[1, 2, 3], "is on [1, 2, 3]"),
        ];
        for (target, why) in cases {
            assert!(tell(&mut state, move_to(target)).unwrap_err().contains(why), "{target:?}");
        }
        tell(&mut state, move_to(&[1, 2, 4])).unwrap();
        assert!(tell(&mut state, move_to(&[1, 3, 4])).unwrap_err().contains("is being moved to [1, 2, 4]"));
        tell(&mut state, Command::AdvanceMove { shard: 0 }).unwrap();
        tell(&mut state, Command::FreezePlacement(true)).unwrap();
        assert!(tell(&mut state, move_to(&[1, 2])).unwrap_err().contains("frozen"));
    }

    #[test]
    fn a_node_with_shards_is_not_removed_and_without_them_it_is_for_good() {
        let mut state = placed();
        let gone = Command::SetNodeState { node: 3, state: NodeState::Gone };
        assert!(tell(&mut state, gone.clone()).unwrap_err().contains("has 1 shards; drain it first"));
        tell(&mut state, move_to(&[1, 2, 4])).unwrap();
        tell(&mut state, Command::AdvanceMove { shard: 0 }).unwrap();

        tell(&mut state, gone).unwrap();

        assert!(state.shards[&0].former.is_empty());
        assert!(tell(&mut state, Command::SetNodeState { node: 3, state: NodeState::Active }).is_err());
    }

    #[test]
    fn whoever_does_not_decide_is_not_preferred() {
        let mut state = placed();
        tell(&mut state, Command::SetLeaderPreference { shard: 0, node: 3 }).unwrap();
        assert!(tell(&mut state, Command::SetLeaderPreference { shard: 0, node: 4 }).is_err());
        tell(&mut state, move_to(&[1, 2, 4])).unwrap();

        tell(&mut state, Command::AdvanceMove { shard: 0 }).unwrap();

        assert_eq!(state.shards[&0].preferred, None);
    }
}
