//! Following: what happens, as it happens, as server-sent events (the living standard of HTML, section 9.2).
//!
//! A follower holds a cursor and one page. The next page is read from the files when the socket has taken the one
//! before, so that a slow client makes nothing grow; it falls behind, until retention overtakes it. Then, and when its
//! socket takes nothing for too long, it is told so and the stream ends. A client that comes back with the last id
//! misses nothing and hears nothing twice.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix_web::http::Method;
use actix_web::http::header::{ContentType, HeaderName, HeaderValue};
use actix_web::{HttpRequest, HttpResponse};
use bytes::Bytes;
use futures_util::stream::unfold;
use runtime::directory::Listener;
use runtime::error::Error;
use runtime::follower::Follower;
use runtime::stream::{From, Page, Selection, Unread};
use serde::{Deserialize, Serialize};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use twins::id::DEFAULT_TENANT;
use twins::rejection::{Code, Rejection};
use utoipa::IntoParams;

use crate::envelope::Envelope;
use crate::quotas::Seat;

use super::caller::Caller;
use super::history::{Shown, known, known_shard, place, types};
use super::options::Options;
use super::problem::Problem;
use super::query::Query;

/// How many records a page has at most, and how many bytes.
const PAGE: (usize, usize) = (256, 256 << 10);
/// Where a client says what it has seen, when it comes back.
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// The seats of those who follow, over all workers.
#[derive(Debug, Clone)]
pub(super) struct Followers {
    seats: Arc<Semaphore>,
    seats_max: usize,
    stopping: Arc<watch::Sender<bool>>,
    stall_timeout: Duration,
    heartbeat: Duration,
}

/// What to follow.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Followed {
    /// Of this twin, as long as it is registered; else of all.
    twin: Option<String>,
    /// Of these types, with commas between them; else of all, telemetry included.
    r#type: Option<String>,
    /// Of this shard; else of all. The cursors of one shard are `shard:offset`.
    shard: Option<u32>,
    /// A time (RFC 3339): what was received then or later. A cursor: what came after its record. `earliest`, or
    /// `latest`, which is the default: what comes next. The header `Last-Event-ID` goes before it.
    from: Option<String>,
}

/// Why a stream ends, as its last event says.
#[derive(Serialize)]
struct End<'a> {
    /// In words.
    why: &'a str,
    /// The cursor that reads on with the first records that are kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    earliest: Option<String>,
}

impl Followers {
    pub(super) fn new(options: &Options) -> Self {
        let seats_max = options.followers_max.get();
        Self {
            seats: Arc::new(Semaphore::new(seats_max)),
            seats_max,
            stopping: Arc::new(watch::Sender::new(false)),
            stall_timeout: options.stall_timeout,
            heartbeat: options.heartbeat,
        }
    }

    /// Ends all streams, and all calls that wait.
    pub(super) fn stop(&self) {
        self.stopping.send_replace(true);
    }

    /// Turns true when all streams, and all calls that wait, are to end.
    pub(super) fn stopping(&self) -> watch::Receiver<bool> {
        self.stopping.subscribe()
    }

    /// A seat for somebody of this tenant. An eighth of them are for who operates the node alone, whatever all other tenants
    /// take together.
    fn seat(&self, tenant: &str) -> Result<OwnedSemaphorePermit, Problem> {
        let kept = if tenant == DEFAULT_TENANT { 0 } else { self.seats_max / 8 };
        let full = || {
            let why = format!("{} streams of events are open, which is the most", self.seats_max - kept);
            Problem::from(Rejection::new(Code::TooMany, why))
        };
        if self.seats.available_permits() <= kept {
            return Err(full());
        }
        self.seats.clone().try_acquire_owned().map_err(|_| full())
    }
}

/// Follows what happens: server-sent events, one envelope each, whose ids are cursors.
///
/// The stream ends with an event `trimmed` (`{"why", "earliest"}`) when it is so slow that records were dropped before
/// they were read, and with an event `closed` (`{"why"}`) otherwise; what was cut is resumed by `Last-Event-ID`. A client
/// that takes less than it is handed at once, up to 256 KiB, within the stall timeout is cut: with the default of 30 s,
/// one that has much to catch up with and reads less than about 9 KB/s.
#[utoipa::path(
    get,
    path = "/v1/events/stream",
    tag = "history",
    params(
        Followed,
        ("Last-Event-ID" = Option<String>, Header, description = "The id of the last event that was seen."),
    ),
    responses(
        (status = 200, description = "Events.", body = Shown, content_type = "text/event-stream"),
        (status = 404, description = "`unknown-twin`"),
        (status = 410, description = "`trimmed`: `earliest` is the cursor to read on with"),
        (status = 429, description = "`too-many` streams are open"),
    )
)]
pub(super) async fn follow(
    caller: Caller,
    request: HttpRequest,
    Query(followed): Query<Followed>,
) -> Result<HttpResponse, Problem> {
    let last = request.headers().get(LAST_EVENT_ID).filter(|last| !last.is_empty());
    let selection = followed.selection(&caller, last).await?;
    let mut answer = HttpResponse::Ok();
    answer.insert_header(ContentType(mime())).insert_header(("x-accel-buffering", "no"));
    if request.method() == Method::HEAD {
        return Ok(answer.finish());
    }
    let followers =
        request.app_data::<Followers>().ok_or_else(|| Problem::internal("the API has no followers"))?;
    let places = (caller.stream()?, followers.seat(caller.tenant())?);
    let mut follower = caller.follow(selection);
    // The first look happens before the answer begins, so that a cursor that does not fit has a status of its own.
    let first = follower.next(Duration::ZERO).await?;
    let following = Following {
        changes: caller.changes(),
        caller,
        follower,
        stopping: followers.stopping.subscribe(),
        stall_timeout: followers.stall_timeout,
        heartbeat: followers.heartbeat,
        first: Some(first),
        given: None,
        is_over: false,
        _places: places,
    };
    Ok(answer.streaming(unfold(following, Following::next)))
}

impl Followed {
    async fn selection(self, caller: &Caller, last: Option<&HeaderValue>) -> Result<Selection, Problem> {
        let from = match (last, self.from) {
            (Some(last), _) => From::Cursor(String::from_utf8_lossy(last.as_bytes()).into_owned()),
            (None, from) => from.as_deref().map_or(From::Latest, place),
        };
        let twin = match &self.twin {
            Some(twin) => Some(known(caller, twin).await?),
            None => None,
        };
        let (twin, generation) = twin.unzip();
        Ok(Selection {
            tenant: caller.tenant().to_owned(),
            twin,
            generation,
            shard: self.shard.map(|shard| known_shard(caller, shard)).transpose()?,
            kinds: self.r#type.as_deref().map(types).transpose()?.unwrap_or_default(),
            channel: None,
            from,
            until: None,
            limit: PAGE.0,
            bytes: PAGE.1,
        })
    }
}

/// A stream on its way to a client.
struct Following {
    caller: Caller,
    follower: Follower,
    stopping: watch::Receiver<bool>,
    /// Turns when the caller may be one who is no longer let in.
    changes: Option<Listener>,
    stall_timeout: Duration,
    heartbeat: Duration,
    /// What the first look found.
    first: Option<Page>,
    /// When the last piece was given to the connection, which asks for the next one when it has room.
    given: Option<Instant>,
    is_over: bool,
    /// Its place among the streams of its tenant, and among those of the node.
    _places: (Seat, OwnedSemaphorePermit),
}

impl Following {
    async fn next(mut self) -> Option<(Result<Bytes, Infallible>, Self)> {
        if self.is_over {
            return None;
        }
        let piece = self.piece().await;
        self.given = Some(Instant::now());
        Some((Ok(piece.into()), self))
    }

    /// The next piece: events, a sign of life, or why it ends.
    async fn piece(&mut self) -> String {
        if self.given.is_some_and(|given| given.elapsed() > self.stall_timeout) {
            let seconds = self.stall_timeout.as_secs();
            return self.end("closed", &format!("nothing was read for {seconds} s"), None);
        }
        let page = match self.first.take() {
            Some(page) => Ok(page),
            None => loop {
                // Also before a page that was there at once: a token may have expired meanwhile.
                if let Err(denied) = self.caller.confirm() {
                    return self.end("closed", &denied.to_string(), None);
                }
                let looked = tokio::select! {
                    page = self.follower.next(self.heartbeat) => Some(page),
                    _ = self.stopping.wait_for(|stopping| *stopping) => None,
                    () = changed(&mut self.changes) => continue,
                };
                match looked {
                    Some(page) => break page,
                    None => return self.end("closed", &Error::Stopping.to_string(), None),
                }
            },
        };
        match page {
            Ok(page) => self.events(page),
            Err(Unread::Trimmed { earliest }) => {
                let why = "it was read so slowly that records were dropped before";
                self.end("trimmed", why, Some(earliest.to_string()))
            }
            Err(other) => self.end("closed", &other.to_string(), None),
        }
    }

    fn events(&self, mut page: Page) -> String {
        self.caller.keep_readable(&mut page);
        let mut text = String::new();
        for placed in &page.records {
            let envelope = serde_json::to_string(&Envelope::from(placed));
            event(&mut text, None, Some(&placed.cursor), &envelope.expect("an envelope has a form in JSON"));
        }
        // A sign of life. The id without an event moves the client's cursor past what it did not ask for.
        if page.records.is_empty() {
            text.push_str(": here\nid: ");
            text.push_str(&page.next);
            text.push_str("\n\n");
        }
        text
    }

    fn end(&mut self, name: &str, why: &str, earliest: Option<String>) -> String {
        self.is_over = true;
        let mut text = String::new();
        let end = serde_json::to_string(&End { why, earliest });
        event(&mut text, Some(name), None, &end.expect("two texts have a form in JSON"));
        text
    }
}

/// Waits until what somebody may could be something else.
async fn changed(changes: &mut Option<Listener>) {
    let Some(listener) = changes else { return std::future::pending().await };
    if listener.changed().await.is_err() {
        // The node ends, which the stream hears of otherwise.
        std::future::pending().await
    }
}

/// Writes an event. `data` is JSON, which holds no line breaks.
fn event(text: &mut String, name: Option<&str>, id: Option<&str>, data: &str) {
    for (field, value) in [("event", name), ("id", id), ("data", Some(data))] {
        if let Some(value) = value {
            text.extend([field, ": ", value, "\n"]);
        }
    }
    text.push('\n');
}

fn mime() -> actix_web::mime::Mime {
    actix_web::mime::TEXT_EVENT_STREAM
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_its_fields_and_an_empty_line() {
        let mut text = String::new();
        event(&mut text, None, Some("7:4096"), r#"{"a":1}"#);
        event(&mut text, Some("closed"), None, r#"{"why":"no"}"#);
        assert_eq!(text, "id: 7:4096\ndata: {\"a\":1}\n\nevent: closed\ndata: {\"why\":\"no\"}\n\n");
    }

    #[test]
    fn seats_are_given_back() {
        let options = Options { followers_max: std::num::NonZeroUsize::MIN, ..Options::default() };
        let followers = Followers::new(&options);

        let seat = followers.seat(DEFAULT_TENANT).unwrap();
        let refused = followers.seat(DEFAULT_TENANT).unwrap_err().to_string();
        assert!(
            refused.starts_with("too-many: 1 streams of events are open, which is the most"),
            "{refused}"
        );
        drop(seat);

        assert!(followers.seat(DEFAULT_TENANT).is_ok());
    }

    #[test]
    fn some_seats_are_for_who_operates_the_node() {
        let followers = Followers::new(&Options::default());

        let taken: Vec<_> = (0..64).map_while(|n| followers.seat(["acme", "other"][n % 2]).ok()).collect();

        assert_eq!(taken.len(), 56);
        let own: Vec<_> = (0..64).map_while(|_| followers.seat(DEFAULT_TENANT).ok()).collect();
        assert_eq!(own.len(), 8);
    }
}
