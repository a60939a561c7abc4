//! History: what happened, of one twin or of all, read by time or from a cursor on.

use actix_web::HttpResponse;
use actix_web::web::Path;
use runtime::access::Verb;
use runtime::stream::{From, Selection};
use serde::Deserialize;
use twins::id::TwinId;
use twins::name::Name;
use twins::time::Timestamp;
use utoipa::{IntoParams, ToSchema};

use crate::envelope::{Envelope, TYPES};

use super::caller::Caller;
use super::page::{Limit, Page};
use super::problem::Problem;
use super::query::Query;

const TELEMETRY: &str = "telemetry";

/// A record and its envelope.
#[derive(ToSchema)]
#[schema(as = Envelope)]
#[expect(dead_code, reason = "it describes what `crate::envelope` writes")]
pub(super) struct Shown {
    /// Reads on after it.
    cursor: String,
    /// The record's own id: a UUIDv7, the same at each reading.
    id: String,
    /// The device.
    twin: String,
    /// What kind of twin it is.
    kind: String,
    /// `telemetry`, `tags`, `desired`, `reported`, `command`, `event`, `connected`, `disconnected`, `registered`,
    /// `removed`.
    r#type: String,
    /// When it happened.
    #[schema(format = DateTime)]
    time: String,
    /// When it was received.
    #[schema(format = DateTime)]
    received: String,
    /// The twin's sequence with it.
    sequence: u64,
    /// What caused it, as `twin/generation/sequence`: its own transition, or that of the twin whose call led to it.
    cause: String,
    /// The details, by type: `{"channel", "value"}` of telemetry, `{"patch", "by"}` of a section's change,
    /// `{"name", "data"}` of an event, `{"id", "name", "state", "result"}` of a command.
    #[schema(value_type = Object)]
    data: (),
}

/// Of which devices that had an id records are read, where it is not the one that has it now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum Generation {
    /// Of all.
    All,
}

/// Which samples to read.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Samples {
    /// Of this channel; else of all.
    channel: Option<String>,
    /// `all`: also of devices that had the id before, whether there is one now or not. It takes the verb `audit`.
    #[param(inline)]
    generation: Option<Generation>,
    /// Of this device, whose place the twin's has taken, whether it is still known or not.
    ancestor: Option<String>,
    /// A time (RFC 3339): what was received then or later. A cursor: what came after its record. `earliest`, which is
    /// the default, or `latest`: what comes next.
    from: Option<String>,
    /// What was received before this time (RFC 3339).
    #[param(value_type = Option<String>, format = DateTime)]
    to: Option<Timestamp>,
    /// At most so many.
    #[param(value_type = usize, default = 100, minimum = 1, maximum = 1000)]
    limit: Limit,
}

/// Which records to read.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Records {
    /// Of these types, with commas between them.
    r#type: Option<String>,
    /// Of this shard; else of all. The cursors of one shard are `shard:offset`.
    shard: Option<u32>,
    /// `all`: also of devices that had the id before, whether there is one now or not. It takes the verb `audit`.
    #[param(inline)]
    generation: Option<Generation>,
    /// Of this device, whose place the twin's has taken, whether it is still known or not.
    ancestor: Option<String>,
    /// A time (RFC 3339): what was received then or later. A cursor: what came after its record. `earliest`, which is
    /// the default, or `latest`: what comes next.
    from: Option<String>,
    /// What was received before this time (RFC 3339).
    #[param(value_type = Option<String>, format = DateTime)]
    to: Option<Timestamp>,
    /// At most so many.
    #[param(value_type = usize, default = 100, minimum = 1, maximum = 1000)]
    limit: Limit,
}

/// Reads a twin's telemetry.
#[utoipa::path(
    get,
    path = "/v1/twins/{id}/telemetry",
    tag = "history",
    params(("id" = String, Path, description = "The device's id."), Samples),
    responses(
        (status = 200, description = "Samples, oldest first; `next` reads on, now or later.", body = Page<Shown>),
        (status = 404, description = "`unknown-twin`"),
        (status = 410, description = "`trimmed`: `earliest` is the cursor to read on with"),
    )
)]
pub(super) async fn telemetry(
    caller: Caller,
    id: Path<String>,
    Query(samples): Query<Samples>,
) -> Result<HttpResponse, Problem> {
    let channel = samples.channel.map(|channel| Name::new("parameter `channel`", &channel)).transpose()?;
    let (twin, generation) = whose(&caller, &id, samples.generation, samples.ancestor).await?;
    let selection = Selection {
        tenant: caller.tenant().to_owned(),
        twin: Some(twin),
        generation,
        shard: None,
        kinds: vec![TELEMETRY.to_owned()],
        channel,
        from: from(samples.from),
        until: samples.to,
        limit: samples.limit.get(),
        bytes: usize::MAX,
    };
    read(&caller, selection).await
}

/// Reads what else happened to a twin: all but telemetry, unless types are named.
#[utoipa::path(
    get,
    path = "/v1/twins/{id}/events",
    tag = "history",
    params(("id" = String, Path, description = "The device's id."), Records),
    responses(
        (status = 200, description = "Records, oldest first; `next` reads on, now or later.", body = Page<Shown>),
        (status = 404, description = "`unknown-twin`"),
        (status = 410, description = "`trimmed`: `earliest` is the cursor to read on with"),
    )
)]
pub(super) async fn of_twin(
    caller: Caller,
    id: Path<String>,
    Query(mut records): Query<Records>,
) -> Result<HttpResponse, Problem> {
    let (generation, ancestor) = (records.generation, records.ancestor.take());
    let (twin, generation) = whose(&caller, &id, generation, ancestor).await?;
    let selection = records.selection(&caller)?;
    let mut selection = Selection { twin: Some(twin), generation, ..selection };
    if selection.kinds.is_empty() {
        let others = TYPES.iter().filter(|&&r#type| r#type != TELEMETRY);
        selection.kinds = others.map(|&r#type| r#type.to_owned()).collect();
    }
    read(&caller, selection).await
}

/// Reads what happened to all twins, telemetry included.
#[utoipa::path(
    get,
    path = "/v1/events",
    tag = "history",
    params(Records),
    responses(
        (
            status = 200,
            description = "Records, in order for each twin; `next` reads on, now or later.",
            body = Page<Shown>,
        ),
        (status = 410, description = "`trimmed`: `earliest` is the cursor to read on with"),
    )
)]
pub(super) async fn of_all(caller: Caller, Query(records): Query<Records>) -> Result<HttpResponse, Problem> {
    let of_one = [("generation", records.generation.is_some()), ("ancestor", records.ancestor.is_some())];
    if let Some((name, _)) = of_one.into_iter().find(|(_, is_given)| *is_given) {
        return Err(Problem::parameter(format!("parameter `{name}`: it is for one twin; here all are read")));
    }
    let selection = records.selection(&caller)?;
    read(&caller, selection).await
}

impl Records {
    fn selection(self, caller: &Caller) -> Result<Selection, Problem> {
        Ok(Selection {
            tenant: caller.tenant().to_owned(),
            twin: None,
            generation: None,
            shard: self.shard.map(|shard| known_shard(caller, shard)).transpose()?,
            kinds: self.r#type.as_deref().map(types).transpose()?.unwrap_or_default(),
            channel: None,
            from: from(self.from),
            until: self.to,
            limit: self.limit.get(),
            bytes: usize::MAX,
        })
    }
}

/// The shard, if there is one with this number.
pub(super) fn known_shard(caller: &Caller, shard: u32) -> Result<u32, Problem> {
    let shards = caller.shards();
    let unknown = || {
        let last = shards.saturating_sub(1);
        Problem::parameter(format!("parameter `shard`: there is no shard {shard}; they are 0 to {last}"))
    };
    (shard < shards).then_some(shard).ok_or_else(unknown)
}

/// The twin, if it is there and may be read, and its generation: what devices before it did is not its history.
pub(super) async fn known(caller: &Caller, id: &str) -> Result<(TwinId, u32), Problem> {
    let twin = caller.may(Verb::Read, id, "")?;
    let generation = twin.read().await?.generation();
    Ok((twin.id().clone(), generation))
}

/// Whose records are read: those of the device that has the id, of all that ever had it, or of one whose place it took.
async fn whose(
    caller: &Caller,
    id: &str,
    wanted: Option<Generation>,
    ancestor: Option<String>,
) -> Result<(TwinId, Option<u32>), Problem> {
    match (wanted, ancestor) {
        (None, None) => known(caller, id).await.map(|(twin, generation)| (twin, Some(generation))),
        (Some(Generation::All), None) => {
            caller.may(Verb::Read, id, "")?;
            Ok((caller.may(Verb::Audit, id, "")?.id().clone(), None))
        }
        (None, Some(ancestor)) => {
            let twin = caller.may(Verb::Read, id, "")?.read().await?;
            let wanted = caller.may(Verb::Read, &ancestor, "")?.id().clone();
            let known = twin.trust().ancestors().iter().rev().find(|known| known.twin == wanted);
            let none =
                || format!("parameter `ancestor`: `{id}` has not taken the place of `{}`", wanted.id());
            let generation = known.ok_or_else(|| Problem::parameter(none()))?.generation;
            Ok((wanted.clone(), Some(generation)))
        }
        (Some(_), Some(_)) => Err(Problem::parameter("parameter `ancestor`: not together with `generation`")),
    }
}

async fn read(caller: &Caller, selection: Selection) -> Result<HttpResponse, Problem> {
    let limit = selection.limit;
    let found = caller.history(selection).await?;
    let shown = found.records.iter().map(|placed| (Envelope::from(placed), placed.cursor.clone()));
    Ok(HttpResponse::Ok().json(Page::of(shown, limit)?.or_next(Some(found.next))))
}

/// What is no word and no time is a cursor, and the streams know whether it is one of theirs.
fn from(text: Option<String>) -> From {
    text.as_deref().map_or(From::Earliest, place)
}

/// Where a text says that reading begins.
pub(super) fn place(text: &str) -> From {
    match text {
        "earliest" => From::Earliest,
        "latest" => From::Latest,
        text => text.parse().map_or_else(|_| From::Cursor(text.to_owned()), From::Time),
    }
}

pub(super) fn types(names: &str) -> Result<Vec<String>, Problem> {
    let known = |name: &str| {
        let unknown = || {
            let why = format!("parameter `type`: `{}` is none of {}", name.escape_debug(), TYPES.join(", "));
            Problem::parameter(why)
        };
        TYPES.contains(&name).then(|| name.to_owned()).ok_or_else(unknown)
    };
    names.split(',').map(str::trim).map(known).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: Option<&str>, begin: From) {
        assert_eq!(from(text.map(str::to_owned)), begin);
    }

    #[test]
    fn reading_begins_at_a_time_a_cursor_or_an_end() {
        check(None, From::Earliest);
        check(Some("earliest"), From::Earliest);
        check(Some("latest"), From::Latest);
        check(Some("1970-01-01T00:00:01Z"), From::Time(Timestamp::from_millis(1_000)));
        check(Some("7:4096"), From::Cursor("7:4096".into()));
    }

    #[test]
    fn an_unknown_type_is_refused_with_the_known_ones() {
        assert_eq!(types("reported, event").unwrap(), ["reported", "event"]);
        let refused = types("overheated").unwrap_err().to_string();
        assert!(refused.contains("`overheated` is none of telemetry, event"), "{refused}");
    }
}
