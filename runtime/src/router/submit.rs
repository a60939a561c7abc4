//! Inputs on their way to the shard that decides on them, here or on the node that leads it.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use twins::header::Header;
use twins::id::TwinId;
use twins::input::Input;

use crate::admission::NODES_FULL;
use crate::away::Goodbye;
use crate::error::Error;
use crate::mailbox::{Mail, Mailbox};
use crate::meter::What;
use crate::path::step;
use crate::shard::actor::Message;
use crate::shard::work::{Answer, Asker, Work};

use super::{Router, Submission};

/// Inputs for one shard.
struct Batch {
    shard: u32,
    /// The other node that leads it.
    node: Option<u64>,
    /// What is for that.
    sent: Vec<Submission>,
    inputs: Vec<Work>,
    refused: Option<Error>,
}

impl Router {
    /// Hands inputs of one connection to their shards, in order for each shard. Does not wait. Each is answered in the
    /// mailbox once: the first that finds no room, and all of its shard that follow it here, at once with an error, so
    /// that a session's inputs keep their order.
    ///
    /// After a [`Reply::Connected`](twins::reply::Reply::Connected) the mailbox gets what is meant for that connection.
    pub fn submit(&self, mailbox: &Arc<Mailbox>, inputs: Vec<Submission>) {
        let now = Instant::now();
        let mut batches: Vec<Batch> = Vec::new();
        for submission in inputs {
            let shard = self.route(&submission.twin, submission.header.trace);
            let index = batches.iter().position(|batch| batch.shard == shard);
            let index = index.unwrap_or_else(|| {
                let (node, sent, inputs, refused) = (self.elsewhere(shard), Vec::new(), Vec::new(), None);
                batches.push(Batch { shard, node, sent, inputs, refused });
                batches.len() - 1
            });
            let batch = &mut batches[index];
            match batch.node {
                Some(_) => batch.sent.push(submission),
                None => self.admit(now, mailbox, batch, submission),
            }
        }
        for Batch { shard, node, sent, inputs, .. } in batches {
            match node {
                Some(node) => self.submit_there(node, shard, mailbox, sent),
                None => self.hand_over(shard, inputs),
            }
        }
    }

    /// Hands inputs of a connection of another node to a shard of this one; all are refused where that is given.
    pub(crate) fn submit_here(
        &self,
        shard: u32,
        mailbox: &Arc<Mailbox>,
        inputs: Vec<Submission>,
        refused: Option<Error>,
    ) {
        let now = Instant::now();
        let mut batch = Batch { shard, node: None, sent: Vec::new(), inputs: Vec::new(), refused };
        inputs.into_iter().for_each(|submission| self.admit(now, mailbox, &mut batch, submission));
        self.hand_over(shard, batch.inputs);
    }

    fn admit(&self, now: Instant, mailbox: &Arc<Mailbox>, batch: &mut Batch, submission: Submission) {
        let Submission { token, twin, header, input } = submission;
        let shard = batch.shard;
        let answer = Answer::new(shard, Asker::Mailbox { mailbox: mailbox.clone(), token });
        let admitted = match &batch.refused {
            Some(error) => {
                self.0.doors[shard as usize].meter.turned_away(What::of(&input), error);
                Err(error.clone())
            }
            None => self.work(now, shard, twin, header, input),
        };
        match admitted {
            Ok(work) => batch.inputs.push(Work { answer, ..work }),
            Err(error) => {
                batch.refused = Some(error.clone());
                answer.give(Err(error));
            }
        }
    }

    /// Hands inputs to the node that leads their shard.
    fn submit_there(&self, node: u64, shard: u32, mailbox: &Arc<Mailbox>, inputs: Vec<Submission>) {
        let is_end = |submission: &Submission| matches!(submission.input, Input::Disconnect { .. });
        let is_stopping = self.0.stopping.load(Ordering::Relaxed);
        let refused = match (is_stopping, self.0.away.has_room(node, inputs.len())) {
            (true, _) => Some(Error::Stopping),
            (_, false) => Some(Error::Overloaded { shard, limit: NODES_FULL }),
            _ => None,
        };
        let Some(error) = refused else { return self.0.away.submit(node, shard, mailbox, inputs) };
        // The end of a connection is a fact, not a wish: it is never refused.
        let (ends, inputs): (Vec<_>, Vec<_>) = inputs.into_iter().partition(is_end);
        for submission in inputs {
            self.turned_away(shard, &submission, &error);
            mailbox.put([Mail::Reply { token: submission.token, outcome: Err(error.clone()) }]);
        }
        if !ends.is_empty() {
            self.0.away.submit(node, shard, mailbox, ends);
        }
    }

    /// Admits an input (step 5).
    pub(crate) fn work(
        &self,
        now: Instant,
        shard: u32,
        twin: TwinId,
        header: Header,
        input: Input,
    ) -> Result<Work, Error> {
        let _span = step!("5.admit" in header.trace, shard, %twin).entered();
        let door = &self.0.doors[shard as usize];
        let turned_away = |error| {
            door.meter.turned_away(What::of(&input), &error);
            error
        };
        if self.0.stopping.load(Ordering::Relaxed) && !matches!(input, Input::Disconnect { .. }) {
            return Err(turned_away(Error::Stopping));
        }
        // The end of a connection is a fact, not a wish: it is never refused.
        let permit = match input {
            Input::Disconnect { .. } => None,
            _ => {
                let admitted = door.admission.admit(input.bytes(), now);
                Some(admitted.map_err(|limit| turned_away(Error::Overloaded { shard, limit }))?)
            }
        };
        Ok(Work { twin, header, input, answer: Answer::new(shard, Asker::Nobody), permit })
    }

    pub(crate) fn hand_over(&self, shard: u32, inputs: Vec<Work>) {
        if inputs.is_empty() {
            return;
        }
        match self.actor(shard) {
            // An actor that stops before it gets to the message drops it; the answers in it say so.
            Ok(actor) => drop(actor.cast(Message::Take(inputs))),
            Err(error) => inputs.into_iter().for_each(|work| {
                self.0.doors[shard as usize].meter.turned_away(What::of(&work.input), &error);
                if self.0.away.is_used() && matches!(work.input, Input::Disconnect { .. }) {
                    let Work { twin, header, input, .. } = &work;
                    let (twin, header, input) = (twin.clone(), header.clone(), input.clone());
                    self.0.away.keep_goodbye(Goodbye { twin, header, input });
                }
                work.answer.give(Err(error.clone()));
            }),
        }
    }
}
