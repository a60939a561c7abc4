//! Tenants: worlds of their own on one node, for whoever operates it.

use std::collections::BTreeMap;
use std::num::NonZeroU32;

use actix_web::HttpResponse;
use actix_web::web::Path;
use runtime::directory::{Change, Limits, Refused, Tenant};
use serde::{Deserialize, Deserializer, Serialize};
use twins::time::Timestamp;
use utoipa::ToSchema;

use super::body::Object;
use super::caller::Caller;
use super::names::named;
use super::page::Page;
use super::people::{Because, Listing};
use super::problem::Problem;
use super::query::Query;
use crate::trust::token::{LIFE, Text};

/// A tenant to be made.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, expecting = "an object with `name` and `admin`")]
#[schema(as = WantedTenant)]
pub(super) struct Wanted {
    /// 1 to 64 of A-Z a-z 0-9 . _ ~ : @ -
    name: String,
    /// The user who administers it.
    admin: String,
    /// Why, for the audit: at most 512 bytes.
    reason: Option<String>,
}

/// A tenant that was made.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = MadeTenant)]
pub(super) struct Made<'a> {
    /// The user who administers it.
    admin: &'a str,
    /// Their token. It is not kept, and cannot be shown again.
    token: String,
    #[schema(value_type = String, format = DateTime)]
    expires: Timestamp,
    #[serde(flatten)]
    shown: Shown<'a>,
}

/// Who is to administer a tenant.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, expecting = "an object with `admin`")]
pub(super) struct Admission {
    /// A user, who is made where there is none of that name.
    admin: String,
    /// Why, for the audit: at most 512 bytes.
    reason: Option<String>,
}

/// What a tenant becomes: one of the two, since each is an entry of the audit.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, expecting = "an object with `disabled` or `limits`")]
#[schema(as = TenantChanges)]
pub(super) struct Changes {
    /// Whether nobody of it is let in.
    disabled: Option<bool>,
    /// How much it may take.
    limits: Option<Limited>,
    /// Why, for the audit: at most 512 bytes.
    reason: Option<String>,
}

/// Limits that change: what is left out stays, and null makes it what the node has for all.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(
    deny_unknown_fields,
    expecting = "an object with `devices`, `connections`, `messages_per_s`, `streams`, `waits`, `device_messages_per_s`, `device_bytes_per_s`"
)]
pub(super) struct Limited {
    /// Registered devices.
    #[serde(default, deserialize_with = "said")]
    #[schema(value_type = Option<u32>, minimum = 1)]
    devices: Said,
    /// MQTT connections at once.
    #[serde(default, deserialize_with = "said")]
    #[schema(value_type = Option<u32>, minimum = 1)]
    connections: Said,
    /// Packets and requests a second, of its devices and people together.
    #[serde(default, deserialize_with = "said")]
    #[schema(value_type = Option<u32>, minimum = 1)]
    messages_per_s: Said,
    /// Streams of events at once.
    #[serde(default, deserialize_with = "said")]
    #[schema(value_type = Option<u32>, minimum = 1)]
    streams: Said,
    /// Calls of devices that wait at once.
    #[serde(default, deserialize_with = "said")]
    #[schema(value_type = Option<u32>, minimum = 1)]
    waits: Said,
    /// Packets and requests of one device a second.
    #[serde(default, deserialize_with = "said")]
    #[schema(value_type = Option<u32>, minimum = 1)]
    device_messages_per_s: Said,
    /// Bytes of them.
    #[serde(default, deserialize_with = "said")]
    #[schema(value_type = Option<u32>, minimum = 1)]
    device_bytes_per_s: Said,
}

/// A limit, where something is said of it: null is that of the node.
type Said = Option<Option<NonZeroU32>>;

fn said<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Said, D::Error> {
    Option::<NonZeroU32>::deserialize(deserializer).map(Some)
}

impl Limited {
    /// What these make of the limits before.
    fn over(self, before: Limits) -> Limits {
        Limits {
            devices: self.devices.unwrap_or(before.devices),
            connections: self.connections.unwrap_or(before.connections),
            messages_per_s: self.messages_per_s.unwrap_or(before.messages_per_s),
            streams: self.streams.unwrap_or(before.streams),
            waits: self.waits.unwrap_or(before.waits),
            device_messages_per_s: self.device_messages_per_s.unwrap_or(before.device_messages_per_s),
            device_bytes_per_s: self.device_bytes_per_s.unwrap_or(before.device_bytes_per_s),
        }
    }
}

/// A tenant.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Tenant)]
pub(super) struct Shown<'a> {
    name: &'a str,
    disabled: bool,
    #[schema(value_type = String, format = DateTime)]
    created: Timestamp,
    /// How many users and services it has.
    principals: usize,
    /// How many policies it has.
    policies: usize,
    /// How much it may take, as far as that is not what the node has for all.
    #[schema(value_type = Object)]
    limits: BTreeMap<&'static str, NonZeroU32>,
}

impl<'a> Shown<'a> {
    fn of(name: &'a str, tenant: &Tenant) -> Self {
        let (disabled, created) = (tenant.disabled, tenant.created);
        let (principals, policies) = (tenant.principals.len(), tenant.policies.len());
        let limits = tenant.limits.named().into_iter().filter_map(|(name, limit)| Some((name, limit?)));
        Self { name, disabled, created, principals, policies, limits: limits.collect() }
    }
}

/// Makes a tenant, with a user who administers it and a token for them.
#[utoipa::path(
    post,
    path = "/v1/tenants",
    tag = "tenants",
    request_body = Wanted,
    responses(
        (status = 201, description = "It is made. Keep the token: it is not shown again.", body = Made),
        (status = 403, description = "`forbidden`: the caller does not operate this node"),
        (status = 409, description = "`contradiction`: there is one of that name"),
        (status = 422, description = "`malformed` or `unfit`: what does not fit is named"),
        (status = 429, description = "`too-many`: there are as many as may be"),
    )
)]
pub(super) async fn make(caller: Caller, Object(wanted): Object<Wanted>) -> Result<HttpResponse, Problem> {
    let governed = caller.operate()?;
    let Wanted { name, admin, reason } = wanted;
    let admin = named("`admin`", &admin)?;
    let text = Text::new().map_err(|error| Problem::internal(error.to_string()))?;
    let expires = caller.now() + LIFE;
    let (token, digest) = (text.id(), text.digest());
    let change = Change::AddTenant { admin: admin.clone(), token, digest, expires };
    governed.change(&name, change, reason, None).await?;
    let directory = governed.directory();
    let shown = Shown::of(&name, found(directory.tenants.get(&name).map(|tenant| &**tenant), &name)?);
    Ok(HttpResponse::Created().json(Made { admin: &admin, token: text.reveal(), expires, shown }))
}

/// Lists the tenants, in the order of their names.
#[utoipa::path(
    get,
    path = "/v1/tenants",
    tag = "tenants",
    params(Listing),
    responses((status = 200, description = "Some tenants, and where the list goes on.", body = Page<Shown>))
)]
pub(super) async fn list(caller: Caller, Query(listing): Query<Listing>) -> Result<HttpResponse, Problem> {
    let directory = caller.operate()?.directory();
    let after = listing.after.unwrap_or_default();
    let selected = directory.tenants.iter().filter(|(name, _)| after.is_empty() || **name > after);
    let shown = selected.map(|(name, tenant)| (Shown::of(name, tenant), name.clone()));
    Ok(HttpResponse::Ok().json(Page::of(shown, listing.limit.get())?))
}

/// Reads a tenant.
#[utoipa::path(
    get,
    path = "/v1/tenants/{name}",
    tag = "tenants",
    params(("name" = String, Path, description = "The tenant.")),
    responses((status = 200, description = "The tenant.", body = Shown), (status = 404, description = "`unknown`"))
)]
pub(super) async fn get(caller: Caller, name: Path<String>) -> Result<HttpResponse, Problem> {
    let directory = caller.operate()?.directory();
    let tenant = found(directory.tenants.get(&*name).map(|tenant| &**tenant), &name)?;
    Ok(HttpResponse::Ok().json(Shown::of(&name, tenant)))
}

/// Shuts a tenant out, with all its people and devices, or lets it in again; or says how much it may take.
///
/// A limit that is less than what there is takes nothing away: no more is let in until there is room.
#[utoipa::path(
    patch,
    path = "/v1/tenants/{name}",
    tag = "tenants",
    params(("name" = String, Path, description = "The tenant.")),
    request_body = Changes,
    responses(
        (status = 200, description = "It is so.", body = Shown),
        (status = 404, description = "`unknown`"),
        (status = 409, description = "`contradiction`: the tenant `default` operates the node"),
        (status = 412, description = "`version-mismatch`: the directory changed meanwhile; send it again"),
        (status = 422, description = "`unfit`: it says neither or both of `disabled` and `limits`"),
    )
)]
pub(super) async fn change(
    caller: Caller,
    name: Path<String>,
    Object(changes): Object<Changes>,
) -> Result<HttpResponse, Problem> {
    let governed = caller.operate()?;
    let (change, expected) = match changes {
        Changes { disabled: Some(disabled), limits: None, .. } => (Change::SetTenant { disabled }, None),
        Changes { disabled: None, limits: Some(limited), .. } => {
            let directory = governed.directory();
            let before = found(directory.tenants.get(&*name).map(|tenant| &**tenant), &name)?.limits;
            // What is left out stays as it was in that version.
            (Change::LimitTenant { limits: limited.over(before) }, Some(directory.version))
        }
        _ => return Err(Refused::Unfit("say one of `disabled` and `limits`".into()).into()),
    };
    governed.change(&name, change, changes.reason, expected).await?;
    let directory = governed.directory();
    let tenant = found(directory.tenants.get(&*name).map(|tenant| &**tenant), &name)?;
    Ok(HttpResponse::Ok().json(Shown::of(&name, tenant)))
}

/// Makes somebody administer a tenant, with a token for them: where nobody who does has one any more.
///
/// That is a user who was not there, or one who is an admin and may have been disabled. It is done as a whole or not at all.
#[utoipa::path(
    post,
    path = "/v1/tenants/{name}/admins",
    tag = "tenants",
    params(("name" = String, Path, description = "The tenant.")),
    request_body = Admission,
    responses(
        (status = 201, description = "It is so. Keep the token: it is not shown again.", body = Made),
        (status = 403, description = "`forbidden`: the caller does not operate this node"),
        (status = 404, description = "`unknown`"),
        (status = 409, description = "`contradiction`: somebody of that name is there, and is no admin"),
        (status = 429, description = "`too-many`: there are as many as may be"),
    )
)]
pub(super) async fn admit(
    caller: Caller,
    name: Path<String>,
    Object(admission): Object<Admission>,
) -> Result<HttpResponse, Problem> {
    let governed = caller.operate()?;
    let Admission { admin, reason } = admission;
    let admin = named("`admin`", &admin)?;
    let text = Text::new().map_err(|error| Problem::internal(error.to_string()))?;
    let (token, digest, expires) = (text.id(), text.digest(), caller.now() + LIFE);
    let change = Change::AdmitAdmin { admin: admin.clone(), token, digest, expires };
    governed.change(&name, change, reason, None).await?;
    let directory = governed.directory();
    let shown = Shown::of(&name, found(directory.tenants.get(&*name).map(|tenant| &**tenant), &name)?);
    Ok(HttpResponse::Created().json(Made { admin: &admin, token: text.reveal(), expires, shown }))
}

/// Removes a tenant with all that it defines.
///
/// It must be disabled, and its devices must be removed: its history is kept under its name, which nobody has again.
#[utoipa::path(
    delete,
    path = "/v1/tenants/{name}",
    tag = "tenants",
    params(("name" = String, Path, description = "The tenant."), Because),
    responses(
        (status = 204, description = "It is removed."),
        (status = 404, description = "`unknown`"),
        (status = 409, description = "`contradiction`: it is not disabled, or has devices"),
    )
)]
pub(super) async fn remove(
    caller: Caller,
    name: Path<String>,
    Query(because): Query<Because>,
) -> Result<HttpResponse, Problem> {
    let governed = caller.operate()?;
    let directory = governed.directory();
    let tenant = found(directory.tenants.get(&*name).map(|tenant| &**tenant), &name)?;
    // Nobody registers more while it is disabled.
    if tenant.disabled && caller.has_devices(&name).await? {
        let why = format!("the tenant `{}` has devices; let it in again and remove them first", *name);
        return Err(Refused::Conflict(why).into());
    }
    governed.change(&name, Change::RemoveTenant, because.reason, None).await?;
    Ok(HttpResponse::NoContent().finish())
}

fn found<'a>(tenant: Option<&'a Tenant>, name: &str) -> Result<&'a Tenant, Problem> {
    Ok(tenant.ok_or_else(|| Refused::Unknown(format!("tenant `{}`", name.escape_debug())))?)
}
