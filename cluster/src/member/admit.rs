//! Letting a node join: what it shows is looked at, its number is decided by the meta group, and only then is it signed for.

use std::net::SocketAddr;
use std::sync::Weak;
use std::time::{Duration, UNIX_EPOCH};

use minicbor::bytes::ByteArray;
use runtime::directory::audit::{Fingerprint, hash};
use runtime::operations::Reason;

use super::{Inner, Parts, execute};
use crate::meta::{Command, NodeState, State};
use crate::transport::authority::{Authority, ClusterId, fingerprint_of_request};
use crate::transport::join::{Admits, Ask, Grant, NotAdmitted, is_address};
use crate::wire::Boxed;

/// The longest text that says where a node stands.
const LOCATION_BYTES_MAX: usize = 256;

/// Who lets nodes join, for as long as this one takes part.
pub(super) struct Reception(pub(super) Weak<Inner>);

impl Admits for Reception {
    fn admit(&self, from: SocketAddr, ask: Ask) -> Boxed<Result<Grant, NotAdmitted>> {
        let inner = self.0.clone();
        Box::pin(async move {
            let stops = || NotAdmitted::NotNow("the node that was asked stops".to_owned());
            let inner = inner.upgrade().ok_or_else(stops)?;
            let admitted = tokio::task::spawn_blocking(move || inner.admit(&ask)).await;
            let admitted = admitted.unwrap_or_else(|_| Err(stops()));
            match &admitted {
                Ok(_) => tracing::info!(%from, "a node has joined"),
                Err(why) => tracing::warn!(%from, "a node was not let join: {why}"),
            }
            admitted
        })
    }
}

impl Inner {
    fn admit(&self, ask: &Ask) -> Result<Grant, NotAdmitted> {
        let Parts { meta, sealer, clock, .. } = &self.parts;
        let now = clock.now();
        let state = meta.state();
        let (token, fingerprint) = look(&state, ask, now)?;
        if ask.check.is_some_and(|check| check.0 != sealer.check()) {
            return Err(NotAdmitted::OtherMasterKey);
        }
        let not_now = |why: String| NotAdmitted::NotNow(why);
        // All that can fail comes before the number is given.
        let cluster = state.cluster.as_ref().ok_or_else(|| not_now("there is no cluster".to_owned()))?;
        let key = sealer.open(&cluster.id.to_string(), &cluster.sealed_key.0);
        let key = key.map_err(|error| not_now(format!("the cluster's own key does not open: {error}")))?;
        let authority =
            Authority::open(&cluster.authority, &key).map_err(|error| not_now(error.to_string()))?;
        let master_key = match ask.check {
            Some(_) => None,
            None => Some(sealer.master_key().map_err(|error| not_now(error.to_string()))?),
        };
        let (token, shown) = (Fingerprint(token), Fingerprint(fingerprint));
        let joined = execute(meta, |_| {
            let (address, location) = (ask.address.clone(), ask.location.clone());
            Ok(Some(Command::Join { token, fingerprint: shown, address, location, at: now }))
        });
        if let Err(refused) = joined {
            return Err(match refused.reason {
                Reason::Conflict | Reason::Unknown => look(&meta.state(), ask, now).err(),
                Reason::NotNow | Reason::OutcomeUnknown => None,
            }
            .unwrap_or(NotAdmitted::NotNow(refused.why)));
        }
        let state = meta.state();
        let node = state.joined_by(&token.0, &fingerprint).ok_or(NotAdmitted::UsedToken)?;
        let time = UNIX_EPOCH + Duration::from_millis(now.as_millis());
        let certificate = authority.sign(&ask.request, node, time);
        let certificate = certificate.map_err(|error| NotAdmitted::Malformed(error.to_string()))?;
        let present = state.nodes.iter().filter(|(number, known)| {
            **number != node && known.state != NodeState::Gone && !known.address.is_empty()
        });
        let peers = present.map(|(number, known)| (*number, known.address.clone())).collect();
        let master_key = master_key.map(ByteArray::from);
        Ok(Grant { authority: cluster.authority.clone(), certificate, peers, master_key })
    }
}

/// Looks at what somebody shows: the hash of their token's secret, and what tells their key from others.
fn look(
    state: &State,
    ask: &Ask,
    now: runtime::clock::Timestamp,
) -> Result<([u8; 32], [u8; 32]), NotAdmitted> {
    let cluster = state.cluster.as_ref().map_or(ClusterId(0), |cluster| cluster.id);
    if ask.cluster != cluster.0.to_be_bytes() {
        let theirs = ClusterId(u128::from_be_bytes(ask.cluster)).to_string();
        return Err(NotAdmitted::OtherCluster { ours: cluster.to_string(), theirs });
    }
    let digest = hash(&ask.secret).0;
    let token = state.tokens.get(&digest).ok_or(NotAdmitted::UnknownToken)?;
    if token.expires <= now {
        return Err(NotAdmitted::ExpiredToken);
    }
    let fingerprint = fingerprint_of_request(&ask.request);
    let fingerprint = fingerprint.map_err(|error| NotAdmitted::Malformed(error.to_string()))?;
    if token.used_by.is_some() && state.joined_by(&digest, &fingerprint).is_none() {
        return Err(NotAdmitted::UsedToken);
    }
    if !ask.address.is_empty() && !is_address(&ask.address) {
        return Err(NotAdmitted::Malformed(
            "the address of the node is none of the form host:port".to_owned(),
        ));
    }
    if ask.location.len() > LOCATION_BYTES_MAX || ask.location.chars().any(char::is_control) {
        return Err(NotAdmitted::Malformed("the location of the node is too long, or no text".to_owned()));
    }
    Ok((digest, fingerprint))
}
