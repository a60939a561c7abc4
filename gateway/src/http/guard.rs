//! What is refused before anything else looks at it: any web page can reach 127.0.0.1 (DESIGN.md, section 7).
//!
//! A page cannot forge `Host` and `Origin`, and it cannot send a JSON content type without asking first, which nothing
//! here allows. So a node that trusts whoever reaches its loopback address asks for the three.

use std::sync::Arc;

use actix_web::body::BoxBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::{
    AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, HOST, HeaderMap, HeaderName, ORIGIN, TRANSFER_ENCODING,
};
use actix_web::http::uri::Authority;
use actix_web::http::{Method, StatusCode, Uri};
use actix_web::middleware::Next;
use actix_web::{Error, ResponseError};
use runtime::directory::{By, Change, Definitions, Entry};
use runtime::router::Router;

use super::problem::Problem;
use super::routes;
use crate::trust::token::Text;

/// Where devices send their samples.
const SAMPLES: &str = "/v1/twins/me/telemetry";

/// Whether only what comes from this machine, and not from a web page of elsewhere, is let through.
#[derive(Debug, Clone, Copy)]
pub(super) struct LoopbackOnly(pub(super) bool);

/// The guard as a step around all routes.
pub(super) async fn pass(
    request: ServiceRequest,
    next: Next<BoxBody>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let LoopbackOnly(loopback_only) = request.app_data().copied().unwrap_or(LoopbackOnly(true));
    let checked = match loopback_only {
        true => from_here(request.uri(), request.headers()),
        false => unambiguous(request.uri(), request.headers()),
    };
    let checked = checked.and_then(|()| no_token(&request));
    match checked.and_then(|()| is_typed(&request)) {
        Ok(()) => next.call(request).await,
        Err(problem) => Ok(request.into_response(problem.error_response())),
    }
}

/// Refuses a token in a URL, which proxies write to their logs and browsers remember. One that is real is known to be
/// exposed from then on.
fn no_token(request: &ServiceRequest) -> Result<(), Problem> {
    let url = request.uri().path_and_query().map_or("", |url| url.as_str());
    let Some(text) = Text::find(url) else { return Ok(()) };
    let id = text.id();
    if let Some(definitions) = request.app_data::<Arc<dyn Definitions>>() {
        expose(definitions.clone(), request.app_data::<Router>(), &text);
    }
    tracing::warn!(token = %id, "a token was sent in a URL; remove it");
    let detail = format!("token {id} stands in the URL, where others can read it");
    let next = "remove that token, make another, and send it as `Authorization: Bearer TOKEN`";
    Err(Problem::new(StatusCode::BAD_REQUEST, "token-in-url", detail, next))
}

/// Notes in the audit that a token is exposed, the first time.
fn expose(definitions: Arc<dyn Definitions>, router: Option<&Router>, text: &Text) {
    let directory = definitions.current();
    let known = directory.tokens.get(&text.id()).filter(|known| known.digest == text.digest());
    let (Some(known), Some(router)) = (known.filter(|known| known.exposed.is_none()), router) else { return };
    let change = Change::ExposeToken { id: text.id() };
    let entry = Entry { at: router.now(), by: By::Node, reason: None, tenant: known.tenant.clone(), change };
    // It waits for the disk, and whoever is refused need not. One that comes twice is refused the second time.
    drop(tokio::task::spawn_blocking(move || definitions.change(entry, None)));
}

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Refuses what names another host, or comes from a page of another one.
fn from_here(uri: &Uri, headers: &HeaderMap) -> Result<(), Problem> {
    let hosts = texts(headers, HOST).map(|host| host.unwrap_or("").parse::<Authority>().ok());
    let mut hosts: Vec<_> = hosts.collect();
    hosts.extend(uri.authority().map(|authority| Some(authority.clone())));
    let port = match hosts.as_slice() {
        [Some(first), ..] => first.port_u16(),
        _ => None,
    };
    let ours = |authority: &Authority| is_loopback(authority.host()) && authority.port_u16() == port;
    if hosts.is_empty() || !hosts.iter().all(|host| host.as_ref().is_some_and(ours)) {
        let detail = "this node answers on loopback only, and `Host` names something else";
        let next = "use http://127.0.0.1 or http://localhost";
        return Err(Problem::new(StatusCode::MISDIRECTED_REQUEST, "foreign-host", detail, next));
    }
    let same = |origin: &str| {
        let authority = origin.strip_prefix("http://").and_then(|rest| rest.parse::<Authority>().ok());
        authority.is_some_and(|authority| ours(&authority))
    };
    if !texts(headers, ORIGIN).all(|origin| origin.is_some_and(same)) {
        let detail = "a page of another origin asked for this, and this node answers none";
        let next = "ask from outside a web page, or from a page of this node";
        return Err(Problem::new(StatusCode::FORBIDDEN, "foreign-origin", detail, next));
    }
    not_led(headers)
}

/// Refuses what a page of another site leads a browser to. That has no origin; but a browser says where it comes from
/// all the same, and nobody else does.
fn not_led(headers: &HeaderMap) -> Result<(), Problem> {
    let from_elsewhere = |site: Option<&str>| !matches!(site, Some("same-origin" | "none"));
    if texts(headers, SEC_FETCH_SITE).any(from_elsewhere) {
        let detail = "a page of another site led here, and this node answers none";
        let next = "type the address, or ask from outside a web page";
        return Err(Problem::new(StatusCode::FORBIDDEN, "foreign-origin", detail, next));
    }
    Ok(())
}

/// Refuses what a proxy before this node and this node could understand in two ways, and pages of another origin. Any
/// name of this node will do: what a browser shows unasked is a certificate at most, and for that it has to say where it was
/// led from.
fn unambiguous(uri: &Uri, headers: &HeaderMap) -> Result<(), Problem> {
    let ambiguous = |detail: &str| {
        let next = "send it once, as one line";
        Err(Problem::new(StatusCode::BAD_REQUEST, "ambiguous", detail.to_owned(), next))
    };
    let hosts: Vec<_> = texts(headers, HOST).map(|host| host?.parse::<Authority>().ok()).collect();
    let [Some(host)] = hosts.as_slice() else {
        return ambiguous("`Host` is there several times, not at all, or is no name");
    };
    if uri.authority().is_some_and(|named| named != host) {
        return ambiguous("the request line and `Host` name two nodes");
    }
    if headers.get_all(AUTHORIZATION).count() > 1 {
        return ambiguous("`Authorization` is there several times");
    }
    if headers.contains_key(TRANSFER_ENCODING) && headers.contains_key(CONTENT_LENGTH) {
        return ambiguous("`Transfer-Encoding` and `Content-Length` give the body two ends");
    }
    let same = |origin: &str| {
        let named = origin.strip_prefix("https://").or_else(|| origin.strip_prefix("http://"));
        named.and_then(|named| named.parse::<Authority>().ok()).is_some_and(|named| named == *host)
    };
    if !texts(headers, ORIGIN).all(|origin| origin.is_some_and(same)) {
        let detail = "a page of another origin asked for this, and this node answers none";
        let next = "ask from outside a web page, or from a page of this node";
        return Err(Problem::new(StatusCode::FORBIDDEN, "foreign-origin", detail, next));
    }
    not_led(headers)
}

/// Refuses a body of a type that is not read where it goes. What leads nowhere is refused as that.
fn is_typed(request: &ServiceRequest) -> Result<(), Problem> {
    let checked = is_json(request.method(), request.path(), request.headers());
    // Routes are found by the path as it is decoded.
    let pattern = request.resource_map().match_pattern(request.match_info().as_str());
    match routes::answers(pattern.as_deref(), request.method()) {
        true => checked,
        false => Ok(()),
    }
}

/// Refuses a change that is not said in JSON. A POST without a body has nothing to say, nor has any method that no route
/// takes a body of; a device's samples may be anything that it names, but what a form sends.
fn is_json(method: &Method, path: &str, headers: &HeaderMap) -> Result<(), Problem> {
    let has_body = headers.contains_key(TRANSFER_ENCODING)
        || texts(headers, CONTENT_LENGTH).any(|length| length.is_none_or(|length| length.trim() != "0"));
    let silent = match *method {
        Method::PUT | Method::PATCH => false,
        Method::POST => !has_body,
        _ => true,
    };
    let named = texts(headers, CONTENT_TYPE).next().flatten();
    let is_sample = path.strip_prefix(SAMPLES).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        && named.is_some_and(|named| !is_form(named));
    if silent || is_sample || named.is_some_and(twins::body::is_json) {
        return Ok(());
    }
    let detail = match named {
        Some(named) => format!("`{}` is not JSON", named.escape_debug()),
        None => "the request does not say what its body is".to_owned(),
    };
    let next = "send `Content-Type: application/json`, or a type that ends in +json";
    Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported-media-type", detail, next))
}

/// Whether it is what a form sends, and a client whose user named no type.
fn is_form(named: &str) -> bool {
    let essence = named.split(';').next().unwrap_or("").trim().to_ascii_lowercase();
    matches!(&*essence, "application/x-www-form-urlencoded" | "multipart/form-data")
}

/// The lines of a header; `None` for one that is no text.
fn texts(headers: &HeaderMap, name: HeaderName) -> impl Iterator<Item = Option<&str>> {
    headers.get_all(name).map(|line| line.to_str().ok())
}

fn is_loopback(host: &str) -> bool {
    let host = host.strip_suffix('.').unwrap_or(host);
    let address = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    match address.parse::<std::net::IpAddr>() {
        Ok(address) => address.is_loopback(),
        Err(_) => host.eq_ignore_ascii_case("localhost"),
    }
}

#[cfg(test)]
mod tests {
    use std::slice::from_ref;

    use actix_web::http::header::HeaderValue;

    use super::*;

    fn headers(lines: &[(HeaderName, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(name.clone(), HeaderValue::from_static(value));
        }
        headers
    }

    #[track_caller]
    fn check(lines: &[(HeaderName, &'static str)], code: Option<&str>) {
        let refused = from_here(&Uri::from_static("/v1/devices"), &headers(lines)).err();
        assert_eq!(refused.as_ref().map(Problem::code), code, "{lines:?}");
    }

    #[track_caller]
    fn check_type(method: Method, lines: &[(HeaderName, &'static str)], passes: bool) {
        assert_eq!(is_json(&method, "/v1/twins/a", &headers(lines)).is_ok(), passes, "{method} {lines:?}");
    }

    #[test]
    fn a_host_that_is_not_loopback_is_refused() {
        for host in
            ["localhost", "LOCALHOST:8080", "127.0.0.1:8080", "127.1.2.3", "[::1]:8080", "localhost.:80"]
        {
            check(&[(HOST, host)], None);
        }
        for host in
            ["evil.example", "10.0.0.1:8080", "localhost.evil.example", "127.0.0.1.evil.example", "", "[::2]"]
        {
            check(&[(HOST, host)], Some("foreign-host"));
        }
        check(&[], Some("foreign-host"));
        check(&[(HOST, "localhost"), (HOST, "evil.example")], Some("foreign-host"));
    }

    #[test]
    fn a_host_in_the_request_line_counts_too() {
        let asked = from_here(&Uri::from_static("http://evil.example/v1"), &headers(&[(HOST, "localhost")]));
        assert_eq!(asked.unwrap_err().code(), "foreign-host");
    }

    #[test]
    fn a_page_of_another_origin_is_refused() {
        let host = (HOST, "127.0.0.1:8080");
        for origin in ["http://127.0.0.1:8080", "http://localhost:8080"] {
            check(&[host.clone(), (ORIGIN, origin)], None);
        }
        for origin in
            ["http://evil.example", "null", "", "http://localhost:3000", "https://localhost:8080", "file://"]
        {
            check(&[host.clone(), (ORIGIN, origin)], Some("foreign-origin"));
        }
    }

    #[track_caller]
    fn check_open(uri: &'static str, lines: &[(HeaderName, &'static str)], code: Option<&str>) {
        let refused = unambiguous(&Uri::from_static(uri), &headers(lines)).err();
        assert_eq!(refused.as_ref().map(Problem::code), code, "{uri} {lines:?}");
    }

    #[test]
    fn in_the_open_any_name_will_do_that_is_said_once() {
        let host = (HOST, "node.example:8443");
        check_open("/v1/devices", from_ref(&host), None);
        check_open("https://node.example:8443/v1/devices", from_ref(&host), None);
        check_open("/v1/devices", &[host.clone(), (AUTHORIZATION, "Bearer a"), (CONTENT_LENGTH, "7")], None);

        check_open("/v1/devices", &[], Some("ambiguous"));
        check_open("/v1/devices", &[(HOST, "a b")], Some("ambiguous"));
        check_open("/v1/devices", &[host.clone(), host.clone()], Some("ambiguous"));
        check_open("https://other.example/v1/devices", from_ref(&host), Some("ambiguous"));
        let twice = [(AUTHORIZATION, "Bearer a"), (AUTHORIZATION, "Bearer b")];
        check_open("/v1", &[from_ref(&host), &twice].concat(), Some("ambiguous"));
        let ends = [(TRANSFER_ENCODING, "chunked"), (CONTENT_LENGTH, "7")];
        check_open("/v1", &[&[host][..], &ends].concat(), Some("ambiguous"));
    }

    #[test]
    fn in_the_open_too_a_page_of_another_origin_is_refused() {
        let host = (HOST, "node.example");
        check_open("/v1", &[host.clone(), (ORIGIN, "https://node.example")], None);
        for origin in ["https://evil.example", "null", "", "https://node.example.evil.example"] {
            check_open("/v1", &[host.clone(), (ORIGIN, origin)], Some("foreign-origin"));
        }
        for site in ["cross-site", "same-site"] {
            check_open("/v1", &[host.clone(), (SEC_FETCH_SITE, site)], Some("foreign-origin"));
        }
        check_open("/v1", &[host, (SEC_FETCH_SITE, "none")], None);
    }

    #[test]
    fn a_change_must_be_said_in_json() {
        let (json, text) = ((CONTENT_TYPE, "application/json"), (CONTENT_TYPE, "text/plain"));
        let length = (CONTENT_LENGTH, "7");
        check_type(Method::PATCH, &[(CONTENT_TYPE, "application/merge-patch+json; charset=utf-8")], true);
        check_type(Method::POST, &[json, length.clone()], true);
        check_type(Method::POST, &[text.clone(), length.clone()], false);
        check_type(Method::POST, &[length], false);
        check_type(Method::POST, &[(TRANSFER_ENCODING, "chunked")], false);
        check_type(Method::PUT, &[], false);
        check_type(Method::PUT, &[text], false);
    }

    #[test]
    fn a_sample_may_be_of_any_type_that_no_form_sends() {
        let passes = |path: &str, named: &'static str| {
            is_json(&Method::POST, path, &headers(&[(CONTENT_TYPE, named), (CONTENT_LENGTH, "7")])).is_ok()
        };
        assert!(passes(SAMPLES, "application/cbor"));
        assert!(passes("/v1/twins/me/telemetry/picture", "image/png"));
        assert!(!passes(SAMPLES, "application/x-www-form-urlencoded"));
        assert!(!passes(SAMPLES, "Multipart/Form-Data; boundary=x"));
        assert!(!passes("/v1/twins/me/telemetryx", "image/png"));
    }

    #[test]
    fn what_has_nothing_to_say_needs_no_type() {
        check_type(Method::GET, &[], true);
        check_type(Method::DELETE, &[], true);
        check_type(Method::TRACE, &[], true);
        check_type(Method::POST, &[], true);
        check_type(Method::POST, &[(CONTENT_LENGTH, "0")], true);
    }
}
