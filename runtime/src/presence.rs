//! Which connections have ended without a word: from who holds each, and what is known of the nodes. Pure.
//!
//! A connection ends with its node's process; a node that nobody hears for [`SILENT_MAX`] passes for gone, and its gateway
//! has closed its connections before that. One whose node is alive is attached to whoever leads its shard;
//! what is not within [`ATTACH_WITHIN`] has ended while nobody led.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use twins::id::TwinId;

/// A node that was silent for so long is gone. Its gateway closes connections after 2 s without a leader.
pub(crate) const SILENT_MAX: Duration = Duration::from_secs(3);
/// A node that is alive attaches its connections within this after another one has begun to lead.
pub(crate) const ATTACH_WITHIN: Duration = Duration::from_secs(5);

/// Who holds a connection: a node, and its generation.
pub(crate) type Holder = (u64, u64);

/// Connections by who holds them: a twin, and the epoch of its connection.
pub(crate) type Held = BTreeMap<Holder, BTreeSet<(TwinId, u64)>>;

/// The nodes that are known: the generation of each, and for how long it was silent.
pub(crate) type Seen = BTreeMap<u64, (u64, Duration)>;

/// Why a connection has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Why {
    /// Its node has started again since.
    Restarted,
    /// Its node is gone.
    Silent,
    /// Its node is alive, and does not have it.
    Unattached,
}

/// What is known where connections are looked at.
#[derive(Debug, Clone, Copy)]
pub(crate) struct View<'a> {
    /// This node.
    pub(crate) me: Holder,
    pub(crate) seen: &'a Seen,
    /// For how long this node has led.
    pub(crate) led_for: Duration,
    /// Those of live nodes count from so long on; none where all of them were looked at before.
    pub(crate) attach_within: Option<Duration>,
}

impl View<'_> {
    /// Whether a holder's connections have ended: all of them, or those that are not attached.
    fn of(&self, (node, generation): Holder) -> Option<Why> {
        let unattached = || {
            let is_late = self.attach_within.is_some_and(|within| self.led_for >= within);
            is_late.then_some(Why::Unattached)
        };
        if node == self.me.0 {
            return if generation < self.me.1 { Some(Why::Restarted) } else { unattached() };
        }
        match self.seen.get(&node) {
            Some((now, _)) if generation < *now => Some(Why::Restarted),
            Some((_, silent)) if *silent >= SILENT_MAX => Some(Why::Silent),
            Some(_) => unattached(),
            None => (self.led_for >= SILENT_MAX).then_some(Why::Silent),
        }
    }

    /// The connections that have ended, each with the reason.
    pub(crate) fn ended<'h>(
        &self,
        held: &'h Held,
        is_attached: impl Fn(&TwinId, u64) -> bool,
    ) -> impl Iterator<Item = (&'h TwinId, u64, Why)> {
        let ended = held.iter().filter_map(|(holder, all)| Some((self.of(*holder)?, all)));
        let ended = ended.flat_map(|(why, all)| all.iter().map(move |(twin, epoch)| (twin, *epoch, why)));
        ended.filter(move |(twin, epoch, why)| *why != Why::Unattached || !is_attached(twin, *epoch))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALIVE: Duration = Duration::from_millis(250);

    /// Node 1 in its generation 5 leads for so many seconds, and hears of node 2 in generation 7; the one connection of
    /// `holder` is attached, or not.
    fn check(
        holder: Holder,
        silent: Duration,
        led_for_s: u64,
        attached: bool,
        expected: impl Into<Option<Why>>,
    ) {
        let held = Held::from([(holder, BTreeSet::from([(TwinId::in_default_tenant("a").unwrap(), 9)]))]);
        let seen = Seen::from([(1, (5, Duration::ZERO)), (2, (7, silent))]);
        let led_for = Duration::from_secs(led_for_s);
        let view = View { me: (1, 5), seen: &seen, led_for, attach_within: Some(ATTACH_WITHIN) };

        let ended: Vec<_> = view.ended(&held, |_, epoch| attached && epoch == 9).collect();

        let why = ended.first().map(|(_, epoch, why)| {
            assert_eq!(*epoch, 9);
            *why
        });
        assert_eq!(
            why,
            expected.into(),
            "{holder:?}, silent for {silent:?}, led for {led_for_s} s, {attached}"
        );
    }

    #[test]
    fn a_connection_ends_with_the_process_that_held_it() {
        for attached in [false, true] {
            check((1, 4), ALIVE, 0, attached, Why::Restarted);
            check((2, 6), ALIVE, 0, attached, Why::Restarted);
            check((2, 6), SILENT_MAX, 9, attached, Why::Restarted);
        }
    }

    #[test]
    fn a_node_that_is_silent_for_three_seconds_is_gone() {
        check((2, 7), SILENT_MAX - Duration::from_millis(1), 0, true, None);
        check((2, 7), SILENT_MAX, 0, true, Why::Silent);
        check((2, 8), SILENT_MAX, 0, true, Why::Silent);
        check((3, 1), ALIVE, 2, true, None);
        check((3, 1), ALIVE, 3, true, Why::Silent);
    }

    #[test]
    fn what_a_live_node_does_not_attach_within_five_seconds_has_ended() {
        for holder in [(1, 5), (2, 7), (2, 8)] {
            check(holder, ALIVE, 4, false, None);
            check(holder, ALIVE, 5, false, Why::Unattached);
            check(holder, ALIVE, 5, true, None);
        }
    }

    #[test]
    fn those_of_live_nodes_are_looked_at_once() {
        let held = Held::from([((2, 7), BTreeSet::from([(TwinId::in_default_tenant("a").unwrap(), 9)]))]);
        let seen = Seen::from([(2, (7, ALIVE))]);
        let view = View { me: (1, 5), seen: &seen, led_for: Duration::from_secs(60), attach_within: None };

        assert_eq!(view.ended(&held, |_, _| false).count(), 0);
    }
}
