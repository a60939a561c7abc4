//! Who calls, and the only way on from there: no handler reaches a twin but through a [`Caller`].
//!
//! The tenant comes from the credentials, never from the path, so that what belongs to another tenant has no name here.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use actix_web::dev::Payload;
use actix_web::http::header::AUTHORIZATION;
use actix_web::{FromRequest, HttpRequest};
use bytes::Bytes;
use futures_util::future::{Ready, ready};
use runtime::access::{Credentials, Denied, Identity, Verb};
use runtime::follower::Follower;
use runtime::path::step;
use runtime::router::{Response, Router};
use runtime::stream::{self, Selection};
use tokio::sync::mpsc;
use tracing::Instrument;
use twins::body::Body;
use twins::header::{Header, Trace, Transport};
use twins::id::TwinId;
use twins::input::Input;
use twins::kind::Kinds;
use twins::name::Name;
use twins::rejection::{Code, Rejection};
use twins::reply::Reply;
use twins::time::Timestamp;
use twins::twin::Twin;

use crate::metrics::{Metrics, Protocol};
use crate::trace;

use super::once::{self, Repeatable};
use super::problem::Problem;

/// An authenticated caller.
pub(super) struct Caller {
    router: Router,
    identity: Identity,
    trace: Option<Trace>,
    repeatable: Option<Repeatable>,
    metrics: Option<Metrics>,
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
        let identity = router.access().authenticate(Credentials::Bearer { token });
        let metrics = request.app_data::<Metrics>().cloned();
        let identity = identity.map_err(|denied| count(metrics.as_ref(), denied))?;
        let trace = header(trace::TRACEPARENT).and_then(trace::parse);
        let repeatable = Repeatable::of(request)?;
        Ok(Self { router: router.clone(), identity, trace, repeatable, metrics })
    }

    /// The twin `id` of the caller's tenant, if the caller may do this to it. Whether it exists is not asked.
    pub(super) fn may(&self, verb: Verb, id: &str) -> Result<Allowed<'_>, Problem> {
        let id = TwinId::new(self.tenant(), id).map_err(|error| Problem::parameter(error.to_string()))?;
        if let Identity::Device { twin, .. } = &self.identity
            && *twin != id
        {
            // To a device, all others are as if they were not.
            return Err(Rejection::new(Code::UnknownTwin, format!("no twin `{}`", id.id())).into());
        }
        let allowed = self.router.access().authorize(&self.identity, verb, &id);
        allowed.map_err(|denied| count(self.metrics.as_ref(), denied))?;
        Ok(Allowed { caller: self, id })
    }

    /// Whose twins the caller speaks of.
    pub(super) fn tenant(&self) -> &str {
        match &self.identity {
            Identity::Device { twin, .. } => twin.tenant(),
            Identity::User { tenant, .. } => tenant,
        }
    }

    /// The ids of the tenant's twins after `after`, in order; at most `limit`. Each is to be asked for with
    /// [`may`](Self::may) before anything of it is shown.
    pub(super) async fn ids(&self, after: Option<&TwinId>, limit: usize) -> Result<Vec<TwinId>, Problem> {
        Ok(self.router.list(self.tenant(), after, limit).await?)
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

    /// Leaves out the records of twins that the caller may not read.
    pub(super) fn keep_readable(&self, page: &mut stream::Page) {
        page.records.retain(|placed| self.may(Verb::Read, placed.record.twin.id()).is_ok());
    }

    /// Takes a backup of the whole node, if the caller operates it.
    pub(super) async fn backup(&self) -> Result<mpsc::Receiver<io::Result<Bytes>>, Problem> {
        self.router.access().operate(&self.identity)?;
        Ok(self.router.backup().await?)
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

    /// Asks the device. Nothing of it is kept, so a request that comes again cannot be told from a new one.
    pub(super) async fn request(
        &self,
        name: Name,
        payload: Body,
        timeout: Duration,
    ) -> Result<Response, Problem> {
        let Self { caller, id } = self;
        if caller.repeatable.is_some() {
            return Err(once::unsupported());
        }
        Ok(caller.router.request(id.clone(), name, payload, caller.trace, timeout).await?)
    }
}

/// Counts who was denied something.
fn count(metrics: Option<&Metrics>, denied: Denied) -> Denied {
    if let Some(metrics) = metrics {
        metrics.denied(Protocol::Http, &denied);
    }
    denied
}

/// The token of `Bearer TOKEN`; the scheme is spelled in any case.
fn bearer(authorization: &str) -> Option<&str> {
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
