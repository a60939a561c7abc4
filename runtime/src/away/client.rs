//! The side that asks: what was said to other nodes and has no answer yet.
//!
//! Each is answered once: by the node that was asked; or with `Unknown`, when that node is lost or another one leads; or
//! with `Unwritten`, when it did not lead. Answers that come after that are nobody's.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Weak};

use tokio::sync::oneshot;
use twins::header::Header;
use twins::id::TwinId;
use twins::input::Input;
use twins::reply::Reply;

use crate::error::Error;
use crate::mailbox::{Mail, Mailbox};
use crate::router::Submission;

use super::{Answer, Away, Frame, NotSaid, Sent, lock};

/// How many inputs of connections wait for one node's answers.
pub(super) const INPUTS_MAX: usize = 16_384;
/// How many calls do.
pub(super) const CALLS_MAX: usize = 4_096;
/// About how many bytes of inputs go in one message.
const SUBMIT_BYTES: usize = 512 << 10;
/// About how many bytes an input has beside its content.
const ENVELOPE_BYTES: usize = 256;

/// What waits.
#[derive(Default)]
pub(super) struct Client {
    next: AtomicU64,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    connections: HashMap<u64, Connection>,
    /// By the connection's number and the token.
    inputs: BTreeMap<(u64, u64), Waiting>,
    calls: BTreeMap<u64, Call>,
    /// How many inputs and calls of each node wait.
    under_way: HashMap<u64, [usize; 2]>,
    /// By the twin and the epoch.
    goodbyes: BTreeMap<(TwinId, u64), Goodbye>,
}

/// A connection of this node's gateway.
struct Connection {
    mailbox: Weak<Mailbox>,
    /// The nodes that know of it.
    known_to: BTreeSet<u64>,
}

struct Waiting {
    node: u64,
    shard: u32,
    /// A session begins by it, of this twin.
    begins: Option<TwinId>,
    ends: Option<Box<Goodbye>>,
}

/// That a connection has ended: said until the twin has heard it.
#[derive(Debug, Clone)]
pub(crate) struct Goodbye {
    pub(crate) twin: TwinId,
    pub(crate) header: Header,
    pub(crate) input: Input,
}

struct Call {
    node: u64,
    shard: u32,
    asker: Asker,
}

enum Asker {
    Caller(oneshot::Sender<Result<Answer, Error>>),
    /// It is tried again when it fails.
    Attach,
    Goodbye(Box<Goodbye>),
}

/// A call that is forgotten on the other side when nobody waits for it any more.
struct Calling<'a> {
    away: &'a Away,
    node: u64,
    call: u64,
}

impl Drop for Calling<'_> {
    fn drop(&mut self) {
        if self.away.client.take_call(self.node, self.call).is_some() {
            drop(self.away.say(self.node, &Frame::Forget(self.call)));
        }
    }
}

impl Goodbye {
    fn key(&self) -> (TwinId, u64) {
        let epoch = if let Input::Disconnect { epoch, .. } = self.input { epoch } else { 0 };
        (self.twin.clone(), epoch)
    }

    /// That the connection of this epoch was cut off.
    pub(crate) fn cut_off(twin: TwinId, epoch: u64) -> Self {
        let work = crate::shard::work::Work::cut_off(twin, epoch);
        Self { twin: work.twin, header: work.header, input: work.input }
    }
}

impl Inner {
    fn count(&mut self, node: u64) -> &mut [usize; 2] {
        self.under_way.entry(node).or_default()
    }

    fn take_input(&mut self, key: (u64, u64)) -> Option<Waiting> {
        let waiting = self.inputs.remove(&key)?;
        self.count(waiting.node)[0] -= 1;
        Some(waiting)
    }

    fn take_call(&mut self, call: u64) -> Option<Call> {
        let taken = self.calls.remove(&call)?;
        self.count(taken.node)[1] -= 1;
        Some(taken)
    }

    fn mailbox(&self, connection: u64) -> Option<Arc<Mailbox>> {
        self.connections.get(&connection)?.mailbox.upgrade()
    }
}

impl Client {
    fn number(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed) + 1
    }

    fn take_call(&self, node: u64, call: u64) -> Option<Call> {
        let mut inner = lock(&self.inner);
        inner.calls.get(&call).filter(|waiting| waiting.node == node)?;
        inner.take_call(call)
    }
}

impl Away {
    /// What other nodes call a connection.
    pub(crate) fn number(&self, mailbox: &Arc<Mailbox>) -> u64 {
        let number = mailbox.number().unwrap_or_else(|| mailbox.call(self.client.number()));
        let connection = || Connection { mailbox: Arc::downgrade(mailbox), known_to: BTreeSet::new() };
        lock(&self.client.inner).connections.entry(number).or_insert_with(connection);
        number
    }

    /// A connection is no more.
    pub(crate) fn forget(&self, number: u64) {
        let Some(connection) = lock(&self.client.inner).connections.remove(&number) else { return };
        for node in connection.known_to {
            // Whoever does not hear it hears at the next loss that there is no such connection.
            drop(self.say(node, &Frame::Gone(number)));
        }
    }

    /// Submits inputs of one connection to the node that leads their shard.
    pub(crate) fn submit(&self, node: u64, shard: u32, mailbox: &Arc<Mailbox>, inputs: Vec<Submission>) {
        let number = self.number(mailbox);
        let mut refused = None;
        let mut batch = Vec::new();
        let mut bytes = 0;
        let tokens: Vec<u64> = inputs.iter().map(|input| input.token).collect();
        self.expect(node, shard, number, &inputs);
        let mut said = 0;
        for Submission { token, twin, header, input } in inputs {
            bytes += input.bytes() + ENVELOPE_BYTES;
            batch.push(Sent { token, twin, header, input });
            if bytes >= SUBMIT_BYTES {
                bytes = 0;
                let inputs = std::mem::take(&mut batch);
                let count = inputs.len();
                if let Err(why) = self.say(node, &Frame::Submit { shard, connection: number, inputs }) {
                    refused = Some(why);
                    break;
                }
                said += count;
            }
        }
        if refused.is_none() && !batch.is_empty() {
            let frame = Frame::Submit { shard, connection: number, inputs: batch };
            refused = self.say(node, &frame).err();
        }
        if let Some(why) = refused {
            self.refuse(node, shard, number, &tokens[said..], &why.of(shard));
        }
    }

    /// Inputs are about to be said.
    fn expect(&self, node: u64, shard: u32, number: u64, inputs: &[Submission]) {
        let mut inner = lock(&self.client.inner);
        if let Some(connection) = inner.connections.get_mut(&number) {
            connection.known_to.insert(node);
        }
        for Submission { token, twin, header, input } in inputs {
            let begins = matches!(input, Input::Connect { .. }).then(|| twin.clone());
            let ends = matches!(input, Input::Disconnect { .. }).then(|| {
                let (twin, header, input) = (twin.clone(), header.clone(), input.clone());
                Goodbye { twin, header, input }.into()
            });
            inner.inputs.insert((number, *token), Waiting { node, shard, begins, ends });
            inner.count(node)[0] += 1;
        }
    }

    /// Whether so many inputs more may be said to a node.
    pub(crate) fn has_room(&self, node: u64, inputs: usize) -> bool {
        let mut inner = lock(&self.client.inner);
        let count = inner.count(node)[0];
        count == 0 || count + inputs <= INPUTS_MAX
    }

    /// None of these inputs was taken, or nobody knows.
    fn refuse(&self, node: u64, shard: u32, number: u64, tokens: &[u64], error: &Error) {
        let mut inner = lock(&self.client.inner);
        let is_of = |waiting: &Waiting| waiting.node == node && waiting.shard == shard;
        let keys = tokens.iter().map(|token| (number, *token));
        let keys: Vec<_> = keys.filter(|key| inner.inputs.get(key).is_some_and(is_of)).collect();
        let letters = settle(&mut inner, keys, |_| error.clone());
        drop(inner);
        deliver(letters);
    }

    /// Asks a node.
    pub(crate) async fn call(
        &self,
        node: u64,
        shard: u32,
        frame: impl FnOnce(u64) -> Frame,
    ) -> Result<Answer, Error> {
        let (answer, wait) = oneshot::channel();
        let call = self.begin_call(node, shard, Asker::Caller(answer)).map_err(|why| why.of(shard))?;
        let calling = Calling { away: self, node, call };
        if let Err(why) = self.say(node, &frame(call)) {
            self.client.take_call(node, call);
            return Err(why.of(shard));
        }
        let answered = wait.await;
        drop(calling);
        let gone = || Error::Unknown { shard, why: "the node stopped before it was answered".into() };
        answered.unwrap_or_else(|_| Err(gone()))
    }

    /// Asks a node for what is tried again when it fails.
    fn call_until_done(&self, node: u64, shard: u32, asker: Asker, frame: impl FnOnce(u64) -> Frame) {
        let call = match self.begin_call(node, shard, asker) {
            Ok(call) => call,
            Err(_) => return,
        };
        if let Err(why) = self.say(node, &frame(call)) {
            self.answered(node, call, Err(why.of(shard)));
        }
    }

    fn begin_call(&self, node: u64, shard: u32, asker: Asker) -> Result<u64, NotSaid> {
        let call = self.client.number();
        let mut inner = lock(&self.client.inner);
        let is_caller = matches!(asker, Asker::Caller(_));
        let count = &mut inner.count(node)[1];
        // What the node asks by itself is little, and may not be forgotten.
        if is_caller && *count >= CALLS_MAX {
            return Err(NotSaid::Full);
        }
        *count += 1;
        inner.calls.insert(call, Call { node, shard, asker });
        Ok(call)
    }

    /// Attaches connections to a shard that another node leads.
    pub(crate) fn attach_there(&self, node: u64, shard: u32, connections: Vec<super::Held>) {
        let mut inner = lock(&self.client.inner);
        for held in &connections {
            if let Some(connection) = inner.connections.get_mut(&held.connection) {
                connection.known_to.insert(node);
            }
        }
        drop(inner);
        let frame = |call| Frame::Attach { call, shard, connections };
        self.call_until_done(node, shard, Asker::Attach, frame);
    }

    /// Says a goodbye to a node.
    pub(crate) fn say_goodbye(&self, node: u64, shard: u32, goodbye: Goodbye) {
        let Goodbye { twin, header, input } = goodbye.clone();
        let header = Box::new(header);
        let frame = |call| Frame::Ask { call, shard, twin, header, input };
        self.call_until_done(node, shard, Asker::Goodbye(goodbye.into()), frame);
    }

    /// A goodbye that nobody has heard.
    pub(crate) fn keep_goodbye(&self, goodbye: Goodbye) {
        lock(&self.client.inner).goodbyes.insert(goodbye.key(), goodbye);
    }

    pub(crate) fn take_goodbyes(&self) -> Vec<Goodbye> {
        std::mem::take(&mut lock(&self.client.inner).goodbyes).into_values().collect()
    }

    /// Mail of a shard for a connection. What its twin says counts while the node leads the shard.
    pub(super) fn mail(&self, from: u64, shard: u32, number: u64, mail: Vec<Mail>) {
        let is_newest = self.last_led(shard).is_none_or(|led| led == from);
        let mut inner = lock(&self.client.inner);
        let mut letter = Vec::with_capacity(mail.len());
        let mut begun = Vec::new();
        for mail in mail {
            match &mail {
                Mail::Reply { token, outcome } => {
                    let is_of = |waiting: &&Waiting| waiting.node == from;
                    if inner.inputs.get(&(number, *token)).filter(is_of).is_none() {
                        continue;
                    }
                    let Some(waiting) = inner.take_input((number, *token)) else { continue };
                    if let (Some(twin), Ok(Reply::Connected { epoch, .. })) = (waiting.begins, outcome) {
                        begun.push(Goodbye::cut_off(twin, *epoch));
                    }
                    letter.push(mail);
                }
                _ if is_newest => letter.push(mail),
                _ => {}
            }
        }
        let mailbox = inner.mailbox(number);
        drop(inner);
        let is_there = mailbox.is_some_and(|mailbox| mailbox.put(letter));
        if !is_there && !begun.is_empty() {
            // It began for a connection that is no more, which did not know its epoch.
            begun.into_iter().for_each(|goodbye| self.keep_goodbye(goodbye));
        }
    }

    /// The answer to a call.
    pub(super) fn answered(&self, from: u64, call: u64, answer: Result<Answer, Error>) {
        let Some(Call { shard, asker, .. }) = self.client.take_call(from, call) else { return };
        match (asker, answer) {
            // Whoever asked may have given up.
            (Asker::Caller(caller), answer) => drop(caller.send(answer)),
            (Asker::Attach, Ok(_)) => self.attached.again(shard),
            (Asker::Attach, Err(_)) => self.attached.lapse(shard),
            // A twin that refuses has no such connection.
            (Asker::Goodbye(_), Ok(_) | Err(Error::Rejected(_))) => {}
            (Asker::Goodbye(goodbye), Err(_)) => self.keep_goodbye(*goodbye),
        }
    }

    /// A node does not lead a shard: it took none of this.
    pub(super) fn elsewhere(
        &self,
        from: u64,
        shard: u32,
        leader: Option<u64>,
        connection: u64,
        tokens: &[u64],
        call: Option<u64>,
    ) {
        let why = match leader {
            Some(leader) => format!("node {leader} leads it, not node {from}"),
            None => format!("node {from} does not lead it"),
        };
        let error = Error::Unwritten { shard, why };
        self.refuse(from, shard, connection, tokens, &error);
        if let Some(call) = call {
            self.answered(from, call, Err(error));
        }
    }

    /// Another node leads a shard: what was said to the one before is answered by nobody else.
    pub(crate) fn client_led(&self, shard: u32, by: u64) {
        let why = format!("node {by} began to lead it before it was answered");
        self.give_up(|node, of| of == shard && node != by, &why);
    }

    /// A node is lost.
    pub(super) fn client_severed(&self, node: u64) {
        let why = format!("node {node} was lost before it answered");
        self.give_up(|of, _| of == node, &why);
    }

    fn give_up(&self, is_given_up: impl Fn(u64, u32) -> bool, why: &str) {
        let unknown = |shard: u32| Error::Unknown { shard, why: why.to_owned() };
        let mut inner = lock(&self.client.inner);
        let inputs = inner.inputs.iter().filter(|(_, waiting)| is_given_up(waiting.node, waiting.shard));
        let keys: Vec<_> = inputs.map(|(key, _)| *key).collect();
        let letters = settle(&mut inner, keys, unknown);
        let calls = inner.calls.iter().filter(|(_, call)| is_given_up(call.node, call.shard));
        let calls: Vec<_> = calls.map(|(number, call)| (call.node, *number, call.shard)).collect();
        drop(inner);
        deliver(letters);
        for (node, call, shard) in calls {
            self.answered(node, call, Err(unknown(shard)));
        }
    }
}

/// Errors for a connection.
type Letters = BTreeMap<u64, (Arc<Mailbox>, Vec<Mail>)>;

/// Answers inputs with errors, in the order of their tokens. Ends of connections are kept to be said again.
fn settle(inner: &mut Inner, keys: Vec<(u64, u64)>, error: impl Fn(u32) -> Error) -> Letters {
    let mut letters = Letters::new();
    for (number, token) in keys {
        let Some(waiting) = inner.take_input((number, token)) else { continue };
        inner.goodbyes.extend(waiting.ends.map(|goodbye| (goodbye.key(), *goodbye)));
        let outcome = Err(error(waiting.shard));
        if let Some(mailbox) = inner.mailbox(number) {
            let (_, mail) = letters.entry(number).or_insert_with(|| (mailbox, Vec::new()));
            mail.push(Mail::Reply { token, outcome });
        }
    }
    letters
}

fn deliver(letters: Letters) {
    for (mailbox, mail) in letters.into_values() {
        mailbox.put(mail);
    }
}
