//! The device that calls: by HTTP Basic with its id and its key, as the bearer of a token that it signed, or by the
//! certificate that it showed when it connected.

use std::sync::Arc;

use actix_web::dev::Payload;
use actix_web::http::header::AUTHORIZATION;
use actix_web::{FromRequest, HttpRequest};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures_util::future::LocalBoxFuture;
use runtime::access::{Denied, Identity, Shown, Verb};
use runtime::error::Error;
use runtime::path::step;
use runtime::router::Router;
use runtime::watch::{Watch, Whom};
use tracing::Instrument;
use twins::header::{Header, Trace, Transport};
use twins::id::TwinId;
use twins::input::Input;
use twins::name::Name;
use twins::rejection::Code;
use twins::reply::Reply;
use twins::trust::Proof;
use twins::twin::Twin;

use super::super::caller::{bearer, count, spend, unexpected};
use super::super::once;
use super::super::problem::Problem;
use crate::metrics::Metrics;
use crate::quotas::{Quotas, Seat};
use crate::trace;
use crate::trust::signed::PREFIX;

/// What a client showed of itself when its connection began, its own certificate first.
#[derive(Debug, Clone)]
pub(in super::super) struct Certificates(pub(in super::super) Arc<[Bytes]>);

/// A device that was let in.
pub(in super::super) struct Device {
    router: Router,
    identity: Identity,
    twin: TwinId,
    /// The kind to register it as, if it is unknown.
    register: Option<Name>,
    proof: Proof,
    trace: Option<Trace>,
    quotas: Option<Quotas>,
}

impl FromRequest for Device {
    type Error = Problem;
    type Future = LocalBoxFuture<'static, Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let request = request.clone();
        Box::pin(async move { Self::of(&request).await })
    }
}

impl Device {
    async fn of(request: &HttpRequest) -> Result<Self, Problem> {
        let header = |name| request.headers().get(name).and_then(|value| value.to_str().ok());
        let router =
            request.app_data::<Router>().ok_or_else(|| Problem::internal("the API has no router"))?;
        let certificates = request.conn_data::<Certificates>().map_or(&[][..], |shown| &shown.0);
        let header_said = request.headers().get(AUTHORIZATION);
        let said = header(AUTHORIZATION.as_str()).and_then(|said| signed(said).or_else(|| basic(said)));
        // What is not understood is said all the same: a certificate does not make up for it.
        if said.is_none() && (certificates.is_empty() || header_said.is_some()) {
            let why = "the device does not say who it is".into();
            return Err(Problem::of_device(Denied::Unauthenticated(why)));
        }
        let (id, key) = said.map_or((None, None), |(id, key)| (id, Some(key)));
        let address = request.peer_addr().map(|peer| peer.ip());
        let (username, password) = (id.as_deref(), key.as_deref());
        let shown = Shown { username, client: "", password, certificates, answer: None, address };
        let admitted = router.access().device(router, shown).await;
        let metrics = request.app_data::<Metrics>();
        let spent = |identity: Identity| spend(request, &identity).map(|()| identity);
        let admitted = admitted.and_then(spent);
        let identity = admitted.map_err(|denied| Problem::of_device(count(metrics, denied)))?;
        let Identity::Device { twin, register, proof } = identity.clone() else {
            return Err(Problem::of_device(Denied::Forbidden("only devices speak for themselves".into())));
        };
        once::refuse(request)?;
        let trace = header(trace::TRACEPARENT).and_then(trace::parse);
        let (router, quotas) = (router.clone(), request.app_data::<Quotas>().cloned());
        Ok(Self { router, identity, twin, register, proof, trace, quotas })
    }

    /// Says something to the own twin, and waits until the answer is durable. A device that is unknown is registered
    /// first, where unknown devices are. `beside` is what its header has of the message itself.
    pub(super) async fn say(&self, verb: Verb, input: Input, beside: Header) -> Result<Reply, Problem> {
        let access = self.router.access();
        access.authorize(&self.identity, verb, &self.twin, "").map_err(Problem::of_device)?;
        match (self.ask(input.clone(), beside.clone()).await, &self.register) {
            (Err(Error::Rejected(refused)), Some(kind)) if refused.code() == Code::UnknownTwin => {
                self.ask(Input::Appear { kind: kind.clone() }, Header::default()).await?;
                Ok(self.ask(input, beside).await?)
            }
            (answered, _) => Ok(answered?),
        }
    }

    /// The own twin as it is.
    pub(super) async fn read(&self) -> Result<Arc<Twin>, Problem> {
        match self.say(Verb::Read, Input::Read, Header::default()).await? {
            Reply::Twin(twin) => Ok(twin),
            other => Err(unexpected(&other)),
        }
    }

    /// Watches the own twin, from a place among the calls of its tenant that wait.
    pub(super) fn watch(&self, whom: Whom) -> Result<(Watch, Option<Seat>), Problem> {
        let seat = self.quotas.as_ref().map(|quotas| quotas.wait(self.twin.tenant()));
        let seat = seat.transpose().map_err(Problem::of_device)?;
        Ok((self.router.watch(self.twin.clone(), whom)?, seat))
    }

    /// The way to the own twin for what is answered with a secret, and the envelope of what is said on it.
    pub(super) fn in_confidence(&self) -> Result<(&Router, &TwinId, Header), Problem> {
        let access = self.router.access();
        access.authorize(&self.identity, Verb::Speak, &self.twin, "").map_err(Problem::of_device)?;
        Ok((&self.router, &self.twin, self.header(Header::default())))
    }

    fn header(&self, beside: Header) -> Header {
        Header {
            principal: self.identity.principal(),
            transport: Transport::Http,
            trace: self.trace,
            proof: Some(Box::new(self.proof.clone())),
            ..beside
        }
    }

    async fn ask(&self, input: Input, beside: Header) -> Result<Reply, Error> {
        let (twin, header) = (&self.twin, self.header(beside));
        let span = step!("3.input" in header.trace, %twin);
        self.router.ask(twin.clone(), header, input).instrument(span).await
    }
}

/// Id and key of `Basic BASE64(id:key)`. An id may have colons, and a key has none, so that the last one parts them.
fn basic(authorization: &str) -> Option<(Option<String>, Vec<u8>)> {
    let (scheme, shown) = authorization.trim().split_once(' ')?;
    let shown = STANDARD.decode(shown.trim()).ok().filter(|_| scheme.eq_ignore_ascii_case("basic"))?;
    let colon = shown.iter().rposition(|byte| *byte == b':')?;
    let id = String::from_utf8(shown[..colon].to_vec()).ok()?;
    Some((Some(id), shown[colon + 1..].to_vec()))
}

/// The token of `Bearer twt_...`, which says itself whose it is.
fn signed(authorization: &str) -> Option<(Option<String>, Vec<u8>)> {
    let token = bearer(authorization).filter(|token| token.starts_with(PREFIX))?;
    Some((None, token.as_bytes().to_vec()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_colon_parts_id_and_key() {
        let shown = |text: &str| basic(&format!("Basic {}", STANDARD.encode(text)));
        assert_eq!(shown("urn:pump:7:s3cret"), Some((Some("urn:pump:7".into()), b"s3cret".to_vec())));
        assert_eq!(shown("pump-7:"), Some((Some("pump-7".into()), Vec::new())));
        assert_eq!(shown("pump-7"), None);
        assert_eq!(basic("Bearer cHVtcC03Og=="), None);
        assert_eq!(basic("Basic ?"), None);
    }
}
