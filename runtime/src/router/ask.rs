//! Questions to twins and devices, of whoever waits for the answer.
//!
//! Where there are other nodes, the one that leads a shard may change meanwhile: what was surely not taken is asked
//! again for a while, and so is what may have been, if it has its effect once all the same.

use std::collections::BTreeMap;
use std::future::Future;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;
use tokio::time;
use twins::body::Body;
use twins::header::{Header, Trace};
use twins::id::TwinId;
use twins::input::Input;
use twins::name::Name;
use twins::rejection::{Code, Rejection};
use twins::reply::Reply;

use crate::away::{Answer as Answered, Frame};
use crate::error::Error;
use crate::node::shard_of;
use crate::shard::actor::Message;
use crate::shard::requests::Asked;
use crate::shard::work::{Answer, Asker, Work};

use super::{Response, Router};

/// How long something is asked again.
const PATIENCE: Duration = Duration::from_secs(5);
/// The first pause before that, and the longest.
const PAUSE: (Duration, Duration) = (Duration::from_millis(10), Duration::from_millis(160));

impl Router {
    /// Says something to a twin and waits for the answer.
    ///
    /// # Errors
    /// A refusal, or that it could not be said.
    pub async fn ask(&self, twin: TwinId, header: Header, input: Input) -> Result<Reply, Error> {
        let shard = self.route(&twin, header.trace);
        if !self.0.away.is_used() {
            return self.ask_here(shard, twin, header, input).await;
        }
        let has_its_effect_once = matches!(input, Input::Read | Input::Disconnect { .. })
            || header.mark.is_some()
            || header.mid.is_some()
            || header.idempotency.is_some();
        let attempt = || async {
            let (twin, header, input) = (twin.clone(), header.clone(), input.clone());
            let Some(node) = self.elsewhere(shard) else {
                return self.ask_here(shard, twin, header, input).await;
            };
            let header = Box::new(header);
            let frame = |call| Frame::Ask { call, shard, twin, header, input };
            match self.0.away.call(node, shard, frame).await? {
                Answered::Reply(reply) => Ok(reply),
                other => Err(strange(shard, &other)),
            }
        };
        patiently(has_its_effect_once, attempt).await
    }

    async fn ask_here(&self, shard: u32, twin: TwinId, header: Header, input: Input) -> Result<Reply, Error> {
        let (answer, wait) = oneshot::channel();
        let work = self.work(Instant::now(), shard, twin, header, input)?;
        self.hand_over(shard, vec![Work { answer: Answer::new(shard, Asker::Once(answer)), ..work }]);
        let gone = || Error::Unknown { shard, why: "the shard stopped before it answered".into() };
        wait.await.map_err(|_| gone())?
    }

    /// Asks the device itself, over the newest connection that listens to requests.
    ///
    /// # Errors
    /// `unknown-twin`, or `not-connected` also at once when the connection ends first; `timeout`; `too-many` past
    /// [`REQUESTS_MAX`](super::REQUESTS_MAX).
    pub async fn request(
        &self,
        twin: TwinId,
        name: Name,
        payload: Body,
        trace: Option<Trace>,
        timeout: Duration,
    ) -> Result<Response, Error> {
        let shard = self.route(&twin, trace);
        let asking = async {
            if !self.0.away.is_used() {
                return self.request_once(shard, twin.clone(), name, payload, trace).await;
            }
            let attempt = || async {
                let (twin, name, payload) = (twin.clone(), name.clone(), payload.clone());
                let Some(node) = self.elsewhere(shard) else {
                    return self.request_once(shard, twin, name, payload, trace).await;
                };
                let frame = |call| Frame::Request { call, shard, twin, name, payload, trace };
                match self.0.away.call(node, shard, frame).await? {
                    Answered::Response(response) => Ok(response),
                    other => Err(strange(shard, &other)),
                }
            };
            patiently(false, attempt).await
        };
        match time::timeout(timeout, asking).await {
            Ok(answered) => answered,
            Err(_) => {
                let late = format!("`{}` did not answer within {} s", twin.id(), timeout.as_secs());
                Err(Rejection::new(Code::Timeout, late).into())
            }
        }
    }

    /// Asks a device by a shard of this node. Dropped, it is forgotten there.
    pub(crate) async fn request_once(
        &self,
        shard: u32,
        twin: TwinId,
        name: Name,
        payload: Body,
        trace: Option<Trace>,
    ) -> Result<Response, Error> {
        let actor = self.actor(shard)?;
        let id = Name::new("a request's id", &uuid::Uuid::now_v7().to_string())?;
        let (answer, wait) = oneshot::channel();
        let forgotten = Forgotten { actor: &actor, asked: Some((twin.clone(), id.clone())) };
        let asked = Asked { twin, id, name, payload, trace, answer };
        let gone = || Error::Unknown { shard, why: "the shard stopped before the device answered".into() };
        actor.cast(Message::Ask(Box::new(asked))).map_err(|_| gone())?;
        let answered = wait.await.map_err(|_| gone())?;
        forgotten.keep();
        answered
    }

    /// The device of `twin` answers the request `id`. Returns whether anybody still waited: `false` is too late.
    pub async fn respond(&self, twin: &TwinId, id: &Name, response: Response) -> bool {
        let shard = shard_of(&self.0.slots, twin);
        let Some(node) = self.elsewhere(shard) else {
            return self.respond_here(shard, twin, id, response).await;
        };
        let (twin, id) = (twin.clone(), id.clone());
        let frame = |call| Frame::Respond { call, shard, twin, id, response };
        matches!(self.0.away.call(node, shard, frame).await, Ok(Answered::Heard(true)))
    }

    pub(crate) async fn respond_here(
        &self,
        shard: u32,
        twin: &TwinId,
        id: &Name,
        response: Response,
    ) -> bool {
        let Ok(actor) = self.actor(shard) else { return false };
        let (waited, wait) = oneshot::channel();
        let message = Message::Respond { twin: twin.clone(), id: id.clone(), response, waited };
        actor.cast(message).is_ok() && wait.await.unwrap_or(false)
    }

    /// The ids of a tenant's twins after `after`, in order; at most `limit`.
    ///
    /// # Errors
    /// When a shard cannot be asked.
    pub async fn list(
        &self,
        tenant: &str,
        after: Option<&TwinId>,
        limit: usize,
    ) -> Result<Vec<TwinId>, Error> {
        let all: Vec<u32> = (0..self.shards()).collect();
        if !self.0.away.is_used() {
            return self.list_here(&all, tenant, after, limit).await;
        }
        patiently(true, || self.list_everywhere(&all, tenant, after, limit)).await
    }

    /// Asks each node that leads some of the shards once, all at the same time.
    async fn list_everywhere(
        &self,
        all: &[u32],
        tenant: &str,
        after: Option<&TwinId>,
        limit: usize,
    ) -> Result<Vec<TwinId>, Error> {
        let mut of_nodes: BTreeMap<Option<u64>, Vec<u32>> = BTreeMap::new();
        for shard in all {
            of_nodes.entry(self.elsewhere(*shard)).or_default().push(*shard);
        }
        let mut asked = tokio::task::JoinSet::new();
        for (node, shards) in of_nodes {
            let (router, tenant, after) = (self.clone(), tenant.to_owned(), after.cloned());
            asked.spawn(async move {
                let Some(node) = node else {
                    return router.list_here(&shards, &tenant, after.as_ref(), limit).await;
                };
                let first = shards.first().copied().unwrap_or(0);
                let limit = u32::try_from(limit).unwrap_or(u32::MAX);
                let frame = |call| Frame::List { call, shards, tenant, after, limit };
                match router.0.away.call(node, first, frame).await? {
                    Answered::Listed(ids) => Ok(ids),
                    other => Err(strange(first, &other)),
                }
            });
        }
        let mut ids = Vec::new();
        while let Some(listed) = asked.join_next().await {
            ids.extend(listed.map_err(|_| Error::Stopping)??);
        }
        ids.sort_unstable();
        ids.truncate(limit);
        Ok(ids)
    }

    /// Lists shards that this node leads.
    pub(crate) async fn list_here(
        &self,
        shards: &[u32],
        tenant: &str,
        after: Option<&TwinId>,
        limit: usize,
    ) -> Result<Vec<TwinId>, Error> {
        let mut waits = Vec::new();
        for shard in shards {
            let (answer, wait) = oneshot::channel();
            let (tenant, after) = (tenant.to_owned(), after.cloned());
            drop(self.actor(*shard)?.cast(Message::List { tenant, after, limit, answer }));
            waits.push((*shard, wait));
        }
        let mut ids = Vec::new();
        for (shard, wait) in waits {
            let gone = || Error::Unwritten { shard, why: "the shard stopped".into() };
            ids.extend(wait.await.map_err(|_| gone())??);
        }
        ids.sort_unstable();
        ids.truncate(limit);
        Ok(ids)
    }
}

/// Has a shard forget a question that nobody waits for any more.
struct Forgotten<'a> {
    actor: &'a ractor::ActorRef<Message>,
    asked: Option<(TwinId, Name)>,
}

impl Forgotten<'_> {
    /// It was answered.
    fn keep(mut self) {
        self.asked = None;
    }
}

impl Drop for Forgotten<'_> {
    fn drop(&mut self) {
        if let Some((twin, id)) = self.asked.take() {
            drop(self.actor.cast(Message::Forget { twin, id }));
        }
    }
}

/// Tries again for a while what was surely not taken; and what may have been, if that does no harm.
pub(crate) async fn patiently<T, F: Future<Output = Result<T, Error>>>(
    does_no_harm: bool,
    attempt: impl Fn() -> F,
) -> Result<T, Error> {
    let end = time::Instant::now() + PATIENCE;
    let mut pause = PAUSE.0;
    loop {
        let tried = attempt().await;
        let is_to_be_tried = match &tried {
            Err(Error::Unwritten { .. }) => true,
            Err(Error::Unknown { .. }) => does_no_harm,
            _ => false,
        };
        if !is_to_be_tried || time::Instant::now() + pause >= end {
            return tried;
        }
        time::sleep(pause).await;
        pause = (pause * 2).min(PAUSE.1);
    }
}

/// Another node answered a question with what is no answer to it.
pub(crate) fn strange(shard: u32, answer: &Answered) -> Error {
    let kind = match answer {
        Answered::Reply(_) => "a reply",
        Answered::Response(_) => "a response",
        Answered::Heard(_) => "whether it was heard",
        Answered::Found(_) => "a twin",
        Answered::Listed(_) => "a list",
        Answered::Attached => "that it is attached",
        Answered::Meta(_) => "what all nodes know",
    };
    Error::Unknown { shard, why: format!("another node answered with {kind}, which was not asked") }
}
