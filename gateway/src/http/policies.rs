//! Policies of a tenant: who may do what to which parts of which devices, where roles are too coarse.

use actix_web::HttpResponse;
use actix_web::http::header::ETAG;
use actix_web::web::Path;
use runtime::access::Verb;
use runtime::directory::{Change, DevicePattern, Effect, Malformed, PathPattern, Policy, Refused, Whom};
use serde::{Deserialize, Serialize};
use twins::name::Name;
use utoipa::ToSchema;

use super::body::Object;
use super::caller::Caller;
use super::etag::IfMatch;
use super::names::{VerbName, etag, expected, named, verbs};
use super::page::Page;
use super::people::{Because, Listing};
use super::problem::Problem;
use super::query::Query;

/// What a policy says.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, expecting = "an object with `effect`, `who`, `verbs` and more")]
pub(super) struct Rule {
    /// `allow`, or `deny`, which wins.
    effect: Which,
    /// Whom: `*` for everybody, `role:ROLE`, or the name of a user or a service; 1 to 32 of them.
    who: Vec<String>,
    /// Of which devices: `pump-*`. Left out: of all.
    #[serde(default = "any_device")]
    devices: String,
    /// Of which parts of a twin, with all below: `desired/heating`, `commands/open`, `telemetry/*`. Left out: of all.
    #[serde(default = "any_path")]
    path: String,
    /// Of `read`, `write`, `control`, `register`, `activate`, `secure`.
    #[schema(value_type = Vec<String>)]
    verbs: Vec<VerbName>,
    /// Why, for the audit: at most 512 bytes.
    reason: Option<String>,
}

/// [`Effect`], as it is written.
#[derive(Debug, Clone, Copy, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum Which {
    Allow,
    Deny,
}

/// A policy.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Policy)]
pub(super) struct Shown<'a> {
    name: &'a str,
    effect: &'static str,
    who: Vec<String>,
    devices: &'a str,
    path: &'a str,
    verbs: Vec<&'static str>,
}

fn any_device() -> String {
    "*".into()
}

fn any_path() -> String {
    "**".into()
}

impl Rule {
    fn policy(self) -> Result<(Policy, Option<String>), Problem> {
        let unfit = |why: String| Problem::from(Refused::Unfit(why));
        let pattern = |member: &'static str| move |error: Malformed| unfit(format!("`{member}`: {error}"));
        let whom = |text: &String| {
            let shown: String = text.chars().take(40).flat_map(char::escape_debug).collect();
            let no_one = format!("`who`: `{shown}` is not `*`, `role:ROLE` or a name");
            Whom::parse(text).ok_or_else(|| unfit(no_one))
        };
        let policy = Policy {
            effect: match self.effect {
                Which::Allow => Effect::Allow,
                Which::Deny => Effect::Deny,
            },
            who: self.who.iter().map(whom).collect::<Result<_, _>>()?,
            devices: DevicePattern::new(&self.devices).map_err(pattern("devices"))?,
            path: PathPattern::new(&self.path).map_err(pattern("path"))?,
            verbs: verbs(&self.verbs),
        };
        let beside = [Verb::Administer, Verb::Audit, Verb::Speak];
        if let Some(verb) = beside.into_iter().find(|verb| policy.verbs.contains(*verb)) {
            let verb = verb.as_str();
            return Err(unfit(format!("`verbs`: `{verb}` is not of devices; only roles give it")));
        }
        Ok((policy, self.reason))
    }
}

impl<'a> Shown<'a> {
    fn of(name: &'a Name, policy: &'a Policy) -> Self {
        Self {
            name,
            effect: policy.effect.as_str(),
            who: policy.who.iter().map(ToString::to_string).collect(),
            devices: policy.devices.as_str(),
            path: policy.path.as_str(),
            verbs: policy.verbs.iter().map(Verb::as_str).collect(),
        }
    }
}

/// Lists the policies, in the order of their names.
#[utoipa::path(
    get,
    path = "/v1/policies",
    tag = "policies",
    params(Listing),
    responses((status = 200, description = "Some policies, and where the list goes on.", body = Page<Shown>))
)]
pub(super) async fn list(caller: Caller, Query(listing): Query<Listing>) -> Result<HttpResponse, Problem> {
    let directory = caller.govern(Verb::Audit)?.directory();
    let after = listing.after.as_deref().unwrap_or("");
    let policies = directory.tenants.get(caller.tenant()).map(|tenant| &tenant.policies);
    let selected =
        policies.into_iter().flatten().filter(|(name, _)| after.is_empty() || name.as_str() > after);
    let shown = selected.map(|(name, policy)| (Shown::of(name, policy), name.to_string()));
    let page = Page::of(shown, listing.limit.get())?;
    Ok(HttpResponse::Ok().insert_header((ETAG, etag(directory.version))).json(page))
}

/// Reads a policy.
#[utoipa::path(
    get,
    path = "/v1/policies/{name}",
    tag = "policies",
    params(("name" = String, Path, description = "The policy.")),
    responses((status = 200, description = "The policy.", body = Shown), (status = 404, description = "`unknown`"))
)]
pub(super) async fn get(caller: Caller, name: Path<String>) -> Result<HttpResponse, Problem> {
    let directory = caller.govern(Verb::Audit)?.directory();
    let name = named("the name of a policy", &name)?;
    let policy = directory.tenants.get(caller.tenant()).and_then(|tenant| tenant.policies.get(&name));
    let policy = policy.ok_or_else(|| Refused::Unknown(format!("policy `{name}`")))?;
    Ok(HttpResponse::Ok().insert_header((ETAG, etag(directory.version))).json(Shown::of(&name, policy)))
}

/// Adds a policy, or replaces it. It counts at once.
#[utoipa::path(
    put,
    path = "/v1/policies/{name}",
    tag = "policies",
    params(
        ("name" = String, Path, description = "1 to 128 of A-Z a-z 0-9 . _ ~ : @ -"),
        ("If-Match" = Option<String>, Header, description = "The `ETag` that the change is made for."),
    ),
    request_body = Rule,
    responses(
        (status = 200, description = "It counts.", body = Shown),
        (status = 412, description = "`version-mismatch`"),
        (status = 422, description = "`malformed` or `unfit`: what does not fit is named"),
        (status = 429, description = "`too-many`: there are as many as may be"),
    )
)]
pub(super) async fn put(
    caller: Caller,
    name: Path<String>,
    if_match: IfMatch,
    Object(rule): Object<Rule>,
) -> Result<HttpResponse, Problem> {
    let governed = caller.govern(Verb::Administer)?;
    let name = named("the name of a policy", &name)?;
    let (policy, reason) = rule.policy()?;
    let expected = expected(if_match, governed.directory().version)?;
    let change = Change::PutPolicy { name: name.clone(), policy: policy.clone() };
    let version = governed.change(caller.tenant(), change, reason, expected).await?;
    Ok(HttpResponse::Ok().insert_header((ETAG, etag(version))).json(Shown::of(&name, &policy)))
}

/// Removes a policy.
#[utoipa::path(
    delete,
    path = "/v1/policies/{name}",
    tag = "policies",
    params(
        ("name" = String, Path, description = "The policy."),
        ("If-Match" = Option<String>, Header, description = "The `ETag` that the change is made for."),
        Because,
    ),
    responses(
        (status = 204, description = "It is removed."),
        (status = 404, description = "`unknown`"),
        (status = 412, description = "`version-mismatch`"),
    )
)]
pub(super) async fn remove(
    caller: Caller,
    name: Path<String>,
    if_match: IfMatch,
    Query(because): Query<Because>,
) -> Result<HttpResponse, Problem> {
    let governed = caller.govern(Verb::Administer)?;
    let expected = expected(if_match, governed.directory().version)?;
    let change = Change::RemovePolicy { name: named("the name of a policy", &name)? };
    governed.change(caller.tenant(), change, because.reason, expected).await?;
    Ok(HttpResponse::NoContent().finish())
}
