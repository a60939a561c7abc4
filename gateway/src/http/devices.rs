//! The registry: which devices there are, and as what.

use std::sync::Arc;

use actix_web::HttpResponse;
use actix_web::http::header::LOCATION;
use actix_web::web::{self, Path};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use futures_util::{StreamExt, stream};
use runtime::access::Verb;
use runtime::directory::Template;
use serde::{Deserialize, Serialize};
use twins::id::TwinId;
use twins::input::Input;
use twins::json::Document;
use twins::kind::DEVICE;
use twins::name::Name;
use twins::rejection::{Code, Rejection};
use twins::reply::Reply;
use twins::section::Which;
use twins::time::Timestamp;
use twins::trust;
use twins::twin::Twin;
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::body::Object;
use super::caller::{Allowed, Caller, unexpected};
use super::groups;
use super::lifecycle::read_reason;
use super::names::named;
use super::page::{Limit, Page};
use super::problem::Problem;
use super::provision::{self, ActivationKey, Invited, Office};
use super::query::Query;
use super::readable;
use super::trusted::Trusted;

/// How many twins of a page are read at once.
pub(super) const READS_MAX: usize = 64;

/// What a device is registered as.
#[derive(Debug, Clone, Default, Deserialize, ToSchema)]
#[serde(
    deny_unknown_fields,
    expecting = "an object with `kind`, `tags`, `catalogue`, `group`, `activation_key`, `activation_ttl_s`"
)]
pub(super) struct Registration {
    /// What kind of twin it has: `device` where nothing is said.
    kind: Option<String>,
    /// Its tags; they replace those that it has. Left out, those stay.
    #[schema(value_type = Object)]
    tags: Option<Document>,
    /// Its business data; it replaces what it has. Left out, that stays.
    #[schema(value_type = Object)]
    catalogue: Option<Document>,
    /// The enrolment group that speaks for it. A device that is new gets what the group's template says where nothing
    /// else is said here.
    group: Option<String>,
    /// What the device shows once to get its key. The same one again changes nothing.
    activation_key: Option<ActivationKey>,
    /// After so many seconds the activation key is not taken any more; else it has no end.
    activation_ttl_s: Option<u64>,
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
    /// Its business data.
    #[schema(value_type = Object)]
    catalogue: Document,
    #[serde(flatten)]
    trusted: Option<Trusted>,
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
    pub(super) fn of(allowed: &Allowed<'_>, twin: &Twin) -> Self {
        let (id, reach) = (allowed.id(), allowed.reach(Verb::Read));
        let is_connected = twin.sessions().connected().next().is_some();
        Self {
            id: id.id().to_owned(),
            kind: twin.kind().to_owned(),
            created: twin.created(),
            generation: twin.generation(),
            connection: if is_connected { "connected" } else { "disconnected" },
            tags: readable::section(twin.tags().document(), "tags", &reach),
            catalogue: readable::section(twin.catalogue().document(), "catalogue", &reach),
            trusted: reach.may("system").then(|| Trusted::of(twin)),
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
        (status = 201, description = "It is registered.", body = Invited),
        (status = 200, description = "It was registered before.", body = Invited),
        (status = 404, description = "`unknown`: there is no such enrolment group"),
        (status = 409, description = "`conflict`: it is of another kind, or active and its activation key used"),
        (status = 422, description = "`unknown-kind`, or `malformed`: what does not fit is named"),
    )
)]
pub(super) async fn register(
    caller: Caller,
    office: Office,
    id: Path<String>,
    Object(registration): Object<Option<Registration>>,
) -> Result<HttpResponse, Problem> {
    put(&caller, &office, &id, registration.unwrap_or_default()).await
}

/// Registers a device under an id that is made for it.
#[utoipa::path(
    post,
    path = "/v1/devices",
    tag = "devices",
    request_body = Option<Registration>,
    responses(
        (status = 201, description = "It is registered; `Location` leads to it.", body = Invited),
        (status = 422, description = "`unknown-kind`, or `malformed`: what does not fit is named"),
    )
)]
pub(super) async fn register_new(
    caller: Caller,
    office: Office,
    Object(registration): Object<Option<Registration>>,
) -> Result<HttpResponse, Problem> {
    // A repeat under its key would be of another device.
    caller.refuse_repeats("give the device an id: PUT /v1/devices/{id}")?;
    put(&caller, &office, &Uuid::now_v7().to_string(), registration.unwrap_or_default()).await
}

async fn put(
    caller: &Caller,
    office: &Office,
    id: &str,
    registration: Registration,
) -> Result<HttpResponse, Problem> {
    match try_put(caller, office, id, registration.clone()).await {
        // Somebody else was faster: what may be done to a device that is there is another matter.
        Err(Unput::Meanwhile) => try_put(caller, office, id, registration).await,
        put => put,
    }
    .map_err(|unput| match unput {
        Unput::Refused(problem) => problem,
        Unput::Meanwhile => {
            let why = format!("`{id}` comes and goes; it was not registered");
            Rejection::new(Code::Conflict, why).into()
        }
    })
}

/// Why a device was not registered.
enum Unput {
    /// It was not there, and then it was.
    Meanwhile,
    Refused(Problem),
}

impl From<Problem> for Unput {
    fn from(refused: Problem) -> Self {
        Self::Refused(refused)
    }
}

async fn try_put(
    caller: &Caller,
    office: &Office,
    id: &str,
    registration: Registration,
) -> Result<HttpResponse, Unput> {
    let device = caller.may(Verb::Register, id, "")?;
    let Registration { kind, tags, catalogue, group, activation_key, activation_ttl_s } = registration;
    let known = device.look().await?;
    let (group, template) = template(caller, &device, group.as_deref(), known.as_deref())?;
    let kind = kind.as_deref().or(template.as_ref().map(|template| template.kind.as_str()));
    let tags = tags.or_else(|| template.as_ref().map(|template| template.tags.clone()));
    let desired = template.as_ref().map(|template| template.desired.as_raw().to_json());
    for (section, given, which) in [("tags", &tags, Which::Tags), ("catalogue", &catalogue, Which::Catalogue)]
    {
        let Some(given) = given else { continue };
        // Whoever registers gives the tags; but what a policy keeps from being written, registering does not write, nor
        // what a device has that is there.
        caller.may_whole(Verb::Register, id, &[section.to_owned()])?;
        let changes = known.as_deref().is_some_and(|twin| twin.section(which).document() != given);
        if changes || device.reach(Verb::Write).denies_below(section) {
            caller.may_whole(Verb::Write, id, &[section.to_owned()])?;
        }
    }
    let kind = Name::new("`kind`", kind.unwrap_or(DEVICE)).map_err(Problem::from)?;
    let expires = provision::expires(caller, activation_ttl_s)?;
    let (mut invitation, mut key) = (None, None);
    if let Some(wanted) = activation_key.as_ref().and_then(ActivationKey::wanted) {
        device.in_confidence()?;
        let invited = office.provisioning.invite(known.as_deref(), wanted, expires).await;
        let invited = invited.map_err(Problem::from)?;
        (invitation, key) = (Some(invited.0), invited.1);
    }
    let is_new = known.is_none();
    let with = trust::Registration { catalogue, invitation, group, desired, is_new, ..Default::default() };
    let with = Some(Box::new(with));
    let (created, twin) = match device.ask(Input::Register { kind, tags, with }).await {
        Ok(Reply::Registered { created, twin }) => (created, twin),
        Ok(other) => return Err(unexpected(&other).into()),
        Err(problem) if is_new && problem.code() == Code::Conflict.as_str() => return Err(Unput::Meanwhile),
        Err(problem) => return Err(problem.into()),
    };
    let activation_key = key.map(|key| key.reveal());
    let shown = Invited { device: Device::of(&device, &twin), activation_key };
    if !created {
        return Ok(HttpResponse::Ok().json(shown));
    }
    let location = format!("/v1/devices/{}", device.id().id());
    Ok(HttpResponse::Created().insert_header((LOCATION, location)).json(shown))
}

/// The group that is to speak for a device, and of one that is new what it begins with.
fn template(
    caller: &Caller,
    device: &Allowed<'_>,
    group: Option<&str>,
    known: Option<&Twin>,
) -> Result<(Option<Name>, Option<Template>), Problem> {
    let Some(group) = group else { return Ok((None, None)) };
    let (name, directory) = (named("`group`", group)?, caller.directory()?);
    let template = groups::of(&directory, caller.tenant(), &name)?.template.clone();
    let Some(twin) = known else { return Ok((Some(name), Some(template))) };
    if twin.trust().group() != Some(&name) {
        // From then on the group lets it in, too.
        caller.may(Verb::Secure, device.id().id(), "")?;
    }
    Ok((Some(name), None))
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

/// How a device is removed.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Removal {
    /// Why, for the audit: at most 256 bytes.
    reason: Option<String>,
    /// All that it ever said, and what was said of it, is forgotten too, also where it was removed before. It takes the verb
    /// `secure` besides.
    erase: bool,
}

/// Removes a device with its twin.
///
/// Its connections are closed, and with it go its commands, timers and sessions. Its history stays, and is not that of a
/// device that is registered under its id later.
///
/// With `erase`, its history goes too, and that of all devices that had its id: nobody reads it from the answer on, and its
/// bytes are overwritten in the background. Of it stay the event `erased`, with who did it and why, and the chain's hash.
#[utoipa::path(
    delete,
    path = "/v1/devices/{id}",
    tag = "devices",
    params(("id" = String, Path, description = "The device's id."), Removal),
    responses(
        (status = 204, description = "It is removed."),
        (status = 404, description = "`unknown-twin`"),
        (status = 409, description = "`conflict`: it is just taking the place of another one"),
        (status = 429, description = "`too-many`: as many devices are being erased as may"),
    )
)]
pub(super) async fn remove(
    caller: Caller,
    id: Path<String>,
    Query(Removal { reason, erase }): Query<Removal>,
) -> Result<HttpResponse, Problem> {
    let reason = read_reason(reason)?;
    let mut device = caller.may(Verb::Register, &id, "")?;
    if erase {
        device = caller.may(Verb::Secure, &id, "")?;
    }
    let input = if erase { Input::Erase { reason } } else { Input::Remove { reason } };
    device.ask(input).await?;
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
        .map(|id| known(&caller, id))
        .buffered(READS_MAX)
        .enumerate();
    let mut page = Page::new();
    let mut done = 0;
    while let Some((index, device)) = devices.next().await {
        device?.map(|(device, twin)| page.push(&Device::of(&device, &twin))).transpose()?;
        done = index + 1;
        if page.is_full() {
            break;
        }
    }
    let next = if done < ids.len() { ids[..done].last() } else { None };
    Ok(web::Json(page.or_next(next.map(place))))
}

/// A device of a list; `None` if it went meanwhile, or is not for this caller to see.
async fn known<'a>(caller: &'a Caller, id: &TwinId) -> Result<Option<(Allowed<'a>, Arc<Twin>)>, Problem> {
    let Ok(device) = caller.may(Verb::Read, id.id(), "") else { return Ok(None) };
    match device.read().await {
        Ok(twin) => Ok(Some((device, twin))),
        Err(problem) if problem.code() == Code::UnknownTwin.as_str() => Ok(None),
        Err(problem) => Err(problem),
    }
}

/// A place in the list of devices, as callers pass it back.
pub(super) fn place(id: &TwinId) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(id.id())
}

pub(super) fn resume(tenant: &str, place: &str) -> Result<TwinId, Problem> {
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
