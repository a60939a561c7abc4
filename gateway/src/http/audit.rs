//! The audit of the directory: who changed what, in one chain that shows every forgery.

use actix_web::HttpResponse;
use runtime::access::Verb;
use runtime::directory::audit::Line;
use serde::Deserialize;
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

use super::caller::Caller;
use super::page::{Limit, Page};
use super::problem::Problem;
use super::provision::Office;
use super::query::Query;
use crate::audit::show;
use crate::head::SignedHead;

/// Which lines to read.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Lines {
    /// After that line; else from the first on.
    #[param(format = "uint64")]
    after: Option<u64>,
    /// At most so many.
    #[param(value_type = usize, default = 100, minimum = 1, maximum = 1000)]
    limit: Limit,
}

/// Where the audit ends, signed.
#[derive(ToSchema)]
#[schema(as = AuditHead)]
#[expect(dead_code, reason = "it describes what `SignedHead` writes")]
pub(super) struct Head {
    /// How many entries it has.
    length: u64,
    /// The hash of the last.
    hash: String,
    /// When it was signed.
    #[schema(format = DateTime)]
    at: String,
    /// The public key of the node: Ed25519, base64url.
    key: String,
    /// The signature over `twinfold audit head 1`, the length, the hash and the time, each on a line of its own.
    signature: String,
}

/// Reads the audit: every change of who may what, oldest first.
///
/// Who operates the node reads all of it. Everybody else reads the entries of their own tenant, and of the others the
/// hashes alone, which is enough to check the chain.
#[utoipa::path(
    get,
    path = "/v1/audit",
    tag = "audit",
    params(Lines),
    responses(
        (status = 200, description = "Some entries, and where the list goes on.", body = Page<Object>),
        (status = 403, description = "`forbidden`"),
    )
)]
pub(super) async fn list(caller: Caller, Query(lines): Query<Lines>) -> Result<HttpResponse, Problem> {
    let definitions = caller.govern(Verb::Audit)?.definitions();
    let tenant = (!caller.operates()).then(|| caller.tenant().to_owned());
    let limit = lines.limit.get();
    // It reads the log; one line more than asked for tells whether the list goes on.
    let read = tokio::task::spawn_blocking(move || {
        let mut found: Vec<Line> = Vec::new();
        definitions.audit(lines.after.unwrap_or(0) + 1, &mut |mut line, entry| {
            if tenant.as_ref().is_some_and(|tenant| *tenant != entry.tenant) {
                line.entry = None;
            }
            found.push(line);
            found.len() <= limit
        })?;
        Ok::<_, Problem>(found)
    });
    let found = read.await.map_err(|_| Problem::internal("reading the audit was broken off"))??;
    let shown = found.iter().map(|line| (show(line), line.n.to_string()));
    Ok(HttpResponse::Ok().json(Page::<Value>::of(shown, limit)?))
}

/// Reads where the audit ends, signed by the node: whoever keeps it can tell later whether anything before was changed.
#[utoipa::path(
    get,
    path = "/v1/audit/head",
    tag = "audit",
    responses((status = 200, description = "Its length, its last hash, and the node's signature.", body = Head), (status = 403, description = "`forbidden`"))
)]
pub(super) async fn head(caller: Caller, office: Office) -> Result<HttpResponse, Problem> {
    let chain = caller.govern(Verb::Audit)?.directory().chain;
    Ok(HttpResponse::Ok().json(SignedHead::sign(office.provisioning.vault(), &chain, caller.now())))
}
