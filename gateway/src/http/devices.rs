//! The registry: which devices there are, and as what.

use actix_web::HttpResponse;
use actix_web::http::header::LOCATION;
use actix_web::web::{self, Path};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use futures_util::{StreamExt, stream};
use runtime::access::Verb;
use serde::{Deserialize, Serialize};
use twins::id::TwinId;
use twins::input::Input;
use twins::json::Document;
use twins::kind::DEVICE;
use twins::name::Name;
use twins::rejection::Code;
use twins::reply::Reply;
use twins::time::Timestamp;
use twins::twin::Twin;
use utoipa::{IntoParams, ToSchema};

use super::body::Object;
use super::caller::{Allowed, Caller, unexpected};
use super::page::{Limit, Page};
use super::problem::Problem;
use super::query::Query;
use super::readable;

/// How many twins of a page are read at once.
const READS_MAX: usize = 64;

/// What a device is registered as.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields, expecting = "an object with `kind`, `tags` or both")]
pub(super) struct Registration {
    /// What kind of twin it has: `device` where nothing is said.
    kind: Option<String>,
    /// Its tags; they replace those that it has. Left out, those stay.
    #[schema(value_type = Object)]
    tags: Option<Document>,
}

/// A registered device.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Device {
    id: String,
    kind: String,
    /// When it was registered.
    #[schema(value_type = String, format = DateTime)]
    created: Timestamp,
    /// How often the id was registered: a later one is another device.
    generation: u32,
    /// `connected` or `disconnected`.
    connection: &'static str,
    #[schema(value_type = Object)]
    tags: Document,
}

/// Which devices to list.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Listing {
    /// At most so many.
    #[param(value_type = usize, default = 100, minimum = 1, maximum = 1000)]
    limit: Limit,
    /// The `next` of the page before.
    after: Option<String>,
}

impl Device {
    /// What may be read of it.
    fn of(allowed: &Allowed<'_>, twin: &Twin) -> Self {
        let id = allowed.id();
        let is_connected = twin.sessions().connected().next().is_some();
        Self {
            id: id.id().to_owned(),
            kind: twin.kind().to_owned(),
            created: twin.created(),
            generation: twin.generation(),
            connection: if is_connected { "connected" } else { "disconnected" },
            tags: readable::section(twin.tags().document(), "tags", &allowed.reach(Verb::Read)),
        }
    }
}

/// Registers a device.
///
/// One that is there has to be of the same kind, and gets these tags.
#[utoipa::path(
    put,
    path = "/v1/devices/{id}",
    tag = "devices",
    params(("id" = String, Path, description = "1 to 128 of A-Z a-z 0-9 . _ ~ : @ -")),
    request_body = Option<Registration>,
    responses(
        (status = 201, description = "It is registered.", body = Device),
        (status = 200, description = "It was registered before.", body = Device),
        (status = 409, description = "`conflict`: it is of another kind"),
        (status = 422, description = "`unknown-kind`, or `malformed`: what does not fit is named"),
    )
)]
pub(super) async fn register(
    caller: Caller,
    id: Path<String>,
    Object(registration): Object<Option<Registration>>,
) -> Result<HttpResponse, Problem> {
    let device = caller.may(Verb::Register, &id, "")?;
    let Registration { kind, tags } = registration.unwrap_or_default();
    if tags.is_some() {
        // Whoever registers gives the tags; but what a policy keeps from being written, registering does not write.
        caller.may_whole(Verb::Register, &id, &["tags".to_owned()])?;
        if device.reach(Verb::Write).denies_below("tags") {
            caller.may_whole(Verb::Write, &id, &["tags".to_owned()])?;
        }
    }
    let kind = Name::new("`kind`", kind.as_deref().unwrap_or(DEVICE))?;
    let (created, twin) = match device.ask(Input::Register { kind, tags, with: None }).await? {
        Reply::Registered { created, twin } => (created, twin),
        other => return Err(unexpected(&other)),
    };
    let shown = Device::of(&device, &twin);
    if !created {
        return Ok(HttpResponse::Ok().json(shown));
    }
    let location = format!("/v1/devices/{}", device.id().id());
    Ok(HttpResponse::Created().insert_header((LOCATION, location)).json(shown))
}

/// Reads a device.
#[utoipa::path(
    get,
    path = "/v1/devices/{id}",
    tag = "devices",
    params(("id" = String, Path, description = "The device's id.")),
    responses(
        (status = 200, description = "The device.", body = Device),
        (status = 404, description = "`unknown-twin`"),
    )
)]
pub(super) async fn get(caller: Caller, id: Path<String>) -> Result<web::Json<Device>, Problem> {
    let device = caller.may(Verb::Read, &id, "")?;
    let twin = device.read().await?;
    Ok(web::Json(Device::of(&device, &twin)))
}

/// Removes a device with its twin.
///
/// Its connections are closed; its history stays.
#[utoipa::path(
    delete,
    path = "/v1/devices/{id}",
    tag = "devices",
    params(("id" = String, Path, description = "The device's id.")),
    responses(
        (status = 204, description = "It is removed."),
        (status = 404, description = "`unknown-twin`"),
    )
)]
pub(super) async fn remove(caller: Caller, id: Path<String>) -> Result<HttpResponse, Problem> {
    caller.may(Verb::Register, &id, "")?.ask(Input::Remove).await?;
    Ok(HttpResponse::NoContent().finish())
}

/// Lists the devices, in the order of their ids.
#[utoipa::path(
    get,
    path = "/v1/devices",
    tag = "devices",
    params(Listing),
    responses((status = 200, description = "Some devices, and where the list goes on.", body = Page<Device>))
)]
pub(super) async fn list(
    caller: Caller,
    Query(Listing { limit, after }): Query<Listing>,
) -> Result<web::Json<Page<Device>>, Problem> {
    let after = after.map(|after| resume(caller.tenant(), &after)).transpose()?;
    // One more than asked for tells whether the list goes on.
    let ids = caller.ids(after.as_ref(), limit.get() + 1).await?;
    let mut devices = stream::iter(ids.iter().take(limit.get()))
        .map(|id| read(&caller, id))
        .buffered(READS_MAX)
        .enumerate();
    let mut page = Page::new();
    let mut done = 0;
    while let Some((index, device)) = devices.next().await {
        device?.map(|device| page.push(&device)).transpose()?;
        done = index + 1;
        if page.is_full() {
            break;
        }
    }
    let next = if done < ids.len() { ids[..done].last() } else { None };
    Ok(web::Json(page.or_next(next.map(place))))
}

/// A device of the list; `None` if it went meanwhile, or is not for this caller to see.
async fn read(caller: &Caller, id: &TwinId) -> Result<Option<Device>, Problem> {
    let Ok(device) = caller.may(Verb::Read, id.id(), "") else { return Ok(None) };
    match device.read().await {
        Ok(twin) => Ok(Some(Device::of(&device, &twin))),
        Err(problem) if problem.code() == Code::UnknownTwin.as_str() => Ok(None),
        Err(problem) => Err(problem),
    }
}

/// A place in the list of devices, as callers pass it back.
fn place(id: &TwinId) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(id.id())
}

fn resume(tenant: &str, place: &str) -> Result<TwinId, Problem> {
    let id = BASE64_URL_SAFE_NO_PAD.decode(place).ok().and_then(|id| String::from_utf8(id).ok());
    let id = id.and_then(|id| TwinId::new(tenant, &id).ok());
    id.ok_or_else(|| Problem::parameter("parameter `after`: it is not the `next` of a page of devices"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_leads_back_to_its_device_in_the_tenant_of_whoever_asks() {
        let id = TwinId::new("acme", "pump:7@hall~2").unwrap();

        assert_eq!(resume("acme", &place(&id)).unwrap(), id);
        assert_eq!(resume("other", &place(&id)).unwrap().tenant(), "other");
    }

    #[test]
    fn a_place_that_no_page_gave_is_refused() {
        for place in ["", "pump 7", "Li4", "bWU"] {
            assert_eq!(resume("acme", place).unwrap_err().code(), "bad-parameter", "{place}");
        }
    }
}
