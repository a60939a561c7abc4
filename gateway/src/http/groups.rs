//! Enrolment groups of a tenant: devices that come in by what they have in common, without each being named before.

use actix_web::HttpResponse;
use actix_web::web::{self, Path};
use runtime::access::Verb;
use runtime::directory::{Change, Directory, Group, Refused, Template, Trust};
use serde::{Deserialize, Serialize};
use twins::json::Document;
use twins::kind::DEVICE;
use twins::name::Name;
use twins::rejection::{Code, Rejection};
use twins::time::Timestamp;
use utoipa::ToSchema;

use super::authorities::{Certificate, Why};
use super::body::Object;
use super::caller::Caller;
use super::names::named;
use super::page::Page;
use super::people::{Because, Listing};
use super::problem::Problem;
use super::provision::{Office, malformed};
use super::query::Query;
use crate::trust::authority;
use crate::trust::key::Key;

/// A new enrolment group. Its devices prove that they belong to it by a certificate of its authority, or by a key that is
/// derived from the group's.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, expecting = "an object with `name`, and `ca` or `generate_key`")]
#[schema(as = NewEnrolmentGroup)]
pub(super) struct Wanted {
    /// 1 to 128 of A-Z a-z 0-9 . _ ~ : @ -
    name: String,
    /// The certificates of those who sign for its devices: PEM.
    ca: Option<String>,
    /// Its devices have keys that are derived from one that is made now. Of it and `ca` there is one.
    #[serde(default)]
    generate_key: bool,
    /// Whether a device that is unknown is registered when it proves that it belongs to the group.
    #[serde(default)]
    registers: bool,
    /// As what its devices are registered: `device` where nothing is said.
    kind: Option<String>,
    /// The tags that they begin with.
    #[schema(value_type = Object)]
    tags: Option<Document>,
    /// The desired section that they begin with.
    #[schema(value_type = Object)]
    desired: Option<Document>,
    /// Why, for the audit: at most 512 bytes.
    reason: Option<String>,
}

/// An enrolment group.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = EnrolmentGroup)]
pub(super) struct Shown<'a> {
    name: &'a str,
    /// `key` or `certificate`: what its devices prove themselves with.
    sort: &'static str,
    /// Who signs for its devices.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    authorities: Vec<Certificate>,
    registers: bool,
    disabled: bool,
    /// What was issued before lets nobody in.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    barred: Option<Timestamp>,
    kind: &'a str,
    #[schema(value_type = Object)]
    tags: &'a Document,
    #[schema(value_type = Object)]
    desired: &'a Document,
}

/// What a group becomes.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, expecting = "an object with `disabled`")]
#[schema(as = EnrolmentGroupChanges)]
pub(super) struct Changes {
    /// Whether none of its devices is let in by it.
    disabled: bool,
    /// Why, for the audit: at most 512 bytes.
    reason: Option<String>,
}

/// Of which device the key is wanted.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, expecting = "an object with `device_id`")]
pub(super) struct OfDevice {
    device_id: String,
}

/// The key that a device of the group has.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct DerivedKey {
    device_id: String,
    /// 43 characters, the device's password.
    key: String,
}

impl Wanted {
    /// What its devices prove.
    fn trust(
        &self,
        office: &Office,
        directory: &Directory,
        tenant: &str,
        now: Timestamp,
    ) -> Result<Trust, Problem> {
        let pem = match (&self.ca, self.generate_key) {
            (Some(pem), false) => pem,
            (None, true) => {
                let key = Key::new()
                    .and_then(|key| key.keep_for_group(office.provisioning.vault(), tenant, &self.name));
                let sealed = key.map_err(|error| Problem::internal(error.to_string()))?;
                return Ok(Trust::Key { sealed, issue: 1 });
            }
            _ => {
                let detail = "a group has either `ca` or `generate_key`".to_owned();
                return Err(malformed(detail, "send the certificates of an authority, or have a key made"));
            }
        };
        let certificates = authority::read_roots(pem, directory, now)?;
        Ok(Trust::Authority { certificates })
    }

    fn template(&mut self, caller: &Caller) -> Result<Template, Problem> {
        let kind = Name::new("`kind`", self.kind.as_deref().unwrap_or(DEVICE))?;
        if caller.kinds().get(&kind).is_none() {
            return Err(Rejection::new(Code::UnknownKind, format!("there is no kind `{kind}`")).into());
        }
        let (tags, desired) = (self.tags.take().unwrap_or_default(), self.desired.take().unwrap_or_default());
        Ok(Template { kind, tags, desired })
    }
}

impl<'a> Shown<'a> {
    fn of(name: &'a str, group: &'a Group) -> Self {
        let Group { template, trust, registers, disabled, barred } = group;
        let (sort, authorities) = match trust {
            Trust::Key { .. } => ("key", Vec::new()),
            Trust::Authority { certificates } => {
                ("certificate", certificates.iter().filter_map(|one| Certificate::of(one)).collect())
            }
        };
        let Template { kind, tags, desired } = template;
        let (registers, disabled, barred) = (*registers, *disabled, *barred);
        Self { name, sort, authorities, registers, disabled, barred, kind, tags, desired }
    }
}

/// Makes an enrolment group.
#[utoipa::path(
    post,
    path = "/v1/enrolment-groups",
    tag = "enrolment-groups",
    request_body = Wanted,
    responses(
        (status = 201, description = "Its devices are let in from now on.", body = Shown),
        (status = 409, description = "`contradiction`: there is one of that name"),
        (status = 422, description = "`malformed`, `unfit` or `unknown-kind`: what does not fit is named"),
        (status = 429, description = "`too-many`: there are as many as may be"),
    )
)]
pub(super) async fn make(
    caller: Caller,
    office: Office,
    Object(mut wanted): Object<Wanted>,
) -> Result<HttpResponse, Problem> {
    let governed = caller.govern(Verb::Administer)?;
    let (directory, tenant) = (governed.directory(), caller.tenant());
    let name = named("`name`", &wanted.name)?;
    if of(&directory, tenant, &name).is_ok() {
        return Err(Refused::Conflict(format!("there is an enrolment group `{name}` already")).into());
    }
    let (template, registers) = (wanted.template(&caller)?, wanted.registers);
    let trust = wanted.trust(&office, &directory, tenant, caller.now())?;
    let group = Group { template, trust, registers, disabled: false, barred: None };
    let change = Change::PutGroup { name: name.clone(), group: group.clone() };
    governed.change(tenant, change, wanted.reason, Some(directory.version)).await?;
    Ok(HttpResponse::Created().json(Shown::of(&name, &group)))
}

/// Lists the enrolment groups, in the order of their names.
#[utoipa::path(
    get,
    path = "/v1/enrolment-groups",
    tag = "enrolment-groups",
    params(Listing),
    responses((status = 200, description = "Some groups, and where the list goes on.", body = Page<Shown>))
)]
pub(super) async fn list(caller: Caller, Query(listing): Query<Listing>) -> Result<HttpResponse, Problem> {
    let directory = caller.govern(Verb::Audit)?.directory();
    let after = listing.after.unwrap_or_default();
    let all = directory.tenants.get(caller.tenant()).map(|tenant| &tenant.groups);
    let selected = all.into_iter().flatten().filter(|(name, _)| after.is_empty() || name.as_str() > &*after);
    let shown = selected.map(|(name, group)| (Shown::of(name, group), name.to_string()));
    Ok(HttpResponse::Ok().json(Page::of(shown, listing.limit.get())?))
}

/// Reads an enrolment group.
#[utoipa::path(
    get,
    path = "/v1/enrolment-groups/{name}",
    tag = "enrolment-groups",
    params(("name" = String, Path, description = "The group.")),
    responses((status = 200, description = "The group.", body = Shown), (status = 404, description = "`unknown`"))
)]
pub(super) async fn get(caller: Caller, name: Path<String>) -> Result<HttpResponse, Problem> {
    let directory = caller.govern(Verb::Audit)?.directory();
    let name = named("the name of a group", &name)?;
    Ok(HttpResponse::Ok().json(Shown::of(&name, of(&directory, caller.tenant(), &name)?)))
}

/// Shows the key that a device of the group has, for whoever puts it there. The audit says who saw it.
#[utoipa::path(
    post,
    path = "/v1/enrolment-groups/{name}/keys",
    tag = "enrolment-groups",
    params(("name" = String, Path, description = "The group.")),
    request_body = OfDevice,
    responses(
        (status = 200, description = "Its key.", body = DerivedKey),
        (status = 404, description = "`unknown`"),
        (status = 409, description = "`contradiction`: the group has no key, or lets nobody in by it any more"),
    )
)]
pub(super) async fn key(
    caller: Caller,
    office: Office,
    name: Path<String>,
    Object(OfDevice { device_id }): Object<OfDevice>,
) -> Result<web::Json<DerivedKey>, Problem> {
    let device = caller.may(Verb::Activate, &device_id, "")?;
    let (directory, name) = (caller.directory()?, named("the name of a group", &name)?);
    let group = of(&directory, caller.tenant(), &name)?;
    let sealed = match &group.trust {
        Trust::Key { sealed, .. } if group.barred.is_none() => sealed,
        Trust::Key { .. } => {
            return Err(Refused::Conflict(format!("the keys of the group `{name}` are barred")).into());
        }
        Trust::Authority { .. } => {
            let why = format!("the devices of the group `{name}` have certificates, and no keys");
            return Err(Refused::Conflict(why).into());
        }
    };
    let key = Key::recover_of_group(office.provisioning.vault(), caller.tenant(), &name, sealed);
    let key = key.map_err(|error| Problem::internal(error.to_string()))?.derive(device.id());
    // Who has it comes in as the device. So it is written who saw it, before they do.
    let noted = Name::new("`device_id`", &device_id)?;
    caller
        .govern_self()?
        .change(caller.tenant(), Change::ShowKey { name, device: noted }, None, None)
        .await?;
    Ok(web::Json(DerivedKey { device_id, key: key.reveal() }))
}

/// Bars what the group gave up to now: derived keys for good, and certificates that began before.
#[utoipa::path(
    post,
    path = "/v1/enrolment-groups/{name}/bar",
    tag = "enrolment-groups",
    params(("name" = String, Path, description = "The group.")),
    request_body = Option<Why>,
    responses((status = 200, description = "It is so.", body = Shown), (status = 404, description = "`unknown`"))
)]
pub(super) async fn bar(
    caller: Caller,
    name: Path<String>,
    Object(why): Object<Option<Why>>,
) -> Result<HttpResponse, Problem> {
    let now = caller.now();
    let reason = why.unwrap_or_default().reason;
    replace(&caller, &name, reason, |group| Group { barred: Some(now), ..group }).await
}

/// Lets none of a group's devices in by it, or lets them in again.
#[utoipa::path(
    patch,
    path = "/v1/enrolment-groups/{name}",
    tag = "enrolment-groups",
    params(("name" = String, Path, description = "The group.")),
    request_body = Changes,
    responses((status = 200, description = "It is so.", body = Shown), (status = 404, description = "`unknown`"))
)]
pub(super) async fn change(
    caller: Caller,
    name: Path<String>,
    Object(Changes { disabled, reason }): Object<Changes>,
) -> Result<HttpResponse, Problem> {
    replace(&caller, &name, reason, |group| Group { disabled, ..group }).await
}

/// Removes an enrolment group: its devices are not let in by it any more.
#[utoipa::path(
    delete,
    path = "/v1/enrolment-groups/{name}",
    tag = "enrolment-groups",
    params(("name" = String, Path, description = "The group."), Because),
    responses((status = 204, description = "It is removed."), (status = 404, description = "`unknown`"))
)]
pub(super) async fn remove(
    caller: Caller,
    name: Path<String>,
    Query(because): Query<Because>,
) -> Result<HttpResponse, Problem> {
    let governed = caller.govern(Verb::Administer)?;
    let change = Change::RemoveGroup { name: named("the name of a group", &name)? };
    governed.change(caller.tenant(), change, because.reason, None).await?;
    Ok(HttpResponse::NoContent().finish())
}

/// Puts another group in the place of one, made of it as it is now.
async fn replace(
    caller: &Caller,
    name: &str,
    reason: Option<String>,
    change: impl FnOnce(Group) -> Group,
) -> Result<HttpResponse, Problem> {
    let governed = caller.govern(Verb::Administer)?;
    let (directory, name) = (governed.directory(), named("the name of a group", name)?);
    let group = change(of(&directory, caller.tenant(), &name)?.clone());
    let put = Change::PutGroup { name: name.clone(), group: group.clone() };
    governed.change(caller.tenant(), put, reason, Some(directory.version)).await?;
    Ok(HttpResponse::Ok().json(Shown::of(&name, &group)))
}

/// A group of a tenant.
pub(super) fn of<'a>(directory: &'a Directory, tenant: &str, name: &Name) -> Result<&'a Group, Refused> {
    let known = directory.tenants.get(tenant).and_then(|tenant| tenant.groups.get(name));
    known.map(|group| &**group).ok_or_else(|| Refused::Unknown(format!("enrolment group `{name}`")))
}
