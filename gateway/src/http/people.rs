//! Users and services of a tenant: people and programs, with the roles that say what they may do.

use std::sync::Arc;

use actix_web::HttpResponse;
use actix_web::http::header::ETAG;
use actix_web::web::Path;
use runtime::access::Verb;
use runtime::directory::{Change, Principal, Sort};
use serde::{Deserialize, Deserializer, Serialize};
use twins::name::Name;
use twins::time::Timestamp;
use utoipa::{IntoParams, ToSchema};

use super::body::Object;
use super::caller::Caller;
use super::etag::IfMatch;
use super::names::{RoleName, etag, expected, named, roles, shown_roles};
use super::page::{Limit, Page};
use super::problem::Problem;
use super::query::Query;

/// What a user or a service becomes.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, expecting = "an object with `roles` and more")]
pub(super) struct Membership {
    /// Of `viewer`, `operator`, `installer`, `security`, `admin`; none leaves what policies allow. Where it is left out, they
    /// stay as they are.
    #[serde(default, deserialize_with = "said")]
    #[schema(value_type = Vec<String>, required = false)]
    roles: Option<Vec<RoleName>>,
    /// Whether none of its tokens lets it in. Where it is left out, that stays as it is.
    #[serde(default, deserialize_with = "said")]
    #[schema(value_type = bool, required = false)]
    disabled: Option<bool>,
    /// Why, for the audit: at most 512 bytes.
    reason: Option<String>,
}

/// What is said; `null` says nothing that could be meant.
fn said<'de, T: Deserialize<'de>, D: Deserializer<'de>>(from: D) -> Result<Option<T>, D::Error> {
    T::deserialize(from).map(Some)
}

/// A user or a service.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Principal)]
pub(super) struct Shown<'a> {
    name: &'a str,
    roles: Vec<&'static str>,
    disabled: bool,
    #[schema(value_type = String, format = DateTime)]
    created: Timestamp,
}

/// Which to list.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Listing {
    /// At most so many.
    #[param(value_type = usize, default = 100, minimum = 1, maximum = 1000)]
    pub(super) limit: Limit,
    /// The `next` of the page before.
    pub(super) after: Option<String>,
}

/// Why something is removed.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Because {
    /// Why, for the audit: at most 512 bytes.
    pub(super) reason: Option<String>,
}

impl<'a> Shown<'a> {
    fn of(name: &'a Name, principal: &Principal) -> Self {
        let Principal { roles, disabled, created, .. } = principal;
        Self { name, roles: shown_roles(*roles), disabled: *disabled, created: *created }
    }
}

/// Lists the users, in the order of their names.
#[utoipa::path(
    get,
    path = "/v1/users",
    tag = "users",
    params(Listing),
    responses((status = 200, description = "Some users, and where the list goes on.", body = Page<Shown>))
)]
pub(super) async fn users(caller: Caller, Query(listing): Query<Listing>) -> Result<HttpResponse, Problem> {
    list(&caller, Sort::User, &listing)
}

/// Reads a user.
#[utoipa::path(
    get,
    path = "/v1/users/{name}",
    tag = "users",
    params(("name" = String, Path, description = "The user.")),
    responses((status = 200, description = "The user.", body = Shown), (status = 404, description = "`unknown`"))
)]
pub(super) async fn user(caller: Caller, name: Path<String>) -> Result<HttpResponse, Problem> {
    get(&caller, Sort::User, &name)
}

/// Adds a user, or changes what is said of one that is there.
#[utoipa::path(
    put,
    path = "/v1/users/{name}",
    tag = "users",
    params(
        ("name" = String, Path, description = "1 to 128 of A-Z a-z 0-9 . _ ~ : @ -"),
        ("If-Match" = Option<String>, Header, description = "The `ETag` that the change is made for."),
    ),
    request_body = Membership,
    responses(
        (status = 201, description = "It is added.", body = Shown),
        (status = 200, description = "It was there, and is so now.", body = Shown),
        (status = 409, description = "`contradiction`: it is a service, or nobody could administer the tenant any more"),
        (status = 412, description = "`version-mismatch`"),
        (status = 422, description = "`malformed` or `unfit`: what does not fit is named"),
    )
)]
pub(super) async fn put_user(
    caller: Caller,
    name: Path<String>,
    if_match: IfMatch,
    Object(membership): Object<Membership>,
) -> Result<HttpResponse, Problem> {
    put(&caller, Sort::User, &name, if_match, membership).await
}

/// Removes a user and their tokens.
#[utoipa::path(
    delete,
    path = "/v1/users/{name}",
    tag = "users",
    params(
        ("name" = String, Path, description = "The user."),
        ("If-Match" = Option<String>, Header, description = "The `ETag` that the change is made for."),
        Because,
    ),
    responses(
        (status = 204, description = "It is removed."),
        (status = 404, description = "`unknown`"),
        (status = 409, description = "`contradiction`: nobody could administer the tenant any more"),
        (status = 412, description = "`version-mismatch`"),
    )
)]
pub(super) async fn remove_user(
    caller: Caller,
    name: Path<String>,
    if_match: IfMatch,
    Query(because): Query<Because>,
) -> Result<HttpResponse, Problem> {
    remove(&caller, Sort::User, &name, if_match, because).await
}

/// Lists the services, in the order of their names.
#[utoipa::path(
    get,
    path = "/v1/services",
    tag = "services",
    params(Listing),
    responses((status = 200, description = "Some services, and where the list goes on.", body = Page<Shown>))
)]
pub(super) async fn services(
    caller: Caller,
    Query(listing): Query<Listing>,
) -> Result<HttpResponse, Problem> {
    list(&caller, Sort::Service, &listing)
}

/// Reads a service.
#[utoipa::path(
    get,
    path = "/v1/services/{name}",
    tag = "services",
    params(("name" = String, Path, description = "The service.")),
    responses((status = 200, description = "The service.", body = Shown), (status = 404, description = "`unknown`"))
)]
pub(super) async fn service(caller: Caller, name: Path<String>) -> Result<HttpResponse, Problem> {
    get(&caller, Sort::Service, &name)
}

/// Adds a service, or changes what is said of one that is there.
#[utoipa::path(
    put,
    path = "/v1/services/{name}",
    tag = "services",
    params(
        ("name" = String, Path, description = "1 to 128 of A-Z a-z 0-9 . _ ~ : @ -"),
        ("If-Match" = Option<String>, Header, description = "The `ETag` that the change is made for."),
    ),
    request_body = Membership,
    responses(
        (status = 201, description = "It is added.", body = Shown),
        (status = 200, description = "It was there, and is so now.", body = Shown),
        (status = 409, description = "`contradiction`: it is a user"),
        (status = 412, description = "`version-mismatch`"),
        (status = 422, description = "`malformed` or `unfit`: what does not fit is named"),
    )
)]
pub(super) async fn put_service(
    caller: Caller,
    name: Path<String>,
    if_match: IfMatch,
    Object(membership): Object<Membership>,
) -> Result<HttpResponse, Problem> {
    put(&caller, Sort::Service, &name, if_match, membership).await
}

/// Removes a service and its tokens.
#[utoipa::path(
    delete,
    path = "/v1/services/{name}",
    tag = "services",
    params(
        ("name" = String, Path, description = "The service."),
        ("If-Match" = Option<String>, Header, description = "The `ETag` that the change is made for."),
        Because,
    ),
    responses(
        (status = 204, description = "It is removed."),
        (status = 404, description = "`unknown`"),
        (status = 412, description = "`version-mismatch`"),
    )
)]
pub(super) async fn remove_service(
    caller: Caller,
    name: Path<String>,
    if_match: IfMatch,
    Query(because): Query<Because>,
) -> Result<HttpResponse, Problem> {
    remove(&caller, Sort::Service, &name, if_match, because).await
}

fn list(caller: &Caller, sort: Sort, listing: &Listing) -> Result<HttpResponse, Problem> {
    let directory = caller.govern(Verb::Audit)?.directory();
    let after = listing.after.as_deref().unwrap_or("");
    let principals = directory.tenants.get(caller.tenant()).map(|tenant| &tenant.principals);
    let selected = principals
        .into_iter()
        .flatten()
        .filter(|(name, principal)| principal.sort == sort && (after.is_empty() || name.as_str() > after));
    let shown = selected.map(|(name, principal)| (Shown::of(name, principal), name.to_string()));
    let page = Page::of(shown, listing.limit.get())?;
    Ok(HttpResponse::Ok().insert_header((ETAG, etag(directory.version))).json(page))
}

fn get(caller: &Caller, sort: Sort, name: &str) -> Result<HttpResponse, Problem> {
    let directory = caller.govern(Verb::Audit)?.directory();
    let name = named("a name", name)?;
    let found = found(directory.principal(caller.tenant(), &name), sort, &name)?;
    Ok(HttpResponse::Ok().insert_header((ETAG, etag(directory.version))).json(Shown::of(&name, found)))
}

async fn put(
    caller: &Caller,
    sort: Sort,
    name: &str,
    if_match: IfMatch,
    membership: Membership,
) -> Result<HttpResponse, Problem> {
    let governed = caller.govern(Verb::Administer)?;
    let Membership { roles: granted, disabled, reason } = membership;
    let name = named("a name", name)?;
    let before = governed.directory();
    let expected = expected(if_match, before.version)?;
    let was_there = before.principal(caller.tenant(), &name).is_some();
    let roles = granted.map(|granted| roles(&granted));
    let change = Change::PutPrincipal { name: name.clone(), sort, roles, disabled };
    let version = governed.change(caller.tenant(), change, reason, expected).await?;
    let after: Arc<_> = governed.directory();
    // Another change may have followed at once.
    let shown = Shown::of(&name, found(after.principal(caller.tenant(), &name), sort, &name)?);
    let mut answer = if was_there { HttpResponse::Ok() } else { HttpResponse::Created() };
    Ok(answer.insert_header((ETAG, etag(version))).json(shown))
}

async fn remove(
    caller: &Caller,
    sort: Sort,
    name: &str,
    if_match: IfMatch,
    because: Because,
) -> Result<HttpResponse, Problem> {
    let governed = caller.govern(Verb::Administer)?;
    let expected = expected(if_match, governed.directory().version)?;
    let change = Change::RemovePrincipal { name: named("a name", name)?, sort };
    governed.change(caller.tenant(), change, because.reason, expected).await?;
    Ok(HttpResponse::NoContent().finish())
}

fn found<'a>(principal: Option<&'a Principal>, sort: Sort, name: &str) -> Result<&'a Principal, Problem> {
    let unknown = || runtime::directory::Refused::Unknown(format!("{} `{name}`", sort.as_str()));
    Ok(principal.filter(|principal| principal.sort == sort).ok_or_else(unknown)?)
}
