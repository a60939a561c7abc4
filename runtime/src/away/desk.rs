//! The side that is asked: what other nodes say to shards that this one leads.
//!
//! What is admitted is the shard's to say, as for this node's own connections; beside that, what one node may have
//! unanswered here is bounded. A connection of another node has a mailbox here while that node is heard of, so that
//! shards treat it as one of this node's.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::oneshot;
use tokio::task::AbortHandle;
use twins::id::TwinId;

use crate::admission::NODES_FULL;
use crate::error::Error;
use crate::mailbox::{Mail, Mailbox};
use crate::meter::What;
use crate::node::shard_of;
use crate::router::{Router, Submission};
use crate::shard::actor::Message;
use crate::shard::attach::{Attaching, Attending};
use crate::shard::work::{self, Asker, Work};

use super::client::{CALLS_MAX, INPUTS_MAX};
use super::proxy::{Caller, Load, Way};
use super::{Answer, Away, Frame, Held, Malformed, Sent, lock};

/// A node that was silent for so long has no connections any more.
const SILENCE_MAX: Duration = Duration::from_secs(3);
/// A connection whose node was lost for a moment is to be attached again within this.
const RETURN_WITHIN: Duration = Duration::from_secs(5);
/// How many connections one node may have at shards that this node leads.
const CONNECTIONS_MAX: usize = 2_000_000;
/// How many ids one list may have.
const IDS_MAX: u32 = 8_192;

/// All that other nodes have here.
#[derive(Default)]
pub(super) struct Desk {
    nodes: Mutex<HashMap<u64, Served>>,
    /// Mailboxes of connections whose nodes were lost, and when.
    lost: Mutex<Vec<(Instant, Arc<Mailbox>)>>,
}

/// What one node has here.
#[derive(Default)]
struct Served {
    generation: u64,
    /// By the connection's number and the shard.
    mailboxes: BTreeMap<(u64, u32), Arc<Mailbox>>,
    /// What waits beside the shards.
    calls: HashMap<u64, AbortHandle>,
    load: Arc<Load>,
}

impl Away {
    /// The mailbox of a connection of another node.
    fn relayed(
        self: &Arc<Self>,
        from: (u64, u64),
        shard: u32,
        connection: u64,
    ) -> Option<(Arc<Mailbox>, Arc<Load>)> {
        let mut nodes = lock(&self.desk.nodes);
        let served = nodes.entry(from.0).or_default();
        served.generation = from.1;
        let load = served.load.clone();
        if let Some(mailbox) = served.mailboxes.get(&(connection, shard)) {
            return Some((mailbox.clone(), load));
        }
        if served.mailboxes.len() >= CONNECTIONS_MAX {
            return None;
        }
        let (away, to) = (Arc::downgrade(self), from.0);
        let way = Way { away, to, shard, connection, load: load.clone() };
        let mailbox = Arc::new(Mailbox::relayed(Box::new(way)));
        served.mailboxes.insert((connection, shard), mailbox.clone());
        Some((mailbox, load))
    }

    /// A call of another node, if it may have one more.
    fn caller(self: &Arc<Self>, from: (u64, u64), call: u64) -> Result<Caller, Caller> {
        let load = lock(&self.desk.nodes).entry(from.0).or_default().load.clone();
        let is_full = load.calls.fetch_add(1, Ordering::Relaxed) >= CALLS_MAX;
        let caller = Caller { away: Arc::downgrade(self), to: from.0, call, load };
        if is_full { Err(caller) } else { Ok(caller) }
    }

    /// A connection of another node is no more.
    fn gone(&self, node: u64, connection: u64) {
        let mut nodes = lock(&self.desk.nodes);
        let Some(served) = nodes.get_mut(&node) else { return };
        let of = served.mailboxes.range((connection, 0)..=(connection, u32::MAX));
        let keys: Vec<_> = of.map(|(key, _)| *key).collect();
        let closed: Vec<_> = keys.iter().filter_map(|key| served.mailboxes.remove(key)).collect();
        drop(nodes);
        // Nobody takes what is in it: it is the other node's.
        closed.iter().for_each(|mailbox| drop(mailbox.close()));
    }

    fn forget_call(&self, node: u64, call: u64) {
        let handle = lock(&self.desk.nodes).get_mut(&node).and_then(|served| served.calls.remove(&call));
        if let Some(handle) = handle {
            handle.abort();
        }
    }

    /// A node was lost: its connections have to be attached anew, its calls are nobody's.
    pub(super) fn desk_severed(&self, node: u64) {
        let Some(served) = lock(&self.desk.nodes).remove(&node) else { return };
        served.load.sever();
        served.calls.into_values().for_each(|call| call.abort());
        let now = Instant::now();
        let lost = served.mailboxes.into_values().map(|mailbox| (now, mailbox));
        lock(&self.desk.lost).extend(lost);
    }

    /// Whether connections of lost nodes were closed that did not come back in time.
    pub(crate) fn close_lost(&self) -> bool {
        let over: Vec<_> = {
            let mut lost = lock(&self.desk.lost);
            // Those are first that were lost first.
            let is_over = |(at, _): &(Instant, _)| at.elapsed() >= RETURN_WITHIN;
            let count = lost.iter().take_while(|lost| is_over(lost)).count();
            lost.drain(..count).collect()
        };
        over.iter().for_each(|(_, mailbox)| drop(mailbox.close()));
        !over.is_empty()
    }

    /// Ends the connections of nodes that are of a later generation now, or silent for too long.
    pub(crate) fn end_silent(&self, seen: &BTreeMap<u64, (u64, Duration)>) {
        let nodes: Vec<_> =
            lock(&self.desk.nodes).iter().map(|(node, served)| (*node, served.generation)).collect();
        for (node, generation) in nodes {
            let is_over = |(now, silent): &(u64, Duration)| *now > generation || *silent >= SILENCE_MAX;
            if generation > 0 && seen.get(&node).is_some_and(is_over) {
                self.lost(node);
            }
        }
    }
}

impl Router {
    /// A frame of another node has come, from which generation of it. Those of one node come in order, one at a time.
    ///
    /// # Errors
    /// When the other side does not keep to the form. Whatever carries frames should close the way and say so: what was
    /// under way is then [`lost`](Router::lost).
    pub fn arrived(&self, from: (u64, u64), frame: Bytes) -> Result<(), Malformed> {
        match self.away().hear(from, &frame)? {
            Some(frame) => self.take_in(from, frame),
            None => Ok(()),
        }
    }

    fn take_in(&self, from: (u64, u64), frame: Frame) -> Result<(), Malformed> {
        let (away, node) = (self.away(), from.0);
        match frame {
            Frame::Beat => {}
            Frame::Mail { shard, connection, mail } => away.mail(node, shard, connection, mail),
            Frame::Answer { call, answer } => away.answered(node, call, answer),
            Frame::Elsewhere { shard, leader, connection, tokens, call } => {
                away.elsewhere(node, shard, leader, connection, &tokens, call);
            }
            Frame::Gone(connection) => away.gone(node, connection),
            Frame::Forget(call) => away.forget_call(node, call),
            Frame::Parcels { from, to, first, parcels } => {
                self.shard_named(to)?;
                // They come again to whoever leads then.
                if let Ok(actor) = self.actor(to) {
                    drop(actor.cast(Message::Parcels { from, first, parcels }));
                }
            }
            Frame::Acknowledged { by, to, n } => {
                self.shard_named(to)?;
                if let Ok(actor) = self.actor(to) {
                    drop(actor.cast(Message::Acknowledged { by, n }));
                }
            }
            Frame::Submit { shard, connection, inputs } => {
                self.shard_named(shard)?;
                self.submitted(from, shard, connection, inputs)?;
            }
            Frame::Ask { .. }
            | Frame::Attach { .. }
            | Frame::Request { .. }
            | Frame::Respond { .. }
            | Frame::Look { .. }
            | Frame::List { .. }
            | Frame::Meta { .. } => self.called(from, frame)?,
        }
        Ok(())
    }

    /// A shard that another node names has to be one.
    fn shard_named(&self, shard: u32) -> Result<(), Malformed> {
        match shard < self.shards() {
            true => Ok(()),
            false => Err(Malformed::Body(format!("there is no shard {shard}"))),
        }
    }

    /// A twin that another node names has to be one of the shard's.
    fn twin_named(&self, shard: u32, twin: &TwinId) -> Result<(), Malformed> {
        match shard_of(&self.inner().slots, twin) == shard {
            true => Ok(()),
            false => Err(Malformed::Body(format!("`{twin}` is not of shard {shard}"))),
        }
    }

    /// Takes inputs of a connection of another node, as [`Router::submit`] takes those of this node's.
    fn submitted(
        &self,
        from: (u64, u64),
        shard: u32,
        connection: u64,
        inputs: Vec<Sent>,
    ) -> Result<(), Malformed> {
        inputs.iter().try_for_each(|sent| self.twin_named(shard, &sent.twin))?;
        let away = self.away();
        if self.actor(shard).is_err() {
            let tokens = inputs.iter().map(|sent| sent.token).collect();
            let leader = away.leader(shard);
            self.back(from.0, &Frame::Elsewhere { shard, leader, connection, tokens, call: None });
            return Ok(());
        }
        let full = || Error::Overloaded { shard, limit: NODES_FULL };
        let Some((mailbox, load)) = away.relayed(from, shard, connection) else {
            let answered = inputs.iter().map(|sent| Mail::Reply { token: sent.token, outcome: Err(full()) });
            self.back(from.0, &Frame::Mail { shard, connection, mail: answered.collect() });
            return Ok(());
        };
        let before = load.inputs.fetch_add(inputs.len(), Ordering::Relaxed);
        let inputs = inputs.into_iter().map(|Sent { token, twin, header, input }| {
            self.route(&twin, header.trace);
            Submission { token, twin, header, input }
        });
        let refused = (before > 0 && before + inputs.len() > INPUTS_MAX).then(full);
        self.submit_here(shard, &mailbox, inputs.collect(), refused);
        Ok(())
    }

    /// Answers another node; what is not reached hears of it by the loss.
    fn back(&self, to: u64, frame: &Frame) {
        if self.away().say(to, frame).is_err() {
            self.away().lost(to);
        }
    }

    /// Answers a call of another node.
    fn called(&self, from: (u64, u64), frame: Frame) -> Result<(), Malformed> {
        let away = self.away().clone();
        let call = frame.call().unwrap_or_default();
        let caller = match away.caller(from, call) {
            Ok(caller) => caller,
            Err(caller) => {
                caller.answer(Err(Error::Overloaded { shard: 0, limit: NODES_FULL }));
                return Ok(());
            }
        };
        let shard = match &frame {
            Frame::Ask { shard, twin, .. }
            | Frame::Request { shard, twin, .. }
            | Frame::Respond { shard, twin, .. }
            | Frame::Look { shard, twin, .. } => {
                self.shard_named(*shard)?;
                self.twin_named(*shard, twin)?;
                Some(*shard)
            }
            Frame::Attach { shard, .. } => {
                self.shard_named(*shard)?;
                Some(*shard)
            }
            Frame::List { shards, .. } => {
                shards.iter().try_for_each(|shard| self.shard_named(*shard))?;
                None
            }
            _ => None,
        };
        if let Some(shard) = shard.filter(|shard| self.actor(*shard).is_err()) {
            let (leader, connection, tokens) = (away.leader(shard), 0, Vec::new());
            self.back(from.0, &Frame::Elsewhere { shard, leader, connection, tokens, call: Some(call) });
            return Ok(());
        }
        match frame {
            Frame::Ask { shard, twin, header, input, .. } => {
                let answer = work::Answer::new(shard, Asker::Away(caller));
                match self.work(Instant::now(), shard, twin, *header, input) {
                    Ok(work) => self.hand_over(shard, vec![Work { answer, ..work }]),
                    Err(error) => answer.give(Err(error)),
                }
            }
            Frame::Attach { shard, connections, .. } => self.attach_of(from, shard, connections, caller)?,
            slow => self.answer_slowly(from.0, caller, slow),
        }
        Ok(())
    }

    /// Connections of another node are attached to a shard of this one.
    fn attach_of(
        &self,
        from: (u64, u64),
        shard: u32,
        connections: Vec<Held>,
        caller: Caller,
    ) -> Result<(), Malformed> {
        let attending = Attending::new(connections.len(), move |is_done: bool| {
            let why = "the shard did not lead any more".to_owned();
            caller.answer(if is_done { Ok(Answer::Attached) } else { Err(Error::Unwritten { shard, why }) });
        });
        let mut all = Vec::with_capacity(connections.len());
        for Held { connection, twin, epoch } in connections {
            self.twin_named(shard, &twin)?;
            if let Some((mailbox, _)) = self.away().relayed(from, shard, connection) {
                all.push(Attaching { twin, epoch, from, mailbox, attending: attending.clone() });
            }
        }
        if let Ok(actor) = self.actor(shard) {
            drop(actor.cast(Message::Attach(all)));
        }
        Ok(())
    }

    /// Answers what waits for something beside the shard's log.
    fn answer_slowly(&self, node: u64, caller: Caller, frame: Frame) {
        let (router, call) = (self.clone(), caller.call);
        let (begin, begun) = oneshot::channel::<()>();
        let task = tokio::spawn(async move {
            // Not before it can be forgotten.
            if begun.await.is_err() {
                return;
            }
            let answer = router.answer_to(frame).await;
            caller.answer(answer);
            if let Some(served) = lock(&router.away().desk.nodes).get_mut(&node) {
                served.calls.remove(&call);
            }
        });
        let mut nodes = lock(&self.away().desk.nodes);
        nodes.entry(node).or_default().calls.insert(call, task.abort_handle());
        drop(nodes);
        // It waits for this alone.
        let _begun = begin.send(());
    }

    async fn answer_to(&self, frame: Frame) -> Result<Answer, Error> {
        match frame {
            Frame::Request { shard, twin, name, payload, trace, .. } => {
                self.request_once(shard, twin, name, payload, trace).await.map(Answer::Response)
            }
            Frame::Respond { shard, twin, id, response, .. } => {
                Ok(Answer::Heard(self.respond_here(shard, &twin, &id, response).await))
            }
            Frame::Look { shard, twin, .. } => self.look_here(shard, &twin).await.map(Answer::Found),
            Frame::List { shards, tenant, after, limit, .. } => {
                let limit = limit.min(IDS_MAX) as usize;
                let ids = self.list_here(&shards, &tenant, after.as_ref(), limit).await?;
                Ok(Answer::Listed(ids))
            }
            Frame::Meta { body, .. } => match self.away().answers.get() {
                Some(answers) => answers.answer(body).await.map(Answer::Meta),
                None => Err(Error::Unwritten { shard: 0, why: "the node does not answer that yet".into() }),
            },
            _ => Err(Error::Unwritten { shard: 0, why: "it is no question".into() }),
        }
    }

    /// Turns away what a shard has no room for; what it is counts.
    pub(crate) fn turned_away(&self, shard: u32, submission: &Submission, error: &Error) {
        self.inner().doors[shard as usize].meter.turned_away(What::of(&submission.input), error);
    }
}
