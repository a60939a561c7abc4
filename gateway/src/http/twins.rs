//! Twins: their documents, and what applications change of them.

use actix_web::HttpResponse;
use actix_web::http::header::ETAG;
use actix_web::web::Path;
use runtime::access::Verb;
use serde::{Deserialize, Deserializer};
use twins::input::{Desire, Input};
use twins::json::{self, Json};
use twins::rejection::{Code, Rejection};
use twins::reply::Reply;
use twins::section::Which;
use twins::twin::Twin;
use utoipa::ToSchema;

use crate::document::document;

use super::body::{Body, Object};
use super::caller::{Allowed, Caller, unexpected};
use super::etag::IfMatch;
use super::problem::Problem;
use super::readable::{self, touched};

/// How often a change is made again whose twin has changed in between.
const TRIES: usize = 5;

/// Changes of a twin, all or nothing.
#[derive(Debug, Clone, Deserialize, ToSchema)]
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
    let twin = caller.may_whole(Verb::Write, &id, &changes.touch(None)?)?;
    if twin.reach(Verb::Write).is_everything() {
        return change(&twin, changes.update(if_match)).await;
    }
    // Who may not write everything may not replace what stands in the way either: what does so depends on the version that
    // the change is made for. It is read again where another came between, for a while.
    for _ in 1..TRIES {
        match try_change(&caller, &id, &changes, if_match.as_ref()).await {
            Err(problem) if if_match.is_none() && problem.code() == Code::VersionMismatch.as_str() => {}
            done => return done,
        }
    }
    try_change(&caller, &id, &changes, if_match.as_ref()).await
}

/// Changes the version that is there now, if it is one of those.
async fn try_change(
    caller: &Caller,
    id: &str,
    changes: &Changes,
    if_match: Option<&Vec<String>>,
) -> Result<HttpResponse, Problem> {
    let before = caller.may_whole(Verb::Write, id, &[])?.read().await?;
    let twin = caller.may_whole(Verb::Write, id, &changes.touch(Some(&*before))?)?;
    let etag = before.etag();
    let is_it = if_match.is_none_or(|seen| seen.iter().any(|seen| *seen == etag || seen == "*"));
    let only = if is_it { vec![etag] } else { Vec::new() };
    change(&twin, changes.clone().update(Some(only))).await
}

impl Changes {
    /// The paths that they touch, of the twin as it is, where that is known.
    fn touch(&self, before: Option<&Twin>) -> Result<Vec<String>, Rejection> {
        let mut paths = Vec::new();
        for (section, patch, which) in
            [("tags", &self.tags, Which::Tags), ("desired", &self.desired, Which::Desired)]
        {
            let before = before.map(|twin| twin.section(which).document());
            if let Some(patch) = patch {
                paths.extend(touched(patch, section, before)?);
            }
        }
        Ok(paths)
    }

    fn update(self, if_match: Option<Vec<String>>) -> Input {
        let Self { tags, desired } = self;
        Input::Update { tags, desired: desired.map(Desire::Merge), if_match }
    }
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
