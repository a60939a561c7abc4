//! Authorities of a tenant: those of ours that sign certificates of its devices.

use actix_web::HttpResponse;
use actix_web::web::{self, Path};
use runtime::access::Verb;
use runtime::directory::{Authority, Change, Directory, Refused};
use serde::{Deserialize, Serialize};
use twins::name::Name;
use twins::time::Timestamp;
use utoipa::ToSchema;

use super::body::Object;
use super::caller::Caller;
use super::names::named;
use super::page::Page;
use super::people::{Because, Listing};
use super::problem::Problem;
use super::provision::{Office, malformed};
use super::query::Query;
use crate::trust::authority::{self, Error, Signer};

/// A new authority.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, expecting = "an object with `name`")]
#[schema(as = NewAuthority)]
pub(super) struct Wanted {
    /// 1 to 64 of A-Z a-z 0-9 . _ ~ : @ -
    name: String,
    /// Why, for the audit: at most 512 bytes.
    reason: Option<String>,
}

/// What a root gave an authority.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, expecting = "an object with `certificates`")]
pub(super) struct Brought {
    /// The authority's own certificate, then each that signed the one before: PEM.
    certificates: String,
    /// Why, for the audit: at most 512 bytes.
    reason: Option<String>,
}

/// Why something is done.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields, expecting = "an object with `reason`")]
#[schema(as = AuditReason)]
pub(super) struct Why {
    /// Why, for the audit: at most 512 bytes.
    pub(super) reason: Option<String>,
}

/// An authority.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Authority)]
pub(super) struct Shown<'a> {
    name: &'a str,
    /// It signs no more; what it signed goes on.
    retired: bool,
    /// Its own certificate.
    #[serde(flatten)]
    own: Certificate,
    /// Its own certificate, and those that lead from it to a root: PEM.
    certificates: String,
}

/// Of a certificate what tells it from others.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = CertificateSummary)]
pub(super) struct Certificate {
    subject: String,
    #[schema(value_type = String, format = DateTime)]
    expires: Timestamp,
    /// SHA-256.
    fingerprint: String,
}

/// A request for the authority's own certificate.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct AuthorityRequest {
    /// PKCS #10 in PEM.
    csr: String,
}

impl Certificate {
    /// `None` of what is none.
    pub(super) fn of(der: &[u8]) -> Option<Self> {
        let authority::Described { subject, expires, fingerprint } = authority::describe(der)?;
        Some(Self { subject, expires, fingerprint: fingerprint.to_string() })
    }
}

impl<'a> Shown<'a> {
    fn of(name: &'a str, authority: &Authority) -> Result<Self, Problem> {
        let own = authority.certificates.first().and_then(|own| Certificate::of(own));
        let own = own.ok_or_else(|| Problem::internal("the certificate of an authority cannot be read"))?;
        let certificates = authority.certificates.iter().map(|one| authority::pem(one)).collect();
        Ok(Self { name, retired: authority.retired, own, certificates })
    }
}

/// Makes an authority that signs certificates of devices. It is its own root, until another one has signed for it.
#[utoipa::path(
    post,
    path = "/v1/authorities",
    tag = "authorities",
    request_body = Wanted,
    responses(
        (status = 201, description = "It signs from now on.", body = Shown),
        (status = 409, description = "`contradiction`: there is one of that name"),
        (status = 422, description = "`malformed` or `unfit`: what does not fit is named"),
        (status = 429, description = "`too-many`: there are as many as may be"),
    )
)]
pub(super) async fn make(
    caller: Caller,
    office: Office,
    Object(wanted): Object<Wanted>,
) -> Result<HttpResponse, Problem> {
    let governed = caller.govern(Verb::Administer)?;
    let (Wanted { name, reason }, directory) = (wanted, governed.directory());
    let (name, tenant) = (named("`name`", &name)?, caller.tenant());
    if of(&directory, tenant, &name).is_ok() {
        return Err(Refused::Conflict(format!("there is an authority `{name}` already")).into());
    }
    let authority = authority::found(office.provisioning.vault(), tenant, &name, caller.now())?;
    let change = Change::PutAuthority { name: name.clone(), authority: authority.clone() };
    governed.change(tenant, change, reason, Some(directory.version)).await?;
    Ok(HttpResponse::Created().json(Shown::of(&name, &authority)?))
}

/// Lists the authorities, in the order of their names.
#[utoipa::path(
    get,
    path = "/v1/authorities",
    tag = "authorities",
    params(Listing),
    responses((status = 200, description = "Some authorities, and where the list goes on.", body = Page<Shown>))
)]
pub(super) async fn list(caller: Caller, Query(listing): Query<Listing>) -> Result<HttpResponse, Problem> {
    let directory = caller.govern(Verb::Audit)?.directory();
    let after = listing.after.unwrap_or_default();
    let all = directory.tenants.get(caller.tenant()).map(|tenant| &tenant.authorities);
    let selected = all.into_iter().flatten().filter(|(name, _)| after.is_empty() || name.as_str() > &*after);
    let shown = selected.map(|(name, authority)| Ok((Shown::of(name, authority)?, name.to_string())));
    let shown = shown.collect::<Result<Vec<_>, Problem>>()?;
    Ok(HttpResponse::Ok().json(Page::of(shown, listing.limit.get())?))
}

/// Reads an authority with its certificates.
#[utoipa::path(
    get,
    path = "/v1/authorities/{name}",
    tag = "authorities",
    params(("name" = String, Path, description = "The authority.")),
    responses((status = 200, description = "The authority.", body = Shown), (status = 404, description = "`unknown`"))
)]
pub(super) async fn get(caller: Caller, name: Path<String>) -> Result<HttpResponse, Problem> {
    let directory = caller.govern(Verb::Audit)?.directory();
    let name = named("the name of an authority", &name)?;
    Ok(HttpResponse::Ok().json(Shown::of(&name, of(&directory, caller.tenant(), &name)?)?))
}

/// Has the authority ask for a certificate of its own, for a root of yours to sign.
#[utoipa::path(
    get,
    path = "/v1/authorities/{name}/request",
    tag = "authorities",
    params(("name" = String, Path, description = "The authority.")),
    responses(
        (status = 200, description = "Its request.", body = AuthorityRequest),
        (status = 404, description = "`unknown`"),
    )
)]
pub(super) async fn request(
    caller: Caller,
    office: Office,
    name: Path<String>,
) -> Result<web::Json<AuthorityRequest>, Problem> {
    let directory = caller.govern(Verb::Administer)?.directory();
    let name = named("the name of an authority", &name)?;
    let authority = of(&directory, caller.tenant(), &name)?;
    let signer = Signer::open(office.provisioning.vault(), caller.tenant(), &name, authority)?;
    Ok(web::Json(AuthorityRequest { csr: signer.request(authority)? }))
}

/// Gives the authority the certificates that came of its request. What it signed before stays valid, but not longer than
/// the authority's own certificate is now.
#[utoipa::path(
    put,
    path = "/v1/authorities/{name}/certificates",
    tag = "authorities",
    params(("name" = String, Path, description = "The authority.")),
    request_body = Brought,
    responses(
        (status = 200, description = "It signs with them from now on.", body = Shown),
        (status = 404, description = "`unknown`"),
        (status = 422, description = "`malformed`: they are not the authority's own, not in order, or over"),
    )
)]
pub(super) async fn bring(
    caller: Caller,
    name: Path<String>,
    Object(brought): Object<Brought>,
) -> Result<HttpResponse, Problem> {
    let Brought { certificates, reason } = brought;
    let now = caller.now();
    replace(&caller, &name, reason, |authority| Ok(authority::import(authority, &certificates, now)?)).await
}

/// Has the authority sign no more. What it signed goes on until it ends or is revoked.
#[utoipa::path(
    post,
    path = "/v1/authorities/{name}/retire",
    tag = "authorities",
    params(("name" = String, Path, description = "The authority.")),
    request_body = Option<Why>,
    responses((status = 200, description = "It signs no more.", body = Shown), (status = 404, description = "`unknown`"))
)]
pub(super) async fn retire(
    caller: Caller,
    name: Path<String>,
    Object(why): Object<Option<Why>>,
) -> Result<HttpResponse, Problem> {
    let reason = why.unwrap_or_default().reason;
    replace(&caller, &name, reason, |authority| Ok(Authority { retired: true, ..authority.clone() })).await
}

/// Removes an authority with its key: what it signed lets nobody in any more.
#[utoipa::path(
    delete,
    path = "/v1/authorities/{name}",
    tag = "authorities",
    params(("name" = String, Path, description = "The authority."), Because),
    responses((status = 204, description = "It is removed."), (status = 404, description = "`unknown`"))
)]
pub(super) async fn remove(
    caller: Caller,
    name: Path<String>,
    Query(because): Query<Because>,
) -> Result<HttpResponse, Problem> {
    let governed = caller.govern(Verb::Administer)?;
    let change = Change::RemoveAuthority { name: named("the name of an authority", &name)? };
    governed.change(caller.tenant(), change, because.reason, None).await?;
    Ok(HttpResponse::NoContent().finish())
}

/// Puts another authority in the place of one, made of it as it is now.
async fn replace(
    caller: &Caller,
    name: &str,
    reason: Option<String>,
    change: impl FnOnce(&Authority) -> Result<Authority, Problem>,
) -> Result<HttpResponse, Problem> {
    let governed = caller.govern(Verb::Administer)?;
    let (name, directory) = (named("the name of an authority", name)?, governed.directory());
    let authority = change(of(&directory, caller.tenant(), &name)?)?;
    let put = Change::PutAuthority { name: name.clone(), authority: authority.clone() };
    governed.change(caller.tenant(), put, reason, Some(directory.version)).await?;
    Ok(HttpResponse::Ok().json(Shown::of(&name, &authority)?))
}

fn of<'a>(directory: &'a Directory, tenant: &str, name: &Name) -> Result<&'a Authority, Refused> {
    let known = directory.tenants.get(tenant).and_then(|tenant| tenant.authorities.get(name));
    known.map(|authority| &**authority).ok_or_else(|| Refused::Unknown(format!("authority `{name}`")))
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        match &error {
            Error::LongName => Refused::Unfit(error.to_string()).into(),
            Error::Foreign(_) | Error::Over(_) => malformed(
                error.to_string(),
                "have your root sign the authority's request: twinfold cert ca csr NAME",
            ),
            Error::NoRoots(_) => malformed(
                error.to_string(),
                "send the certificates of the authority that signs for the devices",
            ),
            Error::Unfit(_) | Error::Vault(_) | Error::Unmade(_) => Self::internal(error.to_string()),
        }
    }
}
