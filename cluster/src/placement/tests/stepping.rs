//! What a group comes to, whoever crashes between two steps or in the middle of one.

use super::super::{Change, Goal, step, take_part};
use super::Dice;
use super::groups::Modelled;
use std::collections::BTreeSet;

fn random_goal(dice: &mut Dice) -> Goal {
    let mut nodes: Vec<u64> = (1..=6).collect();
    (0..6).for_each(|at| nodes.swap(at, dice.below(6)));
    nodes.truncate(1 + dice.below(3));
    let decide = if nodes.len() == 2 { 1 } else { nodes.len() };
    let voters: BTreeSet<u64> = nodes[..decide].iter().copied().collect();
    let preferred = (dice.below(2) == 0).then(|| nodes[dice.below(decide)]);
    Goal { voters, learners: nodes[decide..].iter().copied().collect(), preferred, is_move: true }
}

/// Takes steps towards a goal until it is reported; returns what was done.
fn reach(group: &mut Modelled, goal: &Goal, dice: &mut Dice, crashes: bool) -> Vec<Change> {
    let all: BTreeSet<u64> = (1..=6).collect();
    let mut taken = Vec::new();
    for _ in 0..2_000 {
        for node in goal.members() {
            let change = take_part(true, false, &group.view(node));
            if group.leader != Some(node)
                && let Some(change) = change
            {
                group.take(node, &change, false);
            }
        }
        group.last += u64::try_from(dice.below(40)).unwrap();
        group.replicate(&all, 40 + u64::try_from(dice.below(300)).unwrap());
        let crash = crashes && dice.below(4) == 0;
        let leader = group.leader.expect("somebody leads");
        let change = step(goal, leader, &group.view(leader), &all);
        match &change {
            Some(Change::Report) => return taken,
            Some(change) => {
                group.take(leader, change, crash);
                taken.push(change.clone());
            }
            None => {}
        }
        assert!(group.is_safe(32), "{change:?} lost the majority: {group:?}");
        if crash {
            // Somebody leads next, perhaps the same.
            group.elect(&all);
        }
    }
    panic!("{goal:?} is never reached: {group:?}");
}

#[test]
fn every_group_comes_to_every_goal_and_never_without_a_majority_that_is_up_to_date() {
    for seed in 0..500 {
        let mut dice = Dice::new(seed);
        let mut group = Modelled::alone(1);
        for _ in 0..4 {
            let goal = random_goal(&mut dice);

            reach(&mut group, &goal, &mut dice, seed % 2 == 1);

            assert_eq!((&group.voters, &group.learners, &group.old), (&goal.voters, &goal.learners, &None));
            let gone: Vec<u64> = group.present.difference(&goal.members()).copied().collect();
            for node in gone {
                group.take(node, &Change::Leave, false);
            }
        }
    }
}

#[test]
fn a_group_that_is_as_it_should_be_is_left_alone() {
    let all: BTreeSet<u64> = (1..=6).collect();
    for seed in 0..200 {
        let mut dice = Dice::new(seed);
        let mut group = Modelled::alone(1);
        let goal = Goal { preferred: None, ..random_goal(&mut dice) };
        reach(&mut group, &goal, &mut dice, false);
        let rests = Goal { is_move: false, ..goal };
        group.replicate(&all, u64::MAX / 2);

        let mut next = || {
            let leader = group.leader.unwrap();
            let change = step(&rests, leader, &group.view(leader), &all)?;
            group.take(leader, &change, false);
            Some(change)
        };

        let ends_alone = rests.members().len() == 1 && next() == Some(Change::Shrink);
        assert!(ends_alone || rests.members().len() > 1 || !group.by_consensus, "seed {seed}");
        let leader = group.leader.unwrap();
        assert_eq!(step(&rests, leader, &group.view(leader), &all), None, "seed {seed}");
    }
}

#[test]
fn the_lead_is_handed_on_before_whoever_has_it_decides_no_more() {
    let mut group = Modelled::alone(1);
    let mut dice = Dice::new(1);
    let three = Goal { voters: [1, 2, 3].into(), is_move: true, ..Goal::default() };
    reach(&mut group, &three, &mut dice, false);
    let others = Goal { voters: [2, 3, 4].into(), is_move: true, ..Goal::default() };

    let taken = reach(&mut group, &others, &mut dice, false);

    let expected = [
        Change::Learn { node: 4 },
        Change::Transfer { to: 2 },
        Change::Vote { voters: [2, 3, 4].into() },
        Change::Forget { node: 1 },
    ];
    assert_eq!(taken, expected);
}

#[test]
fn a_lone_shard_goes_to_another_node_and_is_alone_there() {
    let mut group = Modelled::alone(1);
    let goal = Goal { voters: [2].into(), is_move: true, ..Goal::default() };

    let taken = reach(&mut group, &goal, &mut Dice::new(1), false);

    let expected = [
        Change::Grow,
        Change::Learn { node: 2 },
        Change::Vote { voters: [1, 2].into() },
        Change::Transfer { to: 2 },
        Change::Vote { voters: [2].into() },
        Change::Forget { node: 1 },
    ];
    assert_eq!(taken, expected);
    let rests = Goal { is_move: false, ..goal };
    assert_eq!(step(&rests, 2, &group.view(2), &[2].into()), Some(Change::Shrink));
}

#[test]
fn nobody_loses_a_vote_while_whoever_comes_lags_or_is_not_heard() {
    let mut group = Modelled::alone(1);
    let mut dice = Dice::new(1);
    let three = Goal { voters: [1, 2, 3].into(), is_move: true, ..Goal::default() };
    reach(&mut group, &three, &mut dice, false);
    group.learners.insert(4);
    group.present.insert(4);
    group.last += 100;
    group.matched = [(1, group.last), (2, group.last), (3, group.last), (4, group.last - 33)].into();
    let goal = Goal { voters: [1, 2, 4].into(), is_move: true, ..Goal::default() };
    let (all, deaf) = ([1, 2, 3, 4].into(), [1, 2, 3].into());

    assert_eq!(step(&goal, 1, &group.view(1), &all), None);
    group.matched.insert(4, group.last);
    assert_eq!(step(&goal, 1, &group.view(1), &deaf), None);

    assert_eq!(step(&goal, 1, &group.view(1), &all), Some(Change::Vote { voters: [1, 2, 4].into() }));
}

#[test]
fn a_dead_node_is_replaced_by_one_that_is_up_to_date() {
    let mut group = Modelled::alone(1);
    let mut dice = Dice::new(1);
    let three = Goal { voters: [1, 2, 3].into(), is_move: true, ..Goal::default() };
    reach(&mut group, &three, &mut dice, false);
    group.learners.insert(4);
    group.matched = [(1, group.last), (2, group.last), (3, 0), (4, group.last)].into();
    let goal = Goal { voters: [1, 2, 4].into(), is_move: true, ..Goal::default() };

    let change = step(&goal, 1, &group.view(1), &[1, 2, 4].into());

    assert_eq!(change, Some(Change::Vote { voters: [1, 2, 4].into() }));
}
