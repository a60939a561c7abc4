//! Tokens: what people and services show. The text of one is in the answer that makes it, and nowhere else ever.

use std::time::Duration;

use actix_web::HttpResponse;
use actix_web::web::Path;
use runtime::access::{Denied, Identity, Verb};
use runtime::directory::{Change, Directory, LIFE_MAX, Refused, Roles, Token, TokenId};
use serde::{Deserialize, Serialize};
use twins::name::Name;
use twins::time::Timestamp;
use utoipa::ToSchema;

use super::body::Object;
use super::caller::Caller;
use super::names::{RoleName, named, roles, shown_roles};
use super::page::Page;
use super::people::{Because, Listing};
use super::problem::Problem;
use super::query::Query;
use crate::trust::token::{LIFE, Text};

/// A token to be made.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, expecting = "an object with `owner`, `roles`, `ttl_s`, `reason`")]
#[schema(as = WantedToken)]
pub(super) struct Wanted {
    /// Whose it is: a user or a service; else the caller's own.
    owner: Option<String>,
    /// What it may be used for at most: what these roles grant. Left out: for all that its owner may.
    #[schema(value_type = Option<Vec<String>>)]
    roles: Option<Vec<RoleName>>,
    /// After so many seconds it ends: 90 days where nothing is said, at most ten years.
    ttl_s: Option<u64>,
    /// Why, for the audit: at most 512 bytes.
    reason: Option<String>,
}

/// A token that was made.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = MadeToken)]
pub(super) struct Made<'a> {
    /// The token itself. It is not kept, and cannot be shown again.
    token: String,
    #[serde(flatten)]
    shown: Shown<'a>,
}

/// What is known of a token.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Token)]
pub(super) struct Shown<'a> {
    id: String,
    owner: &'a str,
    /// What it may be used for at most; null: for all that its owner may.
    roles: Option<Vec<&'static str>>,
    #[schema(value_type = String, format = DateTime)]
    created: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    expires: Timestamp,
    /// When it was seen in a URL, where it can be read by others: remove it.
    #[schema(value_type = Option<String>, format = DateTime)]
    exposed: Option<Timestamp>,
}

impl<'a> Shown<'a> {
    fn of(id: TokenId, token: &'a Token) -> Self {
        let Token { owner, scope, created, expires, exposed, .. } = token;
        let (created, expires, exposed) = (*created, *expires, *exposed);
        Self { id: id.to_string(), owner, roles: scope.map(shown_roles), created, expires, exposed }
    }
}

/// Makes a token.
///
/// Who administers the tenant makes one for anybody in it. Everybody else makes one for themselves, which goes no further
/// and lives no longer than the one they show.
#[utoipa::path(
    post,
    path = "/v1/tokens",
    tag = "tokens",
    request_body = Option<Wanted>,
    responses(
        (status = 201, description = "The token. Keep it: it is not shown again.", body = Made),
        (status = 403, description = "`forbidden`: it is another's, or goes further than the caller's own"),
        (status = 404, description = "`unknown` owner"),
        (status = 422, description = "`malformed` or `unfit`: what does not fit is named"),
        (status = 429, description = "`too-many`: there are as many as may be"),
    )
)]
pub(super) async fn make(
    caller: Caller,
    Object(wanted): Object<Option<Wanted>>,
) -> Result<HttpResponse, Problem> {
    let Wanted { owner, roles: limited, ttl_s, reason } = wanted.unwrap_or_default();
    let owner = owner.map(|owner| named("`owner`", &owner)).transpose()?;
    let life = ttl_s.map_or(LIFE, Duration::from_secs);
    if life > LIFE_MAX || life.is_zero() {
        let why = "a token ends later than now, and in at most ten years";
        return Err(Refused::Unfit(why.to_owned()).into());
    }
    let mut asked = Limits { scope: limited.as_deref().map(roles), expires: caller.now() + life };
    let own = me(&caller);
    let owner = owner.or_else(|| own.as_ref().map(|(name, _)| name.clone()));
    let owner = owner.ok_or_else(|| Problem::parameter("`owner`: say whose it is"))?;
    let governed = match own {
        Some((name, shown)) if name == owner && !caller.governs(Verb::Administer) => {
            let governed = caller.govern_self()?;
            asked.narrow(&governed.directory(), shown)?;
            governed
        }
        _ => caller.govern(Verb::Administer)?,
    };
    let text = Text::new().map_err(|error| Problem::internal(error.to_string()))?;
    let (id, digest, Limits { scope, expires }) = (text.id(), text.digest(), asked);
    let change = Change::AddToken { id, owner, digest, scope, expires };
    governed.change(caller.tenant(), change, reason, None).await?;
    let after = governed.directory();
    let token = known(&after, &caller, id)?;
    Ok(HttpResponse::Created().json(Made { token: text.reveal(), shown: Shown::of(id, token) }))
}

/// How far a token goes, and for how long.
struct Limits {
    scope: Option<Roles>,
    expires: Timestamp,
}

impl Limits {
    /// No further than the token that was shown.
    fn narrow(&mut self, directory: &Directory, shown: Option<TokenId>) -> Result<(), Problem> {
        // A node in `dev` asks for none.
        let Some(shown) = shown else { return Ok(()) };
        let gone = || Denied::Unauthenticated("the token that was shown is not valid any more".into());
        let shown = directory.tokens.get(&shown).ok_or_else(gone)?;
        let owner = directory.principal(&shown.tenant, &shown.owner).ok_or_else(gone)?;
        self.expires = self.expires.min(shown.expires);
        self.scope = self.scope.or(shown.scope);
        match shown.covers(owner.roles, self.scope) {
            true => Ok(()),
            false => {
                let why =
                    "a token that goes further than the one that was shown, or leaves a role of it behind";
                Err(Denied::Forbidden(why.to_owned()).into())
            }
        }
    }
}

/// Lists tokens, in the order of their ids: who may read the audit sees the tenant's, everybody else their own.
#[utoipa::path(
    get,
    path = "/v1/tokens",
    tag = "tokens",
    params(Listing),
    responses((status = 200, description = "Some tokens, and where the list goes on.", body = Page<Shown>))
)]
pub(super) async fn list(caller: Caller, Query(listing): Query<Listing>) -> Result<HttpResponse, Problem> {
    let after = listing.after.as_deref().map(str::parse::<TokenId>).transpose();
    let after = after
        .map_err(|_| Problem::parameter("parameter `after`: it is not the `next` of a page of tokens"))?;
    let all = caller.governs(Verb::Audit);
    let own = me(&caller).map(|(name, _)| name);
    let directory = caller.directory()?;
    let selected = directory.tokens.iter().filter(|(id, token)| {
        token.tenant == caller.tenant()
            && (all || own.as_ref() == Some(&token.owner))
            && after.is_none_or(|after| **id > after)
    });
    let shown = selected.map(|(id, token)| (Shown::of(*id, token), id.to_string()));
    Ok(HttpResponse::Ok().json(Page::of(shown, listing.limit.get())?))
}

/// Removes a token: it lets nobody in from now on, and what it let in is ended.
#[utoipa::path(
    delete,
    path = "/v1/tokens/{id}",
    tag = "tokens",
    params(("id" = String, Path, description = "The token's id, which is not the token."), Because),
    responses((status = 204, description = "It is removed."), (status = 404, description = "`unknown`"))
)]
pub(super) async fn remove(
    caller: Caller,
    id: Path<String>,
    Query(because): Query<Because>,
) -> Result<HttpResponse, Problem> {
    let unknown = || Problem::from(Refused::Unknown("such token".to_owned()));
    let id: TokenId = id.parse().map_err(|_| unknown())?;
    let own = me(&caller).map(|(name, _)| name);
    let governed = caller.govern_self()?;
    let directory = governed.directory();
    // To who does not administer the tenant, the tokens of others are as if they were not.
    let is_own = known(&directory, &caller, id).is_ok_and(|token| own.as_ref() == Some(&token.owner));
    if !is_own && !caller.governs(Verb::Administer) {
        return Err(unknown());
    }
    governed.change(caller.tenant(), Change::RemoveToken { id }, because.reason, None).await?;
    Ok(HttpResponse::NoContent().finish())
}

fn known<'a>(directory: &'a Directory, caller: &Caller, id: TokenId) -> Result<&'a Token, Problem> {
    let token = directory.tokens.get(&id).filter(|token| token.tenant == caller.tenant());
    Ok(token.ok_or_else(|| Refused::Unknown(format!("token {id}")))?)
}

/// The caller's name, and the token they showed.
fn me(caller: &Caller) -> Option<(Name, Option<TokenId>)> {
    match caller.identity() {
        Identity::User { name, token, .. } => Some((name.clone(), *token)),
        Identity::Device { .. } => None,
    }
}
