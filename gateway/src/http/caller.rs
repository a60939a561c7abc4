//! Who calls, and the only way on from there: no handler reaches a twin but through a [`Caller`].
//!
//! The tenant comes from the credentials, never from the path, so that what belongs to another tenant has no name here.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix_web::dev::Payload;
use actix_web::http::header::{AUTHORIZATION, CONTENT_LENGTH, TRANSFER_ENCODING};
use actix_web::{FromRequest, HttpRequest};
use bytes::Bytes;
use futures_util::future::{Ready, ready};
use runtime::access::{Denied, Identity, Verb};
use runtime::directory::{Definitions, Directory, Listener, Reach};
use runtime::follower::Follower;
use runtime::path::step;
use runtime::router::{Response, Router};
use runtime::stream::{self, Selection};
use tokio::sync::mpsc;
use tracing::Instrument;
use twins::body::Body;
use twins::header::{Header, Trace, Transport};
use twins::id::{DEFAULT_TENANT, TwinId};
use twins::input::Input;
use twins::kind::Kinds;
use twins::name::Name;
use twins::rejection::{Code, Rejection};
use twins::reply::Reply;
use twins::time::Timestamp;
use twins::twin::Twin;

use crate::metrics::{Metrics, Protocol};
use crate::quotas::{Quotas, Seat};
use crate::trace;

use super::body::Allowance;
use super::governed::Governed;
use super::once::{self, Repeatable};
use super::problem::Problem;
use super::readable;

/// An authenticated caller.
pub(super) struct Caller {
    router: Router,
    identity: Identity,
    trace: Option<Trace>,
    repeatable: Option<Repeatable>,
    metrics: Option<Metrics>,
    definitions: Option<Arc<dyn Definitions>>,
    quotas: Option<Quotas>,
}

impl FromRequest for Caller {
    type Error = Problem;
    type Future = Ready<Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(Self::of(request))
    }
}

impl Caller {
    fn of(request: &HttpRequest) -> Result<Self, Problem> {
        let header = |name| request.headers().get(name).and_then(|value| value.to_str().ok());
        let router =
            request.app_data::<Router>().ok_or_else(|| Problem::internal("the API has no router"))?;
        let token = header(AUTHORIZATION.as_str()).and_then(bearer);
        let identity = router.access().bearer(token);
        let metrics = request.app_data::<Metrics>().cloned();
        let identity = identity.map_err(|denied| count(metrics.as_ref(), denied))?;
        spend(request, &identity).map_err(|denied| count(metrics.as_ref(), denied))?;
        let trace = header(trace::TRACEPARENT).and_then(trace::parse);
        let repeatable = Repeatable::of(request)?;
        let definitions = request.app_data::<Arc<dyn Definitions>>().cloned();
        let (router, quotas) = (router.clone(), request.app_data::<Quotas>().cloned());
        Ok(Self { router, identity, trace, repeatable, metrics, definitions, quotas })
    }

    /// The twin `id` of the caller's tenant, if the caller may do this to that part of it; an empty path is the twin
    /// itself. Whether it exists is not asked.
    pub(super) fn may(&self, verb: Verb, id: &str, path: &str) -> Result<Allowed<'_>, Problem> {
        let id = self.twin(id)?;
        self.allowed(self.router.access().authorize(&self.identity, verb, &id, path))?;
        Ok(Allowed { caller: self, id })
    }

    /// The same for all of these parts with everything below them. Where there are none, for any part of it.
    pub(super) fn may_whole(&self, verb: Verb, id: &str, paths: &[String]) -> Result<Allowed<'_>, Problem> {
        let id = self.twin(id)?;
        let reach = self.router.access().reach(&self.identity, verb, &id);
        if let Some(path) = paths.iter().find(|path| !reach.may_whole(path)) {
            self.allowed(self.router.access().authorize(&self.identity, verb, &id, path))?;
            let (verb, id) = (verb.as_str(), id.id());
            let why = format!("you may {verb} `{path}` of `{id}`, but not all that is below it");
            self.allowed(Err(Denied::Forbidden(why)))?;
        }
        if paths.is_empty() && !reach.may_some("") {
            self.allowed(self.router.access().authorize(&self.identity, verb, &id, ""))?;
        }
        Ok(Allowed { caller: self, id })
    }

    fn twin(&self, id: &str) -> Result<TwinId, Problem> {
        let id = TwinId::new(self.tenant(), id).map_err(|error| Problem::parameter(error.to_string()))?;
        match &self.identity {
            // To a device, all others are as if they were not.
            Identity::Device { twin, .. } if *twin != id => {
                Err(Rejection::new(Code::UnknownTwin, format!("no twin `{}`", id.id())).into())
            }
            _ => Ok(id),
        }
    }

    fn allowed<T>(&self, allowed: Result<T, Denied>) -> Result<T, Denied> {
        allowed.map_err(|denied| count(self.metrics.as_ref(), denied))
    }

    /// Whose twins the caller speaks of.
    pub(super) fn tenant(&self) -> &str {
        self.identity.tenant()
    }

    /// Who calls.
    pub(super) fn identity(&self) -> &Identity {
        &self.identity
    }

    /// Whether the caller would still be let in.
    pub(super) fn confirm(&self) -> Result<(), Denied> {
        self.allowed(self.router.access().confirm(&self.identity))
    }

    /// A place among the streams of events of the caller's tenant.
    pub(super) fn stream(&self) -> Result<Seat, Problem> {
        let quotas = self.quotas.as_ref().ok_or_else(|| Problem::internal("the API has no quotas"))?;
        Ok(self.allowed(quotas.stream(self.tenant()))?)
    }

    /// Turns when what the caller may could be something else.
    pub(super) fn changes(&self) -> Option<Listener> {
        self.router.access().changes()
    }

    /// The directory, for what needs no right but to be let in: what the caller is and may.
    pub(super) fn directory(&self) -> Result<Arc<Directory>, Problem> {
        self.confirm()?;
        Ok(self.definitions()?.current())
    }

    /// The definitions of the caller's tenant, if the caller may do this to them.
    pub(super) fn govern(&self, verb: Verb) -> Result<Governed<'_>, Problem> {
        self.allowed(self.router.access().govern(&self.identity, verb))?;
        Ok(Governed::by(self, self.definitions()?.clone()))
    }

    /// Whether the caller may do this to the definitions of their tenant, where that decides what they are shown.
    pub(super) fn governs(&self, verb: Verb) -> bool {
        self.router.access().govern(&self.identity, verb).is_ok()
    }

    /// Whether the caller operates the node, where that decides what they are shown.
    pub(super) fn operates(&self) -> bool {
        self.router.access().operate(&self.identity).is_ok()
    }

    /// Lets the caller see how the node is: whoever reads in the default tenant, since its figures are of all.
    pub(super) fn observe(&self) -> Result<(), Problem> {
        if self.tenant() != DEFAULT_TENANT {
            let why = format!("the figures of the node are for the tenant `{DEFAULT_TENANT}`");
            self.allowed(Err(Denied::Forbidden(why)))?;
        }
        Ok(self.allowed(self.router.access().govern(&self.identity, Verb::Read))?)
    }

    /// The definitions of all tenants, if the caller operates the node.
    pub(super) fn operate(&self) -> Result<Governed<'_>, Problem> {
        self.allowed(self.router.access().operate(&self.identity))?;
        Ok(Governed::by(self, self.definitions()?.clone()))
    }

    /// The definitions, for a change that concerns nobody but the caller, or for a note of what the caller may do otherwise.
    pub(super) fn govern_self(&self) -> Result<Governed<'_>, Problem> {
        self.confirm()?;
        Ok(Governed::by(self, self.definitions()?.clone()))
    }

    fn definitions(&self) -> Result<&Arc<dyn Definitions>, Problem> {
        self.definitions.as_ref().ok_or_else(|| Problem::internal("the API has no directory"))
    }

    /// The ids of the tenant's twins after `after`, in order; at most `limit`. Each is to be asked for with
    /// [`may`](Self::may) before anything of it is shown.
    pub(super) async fn ids(&self, after: Option<&TwinId>, limit: usize) -> Result<Vec<TwinId>, Problem> {
        Ok(self.router.list(self.tenant(), after, limit).await?)
    }

    /// Whether a tenant has devices, of whichever tenant the caller is: for who operates the node.
    pub(super) async fn has_devices(&self, tenant: &str) -> Result<bool, Problem> {
        self.allowed(self.router.access().operate(&self.identity))?;
        Ok(!self.router.list(tenant, None, 1).await?.is_empty())
    }

    /// Reads the tenant's history. Records of twins that the caller may not read are left out.
    pub(super) async fn history(&self, selection: Selection) -> Result<stream::Page, Problem> {
        let mut page = self.router.read(selection).await?;
        self.keep_readable(&mut page);
        Ok(page)
    }

    /// Reads the tenant's history, and goes on as it grows. What is read is to be passed through
    /// [`keep_readable`](Self::keep_readable).
    pub(super) fn follow(&self, selection: Selection) -> Follower {
        self.router.follow(selection)
    }

    /// Leaves out what the caller may not read: records, or parts of them.
    pub(super) fn keep_readable(&self, page: &mut stream::Page) {
        let mut reaches: HashMap<TwinId, Reach> = HashMap::new();
        let access = self.router.access();
        let records = std::mem::take(&mut page.records).into_iter().filter_map(|mut placed| {
            let twin = &placed.record.twin;
            if !reaches.contains_key(twin) {
                let reach = match self.twin(twin.id()) {
                    Ok(id) if id == *twin => access.reach(&self.identity, Verb::Read, &id),
                    _ => Reach::nothing(),
                };
                reaches.insert(twin.clone(), reach);
            }
            placed.record = readable::record(placed.record.clone(), &reaches[twin])?;
            Some(placed)
        });
        page.records = records.collect();
    }

    /// Takes a backup of the whole node, if the caller operates it.
    pub(super) async fn backup(&self) -> Result<mpsc::Receiver<io::Result<Bytes>>, Problem> {
        self.allowed(self.router.access().operate(&self.identity))?;
        Ok(self.router.backup().await?)
    }

    /// Refuses an `Idempotency-Key` where it could promise nothing; `next` is what can.
    pub(super) fn refuse_repeats(&self, next: &'static str) -> Result<(), Problem> {
        if self.repeatable.is_none() {
            return Ok(());
        }
        Err(once::unsupported_here(next))
    }

    /// The kinds of twins that the node knows.
    pub(super) fn kinds(&self) -> &Kinds {
        self.router.kinds()
    }

    /// How many shards the streams have.
    pub(super) fn shards(&self) -> u32 {
        self.router.shards()
    }

    /// The time.
    pub(super) fn now(&self) -> Timestamp {
        self.router.now()
    }

    /// Whether the request came under an `Idempotency-Key`.
    pub(super) fn repeats(&self) -> bool {
        self.repeatable.is_some()
    }

    fn header(&self) -> Header {
        let principal = self.identity.principal();
        let idempotency = self.repeatable.as_ref().map(|repeatable| repeatable.by(&principal));
        let (transport, trace) = (Transport::Http, self.trace);
        Header { principal, transport, trace, idempotency, ..Header::default() }
    }
}

/// A twin to which the caller may do what it asked for.
pub(super) struct Allowed<'a> {
    caller: &'a Caller,
    id: TwinId,
}

impl Allowed<'_> {
    pub(super) fn id(&self) -> &TwinId {
        &self.id
    }

    /// What of this the caller may do to the twin's parts.
    pub(super) fn reach(&self, verb: Verb) -> Reach {
        let Self { caller, id } = self;
        caller.router.access().reach(&caller.identity, verb, id)
    }

    /// The way to twins, for who looks and waits.
    pub(super) fn router(&self) -> &Router {
        &self.caller.router
    }

    /// Says something to the twin, and waits until the answer is durable. What came before under the same
    /// `Idempotency-Key` is answered as it was.
    pub(super) async fn ask(&self, input: Input) -> Result<Reply, Problem> {
        let (twin, header) = (&self.id, self.caller.header());
        let span = step!("3.input" in header.trace, %twin);
        Ok(self.caller.router.ask(twin.clone(), header, input).instrument(span).await?)
    }

    /// The twin as it is.
    pub(super) async fn read(&self) -> Result<Arc<Twin>, Problem> {
        match self.ask(Input::Read).await? {
            Reply::Twin(twin) => Ok(twin),
            other => Err(unexpected(&other)),
        }
    }

    /// The twin as it is, unless another one has taken its place.
    pub(super) async fn read_own(&self) -> Result<Arc<Twin>, Problem> {
        let twin = self.read().await?;
        match twin.trust().replaced_by() {
            Some(by) => {
                let why = format!("`{}` has taken the place of `{}`", by.id(), self.id.id());
                Err(Rejection::new(Code::Replaced, why).into())
            }
            None => Ok(twin),
        }
    }

    /// The twin as it is committed, if there is one. Nothing is brought into memory for it.
    pub(super) async fn look(&self) -> Result<Option<Arc<Twin>>, Problem> {
        Ok(self.caller.router.look(&self.id).await?)
    }

    /// The way to the twin for what is answered with a secret, and the envelope of what is said on it.
    pub(super) fn in_confidence(&self) -> Result<(&Router, Header), Problem> {
        let Self { caller, .. } = self;
        if caller.repeatable.is_some() {
            return Err(once::secret());
        }
        Ok((&caller.router, caller.header()))
    }

    /// Asks the device. Nothing of it is kept, so a request that comes again cannot be told from a new one.
    pub(super) async fn request(
        &self,
        name: Name,
        payload: Body,
        timeout: Duration,
    ) -> Result<Response, Problem> {
        let Self { caller, id } = self;
        if caller.repeats() {
            return Err(once::unsupported());
        }
        Ok(caller.router.request(id.clone(), name, payload, caller.trace, timeout).await?)
    }
}

/// Takes a request of what its caller may take. A body whose length is not said counts as the largest.
pub(super) fn spend(request: &HttpRequest, identity: &Identity) -> Result<(), Denied> {
    let Some(quotas) = request.app_data::<Quotas>() else { return Ok(()) };
    let length = request.headers().get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    let largest = || request.app_data::<Allowance>().map_or(0, |allowance| allowance.bytes as u64);
    let is_chunked = request.headers().contains_key(TRANSFER_ENCODING);
    // Whoever says that it is longer is refused it.
    let bytes = length.unwrap_or(if is_chunked { u64::MAX } else { 0 }).min(largest());
    quotas.request(identity, bytes, Instant::now())
}

/// Counts who was denied something.
pub(super) fn count(metrics: Option<&Metrics>, denied: Denied) -> Denied {
    if let Some(metrics) = metrics {
        metrics.denied(Protocol::Http, &denied);
    }
    denied
}

/// The token of `Bearer TOKEN`; the scheme is spelled in any case.
pub(super) fn bearer(authorization: &str) -> Option<&str> {
    let (scheme, token) = authorization.trim().split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// An input was answered with what another one is answered with.
pub(super) fn unexpected(reply: &Reply) -> Problem {
    Problem::internal(format!("the twin gave an answer to something else: {reply:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_bearer_token_is_a_token() {
        assert_eq!(bearer("Bearer abc"), Some("abc"));
        assert_eq!(bearer("bearer  abc "), Some("abc"));
        assert_eq!(bearer("Basic abc"), None);
        assert_eq!(bearer("abc"), None);
    }
}
