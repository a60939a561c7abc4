//! The other nodes, as whatever connects nodes tells of them; and the connections of this node's gateway, which outlive
//! whoever leads their shards.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use twins::id::TwinId;

use crate::attached::Connection;
use crate::away::{Answer, Answers, Away, Forward, Frame, Goodbye};
use crate::error::Error;
use crate::mailbox::Mailbox;
use crate::node::shard_of;
use crate::shard::actor::Message;

use super::Router;
use super::ask::strange;

/// How many connections are attached by one message.
const ATTACH_AT_ONCE: usize = 4_096;

impl Router {
    /// Reaches other nodes from now on: to be called once, before connections are taken. Whoever calls it also calls
    /// [`arrived`](Router::arrived), [`lost`](Router::lost), [`led`](Router::led) and [`nodes`](Router::nodes).
    pub fn reach(&self, forward: Arc<dyn Forward>) {
        self.0.away.reach(forward);
    }

    /// What other nodes ask of the group that all nodes have is answered by this: to be called once.
    pub fn answer_with(&self, answers: Arc<dyn Answers>) {
        self.0.away.answer_with(answers);
    }

    /// Asks another node something of the group that all nodes have.
    ///
    /// # Errors
    /// What it answers; [`Error::Unwritten`] when it was not asked, [`Error::Unknown`] when it is lost meanwhile.
    pub async fn ask_node(&self, node: u64, body: Bytes) -> Result<Bytes, Error> {
        match self.0.away.call(node, 0, |call| Frame::Meta { call, body }).await? {
            Answer::Meta(body) => Ok(body),
            other => Err(strange(0, &other)),
        }
    }

    /// The way to a node is gone, with what was on it.
    pub fn lost(&self, node: u64) {
        self.0.away.lost(node);
    }

    /// Another one leads a shard, or nobody that is known; also this node, which its shard says by itself as well.
    pub fn led(&self, shard: u32, by: Option<u64>) {
        let away = &self.0.away;
        if shard >= self.shards() || !away.set_led(shard, by) {
            return;
        }
        self.0.watches.began_again(shard);
        let Some(by) = by else { return };
        away.client_led(shard, by);
        if by != self.0.node.0 {
            away.attached.led(shard);
            self.attach_due(shard);
            away.attached.again(shard);
        }
    }

    /// The other nodes, each with its generation and for how long it was silent: connections that have ended with one of
    /// them are ended, and what was not said to one is said again. To be called four times a second, and when one of them
    /// changes.
    pub fn nodes(&self, seen: BTreeMap<u64, (u64, Duration)>) {
        let away = &self.0.away;
        away.end_silent(&seen);
        if away.close_lost() {
            for actor in self.0.doors.iter().filter_map(|door| door.leader().ok()) {
                drop(actor.cast(Message::LetGo));
            }
        }
        for goodbye in away.take_goodbyes() {
            self.say_goodbye(goodbye);
        }
        for (shard, door) in (0..).zip(self.0.doors.iter()) {
            let silent = |node: u64| seen.get(&node).map(|(_, silent)| *silent);
            let silent = match door.leader() {
                Ok(_) => Some(Duration::ZERO),
                Err(_) => away.leader(shard).and_then(silent),
            };
            away.attached.contact(shard, silent);
            self.attach_due(shard);
        }
        for node in seen.keys().filter(|node| **node != self.0.node.0) {
            away.beat(*node);
        }
        let seen = Arc::new(seen);
        for actor in self.0.doors.iter().filter_map(|door| door.leader().ok()) {
            drop(actor.cast(Message::Nodes(seen.clone())));
        }
    }

    /// A connection of this node's gateway has begun: whoever leads its twin's shard from now on hears of it.
    pub fn attach(&self, mailbox: &Arc<Mailbox>, twin: &TwinId, epoch: u64) {
        let away = &self.0.away;
        if !away.is_used() {
            return;
        }
        let (shard, number) = (shard_of(&self.0.slots, twin), away.number(mailbox));
        let connection = Connection { twin: twin.clone(), epoch, mailbox: mailbox.clone() };
        if away.attached.add(shard, number, connection.clone()) {
            self.attach_these(shard, vec![(number, connection)]);
        }
    }

    /// A connection of this node's gateway has ended.
    pub fn detach(&self, mailbox: &Arc<Mailbox>, twin: &TwinId) {
        if let Some(number) = mailbox.number() {
            self.0.away.attached.remove(shard_of(&self.0.slots, twin), number);
            self.0.away.forget(number);
        }
    }

    /// The other node that leads a shard, if this one does not.
    pub(crate) fn elsewhere(&self, shard: u32) -> Option<u64> {
        match self.0.doors[shard as usize].leads() {
            true => None,
            false => self.0.away.leader(shard),
        }
    }

    pub(crate) fn away(&self) -> &Arc<Away> {
        &self.0.away
    }

    /// Attaches the connections of a shard that are not.
    fn attach_due(&self, shard: u32) {
        let due = self.0.away.attached.take_due(shard);
        if !due.is_empty() {
            self.attach_these(shard, due);
        }
    }

    fn attach_these(&self, shard: u32, mut connections: Vec<(u64, Connection)>) {
        let away = &self.0.away;
        match (self.actor(shard), away.leader(shard)) {
            (Ok(actor), _) => away.attach_here(shard, &actor, connections),
            (Err(_), None) => away.attached.lapse(shard),
            (Err(_), Some(node)) => {
                while !connections.is_empty() {
                    let rest = connections.split_off(connections.len().min(ATTACH_AT_ONCE));
                    let held = connections.iter().map(|(number, connection)| connection.held(*number));
                    away.attach_there(node, shard, held.collect());
                    connections = rest;
                }
            }
        }
    }

    fn say_goodbye(&self, goodbye: Goodbye) {
        let shard = shard_of(&self.0.slots, &goodbye.twin);
        match self.elsewhere(shard) {
            Some(node) => self.0.away.say_goodbye(node, shard, goodbye),
            None => {
                let Goodbye { twin, header, input } = goodbye;
                if let Ok(work) = self.work(std::time::Instant::now(), shard, twin, header, input) {
                    self.hand_over(shard, vec![work]);
                }
            }
        }
    }
}
