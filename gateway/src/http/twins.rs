//! Twins: their documents, and what applications change of them.

use actix_web::HttpResponse;
use actix_web::http::header::ETAG;
use actix_web::web::Path;
use runtime::access::Verb;
use serde::{Deserialize, Deserializer};
use twins::input::{Desire, Input};
use twins::json::{self, Json};
use twins::reply::Reply;
use twins::twin::Twin;
use utoipa::ToSchema;

use crate::document::document;

use super::body::{Body, Object};
use super::caller::{Allowed, Caller, unexpected};
use super::etag::IfMatch;
use super::problem::Problem;
use super::readable::{self, touched};

/// Changes of a twin, all or nothing.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, expecting = "an object with `tags`, `desired` or both")]
#[schema(as = TwinChanges)]
pub(super) struct Changes {
    /// A merge patch (RFC 7396) of the tags.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Object)]
    tags: Option<Json>,
    /// A merge patch (RFC 7396) of what the device should become.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Object)]
    desired: Option<Json>,
}

/// A member that is there, if it is null: to leave it out is something else.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Json>, D::Error> {
    Json::deserialize(deserializer).map(Some)
}

/// The document of a twin.
#[derive(ToSchema)]
#[schema(as = Twin)]
#[expect(dead_code, reason = "it describes what `document` writes")]
pub(super) struct Shown {
    /// The device's id.
    id: String,
    /// What kind of twin it is.
    kind: String,
    /// How many transitions it has had.
    version: u64,
    /// The labels that operators gave.
    #[schema(value_type = Object)]
    tags: (),
    /// What the device should become, with `$version`.
    #[schema(value_type = Object)]
    desired: (),
    /// What the device says it is, with `$version`.
    #[schema(value_type = Object)]
    reported: (),
    /// The behaviour's own state.
    #[schema(value_type = Object)]
    state: (),
    /// What Twinfold knows of the device: its life-cycle and its connection.
    #[schema(value_type = Object)]
    system: (),
    /// For each section and path: of which version its last change was, when, and by whom.
    #[schema(value_type = Object)]
    metadata: (),
}

/// Reads a twin.
#[utoipa::path(
    get,
    path = "/v1/twins/{id}",
    tag = "twins",
    params(("id" = String, Path, description = "The device's id.")),
    responses(
        (status = 200, description = "The twin, without what the caller may not read. Its `ETag` covers tags and desired.", body = Shown),
        (status = 404, description = "`unknown-twin`"),
    )
)]
pub(super) async fn get(caller: Caller, id: Path<String>) -> Result<HttpResponse, Problem> {
    let twin = caller.may(Verb::Read, &id, "")?;
    let read = twin.read_own().await?;
    Ok(show(&twin, &read))
}

/// Changes tags and desired by merge patches.
///
/// A property that the twin's behaviour refuses refuses the whole change.
#[utoipa::path(
    patch,
    path = "/v1/twins/{id}",
    tag = "twins",
    params(
        ("id" = String, Path, description = "The device's id."),
        ("If-Match" = Option<String>, Header, description = "The `ETag` that the change is made for."),
    ),
    request_body = Changes,
    responses(
        (status = 200, description = "The twin after the change.", body = Shown),
        (status = 404, description = "`unknown-twin`"),
        (status = 412, description = "`version-mismatch`: `If-Match` names another version, or does not parse"),
        (status = 422, description = "`rejected` by the behaviour, or `malformed`: what does not fit is named"),
    )
)]
pub(super) async fn update(
    caller: Caller,
    id: Path<String>,
    IfMatch(if_match): IfMatch,
    Object(changes): Object<Changes>,
) -> Result<HttpResponse, Problem> {
    let Changes { tags, desired } = changes;
    let sections = [("tags", &tags), ("desired", &desired)].into_iter();
    let paths = sections.filter_map(|(section, patch)| patch.as_ref().map(|patch| touched(patch, section)));
    let twin = caller.may_whole(Verb::Write, &id, &paths.flatten().collect::<Vec<_>>())?;
    change(&twin, Input::Update { tags, desired: desired.map(Desire::Merge), if_match }).await
}

/// Replaces what the device should become.
#[utoipa::path(
    put,
    path = "/v1/twins/{id}/desired",
    tag = "twins",
    params(
        ("id" = String, Path, description = "The device's id."),
        ("If-Match" = Option<String>, Header, description = "The `ETag` that the change is made for."),
    ),
    request_body = Object,
    responses(
        (status = 200, description = "The twin after the change.", body = Shown),
        (status = 404, description = "`unknown-twin`"),
        (status = 412, description = "`version-mismatch`: `If-Match` names another version, or does not parse"),
        (status = 422, description = "`rejected` by the behaviour, or `malformed`: what does not fit is named"),
    )
)]
pub(super) async fn replace_desired(
    caller: Caller,
    id: Path<String>,
    IfMatch(if_match): IfMatch,
    Body(desired): Body<json::Document>,
) -> Result<HttpResponse, Problem> {
    let twin = caller.may_whole(Verb::Write, &id, &["desired".to_owned()])?;
    change(&twin, Input::Update { tags: None, desired: Some(Desire::Replace(desired)), if_match }).await
}

async fn change(twin: &Allowed<'_>, update: Input) -> Result<HttpResponse, Problem> {
    match twin.ask(update).await? {
        Reply::Twin(changed) => Ok(show(twin, &changed)),
        other => Err(unexpected(&other)),
    }
}

/// What the caller may read of it.
fn show(allowed: &Allowed<'_>, twin: &Twin) -> HttpResponse {
    let shown = readable::document(document(allowed.id(), twin), &allowed.reach(Verb::Read));
    HttpResponse::Ok().insert_header((ETAG, twin.etag())).json(shown)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changes(text: &str) -> Result<Changes, json::Error> {
        Json::parse(text.as_bytes(), &json::Limits::default()).unwrap().decode()
    }

    #[test]
    fn a_null_section_is_not_an_absent_one() {
        let changes = changes(r#"{"desired":null}"#).unwrap();
        assert_eq!((changes.tags, changes.desired), (None, Some(Json::null())));
    }

    #[test]
    fn what_only_the_device_writes_is_refused_by_name() {
        let refused = changes(r#"{"reported":{"a":1}}"#).unwrap_err().to_string();
        assert!(refused.contains("unknown field `reported`, expected `tags` or `desired`"), "{refused}");
    }
}
