//! How a cluster begins: an authority with a key of its own, and a node that it signs for. And how more nodes are let in.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

use runtime::clock::Timestamp;
use runtime::directory::audit::{Fingerprint, Sealed};
use runtime::files::Files;
use runtime::operations::{Invitation, Reason, Refused};

use super::execute;
use crate::identity::Kept;
use crate::meta::{Command, Meta};
use crate::sealer::Sealer;
use crate::transport::authority::{Authority, ClusterId, Identity};
use crate::transport::join::{Token, random};

/// What a cluster is founded with.
pub struct Founding<'a> {
    /// The number of the node that is its first.
    pub node: u64,
    /// Where its files are.
    pub files: &'a dyn Files,
    /// Its data folder.
    pub data: &'a Path,
    /// Who has the master key.
    pub sealer: &'a dyn Sealer,
    /// Where others reach it.
    pub address: &'a str,
    /// The time.
    pub now: Timestamp,
}

/// Founds a cluster: its first node is this one, which has all shards. What was broken off before is brought to its end.
/// Blocks.
///
/// # Errors
/// When the node is in one already, or nothing can be written.
pub fn found(meta: &Meta, founding: &Founding<'_>) -> Result<Identity, Refused> {
    let Founding { node, files, data, sealer, address, now } = founding;
    let unwritten =
        |why: String| Refused::new(Reason::NotNow, why, "see the node's disk, and order it again");
    let kept = Kept::read(*files, data).map_err(|error| unwritten(error.to_string()))?;
    if let Some(cluster) = &meta.state().cluster {
        return match kept.filter(|kept| kept.cluster == cluster.id) {
            // The node ended before it could listen.
            Some(kept) => kept.open(*sealer).map_err(|error| unwritten(error.to_string())),
            None => {
                let why = format!(
                    "this folder is in cluster {}, and its file cluster/node.toml is gone",
                    cluster.id
                );
                Err(Refused::new(Reason::Conflict, why, "restore that file, and start the node again"))
            }
        };
    }
    let id = random().and_then(|high| Ok(u128::from(high) << 64 | u128::from(random()?)));
    let id = ClusterId(id.map_err(|error| unwritten(error.to_string()))?);
    let time = UNIX_EPOCH + Duration::from_millis(now.as_millis());
    let made = Authority::found(id, time).and_then(|authority| {
        let identity = authority.issue(*node, time)?;
        Ok((authority, identity))
    });
    let (authority, identity) = made.map_err(|error| unwritten(error.to_string()))?;
    let sealed_key = sealer.seal(&id.to_string(), &authority.key());
    let sealed_key = Sealed(sealed_key.map_err(|error| unwritten(error.to_string()))?.into());
    let kept = Kept::of(&identity, BTreeMap::new(), *sealer);
    // The folder first: its file counts for nothing until the cluster is founded, and a cluster without it would be lost.
    let written = kept.and_then(|kept| kept.write(*files, data));
    written.map_err(|error| unwritten(error.to_string()))?;
    execute(meta, |_| {
        Ok(Some(Command::FoundCluster {
            id: id.0.to_be_bytes(),
            authority: authority.certificate().to_vec(),
            sealed_key: sealed_key.clone(),
            node: *node,
            address: (*address).to_owned(),
            fingerprint: Fingerprint(identity.fingerprint()),
        }))
    })?;
    tracing::info!(cluster = %id, node, "this node has founded a cluster");
    Ok(identity)
}

/// Makes a token, with which one node joins by asking the one at `address`. Blocks.
///
/// # Errors
/// When there is no cluster, or nothing can be written.
pub fn invite(meta: &Meta, address: &str, now: Timestamp) -> Result<Invitation, Refused> {
    let state = meta.state();
    let Some(cluster) = &state.cluster else {
        let next = "make it the first of one: twinfold cluster init";
        return Err(Refused::new(Reason::Conflict, "this node is in no cluster", next));
    };
    let token = Token::new(cluster.id, &cluster.authority, address.to_owned());
    let token = token.map_err(|error| Refused::new(Reason::NotNow, error.to_string(), "order it again"))?;
    let expires = now + Token::LIFE;
    execute(meta, |_| Ok(Some(Command::AddToken { digest: token.digest(), expires, at: now })))?;
    Ok(Invitation { cluster: cluster.id.to_string(), token: token.reveal(), expires })
}
